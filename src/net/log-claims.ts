// Which connection brings the first blocks of a log that this device holds nothing of. Two at once
// could bring two histories of one author before anybody compared them, so the others wait until
// something is here that they can be compared with.

export interface Claimant {
  /** A claim was given up: ask again. */
  onFreed(): void
}

export class LogClaims {
  readonly #claims = new Map<string, Claimant>()
  readonly #claimants = new Set<Claimant>()

  join(claimant: Claimant): void {
    this.#claimants.add(claimant)
  }

  /** True when the log is this connection's to bring. */
  take(key: string, claimant: Claimant): boolean {
    const holder = this.#claims.get(key)
    if (holder !== undefined) return holder === claimant
    this.#claims.set(key, claimant)
    return true
  }

  /** Blocks of the log are here. */
  arrived(key: string): void {
    this.#claims.delete(key)
  }

  leave(claimant: Claimant): void {
    this.#claimants.delete(claimant)
    let isFreed = false
    for (const [key, holder] of this.#claims) {
      if (holder !== claimant) continue
      this.#claims.delete(key)
      isFreed = true
    }
    if (isFreed) for (const other of this.#claimants) other.onFreed()
  }
}
