// The client side of bench/mount.ts: one process per measured row, working in a directory with
// plain system calls. Prints one JSON line: seconds (of the timed part only), CPU seconds of this
// process, and how many operations it did. Usage: node bench/mount/client.mjs ROW DIRECTORY
// [ARGUMENTS]

import fs from 'node:fs'
import path from 'node:path'

const [row, directory, ...rest] = process.argv.slice(2)
const MIB = 1024 * 1024
const RANDOM_FILE = process.env['LATTICE_BENCH_RANDOM']

function timed(count, work) {
  const cpu = process.cpuUsage()
  const begin = process.hrtime.bigint()
  work()
  const seconds = Number(process.hrtime.bigint() - begin) / 1e9
  const used = process.cpuUsage(cpu)
  console.log(JSON.stringify({ seconds, cpuSeconds: (used.user + used.system) / 1e6, count }))
}

function fileNames(count) {
  const names = []
  for (let i = 0; i < count; i++) names.push(path.join(directory, `d${i % 100}`, `f${i}`))
  return names
}

/** A reproducible sequence of offsets: xorshift, seeded by the row. */
function* offsets(count, range) {
  let x = 0x9e3779b9
  for (let i = 0; i < count; i++) {
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    yield ((x >>> 0) % range) * 4096
  }
}

const ROWS = {
  write(name, sizeMib) {
    const block = fs.readFileSync(RANDOM_FILE)
    const total = Number(sizeMib) * MIB
    timed(Number(sizeMib), () => {
      const fd = fs.openSync(path.join(directory, name), 'w')
      for (let at = 0; at < total; at += MIB) fs.writeSync(fd, block, at % block.length, MIB)
      fs.fsyncSync(fd)
      fs.closeSync(fd)
    })
  },
  read(name) {
    const buffer = Buffer.alloc(MIB)
    const size = fs.statSync(path.join(directory, name)).size
    timed(size / MIB, () => {
      const fd = fs.openSync(path.join(directory, name), 'r')
      while (fs.readSync(fd, buffer, 0, MIB, null) > 0);
      fs.closeSync(fd)
    })
  },
  randomRead(name, count) {
    const buffer = Buffer.alloc(4096)
    const size = fs.statSync(path.join(directory, name)).size
    const fd = fs.openSync(path.join(directory, name), 'r')
    timed(Number(count), () => {
      for (const at of offsets(Number(count), size / 4096)) fs.readSync(fd, buffer, 0, 4096, at)
    })
    fs.closeSync(fd)
  },
  randomWrite(name, count) {
    const block = fs.readFileSync(RANDOM_FILE)
    const size = fs.statSync(path.join(directory, name)).size
    const fd = fs.openSync(path.join(directory, name), 'r+')
    timed(Number(count), () => {
      let from = 0
      for (const at of offsets(Number(count), size / 4096)) {
        fs.writeSync(fd, block, from, 4096, at)
        from = (from + 4096) % (block.length - 4096)
      }
      fs.fsyncSync(fd)
    })
    fs.closeSync(fd)
  },
  create(count) {
    const block = fs.readFileSync(RANDOM_FILE)
    for (let i = 0; i < 100; i++) fs.mkdirSync(path.join(directory, `d${i}`))
    const names = fileNames(Number(count))
    timed(names.length, () => {
      names.forEach((name, i) => {
        const fd = fs.openSync(name, 'wx')
        fs.writeSync(fd, block, (i * 4096) % (block.length - 4096), 4096)
        fs.closeSync(fd)
      })
    })
  },
  stat(count) {
    const names = fileNames(Number(count))
    timed(names.length, () => names.forEach((name) => fs.statSync(name)))
  },
  readSmall(count) {
    const names = fileNames(Number(count))
    const buffer = Buffer.alloc(4096)
    timed(names.length, () => {
      for (const name of names) {
        const fd = fs.openSync(name, 'r')
        fs.readSync(fd, buffer, 0, 4096, 0)
        fs.closeSync(fd)
      }
    })
  },
  unlink(count) {
    const names = fileNames(Number(count))
    timed(names.length, () => names.forEach((name) => fs.unlinkSync(name)))
  },
  createFsync(count) {
    const block = Buffer.alloc(2048, 7)
    const times = []
    const begin = process.hrtime.bigint()
    const cpu = process.cpuUsage()
    for (let i = 0; i < Number(count); i++) {
      const start = process.hrtime.bigint()
      const fd = fs.openSync(path.join(directory, `s${i}`), 'wx')
      fs.writeSync(fd, block)
      fs.fsyncSync(fd)
      fs.closeSync(fd)
      times.push(Number(process.hrtime.bigint() - start) / 1e6)
    }
    const seconds = Number(process.hrtime.bigint() - begin) / 1e9
    const used = process.cpuUsage(cpu)
    times.sort((a, b) => a - b)
    const p50Ms = times[times.length >> 1]
    const p95Ms = times[Math.floor(times.length * 0.95)]
    const cpuSeconds = (used.user + used.system) / 1e6
    console.log(JSON.stringify({ seconds, cpuSeconds, count: times.length, p50Ms, p95Ms }))
  },
}

const work = ROWS[row]
if (work === undefined) throw new Error(`no row ${row}`)
work(...rest)
