// Where everything of one user lies. LATTICE_HOME moves all of it, so that instances and tests live
// side by side; otherwise the directories of the XDG base directory specification.
//
//   LATTICE_HOME set     $LATTICE_HOME/{config.toml, keys, state/, lattice.sock}
//   otherwise            $XDG_CONFIG_HOME/lattice/{config.toml, keys}, $XDG_STATE_HOME/lattice/,
//                        $XDG_RUNTIME_DIR/lattice/lattice.sock (without one: in the state)

import { homedir } from 'node:os'
import { isAbsolute, join, resolve } from 'node:path'

export interface Paths {
  configFile: string
  keyFile: string
  configDirectory: string
  stateDirectory: string
  /** Holds the socket and the daemon's lock; 0700. */
  runtimeDirectory: string
  socket: string
  logFile: string
}

export type Environment = Record<string, string | undefined>

export function resolvePaths(environment: Environment = process.env): Paths {
  const home = setting(environment, 'LATTICE_HOME')
  if (home !== undefined) {
    const root = resolve(callerDirectory(environment), home)
    return compose(root, join(root, 'state'), root)
  }
  const user = setting(environment, 'HOME') ?? homedir()
  const config = join(xdg(environment, 'XDG_CONFIG_HOME') ?? join(user, '.config'), 'lattice')
  const state = join(xdg(environment, 'XDG_STATE_HOME') ?? join(user, '.local/state'), 'lattice')
  const runtime = xdg(environment, 'XDG_RUNTIME_DIR')
  const ours = runtime === undefined ? join(state, 'run') : join(runtime, 'lattice')
  return compose(config, state, ours)
}

/** `<state>/vaults/<first 8 bytes of the id, hex>`. */
export function vaultDirectory(paths: Paths, vaultIdHex: string): string {
  return join(paths.stateDirectory, 'vaults', vaultIdHex.slice(0, 16))
}

/**
 * Where relative paths of the command line count from: `npm start` changes the working directory to
 * the checkout and leaves the caller's in INIT_CWD. Any other npm around us does not count.
 */
export function callerDirectory(environment: Environment = process.env): string {
  const initial = environment['INIT_CWD']
  const byNpmStart = environment['npm_lifecycle_event'] === 'start'
  return byNpmStart && initial !== undefined && isAbsolute(initial) ? initial : process.cwd()
}

function compose(config: string, state: string, runtime: string): Paths {
  return {
    configFile: join(config, 'config.toml'),
    keyFile: join(config, 'keys'),
    configDirectory: config,
    stateDirectory: state,
    runtimeDirectory: runtime,
    socket: join(runtime, 'lattice.sock'),
    logFile: join(state, 'daemon.log'),
  }
}

/** Set and not empty. */
function setting(environment: Environment, name: string): string | undefined {
  const value = environment[name]
  return value === undefined || value === '' ? undefined : value
}

/** The specification says that relative paths are to be ignored. */
function xdg(environment: Environment, name: string): string | undefined {
  const value = setting(environment, name)
  return value !== undefined && isAbsolute(value) ? value : undefined
}
