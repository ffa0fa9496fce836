// DiskSpace: how much room the disk under the vault has, without ever blocking: what was measured
// last, measured again in the background once it is older than a second. On a disk that is nearly
// full a second is too long (a stream fills it meanwhile): then it is asked at once, which a local
// disk answers in microseconds.
// A reserve is never given to users, so that rm and the journal keep working on a full disk.

import { statfsSync } from 'node:fs'
import { statfs } from 'node:fs/promises'
import type { Clock } from '../vault/ports.ts'
import type { Statfs } from './types.ts'

export const RESERVE_BYTES = 64 * 1024 * 1024
const FRESH_MS = 1000
/** Below this a second's writes could take what is left. */
const NEARLY_FULL_BYTES = 1024 * 1024 * 1024
const NEARLY_FULL_FRESH_MS = 5
const BLOCK_BYTES = 4096
/** Inodes cost no disk beforehand: as many as a disk of that size could ever name. */
const FILES_MAX = 2 ** 31

interface Measured {
  totalBytes: number
  freeBytes: number
  availableBytes: number
}

export class DiskSpace {
  readonly #directory: string
  readonly #clock: Clock
  #measured: Measured
  #measuredMs: number
  #measuring = false

  /** Measures once, at once: `directory` must exist. */
  constructor(directory: string, clock: Clock) {
    this.#directory = directory
    this.#clock = clock
    this.#measured = measured(statfsSync(directory))
    this.#measuredMs = clock.nowMs()
  }

  /** Bytes that users may still take. */
  availableBytes(): number {
    this.#refresh()
    return Math.max(0, this.#measured.availableBytes - RESERVE_BYTES)
  }

  statfs(nodeCount: number, nameMaxBytes: number): Statfs {
    const availableBytes = this.availableBytes()
    const { totalBytes, freeBytes } = this.#measured
    return {
      blockBytes: BLOCK_BYTES,
      blocks: Math.max(1, Math.floor(totalBytes / BLOCK_BYTES)),
      blocksFree: Math.floor(Math.max(0, freeBytes - RESERVE_BYTES) / BLOCK_BYTES),
      blocksAvailable: Math.floor(availableBytes / BLOCK_BYTES),
      files: FILES_MAX,
      filesFree: Math.max(0, FILES_MAX - nodeCount),
      nameMaxBytes,
    }
  }

  #refresh(): void {
    const ageMs = this.#clock.nowMs() - this.#measuredMs
    if (this.#measured.availableBytes < NEARLY_FULL_BYTES && ageMs >= NEARLY_FULL_FRESH_MS) {
      this.#measured = measured(statfsSync(this.#directory))
      this.#measuredMs = this.#clock.nowMs()
      return
    }
    if (this.#measuring || ageMs < FRESH_MS) return
    this.#measuring = true
    statfs(this.#directory)
      .then((stats) => {
        this.#measured = measured(stats)
      })
      .catch(() => undefined) // keep what was known; writing will tell
      .finally(() => {
        this.#measuring = false
        this.#measuredMs = this.#clock.nowMs()
      })
  }
}

type SystemStats = { bsize: number; blocks: number; bfree: number; bavail: number }

function measured(stats: SystemStats): Measured {
  return {
    totalBytes: stats.blocks * stats.bsize,
    freeBytes: stats.bfree * stats.bsize,
    availableBytes: stats.bavail * stats.bsize,
  }
}
