/**
 * Statistics and printing shared by the layout measurements: one table for people, one JSON line
 * per row for scripts. Percentiles are nearest-rank.
 */

export type Row = Record<string, string | number>;

/** Nearest-rank percentile of `samples` (not modified); `fraction` in [0, 1]. */
export function percentile(samples: readonly number[], fraction: number): number {
  const sorted = [...samples].sort((a, b) => a - b);
  const index = Math.min(sorted.length - 1, Math.floor(fraction * sorted.length));
  return sorted[index] ?? Number.NaN;
}

/** Rounds to three significant digits, so that noise is not printed as if it were a finding. */
export function round(value: number): number {
  return Number(value.toPrecision(3));
}

/** Prints the rows of one question: a table, then the same as JSON lines. */
export function report(question: string, rows: readonly Row[]): void {
  console.log(`\n## ${question}`);
  console.table(rows);
  for (const row of rows) console.log(JSON.stringify({ question, ...row }));
}
