// Which names other systems would see differently: the looking behind `lattice doctor --names`.
// Pure, one directory at a time; names are latin1 strings of bytes.
//
//   not-utf8            macOS refuses it, Windows cannot spell it
//   not-nfc             macOS may hand it back in another spelling
//   same-after-nfc      two names of one directory are one on macOS
//   same-without-case   two names of one directory are one on macOS and Windows
//   windows-character   < > : " \ | ? * or a control character
//   windows-reserved    CON, PRN, AUX, NUL, COM0-9, LPT0-9, with any ending
//   windows-end         ends with a dot or a space, which Windows drops

import type { Name } from '../ops/types.ts'
import { nameKey, textOfName } from './name-keys.ts'

export type NameProblem =
  | 'not-utf8'
  | 'not-nfc'
  | 'same-after-nfc'
  | 'same-without-case'
  | 'windows-character'
  | 'windows-reserved'
  | 'windows-end'

export interface NameFinding {
  name: Name
  problem: NameProblem
  /** The other name, of the two that are one elsewhere. */
  other?: Name
}

const WINDOWS_CHARACTER = /[<>:"\\|?*]/
const WINDOWS_RESERVED = /^(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?$/i
const WINDOWS_END = /[. ]$/

/** What is to be said about one name by itself. */
export function problemsOf(name: Name): NameProblem[] {
  const text = textOfName(name)
  if (text === undefined) return ['not-utf8']
  const problems: NameProblem[] = []
  if (text.normalize('NFC') !== text) problems.push('not-nfc')
  if (WINDOWS_CHARACTER.test(text) || hasControl(text)) problems.push('windows-character')
  if (WINDOWS_RESERVED.test(text)) problems.push('windows-reserved')
  if (WINDOWS_END.test(text)) problems.push('windows-end')
  return problems
}

function hasControl(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) < 32) return true
  return false
}

/** The names of one directory, given one by one; memory grows with them. */
export class DirectoryNames {
  readonly #byNfc = new Map<string, Name>()
  readonly #caseless = new Map<string, Name>()

  add(name: Name): NameFinding[] {
    const findings: NameFinding[] = problemsOf(name).map((problem) => ({ name, problem }))
    const nfc = firstOf(this.#byNfc, nameKey(name, 'nfc'), name)
    if (nfc !== name) {
      findings.push({ name, problem: 'same-after-nfc', other: nfc })
      return findings
    }
    const caseless = firstOf(this.#caseless, nameKey(name, 'caseless'), name)
    if (caseless !== name) findings.push({ name, problem: 'same-without-case', other: caseless })
    return findings
  }
}

function firstOf(names: Map<string, Name>, key: string, name: Name): Name {
  const first = names.get(key)
  if (first === undefined) names.set(key, name)
  return first ?? name
}
