// Saves as programs make them, replayed call by call: contents and metadata right afterwards, after
// everything was sealed and the kernel's caches dropped, and nothing left behind.

import t from 'tap'
import { DirectPosix } from './direct-posix.helper.ts'
import { O_CREAT, O_EXCL, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY } from './posix.helper.ts'
import { PosixError, exists, readText, text, writeFile, type Posix } from './posix.helper.ts'
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

for (const content of ['second', 'x'.repeat(50_000)]) {
  for (const { name, save, leaves, newInode } of SAVES) {
    void t.test(`${name}, ${content.length} bytes`, async (test) => {
      const vault = memoryVault({ speed: 50 })
      test.teardown(vault.close)
      const fs = new DirectPosix('memory', vault.fs, vault.buffers)
      await writeFile(fs, '/doc', 'first version')
      await fs.chmod('/doc', 0o640)
      await fs.utimes('/doc', 5, 5)
      const before = await fs.stat('/doc')

      await save(fs, content)

      const check = async (when: string): Promise<void> => {
        const after = await fs.stat('/doc')
        test.equal(await readText(fs, '/doc'), content, `${when}: content`)
        test.equal(after.size, content.length, `${when}: size`)
        test.equal(after.nlink, 1, `${when}: links`)
        test.equal(after.mode & 0o7777, 0o640, `${when}: mode`)
        test.equal(after.ino !== before.ino, newInode, `${when}: inode`)
        test.ok(after.mtimeNs > 6n * SECOND, `${when}: mtime moved`)
        test.same((await fs.readdir('/')).sort(), ['doc', ...(leaves ?? [])], `${when}: entries`)
        for (const other of leaves ?? []) {
          test.equal(await readText(fs, `/${other}`), 'first version')
        }
        test.notOk(await exists(fs, '/doc~'))
      }
      await check('at once')
      await vault.files.syncAll()
      await check('synced')
      fs.forget()
      vault.buffers.deliver()
      await check('forgotten and read again')
      test.same(vault.troubles, [])
      test.equal(vault.files.orphans.count, 0, 'no orphan is left')
    })
  }
}
