// Exit code 0 when node_modules holds what package-lock.json names, by npm's own record of what it
// installed (node_modules/.package-lock.json). Called by bootstrap.sh when the lock has changed: an
// `npm install NAME` by hand has then already done the work, and a whole `npm ci` would be in vain.
import { readFileSync } from 'node:fs'

const packages = (path) => {
  try {
    return JSON.parse(readFileSync(path, 'utf8')).packages ?? {}
  } catch {
    return null // no record: not installed, or half
  }
}

const wanted = packages('package-lock.json')
const installed = packages('node_modules/.package-lock.json')
const isThere = ([path, entry]) => {
  if (path === '' || entry.link) return true
  const found = installed[path]
  if (!found) return entry.optional === true || entry.devOptional === true // other platforms
  return found.version === entry.version && found.integrity === entry.integrity
}

process.exitCode = wanted && installed && Object.entries(wanted).every(isThere) ? 0 : 1
