/**
 * Measures the record layouts that the formats rest on: directories in LMDB, the journal's file
 * discipline, the sealed segment, the checkpoint. Variants take turns in one run, so that ratios
 * hold on a noisy machine. It talks to lmdb and sodium-native directly, not through src/.
 *
 *   node --import tsx bench/layouts.ts [stat] [journal] [read] [checkpoint] [--dir DIR]
 *   node --import tsx bench/layouts.ts dedup OLD_TREE NEW_TREE [OLD NEW …]
 *
 * DIR (default /var/tmp) must lie on a real disk: on tmpfs the flushes mean nothing.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { measureCheckpoint } from './layouts/checkpoint.ts';
import { measureDedup } from './layouts/dedup.ts';
import type { LayoutName } from './layouts/directory.ts';
import { measureJournal } from './layouts/journal.ts';
import { measureRandomRead } from './layouts/random-read.ts';
import { fill, measureStat, read, sparse } from './layouts/stat.ts';

const QUESTIONS: Record<string, (directory: string) => void | Promise<void>> = {
  stat: measureStat,
  journal: measureJournal,
  read: measureRandomRead,
  checkpoint: measureCheckpoint,
};

async function runChild(what: string, path: string, layout: LayoutName, order: string) {
  const sample = what === 'fill' ? fill(path, layout, order)
    : what === 'lookup' || what === 'list' ? read(path, layout, what)
    : sparse(path, layout, what);
  process.stdout.write(JSON.stringify(await sample));
}

async function runAll(args: string[]): Promise<void> {
  const at = args.indexOf('--dir');
  const [, parent = '/var/tmp'] = at < 0 ? [] : args.splice(at, 2);
  const directory = mkdtempSync(join(parent, 'lattice-layouts-'));
  try {
    for (const name of args.length > 0 ? args : Object.keys(QUESTIONS)) {
      const measure = QUESTIONS[name];
      if (!measure) throw new Error(`no such question: ${name}`);
      await measure(directory);
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

const args = process.argv.slice(2);
if (args[0] === '--child') {
  const [, what = '', path = '', layout, order = ''] = args;
  await runChild(what, path, layout as LayoutName, order);
} else if (args[0] === 'dedup') {
  measureDedup(args.slice(1));
} else {
  await runAll(args);
}
