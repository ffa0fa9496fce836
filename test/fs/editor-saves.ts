// Saves as programs make them, replayed call by call: contents and metadata right afterwards, after
// everything was sealed, after the vault was opened again, and rebuilt; nothing is left behind.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { DirectPosix } from './direct-posix.helper.ts'
import { O_CREAT, O_EXCL, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY } from './posix.helper.ts'
import { PosixError, readText, text, writeFile, type Posix } from './posix.helper.ts'
import { VaultPlace } from './real-vault.helper.ts'
import { memoryVault } from './vault.helper.ts'

const SECOND = 1_000_000_000n

interface Save {
  name: string
  /** Saves `content` into /doc, which holds 'first version', mode 0640. */
  save: (fs: Posix, content: string) => Promise<void>
  /** What else lies in the directory afterwards. */
  leaves?: string[]
  /** The save makes a new inode under the name. */
  newInode: boolean
}

const writeAll = async (fs: Posix, fd: number, content: string): Promise<void> => {
  const bytes = text(content)
  for (let at = 0; at < bytes.length; at += 4096) {
    await fs.write(fd, bytes.subarray(at, at + 4096), at)
  }
}

const SAVES: Save[] = [
  {
    // vim, backupcopy=no: probes with 4913, renames to doc~, writes anew, removes the backup
    name: 'vim: backup by rename',
    newInode: true,
    save: async (fs, content) => {
      const before = await fs.stat('/doc')
      const probe = await fs.open('/4913', O_CREAT | O_EXCL | O_WRONLY, 0o100640)
      await fs.chown('/4913', before.uid, before.gid)
      await fs.close(probe)
      await fs.unlink('/4913')
      await fs.rename('/doc', '/doc~')
      const fd = await fs.open('/doc', O_WRONLY | O_CREAT | O_TRUNC, 0o640)
      await writeAll(fs, fd, content)
      await fs.fsync(fd)
      await fs.close(fd)
      await fs.chmod('/doc', before.mode & 0o7777)
      await fs.unlink('/doc~')
    },
  },
  {
    // vim, backupcopy=yes: copies to doc~, then truncates and writes in place
    name: 'vim: backup by copy',
    newInode: false,
    save: async (fs, content) => {
      const old = await fs.open('/doc', O_RDONLY)
      const backup = await fs.open('/doc~', O_CREAT | O_EXCL | O_WRONLY, 0o600)
      await fs.write(backup, await fs.read(old, 0, 65536), 0)
      await fs.close(backup)
      await fs.close(old)
      await fs.utimes('/doc~', 1000, 1000)
      const fd = await fs.open('/doc', O_WRONLY | O_CREAT | O_TRUNC, 0o640)
      await writeAll(fs, fd, content)
      await fs.fsync(fd)
      await fs.close(fd)
      await fs.unlink('/doc~')
    },
  },
  {
    name: 'VS Code: truncate and write in place',
    newInode: false,
    save: async (fs, content) => {
      const fd = await fs.open('/doc', O_RDWR)
      await fs.ftruncate(fd, 0)
      await writeAll(fs, fd, content)
      await fs.fsync(fd)
      await fs.close(fd)
    },
  },
  {
    // lock file, a temporary beside it, rename over, unlock
    name: 'LibreOffice: lock, temporary, rename over',
    newInode: true,
    save: async (fs, content) => {
      await writeFile(fs, '/.~lock.doc#', ',me,host,20.11.2026 10:00,file:///;')
      const fd = await fs.open('/lu1234.tmp', O_CREAT | O_EXCL | O_RDWR, 0o600)
      await writeAll(fs, fd, content)
      await fs.write(fd, text(content.slice(0, 4)), 0)
      await fs.close(fd)
      await fs.chmod('/lu1234.tmp', 0o640)
      await fs.rename('/lu1234.tmp', '/doc')
      await fs.unlink('/.~lock.doc#')
    },
  },
  {
    // O_EXCL lock by link(): the link count tells who won; the old file stays as a dated backup
    name: 'GnuCash: lock by link, backup by link, rename over',
    newInode: true,
    leaves: ['doc.20261120.gnucash'],
    save: async (fs, content) => {
      await fs.close(await fs.open('/doc.LCK', O_CREAT | O_EXCL | O_RDWR, 0o600))
      await fs.link('/doc.LCK', '/doc.host.1234.LNK')
      const { nlink } = await fs.stat('/doc.LCK')
      if (nlink !== 2) throw new Error(`lock has ${nlink} links`)
      await writeFile(fs, '/doc.tmp-a1b2', content)
      await fs.chmod('/doc.tmp-a1b2', 0o640)
      await fs.link('/doc', '/doc.20261120.gnucash')
      await fs.unlink('/doc')
      await fs.link('/doc.tmp-a1b2', '/doc')
      await fs.unlink('/doc.tmp-a1b2')
      await fs.unlink('/doc.host.1234.LNK')
      await fs.unlink('/doc.LCK')
    },
  },
  {
    name: 'git: index.lock, rename over while open elsewhere',
    newInode: true,
    save: async (fs, content) => {
      const reader = await fs.open('/doc', O_RDONLY)
      const fd = await fs.open('/doc.lock', O_CREAT | O_EXCL | O_RDWR, 0o640)
      const again = fs.open('/doc.lock', O_CREAT | O_EXCL | O_RDWR)
      const busy = await again.catch((error: unknown) => error)
      if (!(busy instanceof PosixError) || busy.errno !== 17) throw new Error('two locks')
      await writeAll(fs, fd, content)
      await fs.close(fd)
      await fs.rename('/doc.lock', '/doc')
      const old = Buffer.from(await fs.read(reader, 0, 100)).toString()
      if (old !== 'first version') throw new Error(`the reader saw ${old}`)
      await fs.close(reader)
    },
  },
  {
    // rollback journal: written and synced before the database's pages, then removed
    name: 'sqlite: rollback journal, pages in place',
    newInode: false,
    save: async (fs, content) => {
      const db = await fs.open('/doc', O_RDWR)
      const journal = await fs.open('/doc-journal', O_CREAT | O_RDWR, 0o640)
      await fs.write(journal, text('\xd9\xd5\x05\xf9\x20\xa1\x63\xd7'), 0)
      await fs.write(journal, await fs.read(db, 0, 4096), 512)
      await fs.fsync(journal)
      await fs.write(journal, text('\0\0\0\x01'), 8)
      await fs.fsync(journal)
      await fs.ftruncate(db, content.length)
      await writeAll(fs, db, content)
      await fs.fsync(db)
      await fs.close(journal)
      await fs.unlink('/doc-journal')
      await fs.close(db)
    },
  },
]

interface Stage {
  fs: DirectPosix
  /** In order: what is done before the checks are repeated. */
  moments: [string, () => Promise<void>][]
  finish: () => Promise<void>
}

async function naive(): Promise<Stage> {
  const { fs, files, buffers, troubles, close } = memoryVault({ speed: 50 })
  const direct = new DirectPosix('naive parts', fs, buffers)
  return {
    fs: direct,
    moments: [
      ['sealed', async () => files.syncAll()],
      [
        'forgotten',
        async () => {
          direct.forget()
          buffers.deliver()
        },
      ],
    ],
    finish: async () => {
      await close()
      if (troubles.length > 0) throw troubles[0]?.error
      if (files.orphans.count > 0) throw new Error('orphans are left')
    },
  }
}

async function real(): Promise<Stage> {
  const root = mkdtempSync(join(tmpdir(), 'lattice-saves-'))
  const place = new VaultPlace(root, 20)
  let vault = await place.open()
  const direct = new DirectPosix('real parts', vault.fs, vault.buffers)
  const reopen = async (): Promise<void> => {
    await vault.close()
    vault = await place.open()
    direct.remounted(vault.fs, vault.buffers)
  }
  return {
    fs: direct,
    moments: [
      ['sealed', async () => vault.files.syncAll()],
      ['opened again', reopen],
      [
        'rebuilt without its index',
        async () => {
          await vault.close()
          place.removeIndex()
          vault = await place.open()
          direct.remounted(vault.fs, vault.buffers)
        },
      ],
    ],
    finish: async () => {
      const { troubles } = vault
      await vault.close()
      rmSync(root, { recursive: true, force: true })
      if (troubles.length > 0) throw troubles[0]?.error
    },
  }
}

async function check(test: Test, stage: Stage, save: Save, content: string): Promise<void> {
  const { fs } = stage
  await writeFile(fs, '/doc', 'first version')
  await fs.chmod('/doc', 0o640)
  await fs.utimes('/doc', 5, 5)
  const before = await fs.stat('/doc')
  const expect = async (when: string): Promise<void> => {
    const after = await fs.stat('/doc')
    test.equal(await readText(fs, '/doc'), content, `${when}: content`)
    test.equal(after.size, content.length, `${when}: size`)
    test.equal(after.nlink, 1, `${when}: links`)
    test.equal(after.mode & 0o7777, 0o640, `${when}: mode`)
    test.equal(after.ino !== before.ino, save.newInode, `${when}: inode`)
    test.ok(after.mtimeNs > 6n * SECOND, `${when}: mtime moved`)
    const leaves = save.leaves ?? []
    test.same((await fs.readdir('/')).sort(), ['doc', ...leaves], `${when}: entries`)
    for (const other of leaves) test.equal(await readText(fs, `/${other}`), 'first version')
  }
  await save.save(fs, content)
  await expect('at once')
  for (const [when, act] of stage.moments) {
    await act()
    await expect(when)
  }
}

for (const make of [naive, real]) {
  for (const save of SAVES) {
    for (const content of ['second', 'x'.repeat(50_000)]) {
      void t.test(`${save.name}, ${content.length} bytes, ${make.name} parts`, async (test) => {
        const stage = await make()
        test.teardown(stage.finish)
        await check(test, stage, save, content)
      })
    }
  }
}
