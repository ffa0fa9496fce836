/**
 * Sealing through the real workers: 1 GiB from shared memory, in jobs as a stream brings them, to
 * packs, with sync at the end. Prints MB/s and CPU-ms/MB of the whole process.
 *
 *   node --import tsx bench/seal.ts [--dir DIR] [--mib 1024] [--job 16] [--text] [--inline]
 *     [--read]
 *
 * DIR (default /var/tmp) must lie on a real disk.
 */
import { randomFillSync } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { MemoryChunkIndex, MemoryLooseChunks } from '../src/chunks/chunk-index-port.ts';
import { SealedContentStore } from '../src/chunks/content-store.ts';
import { DirectDisk, alignedBytes } from '../src/chunks/pack-disk.ts';
import { PackStore } from '../src/chunks/pack-store.ts';
import { executePieces } from '../src/chunks/read-plan.ts';
import { openFrozen } from '../src/chunks/seal-frozen.ts';
import { InlineSealer } from '../src/chunks/seal-inline.ts';
import { SealPool } from '../src/chunks/seal-pool.ts';
import type { Ino, JobId } from '../src/vault/buffers.ts';
import type { Clock } from '../src/vault/ports.ts';

const args = process.argv.slice(2);
const option = (name: string, fallback: number) => {
  const at = args.indexOf(`--${name}`);
  return at < 0 ? fallback : Number(args[at + 1]);
};
const at = args.indexOf('--dir');
const root = mkdtempSync(join(at < 0 ? '/var/tmp' : args[at + 1] ?? '.', 'lattice-seal-'));
const totalBytes = option('mib', 1024) * 1024 * 1024;
const jobBytes = option('job', 16) * 1024 * 1024;

const clock: Clock = {
  nowMs: () => Date.now(),
  now: () => ({ sec: 0, nsec: 0 }),
  setTimer: (delayMs, fire) => {
    const timer = setTimeout(fire, delayMs);
    return { cancel: () => clearTimeout(timer) };
  },
};

const fill = (length: number) => new Uint8Array(length).fill(7);
const keys = {
  vaultId: fill(16), epochId: fill(8), sealer: fill(32), bundleKey: fill(32), idKey: fill(32),
  cutKey: fill(32),
};
const bundleKey = () => keys.bundleKey;

const memory = new SharedArrayBuffer(totalBytes);
const words = new Uint32Array(memory);
if (args.includes('--text')) {
  for (let i = 0; i < words.length; i++) words[i] = 0x20202020 + (Math.imul(i, 0x9e3779b1) >>> 26);
} else {
  const block = new Uint8Array(1 << 20);
  for (let i = 0; i < totalBytes; i += block.length) {
    randomFillSync(block);
    new Uint8Array(memory).set(block, i);
  }
}
const source = { kind: 'shared' as const, memory, bases: new Float64Array(1) };
const directory = join(root, 'packs');
const disk = new DirectDisk();
const { vaultId } = keys;
const packs = await PackStore.open({ disk, directory, vaultId, bundleKey });
const backend = args.includes('--inline')
  ? new InlineSealer({
      keys, readFrozen: openFrozen(source), disk: new DirectDisk(), directory: join(directory, '0'),
      writer: 0, ...packs.nextOf(0), clock, allocate: alignedBytes,
    })
  : new SealPool({
      keys, frozen: source, directory, writers: [1, 2], clock,
      nextOf: (writer) => packs.nextOf(writer),
      syncLast: (writer) => packs.syncLast(writer),
    });
const store = new SealedContentStore({
  index: new MemoryChunkIndex(), loose: new MemoryLooseChunks(), packs, backend, idKey: keys.idKey,
  bundleKey, readFrozen: openFrozen(source),
});

function report(what: string, bytes: number, wallMs: number, cpu: NodeJS.CpuUsage) {
  const mb = bytes / 1e6;
  const line = {
    what,
    mbPerSec: Math.round(mb / (wallMs / 1000)),
    cpuMsPerMb: Number(((cpu.user + cpu.system) / 1000 / mb).toFixed(2)),
    userMsPerMb: Number((cpu.user / 1000 / mb).toFixed(2)),
    rssMb: Math.round(process.memoryUsage().rss / 1e6),
  };
  console.log(JSON.stringify(line));
}

try {
  const working = store.open(undefined, 0);
  const attr = {
    mode: 0, nlink: 1, uid: 0, gid: 0, rdev: 0, sizeBytes: 0, atimeSec: 0, atimeNsec: 0,
    mtimeSec: 0, mtimeNsec: 0, ctimeSec: 0, ctimeNsec: 0,
  };
  const seal = async (limit: number) => {
    let sealed = working.sizeBytes;
    for (let end = sealed; end < limit; ) {
      end = Math.min(limit, end + jobBytes);
      const job = {
        job: 0 as JobId, ino: 1 as Ino, attr: { ...attr, sizeBytes: end }, dataBytes: end - sealed,
        extents: [{ offset: sealed, length: end - sealed, hole: false }],
      };
      const isLast = end === limit;
      ({ sealedEnd: sealed } = await store.seal(working, job, { final: isLast, urgent: isLast }));
    }
  };
  await seal(Math.min(totalBytes / 8, 64 << 20)); // workers and JIT are warm from here on
  const begunBytes = working.sizeBytes;
  const cpu = process.cpuUsage();
  const begun = performance.now();
  await seal(totalBytes);
  await store.describe(working);
  await store.sync();
  report('seal', totalBytes - begunBytes, performance.now() - begun, process.cpuUsage(cpu));
  if (args.includes('--read')) {
    const cpuRead = process.cpuUsage();
    const begunRead = performance.now();
    for (let offset = 0; offset < totalBytes; offset += 4 << 20) {
      const plan = await store.plan(working, offset, 4 << 20);
      executePieces(plan.pieces, bundleKey);
      plan.release();
    }
    report('read', totalBytes, performance.now() - begunRead, process.cpuUsage(cpuRead));
  }
} finally {
  await store.close();
  rmSync(root, { recursive: true, force: true });
}
