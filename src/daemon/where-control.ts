// Where content is, as the control API offers it: pins, and what other devices hold. Asks the vault
// that is mounted; everything that takes long is done by the vault's own parts.

import type * as Api from '../api/client-where-types.ts'
import type { WhereControl } from '../api/where-routes.ts'
import { toHex } from '../util/bytes.ts'
import { LatticeError } from '../util/errors.ts'
import { VaultMembers } from '../vault/members-view.ts'
import { Copies } from './copies.ts'
import type { OpenVault } from './open-vault.ts'
import type { Engine } from './engine.ts'
import type { EvictionState } from './eviction.ts'
import type { PinState } from './pin-keeper.ts'
import type { Placing } from './placing.ts'
import { Steps } from './steps.ts'
import { joined, nodeAt, textFor } from './vault-queries.ts'
import type { WhereaboutsState } from './whereabouts.ts'

/** An answer comes by then. */
const COUNT_MS = 2000

/** Asks a mounted vault. Throws 'vault-not-found', 'not-mounted'. */
export type AskVault = <T>(
  vaultId: string, question: (vault: OpenVault) => Promise<T> | T,
) => Promise<T>

export class DaemonWhere implements WhereControl {
  readonly #ask: AskVault
  /** Questions that go on, of each open vault the last for each number. */
  readonly #copies = new WeakMap<OpenVault, Map<number, Copies>>()
  readonly #evictions = new WeakMap<OpenVault, Steps<EvictionState>>()
  readonly #whereabouts = new WeakMap<OpenVault, Steps<WhereaboutsState>>()

  constructor(ask: AskVault) {
    this.#ask = ask
  }

  pins(vaultId: string): Promise<Api.PinsResult> {
    return this.#ask(vaultId, (vault) => ({ pins: pinsOf(vault.placing?.pins.states() ?? []) }))
  }

  pin(vaultId: string, { path }: Api.PathRequest): Promise<Api.PinsResult> {
    return this.#ask(vaultId, async (vault) => {
      const { pins } = writable(vault)
      // one that is just being made has no id that others know
      await vault.sync()
      const node = await pins.pin(nodeAt(vault.engine.tree, path).ino, path)
      return { pins: pinsOf(pins.states().filter((state) => state.node === node)) }
    })
  }

  unpin(vaultId: string, { path }: Api.PathRequest): Promise<Api.PinsResult> {
    return this.#ask(vaultId, async (vault) => {
      const { pins } = writable(vault)
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

  /** One step: it goes on by itself, and is told to whoever asks the same again. */
  evict(vaultId: string, { path, copies }: Api.EvictRequest): Promise<Api.EvictResult> {
    return this.#ask(vaultId, async (vault) => {
      const placing = writable(vault)
      const { state, isDone } = await stepsOf(this.#evictions, vault).step(
        `${copies} ${path}`,
        () => placing.evict(nodeAt(vault.engine.tree, path).ino, copies),
      )
      return evictionOf(state, isDone)
    })
  }

  /** As evict(). */
  where(vaultId: string, { path }: Api.PathRequest): Promise<Api.WhereResult> {
    return this.#ask(vaultId, async (vault) => {
      const placing = writable(vault)
      const { engine } = vault
      const { state, isDone } = await stepsOf(this.#whereabouts, vault).step(path, () => (
        placing.where(nodeAt(engine.tree, path).ino)
      ))
      return whereOf(engine, state, isDone)
    })
  }

  content(vaultId: string): Promise<Api.ContentResult> {
    return this.#ask(vaultId, async ({ census, engine, placing }) => {
      const limitBytes = placing?.limitBytes
      return {
        ...await census.counts(COUNT_MS),
        storedBytes: engine.packs.storedBytes(),
        ...(limitBytes === undefined ? {} : { limitBytes }),
      }
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

/** What goes on in a vault that is open. */
function stepsOf<State>(
  all: WeakMap<OpenVault, Steps<State>>, vault: OpenVault,
): Steps<State> {
  const steps = all.get(vault) ?? new Steps<State>()
  all.set(vault, steps)
  return steps
}

function whereOf(engine: Engine, state: WhereaboutsState, isDone: boolean): Api.WhereResult {
  const { devices, copies, ...counts } = state
  const members = engine.core.members instanceof VaultMembers ? engine.core.members.members : null
  return {
    done: isDone,
    ...counts,
    devices: [...devices].map(([device, bundles]) => ({
      device: toHex(Buffer.from(device, 'latin1')),
      label: members?.label(device) ?? '',
      role: members?.get(device)?.role ?? '',
      bundles,
    })),
    copies: Array.from(copies, (count) => count ?? 0),
  }
}

function evictionOf(state: EvictionState, isDone: boolean): Api.EvictResult {
  const { files, bundles, freedBytes, stays } = state
  return { done: isDone, files, bundles, freedBytes, stays: Object.fromEntries(stays) }
}

function writable(vault: OpenVault): Placing {
  if (vault.placing !== undefined) return vault.placing
  throw new LatticeError('denied', 'the vault is mounted read-only: it takes and gives nothing', {
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
