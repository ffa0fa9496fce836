// What a command is: a row of the table in commands.ts, and a module with run(), loaded only when
// the command is called, so that `lattice version` does not wait for what others need.

import type { Paths } from '../config/paths.ts'
import type { Output } from './output.ts'

export interface ArgumentSpec {
  name: string
  required: boolean
  summary: string
}

export interface OptionSpec {
  /** As commander reads them: '-o, --options <words>'. */
  flags: string
  summary: string
}

export interface CommandSpec {
  /** One word, or two for a command of a group: 'key recovery'. */
  name: string
  alias?: string
  /** Of a group: what the group's word alone means. */
  isDefault?: boolean
  summary: string
  description?: string
  arguments: readonly ArgumentSpec[]
  options: readonly OptionSpec[]
  /** Command line and what it does. */
  examples: readonly (readonly [string, string])[]
  load: () => Promise<CommandModule>
}

export interface Context {
  paths: Paths
  output: Output
  arguments: readonly (string | undefined)[]
  options: Readonly<Record<string, unknown>>
}

export interface CommandModule {
  /** Returns the exit code; undefined is 0. What it throws is shown and gives its own code. */
  run(context: Context): Promise<number | undefined>
}

export function flag(context: Context, name: string): boolean {
  return context.options[name] === true
}

export function text(context: Context, name: string): string | undefined {
  const value = context.options[name]
  return typeof value === 'string' ? value : undefined
}
