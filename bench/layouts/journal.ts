/**
 * Question: which file discipline makes `create + fsync` cheapest? 300 rounds; in each round every
 * variant writes one record of 2,560 bytes and makes it durable, so that all meet the same disk.
 *
 * Ways to have the space: append (grows), fallocate'd (unwritten extents), zeroed (written before).
 * Ways to flush: write then fdatasync (two system calls), or one pwrite on an O_DSYNC descriptor.
 * Ways to call: callbacks (libuv's pool), fs.promises, synchronously (the floor).
 * Records in prepared space are padded to 4 KiB: a durable block is never written again.
 */
import { execFileSync, spawn } from 'node:child_process';
import {
  close, closeSync, constants, fdatasync, fdatasyncSync, fsyncSync, mkdirSync, openSync, promises,
  write, writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { open } from 'lmdb';
import { percentile, report, round, type Row } from './report.ts';

const ROUNDS = 300;
const RECORD_BYTES = 2560;
const BLOCK_BYTES = 4096;
const SEGMENT_BYTES = 8 << 20;

type Space = 'append' | 'append 4 KiB' | 'fallocate' | 'zeroed';
type Once = (round: number) => void | Promise<void>;
interface Variant {
  name: string;
  once: Once;
  close: () => void | Promise<void>;
}

const aligned = Buffer.alloc(BLOCK_BYTES, 1);
const plain = Buffer.alloc(RECORD_BYTES, 1);

function writeZeros(fd: number, begin: number, sizeBytes: number): void {
  const zeros = Buffer.alloc(1 << 20);
  for (let at = 0; at < sizeBytes; at += zeros.length) {
    writeSync(fd, zeros, 0, zeros.length, begin + at);
  }
}

/** A file whose space was made ready in one of three ways, durably; returns a descriptor. */
function prepare(path: string, space: Space, flags: number): number {
  const fd = openSync(path, constants.O_CREAT | constants.O_RDWR, 0o600);
  if (space === 'fallocate') execFileSync('fallocate', ['-l', String(SEGMENT_BYTES), path]);
  if (space === 'zeroed') writeZeros(fd, 0, SEGMENT_BYTES);
  fsyncSync(fd);
  closeSync(fd);
  return openSync(path, constants.O_RDWR | flags);
}

function pwriteAsync(fd: number, record: Buffer, position: number): Promise<void> {
  return new Promise((resolve, reject) => {
    write(fd, record, 0, record.length, position, (error) => (error ? reject(error) : resolve()));
  });
}

function pwriteThenFlush(fd: number, record: Buffer, position: number): Promise<void> {
  return new Promise((resolve, reject) => {
    write(fd, record, 0, record.length, position, (error) => {
      if (error) return reject(error);
      fdatasync(fd, (flushError) => (flushError ? reject(flushError) : resolve()));
    });
  });
}

function fileVariant(
  directory: string, space: Space, how: 'two hops' | 'dsync' | 'sync' | 'sync dsync',
): Variant {
  const flags = how.endsWith('dsync') ? constants.O_DSYNC : 0;
  const name = `${space}, ${how}`;
  const fd = prepare(join(directory, name.replaceAll(/[ ,]+/g, '-')), space, flags);
  const record = space === 'append' ? plain : aligned;
  const once = (i: number): void | Promise<void> => {
    const position = i * record.length;
    if (how === 'two hops') return pwriteThenFlush(fd, record, position);
    if (how === 'dsync') return pwriteAsync(fd, record, position);
    writeSync(fd, record, 0, record.length, position);
    if (how === 'sync') fdatasyncSync(fd);
  };
  return { name, once, close: () => new Promise((resolve) => close(fd, () => resolve())) };
}

async function promisesVariant(directory: string): Promise<Variant> {
  const path = join(directory, 'promises');
  closeSync(prepare(path, 'zeroed', 0));
  const handle = await promises.open(path, 'r+');
  const once = async (i: number): Promise<void> => {
    await handle.write(aligned, 0, BLOCK_BYTES, i * BLOCK_BYTES);
    await handle.datasync();
  };
  return { name: 'zeroed, fs.promises', once, close: () => handle.close() };
}

/** O_DIRECT needs an aligned address, which JavaScript cannot see: find an offset that works. */
function directVariant(directory: string): Variant | undefined {
  const fd = prepare(join(directory, 'direct'), 'zeroed', constants.O_DSYNC | constants.O_DIRECT);
  const slab = Buffer.alloc(1 << 20, 1);
  for (let offset = 0; offset < BLOCK_BYTES; offset += 8) {
    const record = slab.subarray(offset, offset + BLOCK_BYTES);
    try {
      writeSync(fd, record, 0, BLOCK_BYTES, 0);
    } catch {
      continue;
    }
    return {
      name: 'zeroed, dsync O_DIRECT',
      once: (i) => pwriteAsync(fd, record, i * BLOCK_BYTES),
      close: () => closeSync(fd),
    };
  }
  closeSync(fd);
  return undefined;
}

function lmdbVariant(directory: string, overlappingSync: boolean): Variant {
  const path = join(directory, `lmdb-${overlappingSync}`);
  const root = open<Buffer, Buffer>({
    path, keyEncoding: 'binary', encoding: 'binary', overlappingSync,
  });
  const once = async (i: number): Promise<void> => {
    const key = Buffer.alloc(8);
    key.writeUInt32BE(i, 4);
    void root.put(key, plain);
    await root.flushed;
  };
  const name = `LMDB put, flushed${overlappingSync ? '' : ', overlappingSync: false'}`;
  return { name, once, close: () => root.close() };
}

/** What gocryptfs ends in: a new ext4 file, written and fsynced. */
function plainFileVariant(directory: string): Variant {
  const once = (i: number): void => {
    const fd = openSync(join(directory, `plain-${i}`), 'wx');
    writeSync(fd, plain);
    fsyncSync(fd);
    closeSync(fd);
  };
  return { name: 'ext4 create + fsync of a file, sync', once, close: () => undefined };
}

async function variantsIn(directory: string): Promise<Variant[]> {
  const direct = directVariant(directory);
  return [
    plainFileVariant(directory),
    fileVariant(directory, 'append', 'sync'),
    fileVariant(directory, 'append', 'two hops'),
    fileVariant(directory, 'append', 'dsync'),
    fileVariant(directory, 'append 4 KiB', 'dsync'),
    fileVariant(directory, 'fallocate', 'two hops'),
    fileVariant(directory, 'fallocate', 'dsync'),
    fileVariant(directory, 'zeroed', 'sync'),
    fileVariant(directory, 'zeroed', 'sync dsync'),
    fileVariant(directory, 'zeroed', 'two hops'),
    fileVariant(directory, 'zeroed', 'dsync'),
    await promisesVariant(directory),
    ...(direct ? [direct] : []),
    lmdbVariant(directory, true),
    lmdbVariant(directory, false),
  ];
}

/** What preparing space costs: zeroing and flushing 4 MiB, in the background of a real journal. */
function measureZeroing(directory: string): void {
  const fd = openSync(join(directory, 'zeroing'), 'w');
  const samples: number[] = [];
  for (let i = 0; i < 10; i++) {
    const start = performance.now();
    writeZeros(fd, i * (4 << 20), 4 << 20);
    fdatasyncSync(fd);
    samples.push(performance.now() - start);
  }
  closeSync(fd);
  const row = { p50Ms: round(percentile(samples, 0.5)), p95Ms: round(percentile(samples, 0.95)) };
  report('zeroing 4 MiB ahead and fdatasync', [row]);
}

/** A process that fills and flushes another file as packs do: 4 MiB groups, 40 MB/s. */
function startOtherWriter(directory: string): () => void {
  const code = `const fs = require('fs'); const b = Buffer.alloc(4 << 20, 1);
    const fd = fs.openSync(process.argv[1], 'w'); let n = 0;
    setInterval(() => {
      fs.writeSync(fd, b, 0, b.length, (n++ % 256) * b.length);
      fs.fdatasyncSync(fd);
    }, 100);`;
  const child = spawn(process.execPath, ['-e', code, join(directory, 'other')]);
  return () => void child.kill('SIGKILL');
}

export async function measureJournal(parent: string): Promise<void> {
  for (const disk of ['idle', 'busy'] as const) {
    const directory = join(parent, `journal-${disk}`);
    mkdirSync(directory);
    const stop = disk === 'busy' ? startOtherWriter(directory) : undefined;
    try {
      await measureVariants(directory, disk);
    } finally {
      stop?.();
    }
  }
  measureZeroing(parent);
}

async function measureVariants(directory: string, disk: string): Promise<void> {
  const variants = await variantsIn(directory);
  const samples = variants.map((): number[] => []);
  for (let i = 0; i < ROUNDS; i++) {
    for (let turn = 0; turn < variants.length; turn++) {
      const v = (turn + i) % variants.length;
      const start = performance.now();
      await variants[v]?.once(i);
      samples[v]?.push(performance.now() - start);
    }
  }
  for (const variant of variants) await variant.close();
  const rows = variants.map((variant, v): Row => ({
    variant: variant.name,
    p50Ms: round(percentile(samples[v] ?? [], 0.5)),
    p95Ms: round(percentile(samples[v] ?? [], 0.95)),
    p99Ms: round(percentile(samples[v] ?? [], 0.99)),
  }));
  report(`one durable record, ms, ${ROUNDS} rounds, disk otherwise ${disk}`, rows);
}
