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

export interface CopiesRequest {
  /** Other devices that are to hold everything; 0: it is to be published only. */
  copies: number
}

export interface CopiesResult {
  done: boolean
  /** Own batches, and those in the log that others read. */
  batches: number
  published: number
  connected: number
  /** Connected devices that have all batches, durably. */
  acknowledged: number
  /** Own bundles, and those that enough devices have proven to hold since the question began. */
  bundles: number
  held: number
}

export interface EvictRequest {
  path: PathText
  /** Devices beside this one that must prove to hold what goes; at least 1. */
  copies: number
}

export interface EvictResult {
  done: boolean
  /** Looked at, below the path. */
  files: number
  bundles: number
  /** Sealed bytes that are here no more. */
  freedBytes: number
  /** Sealed bytes that stay, by reason: pinned, in-use, shared (with files elsewhere in the vault),
   *  not-published, not-proven, damaged. */
  stays: Record<string, number>
}

/** Of all files with content. */
export interface ContentResult {
  /** Counted all; else as far as it has come. */
  isWhole: boolean
  files: number
  /** Whole, in part, not at all on this device. */
  here: number
  partial: number
  elsewhere: number
  bytes: number
  bytesHere: number
  /** Sealed bytes in packs, all versions; and the limit for them. */
  storedBytes: number
  limitBytes?: number
}

export interface WhereResult {
  done: boolean
  files: number
  contentBytes: number
  /** Bundles that hold it, and those of them on this device. */
  bundles: number
  here: number
  /** Chunks that lie in this device's journal only. */
  loose: number
  /** Parts of which it is not known where they are. */
  unknown: number
  /** Bundles that the connected devices have been asked about so far. */
  asked: number
  devices: { device: string; label: string; role: string; bundles: number }[]
  /** Of those asked about, how many are on so many devices (the index), this one included. */
  copies: number[]
}
