// A LATTICE_HOME without its daemon: key store, joins, and one open vault with its host of invites,
// over real TCP on loopback and logs in memory.
import { mkdirSync, mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { loadConfig } from '../../src/config/config-file.ts'
import { defaultConfig } from '../../src/config/config-schema.ts'
import type { VaultEntry } from '../../src/config/config-schema.ts'
import { resolvePaths, vaultDirectory } from '../../src/config/paths.ts'
import type { Paths } from '../../src/config/paths.ts'
import { SystemRandom } from '../../src/daemon/clock.ts'
import { Engine } from '../../src/daemon/engine.ts'
import { KeyStore } from '../../src/daemon/key-store.ts'
import { openLog } from '../../src/daemon/log.ts'
import { VaultMembership } from '../../src/daemon/membership.ts'
import { createStoredVault } from '../../src/daemon/open-vault.ts'
import { PairingHost } from '../../src/daemon/pairing-host.ts'
import { InviteBook } from '../../src/daemon/pairing-invites.ts'
import { Joins } from '../../src/daemon/pairing-joins.ts'
import { checkFormat } from '../../src/daemon/state-directory.ts'
import type { Timeouts } from '../../src/net/pairing/inviter.ts'
import { TcpPairingNetwork } from '../../src/net/pairing/tcp-network.ts'
import { TcpListener } from '../../src/net/tcp.ts'
import type * as Api from '../../src/api/client-pairing-types.ts'
import { authorOf } from '../../src/vault/create.ts'
import { logsOnly } from '../support/peers.helper.ts'
import { MemoryLogs } from '../vault/cores.helper.ts'

export const TIMEOUTS: Timeouts = { stepMs: 5000, confirmMs: 5000, storeMs: 5000 }
const log = openLog('error')

export class Home {
  readonly paths: Paths
  readonly store: KeyStore
  readonly root = mkdtempSync(join(tmpdir(), 'lattice-home-'))
  joins: Joins
  nowMs = Date.now()
  saves = 0

  constructor() {
    this.paths = resolvePaths({ LATTICE_HOME: this.root })
    mkdirSync(this.paths.stateDirectory, { recursive: true, mode: 0o700 })
    this.store = new KeyStore(this.paths)
    this.joins = this.newJoins()
  }

  newJoins(): Joins {
    return new Joins({
      paths: this.paths, network: new TcpPairingNetwork(), log,
      openRing: async (access) => (
        this.store.openOrCreate(access, (await loadConfig(this.paths)).vaults)
      ),
      saveKeys: () => this.save(),
      exclusive: (task) => task(),
      prepare: async () => undefined,
      statusOf: async ({ id, name, path }) => (
        { id, name, directory: path, mounted: false, readOnly: false }
      ),
      label: () => 'laptop',
      timeouts: TIMEOUTS,
    })
  }

  async save(): Promise<void> {
    this.saves++
    await this.store.save()
  }

  join(code: string, changes: Partial<Api.JoinRequest> = {}): Promise<Api.Join> {
    return this.joins.join({
      code, directory: join(this.root, 'mnt'), isUnattended: true, peers: [],
      allowUnprotected: true, ...changes,
    })
  }

  async vaults(): Promise<VaultEntry[]> {
    return (await loadConfig(this.paths)).vaults
  }
}

/** One vault of a home, open. */
export class OpenHome {
  readonly home: Home
  readonly id: string
  readonly engine: Engine
  readonly logs: MemoryLogs
  readonly membership: VaultMembership
  host!: PairingHost
  listener!: TcpListener

  private constructor(home: Home, id: string, engine: Engine, logs: MemoryLogs) {
    this.home = home
    this.id = id
    this.engine = engine
    this.logs = logs
    this.membership = new VaultMembership({
      engine, keys: home.store.keysOf(id), saveKeys: () => home.save(), random: new SystemRandom(),
    })
  }

  static async create(): Promise<OpenHome> {
    const home = new Home()
    const { ring } = await home.store.openOrCreate({ allowUnprotected: true }, [])
    const made = await createStoredVault(home.paths, 'Photos', ring, () => home.save(), log)
    return OpenHome.open(home, made.id)
  }

  static async open(home: Home, id: string, logs?: MemoryLogs): Promise<OpenHome> {
    const vaultKeys = home.store.keysOf(id)
    const state = await checkFormat(vaultDirectory(home.paths, id), id)
    const own = logs ?? new MemoryLogs(authorOf(vaultKeys))
    const engine = await Engine.open({
      state, vaultKeys, config: defaultConfig(), readOnly: false, log, peers: logsOnly(own),
      onLearnt: () => void home.save(),
    })
    const open = new OpenHome(home, id, engine, own)
    await open.listen()
    return open
  }

  async listen(): Promise<void> {
    const { home, membership } = this
    this.listener = await TcpListener.open({ host: '127.0.0.1' })
    const network = new TcpPairingNetwork(this.listener)
    network.addresses = () => [{ host: '127.0.0.1', port: this.listener.port }]
    const book = await InviteBook.open(this.engine.state.path, membership.keys)
    this.host = PairingHost.open({
      membership, vaultName: 'Photos', book, network, log, nowMs: () => home.nowMs,
      timeouts: TIMEOUTS,
    })
  }

  /** As a crash does: nobody is told anything. */
  async cut(): Promise<void> {
    await this.listener.close()
    await this.host.close()
  }

  async pull(other: OpenHome): Promise<void> {
    this.logs.pull(other.logs)
    await this.engine.core.pump()
  }

  async close(): Promise<void> {
    await this.cut()
    await this.engine.close()
  }
}

/** Until a state that `is`, or its end. */
export async function until(joins: Joins, id: string, is: (join: Api.Join) => boolean) {
  for (let revision = 0; ;) {
    const join = await joins.wait(id, revision, 5000)
    if (is(join) || join.state === 'joined' || join.state === 'failed') return join
    revision = join.revision
  }
}
