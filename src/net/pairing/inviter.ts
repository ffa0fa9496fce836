// The inviting side of one pairing connection: from hello to the keys. Who may join, and whether an
// attempt is left, the host decides (daemon/pairing-host.ts); this is the order in which things
// must happen, and what each step has to prove.
//
// Invariants: begin() has counted the attempt durably before the nonce is told; nothing of the
// vault but id, name and role leaves before both people confirmed; admit() runs at most once a
// connection.

import { randomBytes } from '../../crypto/random.ts'
import type { SignKeyPair } from '../../crypto/sign.ts'
import { equalBytes } from '../../util/bytes.ts'
import { Frames, protocolError } from './frames.ts'
import {
  NONCE_BYTES, expectFrame, frame, offerBody, readHello, readReveal, reasonFor, rejectFrame,
} from './messages.ts'
import type { Hello, Offer } from './messages.ts'
import type { PairingStream } from './ports.ts'
import {
  commitmentOf, digitsOf, revealedOf, signHash, transcriptOf, verifyHash,
} from './transcript.ts'

export interface Timeouts {
  /** For a frame that needs nobody's hand. */
  stepMs: number
  /** For people to look at two screens. */
  confirmMs: number
  /** For the joiner to store everything. */
  storeMs: number
}

export const TIMEOUTS: Timeouts = { stepMs: 20_000, confirmMs: 300_000, storeMs: 60_000 }

/** The device that asks to be let in. */
export interface JoiningDevice {
  signKey: Uint8Array
  boxKey: Uint8Array
  label: string
}

export interface InviterSide {
  /** This device. */
  sign: SignKeyPair
  label: string
  vaultId: Uint8Array
  vaultName: string
  role: Offer['role']
  /** Public key of the invite's code. */
  codeKey: Uint8Array
  timeouts?: Timeouts
  /**
   * Whether the device may try: counts the attempt. `isResumed`: it was let in by this invite
   * before. Throws 'invite-used', 'invite-expired', 'invite-revoked', 'invite-spent' or
   * 'invite-busy'.
   */
  begin(device: JoiningDevice): Promise<{ isResumed: boolean }>
  /** Resolves when the person at this device agrees; throws 'digits-differ', 'pairing-refused'. */
  confirm(digits: string, device: JoiningDevice, signal: AbortSignal): Promise<void>
  /** Makes the device a member, durably, and returns the sealed welcome. */
  admit(device: JoiningDevice): Promise<Uint8Array>
  /** The device has everything. */
  stored(device: JoiningDevice): Promise<void> | void
}

/**
 * Resolves when the joiner has stored everything. Throws what ended it, after the other side was
 * told; the stream is closed in any case.
 */
export async function runInviter(
  stream: PairingStream, side: InviterSide, signal?: AbortSignal,
): Promise<void> {
  const frames = new Frames(stream)
  try {
    await invite(frames, side, signal)
  } catch (error) {
    frames.send(rejectFrame(reasonFor(error)))
    throw error
  } finally {
    frames.close()
  }
}

async function invite(frames: Frames, side: InviterSide, signal?: AbortSignal): Promise<void> {
  const times = side.timeouts ?? TIMEOUTS
  const hello = expectFrame('hello', await frames.next(times.stepMs, signal), readHello)
  const device = { signKey: hello.signKey, boxKey: hello.boxKey, label: hello.label }
  const { isResumed } = await side.begin(device)
  const revealed = await exchange(frames, side, hello, isResumed, signal)
  if (isResumed) {
    frames.send(frame('confirm'))
    expectFrame('confirm', await frames.next(times.confirmMs, signal), () => undefined)
  } else {
    await confirmBoth(frames, times.confirmMs, signal, (aborted) => (
      side.confirm(digitsOf(revealed), device, aborted)
    ))
  }
  frames.send(frame('welcome', await side.admit(device)))
  expectFrame('stored', await frames.next(times.storeMs, signal), () => undefined)
  await side.stored(device)
}

/** Offer and reveal: afterwards the joiner has proved code and device key. */
async function exchange(
  frames: Frames, side: InviterSide, hello: Hello, isResumed: boolean, signal?: AbortSignal,
): Promise<Uint8Array> {
  const { vaultId, vaultName, role, label } = side
  const signKey = new Uint8Array(side.sign.publicKey)
  const nonce = randomBytes(NONCE_BYTES)
  const offer: Offer = { vaultId, vaultName, role, signKey, label, isResumed, nonce }
  const transcript = transcriptOf(frames.handshakeHash, hello, offer)
  const signature = signHash('lattice/0/pairing-inviter', transcript, side.sign.secretKey)
  frames.send(frame('offer', offerBody(offer), signature))
  const { stepMs } = side.timeouts ?? TIMEOUTS
  const reveal = expectFrame('reveal', await frames.next(stepMs, signal), readReveal)
  if (!equalBytes(commitmentOf(reveal.nonce, frames.handshakeHash), hello.commitment)) {
    throw protocolError('commitment', 'the other device opened another commitment')
  }
  const revealed = revealedOf(transcript, reveal.nonce)
  if (!verifyHash('lattice/0/pairing-code', revealed, reveal.codeSignature, side.codeKey)) {
    throw protocolError('code-signature', 'the other device did not prove that it has the code')
  }
  const { deviceSignature } = reveal
  if (!verifyHash('lattice/0/pairing-joiner', revealed, deviceSignature, hello.signKey)) {
    throw protocolError('device-signature', 'the other device did not prove that it has its key')
  }
  return revealed
}

/** Both people agree, in any order; as soon as one does not, the other is not asked any more. */
export async function confirmBoth(
  frames: Frames, timeoutMs: number, signal: AbortSignal | undefined,
  confirm: (aborted: AbortSignal) => Promise<void>,
): Promise<void> {
  const abort = new AbortController()
  const here = confirm(abort.signal).then(() => frames.send(frame('confirm')))
  const there = frames.next(timeoutMs, signal).then((bytes) => (
    expectFrame('confirm', bytes, () => undefined)
  ))
  try {
    await Promise.all([here, there])
  } finally {
    abort.abort()
  }
}
