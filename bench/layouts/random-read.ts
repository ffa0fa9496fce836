/**
 * Question: which sealed segment makes a random 4 KiB read cheap? 128 MiB in two 64 MiB packs of
 * 1 MiB bundles; each read picks a random byte offset inside a bundle (chunks lie back to back, so
 * nothing is aligned), preads the one or two segments that hold it in one call, and opens them.
 *
 * Variants take turns in blocks of 250 reads. `cold` runs begin with the packs dropped from the
 * page cache; kernel read-ahead then helps whoever reads neighbouring segments, as in life.
 */
import { closeSync, fsyncSync, openSync, read, readFileSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { percentile, report, round, type Row } from './report.ts';
import { sodium, TAG_BYTES } from './records.ts';
import { dropFromPageCache } from './stat.ts';

const BUNDLE_BYTES = 1 << 20;
const PACK_BUNDLES = 64;
const PACKS = 2;
const READ_BYTES = 4096;
const BLOCK_READS = 250;
const BLOCKS = 8;
const HEADER = Buffer.alloc(64, 5);
const KEY = Buffer.alloc(32, 6);

/** Deterministic offsets (Lehmer generator), so that every run reads the same places. */
class Picker {
  #state = 1;

  next(bound: number): number {
    this.#state = (this.#state * 48271) % 0x7fffffff;
    return this.#state % bound;
  }
}

class PackSet {
  readonly segmentBytes: number;
  readonly paths: string[] = [];
  #fds: number[] = [];
  readonly #nonce = Buffer.alloc(24, 8);
  readonly #sealed: Buffer;
  readonly #plain: Buffer;
  readonly #picker = new Picker();

  constructor(directory: string, segmentBytes: number) {
    this.segmentBytes = segmentBytes;
    this.#sealed = Buffer.alloc(2 * (segmentBytes + TAG_BYTES));
    this.#plain = Buffer.alloc(2 * segmentBytes);
    for (let p = 0; p < PACKS; p++) {
      const path = join(directory, `pack-${segmentBytes}-${p}`);
      this.paths.push(path);
      this.#writePack(path);
    }
    this.#fds = this.paths.map((path) => openSync(path, 'r'));
  }

  /** Brings every byte into the page cache. */
  load(): void {
    for (const path of this.paths) readFileSync(path);
  }

  drop(): void {
    for (const path of this.paths) dropFromPageCache(path);
  }

  /** Reads 4 KiB of plaintext at a random place; returns how many segments it opened. */
  readSync(): number {
    const place = this.#pick();
    readSync(place.fd, this.#sealed, 0, place.sizeBytes, place.position);
    return this.#open(place.first, place.count);
  }

  /** The floor: one aligned 4 KiB page, nothing opened. */
  readRaw(): void {
    const page = this.#picker.next((PACK_BUNDLES * BUNDLE_BYTES) / READ_BYTES);
    readSync(this.#fds[page % PACKS] ?? -1, this.#sealed, 0, READ_BYTES, page * READ_BYTES);
  }

  readAsync(): Promise<number> {
    const place = this.#pick();
    return new Promise((resolve, reject) => {
      read(place.fd, this.#sealed, 0, place.sizeBytes, place.position, (error) => {
        if (error) reject(error);
        else resolve(this.#open(place.first, place.count));
      });
    });
  }

  close(): void {
    for (const fd of this.#fds) closeSync(fd);
  }

  #pick() {
    const sealedBytes = this.segmentBytes + TAG_BYTES;
    const bundle = this.#picker.next(PACKS * PACK_BUNDLES);
    const offset = this.#picker.next(BUNDLE_BYTES - READ_BYTES);
    const first = Math.floor(offset / this.segmentBytes);
    const last = Math.floor((offset + READ_BYTES - 1) / this.segmentBytes);
    const count = last - first + 1;
    const segments = BUNDLE_BYTES / this.segmentBytes;
    const bundleAt = (bundle % PACK_BUNDLES) * (HEADER.length + segments * sealedBytes);
    const fd = this.#fds[Math.floor(bundle / PACK_BUNDLES)] ?? -1;
    const position = bundleAt + HEADER.length + first * sealedBytes;
    return { fd, first, count, position, sizeBytes: count * sealedBytes };
  }

  #open(first: number, count: number): number {
    const sealedBytes = this.segmentBytes + TAG_BYTES;
    for (let i = 0; i < count; i++) {
      this.#nonce.writeUInt32BE(first + i, 19);
      sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(
        this.#plain.subarray(i * this.segmentBytes, (i + 1) * this.segmentBytes), null,
        this.#sealed.subarray(i * sealedBytes, (i + 1) * sealedBytes), HEADER, this.#nonce, KEY);
    }
    return count;
  }

  #writePack(path: string): void {
    const fd = openSync(path, 'w');
    const plain = Buffer.alloc(this.segmentBytes, 2);
    const sealed = Buffer.alloc(this.segmentBytes + TAG_BYTES);
    for (let bundle = 0; bundle < PACK_BUNDLES; bundle++) {
      writeSync(fd, HEADER);
      for (let s = 0; s < BUNDLE_BYTES / this.segmentBytes; s++) {
        this.#nonce.writeUInt32BE(s, 19);
        sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(
          sealed, plain, HEADER, null, this.#nonce, KEY);
        writeSync(fd, sealed);
      }
    }
    fsyncSync(fd);
    closeSync(fd);
  }
}

type How = 'raw' | 'sync' | 'async';

async function block(set: PackSet, how: How): Promise<number> {
  const start = performance.now();
  for (let i = 0; i < BLOCK_READS; i++) {
    if (how === 'raw') set.readRaw();
    else if (how === 'sync') set.readSync();
    else await set.readAsync();
  }
  return ((performance.now() - start) * 1000) / BLOCK_READS;
}

/** What small segments cost a stream: sodium's CPU per MiB sealed and opened again. */
function measureBulk(): void {
  const rows: Row[] = [];
  const nonce = Buffer.alloc(24, 8);
  for (const kib of [4, 8, 16, 64, 256]) {
    const plain = Buffer.alloc(kib << 10, 2);
    const sealed = Buffer.alloc(plain.length + TAG_BYTES);
    const segments = (32 << 20) / plain.length;
    const start = performance.now();
    for (let s = 0; s < segments; s++) {
      sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(sealed, plain, HEADER, null, nonce, KEY);
    }
    const between = performance.now();
    for (let s = 0; s < segments; s++) {
      sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(plain, null, sealed, HEADER, nonce, KEY);
    }
    const sealMs = (between - start) / 32;
    rows.push({
      segmentKiB: kib, sealMsPerMiB: round(sealMs),
      openMsPerMiB: round((performance.now() - between) / 32),
    });
  }
  report('sealing a stream in segments (sodium)', rows);
}

export async function measureRandomRead(directory: string): Promise<void> {
  const sets = [4, 8, 16, 64, 256].map((kib) => new PackSet(directory, kib << 10));
  const rows: Row[] = [];
  const runs: [PackSet, How][] = sets.flatMap((set) => [[set, 'sync'], [set, 'async']]);
  if (sets[0]) runs.unshift([sets[0], 'raw']);
  const cold = runs.map((): number[] => []);
  const warm = runs.map((): number[] => []);
  for (let b = 0; b < BLOCKS; b++) {
    for (const [r, [set, how]] of runs.entries()) {
      set.drop();
      cold[r]?.push(await block(set, how));
    }
  }
  for (const set of sets) set.load();
  for (let b = 0; b < BLOCKS; b++) {
    for (const [r, [set, how]] of runs.entries()) warm[r]?.push(await block(set, how));
  }
  for (const [r, [set, how]] of runs.entries()) {
    const coldUs = percentile(cold[r] ?? [], 0.5);
    const warmUs = percentile(warm[r] ?? [], 0.5);
    rows.push({
      segmentKiB: how === 'raw' ? 0 : set.segmentBytes >> 10, how,
      coldUs: round(coldUs), coldIops: Math.round(1e6 / coldUs),
      warmUs: round(warmUs), warmIops: Math.round(1e6 / warmUs),
      storedOverhead: how === 'raw' ? 0 : round(TAG_BYTES / set.segmentBytes),
    });
  }
  for (const set of sets) set.close();
  report('random 4 KiB read: pread + open, µs', rows);
  measureBulk();
}
