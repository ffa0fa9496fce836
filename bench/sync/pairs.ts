// The pairs of directories that bench/sync.ts compares: two lattice mounts, two Syncthing folders,
// and two plain ones with rsync. All on loopback, below one temporary directory.
//
// Syncthing has the configuration that it generates; changed are only its addresses, discovery,
// relays, NAT, reports and upgrades, which are off. Its watcher waits 10 s by default: nudge() asks
// for a scan, so that the bulk rows show its work and not that delay.

import { execFile, execFileSync, spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { until } from './measure.ts'

export interface Pair {
  readonly name: string
  readonly left: string
  readonly right: string
  /** The serving processes of both ends; none when nothing serves. */
  pids(): number[]
  /** A TCP port that is for people, not for the other end. */
  readonly controlPort: number
  /** `left` has changed: whoever has to be told is. Resolves with what it cost by itself. */
  nudge(): Promise<{ cpuSeconds?: number; bytes?: number }>
  close(): Promise<void>
}

const run = promisify(execFile)
const LATTICE = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
const START_MS = 60_000

export async function latticePair(base: string): Promise<Pair> {
  const homes = ['a', 'b'].map((name) => join(base, `lattice-${name}`))
  const [left = '', right = ''] = homes.map((home) => join(home, 'mount'))
  for (const home of homes) {
    mkdirSync(home, { recursive: true, mode: 0o700 })
    const network = '[network]\nlisten = "127.0.0.1:0"\nlan = false\ndht = false\n'
    writeFileSync(join(home, 'config.toml'), `version = 1\n\n${network}`)
  }
  const call = async (side: number, ...words: string[]): Promise<string> => {
    const env = { ...process.env, LATTICE_HOME: homes[side] }
    const { stdout } = await run(process.execPath, [LATTICE, ...words], { env, timeout: START_MS })
    return stdout
  }
  const pids: number[] = []
  const close = async (): Promise<void> => {
    for (const [side, mount] of [left, right].entries()) {
      await call(side, 'umount', mount).catch(() => umountLazily(mount))
    }
    for (const pid of pids) await ended(pid)
  }
  try {
    await call(0, 'mount', left)
    pids.push(await pidOf(() => call(0, 'status', '--json')))
    const invite = await call(0, 'invite', '--yes', '--detach', '--json')
    const { code } = JSON.parse(invite) as { code: string }
    await call(1, 'join', code, right, '--yes')
    pids.push(await pidOf(() => call(1, 'status', '--json')))
    await until('lattice connects', START_MS, 200, async () => (
      (await call(1, 'peers', '--json')).includes('"connected"')
    ))
  } catch (error) {
    await close()
    throw error
  }
  return {
    name: 'lattice', left, right, controlPort: 0, close,
    pids: () => pids,
    nudge: () => Promise.resolve({}),
  }
}

async function pidOf(status: () => Promise<string>): Promise<number> {
  const { daemon } = JSON.parse(await status()) as { daemon: { pid: number } }
  return daemon.pid
}

export async function syncthingPair(base: string): Promise<Pair> {
  const ports = await freePorts(4)
  const sides = ['a', 'b'].map((name, i) => ({
    home: join(base, `syncthing-${name}`), directory: join(base, `syncthing-${name}-files`),
    listen: ports[2 * i] ?? 0, gui: ports[2 * i + 1] ?? 0, id: '', key: '',
  }))
  for (const side of sides) {
    mkdirSync(side.directory, { recursive: true })
    const quiet = ['--no-default-folder', '--skip-port-probing']
    execFileSync('syncthing', ['generate', `--home=${side.home}`, ...quiet], { stdio: 'ignore' })
    const config = readFileSync(join(side.home, 'config.xml'), 'utf8')
    side.id = /<device id="([^"]+)"/.exec(config)?.[1] ?? ''
    side.key = /<apikey>([^<]+)</.exec(config)?.[1] ?? ''
  }
  for (const [i, side] of sides.entries()) configure(side, sides[1 - i] ?? side)
  const children = sides.map(({ home }): ChildProcess => spawn(
    'syncthing', ['serve', `--home=${home}`, '--no-browser', '--no-upgrade', '--no-restart'],
    { stdio: 'ignore', env: { ...process.env, STNOUPGRADE: '1' } },
  ))
  const [a, b] = sides
  const ask = async (side: typeof a, path: string, method = 'GET'): Promise<unknown> => {
    const headers = { 'X-API-Key': side?.key ?? '' }
    const answer = await fetch(`http://127.0.0.1:${side?.gui}/rest/${path}`, { method, headers })
    return answer.status === 200 && method === 'GET' ? await answer.json() : undefined
  }
  const pids = (): number[] => children.flatMap(({ pid }) => (pid === undefined ? [] : [pid]))
  const close = async (): Promise<void> => {
    for (const side of sides) await ask(side, 'system/shutdown', 'POST').catch(() => undefined)
    for (const pid of pids()) await ended(pid)
  }
  try {
    await until('Syncthing connects', START_MS, 200, async () => {
      try {
        const text = JSON.stringify(await ask(b, 'system/connections'))
        return text.includes('"connected":true')
      } catch {
        return false
      }
    })
  } catch (error) {
    await close()
    throw error
  }
  return {
    name: 'syncthing', left: a?.directory ?? '', right: b?.directory ?? '',
    controlPort: a?.gui ?? 0, pids, close,
    nudge: async () => {
      void ask(a, 'db/scan?folder=bench', 'POST').catch(() => undefined)
      return {}
    },
  }
}

interface SyncthingSide {
  home: string
  directory: string
  listen: number
  gui: number
  id: string
}

/** As generated, but for itself: nobody outside is asked or told. */
function configure(side: SyncthingSide, other: SyncthingSide): void {
  const path = join(side.home, 'config.xml')
  let xml = readFileSync(path, 'utf8')
  const set = (name: string, value: string): void => {
    xml = xml.replace(new RegExp(`<${name}>[^<]*</${name}>`), `<${name}>${value}</${name}>`)
  }
  for (const name of [
    'globalAnnounceEnabled', 'localAnnounceEnabled', 'relaysEnabled', 'natEnabled', 'startBrowser',
    'crashReportingEnabled',
  ]) set(name, 'false')
  set('urAccepted', '-1')
  set('autoUpgradeIntervalH', '0')
  set('stunServer', '')
  set('listenAddress', `tcp://127.0.0.1:${side.listen}`)
  xml = xml.replace('127.0.0.1:8384', `127.0.0.1:${side.gui}`)
  const address = `<address>tcp://127.0.0.1:${other.listen}</address>`
  const device = `<device id="${other.id}" name="other" compression="metadata">${address}</device>`
  const template = /<folder id=""[\s\S]*?<\/folder>/.exec(xml)?.[0] ?? ''
  const folder = template
    .replace('id="" label="" path="~"', `id="bench" label="bench" path="${side.directory}"`)
    .replace('</device>', `</device><device id="${other.id}"></device>`)
  writeFileSync(path, xml.replace(/(<configuration[^>]*>)/, `$1${folder}${device}`))
}

export function rsyncPair(base: string): Pair {
  const left = join(base, 'rsync-a')
  const right = join(base, 'rsync-b')
  mkdirSync(left)
  mkdirSync(right)
  return {
    name: 'rsync', left, right, controlPort: 0,
    pids: () => [],
    // locally rsync copies whole files: --no-whole-file has it do what it does between machines
    nudge: async () => {
      const line = `TIMEFORMAT='%U %S'; time rsync -a --delete --no-whole-file --stats "$0/" "$1/"`
      const { stdout, stderr } = await run('bash', ['-c', line, left, right])
      const [user, system] = stderr.trim().split(' ')
      const count = (what: string): number => (
        Number(new RegExp(`Total bytes ${what}: ([\\d,]+)`).exec(stdout)?.[1]?.replaceAll(',', ''))
      )
      const bytes = count('sent') + count('received')
      return { cpuSeconds: Number(user) + Number(system), bytes }
    },
    close: () => Promise.resolve(),
  }
}

async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer())
  const ports: number[] = []
  for (const server of servers) {
    await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', () => resolve()))
    ports.push((server.address() as AddressInfo).port)
  }
  for (const server of servers) server.close()
  return ports
}

function umountLazily(mount: string): void {
  if (!readFileSync('/proc/self/mounts', 'utf8').includes(` ${mount} `)) return
  execFileSync('umount', ['-l', mount], { stdio: 'ignore' })
}

/** Asked to end, and made to after some seconds. */
async function ended(pid: number): Promise<void> {
  const isAlive = (): boolean => {
    try {
      process.kill(pid, 0)
      return !readFileSync(`/proc/${pid}/stat`, 'latin1').includes(') Z ')
    } catch {
      return false
    }
  }
  if (isAlive()) process.kill(pid, 'SIGTERM')
  try {
    await until('ends', 10_000, 100, () => !isAlive())
  } catch {
    process.kill(pid, 'SIGKILL')
  }
}

/** Everything that lies below the directory goes; mounts are gone by then. */
export function removeAll(base: string): void {
  if (readFileSync('/proc/self/mounts', 'utf8').includes(` ${base}/`)) {
    console.error(`${base} has mounts: it stays`)
    return
  }
  rmSync(base, { recursive: true, force: true })
}
