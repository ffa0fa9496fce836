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
  /** Stored on this device only, until content that they were written over comes from others. */
  heldFiles?: number
  /** Sealed on disk: packs, journal, index. */
  storedBytes?: number
  /** What this device may do; none while the history that says so has not come. */
  role?: string
  /** Other devices that are members, and those of them that are connected now. */
  devices?: { known: number; connected: number }
  /** Why changes are refused at present. */
  trouble?: string
  /** Why programs that watch the mount do not hear of changes from elsewhere. */
  unwatched?: string
  /** What devices changed without knowing of each other, and nobody has decided yet. */
  conflicts?: number
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
  /** How names match; bytes when not given. */
  names?: 'bytes' | 'nfc' | 'caseless'
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

/** Where something is, for people: names joined by '/', control characters as they are, bytes that
 *  are no UTF-8 as %XX; '' is the vault's own directory. */
export type PathText = string

export interface NamesRequest {
  /** Only below this directory. */
  path: PathText
}

export interface NameFinding {
  path: PathText
  /** not-utf8, not-nfc, same-after-nfc, same-without-case, windows-character, windows-reserved,
   *  windows-end. */
  problem: string
  /** The other name of the directory, of two that are one elsewhere. */
  other?: string
}

export interface NamesResult {
  names: number
  findings: NameFinding[]
  /** Findings beyond the first ten thousand are counted only. */
  findingCount: number
}

/** Who made a change, and when: the device's name, its key, and the time that orders it. */
export interface Origin {
  author: string
  /** First 16 hex digits of the device's key. */
  device: string
  timeMs: number
}

export interface ConflictItem extends Origin {
  path: PathText
  /** file, directory, symlink, fifo, socket, character-device, block-device. */
  kind: string
  sizeBytes: number
  /** The one that keeps the name. */
  winner: boolean
}

export interface Conflict {
  /** content: one file, changed twice; name: several things of one name; cycle: a directory was
   *  moved below itself by two devices together. */
  kind: 'content' | 'name' | 'cycle'
  path: PathText
  items: ConflictItem[]
}

export interface ConflictsRequest {
  /** One entry of a conflict, or everything below a directory. */
  path: PathText
  /** Go on behind this one. */
  after?: string
}

export interface ConflictsResult {
  conflicts: Conflict[]
  /** Of the whole vault. */
  count: number
  /** There are more: ask again with this. */
  next?: string
}

export interface ResolveRequest {
  path: PathText
  /** mine, theirs, both, or the number of an item, from 1, as listed. */
  keep: string
}

export interface ResolveResult {
  kept: PathText[]
  removed: PathText[]
}

export interface LogRequest {
  path: PathText
  limit: number
}

export interface FileVersion extends Origin {
  /** Names the version: author's key, sequence and index of its op. */
  id: string
  /** made, content, renamed, attributes, removed. */
  change: string
  /** Where it was put, for made and renamed. */
  name?: string
  /** Content only. */
  sizeBytes?: number
  /** Made without knowing of others that were not superseded then. */
  concurrent: boolean
  /** What the file shows now. */
  current: boolean
  /** By a device beyond its cutoff: it does not count. */
  cut: boolean
}

export interface LogResult {
  path: PathText
  /** Newest first. */
  versions: FileVersion[]
  more: boolean
}

export interface VersionRequest {
  path: PathText
  id: string
}

export interface VersionResult {
  /** Undefined when there is more than a mebibyte of it. */
  base64?: string
  sizeBytes: number
}

export interface Member {
  label: string
  /** Hex of the device's key. */
  device: string
  role: string
  /** This device. */
  self: boolean
  /** Who let it in; undefined for the first one. */
  by?: string
  /** Op batches of it that are applied here. */
  batches: number
  /** Beyond this many its batches do not count. */
  cutoff?: number
}

export interface MembersResult {
  members: Member[]
  /** Hex of the present epoch. */
  epoch: string
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
