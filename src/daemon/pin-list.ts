// Which parts of a vault this device keeps whole: nodes, so that a pin follows what it names when
// that is renamed. Local, of this device alone. Written at once and durably: a pin is a promise.
//
//   pins   record (crypto/aead.ts) under KDF(database key, 'lattice/0/local-pins'),
//          associated data = vault id, of JSON {version: 0, pins: [[node id in hex, path]…]}
//
// The path is what the user said, for a list in which the node is gone.

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { replaceFile } from '../config/private-files.ts'
import { openRecord, sealRecord } from '../crypto/aead.ts'
import { deriveKey } from '../crypto/kdf.ts'
import { wipe } from '../crypto/secret.ts'
import type { VaultKeys } from '../crypto/vault-keys.ts'
import type { NodeId } from '../ops/types.ts'
import { toHex, utf8 } from '../util/bytes.ts'
import { LatticeError, errnoName, fromSystemError, isLatticeError } from '../util/errors.ts'
import { Mutex } from '../util/mutex.ts'

export const PINS_MAX = 1000

interface Stored {
  version: 0
  pins: [string, string][]
}

export type StoredPin = { node: NodeId; path: string }

export class PinList {
  readonly #path: string
  readonly #keys: VaultKeys
  readonly #mutex = new Mutex()
  #pins: ReadonlyMap<NodeId, string>

  private constructor(path: string, keys: VaultKeys, stored: Stored) {
    this.#path = path
    this.#keys = keys
    this.#pins = new Map(stored.pins.map(([hex, said]) => [nodeOf(hex), said]))
  }

  /** Throws 'damaged-keys' when the file does not open: what is pinned must not be given up. */
  static async open(stateDirectory: string, keys: VaultKeys): Promise<PinList> {
    const path = join(stateDirectory, 'pins')
    return new PinList(path, keys, await read(path, keys))
  }

  all(): StoredPin[] {
    return [...this.#pins].map(([node, path]) => ({ node, path }))
  }

  has(node: NodeId): boolean {
    return this.#pins.has(node)
  }

  /** Durable when it resolves. Throws 'too-large'. */
  async add(node: NodeId, path: string): Promise<void> {
    await this.#change((pins) => {
      pins.set(node, path)
      if (pins.size <= PINS_MAX) return
      throw new LatticeError('too-large', `at most ${PINS_MAX} paths can be pinned`, {
        hint: 'pin a directory above them',
      })
    })
  }

  async remove(node: NodeId): Promise<void> {
    await this.#change((pins) => pins.delete(node))
  }

  #change(edit: (pins: Map<NodeId, string>) => void): Promise<void> {
    return this.#mutex.run(async () => {
      const pins = new Map(this.#pins)
      edit(pins)
      const stored: Stored = {
        version: 0,
        pins: [...pins].map(([node, path]) => [toHex(Buffer.from(node, 'latin1')), path]),
      }
      const key = keyOf(this.#keys)
      const sealed = sealRecord(key, this.#keys.vaultId, utf8(JSON.stringify(stored)))
      wipe(key)
      await replaceFile(this.#path, sealed)
      this.#pins = pins
    })
  }
}

async function read(path: string, keys: VaultKeys): Promise<Stored> {
  let sealed: Buffer
  try {
    sealed = await readFile(path)
  } catch (error) {
    if (errnoName(error) === 'ENOENT') return { version: 0, pins: [] }
    throw fromSystemError(error, 'the list of pins cannot be read')
  }
  const key = keyOf(keys)
  try {
    const stored = JSON.parse(openRecord(key, keys.vaultId, sealed).toString('utf8')) as Stored
    if (stored.version === 0) return stored
    throw new LatticeError('unknown-format', 'the list of pins is of another version')
  } catch (cause) {
    if (isLatticeError(cause, 'unknown-format')) throw cause
    throw new LatticeError('damaged-keys', 'the list of pins is damaged', {
      cause, hint: `remove ${path} and pin again`,
    })
  } finally {
    wipe(key)
  }
}

function keyOf(keys: VaultKeys): Uint8Array {
  return deriveKey(keys.databaseKey, 'lattice/0/local-pins')
}

function nodeOf(hex: string): NodeId {
  return Buffer.from(hex, 'hex').toString('latin1') as NodeId
}
