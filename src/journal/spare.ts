/**
 * The file that the journal will go on in, prepared ahead: its space is there before it is needed
 * (a flush then changes no metadata), and a full disk leaves room for the removals that free space.
 * It holds zeros only: a file is renamed, and the new name made durable, before it is written to.
 */

import { join } from 'node:path'
import { isLatticeError } from '../util/errors.ts'
import type { Disk, DiskFile } from '../vault/ports.ts'
import { SPARE_NAME } from './format.ts'

const RETRY_CALLS = 16

export class Spare {
  readonly #disk: Disk
  readonly #directory: string
  readonly #sizeBytes: number
  #isReady = false
  #isLow = false
  #callsLow = 0
  #isClosed = false
  #preparing: Promise<void> | undefined

  constructor(disk: Disk, directory: string, sizeBytes: number) {
    this.#disk = disk
    this.#directory = directory
    this.#sizeBytes = sizeBytes
  }

  get isReady(): boolean {
    return this.#isReady
  }

  /** True when the last attempt to prepare one found the disk full. */
  get isLow(): boolean {
    return this.#isLow
  }

  /**
   * Prepares one in the background unless there is one. Never fails: `isLow` tells; then only every
   * so many calls try again, and one that `isDue`.
   */
  prepare(isDue = false): void {
    if (this.#isReady || this.#isClosed || this.#sizeBytes === 0) return
    if (this.#isLow && !isDue && ++this.#callsLow % RETRY_CALLS !== 0) return
    this.#preparing ??= this.#prepare().finally(() => {
      this.#preparing = undefined
    })
  }

  /** Gives the file its name in the journal; undefined when there is none. */
  async take(path: string): Promise<DiskFile | undefined> {
    // on a full disk what could be had of it is what the journal goes on with
    const isPart = this.#isLow && this.#preparing === undefined && this.#exists()
    if (!this.#isReady && !isPart) return undefined
    this.#isReady = false
    this.#disk.rename(this.#path, path)
    await this.#disk.syncDirectory(this.#directory)
    return this.#disk.open(path, 'write')
  }

  /** Waits for what is being prepared. */
  async close(): Promise<void> {
    this.#isClosed = true
    await this.#preparing
  }

  get #path(): string {
    return join(this.#directory, SPARE_NAME)
  }

  #exists(): boolean {
    return this.#disk.list(this.#directory).includes(SPARE_NAME)
  }

  async #prepare(): Promise<void> {
    try {
      const file = this.#exists()
        ? this.#disk.open(this.#path, 'write')
        : this.#disk.create(this.#path)
      try {
        await file.allocate(this.#sizeBytes)
      } finally {
        file.close()
      }
      this.#isReady = true
      this.#isLow = false
    } catch (error) {
      // Any other trouble shows where it matters: at the next flush.
      this.#isLow = isLatticeError(error, 'disk-full')
    }
  }
}
