// scripts/tidy.mjs sees each breach of the house rules, and is silent about a clean project.
import t from 'tap'
import { Project } from './project.helper.ts'

const script = 'scripts/tidy.mjs'
const copies = [script, 'scripts/lint-config.mjs', '.oxlintrc.json']

function tidy(project: Project): { code: number | null; lines: string[] } {
  const { code, stderr } = project.run(process.execPath, [script, project.root])
  return { code, lines: stderr.split('\n').filter(Boolean) }
}

t.test('a clean project', (t) => {
  const project = new Project(copies, false)
  t.teardown(() => project.remove())
  project.write('src/fs/fine.ts', '// What it is.\nexport const fine = 1\n')
  project.write('bin/tool', '#!/bin/sh\n# What it is.\n')
  project.write('README.md', '# fine, see bench/../src\n')
  project.write('test/vectors/raw.json', `{"x": "${'y'.repeat(200)}"}  \n`)
  t.same(tidy(project), { code: 0, lines: [] })
  t.end()
})

t.test('each breach is named with its file and line', (t) => {
  const project = new Project(copies, false)
  t.teardown(() => project.remove())
  const breaches: [string, string, RegExp][] = [
    ['src/fs/header.ts', 'export const x = 1\n', /header\.ts:1: no header/],
    ['bin/bare', '#!/bin/sh\necho\n', /bare:1: no header/],
    ['src/fs/long.ts', `// Head.\n${'\n'.repeat(800)}// end\n`, /long\.ts:800: more than 800/],
    ['src/fs/wide.ts', `// Head.\n// ${'w'.repeat(98)}\n`, /wide\.ts:2: more than 100 columns/],
    ['src/fs/todo.ts', '// Head.\n// TODO: later\n', /todo\.ts:2: unfinished/],
    ['src/fs/mute.ts', '// Head.\n// @ts-ignore\n', /mute\.ts:2: the compiler/],
    ['src/fs/off.ts', '// Head.\n// oxlint-disable-next-line eqeqeq\n', /off\.ts:2: a disabled/],
    ['test/only.ts', '// Head.\nt.only()\n', /only\.ts:2: a lone test/],
    ['native/space.cc', '// Head.\nint x; \n', /space\.cc:2: white space/],
    ['README.md', 'see ../elsewhere/x\n', /README\.md:1: leads out/],
  ]
  for (const [path, text] of breaches) project.write(path, text)
  const { code, lines } = tidy(project)
  t.equal(code, 1)
  for (const [path, , expected] of breaches) t.match(lines.join('\n'), expected, path)
  t.equal(lines.length, breaches.length, 'nothing else is reported')
  t.end()
})

t.test('lint rules edited by hand are reported', (t) => {
  const project = new Project(copies, false)
  t.teardown(() => project.remove())
  project.write('.oxlintrc.json', '{}\n')
  const { code, lines } = tidy(project)
  t.equal(code, 1)
  t.match(lines.join('\n'), /differs from scripts\/lint-config\.mjs/)
  t.end()
})
