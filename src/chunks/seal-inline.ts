// The seal backend on the calling thread: simulator, tests, and the fallback where workers are not
// wanted. Same core, same packs; the disk is whatever port is given.

import type { Clock, Timer } from './content-store-ports.ts'
import { SealCore } from './seal-core.ts'
import type { SealCoreOptions } from './seal-core.ts'
import { BUNDLE_OPEN_MS } from './seal-protocol.ts'
import type {
  CutRequest,
  CutResult,
  Moved,
  SealBackend,
  SealRequest,
  SealResult,
} from './seal-protocol.ts'

export type InlineOptions = Omit<SealCoreOptions, 'moved' | 'allocate'> & {
  clock: Clock
  allocate?: (sizeBytes: number) => Uint8Array
}

export class InlineSealer implements SealBackend {
  readonly #core: SealCore
  readonly #clock: Clock
  #moved: (moved: Moved) => void = () => {}
  #timer: Timer | undefined

  constructor(options: InlineOptions) {
    this.#clock = options.clock
    this.#core = new SealCore({
      allocate: (sizeBytes) => new Uint8Array(sizeBytes),
      ...options,
      moved: (moved) => this.#moved(moved),
    })
  }

  onMoved(listener: (moved: Moved) => void): void {
    this.#moved = listener
  }

  async cut(request: CutRequest): Promise<CutResult> {
    return this.#core.cut(request)
  }

  seal(request: SealRequest): Promise<SealResult> {
    if (!request.urgent) {
      this.#timer ??= this.#clock.setTimer(BUNDLE_OPEN_MS, () => {
        this.#timer = undefined
        this.#core.flush().catch(() => {}) // told to those who wait for their chunks
      })
    }
    return this.#core.seal(request)
  }

  flush(): Promise<void> {
    return this.#core.flush()
  }

  sync(): Promise<void> {
    return this.#core.sync()
  }

  async close(): Promise<void> {
    this.#timer?.cancel()
    await this.#core.close()
  }
}
