// Which lattice this is: the version of the package that the running code belongs to.

import { readFileSync } from 'node:fs'
import type { VersionInfo } from '../api/client-types.ts'

let version: string | undefined

export function versionInfo(): VersionInfo {
  version ??= readVersion()
  return { version, pid: process.pid, node: process.versions.node }
}

function readVersion(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
  const parsed = JSON.parse(text) as { version?: unknown }
  return typeof parsed.version === 'string' ? parsed.version : 'unknown'
}
