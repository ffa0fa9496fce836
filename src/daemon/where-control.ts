// Where content is, as the control API offers it: pins, and what other devices hold. Asks the vault
// that is mounted; everything that takes long is done by the vault's own parts.

import { setTimeout as delay } from 'node:timers/promises'
import type * as Api from '../api/client-where-types.ts'
import type { WhereControl } from '../api/where-routes.ts'
import { LatticeError } from '../util/errors.ts'
import { Copies } from './copies.ts'
import type { Ino } from '../vault/buffers.ts'
import type { OpenVault } from './open-vault.ts'
import type { EvictionState, Eviction } from './eviction.ts'
import type { PinKeeper, PinState } from './pin-keeper.ts'
import type { Placing } from './placing.ts'
import { joined, nodeAt, textFor } from './vault-queries.ts'

/** An answer comes by then. */
const STEP_MS = 500
const COUNT_MS = 2000

interface Running {
  eviction: Eviction
  /** Resolves, true, whatever it came to. */
  ended: Promise<true>
  failure: Error | undefined
}

/** Asks a mounted vault. Throws 'vault-not-found', 'not-mounted'. */
export type AskVault = <T>(
  vaultId: string, question: (vault: OpenVault) => Promise<T> | T,
) => Promise<T>

export class DaemonWhere implements WhereControl {
  readonly #ask: AskVault
  /** Questions that go on, of each open vault the last for each number. */
  readonly #copies = new WeakMap<OpenVault, Map<number, Copies>>()
  readonly #evictions = new WeakMap<OpenVault, Map<string, Running>>()

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
      const all = this.#evictions.get(vault) ?? new Map<string, Running>()
      this.#evictions.set(vault, all)
      const key = `${copies} ${path}`
      let running = all.get(key)
      if (running === undefined) {
        const { ino } = nodeAt(vault.engine.tree, path)
        refusePinned(placing.pins, path, ino)
        running = begun(placing.eviction(ino), copies)
        all.set(key, running)
      }
      const isDone = await Promise.race([running.ended, delay(STEP_MS, false)])
      if (isDone) all.delete(key)
      if (running.failure !== undefined) throw running.failure
      return evictionOf(running.eviction.state, isDone)
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

function begun(eviction: Eviction, copies: number): Running {
  const running: Running = { eviction, failure: undefined, ended: Promise.resolve(true) }
  running.ended = eviction.run(copies).then(
    () => true as const,
    (error: unknown) => {
      running.failure = error instanceof Error ? error : new Error(String(error))
      return true as const
    },
  )
  return running
}

function evictionOf(state: EvictionState, isDone: boolean): Api.EvictResult {
  const { files, bundles, freedBytes, stays } = state
  return { done: isDone, files, bundles, freedBytes, stays: Object.fromEntries(stays) }
}

/** Throws 'denied'. */
function refusePinned(pins: PinKeeper, path: string, ino: Ino): void {
  if (!pins.covers(ino)) return
  throw new LatticeError('denied', `${path === '' ? 'the vault' : path} is pinned: it stays here`, {
    hint: 'lattice unpin first; lattice pins lists what is pinned',
  })
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
