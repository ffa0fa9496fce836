// The key file's vectors, from @noble and node:crypto alone; run by make.ts. X25519 sealed boxes are
// libsodium's: ephemeral key 32 ‖ XSalsa20-Poly1305, nonce = BLAKE2b-192(ephemeral ‖ recipient), key
// = HSalsa20 of the shared point; a box key pair's secret is the first half of SHA-512 of its seed.
import { createHash } from 'node:crypto'
import { xchacha20poly1305 } from '@noble/ciphers/chacha.js'
import { hsalsa, xsalsa20poly1305 } from '@noble/ciphers/salsa.js'
import { ed25519, x25519 } from '@noble/curves/ed25519.js'
import { argon2id } from '@noble/hashes/argon2.js'
import { blake2b } from '@noble/hashes/blake2.js'
import { blake3 } from '@noble/hashes/blake3.js'

const toHex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
const bytes = (length: number, start: number) => (
  Buffer.from(Uint8Array.from({ length }, (_, i) => (start + i * 3) & 255))
)
const u16 = (value: number) => Buffer.from([value >> 8, value & 255])
const u32 = (value: number) => Buffer.concat([u16(value >>> 16), u16(value & 0xffff)])

const derive = (parent: Uint8Array, label: string) => {
  const text = Buffer.from(label)
  return blake3(Buffer.concat([Buffer.from([text.length]), text]), { key: parent })
}

const boxSecret = (seed: Uint8Array) => createHash('sha512').update(seed).digest().subarray(0, 32)

function words(data: Uint8Array): Uint32Array {
  const copy = Uint8Array.from(data)
  return new Uint32Array(copy.buffer, 0, copy.length / 4)
}

function sealedBox(plain: Uint8Array, recipient: Uint8Array, ephemeralSeed: Uint8Array): Buffer {
  const secret = boxSecret(ephemeralSeed)
  const ephemeral = x25519.getPublicKey(secret)
  const shared = x25519.getSharedSecret(secret, recipient)
  const key = new Uint32Array(8)
  hsalsa(words(Buffer.from('expand 32-byte k')), words(shared), words(new Uint8Array(16)), key)
  const nonce = blake2b(Buffer.concat([ephemeral, recipient]), { dkLen: 24 })
  const sealed = xsalsa20poly1305(new Uint8Array(key.buffer), nonce).encrypt(plain)
  return Buffer.concat([ephemeral, sealed])
}

interface Epoch { epochId: Buffer; keys: Buffer[] }

function vault(name: string, start: number, epochs: number, withEntropy: boolean) {
  const entropy = bytes(32, start + 9)
  const secrets = [1, 2, 3, 4, 5].map((n) => bytes(32, start + 11 * n))
  const recoveryBoxKey = x25519.getPublicKey(boxSecret(derive(entropy, 'lattice/0/recovery-box')))
  const recoverySignKey = ed25519.getPublicKey(derive(entropy, 'lattice/0/recovery-sign'))
  const list: Epoch[] = Array.from({ length: epochs }, (_, e) => ({
    epochId: bytes(8, start + e), keys: [1, 2, 3, 4].map((n) => bytes(32, start + 40 * e + n)),
  }))
  const vaultId = bytes(16, start)
  const encode = (isWhole: boolean) => Buffer.concat([
    vaultId, Buffer.from([isWhole && withEntropy ? 1 : 0, Buffer.byteLength(name)]),
    Buffer.from(name), ...secrets, recoveryBoxKey, recoverySignKey,
    ...(isWhole && withEntropy ? [entropy] : []), u32(epochs),
    ...list.flatMap(({ epochId, keys }) => [epochId, ...keys]),
  ])
  const fields = ['signSeed', 'boxSeed', 'databaseKey', 'idKey', 'cutKey']
  return {
    vaultId,
    recoveryBoxKey,
    whole: encode(true),
    box: sealedBox(encode(false), recoveryBoxKey, bytes(32, start + 77)),
    json: {
      vaultId: toHex(vaultId), name,
      ...Object.fromEntries(fields.map((field, i) => [field, toHex(secrets[i]!)])),
      recoveryBoxKey: toHex(recoveryBoxKey), recoverySignKey: toHex(recoverySignKey),
      recoveryEntropy: withEntropy ? toHex(entropy) : null,
      epochs: list.map(({ epochId, keys }) => ({
        epochId: toHex(epochId), epochKey: toHex(keys[0]!), historyKey: toHex(keys[1]!),
        controlKey: toHex(keys[2]!), topicKey: toHex(keys[3]!),
      })),
    },
    entropy: toHex(entropy),
  }
}

export function keyFileVector(what: string, passphrase: string | undefined, vaultCount: number) {
  const vaults = Array.from({ length: vaultCount }, (_, i) => (
    vault(['notes', 'caf\u00e9'][i] ?? 'v', 20 + 100 * i, 1 + i, i === 0)
  ))
  const salt = passphrase === undefined ? Buffer.alloc(16) : bytes(16, 5)
  const key = passphrase === undefined ? bytes(32, 99)
    : argon2id(Buffer.from(passphrase), salt, { t: 1, m: 64, p: 1, dkLen: 32 })
  const payload = Buffer.concat([
    u16(vaultCount), ...vaults.flatMap(({ whole }) => [u32(whole.length), whole]),
  ])
  const isOpen = passphrase === undefined
  const header = Buffer.concat([
    Buffer.from('LKEY'), Buffer.from([0, 1, isOpen ? 0 : 1, isOpen ? 0 : 1]), u32(isOpen ? 0 : 64),
    salt, isOpen ? key : Buffer.alloc(32), u32(payload.length + 40),
  ])
  const nonce = bytes(24, 3)
  const sealed = xchacha20poly1305(key, nonce, header).encrypt(payload)
  const body = Buffer.concat([
    header, nonce, sealed, u16(vaultCount),
    ...vaults.flatMap(({ vaultId, box }) => [vaultId, u32(box.length), box]),
  ])
  return {
    what, passphrase: passphrase ?? null, file: toHex(Buffer.concat([body, blake2b(body, { dkLen: 32 })])),
    vaults: vaults.map(({ json }) => json), entropies: vaults.map(({ entropy }) => entropy),
  }
}
