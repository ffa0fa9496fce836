// The addon's session part, typed by its hand-written declarations.

import { loadAddon } from '../crypto/native.ts'

export type SessionAddon = typeof import('../../native/session.d.ts')

export function sessionAddon(): SessionAddon {
  return loadAddon<SessionAddon>()
}
