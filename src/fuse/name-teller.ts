// NameTeller: tells the native session entries of a directory ahead of their LOOKUP. Who asks for a
// second name of a directory mostly goes on to others: each of those would cost two changes of
// thread and a turn of JavaScript, while decoding many entries in one go costs a tenth of that.
//
// Small directories are told whole, and then missing names are known, too. Of large ones a window
// behind the name that was asked for is told, since programs often ask in the order in which names
// were made. Telling what nobody asks for is bounded: after a directory was told, as many questions
// must come as cost the same, until it is told again. Used by FuseSession alone, on the
// engine's thread: what is told must be what the tree says in this turn.

import type { Session } from '../../native/session.d.ts'
import type { FileSystem } from '../fs/file-system.ts'
import { MODE_TYPE } from '../fs/types.ts'
import type { Ino } from '../fs/types.ts'
import { ReplyWriter } from './reply-writer.ts'
import type { RequestReader } from './request-reader.ts'

const WHOLE_MAX = 512
const WINDOW = 256
/** An asked name so close behind the last window goes on with it. */
const GAP_MAX = 32
const QUESTIONS_MIN = 2
/** As many entries are told in the time of one question. */
const ENTRIES_PER_QUESTION = 8
const DIRECTORIES_MAX = 4096
const DT_SHIFT = 12

interface Directory {
  /** Since it was told last, and how many make it be told again. */
  questions: number
  needed: number
  /** The last cookie of the last window. */
  windowEnd: number
}

interface Due {
  ino: Ino
  name: string
  directory: Directory
}

export class NameTeller {
  readonly #fs: FileSystem
  readonly #native: Pick<Session, 'tell'>
  readonly #writer: ReplyWriter
  readonly #directories = new Map<number, Directory>()
  #due: Due[] = []
  /** Inos whose names the kernel must not remember at present; 0: that a name is not there. */
  isYoung: (ino: number) => boolean = () => false

  constructor(fs: FileSystem, native: Pick<Session, 'tell'>, lifetimeSec: number) {
    this.#fs = fs
    this.#native = native
    this.#writer = new ReplyWriter(lifetimeSec)
  }

  /** A LOOKUP that JavaScript has to answer; the request's cursor stands on its name. */
  asked(ino: number, request: RequestReader): void {
    let directory = this.#directories.get(ino)
    if (directory === undefined) {
      if (this.#directories.size >= DIRECTORIES_MAX) this.#directories.clear()
      directory = { questions: 0, needed: QUESTIONS_MIN, windowEnd: 0 }
      this.#directories.set(ino, directory)
    }
    if (++directory.questions < directory.needed) return
    directory.questions = 0
    this.#due.push({ ino: ino as Ino, name: request.peekCstring(), directory })
  }

  /** Tells what is due: after the replies have gone, so that nobody waits for it. Errors are left
   *  to whoever asks for the entries. */
  tell(): void {
    if (this.#due.length === 0) return
    const due = this.#due
    this.#due = []
    for (const { ino, name, directory } of due) {
      try {
        if (this.#fs.entryCount(ino) <= WHOLE_MAX) this.#tellWhole(ino, directory)
        else this.#tellWindow(ino, name, directory)
      } catch {
        directory.needed = WHOLE_MAX
      }
    }
  }

  #tellWhole(ino: Ino, directory: Directory): void {
    const items = this.#fs.ahead(ino, 0, WHOLE_MAX + 1)
    directory.needed = Math.max(QUESTIONS_MIN, items.length / ENTRIES_PER_QUESTION)
    this.#tell(ino, items, items.length <= WHOLE_MAX && !this.isYoung(0))
  }

  #tellWindow(ino: Ino, name: string, directory: Directory): void {
    const cookie = this.#fs.cookieOf(ino, name)
    const { windowEnd } = directory
    const isNext = cookie > windowEnd && cookie <= windowEnd + GAP_MAX
    const goesOn = windowEnd === 0 || isNext
    directory.needed = goesOn ? 1 : WINDOW / ENTRIES_PER_QUESTION
    if (cookie === 0) return
    const items = this.#fs.ahead(ino, cookie, WINDOW)
    directory.windowEnd = items[items.length - 1]?.item.cookie ?? cookie
    this.#tell(ino, items, false)
  }

  #tell(directory: Ino, items: ReturnType<FileSystem['ahead']>, isWhole: boolean): void {
    const writer = this.#writer
    writer.clear()
    writer.begin(0, 0)
    for (const { item, entry: told } of items) {
      const entry = this.isYoung(item.ino) ? undefined : told
      const type = entry === undefined ? 0 : (entry.attr.mode & MODE_TYPE) >> DT_SHIFT
      writer.dirent(Infinity, entry, true, item.ino, item.cookie, type, item.name)
    }
    writer.end()
    this.#native.tell(directory, writer.payload(), isWhole)
  }
}
