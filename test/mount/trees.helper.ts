// Trees for the programs to work on: a real one (the project's own node_modules), a generated one
// of small files and everything a file system can hold, and a git history. Made outside of the
// mount.

import {
  chmodSync, closeSync, ftruncateSync, linkSync, mkdirSync, openSync, symlinkSync, utimesSync,
  writeFileSync, writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { hasProgram, type Teardown } from './system.helper.ts'
import { sh } from './shell.helper.ts'

export const checkout = fileURLToPath(new URL('../..', import.meta.url))

const MiB = 1 << 20
const GiB = 1024 * MiB

/** Small files in directories of very different sizes, `count` of them. */
export function makeSmallFiles(directory: string, count: number): void {
  mkdirSync(directory, { recursive: true })
  for (let i = 0; i < count; i++) {
    const folder = join(directory, `d${Math.floor(Math.sqrt(i))}`)
    if (i === Math.floor(Math.sqrt(i)) ** 2) mkdirSync(folder)
    const size = i % 7 === 0 ? 0 : (i * 37) % 3000
    writeFileSync(join(folder, `file ${i}`), Buffer.alloc(size, `line ${i} of a small file\n`))
  }
}

/** One of everything that a tree can hold. */
export async function makeOddities(t: Teardown, directory: string): Promise<void> {
  mkdirSync(directory)
  const at = (name: string): string => join(directory, name)
  writeFileSync(at('plain'), 'plain\n')
  const modes = { x: 0o755, r: 0o444, none: 0o000, suid: 0o4755 }
  for (const [name, mode] of Object.entries(modes)) {
    writeFileSync(at(`mode-${name}`), name)
    chmodSync(at(`mode-${name}`), mode)
  }
  mkdirSync(at('sticky'))
  chmodSync(at('sticky'), 0o1777)
  mkdirSync(at('empty directory'))
  for (let i = 0; i < 5; i++) linkSync(at('plain'), at(`hard link ${i}`))
  symlinkSync('plain', at('symlink'))
  symlinkSync('/nowhere/at/all', at('dangling'))
  symlinkSync('x'.repeat(4000), at('long symlink'))
  writeFileSync(at('n'.repeat(255)), 'long name')
  writeFileSync(Buffer.from(`${directory}/\xff\xfe\x80`, 'latin1'), 'not UTF-8')
  writeFileSync(at('line\nbreak'), 'x')
  writeFileSync(at('caf\u00e9'), 'composed')
  writeFileSync(at('cafe\u0301'), 'decomposed')
  utimesSync(at('plain'), 1000000000.123456, 1234567890.987654)
  makeSparse(at('sparse 100G'), 100 * GiB)
  await sh(t, 'mkfifo fifo; chmod 640 fifo', directory)
  if (hasProgram('python3')) {
    const code = `
import os
os.setxattr('plain', 'user.comment', b'\\x00\\xffvalue')
os.setxattr('empty directory', 'user.of.a.directory', b'yes')`
    await sh(t, `python3 -c "$CODE"`, directory, { CODE: code })
  }
}

function makeSparse(path: string, size: number): void {
  const fd = openSync(path, 'w')
  ftruncateSync(fd, size)
  writeSync(fd, Buffer.alloc(MiB, 'data in the middle of nothing '), 0, MiB, size / 2)
  closeSync(fd)
}

/** A repository with `commits` commits over some hundred files, by git fast-import. */
export async function makeRepository(
  t: Teardown,
  directory: string,
  commits: number,
): Promise<void> {
  const lines: string[] = []
  const data = (text: string): string => `data ${Buffer.byteLength(text)}\n${text}`
  for (let i = 0; i < commits; i++) {
    const committer = `committer Test <test@example.org> ${1600000000 + i * 60} +0000`
    lines.push('commit refs/heads/main', committer, data(`commit ${i}`))
    for (let k = 0; k < 4; k++) {
      const file = (i * 31 + k * 17) % 300
      const text = `file ${file}, commit ${i}\n`.repeat(1 + ((i * 7 + k * 13) % 200))
      lines.push(`M ${k === 3 ? '100755' : '100644'} inline src/part${file % 20}/file${file}.txt`)
      lines.push(data(text))
    }
    if (i % 9 === 8) lines.push(`D src/part${(i * 31) % 20}/file${(i * 31) % 300}.txt`)
    if (i % 50 === 0) lines.push(`M 120000 inline link${i}`, data(`src/part1`))
  }
  mkdirSync(directory)
  writeFileSync(join(directory, '..', 'history.fi'), `${lines.join('\n')}\ndone\n`)
  await sh(t, 'git init -q -b main . && git fast-import --quiet --done < ../history.fi', directory)
}
