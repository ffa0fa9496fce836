// Where devices were reached, for as long as the process runs; a book that lasts implements the
// same port on the vault's database. Bounded in devices and in addresses of each.

import type { AuthorId } from '../ops/types.ts'
import { ADDRESSES_MAX } from './messages.ts'
import type { AddressBook, HostPort } from './ports.ts'

const DEVICES_MAX = 1024

export class MemoryAddressBook implements AddressBook {
  readonly #entries = new Map<AuthorId, readonly HostPort[]>()

  addresses(device: AuthorId): readonly HostPort[] {
    return this.#entries.get(device) ?? []
  }

  remember(device: AuthorId, addresses: readonly HostPort[]): void {
    this.#entries.delete(device)
    if (addresses.length === 0) return
    this.#entries.set(device, addresses.slice(0, ADDRESSES_MAX))
    if (this.#entries.size <= DEVICES_MAX) return
    for (const oldest of this.#entries.keys()) {
      this.#entries.delete(oldest)
      return
    }
  }

  forget(device: AuthorId): void {
    this.#entries.delete(device)
  }
}
