/**
 * Question: which directory layout makes a cold stat cheapest? 20,000 entries in 200 directories,
 * created directory by directory (as tar does) or scattered over all of them (as life does).
 * Each figure comes from a fresh process on a file dropped from the page cache; layouts take turns.
 * `cold` includes page faults and a cold JIT, `warm` is the second pass in the same process;
 * `one lookup` asks for a single name in each directory, `ls` lists 10 directories out of 200.
 */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { Directories, LAYOUTS, type LayoutName } from './directory.ts';
import { percentile, report, round, type Row } from './report.ts';

const DIRECTORIES = 200;
const ENTRIES_PER_DIRECTORY = 100;
const ENTRIES = DIRECTORIES * ENTRIES_PER_DIRECTORY;
const BATCH_ENTRIES = 1000;
const ROUNDS = 5;
const LS_DIRECTORIES = 10;

type Sample = Record<string, number>;

/** A bijection of u32: multiplication by an odd number. */
function scatter(index: number): number {
  return Math.imul(index + 1, 0x9e3779b1) >>> 0;
}

function nameOf(index: number): string {
  return `component-${scatter(index).toString(36)}.test.ts`;
}

/** Runs in a child: fills a new environment, returns µs per create (flushes included) and bytes. */
export async function fill(
  path: string, layout: LayoutName, order: string,
): Promise<Sample> {
  const entries = Array.from({ length: ENTRIES }, (_, i) => i);
  if (order === 'scattered') entries.sort((a, b) => scatter(a) - scatter(b));
  const directories = new Directories(path, layout);
  let busyMs = 0;
  for (let first = 0; first < ENTRIES; first += BATCH_ENTRIES) {
    const start = performance.now();
    directories.root.transactionSync(() => {
      for (let at = first; at < first + BATCH_ENTRIES; at++) {
        const i = entries[at] ?? 0;
        directories.create(2 + Math.floor(i / ENTRIES_PER_DIRECTORY), nameOf(i), 1000 + at);
      }
    });
    busyMs += performance.now() - start;
  }
  let pages = 0;
  for (const table of directories.tables) {
    const stats = table.getStats() as Record<string, number>;
    pages += (stats['treeLeafPageCount'] ?? 0) + (stats['treeBranchPageCount'] ?? 0);
  }
  await directories.close();
  return {
    createUs: (busyMs * 1000) / ENTRIES,
    diskBytes: (pages * 4096) / ENTRIES,
  };
}

/** Runs in a child: `what` is one kind of cold reading of the whole environment. */
export async function read(path: string, layout: LayoutName, what: string): Promise<Sample> {
  const directories = new Directories(path, layout);
  const order = Array.from({ length: DIRECTORIES }, (_, i) => (i * 73) % DIRECTORIES);
  const pass = (): number => {
    const start = performance.now();
    let seen = 0;
    for (const d of order) {
      if (what === 'list') seen += directories.list(2 + d).length;
      else {
        for (let k = 0; k < ENTRIES_PER_DIRECTORY; k++) {
          const i = d * ENTRIES_PER_DIRECTORY + k;
          if (directories.lookup(2 + d, nameOf(i))) seen++;
        }
      }
    }
    if (seen !== ENTRIES) throw new Error(`${layout} ${what}: ${seen} of ${ENTRIES} entries`);
    return ((performance.now() - start) * 1000) / ENTRIES;
  };
  const coldUs = pass();
  const warmUs = pass();
  await directories.close();
  return { coldUs, warmUs };
}

/** Few things cold: one lookup in each directory (µs each), or 10 directories listed (µs each). */
export async function sparse(path: string, layout: LayoutName, what: string): Promise<Sample> {
  const directories = new Directories(path, layout);
  const count = what === 'ls' ? LS_DIRECTORIES : DIRECTORIES;
  const start = performance.now();
  for (let i = 0; i < count; i++) {
    const d = what === 'ls' ? i * 19 : i;
    if (what === 'ls') directories.list(2 + d);
    else directories.lookup(2 + d, nameOf(d * ENTRIES_PER_DIRECTORY + 50));
  }
  const eachUs = ((performance.now() - start) * 1000) / count;
  await directories.close();
  return { eachUs };
}

/** Asks the kernel to forget the file's clean pages (POSIX_FADV_DONTNEED, by way of dd). */
export function dropFromPageCache(path: string): void {
  execFileSync('dd', [`if=${path}`, 'iflag=nocache', 'count=0'], { stdio: 'ignore' });
}

function child(args: string[]): Sample {
  const script = join(import.meta.dirname, '..', 'layouts.ts');
  const out = execFileSync(process.execPath, ['--import', 'tsx', script, '--child', ...args]);
  return JSON.parse(out.toString()) as Sample;
}

function row(order: string, layout: string, samples: Map<string, number[]>): Row {
  const of = (field: string): number => round(percentile(samples.get(field) ?? [], 0.5));
  return {
    order, layout,
    lookupCold: of('lookup.coldUs'), lookupWarm: of('lookup.warmUs'), oneLookup: of('one.eachUs'),
    listCold: of('list.coldUs'), listWarm: of('list.warmUs'), lsDirectory: of('ls.eachUs'),
    create: of('fill.createUs'), diskBytes: of('fill.diskBytes'),
  };
}

export function measureStat(directory: string): void {
  const names = Object.keys(LAYOUTS);
  const rows: Row[] = [];
  for (const order of ['by directory', 'scattered']) {
    const all = new Map(names.map((name) => [name, new Map<string, number[]>()]));
    for (let i = 0; i < ROUNDS; i++) {
      for (const [layout, samples] of all) {
        const path = join(directory, `stat-${layout}-${order.at(0)}${i}`);
        for (const what of ['fill', 'lookup', 'list', 'one', 'ls']) {
          if (what !== 'fill') dropFromPageCache(join(path, 'data.mdb'));
          for (const [field, value] of Object.entries(child([what, path, layout, order]))) {
            const key = `${what}.${field}`;
            samples.set(key, [...(samples.get(key) ?? []), value]);
          }
        }
      }
    }
    for (const [layout, samples] of all) rows.push(row(order, layout, samples));
  }
  report(`directories, µs per entry (per directory: ls), median of ${ROUNDS} processes`, rows);
}
