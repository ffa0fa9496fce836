// What names are equal for systems that do not compare bytes. Names are latin1 strings, one
// character per byte; a key is a string that two names share exactly if such a system takes them
// for one. Names that are not UTF-8 equal only themselves.
//
// Tables: those of the JavaScript engine (Unicode normalisation is stable for assigned characters).
// A key is a matter of one mount's view and of `lattice doctor --names`; it is never stored, and
// nothing replicated depends on it.

import type { Name } from '../ops/types.ts'

export type NameMatching = 'bytes' | 'nfc' | 'caseless'

const ASCII = /^[\0-\x7f]*$/
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** The name as text, or undefined when its bytes are not UTF-8. */
export function textOfName(name: string): string | undefined {
  if (ASCII.test(name)) return name
  try {
    return decoder.decode(Buffer.from(name, 'latin1'))
  } catch {
    return undefined
  }
}

export function nameOfText(text: string): Name {
  return (ASCII.test(text) ? text : Buffer.from(text, 'utf8').toString('latin1')) as Name
}

export function nameKey(name: string, matching: NameMatching): string {
  if (matching === 'bytes') return name
  const text = textOfName(name)
  // a raw name never looks like text: text keys have no such first character
  if (text === undefined) return `\0${name}`
  if (matching === 'nfc') return ASCII.test(text) ? text : text.normalize('NFC')
  return foldCase(text)
}

/** Case folding by way of upper case, so that ß and SS, and the three sigmas, come to one. */
function foldCase(text: string): string {
  if (ASCII.test(text)) return text.toLowerCase()
  return text.normalize('NFD').toUpperCase().toLowerCase().normalize('NFC')
}

/** How a view that shows text shows a name that is none: each bad byte as %XX. */
export function shownName(name: string): Name {
  if (textOfName(name) !== undefined) return name as Name
  let shown = ''
  for (let at = 0; at < name.length;) {
    const length = sequenceBytes(name, at)
    shown += length > 0 ? name.slice(at, at + length) : escaped(name.charCodeAt(at))
    at += Math.max(length, 1)
  }
  return shown as Name
}

/** Length of the UTF-8 sequence at `at`, 0 when there is none. */
function sequenceBytes(name: string, at: number): number {
  const lead = name.charCodeAt(at)
  if (lead < 0x80) return 1
  const length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2
  const sequence = name.slice(at, at + length)
  return sequence.length === length && textOfName(sequence) !== undefined ? length : 0
}

function escaped(byte: number): string {
  return `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
}
