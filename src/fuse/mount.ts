// Mounting and unmounting: what happens to the directory before and after a session serves it. Root
// mounts by mount(2), others through fusermount3. A mount point whose daemon was killed answers
// ENOTCONN; mounting again clears it first.
//
// Nothing here touches a path inside a live mount: a daemon that looks at its own mount waits for
// itself. Where a mount may be alive or dead, the addon asks from a thread of its own.

import { spawn } from 'node:child_process'
import { access, constants, lstat, readFile, readdir } from 'node:fs/promises'

import { LatticeError } from '../util/errors.ts'
import { sessionAddon } from './addon.ts'

const FUSE_DEVICE = '/dev/fuse'
const HELPER = 'fusermount3'
const UMOUNT = 'umount'
const ENOTCONN = 107
const ECONNABORTED = 103 // of a call that was in flight when the daemon died
const ENOENT = 2
const EBUSY = 16
const EPERM = 1
const EACCES = 13
const MS_RDONLY = 1
const MS_NOSUID = 2
const MS_NODEV = 4
const MS_NOATIME = 1024
const PAGES_BYTES_MAX = 1024 * 1024

export interface MountOptions {
  readOnly: boolean
  /** Other users than the mounting one may enter. */
  allowOther: boolean
  /** Device nodes and setuid programs work (root only). */
  dev: boolean
  suid: boolean
}

/** Whether probeMount() found a mount whose daemon is gone. */
export function isDeadMount(errno: number): boolean {
  return errno === ENOTCONN || errno === ECONNABORTED
}

/** Turns `-o` words into options; returns the words that lattice does not know. */
export function parseMountOptions(words: string[], into: MountOptions): string[] {
  const ignored: string[] = []
  for (const word of words) {
    if (word === 'ro') into.readOnly = true
    else if (word === 'rw') into.readOnly = false
    else if (word === 'allow_other') into.allowOther = true
    else if (word === 'dev') into.dev = true
    else if (word === 'nodev') into.dev = false
    else if (word === 'suid') into.suid = true
    else if (word === 'nosuid') into.suid = false
    else if (word !== '') ignored.push(word)
  }
  return ignored
}

/**
 * Checks that `directory` (absolute) can be mounted on, clearing a dead mount of a killed daemon.
 * Throws LatticeError 'not-found', 'mountpoint-not-directory', 'mountpoint-busy',
 * 'mountpoint-not-empty', 'denied'.
 */
export async function prepareMountPoint(directory: string): Promise<void> {
  const state = await sessionAddon().probeMount(directory)
  if (isDeadMount(state)) await clearDeadMount(directory)
  else if (state === ENOENT) {
    throw new LatticeError('mountpoint-missing', `${directory} does not exist`, {
      hint: 'create it, or let lattice mount create it inside an existing directory',
    })
  } else if (state === EACCES || state === EPERM) {
    throw new LatticeError('denied', `${directory} may not be entered`, {
      hint: 'check the permissions of the directory and of those above it',
    })
  }
  if (await isMountPoint(directory)) {
    throw new LatticeError('mountpoint-busy', `${directory} is already a mount point`, {
      hint: 'unmount it first: lattice umount DIR, or umount DIR',
    })
  }
  const stats = await lstat(directory)
  if (!stats.isDirectory()) {
    throw new LatticeError('mountpoint-not-directory', `${directory} is not a directory`, {
      hint: 'name a directory, or a path that does not exist yet',
    })
  }
  const entries = await readdir(directory).catch((error: NodeJS.ErrnoException) => {
    throw new LatticeError('denied', `${directory} may not be read (${error.code ?? 'error'})`, {
      hint: 'name a directory of your own',
    })
  })
  if (entries.length > 0) {
    throw new LatticeError('mountpoint-not-empty', `${directory} is not empty`, {
      hint: 'mount on an empty directory, then copy the files into the vault',
    })
  }
}

/** Mounts on a prepared directory. Resolves to the descriptor of the FUSE device, owned by the
 * caller. */
export async function mountDirectory(directory: string, options: MountOptions): Promise<number> {
  await requireDevice()
  if (process.geteuid?.() === 0) {
    try {
      return mountAsRoot(directory, options)
    } catch (error) {
      throw mountError(directory, error)
    }
  }
  if (options.dev || options.suid) {
    throw new LatticeError('denied', 'only root may mount with -o dev or -o suid')
  }
  await requireHelper()
  const words = ['default_permissions', 'noatime', 'fsname=lattice', 'subtype=lattice']
  words.push(`max_read=${PAGES_BYTES_MAX}`)
  if (options.readOnly) words.push('ro')
  if (options.allowOther) words.push('allow_other')
  try {
    return await sessionAddon().mountWithHelper(directory, words.join(','))
  } catch (error) {
    throw helperError(directory, options, error)
  }
}

/**
 * Unmounts, in another process: the kernel first writes back what mmap left dirty, and for that
 * this one must go on answering. Throws 'busy' when something uses it, unless `lazy`.
 */
export async function unmountDirectory(directory: string, lazy: boolean): Promise<void> {
  const isRoot = process.geteuid?.() === 0
  const command = isRoot ? UMOUNT : HELPER
  const words = isRoot ? ['--internal-only', '--no-canonicalize'] : ['-u']
  if (lazy) words.push(isRoot ? '--lazy' : '-z')
  const result = await runProgram(command, [...words, directory])
  if (result.code === 0) return
  if (/busy/i.test(result.stderr)) throw busyError(directory)
  throw new LatticeError('io', `${directory} could not be unmounted: ${result.stderr.trim()}`)
}

/** Whether the kernel's table has a mount on exactly this absolute path. */
export async function isMountPoint(directory: string): Promise<boolean> {
  const table = await readFile('/proc/self/mountinfo', 'utf8')
  const wanted = directory.length > 1 ? directory.replace(/\/+$/, '') : directory
  for (const line of table.split('\n')) {
    const path = line.split(' ')[4]
    if (path !== undefined && unescapeMountPath(path) === wanted) return true
  }
  return false
}

function mountAsRoot(directory: string, options: MountOptions): number {
  let flags = MS_NOATIME
  if (options.readOnly) flags |= MS_RDONLY
  if (!options.suid) flags |= MS_NOSUID
  if (!options.dev) flags |= MS_NODEV
  const words = ['default_permissions', `max_read=${PAGES_BYTES_MAX}`]
  if (options.allowOther) words.push('allow_other')
  return sessionAddon().mountDirect('lattice', directory, 'lattice', flags, words.join(','))
}

async function clearDeadMount(directory: string): Promise<void> {
  await unmountDirectory(directory, true).catch(() => undefined) // the next look tells
  if (isDeadMount(await sessionAddon().probeMount(directory))) {
    throw new LatticeError('mountpoint-busy', `${directory} holds a dead mount that stays`, {
      hint: `as who mounted it: ${HELPER} -u -z ${directory}; or as root: umount -l ${directory}`,
    })
  }
}

async function requireDevice(): Promise<void> {
  try {
    await access(FUSE_DEVICE, constants.R_OK | constants.W_OK)
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    if (code === 'ENOENT') {
      throw new LatticeError('no-fuse', `${FUSE_DEVICE} does not exist`, {
        hint: 'modprobe fuse; in a container: --device /dev/fuse --cap-add SYS_ADMIN',
      })
    }
    throw new LatticeError('no-fuse', `${FUSE_DEVICE} may not be opened (${code ?? 'error'})`, {
      hint: `its mode must let this user read and write it: chmod 666 ${FUSE_DEVICE}`,
    })
  }
}

async function requireHelper(): Promise<void> {
  for (const part of (process.env['PATH'] ?? '').split(':')) {
    if (part === '') continue
    try {
      await access(`${part}/${HELPER}`, constants.X_OK)
      return
    } catch {
      continue
    }
  }
  throw new LatticeError('no-fusermount', `${HELPER} was not found`, {
    hint: 'install the package fuse3 (Debian: apt-get install fuse3)',
  })
}

function runProgram(command: string, args: string[]): Promise<{ code: number; stderr: string }> {
  return new Promise((resolve) => {
    const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'pipe'], cwd: '/' })
    let stderr = ''
    child.stderr.on('data', (data: Buffer) => {
      stderr = (stderr + data.toString()).slice(-4096)
    })
    child.on('error', (error) => resolve({ code: 127, stderr: error.message }))
    child.on('close', (code) => resolve({ code: code ?? 1, stderr }))
  })
}

function mountError(directory: string, error: unknown): LatticeError {
  const errno = errnoOf(error)
  if (errno === EPERM || errno === EACCES) {
    return new LatticeError('denied', `${directory} may not be mounted on: ${messageOf(error)}`, {
      hint: 'in a container: --cap-add SYS_ADMIN',
    })
  }
  if (errno === EBUSY) return busyError(directory)
  return new LatticeError('no-fuse', `mounting on ${directory} failed: ${messageOf(error)}`)
}

function helperError(directory: string, options: MountOptions, error: unknown): LatticeError {
  const text = messageOf(error)
  if (options.allowOther && /allow_other/.test(text)) {
    return new LatticeError('denied', 'this user may not mount with allow_other', {
      hint: 'add the line user_allow_other to /etc/fuse.conf',
    })
  }
  return new LatticeError('denied', `mounting on ${directory} failed: ${text}`, {
    hint: `${HELPER} must be setuid root, and the directory must belong to this user`,
  })
}

function busyError(directory: string): LatticeError {
  return new LatticeError('busy', `${directory} is in use`, {
    hint: `close what uses it (fuser -vm ${directory}), or unmount with --lazy`,
  })
}

/** The kernel writes blanks, tabs, newlines and backslashes in mount paths as \ooo. */
function unescapeMountPath(path: string): string {
  return path.replace(/\\([0-7]{3})/g, (_, octal: string) => {
    return String.fromCharCode(parseInt(octal, 8))
  })
}

function errnoOf(error: unknown): number {
  const errno = (error as { errno?: number }).errno
  return errno === undefined ? 0 : Math.abs(errno)
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
