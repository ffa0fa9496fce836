/**
 * Question: what does a checkpoint cost the main thread, and what do small sealed values cost?
 * An overlay (a Map of 4,000 decoded records) is encoded, sealed and put in one transaction, by the
 * three ways lmdb-js has; then gets, and sealing by itself under two nonce sizes.
 */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { open, type RootDatabase } from 'lmdb';
import {
  ATTRIBUTES_BYTES, attributesOf, encodeAttributes, Sealer, sodium, TAG_BYTES, type Attributes,
} from './records.ts';
import { percentile, report, round, type Row } from './report.ts';

const RECORDS = 4000;
const ROUNDS = 15;
const NAME = 'component-abcdef.test.ts';

type Root = RootDatabase<Buffer, Buffer>;
type Put = (key: Buffer, value: Buffer) => void;

function overlayOf(seed: number): Map<string, Attributes> {
  const overlay = new Map<string, Attributes>();
  for (let i = 0; i < RECORDS; i++) {
    overlay.set(randomBytes(24).toString('latin1'), attributesOf(seed * RECORDS + i));
  }
  return overlay;
}

function writeOverlay(overlay: Map<string, Attributes>, sealer: Sealer, put: Put): void {
  const scratch = Buffer.alloc(256);
  for (const [id, attributes] of overlay) {
    const key = Buffer.from(id, 'latin1');
    encodeAttributes(scratch, 8, attributes);
    const end = 8 + ATTRIBUTES_BYTES + scratch.write(NAME, 8 + ATTRIBUTES_BYTES);
    put(key, sealer.seal(1, key, scratch.subarray(0, end)));
  }
}

/** Main-thread ms and ms until durable, for each way to write one overlay. */
const WAYS: Record<string, (root: Root, write: (put: Put) => void) => Promise<number>> = {
  'seal only': async (_root, write) => {
    const start = performance.now();
    write(() => undefined);
    return performance.now() - start;
  },
  'transactionSync (flushes)': async (root, write) => {
    const start = performance.now();
    root.transactionSync(() => write((key, value) => root.putSync(key, value)));
    return performance.now() - start;
  },
  'transaction (async callback)': async (root, write) => {
    let busyMs = 0;
    await root.transaction(() => {
      const start = performance.now();
      write((key, value) => void root.put(key, value));
      busyMs = performance.now() - start;
    });
    return busyMs;
  },
  'batch of async puts': async (root, write) => {
    const start = performance.now();
    void root.batch(() => write((key, value) => void root.put(key, value)));
    return performance.now() - start;
  },
};

async function measureWays(directory: string): Promise<void> {
  const names = Object.keys(WAYS);
  const roots = names.map((name, i) => open<Buffer, Buffer>({
    path: join(directory, `checkpoint-${i}-${name.length}`),
    keyEncoding: 'binary', encoding: 'binary',
  }));
  const sealer = new Sealer(randomBytes(32));
  const busy = names.map((): number[] => []);
  const cpu = names.map((): number[] => []);
  const durable = names.map((): number[] => []);
  for (let r = 0; r < ROUNDS; r++) {
    for (const [n, name] of names.entries()) {
      const overlay = overlayOf(r);
      const root = roots[n];
      const way = WAYS[name];
      if (!root || !way) continue;
      const start = performance.now();
      const cpuBefore = process.cpuUsage();
      busy[n]?.push(await way(root, (put) => writeOverlay(overlay, sealer, put)));
      await root.flushed;
      durable[n]?.push(performance.now() - start);
      const used = process.cpuUsage(cpuBefore);
      cpu[n]?.push((used.user + used.system) / 1000);
    }
  }
  const rows = names.map((way, n): Row => ({
    way,
    mainThreadMs: round(percentile(busy[n] ?? [], 0.5)),
    mainThreadP95Ms: round(percentile(busy[n] ?? [], 0.95)),
    untilDurableMs: round(percentile(durable[n] ?? [], 0.5)),
    cpuMs: round(percentile(cpu[n] ?? [], 0.5)),
  }));
  report(`checkpoint of ${RECORDS} records with random keys`, rows);
  for (const root of roots) await root.close();
}

async function measureGets(directory: string): Promise<void> {
  const root = open<Buffer, Buffer>({
    path: join(directory, 'gets'), keyEncoding: 'binary', encoding: 'binary',
  });
  const keys = Array.from({ length: 20_000 }, () => randomBytes(24));
  root.transactionSync(() => {
    for (const key of keys) root.putSync(key, randomBytes(150));
  });
  const ways: Record<string, (key: Buffer) => Buffer | undefined> = {
    getBinary: (key) => root.getBinary(key),
    getBinaryFast: (key) => root.getBinaryFast(key),
  };
  const rows: Row[] = [];
  const samples = new Map<string, number[]>();
  for (let r = 0; r < ROUNDS; r++) {
    for (const [name, get] of Object.entries(ways)) {
      let bytes = 0;
      const start = performance.now();
      for (const key of keys) bytes += get(key)?.length ?? 0;
      const us = ((performance.now() - start) * 1000) / keys.length;
      if (bytes !== keys.length * 150) throw new Error('a value is missing');
      samples.set(name, [...(samples.get(name) ?? []), us]);
    }
  }
  for (const [way, list] of samples) rows.push({ way, usPerGet: round(percentile(list, 0.5)) });
  report('one get of a 150-byte value, warm', rows);
  await root.close();
}

/** Small-value AEAD: is the 24-byte nonce (an HChaCha20 more) worth avoiding? */
function measureSealing(): void {
  const key = randomBytes(32);
  const ad = randomBytes(25);
  const plain = randomBytes(102);
  const sealed = Buffer.alloc(plain.length + TAG_BYTES);
  const long = randomBytes(24);
  const short = randomBytes(12);
  const name = Buffer.from(NAME);
  const hash = Buffer.alloc(16);
  const ways: Record<string, () => void> = {
    'XChaCha20-Poly1305 seal': () => void sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(
      sealed, plain, ad, null, long, key),
    'XChaCha20-Poly1305 open': () => void sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(
      plain, null, sealed, ad, long, key),
    'ChaCha20-Poly1305 seal': () => void sodium.crypto_aead_chacha20poly1305_ietf_encrypt(
      sealed, plain, ad, null, short, key),
    'ChaCha20-Poly1305 open': () => void sodium.crypto_aead_chacha20poly1305_ietf_decrypt(
      plain, null, sealed, ad, short, key),
    'keyed BLAKE2b of a name': () => sodium.crypto_generichash(hash, name, key),
  };
  const samples = new Map<string, number[]>();
  for (let r = 0; r < ROUNDS; r++) {
    for (const [way, call] of Object.entries(ways)) {
      const start = performance.now();
      for (let i = 0; i < 5000; i++) call();
      const us = ((performance.now() - start) * 1000) / 5000;
      samples.set(way, [...(samples.get(way) ?? []), us]);
    }
  }
  const rows = [...samples].map(([way, list]): Row => ({
    way, usPerCall: round(percentile(list, 0.5)),
  }));
  report('small calls, 102 bytes, warm', rows);
}

function measureMemory(): void {
  globalThis.gc?.();
  const before = process.memoryUsage();
  const overlay = overlayOf(1);
  globalThis.gc?.();
  const after = process.memoryUsage();
  const bytes = after.heapUsed + after.external - before.heapUsed - before.external;
  const rssMiB = round(after.rss / 2 ** 20);
  const bytesPerEntry = round(bytes / RECORDS);
  report('memory', [{ overlayEntries: overlay.size, bytesPerEntry, rssMiB }]);
}

export async function measureCheckpoint(directory: string): Promise<void> {
  measureSealing();
  await measureGets(directory);
  await measureWays(directory);
  measureMemory();
}
