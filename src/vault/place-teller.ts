// PlaceTeller: after random reads of a file it tells the buffers where the file's content lies, so
// that they read the next ones by themselves. First the region around a miss; after some of them
// the rest of the file, too, in small steps between other work.
//
// What the buffers know stays true when the base moves (they cut what changed), so a region is told
// anew only when a reader missed something in it since. Errors are not told here: a reader who
// needs the range asks for it and gets them. Used by FileReader alone.

import type { FileBuffers } from './buffers.ts'
import type { ContentStore } from './content.ts'
import type { OpenFile } from './open-file.ts'
import type { Clock } from './ports.ts'

const REGION_BYTES = 4 * 1024 * 1024
/** So many misses make a file one that is read at random. */
const RANDOM_MISSES = 4
/** Larger files are told region by region only. */
const WALK_MAX_BYTES = 4 * 1024 ** 3
/** About a third of a millisecond of work lies between two pauses. */
const PAUSE_MS = 1

export interface TellerPorts {
  content: ContentStore
  buffers: FileBuffers
  clock: Clock
}

interface Told {
  misses: number
  /** The base epoch at which a region was told. */
  regions: Map<number, number>
  walked: boolean
}

export class PlaceTeller {
  readonly #ports: TellerPorts
  readonly #files = new WeakMap<OpenFile, Told>()

  constructor(ports: TellerPorts) {
    this.#ports = ports
  }

  /** Somebody had to ask for bytes at `offset`, out of sequence. */
  missed(file: OpenFile, offset: number): void {
    let told = this.#files.get(file)
    if (told === undefined) {
      told = { misses: 0, regions: new Map(), walked: false }
      this.#files.set(file, told)
    }
    told.misses++
    const region = Math.floor(offset / REGION_BYTES)
    if (told.regions.get(region) !== this.#ports.buffers.baseEpoch(file.ino)) {
      void this.#tell(file, told, region)
    }
    if (told.walked || told.misses < RANDOM_MISSES) return
    if (file.working.sizeBytes > WALK_MAX_BYTES) return
    told.walked = true
    this.#walk(file, told, 0)
  }

  /** Tells the regions from `region` on that were not told yet, one after each pause. */
  #walk(file: OpenFile, told: Told, region: number): void {
    let next = region
    while (told.regions.has(next)) next++
    if (next * REGION_BYTES >= file.working.sizeBytes) return
    this.#ports.clock.setTimer(PAUSE_MS, () => {
      if (file.closed || this.#ports.buffers.openCount(file.ino) === 0) return
      this.#tell(file, told, next).then(
        (goesOn) => {
          if (goesOn) this.#walk(file, told, next + 1)
        },
        () => undefined,
      )
    })
  }

  /** False when the buffers have no room for more. Never rejects. */
  async #tell(file: OpenFile, told: Told, region: number): Promise<boolean> {
    const { content, buffers } = this.#ports
    const epoch = buffers.baseEpoch(file.ino)
    told.regions.set(region, epoch)
    try {
      const plan = await content.places(file.working, region * REGION_BYTES, REGION_BYTES)
      try {
        return file.closed || buffers.setPlaces(file.ino, epoch, plan.pieces)
      } finally {
        plan.release()
      }
    } catch {
      return true // only a hint: whoever reads there is told what is wrong
    }
  }
}
