/**
 * Question: how much new data does the next version of a tree bring, by average chunk size?
 * Two directories (say, two unpacked releases of a package) are each cut, file by file and as one
 * stream; the second's chunks that the first lacks are new. Files up to 1 KiB are left out: they
 * travel in ops. The cutter is FastCDC (Xia et al., USENIX ATC 2016) with min = avg / 2,
 * max = 4 avg and normalisation 2, in plain TypeScript: right, not fast.
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { report, round, type Row } from './report.ts';

const INLINE_BYTES = 1024;
const RECORD_OVERHEAD_BYTES = 100;

/** 256 gear values from a seeded generator (xorshift32). */
function gearTable(): Uint32Array {
  let state = 0x2545f491;
  return Uint32Array.from({ length: 256 }, () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  });
}

const GEAR = gearTable();

function topBits(count: number): number {
  return (0xffffffff << (32 - count)) >>> 0;
}

/** The end of the chunk that begins at `begin`. */
function cut(data: Buffer, begin: number, averageBytes: number): number {
  const end = Math.min(data.length, begin + averageBytes * 4);
  const bits = Math.log2(averageBytes);
  let hash = 0;
  for (let i = begin + averageBytes / 2; i < end; i++) {
    hash = ((hash << 1) + (GEAR[data[i] ?? 0] ?? 0)) | 0;
    const mask = topBits(i - begin < averageBytes ? bits + 2 : bits - 2);
    if ((hash & mask) === 0) return i + 1;
  }
  return end;
}

function chunksOf(files: readonly Buffer[], averageBytes: number): Map<string, number> {
  const chunks = new Map<string, number>();
  for (const data of files) {
    for (let begin = 0; begin < data.length;) {
      const end = cut(data, begin, averageBytes);
      const id = createHash('sha1').update(data.subarray(begin, end)).digest('base64');
      chunks.set(id, end - begin);
      begin = end;
    }
  }
  return chunks;
}

function filesIn(directory: string): Buffer[] {
  const entries = readdirSync(directory, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort()
    .map((path) => readFileSync(path))
    .filter((data) => data.length > INLINE_BYTES);
}

/** Compares directories two by two, old and new. */
export function measureDedup(directories: readonly string[]): void {
  const rows: Row[] = [];
  for (let i = 0; i + 1 < directories.length; i += 2) {
    comparePair(directories[i] ?? '', directories[i + 1] ?? '', rows);
  }
  report('new data in the next version', rows);
}

/** File by file, and as one stream each (as a tar would be). */
function comparePair(oldDirectory: string, newDirectory: string, rows: Row[]): void {
  const trees = [filesIn(oldDirectory), filesIn(newDirectory)];
  for (const shape of ['files', 'one stream']) {
    const [older = [], newer = []] = shape === 'files'
      ? trees
      : trees.map((files) => [Buffer.concat(files)]);
    for (const kib of [16, 64, 128, 256]) {
      const known = chunksOf(older, kib << 10);
      const chunks = chunksOf(newer, kib << 10);
      let totalBytes = 0;
      let newBytes = 0;
      for (const [id, sizeBytes] of chunks) {
        totalBytes += sizeBytes;
        if (!known.has(id)) newBytes += sizeBytes;
      }
      rows.push({
        tree: basename(newDirectory), shape, averageKiB: kib, chunks: chunks.size,
        totalMiB: round(totalBytes / 2 ** 20),
        newPercent: round((100 * newBytes) / totalBytes),
        indexPercent: round((100 * chunks.size * RECORD_OVERHEAD_BYTES) / totalBytes),
      });
    }
  }
}
