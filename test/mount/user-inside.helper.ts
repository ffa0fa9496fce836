// What user.ts runs as an ordinary user: mounts, works, unmounts, is killed, recovers. Prints a
// line "ok - what" or "not ok - what: detail" for each thing tried.

import { execFileSync } from 'node:child_process'
import {
  closeSync, fsyncSync, openSync, readFileSync, readdirSync, renameSync, statSync, writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { Place } from './harness.helper.ts'
import { hasProgram, isMounted } from './system.helper.ts'

const base = process.argv[2] ?? ''
const closers: (() => void | Promise<void>)[] = []
let failed = false

function tell(good: boolean, what: string): void {
  failed ||= !good
  process.stdout.write(`${good ? 'ok' : 'not ok'} - ${what}\n`)
}

async function work(place: Place): Promise<void> {
  const at = (name: string): string => join(place.directory, name)
  const uid = process.getuid?.()
  tell(isMounted(place.directory), 'it is mounted')
  const line = readFileSync('/proc/self/mounts', 'utf8').split('\n')
    .find((text) => text.includes(` ${place.directory} `)) ?? ''
  tell(/nosuid/.test(line) && /nodev/.test(line), 'with nosuid and nodev')
  tell(statSync(place.directory).uid === uid, 'its root belongs to the user')
  writeFileSync(at('a'), 'content')
  renameSync(at('a'), at('b'))
  tell(statSync(at('b')).uid === uid, 'so does a new file')
  if (hasProgram('git')) {
    const git = 'git init -q . && git add . && git commit -q -m first && git fsck'
    execFileSync('sh', ['-euc', git], { cwd: place.directory, stdio: 'ignore' })
  }
  await place.remount()
  tell(readFileSync(at('b'), 'utf8') === 'content', 'it is there after mounting again')
  const fd = openSync(at('flushed'), 'w')
  writeSync(fd, 'flushed before the kill')
  fsyncSync(fd)
  closeSync(fd)
  await place.kill()
  tell(isDead(place.directory), 'a killed daemon leaves a dead mount')
  await place.recover()
  tell(readFileSync(at('flushed'), 'utf8') === 'flushed before the kill', 'mounting again recovers')
  writeFileSync(at('after'), 'x')
  tell(readdirSync(place.directory).includes('after'), 'and works')
  await place.unmount()
  tell(!isMounted(place.directory), 'unmounted, it is gone')
}

function isDead(directory: string): boolean {
  try {
    readdirSync(directory)
    return false
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOTCONN'
  }
}

try {
  const place = await Place.open({ teardown: (close) => void closers.push(close) }, { base })
  await work(place)
} catch (error) {
  tell(false, String(error).replaceAll('\n', ' | '))
} finally {
  for (const close of closers.toReversed()) await close()
}
process.exitCode = failed ? 1 : 0
