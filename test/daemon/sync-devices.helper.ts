// Devices of one vault as engines with real sync workers, on loopback: what a daemon composes,
// without a mount. The first one makes the vault, the others are let in without a pairing.

import { join } from 'node:path'
import { defaultConfig } from '../../src/config/config-schema.ts'
import { boxKeyPair } from '../../src/crypto/sign.ts'
import { newVaultKeys } from '../../src/crypto/vault-keys.ts'
import type { EpochKeys, VaultKeys } from '../../src/crypto/vault-keys.ts'
import { newSecret } from '../../src/crypto/secret.ts'
import { SystemRandom } from '../../src/daemon/clock.ts'
import { Engine } from '../../src/daemon/engine.ts'
import { KnownAddresses } from '../../src/daemon/known-addresses.ts'
import { openLog } from '../../src/daemon/log.ts'
import { makeStateDirectory, stateDirectory } from '../../src/daemon/state-directory.ts'
import { VaultSync } from '../../src/daemon/sync.ts'
import type { NetworkChoices } from '../../src/daemon/sync-protocol.ts'
import type { Name } from '../../src/ops/types.ts'
import { authorOf, createVaultKeys, genesisOf } from '../../src/vault/create.ts'
import { genesisOp } from '../../src/vault/genesis.ts'
import type { VaultMembers } from '../../src/vault/members-view.ts'
import { Membership } from '../../src/vault/membership.ts'

const log = openLog(process.env['DEBUG'] === undefined ? 'error' : 'debug')
const CALLER = { uid: 0, gid: 0 }
const O_RDWR = 2

export const LOOPBACK: NetworkChoices = {
  host: '127.0.0.1', port: 0, lan: false, dht: false, bootstrap: [], relay: undefined, peers: [],
  uploadLimit: 0, downloadLimit: 0,
}

export class Device {
  readonly keys: VaultKeys
  readonly directory: string
  engine!: Engine
  sync!: VaultSync
  choices = LOOPBACK
  /** Believed to be members before the control ops are here. */
  readonly known: Device[]

  constructor(keys: VaultKeys, directory: string, known: Device[]) {
    this.keys = keys
    this.directory = directory
    this.known = known
  }

  get author() {
    return authorOf(this.keys)
  }

  async open(): Promise<void> {
    const known = this.known.map(({ author }) => ({ device: author, label: 'first' }))
    const addresses = await KnownAddresses.open(this.directory, this.keys)
    this.sync = new VaultSync({ choices: this.choices, known, addresses, log })
    this.engine = await Engine.open({
      state: stateDirectory(this.directory), vaultKeys: this.keys, config: defaultConfig(),
      readOnly: false, log, peers: this.sync,
    })
    this.sync.serve(this.engine)
  }

  async close(): Promise<void> {
    await this.sync.publishAll()
    await this.sync.close()
    await this.engine.close()
  }

  async port(): Promise<number> {
    await this.sync.startInviting()
    const status = await this.sync.status()
    return status!.addresses[0]!.port
  }

  /** Lets another device in, which then dials this one. */
  async admit(
    label: string, directory: string, role: 'writer' | 'admin' | 'blind' = 'writer',
  ): Promise<Device> {
    const { members } = this.engine.core.members as VaultMembers
    const { vaultId, idKey, cutKey, epochs } = this.keys
    const given = epochs.map((epoch) => (role === 'blind' ? blinded(epoch) : { ...epoch }))
    const fresh = newVaultKeys(label)
    const keys = role === 'blind'
      ? { ...fresh, vaultId, epochs: given }
      : { ...fresh, vaultId, idKey, cutKey, epochs: given }
    const { ops } = new Membership(members, this.keys, new SystemRandom()).add({
      device: authorOf(keys), boxKey: boxKeyPair(keys.boxSeed).publicKey, role, label,
    })
    await this.engine.core.control(ops)
    await makeStateDirectory(directory)
    const device = new Device(keys, directory, [this])
    device.choices = { ...LOOPBACK, peers: [{ host: '127.0.0.1', port: await this.port() }] }
    return device
  }

  async save(name: string, bytes: Uint8Array): Promise<void> {
    const { fileSystem, tree } = this.engine
    fileSystem.begin()
    const held = fileSystem.lookup(tree.root, name)
    const entry = held ?? fileSystem.create(CALLER, tree.root, name, 0o644, O_RDWR)
    if (held !== undefined) fileSystem.open(entry.ino, O_RDWR, false)
    for (let at = 0; at < bytes.length; at += 1 << 20) {
      while (fileSystem.write(entry.ino, at, bytes.subarray(at, at + (1 << 20))) === 0) {
        await new Promise((resolve) => setTimeout(resolve, 5))
      }
    }
    fileSystem.flush(entry.ino)
    fileSystem.release(entry.ino)
    await this.engine.sync()
  }

  /** Undefined when there is no such name. */
  async load(name: string): Promise<Buffer | undefined> {
    const { tree, content } = this.engine
    const node = tree.lookupNode(tree.root, name as Name)
    if (node === undefined) return undefined
    if (node.content === undefined) return Buffer.alloc(0)
    return Buffer.from(await content.readWhole(node.content, node.attr.sizeBytes))
  }

  names(): string[] {
    const { fileSystem, tree } = this.engine
    return fileSystem.readdir(tree.root, 0, 1000).map(({ name }) => name)
      .filter((name) => name !== '.' && name !== '..').toSorted()
  }
}

/** K_ctl and K_topic only. */
function blinded(epoch: EpochKeys): EpochKeys {
  return { ...epoch, epochKey: newSecret(32), historyKey: newSecret(32) }
}

export async function firstDevice(directory: string): Promise<Device> {
  const keys = createVaultKeys('vault', 'first')
  await makeStateDirectory(directory)
  const device = new Device(keys, directory, [])
  await device.open()
  await device.engine.core.control([genesisOp(genesisOf(keys, 'first'))])
  return device
}

/** Polls until it holds; throws after a while. */
export async function until(what: string, holds: () => Promise<boolean> | boolean): Promise<void> {
  const endMs = performance.now() + 30_000
  while (!await holds()) {
    if (performance.now() > endMs) throw new Error(`never: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

export function pathIn(directory: string, name: string): string {
  return join(directory, name)
}
