// Pairing over plain TCP: the doors of invites and of the recovery phrase on a listener that exists
// already (the sync worker's), and dialling all known addresses at once.

import { networkInterfaces } from 'node:os'
import { blake2bKeyed } from '../../crypto/hash.ts'
import { equalSecrets } from '../../crypto/secret.ts'
import { concatBytes, utf8 } from '../../util/bytes.ts'
import { LatticeError, isLatticeError } from '../../util/errors.ts'
import { DOOR_TAG_BYTES } from '../doors.ts'
import type { DialDoor, Door } from '../doors.ts'
import { dial } from '../tcp.ts'
import type { TcpListener } from '../tcp.ts'
import type { Address, DoorSecrets, PairingDoor, PairingNetwork, PairingStream } from './ports.ts'

/** A whole handshake, over a slow line too. */
const DIAL_TIMEOUT_MS = 7000

/** The door that whoever listens registers. */
export function listenerDoor(door: PairingDoor): Door {
  return {
    name: 'pairing',
    match: (nonce, tag) => (
      equalSecrets(tagOf(door.tagKey, nonce), tag) ? door.noise : undefined
    ),
    accept: (stream, _origin, proven) => {
      proven() // it has the code; how long it may stay is up to the pairing
      door.accept(stream)
    },
  }
}

export function diallerDoor({ tagKey, noise }: DoorSecrets): DialDoor {
  return { remotePublicKey: noise.publicKey, tag: (nonce) => tagOf(tagKey, nonce) }
}

export class TcpPairingNetwork implements PairingNetwork {
  readonly #listener: TcpListener | undefined
  readonly #extra: readonly Address[]

  /** Without a listener it only dials. `extra`: addresses that only the user knows. */
  constructor(listener?: TcpListener, extra: readonly Address[] = []) {
    this.#listener = listener
    this.#extra = extra
  }

  open(door: PairingDoor): () => void {
    return this.#listener?.register(listenerDoor(door)) ?? (() => undefined)
  }

  dial(
    addresses: readonly Address[], door: DoorSecrets, signal: AbortSignal,
  ): Promise<PairingStream> {
    return dialAny(addresses, door, signal)
  }

  addresses(): Address[] {
    if (this.#listener === undefined) return [...this.#extra]
    return [...this.#extra, ...ownAddresses(this.#listener.port)]
  }
}

/** The first address that lets in wins; the others are given up. Rejects as PairingNetwork.dial. */
export async function dialAny(
  addresses: readonly Address[], door: DoorSecrets, signal: AbortSignal,
  timeoutMs = DIAL_TIMEOUT_MS,
): Promise<PairingStream> {
  if (addresses.length === 0) throw noRoute()
  const others = new AbortController()
  const either = AbortSignal.any([signal, others.signal])
  const dialled = addresses.map(async (address) => {
    const stream = await dial(address, diallerDoor(door), { timeoutMs, signal: either })
    if (either.aborted) {
      stream.destroy()
      throw new LatticeError('cancelled', 'another address was faster')
    }
    others.abort()
    return stream
  })
  try {
    return await Promise.any(dialled)
  } catch (error) {
    if (signal.aborted) throw new LatticeError('cancelled', 'cancelled')
    throw worst(error instanceof AggregateError ? error.errors : [error])
  } finally {
    others.abort()
  }
}

/** What tells most of why nobody let this device in. */
function worst(errors: readonly unknown[]): Error {
  if (errors.some((error) => isLatticeError(error, 'refused'))) {
    return new LatticeError('invite-unknown', 'the other device does not know this code', {
      hint: 'it may have been revoked long ago, or be of another device: ask for a new one',
    })
  }
  const isDown = errors.some((error) => isLatticeError(error, 'unreachable') || isLatticeError(
    error, 'timeout',
  ))
  if (isDown) {
    return new LatticeError('inviter-offline', 'the other device does not answer', {
      hint: 'its vault must be mounted, and a firewall must let its port through',
    })
  }
  return errors.find((error) => error instanceof Error) ?? noRoute()
}

function noRoute(): LatticeError {
  return new LatticeError('no-route', 'nothing tells where the other device is', {
    hint: 'name it: --peer HOST:PORT',
  })
}

/** Of all interfaces that are up, IPv4 first; loopback last, for two homes on one machine. */
function ownAddresses(port: number): Address[] {
  const all = Object.values(networkInterfaces()).flatMap((list) => list ?? [])
  const rank = ({ internal, family }: { internal: boolean; family: string }): number => (
    (internal ? 2 : 0) + (family === 'IPv4' ? 0 : 1)
  )
  return all
    .filter(({ address, family }) => family === 'IPv4' || !address.startsWith('fe80:'))
    .toSorted((a, b) => rank(a) - rank(b))
    .map(({ address }) => ({ host: address, port }))
}

function tagOf(tagKey: Uint8Array, nonce: Uint8Array): Uint8Array {
  const whole = blake2bKeyed(tagKey, 32, concatBytes(utf8('lattice/0/door'), nonce))
  return whole.subarray(0, DOOR_TAG_BYTES)
}
