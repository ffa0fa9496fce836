// Devices of one vault as a user has them: each a home of its own with a daemon of its own, on
// loopback, that came in by `lattice join`. What holds in the end is polled for, in bounded time:
// equal trees, byte for byte, and who is connected. All goes with the test (harness.helper.ts).

import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { Instance } from '../mount/harness.helper.ts'
import type { Teardown } from '../mount/system.helper.ts'
import { differences, takeTree } from '../mount/tree.helper.ts'
import type { Tree } from '../mount/tree.helper.ts'

const WAIT_MS = 60_000
const POLL_MS = 100
const PROGRAM_MS = 60_000
const LAST_LINES = 25

interface PeersDocument {
  vaults: { peers: { label: string; state: string }[] }[]
}

/** Where a device listens, and how its programs come there; on loopback when there is none. */
export interface Place {
  enter: readonly string[]
  /** HOST:PORT. */
  address: string
}

export class Device {
  readonly label: string
  readonly instance: Instance
  /** Where the vault is mounted. */
  readonly root: string

  readonly #address: string

  private constructor(label: string, instance: Instance, address: string) {
    this.label = label
    this.instance = instance
    this.#address = address
    this.root = instance.path('V')
  }

  /** A home without a vault. Nothing but loopback is used, where nobody is discovered: devices know
   *  whom they met, and `known`. */
  static async create(
    t: Teardown, label: string, known: readonly Device[], place?: Place,
  ): Promise<Device> {
    const instance = await Instance.create(t)
    instance.enter = place?.enter ?? []
    const address = place?.address ?? `127.0.0.1:${await freePort()}`
    const peers = known.map((device) => `"${device.#address}"`).join(', ')
    const lines = [
      'version = 1', '[network]', 'lan = false', 'dht = false', `peers = [${peers}]`,
      `listen = "${address}"`, '',
    ]
    writeFileSync(join(instance.home, 'config.toml'), lines.join('\n'))
    return new Device(label, instance, address)
  }

  /** The device that makes the vault. */
  static async first(t: Teardown, label = 'first', place?: Place): Promise<Device> {
    const device = await Device.create(t, label, [], place)
    await device.mount()
    return device
  }

  /** Another device, let in by this one, mounted. */
  async letIn(
    t: Teardown, label: string, known: readonly Device[] = [], place?: Place,
  ): Promise<Device> {
    const device = await Device.create(t, label, known, place)
    const invited = await this.instance.json<{ code: string }>('invite', '--yes', '--detach')
    await device.instance.ok('join', invited.code, device.root, '--yes', '--label', label)
    return device
  }

  at(...parts: string[]): string {
    return join(this.root, ...parts)
  }

  async mount(): Promise<void> {
    await this.instance.mount(this.root)
  }

  async unmount(): Promise<void> {
    await this.instance.umount(this.root)
  }

  /** SIGKILL; the dead mount stays until it is mounted again. */
  async kill(): Promise<void> {
    await this.instance.kill9()
  }

  /** SIGTERM; returns when the daemon has stored everything and is gone. */
  async terminate(): Promise<void> {
    await this.instance.signal('SIGTERM')
  }

  sh(script: string): Promise<string> {
    return this.instance.sh(script, this.root)
  }

  write(path: string, content: string | Uint8Array): void {
    writeFileSync(this.at(path), content)
  }

  /** Undefined when there is none. */
  text(path: string): string | undefined {
    try {
      return readFileSync(this.at(path), 'utf8')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
      throw error
    }
  }

  /** Undefined when there is none. */
  size(path: string): number | undefined {
    return statSync(this.at(path), { throwIfNoEntry: false })?.size
  }

  /** Names in a directory, sorted. */
  list(path = '.'): string[] {
    return readdirSync(this.at(path)).sort()
  }

  /** The directory of the vault's state. */
  state(): string {
    const vaults = join(this.instance.home, 'state', 'vaults')
    const [name] = readdirSync(vaults)
    if (name === undefined) throw new Error(`no vault in ${vaults}`)
    return join(vaults, name)
  }

  /** The end of the daemon's log. */
  lastWords(): string {
    const lines = readFileSync(join(this.instance.home, 'state', 'daemon.log'), 'utf8').split('\n')
    return lines.slice(-LAST_LINES).join('\n')
  }

  /** Labels of the devices that are connected now. */
  async connected(): Promise<string[]> {
    const { vaults } = await this.instance.json<PeersDocument>('peers')
    const peers = vaults.flatMap((vault) => vault.peers)
    return peers.filter(({ state }) => state === 'connected').map(({ label }) => label)
  }
}

/** Reads a whole file in a process of its own, so that waiting for it hangs nobody else: '' when
 *  it was read, else what cat(1) says. Throws when it takes longer. */
export function readApart(path: string, timeout = PROGRAM_MS): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = { timeout, killSignal: 'SIGKILL', encoding: 'buffer',
      maxBuffer: 1 << 28 } as const
    execFile('cat', [path], options, (error, _out, stderr) => {
      if (error?.killed === true) reject(new Error(`reading ${path} does not end`))
      else resolve(error === null ? '' : stderr.toString())
    })
  })
}

/** Whether it fails with this code; other errors are thrown. */
export function refuses(act: () => void, code: string): boolean {
  try {
    act()
    return false
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === code) return true
    throw error
  }
}

/** Polls until it is so. Errors count as not yet, and the last one is told. */
export async function eventually(
  what: string, check: () => boolean | Promise<boolean>, waitMs = WAIT_MS,
): Promise<void> {
  const end = performance.now() + waitMs
  for (;;) {
    let last = ''
    try {
      if (await check()) return
    } catch (error) {
      last = String(error)
    }
    if (performance.now() > end) throw new Error(`not in time: ${what} ${last}`)
    await delay(POLL_MS)
  }
}

/** Until the devices are connected. Only who was let in has the label that the test gave. */
export function meet(one: Device, other: Device): Promise<void> {
  return eventually(`${one.label} and ${other.label} are connected`, async () => (
    (await one.connected()).includes(other.label) || (await other.connected()).includes(one.label)
  ))
}

/** When names in a directory changed is each device's own: others show when they were told. Only a
 *  time that it was given is the same everywhere, until names change again. */
const OWN_TIME = /^(type 4 .*) mtime \d+/

/** What all devices should see alike. */
function sharedTree(root: string): Tree {
  const tree = takeTree(root)
  for (const [path, line] of tree) tree.set(path, line.replace(OWN_TIME, '$1'))
  return tree
}

/** Until all devices show the same tree: names, attributes and every byte. */
export async function equal(...devices: Device[]): Promise<void> {
  let found: string[] = []
  const [one, ...others] = devices
  if (one === undefined) throw new Error('equal to what?')
  await eventually('equal trees', () => {
    const tree = sharedTree(one.root)
    found = others.flatMap((other) => (
      differences(tree, sharedTree(other.root)).map((line) => `${other.label}: ${line}`)
    ))
    return found.length === 0
  }).catch((error: unknown) => {
    const logs = devices.map((device) => `${device.label} wrote:\n${device.lastWords()}`)
    throw new Error([String(error), ...found, ...logs].join('\n'))
  })
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

/** Bytes that nothing compresses or knows already. */
export function noise(sizeBytes: number): Buffer {
  return randomBytes(sizeBytes)
}
