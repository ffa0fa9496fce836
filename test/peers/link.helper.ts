// Two networks of their own with one cable between them, for devices that are cut off without a
// word: network namespaces and a veth pair, of Linux, as root. All goes with the test.

import { execFileSync } from 'node:child_process'
import type { Teardown } from '../mount/system.helper.ts'
import type { Place } from './peers.helper.ts'

const PORT = 47_113

/** Why it cannot be; undefined when it can. */
export function noNamespaces(): string | undefined {
  if (process.platform !== 'linux') return 'needs Linux'
  if (process.geteuid?.() !== 0) return 'needs root'
  const name = `lt-${process.pid}-try`
  try {
    ip('netns', 'add', name)
    ip('netns', 'del', name)
    execFileSync('nsenter', ['--version'], { stdio: 'ignore' })
    return undefined
  } catch {
    return 'no network namespaces'
  }
}

export class Link {
  readonly left: Place
  readonly right: Place
  readonly #names = [`lt-${process.pid}-l`, `lt-${process.pid}-r`] as const

  private constructor() {
    const [left, right] = this.#names
    ip('netns', 'add', left)
    ip('netns', 'add', right)
    ip('link', 'add', 'cable', 'netns', left, 'type', 'veth', 'peer', 'name', 'cable',
      'netns', right)
    for (const [i, name] of this.#names.entries()) {
      ip('-n', name, 'addr', 'add', `10.47.113.${i + 1}/30`, 'dev', 'cable')
      ip('-n', name, 'link', 'set', 'lo', 'up')
      ip('-n', name, 'link', 'set', 'cable', 'up')
    }
    this.left = placeIn(left, 1)
    this.right = placeIn(right, 2)
  }

  static create(t: Teardown): Link {
    const link = new Link()
    t.teardown(() => {
      for (const name of link.#names) ip('netns', 'del', name)
    })
    return link
  }

  /** Neither end hears anything: no packet, no reset. */
  cut(): void {
    ip('-n', this.#names[1], 'link', 'set', 'cable', 'down')
  }

  mend(): void {
    ip('-n', this.#names[1], 'link', 'set', 'cable', 'up')
  }

  /** Either direction, in Mbit/s. */
  limit(megabits: number): void {
    for (const name of this.#names) {
      execFileSync('tc', [
        '-n', name, 'qdisc', 'replace', 'dev', 'cable', 'root', 'tbf',
        'rate', `${megabits}mbit`, 'burst', '64kb', 'latency', '50ms',
      ])
    }
  }

  /** That the left end has sent so far. */
  sentBytes(): number {
    const [left] = this.#names
    const [shown] = JSON.parse(ip('-n', left, '-s', '-j', 'link', 'show', 'dev', 'cable')) as [
      { stats64: { tx: { bytes: number } } },
    ]
    return shown.stats64.tx.bytes
  }
}

function placeIn(name: string, host: number): Place {
  return {
    enter: ['nsenter', `--net=/run/netns/${name}`],
    address: `10.47.113.${host}:${PORT}`,
  }
}

function ip(...words: string[]): string {
  return execFileSync('ip', words, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
}
