// How V8 is to compile the daemon. A mount is mostly used right after it was made, when nothing is
// compiled yet: baseline code at the first call, instead of the interpreter, takes a fifth of the
// CPU off the first ten thousand requests. What is hot is optimised later as always. To be called
// before the engine's functions run first.

import { setFlagsFromString } from 'node:v8'

export function compileEarly(): void {
  setFlagsFromString('--always-sparkplug')
}
