// `lattice version`: of this command line; the daemon that may be running is shown by `status`.

import { readFileSync } from 'node:fs'
import type { Context } from './command.ts'

export function run({ output }: Context): Promise<undefined> {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
  const { version } = JSON.parse(text) as { version: string }
  const node = process.versions.node
  const platform = `${process.platform}-${process.arch}`
  output.result({ version, node, platform }, [`lattice ${version} (Node.js ${node}, ${platform})`])
  return Promise.resolve(undefined)
}
