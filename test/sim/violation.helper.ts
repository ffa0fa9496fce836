// What an oracle throws: which promise is broken, and how it showed.
export class Violation extends Error {
  readonly oracle: string

  constructor(oracle: string, message: string) {
    super(`${oracle}: ${message}`)
    this.oracle = oracle
  }
}

/** Throws the Violation unless `holds`. */
export function promise(holds: boolean, oracle: string, message: () => string): void {
  if (!holds) throw new Violation(oracle, message())
}
