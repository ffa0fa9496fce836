// What the control API says about where content is: pins, what a device holds, what others hold.

import type { PathText } from './client-types.ts'

export interface PathRequest {
  path: PathText
}

export interface Pin {
  /** Undefined when nothing shows it any more. */
  path?: PathText
  /** As it was named when it was pinned. */
  said: PathText
  /** whole, looking, waiting, gone. */
  state: string
  files: number
  bytes: number
  missingFiles: number
  missingBytes: number
  /** Why something is missing: an ErrorCode, or not-announced. */
  reason?: string
}

export interface PinsResult {
  pins: Pin[]
}
