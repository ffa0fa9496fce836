// Servers that anybody may run for their own vaults, who see no key and no content:
//
//   bootstrap   the first node of a distributed hash table of one's own
//   relay       passes encrypted bytes on between two devices that find no direct path; they name
//               it by its public key ('relay' in rendezvous.ts)
//
// A relay pairs two streams that name the same random token, and knows no more about them.

import { isIPv4 } from 'node:net'
import HyperDHT from 'hyperdht'
import { Server as BlindRelay } from 'blind-relay'
import { signKeyPair } from '../crypto/sign.ts'
import { toHex } from '../util/bytes.ts'
import { LatticeError, errnoName, fromSystemError } from '../util/errors.ts'
import type { HostPort, NetLog } from './ports.ts'

const SESSIONS_MAX = 1024

export interface RunningNode {
  host: string
  port: number
  /** Hex; of a relay only. */
  publicKey: string | undefined
  /** How many connections are passed on at present. */
  count(): number
  close(): Promise<void>
}

/**
 * `host` is the IPv4 address under which others reach it; `bind` where it listens, all interfaces
 * by default. Rejects 'usage', 'busy', 'denied', 'io'.
 */
export async function runBootstrap(
  options: { host: string; port: number; bind?: string | undefined },
): Promise<RunningNode> {
  const { host, port, bind } = options
  if (!isIPv4(host) || host === '0.0.0.0' || !(port > 0 && port < 65_536)) {
    throw new LatticeError('usage', 'a bootstrap node needs an IPv4 address and a port', {
      hint: 'name the address under which the other devices reach this machine',
    })
  }
  const dht = HyperDHT.bootstrapper(port, host, bind === undefined ? {} : { host: bind })
  await ready(dht, `${host}:${port}`)
  return {
    host,
    port: dht.address()?.port ?? port,
    publicKey: undefined,
    count: () => 0,
    close: () => dht.destroy({ force: true }),
  }
}

export interface RelayOptions {
  /** Of the hash table in which the relay is found; undefined: the public one. */
  bootstrap?: readonly HostPort[] | undefined
  host?: string | undefined
  port?: number | undefined
  /** 32 bytes that stay the same from start to start: the relay's name comes from them. */
  seed: Uint8Array
  /** False when everybody can reach it directly, which a relay needs; undefined: found out. */
  isFirewalled?: boolean | undefined
  log: NetLog
}

/** Resolves when the relay can be found. */
export async function runRelay(options: RelayOptions): Promise<RunningNode> {
  const { host, port, bootstrap, isFirewalled, log } = options
  const dht = new HyperDHT({
    ...(host === undefined ? {} : { host }),
    ...(port === undefined ? {} : { port, anyPort: false }),
    ...(bootstrap === undefined ? {} : { bootstrap: [...bootstrap] }),
    ...(isFirewalled === undefined ? {} : { firewalled: isFirewalled }),
  })
  dht.on('error', (error: Error) => log('warn', 'relay', { reason: error.message }))
  const createStream = (of?: object): unknown => dht.createRawStream({ ...of, framed: true })
  const relay = new BlindRelay({ createStream })
  const pair = signKeyPair(options.seed)
  let sessions = 0
  const server = dht.createServer({ shareLocalAddress: false }, (stream) => {
    stream.on('error', () => undefined)
    if (sessions >= SESSIONS_MAX) {
      stream.destroy()
      return
    }
    sessions++
    stream.on('close', () => sessions--)
    const session = relay.accept(stream, { id: stream.remotePublicKey })
    session.on('error', (error: Error) => log('debug', 'relay', { reason: error.message }))
  })
  try {
    await server.listen(pair)
  } catch (error) {
    await dht.destroy({ force: true })
    throw fromSystemError(error, 'relay')
  }
  return {
    host: dht.host,
    port: dht.port,
    publicKey: toHex(pair.publicKey),
    count: () => relay.stats.pairings.active,
    close: async () => {
      await relay.close()
      await server.close()
      await dht.destroy({ force: true })
    },
  }
}

async function ready(dht: HyperDHT, at: string): Promise<void> {
  try {
    await dht.fullyBootstrapped()
  } catch (error) {
    await dht.destroy({ force: true })
    if (errnoName(error) === 'EADDRINUSE') {
      throw new LatticeError('busy', `${at} is in use`, { cause: error })
    }
    throw fromSystemError(error, `bootstrap at ${at}`)
  }
}
