// How V8 is to run the daemon. To be called before the engine's functions run first, and before
// other threads are started.
//
// A mount is mostly used right after it was made, when nothing is compiled yet: baseline code at
// the first call, instead of the interpreter, takes a fifth of the CPU off the first ten thousand
// requests. What is hot is optimised later as always.
//
// The heaps of threads that move content are small, but for the buffers beside them, and V8 marks
// such a heap each time that it grew by a few megabytes, buffers included. Threads get more room
// before that; the heap of this thread, which was made before, does not.

import { setFlagsFromString } from 'node:v8'

/** Of each thread's heap, before it is marked for the first time. */
const THREAD_HEAP_MIB = 64

export function tuneEngine(): void {
  setFlagsFromString('--always-sparkplug')
  setFlagsFromString(`--initial-old-space-size=${THREAD_HEAP_MIB}`)
}
