// The POSIX suite as a table: name, what it needs of a driver, test. Each case has a directory of
// its own. Runs on any Posix: a plain directory (which shows that the suite is right), FileSystem
// without a mount, and a mounted vault.

import type { Test } from 'tap'
import { O_APPEND, O_CREAT, O_EXCL, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY } from './posix.helper.ts'
import { PosixError, exists, readFile, readText, text, writeFile } from './posix.helper.ts'
import type { Feature, Posix } from './posix.helper.ts'

const ENOENT = 2
const ENXIO = 6
const EEXIST = 17
const ENOTDIR = 20
const EISDIR = 21
const EINVAL = 22
const ENAMETOOLONG = 36
const ENOTEMPTY = 39
const ELOOP = 40
const ENODATA = 61
const EOPNOTSUPP = 95
const EPERM = 1

export interface Case {
  name: string
  needs?: Feature[]
  run: (fs: Posix, t: Test, dir: string) => Promise<void>
}

async function refuses(t: Test, errno: number | number[], act: Promise<unknown>): Promise<void> {
  const allowed = [errno].flat()
  try {
    await act
    t.fail(`should have failed with ${allowed.join(' or ')}`)
  } catch (error) {
    const got = error instanceof PosixError ? error.errno : error
    t.ok(allowed.includes(got as number), `errno ${String(got)}, wanted ${allowed.join(' or ')}`)
  }
}

const pattern = (length: number, salt = 0): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => (i * 31 + (i >> 8) * 7 + salt) & 255)

const same = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0

const names: Case[] = [
  {
    name: 'create, stat, unlink',
    run: async (fs, t, dir) => {
      await writeFile(fs, `${dir}/a`, 'hello')
      const stat = await fs.stat(`${dir}/a`)
      t.equal(stat.size, 5)
      t.equal(stat.nlink, 1)
      t.equal(stat.mode & 0o170000, 0o100000)
      await fs.unlink(`${dir}/a`)
      await refuses(t, ENOENT, fs.stat(`${dir}/a`))
      await refuses(t, ENOENT, fs.unlink(`${dir}/a`))
    },
  },
  {
    name: 'O_EXCL refuses what exists, dangling symlinks too',
    run: async (fs, t, dir) => {
      await writeFile(fs, `${dir}/a`, '')
      await fs.symlink('nowhere', `${dir}/s`)
      const flags = O_CREAT | O_EXCL | O_WRONLY
      await refuses(t, EEXIST, fs.open(`${dir}/a`, flags))
      await refuses(t, EEXIST, fs.open(`${dir}/s`, flags))
    },
  },
  {
    name: 'making over what exists is EEXIST',
    run: async (fs, t, dir) => {
      await writeFile(fs, `${dir}/a`, '')
      await refuses(t, EEXIST, fs.mkdir(`${dir}/a`))
      await refuses(t, EEXIST, fs.symlink('x', `${dir}/a`))
      await refuses(t, EEXIST, fs.link(`${dir}/a`, `${dir}/a`))
      await fs.mkdir(`${dir}/d`)
      await refuses(t, EEXIST, fs.mkdir(`${dir}/d`))
    },
  },
  {
    name: 'a path through a file is ENOTDIR',
    run: async (fs, t, dir) => {
      await writeFile(fs, `${dir}/a`, '')
      await refuses(t, ENOTDIR, fs.stat(`${dir}/a/b`))
      await refuses(t, ENOTDIR, fs.open(`${dir}/a/b`, O_CREAT | O_WRONLY))
      await refuses(t, ENOTDIR, fs.readdir(`${dir}/a`))
      await refuses(t, ENOTDIR, fs.rmdir(`${dir}/a`))
    },
  },
  {
    name: 'directories: unlink is EISDIR, rmdir of a full one ENOTEMPTY',
    run: async (fs, t, dir) => {
      await fs.mkdir(`${dir}/d`)
      await writeFile(fs, `${dir}/d/a`, 'x')
      await refuses(t, EISDIR, fs.unlink(`${dir}/d`))
      await refuses(t, ENOTEMPTY, fs.rmdir(`${dir}/d`))
      await refuses(t, EISDIR, fs.open(`${dir}/d`, O_WRONLY))
      await fs.unlink(`${dir}/d/a`)
      await fs.rmdir(`${dir}/d`)
      t.notOk(await exists(fs, `${dir}/d`))
    },
  },
  {
    name: 'link counts of directories: 2 + subdirectories',
    run: async (fs, t, dir) => {
      const before = (await fs.stat(dir)).nlink
      await fs.mkdir(`${dir}/d`)
      await fs.mkdir(`${dir}/d/e`)
      await writeFile(fs, `${dir}/d/f`, '')
      t.equal((await fs.stat(dir)).nlink, before + 1)
      t.equal((await fs.stat(`${dir}/d`)).nlink, 3)
      await fs.rename(`${dir}/d/e`, `${dir}/e`)
      t.equal((await fs.stat(`${dir}/d`)).nlink, 2)
      t.equal((await fs.stat(dir)).nlink, before + 2)
      await fs.rmdir(`${dir}/e`)
      t.equal((await fs.stat(dir)).nlink, before + 1)
    },
  },
  {
    name: 'names: 255 bytes fit, 256 do not; bytes stay as they are',
    run: async (fs, t, dir) => {
      const long = 'n'.repeat(255)
      await writeFile(fs, `${dir}/${long}`, 'x')
      t.equal(await readText(fs, `${dir}/${long}`), 'x')
      await refuses(t, ENAMETOOLONG, fs.open(`${dir}/${long}n`, O_CREAT | O_WRONLY))
      await refuses(t, ENAMETOOLONG, fs.mkdir(`${dir}/${long}n`))
      await writeFile(fs, `${dir}/ spaced\tand\nbroken`, 'y')
      t.same((await fs.readdir(dir)).sort(), [' spaced\tand\nbroken', long])
    },
  },
  {
    name: 'directory times move with entries, not with content',
    run: async (fs, t, dir) => {
      await fs.mkdir(`${dir}/d`)
      await writeFile(fs, `${dir}/d/a`, '')
      await fs.utimes(`${dir}/d`, 1000, 2000)
      await writeFile(fs, `${dir}/d/a`, 'content')
      t.equal((await fs.stat(`${dir}/d`)).mtimeNs, 2000n * 1_000_000_000n)
      await writeFile(fs, `${dir}/d/b`, '')
      t.ok((await fs.stat(`${dir}/d`)).mtimeNs > 2000n * 1_000_000_000n)
      await fs.utimes(`${dir}/d`, 1000, 2000)
      await fs.unlink(`${dir}/d/b`)
      const after = await fs.stat(`${dir}/d`)
      t.ok(after.mtimeNs > 2000n * 1_000_000_000n)
      t.equal(after.mtimeNs, after.ctimeNs)
    },
  },
  {
    name: 'symlinks: read back, followed, 4095 bytes, loops',
    run: async (fs, t, dir) => {
      await writeFile(fs, `${dir}/a`, 'target')
      await fs.symlink('a', `${dir}/s`)
      t.equal(await fs.readlink(`${dir}/s`), 'a')
      t.equal(await readText(fs, `${dir}/s`), 'target')
      const stat = await fs.lstat(`${dir}/s`)
      t.equal(stat.mode, 0o120777)
      t.equal(stat.size, 1)
      const long = 'x/'.repeat(2047) + 'y'
      await fs.symlink(long, `${dir}/long`)
      t.equal(await fs.readlink(`${dir}/long`), long)
      await refuses(t, ENAMETOOLONG, fs.symlink(`${long}zz`, `${dir}/longer`))
      await fs.symlink('loop', `${dir}/loop`)
      await refuses(t, ELOOP, fs.stat(`${dir}/loop`))
      await refuses(t, EINVAL, fs.readlink(`${dir}/a`))
      await refuses(t, ENOENT, fs.symlink('', `${dir}/empty`))
    },
  },
  {
    name: 'hard links: one inode, counted, alive until the last name',
    run: async (fs, t, dir) => {
      await writeFile(fs, `${dir}/a`, 'one')
      await fs.link(`${dir}/a`, `${dir}/b`)
      const [a, b] = [await fs.stat(`${dir}/a`), await fs.stat(`${dir}/b`)]
      t.equal(a.ino, b.ino)
      t.equal(a.nlink, 2)
      await writeFile(fs, `${dir}/b`, 'two')
      t.equal(await readText(fs, `${dir}/a`), 'two')
      await fs.unlink(`${dir}/a`)
      t.equal((await fs.stat(`${dir}/b`)).nlink, 1)
      t.equal(await readText(fs, `${dir}/b`), 'two')
      await fs.mkdir(`${dir}/d`)
      await refuses(t, EPERM, fs.link(`${dir}/d`, `${dir}/e`))
    },
  },
  {
    name: 'readdir of many, with changes in between',
    run: async (fs, t, dir) => {
      const wanted: string[] = []
      for (let i = 0; i < 300; i++) {
        await writeFile(fs, `${dir}/f${i}`, '')
        wanted.push(`f${i}`)
      }
      t.same((await fs.readdir(dir)).sort(), wanted.sort())
      for (let i = 0; i < 300; i += 2) await fs.unlink(`${dir}/f${i}`)
      t.equal((await fs.readdir(dir)).length, 150)
    },
  },
  {
    name: 'specials are inert inodes',
    needs: ['mknod'],
    run: async (fs, t, dir) => {
      await fs.mknod(`${dir}/fifo`, 0o010644, 0)
      await fs.mknod(`${dir}/sock`, 0o140600, 0)
      t.equal((await fs.lstat(`${dir}/fifo`)).mode, 0o010644)
      t.equal((await fs.lstat(`${dir}/sock`)).mode, 0o140600)
      await fs.mknod(`${dir}/null`, 0o020666, 0x103)
      t.equal((await fs.lstat(`${dir}/null`)).rdev, 0x103)
      await fs.rename(`${dir}/fifo`, `${dir}/pipe`)
      await fs.unlink(`${dir}/pipe`)
      await fs.unlink(`${dir}/sock`)
      await fs.mknod(`${dir}/plain`, 0o100640, 0)
      t.equal((await fs.lstat(`${dir}/plain`)).mode, 0o100640)
    },
  },
]

const renames: Case[] = [
  {
    name: 'rename moves, over files replaces, keeps the inode',
    run: async (fs, t, dir) => {
      await writeFile(fs, `${dir}/a`, 'aaa')
      await writeFile(fs, `${dir}/b`, 'b')
      const { ino } = await fs.stat(`${dir}/a`)
      await fs.rename(`${dir}/a`, `${dir}/b`)
      t.equal((await fs.stat(`${dir}/b`)).ino, ino)
      t.equal(await readText(fs, `${dir}/b`), 'aaa')
      t.notOk(await exists(fs, `${dir}/a`))
      await refuses(t, ENOENT, fs.rename(`${dir}/a`, `${dir}/c`))
      await refuses(t, ENOENT, fs.rename(`${dir}/b`, `${dir}/no/c`))
    },
  },
  {
    name: 'rename of directories: over empty ones only, never below themselves',
    run: async (fs, t, dir) => {
      await fs.mkdir(`${dir}/d`)
      await fs.mkdir(`${dir}/d/sub`)
      await fs.mkdir(`${dir}/e`)
      await fs.mkdir(`${dir}/full`)
      await writeFile(fs, `${dir}/full/x`, '')
      await writeFile(fs, `${dir}/f`, '')
      await refuses(t, EINVAL, fs.rename(`${dir}/d`, `${dir}/d/sub/d`))
      await refuses(t, EINVAL, fs.rename(`${dir}/d`, `${dir}/d/new`))
      await refuses(t, [ENOTEMPTY, EEXIST], fs.rename(`${dir}/d`, `${dir}/full`))
      await refuses(t, [ENOTEMPTY, EEXIST], fs.rename(`${dir}/d/sub`, `${dir}/d`))
      await refuses(t, ENOTDIR, fs.rename(`${dir}/d`, `${dir}/f`))
      await refuses(t, EISDIR, fs.rename(`${dir}/f`, `${dir}/e`))
      await fs.rename(`${dir}/d`, `${dir}/e`)
      t.same((await fs.readdir(`${dir}/e`)).sort(), ['sub'])
      await fs.rename(`${dir}/e`, `${dir}/e`)
      t.ok(await exists(fs, `${dir}/e/sub`))
    },
  },
  {
    name: 'rename between two links of one inode does nothing',
    run: async (fs, t, dir) => {
      await writeFile(fs, `${dir}/a`, 'x')
      await fs.link(`${dir}/a`, `${dir}/b`)
      await fs.rename(`${dir}/a`, `${dir}/b`)
      t.same((await fs.readdir(dir)).sort(), ['a', 'b'])
      await fs.rename(`${dir}/a`, `${dir}/a`)
      t.equal((await fs.stat(`${dir}/a`)).nlink, 2)
    },
  },
  {
    name: 'rename over one of two links leaves the other',
    run: async (fs, t, dir) => {
      await writeFile(fs, `${dir}/a`, 'old')
      await fs.link(`${dir}/a`, `${dir}/b`)
      await writeFile(fs, `${dir}/n`, 'new')
      await fs.rename(`${dir}/n`, `${dir}/a`)
      t.equal(await readText(fs, `${dir}/a`), 'new')
      t.equal(await readText(fs, `${dir}/b`), 'old')
      t.equal((await fs.stat(`${dir}/b`)).nlink, 1)
    },
  },
  {
    name: 'rename over a symlink replaces the link, not its target',
    run: async (fs, t, dir) => {
      await writeFile(fs, `${dir}/target`, 'kept')
      await fs.symlink('target', `${dir}/s`)
      await writeFile(fs, `${dir}/n`, 'new')
      await fs.rename(`${dir}/n`, `${dir}/s`)
      t.equal((await fs.lstat(`${dir}/s`)).mode & 0o170000, 0o100000)
      t.equal(await readText(fs, `${dir}/target`), 'kept')
    },
  },
  {
    name: 'rename of an open, dirty file over another',
    run: async (fs, t, dir) => {
      await writeFile(fs, `${dir}/a`, 'old content')
      const old = await fs.open(`${dir}/a`, O_RDONLY)
      const fd = await fs.open(`${dir}/t`, O_CREAT | O_RDWR)
      await fs.write(fd, text('new'), 0)
      await fs.rename(`${dir}/t`, `${dir}/a`)
      t.equal(await readText(fs, `${dir}/a`), 'new')
      await fs.write(fd, text('newer'), 0)
      t.equal(await readText(fs, `${dir}/a`), 'newer')
      t.equal(Buffer.from(await fs.read(old, 0, 100)).toString(), 'old content')
      t.equal((await fs.fstat(old)).nlink, 0)
      await fs.close(fd)
      await fs.close(old)
      t.equal(await readText(fs, `${dir}/a`), 'newer')
    },
  },
  {
    name: 'renameat2: NOREPLACE, EXCHANGE, WHITEOUT',
    needs: ['rename-flags'],
    run: async (fs, t, dir) => {
      await writeFile(fs, `${dir}/a`, 'a')
      await writeFile(fs, `${dir}/b`, 'b')
      await refuses(t, EEXIST, fs.rename(`${dir}/a`, `${dir}/b`, 1))
      await fs.rename(`${dir}/a`, `${dir}/c`, 1)
      await fs.rename(`${dir}/c`, `${dir}/b`, 2)
      t.equal(await readText(fs, `${dir}/b`), 'a')
      t.equal(await readText(fs, `${dir}/c`), 'b')
      await refuses(t, ENOENT, fs.rename(`${dir}/c`, `${dir}/no`, 2))
      await refuses(t, EINVAL, fs.rename(`${dir}/c`, `${dir}/d`, 4))
      await refuses(t, EINVAL, fs.rename(`${dir}/c`, `${dir}/b`, 3))
      await fs.mkdir(`${dir}/d`)
      await fs.mkdir(`${dir}/d/e`)
      await fs.rename(`${dir}/d/e`, `${dir}/b`, 2)
      t.equal(await readText(fs, `${dir}/d/e`), 'a')
      t.equal((await fs.stat(`${dir}/d`)).nlink, 2)
      await refuses(t, EINVAL, fs.rename(`${dir}/d`, `${dir}/d/e`, 2))
    },
  },
]

const content: Case[] = [
  {
    name: 'write, read back, in pieces and over the end',
    run: async (fs, t, dir) => {
      const bytes = pattern(300_000)
      await writeFile(fs, `${dir}/a`, bytes)
      t.ok(same(await readFile(fs, `${dir}/a`), bytes))
      const fd = await fs.open(`${dir}/a`, O_RDONLY)
      t.equal((await fs.read(fd, 300_000, 10)).length, 0)
      t.equal((await fs.read(fd, 299_995, 10)).length, 5)
      await fs.close(fd)
    },
  },
  {
    name: 'overwriting in the middle, after a close and a sync',
    run: async (fs, t, dir) => {
      const bytes = pattern(100_000)
      await writeFile(fs, `${dir}/a`, bytes)
      const fd = await fs.open(`${dir}/a`, O_RDWR)
      await fs.fsync(fd)
      await fs.write(fd, pattern(5000, 9), 40_000)
      await fs.write(fd, pattern(10, 5), 99_995)
      bytes.set(pattern(5000, 9), 40_000)
      const wanted = Buffer.concat([bytes.subarray(0, 99_995), pattern(10, 5)])
      t.ok(same(await readFile(fs, `${dir}/a`), wanted))
      await fs.fsync(fd)
      t.ok(same(await readFile(fs, `${dir}/a`), wanted))
      await fs.close(fd)
    },
  },
  {
    name: 'O_APPEND and O_TRUNC',
    run: async (fs, t, dir) => {
      await writeFile(fs, `${dir}/a`, 'one')
      const one = await fs.open(`${dir}/a`, O_WRONLY | O_APPEND)
      const two = await fs.open(`${dir}/a`, O_WRONLY | O_APPEND)
      await fs.write(one, text(' two'))
      await fs.write(two, text(' three'))
      await fs.close(one)
      await fs.close(two)
      t.equal(await readText(fs, `${dir}/a`), 'one two three')
      await fs.close(await fs.open(`${dir}/a`, O_WRONLY | O_TRUNC))
      t.equal((await fs.stat(`${dir}/a`)).size, 0)
    },
  },
  {
    name: 'truncate: shrink, grow by zeros, nobody has it open',
    run: async (fs, t, dir) => {
      await writeFile(fs, `${dir}/a`, pattern(50_000))
      await fs.truncate(`${dir}/a`, 20_000)
      t.equal((await fs.stat(`${dir}/a`)).size, 20_000)
      await fs.truncate(`${dir}/a`, 30_000)
      const bytes = await readFile(fs, `${dir}/a`)
      t.ok(same(bytes.subarray(0, 20_000), pattern(20_000)))
      t.ok(bytes.subarray(20_000).every((byte) => byte === 0))
      t.equal(bytes.length, 30_000)
      await refuses(t, EISDIR, fs.truncate(dir, 0))
      await refuses(t, ENOENT, fs.truncate(`${dir}/no`, 0))
    },
  },
  {
    name: 'what was cut off never comes back',
    run: async (fs, t, dir) => {
      await writeFile(fs, `${dir}/a`, pattern(10_000, 3))
      const fd = await fs.open(`${dir}/a`, O_RDWR)
      await fs.fsync(fd)
      await fs.ftruncate(fd, 100)
      await fs.ftruncate(fd, 10_000)
      const bytes = await fs.read(fd, 0, 10_000)
      t.ok(bytes.subarray(100).every((byte) => byte === 0))
      await fs.fsync(fd)
      await fs.write(fd, text('x'), 20_000)
      await fs.close(fd)
      const after = await readFile(fs, `${dir}/a`)
      t.ok(after.subarray(100, 20_000).every((byte) => byte === 0))
      t.equal(after.length, 20_001)
    },
  },
  {
    name: 'sparse: a write far out reads as zeros before it',
    run: async (fs, t, dir) => {
      const fd = await fs.open(`${dir}/a`, O_CREAT | O_RDWR)
      await fs.write(fd, text('end'), 1_000_000)
      t.equal((await fs.fstat(fd)).size, 1_000_003)
      t.ok((await fs.read(fd, 500_000, 4096)).every((byte) => byte === 0))
      await fs.fsync(fd)
      await fs.close(fd)
      const bytes = await readFile(fs, `${dir}/a`)
      t.equal(Buffer.from(bytes.subarray(999_998)).toString('latin1'), '\0\0end')
    },
  },
  {
    name: 'unlink while open: content and attributes stay until the close',
    run: async (fs, t, dir) => {
      const fd = await fs.open(`${dir}/a`, O_CREAT | O_RDWR)
      await fs.write(fd, text('still here'), 0)
      await fs.unlink(`${dir}/a`)
      t.equal((await fs.fstat(fd)).nlink, 0)
      t.equal(Buffer.from(await fs.read(fd, 0, 100)).toString(), 'still here')
      await fs.write(fd, text('STILL'), 0)
      await fs.fsync(fd)
      await fs.ftruncate(fd, 5)
      t.equal(Buffer.from(await fs.read(fd, 0, 100)).toString(), 'STILL')
      await writeFile(fs, `${dir}/a`, 'another')
      t.equal(Buffer.from(await fs.read(fd, 0, 100)).toString(), 'STILL')
      await fs.close(fd)
      t.equal(await readText(fs, `${dir}/a`), 'another')
    },
  },
  {
    name: 'fsync of everything, and of directories by their files',
    run: async (fs, t, dir) => {
      const fd = await fs.open(`${dir}/a`, O_CREAT | O_RDWR)
      await fs.fsync(fd)
      await fs.write(fd, pattern(200_000), 0)
      await fs.fsync(fd)
      await fs.fsync(fd)
      await fs.close(fd)
      t.ok(same(await readFile(fs, `${dir}/a`), pattern(200_000)))
    },
  },
  {
    name: 'many writers of one file at once',
    run: async (fs, t, dir) => {
      const fd = await fs.open(`${dir}/a`, O_CREAT | O_RDWR)
      const work: Promise<unknown>[] = []
      for (let i = 0; i < 64; i++) {
        work.push(fs.write(fd, pattern(1000, i), i * 1000))
        if (i % 8 === 7) work.push(fs.fsync(fd))
        if (i % 16 === 9) work.push(fs.read(fd, 0, i * 1000))
      }
      await Promise.all(work)
      await fs.close(fd)
      const wanted = Buffer.concat(Array.from({ length: 64 }, (_, i) => pattern(1000, i)))
      t.ok(same(await readFile(fs, `${dir}/a`), wanted))
    },
  },
  {
    name: 'O_TMPFILE: no name until link',
    needs: ['tmpfile'],
    run: async (fs, t, dir) => {
      const fd = await fs.tmpfile(dir, 0o600)
      await fs.write(fd, text('unnamed'), 0)
      t.equal((await fs.fstat(fd)).nlink, 0)
      t.same(await fs.readdir(dir), [])
      await fs.fsync(fd)
      await fs.linkFd(fd, `${dir}/named`)
      t.equal((await fs.fstat(fd)).nlink, 1)
      await fs.write(fd, text('UN'), 0)
      await fs.close(fd)
      t.equal(await readText(fs, `${dir}/named`), 'UNnamed')
      const gone = await fs.tmpfile(dir, 0o600)
      await fs.write(gone, text('gone'), 0)
      await fs.close(gone)
      t.same(await fs.readdir(dir), ['named'])
    },
  },
  {
    name: 'fallocate: grow, keep size, punch, zero range',
    needs: ['fallocate'],
    run: async (fs, t, dir) => {
      const fd = await fs.open(`${dir}/a`, O_CREAT | O_RDWR)
      await fs.write(fd, pattern(20_000), 0)
      await fs.fallocate(fd, 0, 10_000, 20_000)
      t.equal((await fs.fstat(fd)).size, 30_000)
      await fs.fallocate(fd, 1, 0, 100_000)
      t.equal((await fs.fstat(fd)).size, 30_000)
      await fs.fallocate(fd, 3, 5000, 2000)
      const wanted = Buffer.concat([pattern(20_000), new Uint8Array(10_000)])
      wanted.fill(0, 5000, 7000)
      t.ok(same(await fs.read(fd, 0, 40_000), wanted))
      await fs.fallocate(fd, 16, 15_000, 25_000)
      wanted.fill(0, 15_000)
      t.ok(same(await fs.read(fd, 0, 50_000), Buffer.concat([wanted, new Uint8Array(10_000)])))
      await fs.fallocate(fd, 3, 39_000, 9000)
      t.equal((await fs.fstat(fd)).size, 40_000)
      await refuses(t, EOPNOTSUPP, fs.fallocate(fd, 8, 0, 4096))
      await refuses(t, EINVAL, fs.fallocate(fd, 0, 0, 0))
      await fs.close(fd)
      t.ok(same((await readFile(fs, `${dir}/a`)).subarray(0, 30_000), wanted))
    },
  },
  {
    name: 'a hole and an append behind it are sealed together',
    needs: ['fallocate'],
    run: async (fs, t, dir) => {
      const fd = await fs.open(`${dir}/a`, O_CREAT | O_RDWR)
      await fs.write(fd, pattern(150_000), 0)
      await fs.fsync(fd)
      await fs.fallocate(fd, 3, 2, 9)
      await fs.write(fd, pattern(130_000, 7), 150_000)
      const wanted = Buffer.concat([pattern(150_000), pattern(130_000, 7)])
      wanted.fill(0, 2, 11)
      t.ok(same(await fs.read(fd, 0, 300_000), wanted))
      await fs.close(fd)
      await fs.settled?.()
      t.ok(same(await readFile(fs, `${dir}/a`), wanted))
    },
  },
  {
    name: 'SEEK_DATA and SEEK_HOLE, dirty and sealed',
    needs: ['seek', 'fallocate'],
    run: async (fs, t, dir) => {
      const fd = await fs.open(`${dir}/a`, O_CREAT | O_RDWR)
      await fs.write(fd, pattern(65_536), 131_072)
      await fs.ftruncate(fd, 400_000)
      for (const state of ['dirty', 'sealed']) {
        t.equal(await fs.seek(fd, 0, 4), 0, `${state}: a hole first`)
        t.equal(await fs.seek(fd, 0, 3), 131_072, `${state}: then data`)
        t.equal(await fs.seek(fd, 140_000, 3), 140_000)
        t.equal(await fs.seek(fd, 140_000, 4), 196_608)
        await refuses(t, ENXIO, fs.seek(fd, 196_608, 3))
        await refuses(t, ENXIO, fs.seek(fd, 400_000, 4))
        await fs.fsync(fd)
      }
      await fs.close(fd)
      await writeFile(fs, `${dir}/full`, pattern(5000))
      const full = await fs.open(`${dir}/full`, O_RDONLY)
      t.equal(await fs.seek(full, 0, 4), 5000)
      t.equal(await fs.seek(full, 77, 3), 77)
      await fs.close(full)
    },
  },
  {
    name: 'copy_file_range: whole, partial, beyond the end, onto itself',
    needs: ['copy-range'],
    run: async (fs, t, dir) => {
      await writeFile(fs, `${dir}/a`, pattern(100_000))
      await writeFile(fs, `${dir}/b`, pattern(30_000, 5))
      const a = await fs.open(`${dir}/a`, O_RDWR)
      const b = await fs.open(`${dir}/b`, O_RDWR)
      const wanted = Buffer.alloc(60_000)
      wanted.set(pattern(30_000, 5))
      wanted.set(pattern(100_000).subarray(50_000, 90_000), 20_000)
      t.equal(await fs.copyRange(a, 50_000, b, 20_000, 40_000), 40_000)
      t.ok(same(await fs.read(b, 0, 100_000), wanted))
      t.equal(await fs.copyRange(a, 99_000, b, 70_000, 5000), 1000)
      t.equal((await fs.fstat(b)).size, 71_000)
      t.ok((await fs.read(b, 60_000, 10_000)).every((byte) => byte === 0))
      t.equal(await fs.copyRange(a, 100_000, b, 0, 10), 0)
      await refuses(t, EINVAL, fs.copyRange(a, 0, a, 100, 1000))
      await fs.write(a, text('dirty'), 10)
      t.equal(await fs.copyRange(a, 0, a, 50_000, 1000), 1000)
      const head = Buffer.from(await fs.read(a, 50_000, 1000))
      t.equal(head.subarray(10, 15).toString(), 'dirty')
      await fs.close(a)
      await fs.close(b)
      const after = await readFile(fs, `${dir}/b`)
      t.ok(same(after.subarray(0, 60_000), wanted))
      t.ok(same(after.subarray(70_000), pattern(100_000).subarray(99_000)))
    },
  },
]

const attributes: Case[] = [
  {
    name: 'chmod, chown, utimes, and what they leave alone',
    run: async (fs, t, dir) => {
      await writeFile(fs, `${dir}/a`, 'x')
      await fs.chmod(`${dir}/a`, 0o4751)
      t.equal((await fs.stat(`${dir}/a`)).mode, 0o104751)
      await fs.utimes(`${dir}/a`, 1_000_000, 2_000_000)
      const stat = await fs.stat(`${dir}/a`)
      t.equal(stat.mtimeNs, 2_000_000n * 1_000_000_000n)
      t.equal(stat.atimeNs, 1_000_000n * 1_000_000_000n)
      t.ok(stat.ctimeNs > stat.mtimeNs)
      t.equal(stat.size, 1)
      t.equal(stat.mode, 0o104751)
    },
  },
  {
    name: 'an explicit mtime stays: after writes and close, after sync; a later write moves it',
    run: async (fs, t, dir) => {
      const fd = await fs.open(`${dir}/a`, O_CREAT | O_RDWR)
      await fs.write(fd, pattern(5000), 0)
      await fs.utimes(`${dir}/a`, 5, 1_234_567)
      await fs.close(fd)
      const wanted = 1_234_567n * 1_000_000_000n
      t.equal((await fs.stat(`${dir}/a`)).mtimeNs, wanted)
      const again = await fs.open(`${dir}/a`, O_RDWR)
      await fs.fsync(again)
      t.equal((await fs.fstat(again)).mtimeNs, wanted)
      await fs.write(again, text('x'), 0)
      t.ok((await fs.fstat(again)).mtimeNs > wanted)
      await fs.close(again)
      t.ok((await fs.stat(`${dir}/a`)).mtimeNs > wanted)
    },
  },
  {
    name: 'a setgid directory hands its group down, and the bit to directories',
    run: async (fs, t, dir) => {
      await fs.mkdir(`${dir}/d`)
      await fs.chown(`${dir}/d`, -1, 4242)
      await fs.chmod(`${dir}/d`, 0o2755)
      await fs.mkdir(`${dir}/d/sub`, 0o755)
      await writeFile(fs, `${dir}/d/file`, '')
      const sub = await fs.stat(`${dir}/d/sub`)
      t.equal(sub.gid, 4242)
      t.equal(sub.mode & 0o2000, 0o2000)
      const file = await fs.stat(`${dir}/d/file`)
      t.equal(file.gid, 4242)
      t.equal(file.mode & 0o2000, 0)
    },
  },
  {
    name: 'chown of a file clears setuid and executable setgid',
    run: async (fs, t, dir) => {
      await writeFile(fs, `${dir}/a`, '')
      await fs.chmod(`${dir}/a`, 0o6755)
      await fs.chown(`${dir}/a`, 4242, -1)
      t.equal((await fs.stat(`${dir}/a`)).mode & 0o7777, 0o755)
    },
  },
  {
    name: 'ctime moves with links, renames and modes',
    run: async (fs, t, dir) => {
      await writeFile(fs, `${dir}/a`, '')
      let last = (await fs.stat(`${dir}/a`)).ctimeNs
      const moved = async (what: string, path: string): Promise<void> => {
        const now = (await fs.stat(path)).ctimeNs
        t.ok(now > last, what)
        last = now
      }
      const wait = async (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 15))
      await wait()
      await fs.link(`${dir}/a`, `${dir}/b`)
      await moved('link', `${dir}/a`)
      await wait()
      await fs.unlink(`${dir}/b`)
      await moved('unlink', `${dir}/a`)
      await wait()
      await fs.chmod(`${dir}/a`, 0o600)
      await moved('chmod', `${dir}/a`)
      await wait()
      await fs.rename(`${dir}/a`, `${dir}/c`)
      await moved('rename', `${dir}/c`)
    },
  },
  {
    name: 'statfs has blocks',
    run: async (fs, t, dir) => {
      const { blocks, blockBytes } = await fs.statfs(dir)
      t.ok(blocks > 0)
      t.ok(blockBytes > 0)
    },
  },
  {
    name: 'extended attributes of user.*',
    needs: ['xattr'],
    run: async (fs, t, dir) => {
      const path = `${dir}/a`
      await writeFile(fs, path, '')
      await refuses(t, ENODATA, fs.getxattr(path, 'user.none'))
      await fs.setxattr(path, 'user.one', text('1'))
      await fs.setxattr(path, 'user.two', new Uint8Array(0))
      t.same((await fs.listxattr(path)).sort(), ['user.one', 'user.two'])
      t.equal(Buffer.from(await fs.getxattr(path, 'user.one')).toString(), '1')
      t.equal((await fs.getxattr(path, 'user.two')).length, 0)
      await refuses(t, EEXIST, fs.setxattr(path, 'user.one', text('2'), 1))
      await refuses(t, ENODATA, fs.setxattr(path, 'user.three', text('2'), 2))
      await fs.setxattr(path, 'user.one', text('2'), 2)
      await fs.removexattr(path, 'user.two')
      await refuses(t, ENODATA, fs.removexattr(path, 'user.two'))
      t.same(await fs.listxattr(path), ['user.one'])
      await fs.setxattr(dir, 'user.on-a-directory', text('x'))
      t.same(await fs.listxattr(dir), ['user.on-a-directory'])
    },
  },
  {
    name: 'extended attributes that are not for programs',
    needs: ['xattr', 'lattice'],
    run: async (fs, t, dir) => {
      const path = `${dir}/a`
      await writeFile(fs, path, 'x')
      for (const name of ['security.capability', 'system.posix_acl_access', 'trusted.x']) {
        await refuses(t, EOPNOTSUPP, fs.setxattr(path, name, text('x')))
        await refuses(t, EOPNOTSUPP, fs.getxattr(path, name))
      }
      const state = Buffer.from(await fs.getxattr(path, 'user.lattice.state')).toString()
      t.match(state, /^(unsealed|local)$/)
      t.same(await fs.listxattr(path), [])
      await refuses(t, EPERM, fs.setxattr(path, 'user.lattice.state', text('x')))
      await refuses(t, EPERM, fs.removexattr(path, 'user.lattice.state'))
    },
  },
]

export const CASES: readonly Case[] = [...names, ...renames, ...content, ...attributes]

let runs = 0

/** Runs every case that the driver can do below `parent`, one directory each. */
export async function runPosixCases(fs: Posix, t: Test, parent = ''): Promise<void> {
  const base = `${parent}/posix-${runs++}`
  await fs.mkdir(base)
  for (const [i, { name, needs, run }] of CASES.entries()) {
    const missing = needs?.find((feature) => fs.lacks.has(feature))
    const options = missing === undefined ? {} : { skip: `no ${missing}` }
    await t.test(name, options, async (test) => {
      const dir = `${base}/case-${i}`
      await fs.mkdir(dir)
      await run(fs, test, dir)
    })
  }
}
