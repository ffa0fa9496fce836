// A new device that has nothing but the 24 words asks any full member for the vault. The door comes
// from the phrase's public key, which members know; the words prove themselves by a signature over
// this very handshake, and by the certificate that makes the device an owner, which the holder
// carries into the vault. What the device gets is sealed to the phrase's own X25519 key.
//
//   16 hello   device   version u8 (0) ‖ phrase's Ed25519 key 32 ‖ device's Ed25519 key 32 ‖ its
//                       X25519 key 32 ‖ label ‖ signature by the phrase 64
//   17 offer   holder   vault id 16 ‖ vault name ‖ serial of the next certificate u32
//   18 proof   device   signature 64 of the certificate 'phrase-owner' (state/members-phrases.ts)
//    5 welcome, 6 stored, 7 reject: as in pairing (messages.ts)
//
// Nobody needs to compare digits: who has the words is who may. The holder proves nothing: whoever
// knows the phrase's public key, a former member too, can answer with a vault that it made up, but
// with no content of the real one; the vault's id is shown, and old phrases are to be replaced.

import { blake2b } from '../../crypto/hash.ts'
import type { RecoveryKeys } from '../../crypto/phrase.ts'
import { verify } from '../../crypto/sign.ts'
import { VAULT_NAME_MAX_BYTES } from '../../crypto/vault-keys.ts'
import { LABEL_MAX_BYTES, SERIAL_MAX } from '../../ops/control-types.ts'
import type { Certificate } from '../../ops/control-types.ts'
import { certificateBytes, certify } from '../../state/members-phrases.ts'
import type { ByteReader } from '../../util/byte-cursor.ts'
import { concatBytes, copyBytes, equalBytes, utf8, writeU32 } from '../../util/bytes.ts'
import { Frames, protocolError } from './frames.ts'
import { TIMEOUTS } from './inviter.ts'
import type { JoiningDevice, Timeouts } from './inviter.ts'
import {
  PAIRING_VERSION, checkVersion, expectFrame, frame, readBoxKey, readText, reasonFor, rejectFrame,
  rejection, text,
} from './messages.ts'
import type { PairingStream } from './ports.ts'
import { signHash, verifyHash } from './transcript.ts'
import { openWelcome } from './welcome.ts'
import type { Welcome } from './welcome.ts'

export interface HolderSide {
  /** The phrase in force that the door is for. */
  phraseKey: Uint8Array
  vaultId: Uint8Array
  vaultName: string
  timeouts?: Timeouts
  /** Serial of the certificate that the phrase signs next. */
  nextSerial(device: JoiningDevice): number
  /** Carries the certificate into the vault, durably, unless the device is a member; returns the
   *  welcome, sealed to the phrase. */
  admit(device: JoiningDevice, certificate: Certificate): Promise<Uint8Array>
}

export interface RecoveringSide {
  phrase: RecoveryKeys
  device: JoiningDevice
  timeouts?: Timeouts
  store(welcome: Welcome): Promise<void>
}

interface Asking {
  phraseKey: Uint8Array
  device: JoiningDevice
  signature: Uint8Array
}

/** Resolves when the device has stored everything; the stream is closed in any case. */
export async function runHolder(
  stream: PairingStream, side: HolderSide, signal?: AbortSignal,
): Promise<void> {
  await closing(stream, async (frames) => {
    const times = side.timeouts ?? TIMEOUTS
    const asking = expectFrame('recoverHello', await frames.next(times.stepMs, signal), readAsking)
    const { device, phraseKey, signature } = asking
    const asked = askedHash(frames.handshakeHash, asking)
    const isPhrase = equalBytes(phraseKey, side.phraseKey) &&
      verifyHash('lattice/0/pairing-phrase', asked, signature, phraseKey)
    if (!isPhrase) throw rejection('wrong-phrase')
    const serial = side.nextSerial(device)
    const next = new Uint8Array(4)
    writeU32(next, 0, serial)
    frames.send(frame('recoverOffer', side.vaultId, text(side.vaultName), next))
    const proof = expectFrame('recoverProof', await frames.next(times.stepMs, signal), (reader) => (
      reader.copy(64)
    ))
    const certificate: Certificate = { phrase: phraseKey, serial, signature: proof }
    const { signKey, boxKey } = device
    const bytes = certificateBytes('phrase-owner', side.vaultId, certificate, signKey, boxKey)
    if (!verify(bytes, proof, phraseKey)) {
      throw protocolError('certificate', 'the phrase did not sign for this device')
    }
    frames.send(frame('welcome', await side.admit(device, certificate)))
    expectFrame('stored', await frames.next(times.storeMs, signal), () => undefined)
  })
}

/** Resolves with the vault's name when it is stored; the stream is closed in any case. */
export async function runRecovering(
  stream: PairingStream, side: RecoveringSide, signal?: AbortSignal,
): Promise<{ vaultName: string }> {
  return closing(stream, async (frames) => {
    const times = side.timeouts ?? TIMEOUTS
    const { phrase, device } = side
    const phraseKey = new Uint8Array(phrase.sign.publicKey)
    const asked = askedHash(frames.handshakeHash, { phraseKey, device })
    const signature = signHash('lattice/0/pairing-phrase', asked, phrase.sign.secretKey)
    frames.send(frame('recoverHello', askingBody({ phraseKey, device }), signature))
    const offer = expectFrame('recoverOffer', await frames.next(times.stepMs, signal), readOffered)
    const { vaultId, vaultName, serial } = offer
    const certificate = certify(
      'phrase-owner', vaultId, { phrase: phraseKey, serial }, device, phrase.sign.secretKey,
    )
    frames.send(frame('recoverProof', certificate.signature))
    const sealed = expectFrame('welcome', await frames.next(times.storeMs, signal), (reader) => (
      copyBytes(reader.view(reader.leftBytes))
    ))
    const welcome = openWelcome(sealed, phrase.box)
    const isAsOffered = equalBytes(welcome.vaultId, vaultId) && welcome.role === 'owner' &&
      equalBytes(welcome.recoverySignKey, phraseKey)
    if (!isAsOffered) throw protocolError('welcome-other', 'the keys are of another vault')
    await side.store(welcome)
    frames.send(frame('stored'))
    return { vaultName }
  })
}

async function closing<T>(
  stream: PairingStream, run: (frames: Frames) => Promise<T>,
): Promise<T> {
  const frames = new Frames(stream)
  try {
    return await run(frames)
  } catch (error) {
    frames.send(rejectFrame(reasonFor(error)))
    throw error
  } finally {
    frames.close()
  }
}

function askingBody({ phraseKey, device }: Omit<Asking, 'signature'>): Uint8Array {
  return concatBytes(
    Uint8Array.of(PAIRING_VERSION), phraseKey, device.signKey, device.boxKey, text(device.label),
  )
}

function askedHash(handshakeHash: Uint8Array, asking: Omit<Asking, 'signature'>): Uint8Array {
  return blake2b(32, utf8('lattice/0/pairing-recover'), handshakeHash, askingBody(asking))
}

function readAsking(reader: ByteReader): Asking {
  checkVersion(reader.u8())
  const phraseKey = reader.copy(32)
  const signKey = reader.copy(32)
  const boxKey = readBoxKey(reader)
  const label = readText(reader, LABEL_MAX_BYTES)
  return { phraseKey, device: { signKey, boxKey, label }, signature: reader.copy(64) }
}

function readOffered(
  reader: ByteReader,
): { vaultId: Uint8Array; vaultName: string; serial: number } {
  const vaultId = reader.copy(16)
  const vaultName = readText(reader, VAULT_NAME_MAX_BYTES)
  const serial = reader.u32()
  if (serial > SERIAL_MAX || vaultName === '') {
    throw protocolError('offer-fields', 'an offer without sense')
  }
  return { vaultId, vaultName, serial }
}
