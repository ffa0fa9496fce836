// What a crash may show, and that nobody waits for ever: over the real tree, journal, index, packs
// and content, with seals held back or failing at the worst moments.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { LatticeError } from '../../src/util/errors.ts'
import type { Ino } from '../../src/vault/buffers.ts'
import { VaultPlace, type RealVault } from '../fs/real-vault.helper.ts'

const caller = { uid: 1000, gid: 1000 }
const text = (value: string): Uint8Array => Buffer.from(value)
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

interface Case {
  place: VaultPlace
  vault: RealVault
  /** Makes, opens and writes; stays open. */
  make: (name: string, content: string) => Ino
  write: (ino: Ino, content: string) => void
  /** What a crash at this moment leaves under the name; undefined = nothing. */
  afterCrash: (name: string) => Promise<string | undefined>
}

async function open(test: Test): Promise<Case> {
  const directory = mkdtempSync(join(tmpdir(), 'lattice-promises-'))
  const place = new VaultPlace(join(directory, 'live'), 10)
  const vault = await place.open()
  test.teardown(async () => {
    await vault.close().catch(() => undefined)
    rmSync(directory, { recursive: true, force: true })
  })
  const { fs, buffers, tree } = vault
  let crashes = 0
  const write = (ino: Ino, content: string): void => {
    fs.write(ino, 0, text(content))
  }
  return {
    place,
    vault,
    write,
    make: (name, content) => {
      const { ino } = fs.create(caller, tree.root, name, 0o644, 2)
      buffers.kernelLookup(ino)
      buffers.kernelOpen(ino)
      write(ino, content)
      return ino
    },
    afterCrash: async (name) => {
      const copy = place.crashCopy(join(directory, `crash-${crashes++}`))
      const found = await copy.open()
      try {
        const entry = found.fs.lookup(found.tree.root, name)
        if (entry === undefined) return undefined
        found.fs.open(entry.ino, 0, false)
        found.buffers.kernelOpen(entry.ino)
        const bytes = await found.fs.read(entry.ino, 0, 1000)
        return Buffer.from(bytes).toString('latin1')
      } finally {
        await found.close()
      }
    },
  }
}

/** Holds every seal back until it is let go, one by one. */
function holdSeals(vault: RealVault): { waiting: (() => void)[]; end: () => void } {
  const { content } = vault
  const seal = content.seal.bind(content)
  const waiting: (() => void)[] = []
  content.seal = async (...parameters) => {
    await new Promise<void>((resolve) => waiting.push(resolve))
    return seal(...parameters)
  }
  const end = (): void => {
    content.seal = seal
    for (const go of waiting.splice(0)) go()
  }
  return { waiting, end }
}

void t.test('a rename over a file brings what was written before it, or nothing', async (test) => {
  const { vault, make, write, afterCrash } = await open(test)
  const { fs, files, tree } = vault
  await fs.fsync(make('f', 'old'))
  const held = holdSeals(vault)
  const ino = make('tmp', 'half')
  files.flush(ino)
  await pause(5)
  test.equal(held.waiting.length, 1, 'a pass has frozen the half')
  write(ino, 'half and the rest')
  fs.rename(tree.root, 'tmp', tree.root, 'f', 0)
  held.waiting.shift()?.()
  await Promise.race([files.fsyncNames(), pause(300)])
  test.equal(await afterCrash('f'), 'old')
  held.end()
  await fs.fsync(ino)
  test.equal(await afterCrash('f'), 'half and the rest')
})

void t.test('a second rename while the first waits', async (test) => {
  const { vault, make, write, afterCrash } = await open(test)
  const { fs, files, tree } = vault
  await fs.fsync(make('f', 'old f'))
  await fs.fsync(make('g', 'old g'))
  const held = holdSeals(vault)
  const ino = make('tmp', 'one')
  fs.rename(tree.root, 'tmp', tree.root, 'f', 0)
  await pause(5)
  write(ino, 'one two')
  fs.rename(tree.root, 'f', tree.root, 'g', 0)
  held.waiting.shift()?.()
  await Promise.race([files.fsyncNames(), pause(300)])
  test.equal(await afterCrash('g'), 'old g')
  held.end()
  await fs.fsync(ino)
  test.equal(await afterCrash('g'), 'one two')
  test.equal(await afterCrash('f'), undefined)
})

void t.test('rename over a file with two names: the old or the new content', async (test) => {
  const { vault, make, afterCrash } = await open(test)
  const { fs, files, tree } = vault
  const old = make('f', 'old')
  await fs.fsync(old)
  fs.link(old, tree.root, 'backup')
  await files.fsyncNames()
  const held = holdSeals(vault)
  const ino = make('tmp', 'new')
  fs.rename(tree.root, 'tmp', tree.root, 'f', 0)
  await Promise.race([files.fsyncNames(), pause(300)])
  test.equal(await afterCrash('f'), 'old')
  held.end()
  await fs.fsync(ino)
  test.equal(await afterCrash('f'), 'new')
  test.equal(await afterCrash('backup'), 'old')
})

void t.test('content that cannot be sealed: who waits behind its rename is told', async (test) => {
  const { vault, make, afterCrash } = await open(test)
  const { fs, tree, content } = vault
  await fs.fsync(make('f', 'old'))
  const other = make('other', 'other')
  const seal = content.seal.bind(content)
  const ino = make('tmp', 'new')
  content.seal = async (working, job, options) => {
    if (job.ino === ino) throw new LatticeError('disk-full', 'injected')
    return seal(working, job, options)
  }
  fs.rename(tree.root, 'tmp', tree.root, 'f', 0)
  await test.rejects(fs.fsync(other), { code: 'disk-full' })
  await test.rejects(fs.fsync(other), { code: 'disk-full' }, 'a retried one as well')
  await test.rejects(vault.files.syncAll(), { code: 'disk-full' })
  content.seal = seal
  await fs.fsync(other)
  test.equal(await afterCrash('f'), 'new')
  test.equal(await afterCrash('other'), 'other')
})

void t.test('renamed over, then gone: failing once does not commit an empty file', async (test) => {
  const { vault, make } = await open(test)
  const { fs, files, tree, content } = vault
  await fs.fsync(make('f', 'old'))
  const ino = make('tmp', 'new')
  const seal = content.seal.bind(content)
  let failures = 0
  content.seal = async (working, job, options) => {
    if (job.ino === ino && failures++ < 2) throw new LatticeError('disk-full', 'injected')
    return seal(working, job, options)
  }
  fs.rename(tree.root, 'tmp', tree.root, 'f', 0)
  vault.buffers.kernelRelease(ino)
  fs.unlink(tree.root, 'f')
  await until(async () => files.fsyncNames())
  const put = vault.tree.node(ino)?.content
  test.equal(put?.kind === 'inline' && Buffer.from(put.bytes).toString(), 'new')
})

void t.test('a journal that cannot be flushed: no changes, and RAM is bounded', async (test) => {
  const { vault, make, write, afterCrash } = await open(test)
  const { fs, tree, journal, buffers } = vault
  const ino = make('f', 'old')
  await fs.fsync(ino)
  const flush = journal.flush.bind(journal)
  const io = new LatticeError('io', 'injected')
  Object.defineProperty(journal, 'trouble', { configurable: true, get: () => io })
  journal.flush = async () => {
    throw io
  }
  const held = journal.pendingBytes
  for (let i = 0; i < 20; i++) {
    write(ino, String(i).padEnd(9000))
    await test.rejects(fs.fsync(ino), { code: 'io' })
  }
  test.ok(journal.pendingBytes <= held, 'nothing is added to what waits')
  test.throws(() => make('g', ''), { code: 'io' })
  test.throws(() => fs.unlink(tree.root, 'f'), { code: 'io' })
  test.throws(() => fs.setattr(ino, 1, { ...fs.getattr(ino), mode: 0o600 }), { code: 'io' })
  journal.flush = flush
  Reflect.deleteProperty(journal, 'trouble')
  await fs.fsync(ino)
  test.equal(buffers.isDirty(ino), false)
  test.match(await afterCrash('f'), /^19 /)
})

void t.test('a stream whose passes never pause is put all the same', async (test) => {
  const { vault, make, write } = await open(test)
  const { files, tree, content } = vault
  const seal = content.seal.bind(content)
  content.seal = async (...parameters) => {
    await pause(3)
    return seal(...parameters)
  }
  const ino = make('stream', 'x')
  const end = Date.now() + 1500
  while (tree.node(ino)?.content === undefined && Date.now() < end) {
    write(ino, 'x')
    files.full(ino)
    await pause(1)
  }
  test.not(tree.node(ino)?.content, undefined)
})

void t.test('extended attributes: what is accepted can be committed', async (test) => {
  for (const [count, sizeBytes] of [[8, 60_000], [2000, 1]] as const) {
    const { vault, make } = await open(test)
    const { fs, tree } = vault
    const inos = [make('f', 'old'), make('tmp', 'new')]
    inos.forEach((ino, file) => {
      try {
        for (let i = 0; i < count; i++) {
          fs.setxattr(ino, `user.${file}-${i}-${'x'.repeat(10)}`, new Uint8Array(sizeBytes), 0)
        }
        test.fail('unbounded')
      } catch (error) {
        test.match(error, { errno: 28 }, 'ENOSPC')
      }
    })
    await fs.fsync(inos[1] as Ino)
    fs.rename(tree.root, 'tmp', tree.root, 'f', 0)
    await fs.fsync(inos[1] as Ino)
    await fs.fsync(make('later', 'later'))
  }
})

async function until(attempt: () => Promise<void>): Promise<void> {
  for (let i = 0; i < 100; i++) {
    try {
      return await attempt()
    } catch {
      await pause(10)
    }
  }
  throw new Error('never')
}
