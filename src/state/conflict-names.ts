// Conflict names: what the view calls an item that cannot have its own name. Pure, bytes in latin1
// strings as everywhere; equal on all devices, since date and label come from the op.
//
//   stem ‖ " (conflict " ‖ YYYY-MM-DD ‖ " " ‖ label ‖ ")" ‖ (k ≥ 2: " " ‖ k) ‖ ext
//
// ext = from the last '.' of the name on, if that is not its first byte and ext is at most 16
// bytes; the stem is cut so that the whole fits 255 bytes, never inside a UTF-8 sequence.

import { NAME_MAX_BYTES } from '../ops/bounds.ts'
import type { AuthorId, Name } from '../ops/types.ts'

const LABEL_BYTES_MAX = 32
const EXTENSION_BYTES_MAX = 16
const AUTHOR_LABEL_BYTES = 4
const DAY_MS = 86_400_000
/** Control characters, and what cannot stand in a name. */
// eslint-disable-next-line no-control-regex -- control characters are what it is about
const UNFIT = /[\u0000-\u001f\u007f/]/g

/** Of the op that gave the item its position or its content. */
export interface ConflictOp {
  /** Effective time. */
  readonly ms: number
  readonly author: AuthorId
}

/** The k-th candidate, k ≥ 1. `label`: the name of the author's device, '' = unknown. */
export function conflictName(name: Name, op: ConflictOp, label: string, k: number): Name {
  return candidate(name, conflictMark(op, label), k)
}

/** What stands between stem and number: " (conflict 2026-11-20 laptop)". */
export function conflictMark({ ms, author }: ConflictOp, label: string): string {
  return ` (conflict ${utcDate(ms)} ${shownLabel(author, label)})`
}

/** The k-th candidate with this mark. */
export function candidate(name: Name, mark: string, k: number): Name {
  const dot = name.lastIndexOf('.')
  const hasExtension = dot > 0 && name.length - dot <= EXTENSION_BYTES_MAX
  const stem = hasExtension ? name.slice(0, dot) : name
  const end = `${mark}${k < 2 ? '' : ` ${k}`}${hasExtension ? name.slice(dot) : ''}`
  return `${cutBytes(stem, NAME_MAX_BYTES - end.length)}${end}` as Name
}

/** YYYY-MM-DD of a time since 1970: days to civil dates after Hinnant, "chrono-Compatible Low-Level
 *  Date Algorithms" (years begin in March). */
function utcDate(ms: number): string {
  const days = Math.floor(ms / DAY_MS) + 719_468 // since 0000-03-01
  const era = Math.floor(days / 146_097)
  const dayOfEra = days - era * 146_097
  const yearOfEra = Math.floor((dayOfEra - Math.floor(dayOfEra / 1460)
    + Math.floor(dayOfEra / 36_524) - Math.floor(dayOfEra / 146_096)) / 365)
  const dayOfYear = dayOfEra
    - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100))
  const marchMonth = Math.floor((5 * dayOfYear + 2) / 153)
  const day = dayOfYear - Math.floor((153 * marchMonth + 2) / 5) + 1
  const month = marchMonth < 10 ? marchMonth + 3 : marchMonth - 9
  const year = era * 400 + yearOfEra + (month <= 2 ? 1 : 0)
  return `${pad(year, 4)}-${pad(month, 2)}-${pad(day, 2)}`
}

function pad(value: number, digits: number): string {
  return String(value).padStart(digits, '0')
}

function shownLabel(author: AuthorId, label: string): string {
  if (label === '') {
    return Buffer.from(author.slice(0, AUTHOR_LABEL_BYTES), 'latin1').toString('hex')
  }
  const bytes = Buffer.from(label.replace(UNFIT, '_'), 'utf8').toString('latin1')
  return cutBytes(bytes, LABEL_BYTES_MAX)
}

/** At most `maxBytes`, not ending inside a UTF-8 sequence. */
function cutBytes(bytes: string, maxBytes: number): string {
  if (bytes.length <= maxBytes) return bytes
  let end = maxBytes
  while (end > 0 && (bytes.charCodeAt(end) & 0xc0) === 0x80) end--
  return bytes.slice(0, end)
}
