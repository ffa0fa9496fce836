// `lattice help exit-codes`: the table of exit codes with the reasons that lead to each.

import { EXIT_CODES, EXIT_OK } from '../config/exit-codes.ts'
import type { Output } from './output.ts'

export async function run(output: Output): Promise<number> {
  const lines = EXIT_CODES.flatMap(({ code, name, meaning, reasons }) => [
    `${String(code).padStart(3)}  ${name.padEnd(17)} ${meaning}`,
    ...wrapped(reasons, 76).map((line) => `       ${line}`),
  ])
  output.result(EXIT_CODES, lines)
  return Promise.resolve(EXIT_OK)
}

function wrapped(words: readonly string[], columns: number): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of words) {
    if (line !== '' && line.length + word.length + 2 > columns) {
      lines.push(`${line},`)
      line = ''
    }
    line += line === '' ? word : `, ${word}`
  }
  if (line !== '') lines.push(line)
  return lines
}
