// `lattice service install|uninstall|status`: the unit or agent that mounts all vaults at login.
// The templates lie in systemd/ and launchd/; only the program's path and LATTICE_HOME are put in.
// `systemctl --user` and `launchctl` do the rest; where they are missing, the file is written and
// what is left to do is said.

import { execFile } from 'node:child_process'
import { mkdir, readFile, rm, stat } from 'node:fs/promises'
import { homedir } from 'node:os'
import { dirname, isAbsolute, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { callerDirectory } from '../config/paths.ts'
import { replaceFile } from '../config/private-files.ts'
import { LatticeError, errnoName, fromSystemError } from '../util/errors.ts'
import type { Context } from './command.ts'

const UNIT = 'lattice.service'
const AGENT = 'org.lattice'
const PROGRAM = '/usr/bin/lattice'

interface Manager {
  kind: 'systemd' | 'launchd'
  /** Where the user's own file goes. */
  file: string
  template: string
  fill: (template: string) => string
  start: string[][]
  stop: string[][]
  query: string[]
}

export async function install(context: Context): Promise<undefined> {
  const manager = managerHere()
  const template = await readFile(manager.template, 'utf8')
  try {
    await mkdir(dirname(manager.file), { recursive: true })
    await replaceFile(manager.file, manager.fill(template))
  } catch (error) {
    throw fromSystemError(error, `${manager.file} cannot be written`)
  }
  const started = context.options['start'] !== false && await runAll(context, manager.start)
  const result = { file: manager.file, manager: manager.kind, started }
  context.output.result(result, [
    `wrote ${manager.file}`,
    started ? 'started: all vaults are mounted at login' : left(manager.start),
  ])
  return undefined
}

export async function uninstall(context: Context): Promise<undefined> {
  const manager = managerHere()
  if (!await isThere(manager.file)) {
    throw new LatticeError('not-found', 'the service is not installed', {
      hint: 'lattice service install',
    })
  }
  const stopped = context.options['stop'] !== false && await runAll(context, manager.stop)
  await rm(manager.file, { force: true })
  const result = { file: manager.file, manager: manager.kind, stopped }
  context.output.result(result, [`removed ${manager.file}`, ...(stopped ? [] : [
    left(manager.stop),
  ])])
  return undefined
}

export async function status(context: Context): Promise<undefined> {
  const manager = managerHere()
  const installed = await isThere(manager.file)
  const state = installed ? await stateOf(manager) : 'not installed'
  context.output.result({ file: manager.file, manager: manager.kind, installed, state }, [
    `${manager.kind}  ${state}`, `file     ${manager.file}${installed ? '' : ' (not there)'}`,
  ])
  return undefined
}

// ---- parts ----

function managerHere(): Manager {
  const home = process.env['HOME'] ?? homedir()
  if (process.platform === 'darwin') {
    const file = join(home, 'Library/LaunchAgents', `${AGENT}.plist`)
    const domain = `gui/${process.getuid?.() ?? 0}`
    return {
      kind: 'launchd', file, template: shipped('launchd/org.lattice.plist'), fill: fillPlist,
      start: [['launchctl', 'bootstrap', domain, file]],
      stop: [['launchctl', 'bootout', `${domain}/${AGENT}`]],
      query: ['launchctl', 'print', `${domain}/${AGENT}`],
    }
  }
  const config = process.env['XDG_CONFIG_HOME']
  const base = config !== undefined && isAbsolute(config) ? config : join(home, '.config')
  const file = join(base, 'systemd/user', UNIT)
  const user = (...words: string[]): string[] => ['systemctl', '--user', ...words]
  return {
    kind: 'systemd', file, template: shipped('systemd/lattice.service'), fill: fillUnit,
    start: [user('daemon-reload'), user('enable', '--now', UNIT)],
    stop: [user('disable', '--now', UNIT), user('daemon-reload')],
    query: user('is-active', UNIT),
  }
}

function shipped(path: string): string {
  return fileURLToPath(new URL(`../../${path}`, import.meta.url))
}

/** Percent signs and quotes as systemd reads them. */
function fillUnit(template: string): string {
  const word = (text: string): string => `"${text.replace(/[\\"]/g, '\\$&').replaceAll('%', '%%')}"`
  const set = environment().map(([name, value]) => `Environment=${word(`${name}=${value}`)}\n`)
  return template
    .replace(`ExecStart=${PROGRAM}`, () => `${set.join('')}ExecStart=${word(program())}`)
}

function fillPlist(template: string): string {
  const text = (value: string): string => (
    value.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
  )
  const pairs = environment().map(([name, value]) => (
    `    <key>${text(name)}</key>\n    <string>${text(value)}</string>\n`
  ))
  const variables = pairs.length === 0
    ? ''
    : `  <key>EnvironmentVariables</key>\n  <dict>\n${pairs.join('')}  </dict>\n`
  return template
    .replace(PROGRAM, () => text(program()))
    .replace('  <key>RunAtLoad</key>', () => `${variables}  <key>RunAtLoad</key>`)
}

/** What the service has to have in common with this command. */
function environment(): [string, string][] {
  const found: [string, string][] = []
  for (const name of ['LATTICE_HOME', 'LATTICE_PASSPHRASE_FILE']) {
    const value = process.env[name]
    if (value !== undefined && value !== '') found.push([name, resolve(callerDirectory(), value)])
  }
  return found
}

function program(): string {
  return shipped('bin/lattice')
}

/** False when the manager is not there, or refuses: that is said, not thrown. */
async function runAll(context: Context, commands: readonly string[][]): Promise<boolean> {
  for (const [name = '', ...words] of commands) {
    try {
      await promisify(execFile)(name, words, { timeout: 60_000 })
    } catch (error) {
      const missing = errnoName(error) === 'ENOENT'
      const { stderr } = error as { stderr?: string }
      const why = missing ? `${name} is not installed` : (stderr?.trim() ?? 'it failed')
      context.output.warning(`${[name, ...words].join(' ')}: ${why}`)
      return false
    }
  }
  return true
}

function left(commands: readonly string[][]): string {
  return `to do: ${commands.map((words) => words.join(' ')).join(' && ')}`
}

async function stateOf({ query: [name = '', ...words], kind }: Manager): Promise<string> {
  try {
    const { stdout } = await promisify(execFile)(name, words, { timeout: 10_000 })
    return kind === 'systemd' ? stdout.trim() : 'active'
  } catch (error) {
    const { stdout } = error as { stdout?: string }
    const said = stdout?.trim() ?? ''
    return said === '' || kind === 'launchd' ? 'unknown' : said
  }
}

async function isThere(path: string): Promise<boolean> {
  return stat(path).then(() => true, () => false)
}
