// Where content is, as the control API offers it: pins, and what other devices hold. Asks the vault
// that is mounted; everything that takes long is done by the vault's own parts.

import type * as Api from '../api/client-where-types.ts'
import type { WhereControl } from '../api/where-routes.ts'
import { LatticeError } from '../util/errors.ts'
import { Copies } from './copies.ts'
import type { OpenVault } from './open-vault.ts'
import type { PinKeeper, PinState } from './pin-keeper.ts'
import { joined, nodeAt, textFor } from './vault-queries.ts'

/** Asks a mounted vault. Throws 'vault-not-found', 'not-mounted'. */
export type AskVault = <T>(
  vaultId: string, question: (vault: OpenVault) => Promise<T> | T,
) => Promise<T>

export class DaemonWhere implements WhereControl {
  readonly #ask: AskVault
  /** Questions that go on, of each open vault the last for each number. */
  readonly #copies = new WeakMap<OpenVault, Map<number, Copies>>()

  constructor(ask: AskVault) {
    this.#ask = ask
  }

  pins(vaultId: string): Promise<Api.PinsResult> {
    return this.#ask(vaultId, (vault) => ({ pins: pinsOf(vault.pins?.states() ?? []) }))
  }

  pin(vaultId: string, { path }: Api.PathRequest): Promise<Api.PinsResult> {
    return this.#ask(vaultId, async (vault) => {
      const pins = writable(vault)
      // one that is just being made has no id that others know
      await vault.sync()
      const node = await pins.pin(nodeAt(vault.engine.tree, path).ino, path)
      return { pins: pinsOf(pins.states().filter((state) => state.node === node)) }
    })
  }

  unpin(vaultId: string, { path }: Api.PathRequest): Promise<Api.PinsResult> {
    return this.#ask(vaultId, async (vault) => {
      const pins = writable(vault)
      const states = pins.states()
      const found = states.find((state) => pathText(state) === path)
        ?? states.find((state) => pathText(state) === undefined && state.said === path)
      if (found === undefined) {
        throw new LatticeError('not-found', `${path === '' ? 'the vault' : path} is not pinned`, {
          hint: 'lattice pins lists what is; a part of what is pinned cannot be unpinned alone',
        })
      }
      await pins.unpin(found.node)
      return { pins: pinsOf([found]) }
    })
  }

  copies(vaultId: string, { copies: wanted }: Api.CopiesRequest): Promise<Api.CopiesResult> {
    return this.#ask(vaultId, async (vault) => {
      writable(vault)
      const { engine, peers } = vault
      if (peers === undefined) throw new LatticeError('denied', 'the vault is read-only')
      const asked = this.#copies.get(vault) ?? new Map<number, Copies>()
      this.#copies.set(vault, asked)
      const question = asked.get(wanted) ?? new Copies(engine, peers, wanted)
      asked.set(wanted, question)
      const state = await question.look()
      const done = question.isDone(state)
      if (done) asked.delete(wanted) // whoever asks anew wants fresh proofs
      return { done, ...state }
    })
  }
}

function writable(vault: OpenVault): PinKeeper {
  if (vault.pins !== undefined) return vault.pins
  throw new LatticeError('denied', 'the vault is mounted read-only: nothing is fetched ahead', {
    hint: 'mount it without --read-only',
  })
}

function pinsOf(states: readonly PinState[]): Api.Pin[] {
  return states.map((pin) => {
    const { said, state, files, bytes, missingFiles, missingBytes, reason } = pin
    const path = pathText(pin)
    return {
      ...(path === undefined ? {} : { path }), said, state, files, bytes, missingFiles,
      missingBytes,
      ...(reason === undefined ? {} : { reason }),
    }
  })
}

function pathText({ path }: PinState): string | undefined {
  return path?.reduce((above, name) => joined(above, textFor(name)), '')
}
