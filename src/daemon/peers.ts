// The other devices of a vault, as its engine sees them: their logs, their bundles. What stands
// behind it (sync.ts) talks to them in a thread of its own; without any other device it sleeps.

import type { FoundBundle, PackStretch } from '../chunks/pack-scout.ts'
import type { AwayBundle } from '../chunks/chunk-index-port.ts'
import type { Urgency } from '../vault/content.ts'
import type { LogPort } from '../vault/ports.ts'

export interface Peers {
  readonly logs: LogPort
  /** Whether anybody else belongs to the vault, or is about to. */
  isWanted(): boolean
  /** The first bundles of the stretch, in their order; none when there are no more. */
  scout(stretch: PackStretch): Promise<FoundBundle[]>
  /** One of the bundles, whichever comes first: stored and adopted when it resolves. */
  fetch(bundles: readonly AwayBundle[], urgency: Urgency): Promise<void>
  /** Resolves when nobody has been connected for a moment and nobody is expected, or somebody has
   *  been all the while. */
  alone(): Promise<void>
  /** Own bundles that were announced are in the content log when it resolves. */
  publishContent(): Promise<void>
  /** What was adopted is durable when it resolves. */
  syncReceived(): Promise<void>
}
