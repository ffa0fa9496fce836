// timeoutSeconds: 150
// runAlone: true
// SQLite while the daemon is killed: two processes commit transactions, each tells when it is done;
// after mounting again the database is whole and has every transaction that was told. ROUNDS=100.
// EXTRA: with FULL, SQLite does not flush the removal of a rollback journal, which is the commit.

import t from 'tap'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { testRandom } from '../support/random.helper.ts'
import { Place, noMount } from '../mount/harness.helper.ts'
import { hasProgram, temporaryDirectory, type Teardown } from '../mount/system.helper.ts'
import { run, start } from '../mount/shell.helper.ts'

const rounds = Number(process.env['ROUNDS'] ?? 6)
const PER_ROUND = 4000

const sqlite = (t: Teardown, directory: string, sql: string): Promise<string> =>
  run(t, ['sqlite3', '-bail', 'data.db'], { cwd: directory, input: `.timeout 30000\n${sql}\n` })

/** Each committed transaction is told at once: standard output is not held back. */
function commits(t: Teardown, directory: string, writer: number, from: number) {
  const lines = ['.timeout 30000', 'PRAGMA synchronous=EXTRA;']
  for (let n = from; n < from + PER_ROUND; n++) {
    lines.push('BEGIN IMMEDIATE;')
    lines.push(`INSERT INTO entries VALUES(${writer},${n},hex(randomblob(99)));`)
    lines.push('COMMIT;', `SELECT 'told ${n}';`)
  }
  const argv = ['stdbuf', '-oL', 'sqlite3', '-bail', 'data.db']
  return start(t, argv, { cwd: directory, input: lines.join('\n') })
}

const skip = noMount() ?? (hasProgram('sqlite3') && hasProgram('stdbuf') ? false : 'no sqlite3')

t.test('SQLite, and the daemon is killed', { skip }, async (t) => {
  const random = testRandom()
  t.comment(`SEED=${random.seed}`)
  const base = temporaryDirectory(t)
  const place = await Place.open(t, { base })
  for (const mode of ['wal', 'delete']) {
    const directory = join(place.directory, mode)
    mkdirSync(directory)
    await sqlite(t, directory, `
      PRAGMA journal_mode=${mode};
      CREATE TABLE entries(writer INT, n INT, text TEXT);
      CREATE INDEX by_text ON entries(text);
    `)
  }
  let told = 0
  for (let round = 0; round < rounds; round++) {
    const directory = join(place.directory, round % 2 === 0 ? 'wal' : 'delete')
    const from = round * PER_ROUND
    const writers = [1, 2].map((writer) => commits(t, directory, writer, from))
    await delay(300 + random.below(1500))
    await place.kill()
    const outs = await Promise.all(writers.map(({ finished }) => finished))
    await place.recover()
    const [check, ...rows] = (await sqlite(t, directory, `
      PRAGMA integrity_check; SELECT writer || ' ' || n FROM entries WHERE n >= ${from};
    `)).trim().split('\n')
    t.equal(check, 'ok', `round ${round}: the database is whole`)
    const found = new Set(rows)
    const promised = outs.flatMap(({ out }, index) =>
      [...out.matchAll(/^told (\d+)$/gm)].map(([, n]) => `${index + 1} ${n}`))
    const missing = promised.filter((row) => !found.has(row))
    t.same(missing, [], `round ${round}: ${promised.length} transactions told are there`)
    t.ok(found.size <= promised.length + 2, 'and at most one more of each process')
    told += promised.length
  }
  t.ok(told > rounds, `${told} transactions in all`)
  await place.unmount()
})
