// The lint rules are alive: each is broken once in a small project and must be reported there, and
// only there. The table of layers is written out again here, as the oracle of the generated rules.
import t from 'tap'
import { Project } from './project.helper.ts'

const core = 'util config crypto ops state chunks'
const layers: Record<string, string> = {
  util: '',
  config: 'util',
  crypto: 'util config',
  ops: 'util config crypto',
  state: 'util config crypto ops',
  chunks: 'util config crypto ops',
  journal: `${core} vault`,
  db: `${core} vault`,
  logs: `${core} vault`,
  vault: core,
  net: `${core} vault`,
  fs: `${core} vault`,
  fuse: 'util config crypto ops vault fs',
  api: `${core} vault net fs`,
  daemon: `${core} journal db logs vault net fs fuse api`,
  cli: 'util config',
}

const homes: Record<string, string> = {
  lmdb: 'db',
  'sodium-native': 'crypto',
  '@napi-rs/blake-hash': 'crypto',
  'lz4-napi': 'chunks',
  fastify: 'api',
  commander: 'cli',
  '@clack/prompts': 'cli',
  'smol-toml': 'config',
  pino: 'daemon',
  'compact-encoding': 'ops state',
  'p-queue': '',
}

interface Diagnostic {
  readonly code: string
  readonly filename: string
  readonly labels: readonly { readonly span: { readonly line: number } }[]
}

function lint(project: Project): Diagnostic[] {
  const { stdout, stderr } = project.run(process.execPath, [
    'node_modules/oxlint/bin/oxlint', '--type-aware', '-f', 'json', 'src', 'test',
  ])
  try {
    return (JSON.parse(stdout) as { diagnostics: Diagnostic[] }).diagnostics
  } catch {
    throw new Error(`oxlint gave no JSON: ${stdout} ${stderr}`)
  }
}

const rule = ({ code }: Diagnostic) => /\((.*)\)/.exec(code)?.[1] ?? code
const line = ({ labels }: Diagnostic) => labels[0]?.span.line ?? 0

function newProject(): Project {
  const project = new Project(['.oxlintrc.json', 'tsconfig.json', 'package.json'])
  project.write('test/empty.ts', 'export const nothing = 0\n')
  return project
}

t.test('each folder imports what the layers allow, and nothing else', (t) => {
  const project = newProject()
  t.teardown(() => project.remove())
  const folders = Object.keys(layers)
  for (const folder of folders) {
    const lines = folders.map((other, i) => `import { x as x${i} } from '../${other}/leaf.ts'`)
    const names = folders.map((_, i) => `x${i}`).join(', ')
    project.write(`src/${folder}/leaf.ts`, 'export const x = 1\n')
    project.write(`src/${folder}/all.ts`, `${lines.join('\n')}\nexport const all = [${names}]\n`)
  }
  const found = lint(project).filter((d) => rule(d) === 'no-restricted-imports')
  for (const folder of folders) {
    const denied = new Set(
      found.filter((d) => d.filename === `src/${folder}/all.ts`)
        .map((d) => folders[line(d) - 1] ?? ''),
    )
    const expected = folders.filter((other) => (
      other !== folder && !layers[folder]!.split(' ').includes(other)
    ))
    t.same([...denied].sort(), expected.sort(), `src/${folder}`)
  }
  t.end()
})

t.test('cli may use the client of api, and nothing else of it', (t) => {
  const project = newProject()
  t.teardown(() => project.remove())
  for (const name of ['client', 'server', 'events', 'clock']) {
    project.write(`src/api/${name}.ts`, 'export const x = 1\n')
    project.write(`src/cli/${name}.ts`, `export { x } from '../api/${name}.ts'\n`)
  }
  project.write('src/cli/sub/deep.ts', "export { x } from '../../api/server.ts'\n")
  const files = lint(project).map((d) => d.filename).sort()
  t.same(files, ['clock', 'events', 'server', 'sub/deep'].map((name) => `src/cli/${name}.ts`))
  t.end()
})

t.test('a package is imported by its own folder only', (t) => {
  const project = newProject()
  t.teardown(() => project.remove())
  const names = Object.keys(homes)
  for (const folder of Object.keys(layers)) {
    const lines = names.map((name, i) => `import * as x${i} from '${name}'`)
    const list = names.map((_, i) => `x${i}`).join(', ')
    project.write(`src/${folder}/all.ts`, `${lines.join('\n')}\nexport const all = [${list}]\n`)
  }
  const found = lint(project).filter((d) => rule(d) === 'no-restricted-imports')
  for (const name of names) {
    const denied = found.filter((d) => line(d) - 1 === names.indexOf(name))
    const expected = Object.keys(layers).filter((f) => !homes[name]!.split(' ').includes(f))
    t.same(denied.map((d) => d.filename.split('/')[1] ?? '').sort(), expected.sort(), name)
  }
  t.end()
})

t.test('no clock, timer, randomness or disk where a seed must replay everything', (t) => {
  const project = newProject()
  t.teardown(() => project.remove())
  const breaches = [
    'export const x = Date.now()',
    'export const x = new Date()',
    'export const x = Math.random()',
    'export const x = performance.now()',
    'export const x = process.hrtime.bigint()',
    'export const x = globalThis.Date.now()',
    'export const x = setTimeout(() => 1, 1)',
    'export const x = setImmediate(() => 1)',
    'export const x = crypto.randomUUID()',
    "import { randomBytes } from 'node:crypto'\nexport const x = randomBytes(1)",
    "import crypto from 'node:crypto'\nexport const x = crypto.randomBytes(1)",
    "export { setTimeout } from 'node:timers/promises'",
    "export { readFileSync } from 'node:fs'",
    "export { open } from 'fs/promises'",
    "export { connect } from 'node:net'",
    "export { Worker } from 'node:worker_threads'",
    "export { spawn } from 'child_process'",
  ]
  const folders = ['ops', 'state', 'chunks', 'vault', 'fs']
  for (const folder of [...folders, 'daemon']) {
    breaches.forEach((text, i) => project.write(`src/${folder}/breach${i}.ts`, `${text}\n`))
    project.write(`src/${folder}/fine.ts`, 'export const f = (now: () => number) => now() + 1\n')
  }
  project.write('src/vault/lock.ts', "export { open } from 'node:fs/promises'\n") // an adapter
  const files = new Set(lint(project).map((d) => d.filename))
  t.notOk(files.has('src/vault/lock.ts'), 'adapters may use the disk')
  for (const folder of folders) {
    const missed = breaches.filter((_, i) => !files.has(`src/${folder}/breach${i}.ts`))
    t.same(missed, [], `src/${folder}`)
  }
  t.notOk([...files].some((file) => file.startsWith('src/daemon/')), 'allowed in src/daemon')
  t.notOk([...files].some((file) => file.endsWith('fine.ts')), 'a clock that is passed in is fine')
  t.end()
})

const each: [name: string, expected: string, text: string][] = [
  ['src/fs/eqeqeq', 'eqeqeq', 'export const f = (a: unknown) => a == 1'],
  ['src/fs/console', 'no-console', "console.log('x')"],
  ['src/fs/any', 'no-explicit-any', 'export const f = (a: any): number => a.b'],
  ['src/fs/bang', 'no-non-null-assertion', 'export const f = (a: number[]) => a[0]!'],
  ['src/fs/default', 'no-default-export', 'export default 1'],
  ['src/fs/exit', 'no-process-exit', 'process.exit(1)'],
  ['src/fs/floating', 'no-floating-promises',
    'async function f(): Promise<void> {}\nexport const g = () => { f() }'],
  ['src/fs/misused', 'no-misused-promises',
    'export const g = (f: () => Promise<boolean>) => { if (f()) return 1; return 2 }'],
  ['src/api/type-import', 'consistent-type-imports',
    "import { Stats } from 'node:fs'\nexport const f = (a: Stats) => a.size"],
  ['src/fs/cycle-a', 'no-cycle', "import { b } from './cycle-b.ts'\nexport const a = () => b"],
  ['src/fs/cycle-b', 'no-cycle', "import { a } from './cycle-a.ts'\nexport const b = () => a"],
  ['src/fs/long', 'max-lines', 'export const x = [\n' + '1,\n'.repeat(820) + ']'],
  ['src/fs/function', 'max-lines-per-function',
    'export function f(a: number): number {\n' + 'a += 1\n'.repeat(121) + 'return a\n}'],
  ['test/floating', 'no-floating-promises', 'async function f(): Promise<void> {}\nf()'],
]

t.test('every other rule', (t) => {
  const project = newProject()
  t.teardown(() => project.remove())
  for (const [name, , text] of each) project.write(`${name}.ts`, `${text}\n`)
  project.write('src/cli/print.ts', "console.log('x')\n")
  project.write('test/fine.ts', "import t from 'tap'\nt.test('x', async (t) => { t.ok(1) })\n")
  const found = lint(project)
  for (const [name, expected] of each) {
    const rules = new Set(found.filter((d) => d.filename === `${name}.ts`).map(rule))
    t.same([...rules], [expected], `${name}: ${expected}`)
  }
  const known = each.map(([name]) => `${name}.ts`)
  t.same(found.filter((d) => !known.includes(d.filename)), [], 'nothing else is reported')
  t.end()
})
