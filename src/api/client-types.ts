// What goes over the control socket, as JSON: HTTP on a unix socket, /api/v1/… . Shared by server
// and client; errors are RFC 9457 problem documents with lattice's reason and exit code.

export const API_PREFIX = '/api/v1'

/** How the key file is protected and whether this daemon has it open. */
export type KeyState = 'absent' | 'locked' | 'open'

export interface VersionInfo {
  version: string
  pid: number
  node: string
}

export interface KeyInfo {
  state: KeyState
  /** Unknown only while the file is absent. */
  protection: 'none' | 'passphrase' | 'unknown'
  file: string
}

export interface VaultStatus {
  id: string
  name: string
  directory: string
  mounted: boolean
  readOnly: boolean
  /** The rest only while mounted. */
  files?: number
  directories?: number
  /** Sum of the sizes of all files, deduplicated or not. */
  contentBytes?: number
  /** Written, not sealed yet: lost at a power cut unless fsynced. */
  dirtyBytes?: number
  /** Sealed on disk: packs, journal, index. */
  storedBytes?: number
  /** Why changes are refused at present. */
  trouble?: string
}

export interface Status {
  daemon: VersionInfo & { startedMs: number; rssBytes: number; logFile: string }
  keys: KeyInfo
  configFile: string
  stateDirectory: string
  vaults: VaultStatus[]
  warnings: string[]
}

/** How to open the key file, or how to protect a new one. */
export interface KeyAccess {
  /** Absent: no passphrase was given. */
  passphrase?: string
  /** Allows a new key file without a passphrase. */
  allowUnprotected?: boolean
}

export interface CreateVaultRequest extends KeyAccess {
  directory: string
  /** The directory is made and checked as a mount point before anything is created. */
  forMount?: boolean
  /** Return the recovery phrase: only asked for where a terminal shows it. */
  withPhrase?: boolean
}

export interface CreateVaultResult {
  vault: VaultStatus
  /** The key file was made too. */
  newKeyFile: boolean
  protection: 'none' | 'passphrase'
  recoveryPhrase?: string
}

export interface MountRequest extends KeyAccess {
  readOnly: boolean
  allowOther: boolean
  dev: boolean
  suid: boolean
}

export interface MountResult {
  vault: VaultStatus
  protection: 'none' | 'passphrase'
}

export interface UnmountRequest {
  lazy: boolean
}

export interface CheckRequest extends KeyAccess {
  readData: boolean
}

export interface CheckFinding {
  /** An ErrorCode where one fits, else a word of check's own. */
  reason: string
  /** journal, pack, index, state, chunk. */
  where: string
  message: string
}

export interface CheckResult {
  vault: VaultStatus
  counts: Record<string, number>
  findings: CheckFinding[]
  /** Findings beyond the first thousand are counted only. */
  findingCount: number
  seconds: number
}

export interface SyncResult {
  vaults: VaultStatus[]
}

export interface PhraseResult {
  phrases: { vault: string; id: string; phrase: string }[]
}

export interface RestoreRequest {
  phrase: string
  /** Protects the new key file. */
  passphrase?: string
  allowUnprotected?: boolean
}

export interface RestoreResult {
  /** Vaults whose keys are in the new key file. */
  restored: string[]
  /** Vaults of the old key file that this phrase does not open. */
  missing: string[]
  keyFile: string
  /** Where the old key file was kept. */
  oldKeyFile: string
}

/** RFC 9457, with lattice's own members. */
export interface Problem {
  type: string
  title: string
  status: number
  reason: string
  exitCode: number
  hint?: string
  details?: Record<string, string | number>
}
