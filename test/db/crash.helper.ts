// Child of crash.ts: writes all keys with one version after another until it is killed.
import { IndexEnvironment } from '../../src/db/environment.ts'

const [directory = '', count = '0'] = process.argv.slice(2)
const environment = IndexEnvironment.open(directory, 'aa', Buffer.alloc(32, 1))
environment.opened(directory)
for (let version = 1; ; version++) {
  const writes = Array.from({ length: Number(count) }, (_, i) => {
    const key = Buffer.from(`key ${(i * 7919) % Number(count)}`)
    return { key, value: environment.seal(key, Buffer.from(String(version))) }
  })
  await environment.write(writes)
  process.stdout.write(`${version}\n`)
}
