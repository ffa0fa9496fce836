// What build/lattice.node exports, by hand. Each part of the addon has its own interface here;
// src/crypto/native.ts loads it. Every call checks types, lengths and ranges and throws a
// TypeError with code 'invalid' when they are wrong; buffers are only used during the call.

export interface CutAddon {
  /**
   * Lengths of the FastCDC chunks at the start of `buffer`. `gear` is 2048 bytes (256 little-endian
   * u64). Needs 64 <= min <= avg <= max, avg a power of two from 256 to 2^26. Unless `final`, a
   * tail that more bytes could change is left out: pass it again, with what follows.
   */
  cut(
    buffer: Uint8Array,
    gear: Uint8Array,
    min: number,
    avg: number,
    max: number,
    final: boolean,
  ): Uint32Array
}

export interface Lz4Addon {
  /** The size of the LZ4 block written to `out`, or 0 when it does not fit. At most 64 MiB. */
  lz4Compress(input: Uint8Array, out: Uint8Array): number
  /** True when the block inflates to exactly `out`, which may be partly written when false. */
  lz4Decompress(input: Uint8Array, out: Uint8Array): boolean
}

export interface AeadAddon {
  /** False when the runtime lacks OpenSSL's EVP functions: then seal and open throw. */
  aeadAvailable(): boolean
  /** HChaCha20(key 32, input 16), 32 bytes. */
  hchacha20(key: Uint8Array, input: Uint8Array): Uint8Array
  /** XChaCha20-Poly1305 of one message; `out` has 16 bytes more than `plain`, not overlapping. */
  seal(
    key: Uint8Array,
    nonce24: Uint8Array,
    ad: Uint8Array,
    plain: Uint8Array,
    out: Uint8Array,
  ): void
  /** True and `out` filled (16 bytes less than `sealed`), or false and `out` zeroed. */
  open(
    this: void,
    key: Uint8Array,
    nonce24: Uint8Array,
    ad: Uint8Array,
    sealed: Uint8Array,
    out: Uint8Array,
  ): boolean
  /**
   * Seals `plain` in segments of 16 KiB; nonce = prefix 19 ‖ index u32 BE ‖ last flag.
   * `out` has exactly 16 * max(1, ceil(plain / 16384)) bytes more.
   */
  sealSegments(
    key: Uint8Array,
    prefix19: Uint8Array,
    ad: Uint8Array,
    plain: Uint8Array,
    out: Uint8Array,
  ): void
  /**
   * Opens consecutive whole segments, `first` being the index of the first one in `sealed`, of a
   * buffer that has `total` of them. Only the last of all may be shorter than 16 KiB.
   */
  openSegments(
    this: void,
    key: Uint8Array,
    prefix19: Uint8Array,
    ad: Uint8Array,
    sealed: Uint8Array,
    first: number,
    total: number,
    out: Uint8Array,
  ): boolean
}

export interface SpaceAddon {
  /**
   * Gives the space of stretches inside a file back; they read as zeros. `ranges`: offsets and
   * sizes in turns, in bytes. On a thread of its own; `fd` stays open until it has settled. Rejects
   * with errno, EOPNOTSUPP where the file system cannot.
   */
  punchHoles(this: void, fd: number, ranges: readonly number[]): Promise<number>
}
