// Under which addresses this device tells its peers to dial it, and which of theirs it believes.

import { networkInterfaces } from 'node:os'
import { isIP } from 'node:net'
import { ADDRESSES_MAX } from './messages.ts'
import type { HostPort } from './ports.ts'

/** Of a listener on `host` (undefined: on all interfaces). */
export function ownAddresses(host: string | undefined, port: number): HostPort[] {
  const isOne = host !== undefined && isIP(host) !== 0 && host !== '0.0.0.0' && host !== '::'
  if (isOne) return [{ host, port }]
  const hosts: string[] = []
  for (const addresses of Object.values(networkInterfaces())) {
    for (const { address, internal, scopeid } of addresses ?? []) {
      if (!internal && (scopeid === undefined || scopeid === 0)) hosts.push(address)
    }
  }
  return hosts.slice(0, ADDRESSES_MAX).map((one) => ({ host: one, port }))
}

/**
 * What a peer at `from` tells, the address first that it is seen at; loopback only from there, a
 * device elsewhere cannot know what listens here.
 */
export function believedAddresses(told: readonly HostPort[], from: string): HostPort[] {
  const seen = hostOf(from)
  const isNear = isLoopback(seen)
  const ports = [...new Set(told.map(({ port }) => port))].slice(0, 2)
  const first = isIP(seen) === 0 ? [] : ports.map((port) => ({ host: seen, port }))
  const rest = told.filter(({ host }) => isNear || !isLoopback(host))
  const all = [...first, ...rest].map((at) => ({ ...at, key: `${at.host} ${at.port}` }))
  const unique = all.filter((at, i) => all.findIndex(({ key }) => key === at.key) === i)
  return unique.slice(0, ADDRESSES_MAX).map(({ host, port }) => ({ host, port }))
}

/** The host of "host:port" or "[host]:port"; without the prefix of mapped IPv4 addresses. */
export function hostOf(address: string): string {
  const host = address.slice(0, address.lastIndexOf(':')).replace(/^\[|\]$/g, '')
  return host.replace(/^::ffff:(?=\d+\.)/i, '')
}

export function isLoopback(host: string): boolean {
  return host === '::1' || host.startsWith('127.')
}
