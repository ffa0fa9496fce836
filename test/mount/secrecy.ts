// timeoutSeconds: 120
// Nothing readable lies underneath a vault: names, contents, link targets, attributes and
// passphrase hold markers, and no file under LATTICE_HOME holds one, in any usual spelling. And a
// second copy of a tree adds records, not content. What must be found when it is there is shown
// first.

import t from 'tap'
import {
  mkdirSync, readdirSync, readFileSync, renameSync, statSync, symlinkSync, unlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { testRandom } from '../support/random.helper.ts'
import { Place, noMount, placeKind } from './harness.helper.ts'
import { hasProgram, temporaryDirectory } from './system.helper.ts'
import { sh } from './shell.helper.ts'
import { checkout, makeSmallFiles } from './trees.helper.ts'

const kind = placeKind()
const skip = noMount() ?? (kind === 'plain' ? 'nothing is sealed in a plain directory' : false)

/** Every file below a directory, with its size. */
function filesBelow(directory: string): { path: string; size: number }[] {
  const found: { path: string; size: number }[] = []
  for (const entry of readdirSync(directory, { withFileTypes: true, recursive: true })) {
    if (!entry.isFile()) continue
    const path = join(entry.parentPath, entry.name)
    found.push({ path, size: statSync(path).size })
  }
  return found
}

/** A text as it may lie on a disk: bytes, UTF-16, hex, base64 at each of the three alignments. */
function spellings(text: string): Map<string, Buffer> {
  const bytes = Buffer.from(text)
  const found = new Map<string, Buffer>([
    ['as it is', bytes],
    ['UTF-16 LE', Buffer.from(text, 'utf16le')],
    ['UTF-16 BE', Buffer.from(text, 'utf16le').swap16()],
    ['hex', Buffer.from(bytes.toString('hex'))],
    ['upper hex', Buffer.from(bytes.toString('hex').toUpperCase())],
    ['reversed', Buffer.from(bytes).reverse()],
  ])
  for (let shift = 0; shift < 3; shift++) {
    const encoded = Buffer.concat([Buffer.alloc(shift), bytes]).toString('base64')
    const inner = encoded.slice(shift === 0 ? 0 : 4, -4) // without what the neighbours decide
    found.set(`base64 at ${shift}`, Buffer.from(inner))
    found.set(`base64url at ${shift}`, Buffer.from(inner.replaceAll('+', '-').replaceAll('/', '_')))
  }
  return found
}

/** Where a marker shows: in contents or in names of files below the directory. */
function shown(directory: string, markers: Map<string, string>): string[] {
  const sought = [...markers].flatMap(([what, text]) =>
    [...spellings(text)].map(([how, bytes]) => ({ what, how, bytes })))
  const found: string[] = []
  for (const { path } of filesBelow(directory)) {
    const content = readFileSync(path)
    for (const { what, how, bytes } of sought) {
      if (content.includes(bytes) || Buffer.from(path).includes(bytes)) {
        found.push(`${what}, ${how}, in ${path}`)
      }
    }
  }
  return found
}

t.test('nothing readable lies underneath', { skip }, async (t) => {
  const random = testRandom()
  t.comment(`SEED=${random.seed}`)
  const base = temporaryDirectory(t)
  const place = await Place.open(t, { base })
  const randomText = (): string => Buffer.from(random.bytes(12)).toString('hex')
  const markers = new Map<string, string>()
  const mark = (what: string): string => {
    const text = `${what}-${randomText()}`
    markers.set(what, text)
    return text
  }
  const at = (name: string): string => join(place.directory, name)

  const folder = mark('folder')
  mkdirSync(at(folder))
  writeFileSync(at(join(folder, mark('small-name'))), `inline ${mark('inline-content')}`)
  const loose = `${'y'.repeat(5000)}${mark('loose-content')}`.padEnd(10_000, 'z')
  writeFileSync(at(`${folder}/loose`), loose)
  const large = Buffer.from(random.bytes(3_000_000))
  large.write(mark('bundle-content'), 1_234_567)
  writeFileSync(at(`${folder}/large`), large)
  // compressible: what the compressor copies verbatim must be sealed too
  writeFileSync(at(`${folder}/text`), `${mark('text-content')} once more\n`.repeat(100_000))
  symlinkSync(`/somewhere/${mark('link-target')}`, at(`${folder}/link`))
  const before = mark('name-before')
  writeFileSync(at(before), 'renamed')
  renameSync(at(before), at(mark('name-after')))
  const gone = mark('deleted-name')
  writeFileSync(at(gone), mark('deleted-content'))
  unlinkSync(at(gone))
  if (hasProgram('python3')) {
    const [name, value] = [mark('attribute-name'), mark('attribute-value')]
    const code = `import os; os.setxattr('.', 'user.${name}', b'${value}')`
    await sh(t, 'python3 -c "$CODE"', at(folder), { CODE: code })
  }
  await sh(t, `mkfifo ${mark('fifo-name')}`, place.directory)

  if (kind === 'lattice') t.equal(place.lattice('sync').code, 0, 'lattice sync')
  t.same(shown(place.home, markers), [], 'while mounted')
  await place.remount()
  t.equal(readFileSync(at(`${folder}/large`)).compare(large), 0)
  t.ok(readdirSync(at(folder)).includes(markers.get('small-name') as string))
  await place.unmount()
  t.same(shown(place.home, markers), [], 'after unmounting')

  // The search itself finds what is there.
  const planted = join(base, 'planted')
  mkdirSync(planted)
  const text = markers.get('text-content') as string
  const forms = [...spellings(text).values()]
  forms.forEach((bytes, index) => {
    const padded = Buffer.concat([Buffer.from(random.bytes(1000 + index)), bytes, Buffer.alloc(9)])
    writeFileSync(join(planted, `file${index}`), padded)
  })
  writeFileSync(join(planted, text), '')
  const seen = shown(planted, new Map([['planted', text]]))
  t.ok(seen.length > forms.length, `the search sees ${seen.length} planted ones`)
})

/** Bytes under LATTICE_HOME; of files that are zeroed ahead only what is used. */
function bytesOf(home: string): { all: number; packs: number; journal: number } {
  const sums = { all: 0, packs: 0, journal: 0 }
  for (const { path, size } of filesBelow(home)) {
    const used = path.endsWith('.journal') ? lastUsed(readFileSync(path)) : size
    sums.all += used
    if (path.includes('/packs/')) sums.packs += used
    if (path.endsWith('.journal')) sums.journal += used
  }
  return sums
}

function lastUsed(bytes: Buffer): number {
  let end = bytes.length
  while (end > 0 && bytes[end - 1] === 0) end--
  return end
}

t.test('a second copy of a tree costs its records', { skip }, async (t) => {
  if (kind !== 'lattice') return
  const random = testRandom()
  const base = temporaryDirectory(t)
  const source = join(base, 'source')
  makeSmallFiles(join(source, 'small'), 6000)
  mkdirSync(join(source, 'large'))
  for (let i = 0; i < 12; i++) {
    writeFileSync(join(source, 'large', `file ${i}`), random.bytes(40_000 + i * 60_000))
  }
  await sh(t, `cp -a ${checkout}node_modules/@types ${checkout}node_modules/lmdb .`, source)
  const entries = Number(await sh(t, 'find . | wc -l', source))
  const place = await Place.open(t, { base })
  const stored = async (name: string): Promise<ReturnType<typeof bytesOf>> => {
    await sh(t, `cp -a ../source ${name}`, place.directory)
    await place.remount() // everything is sealed, and in the index
    return bytesOf(place.home)
  }
  const empty = bytesOf(place.home)
  const first = await stored('first')
  const second = await stored('second')
  await sh(t, 'diff -r ../source first; diff -r ../source second', place.directory)
  const perEntry = Math.round((second.all - first.all) / entries)
  t.comment(`${entries} entries; first copy ${first.all - empty.all} bytes, second ` +
    `${second.all - first.all}: ${perEntry} an entry, of these in the journal ` +
    `${second.journal - first.journal}, in packs ${second.packs - first.packs}`)
  t.ok(perEntry <= 1536, `${perEntry} bytes an entry`)
  t.ok(second.packs - first.packs <= 64 * 1024, 'no content comes to the packs')
})
