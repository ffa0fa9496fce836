// The command line's entry: parses by the table, runs one command, shows its error, exits with its
// code. The only place that ends the process.

import { Command, CommanderError } from 'commander'
import { EXIT_INTERRUPTED, EXIT_OK } from '../config/exit-codes.ts'
import { resolvePaths } from '../config/paths.ts'
import { LatticeError } from '../util/errors.ts'
import { COMMANDS } from './commands.ts'
import type { CommandSpec } from './command.ts'
import { Output } from './output.ts'

const json = process.argv.includes('--json')
const output = new Output(json)
let exitCode = EXIT_OK

function buildProgram(): Command {
  const program = newCommand(new Command('lattice'))
    .description('An end-to-end encrypted, versioned directory that any program can use.')
    .addHelpText('after', '\n`lattice help exit-codes` prints the exit codes.')
  for (const spec of COMMANDS) addCommand(program, spec)
  program.helpCommand(false)
  const help = newCommand(program.command('help [command...]'))
  help.description('help on a command; `help exit-codes`').action(async (words: string[]) => {
    if (words.join(' ') !== 'exit-codes') return findCommand(program, words).outputHelp()
    const { run } = await import('./help-codes.ts')
    exitCode = await run(output)
  })
  return program
}

function newCommand(command: Command): Command {
  return command
    .exitOverride()
    .configureOutput({ writeErr: () => undefined }) // shown below, as every other error
    .showHelpAfterError(false)
    .allowExcessArguments(false)
}

function addCommand(program: Command, spec: CommandSpec): void {
  const words = spec.name.split(' ')
  const leaf = words.pop() ?? spec.name
  let parent = program
  for (const word of words) {
    const group = parent.commands.find((command) => command.name() === word)
    parent = group ?? addGroup(parent, word)
  }
  const isDefault = spec.isDefault === true
  const command = newCommand(parent.command(leaf, { isDefault })).summary(spec.summary)
  command.description(spec.description ?? `${spec.summary}.`)
  if (spec.alias !== undefined) command.alias(spec.alias)
  for (const { name, required, summary } of spec.arguments) {
    command.argument(required ? `<${name}>` : `[${name}]`, summary)
  }
  for (const { flags, summary } of spec.options) command.option(flags, summary)
  if (spec.examples.length > 0) command.addHelpText('after', examplesText(spec))
  command.action(async () => {
    const module = await spec.load()
    const options: Record<string, unknown> = command.opts()
    const paths = resolvePaths()
    exitCode = (await module.run({ paths, output, arguments: command.args, options })) ?? EXIT_OK
  })
}

/** A group alone is no command: its help is shown, as an error of use. */
function addGroup(program: Command, word: string): Command {
  const members = COMMANDS.filter(({ name }) => name.startsWith(`${word} `))
  const names = members.map(({ name }) => name)
  const group = newCommand(program.command(word)).description(names.join(', '))
  if (members.some(({ isDefault }) => isDefault === true)) return group
  group.action(() => {
    const hint = `one of: ${names.map((name) => `lattice ${name}`).join(', ')}`
    throw new LatticeError('usage', `which command of ${word}?`, { hint })
  })
  return group
}

function examplesText(spec: CommandSpec): string {
  const lines = spec.examples.map(([line, what]) => `  ${line}\n      ${what}`)
  return `\nExamples:\n${lines.join('\n')}`
}

function findCommand(program: Command, words: readonly string[]): Command {
  let found = program
  for (const word of words) {
    const next = found.commands.find((c) => c.name() === word || c.aliases().includes(word))
    if (next === undefined) {
      throw new LatticeError('usage', `there is no command ${words.join(' ')}`)
    }
    found = next
  }
  return found
}

function usageError(error: CommanderError): LatticeError {
  const message = error.message.replace(/^error: /, '')
  return new LatticeError('usage', message, { hint: 'lattice help [COMMAND]' })
}

/** Whoever read our output has enough (`lattice help | head`). */
function endOnClosedPipe(error: NodeJS.ErrnoException): void {
  if (error.code === 'EPIPE') process.exit(EXIT_OK)
  throw error
}

async function main(): Promise<number> {
  process.on('SIGINT', () => process.exit(EXIT_INTERRUPTED))
  process.stdout.on('error', endOnClosedPipe)
  process.stderr.on('error', endOnClosedPipe)
  try {
    const first = process.argv[2]
    if (first === '--version' || first === '-V') process.argv[2] = 'version'
    const program = buildProgram()
    if (process.argv.length <= 2) {
      program.outputHelp()
      return EXIT_OK
    }
    await program.parseAsync(process.argv)
    return exitCode
  } catch (error) {
    if (!(error instanceof CommanderError)) return output.error(error)
    if (error.exitCode === 0 || error.code === 'commander.help') return EXIT_OK
    return output.error(usageError(error))
  }
}

process.exitCode = await main()
