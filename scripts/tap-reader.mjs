// Reads the TAP of one test file, nested tests included, and counts leaves: an assertion inside a
// test counts, the summary line of that test does not, unless it fails for a reason of its own.
// A file with no plan, an unmet plan, a bail out or no assertion at all is a problem of the file.
import { Parser } from 'tap-parser'

const otherKeptBytes = 8 * 1024

export class TapReader {
  passed = 0
  failed = [] // { name, detail }
  skipped = [] // { name, reason }
  problems = []
  other = ''
  #final
  #parser

  constructor() {
    this.#parser = new Parser((final) => { this.#final = final })
    this.#watch(this.#parser, [])
  }

  write(text) {
    this.#parser.write(text)
  }

  /** Call once, after the last write: this reader's own fields are the result. */
  end() {
    this.#parser.end()
    const { plan, bailout, failures } = this.#final
    if (bailout) this.problems.push(`bailed out: ${bailout === true ? 'no reason given' : bailout}`)
    for (const failure of failures) { // not test points: an unmet plan, no plan
      if (failure.tapError) this.problems.push(failure.tapError)
    }
    // tap's words for a file, and the parser's for a stream, without any test: that is no skip
    if (plan.skipAll && plan.skipReason !== 'no tests found') {
      this.skipped.push({ name: 'the whole file', reason: reasonOf(plan.skipReason) })
    }
    const total = this.passed + this.failed.length + this.skipped.length
    if (total === 0 && this.problems.length === 0) this.problems.push('no assertion ran')
    return this
  }

  #watch(parser, path) {
    let child = null // the nested test whose summary line comes next
    parser.on('child', (nested) => {
      child = { failedBefore: this.failed.length, parser: nested }
      this.#watch(nested, [...path, nested.name])
    })
    parser.on('assert', (point) => {
      const summary = child
      child = null
      this.#count(point, [...path, point.name], summary)
    })
    parser.on('extra', (text) => { this.other = (this.other + text).slice(-otherKeptBytes) })
  }

  #count(point, path, summary) {
    const name = path.filter(Boolean).join(' > ')
    if (point.skip) {
      this.skipped.push({ name, reason: reasonOf(point.skip) })
    } else if (point.todo) {
      this.skipped.push({ name, reason: `todo: ${reasonOf(point.todo)}` })
    } else if (summary && (point.ok || this.failed.length > summary.failedBefore)) {
      // what is inside has been counted
    } else if (point.ok) {
      this.passed++
    } else {
      this.failed.push({ name, detail: detailOf(point, summary) })
    }
  }
}

const reasonOf = (text) => (typeof text === 'string' && text !== '' ? text : 'no reason given')

function detailOf(point, summary) {
  const inner = (summary?.parser.failures ?? []).map((failure) => failure.tapError).filter(Boolean)
  const { source, at, diff, stack, ...rest } = point.diag ?? {}
  const lines = [...inner]
  if (at) lines.push(`at ${at.fileName ?? ''}:${at.lineNumber ?? ''}`)
  if (source) lines.push(source)
  if (diff) lines.push(diff)
  if (Object.keys(rest).length > 0) lines.push(JSON.stringify(rest, null, 1))
  if (stack && !diff) lines.push(stack)
  return lines.map((line) => String(line).trimEnd()).join('\n')
}
