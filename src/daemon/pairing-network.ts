// The network of pairing while no sync worker lends its own: a TCP listener of the daemon, opened
// when the first door is. LATTICE_LISTEN=HOST:PORT says where (any interface, any port).

import type { Log } from './log.ts'
import { TcpPairingNetwork } from '../net/pairing/tcp-network.ts'
import type { Address, PairingNetwork } from '../net/pairing/ports.ts'
import { TcpListener } from '../net/tcp.ts'
import { peersOf } from './pairing-joins.ts'

/** Where the network of pairing comes from. */
export interface PairingNetworkSource {
  /** For dialling only; opens nothing. */
  readonly dialler: PairingNetwork
  /** For doors: listens when it resolves. */
  listening(): Promise<PairingNetwork>
  close(): Promise<void>
}

export class OwnPairingNetwork implements PairingNetworkSource {
  readonly dialler: PairingNetwork = new TcpPairingNetwork()
  readonly #log: Log
  #opening: Promise<{ listener: TcpListener; network: PairingNetwork }> | undefined

  constructor(log: Log) {
    this.#log = log
  }

  async listening(): Promise<PairingNetwork> {
    this.#opening ??= this.#open()
    try {
      return (await this.#opening).network
    } catch (error) {
      this.#opening = undefined
      throw error
    }
  }

  async close(): Promise<void> {
    const opened = await this.#opening?.catch(() => undefined)
    await opened?.listener.close()
  }

  async #open(): Promise<{ listener: TcpListener; network: PairingNetwork }> {
    const at = listenAddress()
    const listener = await TcpListener.open(at)
    this.#log.info({ port: listener.port }, 'listening for devices that join')
    const network = new TcpPairingNetwork(listener)
    if (at.host !== undefined && at.host !== '0.0.0.0' && at.host !== '::') {
      network.addresses = (): Address[] => [{ host: at.host ?? '', port: listener.port }]
    }
    return { listener, network }
  }
}

function listenAddress(): { host?: string; port?: number } {
  const text = process.env['LATTICE_LISTEN']
  if (text === undefined || text === '') return {}
  const [port, host] = [/:(\d+)$/.exec(text)?.[1], text.replace(/:\d+$/, '')]
  if (port === '0') return { host }
  const [address] = peersOf([text])
  return address ?? {}
}
