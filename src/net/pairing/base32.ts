// Bytes as text that people copy: Crockford's base 32, upper case (what a QR code holds best), in
// groups of five. Reading forgives what eyes and keyboards confuse: case, spaces, missing or other
// groups, O for 0, I and L for 1. Anything else is refused; bits beyond the last byte must be zero,
// so that a code has one spelling.

import { LatticeError } from '../../util/errors.ts'

const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'
const GROUP = 5

const VALUES = new Map<string, number>(
  ALPHABET.split('').map((letter, value) => [letter, value]),
)
for (const [seen, meant] of [['O', 0], ['I', 1], ['L', 1]] as const) VALUES.set(seen, meant)

/** Groups joined by '-'. */
export function toBase32(bytes: Uint8Array): string {
  let letters = ''
  let bits = 0
  let held = 0
  for (const byte of bytes) {
    held = (held << 8) | byte
    bits += 8
    while (bits >= 5) {
      bits -= 5
      letters += ALPHABET.charAt((held >>> bits) & 31)
    }
    held &= (1 << bits) - 1
  }
  if (bits > 0) letters += ALPHABET.charAt((held << (5 - bits)) & 31)
  return (letters.match(new RegExp(`.{1,${GROUP}}`, 'g')) ?? []).join('-')
}

/** Throws 'code-damaged' with details.rule 'character' (and details.position) or 'padding'. */
export function fromBase32(text: string): Uint8Array {
  const out: number[] = []
  let bits = 0
  let held = 0
  for (const [at, letter] of text.split('').entries()) {
    if (letter === '-' || /\s/.test(letter)) continue
    const value = VALUES.get(letter.toUpperCase())
    if (value === undefined) {
      throw damagedCode('character', `character ${at + 1} does not belong into a code`, at + 1)
    }
    held = (held << 5) | value
    bits += 5
    if (bits >= 8) {
      bits -= 8
      out.push((held >>> bits) & 255)
    }
    held &= (1 << bits) - 1
  }
  if (bits >= 5 || held !== 0) throw damagedCode('padding', 'its end is missing')
  return Uint8Array.from(out)
}

/** One reason, and the rule that was broken. */
export function damagedCode(rule: string, what: string, position?: number): LatticeError {
  return new LatticeError('code-damaged', `this is no complete invite code: ${what}`, {
    hint: 'copy it whole, from LATTICE- to its end',
    details: position === undefined ? { rule } : { rule, position },
  })
}
