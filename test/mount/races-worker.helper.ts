// One process of races.ts; ends after SECONDS, or with a message about what must not happen.
//
//   names DIRECTORY SECONDS SEED     makes, replaces, moves and removes names of its own; each must
//                                    be found as long as it is there, and never afterwards
//   replace FILE SECONDS SEED        replaces a shared file by rename, again and again
//   look FILE SECONDS SEED           opens, stats and reads that file: it is always there, whole
//   read FILE SECONDS SEED           reads everywhere, much of it twice, past the kernel's cache,
//                                    through handles that come and go
//   write FILE SECONDS SEED          overwrites parts of what is being read, with what was there

import {
  closeSync, constants, existsSync, fstatSync, fsyncSync, linkSync, mkdirSync, openSync,
  readFileSync, readSync, readdirSync, renameSync, rmdirSync, statSync, unlinkSync,
  writeFileSync, writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { seededRandom } from '../support/random.helper.ts'

const [what = '', path = '', seconds = '1', seed = '1'] = process.argv.slice(2)
const random = seededRandom(Number(seed))
const endMs = performance.now() + Number(seconds) * 1000
const BLOCK_BYTES = 4096
const READ_BLOCKS_MAX = 32

let rounds = 0

function names(): void {
  const directory = join(path, `names-${seed}`)
  mkdirSync(directory)
  const there = new Map<string, number>() // and which file it names
  let next = 0
  const at = (name: string): string => join(directory, name)
  const some = (): string => random.pick([...there.keys()])
  while (performance.now() < endMs) {
    rounds++
    const name = `n${next++}`
    if (there.size < 3 || random.below(3) === 0) {
      writeFileSync(at(name), name)
      there.set(name, rounds)
    }
    const old = some()
    const file = there.get(old) ?? 0
    const kind = random.below(6)
    if (kind === 0) {
      renameSync(at(old), at(name))
      there.delete(old)
      there.set(name, file)
    } else if (kind === 1) {
      unlinkSync(at(old))
      there.delete(old)
    } else if (kind === 2 && there.size > 1) {
      const over = some()
      renameSync(at(old), at(over))
      if (there.get(over) === file) continue // rename(2): two names of one file stay
      there.delete(old)
      there.set(over, file)
    } else if (kind === 3 && !there.has(name)) {
      linkSync(at(old), at(name))
      there.set(name, file)
    } else if (kind === 4) {
      mkdirSync(at(`d${name}`))
      if (!statSync(at(`d${name}`)).isDirectory()) throw new Error('not a directory')
      rmdirSync(at(`d${name}`))
    }
    if (existsSync(at(old)) !== there.has(old)) throw new Error(`${old}: ${there.has(old)}`)
    if (there.size > 0) statSync(at(some()))
    if (rounds % 20 === 0 && readdirSync(directory).length !== there.size) {
      throw new Error('a listing of another length')
    }
    if (there.size > 60) for (const one of [...there.keys()].slice(0, 30)) {
      unlinkSync(at(one))
      there.delete(one)
    }
  }
}

/** All bytes of one version are alike. */
function replace(): void {
  while (performance.now() < endMs) {
    const bytes = Buffer.alloc(1 + random.below(40_000), 1 + random.below(255))
    const fd = openSync(`${path}.${seed}`, 'w')
    writeSync(fd, bytes)
    if (random.below(8) === 0) fsyncSync(fd)
    closeSync(fd)
    renameSync(`${path}.${seed}`, path)
    rounds++
  }
}

function look(): void {
  while (performance.now() < endMs) {
    rounds++
    statSync(path)
    const fd = openSync(path, 'r')
    const { size } = fstatSync(fd)
    const bytes = readFileSync(fd)
    closeSync(fd)
    if (bytes.length !== size) throw new Error(`${bytes.length} of ${size} bytes`)
    if (bytes.some((byte) => byte !== bytes[0])) throw new Error('two versions in one')
  }
}

/** A block's bytes follow from its number; see prepare() of races.ts. */
function check(bytes: Buffer, begin: number): void {
  for (let at = 0; at < bytes.length; at += BLOCK_BYTES) {
    const block = begin + at / BLOCK_BYTES
    const found = bytes.readUInt32LE(at + (block % 1000) * 4)
    if (found !== block) throw new Error(`block ${block} says ${found}`)
  }
}

function read(): void {
  const { O_DIRECT, O_RDONLY } = constants
  const open = (): number => openSync(path, O_RDONLY | O_DIRECT)
  let fd = open()
  const count = fstatSync(fd).size / BLOCK_BYTES
  const into = Buffer.alloc(READ_BLOCKS_MAX * BLOCK_BYTES)
  let begin = 0
  while (performance.now() < endMs) {
    rounds++
    if (random.below(400) === 0) {
      closeSync(fd)
      fd = open()
    }
    // In large pieces: only those are fetched by other threads.
    const blocks = random.below(3) === 0 ? 1 : READ_BLOCKS_MAX
    if (random.below(2) === 0) begin = random.below(count - blocks)
    begin = Math.min(begin, count - blocks)
    const length = blocks * BLOCK_BYTES
    if (readSync(fd, into, 0, length, begin * BLOCK_BYTES) !== length) throw new Error('too short')
    check(into.subarray(0, length), begin)
  }
  closeSync(fd)
}

function write(): void {
  const fd = openSync(path, 'r+')
  const count = fstatSync(fd).size / BLOCK_BYTES
  const block = Buffer.alloc(BLOCK_BYTES)
  while (performance.now() < endMs) {
    rounds++
    const at = random.below(count)
    readSync(fd, block, 0, BLOCK_BYTES, at * BLOCK_BYTES)
    writeSync(fd, block, 0, BLOCK_BYTES, at * BLOCK_BYTES)
    if (random.below(50) === 0) fsyncSync(fd)
  }
  closeSync(fd)
}

const work: Record<string, () => void> = { names, replace, look, read, write }
work[what]?.()
console.log(`${what}: ${rounds} rounds`)
