// The door of a vault, and the proof behind it (proof.ts), for both sides and both transports. What
// comes out is a stream whose other end is a member's device, with nothing read from it that came
// after its proof; everything else has been ended, with the rule that it broke in the log.

import type { AuthorId } from '../ops/types.ts'
import { concatBytes } from '../util/bytes.ts'
import { LatticeError, isLatticeError } from '../util/errors.ts'
import type { Door } from './doors.ts'
import { ANY_DEVICE, epochNetworks } from './network-keys.ts'
import type { EpochNetwork } from './network-keys.ts'
import type { NoiseKeyPair, NoiseStream, StreamOrigin } from './noise-stream.ts'
import type { NetLog, NetworkKeys } from './ports.ts'
import { checkProof, makeProof } from './proof.ts'
import { UNPROVEN_TIMEOUT_MS } from './strangers.ts'

export interface ProvenPeer {
  device: AuthorId
  stream: NoiseStream
  origin: StreamOrigin
}

export interface VaultDoorOptions {
  /** Takes over; called in the same turn in which the proof was checked. */
  onPeer: (peer: ProvenPeer) => void
  log: NetLog
  proofTimeoutMs?: number | undefined
}

export class VaultDoor implements Door {
  readonly name = 'vault'
  readonly #onPeer: (peer: ProvenPeer) => void
  readonly #log: NetLog
  readonly #timeoutMs: number
  #keys: NetworkKeys
  #epochs: EpochNetwork[]
  #members: Set<AuthorId>

  constructor(keys: NetworkKeys, options: VaultDoorOptions) {
    this.#onPeer = options.onPeer
    this.#log = options.log
    this.#timeoutMs = options.proofTimeoutMs ?? UNPROVEN_TIMEOUT_MS
    this.#keys = keys
    this.#epochs = epochNetworks(keys.epochs)
    this.#members = membersOf(keys)
  }

  /** Newest first; empty when this device has no keys. */
  get epochs(): readonly EpochNetwork[] {
    return this.#epochs
  }

  setKeys(keys: NetworkKeys): void {
    this.#keys = keys
    this.#epochs = epochNetworks(keys.epochs, this.#epochs)
    this.#members = membersOf(keys)
  }

  isMember(device: AuthorId): boolean {
    return this.#members.has(device)
  }

  match(nonce: Uint8Array, tag: Uint8Array): NoiseKeyPair | undefined {
    const { self } = this.#keys
    for (const epoch of this.#epochs) {
      if (epoch.opens(self, nonce, tag)) return epoch.noiseKeyPair(self)
      if (epoch.opens(ANY_DEVICE, nonce, tag)) return epoch.noiseKeyPair(ANY_DEVICE)
    }
    return undefined
  }

  accept(stream: NoiseStream, origin: StreamOrigin, proven: () => void): void {
    const expect = frame(stream, this.#timeoutMs)
    expect.then((proof) => {
      const { device, epochId } = this.#check(stream, true, proof)
      const epoch = this.#epochs.find((one) => Buffer.compare(one.epochId, epochId) === 0)
      if (epoch === undefined) throw new LatticeError('refused', 'the epoch is gone')
      stream.write(this.#proof(stream, false, epoch))
      proven()
      this.#onPeer({ device, stream, origin })
    }).catch((error: unknown) => this.#refuse(stream, origin, error))
  }

  /** The dialler's side. The stream is ended when it rejects ('refused', 'timeout', 'closed'). */
  async enter(
    stream: NoiseStream, origin: StreamOrigin, epoch: EpochNetwork, expected?: AuthorId,
  ): Promise<ProvenPeer> {
    try {
      stream.write(this.#proof(stream, true, epoch))
      const proof = await frame(stream, this.#timeoutMs)
      const { device } = this.#check(stream, false, proof)
      if (expected !== undefined && device !== expected) {
        throw new LatticeError('refused', 'another member listens there')
      }
      const peer = { device, stream, origin }
      this.#onPeer(peer)
      return peer
    } catch (error) {
      this.#refuse(stream, origin, error)
      throw error
    }
  }

  /** Wipes the keys. Streams must have ended. */
  close(): void {
    for (const epoch of this.#epochs) epoch.wipe()
    this.#epochs = []
    this.#members.clear()
  }

  #proof(stream: NoiseStream, isDialler: boolean, epoch: EpochNetwork): Uint8Array {
    const { self, signKeyPair } = this.#keys
    return makeProof(this.#context(stream), isDialler, self, signKeyPair, epoch)
  }

  #check(
    stream: NoiseStream, isDialler: boolean, proof: Uint8Array,
  ): { device: AuthorId; epochId: Uint8Array } {
    return checkProof(this.#context(stream), isDialler, proof, {
      self: this.#keys.self,
      epochs: this.#epochs,
      isMember: (device) => this.isMember(device),
    })
  }

  #context(stream: NoiseStream): { vaultId: Uint8Array; handshakeHash: Uint8Array } {
    const { handshakeHash } = stream
    if (handshakeHash === null) throw new LatticeError('closed', 'the connection ended')
    return { vaultId: this.#keys.vaultId, handshakeHash }
  }

  #refuse(stream: NoiseStream, origin: StreamOrigin, error: unknown): void {
    const reason = isLatticeError(error) ? String(error.details['rule'] ?? error.code) : 'internal'
    this.#log('info', 'refused', { reason, address: origin.address, transport: origin.transport })
    stream.destroy()
  }
}

function membersOf(keys: NetworkKeys): Set<AuthorId> {
  return new Set(keys.members.map(({ device }) => device))
}

/**
 * One message of the stream; it is paused afterwards, so that whoever comes next misses nothing.
 * A proof is one message, whatever it says; a stranger cannot make this side keep more.
 */
export function frame(stream: NoiseStream, timeoutMs: number): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const settle = (): void => {
      clearTimeout(timer)
      stream.removeListener('data', onData)
      stream.removeListener('close', onClose)
    }
    const onData = (data: Uint8Array): void => {
      stream.pause()
      settle()
      resolve(concatBytes(data))
    }
    const onClose = (): void => {
      settle()
      reject(new LatticeError('closed', 'the connection ended'))
    }
    const timer = setTimeout(() => {
      settle()
      reject(new LatticeError('timeout', 'nothing was proven in time'))
    }, timeoutMs)
    stream.on('data', onData)
    stream.on('close', onClose)
    if (stream.destroyed || stream.destroying) onClose()
  })
}
