// The device that serves, as a process of its own that kill.ts ends with SIGKILL. Arguments: its
// place among the members, a seed from which both make the vault and the bundles, and a port.

import { bundleIdOf } from '../../src/chunks/bundle-id.ts'
import type { BundleId } from '../../src/chunks/bundle-id.ts'
import { signKeyPair } from '../../src/crypto/sign.ts'
import { deviceId } from '../../src/net/network-keys.ts'
import type { NetworkKeys } from '../../src/net/ports.ts'
import { SeededRandom } from '../support/random.ts'
import { HOST, newNode } from './net.helper.ts'

export const BUNDLES = 120
export const BUNDLE_BYTES = 256 * 1024

export function seededVault(seed: number): NetworkKeys[] {
  const random = new SeededRandom(seed)
  const vaultId = random.bytes(16)
  const epochs = [{
    epochId: random.bytes(8), controlKey: random.bytes(32), topicKey: random.bytes(32),
  }]
  const pairs = [signKeyPair(random.bytes(32)), signKeyPair(random.bytes(32))]
  const members = pairs.map(({ publicKey }) => (
    { device: deviceId(publicKey), role: 'owner' as const, label: '' }
  ))
  return pairs.map((keys, i) => (
    { vaultId, self: members[i]!.device, signKeyPair: keys, epochs, members }
  ))
}

export function seededBundles(seed: number): Map<BundleId, Uint8Array> {
  const random = new SeededRandom(seed + 1)
  const body = random.bytes(BUNDLE_BYTES)
  return new Map(Array.from({ length: BUNDLES }, (_, i) => {
    const bytes = new Uint8Array(body)
    bytes[0] = i
    return [bundleIdOf(bytes), bytes]
  }))
}

if (process.argv[2] === 'serve') {
  const seed = Number(process.argv[3])
  const port = Number(process.argv[4])
  const options = { listen: { host: HOST, port }, uploadLimit: 24 * 1024 * 1024 }
  const node = await newNode(seededVault(seed)[0]!, options)
  for (const [id, bytes] of seededBundles(seed)) node.bundles.bundles.set(id, bytes)
  process.on('message', () => {
    const reads = node.bundles.reads.map((id) => Buffer.from(id, 'latin1').toString('hex'))
    process.send?.({ reads })
  })
  process.send?.({ port: node.network.listener.port })
}
