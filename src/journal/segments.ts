/**
 * The journal's files on disk: which there are, in order, their descriptors, and what each
 * contains. Invariants: files ascend by (segment, part); sequences run on from each to the next;
 * every file but the last is complete up to the first sequence of the one behind it.
 */

import { join } from 'node:path'
import { Lru } from '../util/lru.ts'
import { assert } from '../util/assert.ts'
import type { Disk, DiskFile } from '../vault/ports.ts'
import { damaged, fileName } from './format.ts'
import type { SegmentHeader } from './format.ts'
import { scanFile } from './scan-file.ts'
import type { FileRecord, ScanEnd, ScanPoint } from './scan-file.ts'

const OPEN_FILES_MAX = 16

export class Segments {
  readonly #disk: Disk
  readonly #directory: string
  readonly #headers: SegmentHeader[] = []
  readonly #open: Lru<SegmentHeader, DiskFile>

  constructor(disk: Disk, directory: string) {
    this.#disk = disk
    this.#directory = directory
    this.#open = new Lru({ maxBytes: OPEN_FILES_MAX, onEvict: (_, file) => file.close() })
  }

  get headers(): readonly SegmentHeader[] {
    return this.#headers
  }

  get last(): SegmentHeader | undefined {
    return this.#headers.at(-1)
  }

  path(segment: number, part: number): string {
    return join(this.#directory, fileName(segment, part))
  }

  add(header: SegmentHeader): void {
    const last = this.last
    const isBehind = last === undefined || last.segment < header.segment ||
      (last.segment === header.segment && last.part < header.part && last.begin <= header.begin)
    assert(isBehind, 'journal: files are added in order')
    this.#headers.push(header)
  }

  /** The file that a position of a segment lies in; undefined when there is none. */
  find(segment: number, offset: number): SegmentHeader | undefined {
    let low = 0
    let high = this.#headers.length
    while (low < high) {
      const middle = (low + high) >>> 1
      const header = this.#headers[middle] as SegmentHeader
      const isBefore = header.segment < segment ||
        (header.segment === segment && header.begin <= offset)
      if (isBefore) low = middle + 1
      else high = middle
    }
    const found = this.#headers[low - 1]
    return found?.segment === segment ? found : undefined
  }

  /** For reading. Stays open for a while; not the caller's to close. */
  file(header: SegmentHeader): DiskFile {
    let file = this.#open.get(header)
    if (file === undefined) {
      file = this.#disk.open(this.path(header.segment, header.part), 'read')
      this.#open.set(header, file, 1)
    }
    return file
  }

  /**
   * Records of all files from the point on, up to `untilSequence`, where what is not in a file yet
   * begins. Throws 'damaged-journal' at the first that is not what it must be.
   */
  *scan(
    segment: number,
    from: Omit<ScanPoint, 'previousCrc'>,
    untilSequence: number,
  ): Generator<FileRecord & { segment: number }> {
    let point: ScanPoint = { ...from, previousCrc: undefined }
    const first = this.find(segment, from.offset)
    const begin = first === undefined ? this.#headers.length : this.#headers.indexOf(first)
    for (let i = begin; i < this.#headers.length && point.sequence < untilSequence; i++) {
      const header = this.#headers[i] as SegmentHeader
      if (i > begin) point = this.#enter(header, point)
      const until = Math.min(untilSequence, this.#headers[i + 1]?.firstSequence ?? untilSequence)
      const records = scanFile(this.file(header), header, point, until)
      let step = records.next()
      for (; step.done !== true; step = records.next()) {
        yield { ...step.value, segment: header.segment }
      }
      const end: ScanEnd = step.value
      if (end.stop !== 'reached') {
        throw damaged(header.segment, end.badOffset, 'records are missing or damaged')
      }
      point = end
    }
  }

  #enter(header: SegmentHeader, point: ScanPoint): ScanPoint {
    const isNext = header.firstSequence === point.sequence &&
      (point.previousCrc === undefined || header.previousCrc === point.previousCrc)
    if (!isNext) {
      throw damaged(header.segment, header.begin, 'the file does not follow the one before it')
    }
    return { offset: header.begin, sequence: point.sequence, previousCrc: header.previousCrc }
  }

  close(): void {
    for (const [, file] of this.#open.entries()) file.close()
    this.#open.clear()
  }
}
