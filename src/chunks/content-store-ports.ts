// The ports of vault/ that chunks/ implements or is given, in one place: vault/ stands above
// chunks/ and owns these types, so that its files can be read without knowing how content is
// sealed. Types only; nothing of vault/ runs below it.

// oxlint-disable no-restricted-imports -- types of ports that vault/ owns and chunks/ implements
export type { FrozenExtent, FrozenJob, JobId, ReadPiece } from '../vault/buffers.ts'
export type {
  AwayBundles,
  ContentStore,
  Presence,
  ReadPlan,
  Sealed,
  SealOptions,
  Unfolded,
  Urgency,
  WorkingContent,
} from '../vault/content.ts'
export type { Clock, Disk, DiskFile, JournalPort, Timer } from '../vault/ports.ts'
