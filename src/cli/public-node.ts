// `lattice bootstrap HOST:PORT` and `lattice relay`: what a machine that everybody can reach does
// for others, in the command's own process until it is interrupted. Needs no vault and no daemon;
// the part that knows the network is loaded by name, as the daemon is (foreground.ts).

import { once } from 'node:events'
import { parseHostPort } from '../config/config-schema.ts'
import type { HostPort } from '../config/config-schema.ts'
import type { Paths } from '../config/paths.ts'
import { LatticeError } from '../util/errors.ts'
import type { Context } from './command.ts'

interface Node {
  host: string
  port: number
  publicKey: string | undefined
  close(): Promise<void>
}

interface Nodes {
  startBootstrap(at: HostPort): Promise<Node>
  startRelay(
    paths: Paths, options: { port?: number; bootstrap?: readonly HostPort[] },
  ): Promise<Node>
}

export async function runBootstrap(context: Context): Promise<undefined> {
  const [text = ''] = context.arguments
  const at = parseHostPort(text)
  if (at === undefined) throw new LatticeError('usage', 'HOST:PORT is wanted')
  const node = await (await nodes()).startBootstrap(at)
  context.output.result({ host: node.host, port: node.port }, [
    `a bootstrap node runs at ${node.host}:${node.port} until it is interrupted`,
    `others use it by config.toml: [network] bootstrap = ["${node.host}:${node.port}"]`,
  ])
  return untilInterrupted(node)
}

export async function runRelay(context: Context): Promise<undefined> {
  const { port, bootstrap } = context.options
  const at = typeof port === 'string' ? Number(port) : undefined
  if (at !== undefined && !(at > 0 && at < 65_536)) throw new LatticeError('usage', 'no such port')
  const first = typeof bootstrap === 'string' ? parseHostPort(bootstrap) : undefined
  const node = await (await nodes()).startRelay(context.paths, {
    ...(at === undefined ? {} : { port: at }),
    ...(first === undefined ? {} : { bootstrap: [first] }),
  })
  context.output.result({ relay: node.publicKey, port: node.port }, [
    `a relay runs until it is interrupted; its name is ${node.publicKey ?? ''}`,
    `others use it by config.toml: [network] relay = "${node.publicKey ?? ''}"`,
  ])
  return untilInterrupted(node)
}

async function nodes(): Promise<Nodes> {
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js'
  const url = new URL(`../daemon/public-node.${extension}`, import.meta.url)
  return (await import(url.href)) as Nodes
}

async function untilInterrupted(node: Node): Promise<undefined> {
  process.removeAllListeners('SIGINT')
  process.removeAllListeners('SIGTERM')
  const alive = setInterval(() => undefined, 2 ** 30)
  await Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')])
  clearInterval(alive)
  await node.close()
  return undefined
}
