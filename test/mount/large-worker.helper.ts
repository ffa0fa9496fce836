// One process of large.ts: `write FILE VERSIONS MIB SEED` fills a file, rewrites parts of it
// through two handles and cuts and extends it, checks it, and leaves outside which version of each
// block it wrote; `check FILE VERSIONS` compares. A block's bytes follow from its number and
// version.

import {
  closeSync, fstatSync, fsyncSync, ftruncateSync, openSync, readFileSync, readSync, writeFileSync,
  writeSync,
} from 'node:fs'
import { seededRandom } from '../support/random.helper.ts'

const BLOCK_BYTES = 4096
const WRITE_BLOCKS_MAX = 256

/** Incompressible, cheap, different for each block and version; version 0 is a hole. */
function fillBlock(into: Uint32Array, block: number, version: number): void {
  let state = (Math.imul(block + 1, 0x9e3779b1) ^ Math.imul(version, 0x85ebca6b)) | 1
  for (let i = 0; i < into.length; i++) {
    if (version !== 0) {
      state ^= state << 13
      state ^= state >>> 17
      state ^= state << 5
    }
    into[i] = version === 0 ? 0 : state
  }
}

function blocks(versions: Uint32Array, begin: number, end: number): Buffer {
  const bytes = new Uint32Array(((end - begin) * BLOCK_BYTES) / 4)
  for (let block = begin; block < end; block++) {
    const at = ((block - begin) * BLOCK_BYTES) / 4
    fillBlock(bytes.subarray(at, at + BLOCK_BYTES / 4), block, versions[block] ?? 0)
  }
  return Buffer.from(bytes.buffer)
}

function write(path: string, versionsPath: string, sizeMiB: number, seed: number): void {
  const random = seededRandom(seed)
  const count = sizeMiB * 256
  let versions = new Uint32Array(count)
  const handles = [openSync(path, 'w+'), openSync(path, 'r+')]
  const put = (begin: number, end: number): void => {
    for (let block = begin; block < end; block++) versions[block] = random.below(2 ** 31) + 1
    const bytes = blocks(versions, begin, end)
    const fd = random.pick(handles)
    for (let done = 0; done < bytes.length; ) {
      done += writeSync(fd, bytes, done, bytes.length - done, begin * BLOCK_BYTES + done)
    }
  }
  for (let at = 0; at < count; at += 256) put(at, Math.min(count, at + 256))
  for (let i = 0; i < sizeMiB * 4; i++) {
    const begin = random.below(count)
    put(begin, Math.min(count, begin + 1 + random.below(i % 8 === 0 ? WRITE_BLOCKS_MAX : 8)))
    if (i % 50 === 0) checkSome(handles[1] as number, versions, random.below(count))
    if (i % 97 === 0) fsyncSync(handles[0] as number)
    if (i % 150 === 149) {
      const cut = count - random.below(count >>> 3)
      ftruncateSync(handles[0] as number, cut * BLOCK_BYTES)
      ftruncateSync(handles[1] as number, count * BLOCK_BYTES)
      versions.fill(0, cut)
    }
  }
  versions = versions.slice(0, fstatSync(handles[0] as number).size / BLOCK_BYTES)
  writeFileSync(versionsPath, new Uint8Array(versions.buffer))
  for (const fd of handles) closeSync(fd)
}

function checkSome(fd: number, versions: Uint32Array, begin: number): void {
  const end = Math.min(versions.length, begin + WRITE_BLOCKS_MAX)
  const expected = blocks(versions, begin, end)
  const found = Buffer.alloc(expected.length)
  let got = 0
  while (got < found.length) {
    const more = readSync(fd, found, got, found.length - got, begin * BLOCK_BYTES + got)
    if (more === 0) break
    got += more
  }
  if (got !== expected.length) throw new Error(`block ${begin}: ${got} of ${expected.length} bytes`)
  if (found.equals(expected)) return
  const at = expected.findIndex((byte, index) => byte !== found[index])
  const block = begin + Math.floor(at / BLOCK_BYTES)
  const zero = found.subarray(at, at + BLOCK_BYTES).every((byte) => byte === 0)
  throw new Error(`block ${block} of ${versions.length} is ${zero ? 'zero' : 'wrong'}`)
}

function check(path: string, versionsPath: string): void {
  const bytes = new Uint8Array(readFileSync(versionsPath))
  const versions = new Uint32Array(bytes.buffer)
  const fd = openSync(path, 'r')
  const { size } = fstatSync(fd)
  if (size !== versions.length * BLOCK_BYTES) throw new Error(`size ${size}`)
  for (let at = 0; at < versions.length; at += WRITE_BLOCKS_MAX) checkSome(fd, versions, at)
  closeSync(fd)
}

const [what, path = '', versionsPath = '', sizeMiB = '', seed = ''] = process.argv.slice(2)
if (what === 'write') write(path, versionsPath, Number(sizeMiB), Number(seed))
check(path, versionsPath)
