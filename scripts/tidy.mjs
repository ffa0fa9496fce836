// House rules that neither the compiler nor oxlint knows, over every source file: a header comment,
// at most 800 lines of 100 columns, no markers of unfinished work, no silenced checker without a
// reason, no path of the machine it was written on, no link out of the repository; also that
// .oxlintrc.json is what scripts/lint-config.mjs writes. Prints each breach; exit code 1 if any.
// `node scripts/tidy.mjs [ROOT]`: another root is for the test of these rules.
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { dirname, extname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const maxLines = 800
const maxColumns = 100

const root = resolve(process.argv[2] ?? fileURLToPath(new URL('..', import.meta.url)))
const folders = ['src', 'test', 'bench', 'scripts', 'native', 'bin', '.ci']
const notOurs = ['test/vectors', 'test/fixtures', 'native/build', 'bench/results']
const code = ['.ts', '.mjs', '.sh', '.cc', '.h', ''] // '' are scripts without an extension
const selfDescribing = ['scripts/tidy.mjs', 'test/frame/tidy.ts'] // they name what they look for

// ---- one rule a line: [applies to code only?, pattern, sentence] ----

const patterns = [
  [true, /\b(TODO|FIXME|XXX|HACK)\b/, 'unfinished work belongs into an issue'],
  [true, /@ts-(ignore|nocheck|expect-error)/, 'the compiler is not to be silenced'],
  [true, /(oxlint|eslint)-disable(?!.* -- \S)/, 'a disabled rule needs its reason: `-- why`'],
  [true, /\b(t|test)\.only\(/, 'a lone test hides the others'],
  [false, /\t* +$/, 'white space at the end of the line'],
]

// The folder around the checkout is nobody else's: a path below it must not stand in the project.
// Left out where every machine has such a folder.
const around = dirname(root)
if (![homedir(), tmpdir(), dirname(homedir()), '/', '/src', '/usr/src'].includes(around)) {
  const literal = around.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
  patterns.push([false, new RegExp(`(^|[^\\w.])${literal}(/|\\b)`), 'a path of this machine'])
}

function walk(folder) {
  if (!existsSync(folder)) return []
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name)
    if (notOurs.includes(relative(root, path)) || entry.name === 'node_modules') return []
    return entry.isDirectory() ? walk(path) : [path]
  })
}

function hasHeader(lines) {
  const first = lines[0]?.startsWith('#!') ? lines[1] : lines[0]
  return /^(\/\/|\/\*|#) ?\S/.test(first ?? '')
}

const breaches = []
const breach = (path, line, sentence) => {
  breaches.push(`${relative(root, path)}:${line}: ${sentence}`)
}

function checkCode(path, lines) {
  if (!hasHeader(lines)) breach(path, 1, 'no header: what it is, why, who may call it')
  if (lines.length > maxLines) breach(path, maxLines, `more than ${maxLines} lines`)
  lines.forEach((line, index) => {
    if ([...line].length > maxColumns) breach(path, index + 1, `more than ${maxColumns} columns`)
  })
}

function checkFile(path) {
  const isCode = code.includes(extname(path))
  if (!isCode && !path.endsWith('.md') && !path.endsWith('.json')) return
  const lines = readFileSync(path, 'utf8').replace(/\n$/, '').split('\n')
  if (isCode) checkCode(path, lines)
  if (selfDescribing.includes(relative(root, path))) return
  lines.forEach((line, index) => {
    for (const [codeOnly, pattern, sentence] of patterns) {
      if ((isCode || !codeOnly) && pattern.test(line)) breach(path, index + 1, sentence)
    }
    if (dirname(path) === root && path.endsWith('.md') && /(^|[\s(`'"])\.\.\//.test(line)) {
      breach(path, index + 1, 'leads out of the repository')
    }
  })
}

const documents = readdirSync(root).filter((name) => name.endsWith('.md'))
for (const name of documents) checkFile(join(root, name))
for (const folder of folders) for (const path of walk(join(root, folder))) checkFile(path)

if (existsSync(join(root, 'scripts/lint-config.mjs'))) {
  try {
    execFileSync(process.execPath, [join(root, 'scripts/lint-config.mjs'), '--check'], {
      stdio: ['ignore', 'ignore', 'pipe'],
    })
  } catch (error) {
    breaches.push(String(error.stderr).trim())
  }
}

for (const line of breaches) console.error(line)
process.exitCode = breaches.length > 0 ? 1 : 0
