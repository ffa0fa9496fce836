// The joining side of one pairing connection. Nothing is stored before the person at this device
// agreed and the keys came; what is stored is durable before the inviter is told so. A connection
// that breaks anywhere can be repeated with the same code and the same device keys.

import { randomBytes } from '../../crypto/random.ts'
import type { BoxKeyPair, SignKeyPair } from '../../crypto/sign.ts'
import { equalBytes } from '../../util/bytes.ts'
import { inviterHash } from './code.ts'
import type { InviteCode } from './code.ts'
import { Frames, protocolError } from './frames.ts'
import { TIMEOUTS, confirmBoth } from './inviter.ts'
import type { Timeouts } from './inviter.ts'
import {
  NONCE_BYTES, expectFrame, frame, helloBody, readOffer, reasonFor, rejectFrame,
} from './messages.ts'
import type { Hello, Offer } from './messages.ts'
import type { PairingStream } from './ports.ts'
import type { InviteSecrets } from './secrets.ts'
import {
  commitmentOf, digitsOf, revealedOf, signHash, transcriptOf, verifyHash,
} from './transcript.ts'
import { openWelcome } from './welcome.ts'
import type { Welcome } from './welcome.ts'

export interface JoinerSide {
  code: InviteCode
  secrets: Pick<InviteSecrets, 'code'>
  sign: SignKeyPair
  box: BoxKeyPair
  label: string
  timeouts?: Timeouts
  /** Resolves when the person at this device agrees, and that is noted durably; throws
   *  'digits-differ', 'pairing-refused'. */
  confirm(digits: string, offer: Offer, signal: AbortSignal): Promise<void>
  /** Makes the vault of it, durably. Owns the secrets in it. */
  store(welcome: Welcome, offer: Offer): Promise<void>
}

/** Resolves when the vault is stored. Throws what ended it; the stream is closed in any case. */
export async function runJoiner(
  stream: PairingStream, side: JoinerSide, signal?: AbortSignal,
): Promise<Offer> {
  const frames = new Frames(stream)
  try {
    const offer = await join(frames, side, signal)
    frames.send(frame('stored'))
    return offer
  } catch (error) {
    frames.send(rejectFrame(reasonFor(error)))
    throw error
  } finally {
    frames.close()
  }
}

async function join(frames: Frames, side: JoinerSide, signal?: AbortSignal): Promise<Offer> {
  const times = side.timeouts ?? TIMEOUTS
  const nonce = randomBytes(NONCE_BYTES)
  const hello: Hello = {
    signKey: new Uint8Array(side.sign.publicKey), boxKey: new Uint8Array(side.box.publicKey),
    label: side.label, commitment: commitmentOf(nonce, frames.handshakeHash),
  }
  frames.send(frame('hello', helloBody(hello)))
  const offer = expectFrame('offer', await frames.next(times.stepMs, signal), readOffer)
  const transcript = transcriptOf(frames.handshakeHash, hello, offer)
  checkOffer(offer, transcript, side.code)
  const revealed = revealedOf(transcript, nonce)
  frames.send(frame(
    'reveal', nonce,
    signHash('lattice/0/pairing-code', revealed, side.secrets.code.secretKey),
    signHash('lattice/0/pairing-joiner', revealed, side.sign.secretKey),
  ))
  await confirmBoth(frames, times.confirmMs, signal, (aborted) => (
    side.confirm(digitsOf(revealed), offer, aborted)
  ))
  const sealed = expectFrame('welcome', await frames.next(times.storeMs, signal), (reader) => (
    reader.copy(reader.leftBytes)
  ))
  const welcome = openWelcome(sealed, side.box)
  if (!equalBytes(welcome.vaultId, offer.vaultId) || welcome.role !== offer.role) {
    throw protocolError('welcome-other', 'the keys are of another vault or role than was offered')
  }
  await side.store(welcome, offer)
  return offer
}

/** The offer is by the device that made the code, and grants what the code says. */
function checkOffer(
  offer: Offer & { signature: Uint8Array }, transcript: Uint8Array, code: InviteCode,
): void {
  const isInviter = equalBytes(inviterHash(offer.signKey), code.inviterHash) &&
    verifyHash('lattice/0/pairing-inviter', transcript, offer.signature, offer.signKey)
  if (!isInviter) throw protocolError('inviter', 'whoever answered is not the device of the code')
  if (offer.role !== code.role) {
    throw protocolError('offer-role', 'another role is offered than the code says')
  }
}
