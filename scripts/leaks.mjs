// What a test file may leave behind, seen from outside: processes, known by a mark in their
// environment (a daemon leaves its parent's process group, but keeps the environment), and mounts.
// Linux only; elsewhere everything is empty. Only marked processes are ever ended.
import { execFileSync } from 'node:child_process'
import { readFileSync, readdirSync } from 'node:fs'

function readOr(path, otherwise) {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return otherwise // gone meanwhile, or another user's
  }
}

/** Living processes whose environment holds `mark` ("NAME=value"): [{ pid, command }]. */
export function markedProcesses(mark) {
  if (process.platform !== 'linux') return []
  const found = []
  for (const pid of readdirSync('/proc')) {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) continue
    if (!readOr(`/proc/${pid}/environ`, '').split('\0').includes(mark)) continue
    const command = readOr(`/proc/${pid}/cmdline`, '').split('\0').join(' ').trim()
    if (command !== '') found.push({ pid: Number(pid), command: command.slice(0, 120) })
  }
  return found
}

/** SIGKILL for every marked process. */
export function killMarked(mark) {
  for (const { pid } of markedProcesses(mark)) {
    try {
      process.kill(pid, 'SIGKILL')
    } catch (error) {
      if (error.code !== 'ESRCH') throw error
    }
  }
}

function mounts() {
  return readOr('/proc/self/mounts', '').split('\n').filter(Boolean).map((line) => {
    const [, path = '', type = ''] = line.split(' ')
    const plain = path.replace(/\\([0-7]{3})/g, (_, digits) =>
      String.fromCharCode(parseInt(digits, 8)))
    return { path: plain, type }
  })
}

/** Mount points of any type below a folder, innermost first. */
export function mountsBelow(folder) {
  return mounts().map(({ path }) => path).filter((path) => path.startsWith(`${folder}/`)).reverse()
}

/** Detaches a mount, dead or alive; says so when that fails. */
export function unmount(path) {
  const how = process.getuid?.() === 0 ? ['umount', '-l', path] : ['fusermount3', '-u', '-z', path]
  try {
    execFileSync(how[0], how.slice(1), { stdio: ['ignore', 'ignore', 'pipe'] })
  } catch (error) {
    console.log(`     could not unmount ${path}: ${String(error.stderr ?? error.message).trim()}`)
  }
}
