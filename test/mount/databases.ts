// timeoutSeconds: 240
// Databases in a mount: SQLite with two writing processes at once (write-ahead log, which shares
// memory by mmap, and rollback journal), LMDB by its own test programs and by a writer that is
// killed. Everything is checked, unmounted, mounted again and checked. TRANSACTIONS=100000 for
// more.

import t from 'tap'
import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { Place, noMount } from './harness.helper.ts'
import { hasProgram, temporaryDirectory, type Teardown } from './system.helper.ts'
import { run, sh, start } from './shell.helper.ts'
import { checkout } from './trees.helper.ts'

const transactions = Number(process.env['TRANSACTIONS'] ?? 10_000)
const noSqlite = hasProgram('sqlite3') ? false : 'no sqlite3'

function sqlite(t: Teardown, directory: string, sql: string): Promise<string> {
  const argv = ['sqlite3', '-bail', 'data.db']
  return run(t, argv, { cwd: directory, input: `.timeout 60000\n${sql}`, timeoutMs: 200_000 })
}

async function prepare(t: Teardown, directory: string, mode: string): Promise<void> {
  mkdirSync(directory)
  await sqlite(t, directory, `
    PRAGMA journal_mode=${mode};
    CREATE TABLE entries(writer INT, n INT, text TEXT);
    CREATE INDEX by_text ON entries(text);
  `)
}

function inserts(writer: number, count: number): string {
  const lines = ['PRAGMA synchronous=FULL;', 'PRAGMA cache_size=50;']
  for (let n = 0; n < count; n++) {
    const text = `'text ${n * 7919 % 1000} of ${writer}' || hex(randomblob(${(n * 31) % 200}))`
    lines.push('BEGIN IMMEDIATE;', `INSERT INTO entries VALUES(${writer},${n},${text});`)
    if (n % 10 === 9) lines.push(`UPDATE entries SET n=n WHERE writer=${writer} AND n>${n - 20};`)
    lines.push('COMMIT;')
  }
  return `${lines.join('\n')}\n`
}

async function check(t: Tap, directory: string, count: number): Promise<void> {
  const found = await sqlite(t, directory, `
    PRAGMA integrity_check;
    SELECT writer, count(*), sum(n), count(DISTINCT n) FROM entries GROUP BY writer;
  `)
  const sum = (count * (count - 1)) / 2
  t.equal(found, `ok\n1|${count}|${sum}|${count}\n2|${count}|${sum}|${count}\n`)
}

type Tap = Teardown & { equal(found: unknown, wanted: unknown): unknown }

t.test('databases', { skip: noMount() ?? false }, async (t) => {
  const base = temporaryDirectory(t)
  const place = await Place.open(t, { base })
  // In rollback mode each transaction makes, flushes and removes a journal: a share of them.
  const rollbacks = Math.ceil(transactions / 10)
  const shares: [string, number][] = [['wal', transactions], ['delete', rollbacks]]

  for (const [mode, all] of shares) {
    const title = `SQLite, ${mode}: ${all} transactions from two processes`
    await t.test(title, { skip: noSqlite }, async (t) => {
      const directory = join(place.directory, mode)
      await prepare(t, directory, mode)
      const count = Math.ceil(all / 2)
      await Promise.all([1, 2].map((writer) => sqlite(t, directory, inserts(writer, count))))
      await check(t, directory, count)
    })
  }

  const library = `${checkout}node_modules/lmdb/dependencies/lmdb/libraries/liblmdb`
  const noLmdb = existsSync(join(library, 'mtest.c')) ? false : 'no sources of LMDB'
  await t.test("LMDB: its own programs and a killed writer's", { skip: noLmdb }, async (t) => {
    const directory = join(place.directory, 'lmdb')
    mkdirSync(directory)
    await sh(t, `
      cc -pthread -O1 -w -I"$LMDB" -c "$LMDB/mdb.c" "$LMDB/midl.c"
      for name in mtest mtest2 mtest3 mtest4 mtest5 mtest_remap; do
        cc -pthread -w -I"$LMDB" -o $name "$LMDB/$name.c" mdb.o midl.o
        rm -rf testdb; mkdir testdb
        ./$name > out 2>&1 || { cat out; echo "$name fails"; exit 1; }
      done
    `, directory, { LMDB: library })
    for (let round = 0; round < 3; round++) {
      const argv = [process.execPath, '-e', LMDB_WRITER, `${checkout}node_modules/lmdb`]
      const writer = start(t, argv, { cwd: directory })
      await delay(700)
      writer.child.kill('SIGKILL')
      const { out } = await writer.finished
      const told = [...out.matchAll(/^(\d+)$/gm)].map((line) => Number(line[1]))
      const reader = [process.execPath, '-e', LMDB_READER, `${checkout}node_modules/lmdb`]
      const found = Number(await run(t, reader, { cwd: directory }))
      const promised = told[told.length - 1] ?? -1
      t.ok(promised >= 0 && found >= promised, `${found} entries, ${promised} promised`)
    }
  })

  await t.test('all of it after mounting again', { skip: noSqlite }, async (t) => {
    await place.remount()
    for (const [mode, all] of shares) {
      const directory = join(place.directory, mode)
      await check(t, directory, Math.ceil(all / 2))
      await sqlite(t, directory, 'VACUUM; PRAGMA wal_checkpoint(TRUNCATE);')
      await check(t, directory, Math.ceil(all / 2))
    }
  })
})

const LMDB_WRITER = `
const { open } = require(process.argv[1])
const db = open({ path: 'killed.lmdb', noSubdir: true, mapSize: 1 << 28 })
const next = (db.get('last') ?? -1) + 1
async function main() {
  for (let n = next; ; n++) {
    const value = 'value ' + n + 'x'.repeat(n % 3000)
    await db.transaction(() => { db.put(n, value); db.put('last', n) })
    await db.flushed
    console.log(n)
  }
}
main()`

const LMDB_READER = `
const { open } = require(process.argv[1])
const db = open({ path: 'killed.lmdb', noSubdir: true, mapSize: 1 << 28 })
const last = db.get('last')
for (let n = 0; n <= last; n++) {
  if (db.get(n) !== 'value ' + n + 'x'.repeat(n % 3000)) throw new Error('entry ' + n + ' is wrong')
}
console.log(last)`
