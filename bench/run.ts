// npm run bench -- NAME [arguments]: runs bench/NAME.ts; without a name, lists what there is.

import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const here = fileURLToPath(new URL('.', import.meta.url))
const [name, ...rest] = process.argv.slice(2)
const names = readdirSync(here)
  .filter((file) => file.endsWith('.ts') && file !== 'run.ts')
  .map((file) => file.slice(0, -3))

if (name === undefined || !existsSync(`${here}${name}.ts`)) {
  console.error(`usage: npm run bench -- NAME\nnames: ${names.join(', ')}`)
  process.exitCode = 2
} else {
  const result = spawnSync(process.execPath, ['--import', 'tsx', `${here}${name}.ts`, ...rest], {
    stdio: 'inherit',
  })
  process.exitCode = result.status ?? 1
}
