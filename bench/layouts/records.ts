/**
 * The candidate records of the layout measurements, with the real costs in them: binary keys,
 * values sealed one by one with XChaCha20-Poly1305, associated data = table byte ‖ key.
 *
 *   sealed value:  nonce 24 ‖ ciphertext ‖ tag 16
 *   attributes:    ino 6, mode 4, nlink 4, generation 4, size 6, three times 10 each, node id 16
 *
 * Buffers returned by `open` are scratch: valid until the next call.
 */
import { createRequire } from 'node:module';

interface Sodium {
  randombytes_buf(out: Buffer): void;
  crypto_generichash(out: Buffer, input: Buffer, key: Buffer): void;
  crypto_aead_xchacha20poly1305_ietf_encrypt(
    c: Buffer, m: Buffer, ad: Buffer, nsec: null, nonce: Buffer, key: Buffer): number;
  crypto_aead_xchacha20poly1305_ietf_decrypt(
    m: Buffer, nsec: null, c: Buffer, ad: Buffer, nonce: Buffer, key: Buffer): number;
  crypto_aead_chacha20poly1305_ietf_encrypt(
    c: Buffer, m: Buffer, ad: Buffer, nsec: null, nonce: Buffer, key: Buffer): number;
  crypto_aead_chacha20poly1305_ietf_decrypt(
    m: Buffer, nsec: null, c: Buffer, ad: Buffer, nonce: Buffer, key: Buffer): number;
}

export const sodium = createRequire(import.meta.url)('sodium-native') as Sodium;

export const NONCE_BYTES = 24;
export const TAG_BYTES = 16;
export const ATTRIBUTES_BYTES = 70;

export interface Attributes {
  ino: number;
  mode: number;
  nlink: number;
  generation: number;
  sizeBytes: number;
  mtimeSec: number;
  mtimeNsec: number;
  ctimeSec: number;
  ctimeNsec: number;
  atimeSec: number;
  atimeNsec: number;
  node: Buffer;
}

/** Views of one scratch buffer by length, so that a hot path allocates none. */
class Scratch {
  readonly #bytes: Buffer;
  readonly #views: (Buffer | undefined)[] = [];

  constructor(sizeBytes: number) {
    this.#bytes = Buffer.alloc(sizeBytes);
  }

  view(lengthBytes: number): Buffer {
    return (this.#views[lengthBytes] ??= this.#bytes.subarray(0, lengthBytes));
  }
}

/** Seals and opens single values under one key. */
export class Sealer {
  readonly #key: Buffer;
  readonly #ad = new Scratch(64);
  readonly #plain = new Scratch(4096);
  readonly #pool = Buffer.alloc(NONCE_BYTES * 512);
  #poolOffset = this.#pool.length;

  constructor(key: Buffer) {
    this.#key = key;
  }

  seal(table: number, key: Buffer, plain: Buffer): Buffer {
    if (this.#poolOffset === this.#pool.length) {
      sodium.randombytes_buf(this.#pool);
      this.#poolOffset = 0;
    }
    const out = Buffer.allocUnsafe(NONCE_BYTES + plain.length + TAG_BYTES);
    this.#pool.copy(out, 0, this.#poolOffset, this.#poolOffset += NONCE_BYTES);
    sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(
      out.subarray(NONCE_BYTES), plain, this.#associated(table, key), null,
      out.subarray(0, NONCE_BYTES), this.#key);
    return out;
  }

  /** `sealed` may be LMDB's shared buffer: its own `length` counts, not its `byteLength`. */
  open(table: number, key: Buffer, sealed: Buffer): Buffer {
    const sealedBytes = sealed.length;
    const plain = this.#plain.view(sealedBytes - NONCE_BYTES - TAG_BYTES);
    sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(
      plain, null, sealed.subarray(NONCE_BYTES, sealedBytes), this.#associated(table, key),
      sealed.subarray(0, NONCE_BYTES), this.#key);
    return plain;
  }

  #associated(table: number, key: Buffer): Buffer {
    const ad = this.#ad.view(1 + key.length);
    ad[0] = table;
    key.copy(ad, 1);
    return ad;
  }
}

export function encodeAttributes(out: Buffer, at: number, a: Attributes): void {
  out.writeUIntLE(a.ino, at, 6);
  out.writeUInt32LE(a.mode, at + 6);
  out.writeUInt32LE(a.nlink, at + 10);
  out.writeUInt32LE(a.generation, at + 14);
  out.writeUIntLE(a.sizeBytes, at + 18, 6);
  out.writeUIntLE(a.mtimeSec, at + 24, 6);
  out.writeUInt32LE(a.mtimeNsec, at + 30);
  out.writeUIntLE(a.ctimeSec, at + 34, 6);
  out.writeUInt32LE(a.ctimeNsec, at + 40);
  out.writeUIntLE(a.atimeSec, at + 44, 6);
  out.writeUInt32LE(a.atimeNsec, at + 50);
  a.node.copy(out, at + 54);
}

export function decodeAttributes(from: Buffer, at: number): Attributes {
  return {
    ino: from.readUIntLE(at, 6),
    mode: from.readUInt32LE(at + 6),
    nlink: from.readUInt32LE(at + 10),
    generation: from.readUInt32LE(at + 14),
    sizeBytes: from.readUIntLE(at + 18, 6),
    mtimeSec: from.readUIntLE(at + 24, 6),
    mtimeNsec: from.readUInt32LE(at + 30),
    ctimeSec: from.readUIntLE(at + 34, 6),
    ctimeNsec: from.readUInt32LE(at + 40),
    atimeSec: from.readUIntLE(at + 44, 6),
    atimeNsec: from.readUInt32LE(at + 50),
    node: Buffer.from(from.subarray(at + 54, at + 70)),
  };
}

/** key ← u64 big-endian, in place. */
export function writeU64(key: Buffer, at: number, value: number): void {
  key.writeUInt32BE(Math.floor(value / 2 ** 32), at);
  key.writeUInt32BE(value >>> 0, at + 4);
}

export function attributesOf(ino: number): Attributes {
  const node = Buffer.alloc(16, ino & 0xff);
  node.writeUInt32BE(ino, 0);
  return {
    ino, mode: 0o100644, nlink: 1, generation: 1, sizeBytes: (ino * 7919) % 100_000,
    mtimeSec: 1_780_000_000 + ino, mtimeNsec: ino, ctimeSec: 1_780_000_000, ctimeNsec: ino,
    atimeSec: 1_780_000_000, atimeNsec: ino, node,
  };
}
