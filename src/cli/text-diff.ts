// Differences between two contents, line by line, where both are text.

import { createTwoFilesPatch } from 'diff'

/** Beyond this a content is not compared. */
export const DIFF_BYTES_MAX = 1024 * 1024
/** Beyond this many changed lines a difference is not looked for: the search is quadratic. */
const EDIT_LENGTH_MAX = 1000

/** Unified, as lines; a sentence in parentheses where there is nothing to show. */
export function textDiff(
  names: readonly [string, string],
  contents: readonly [Uint8Array | undefined, Uint8Array | undefined],
): string[] {
  const [one, other] = contents
  if (one === undefined || other === undefined) return ['(too large to compare)']
  if (Buffer.compare(one, other) === 0) return ['(the same content)']
  const texts = [textOf(one), textOf(other)] as const
  if (texts[0] === undefined || texts[1] === undefined) return ['(not text)']
  const options = { context: 3, maxEditLength: EDIT_LENGTH_MAX }
  const patch = createTwoFilesPatch(names[0], names[1], texts[0], texts[1], '', '', options)
  if (patch === undefined) return ['(too many differences)']
  const lines = patch.split('\n')
  while (lines.at(-1) === '') lines.pop()
  const begin = lines.findIndex((line) => line.startsWith('--- '))
  return lines.slice(begin).map((line, i) => (i < 2 ? line.trimEnd() : line))
}

function textOf(bytes: Uint8Array): string | undefined {
  if (bytes.includes(0)) return undefined
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    return undefined
  }
}
