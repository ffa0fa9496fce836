// A program that works in a mount for tests that serve it themselves: their process must not touch
// it. Each message names a function of node:fs and its arguments; what it returns goes back.
// `loop`: stats a file and reads it as long as told, and says what was wrong.

import fs from 'node:fs'

interface Message {
  id: number
  call: string
  args: unknown[]
}

/** Looks again and again: `versions` of the file come in order, and size and text agree. */
function look(path: string, forMs: number): { looks: number; wrong: string[] } {
  const end = performance.now() + forMs
  const wrong: string[] = []
  let last = -1
  let looks = 0
  for (; performance.now() < end; looks++) {
    const text = fs.readFileSync(path, 'utf8')
    const [, number = ''] = /^version (\d+)\n(?:x*)end\n$/.exec(text) ?? []
    if (number === '') wrong.push(`torn: ${text.slice(0, 40)} (${text.length})`)
    else if (Number(number) < last) wrong.push(`${number} after ${last}`)
    else last = Number(number)
  }
  return { looks, wrong: wrong.slice(0, 5) }
}

function plain(value: unknown): unknown {
  if (value instanceof fs.Stats) {
    const { ino, size, mode, nlink, mtimeMs } = value
    return { ino, size, mode, nlink, mtimeMs }
  }
  return Buffer.isBuffer(value) ? value.toString('latin1') : value
}

process.on('message', ({ id, call, args }: Message) => {
  try {
    const functions = { ...fs, look } as unknown as Record<string, (...all: unknown[]) => unknown>
    const found = functions[call]
    if (found === undefined) throw new Error(`no function ${call}`)
    process.send?.({ id, value: plain(found(...args)) })
  } catch (error) {
    process.send?.({ id, code: (error as NodeJS.ErrnoException).code ?? String(error) })
  }
})
process.send?.({ id: 0 })
