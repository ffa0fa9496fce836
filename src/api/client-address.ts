// The address of a unix socket whose path may be too long for the kernel (107 bytes): then it is
// reached through a descriptor of its directory. Used by both ends of the control socket.

import { open } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { SOCKET_PATH_BYTES_MAX } from '../config/limits.ts'

/** Runs `use` with a path that fits; it is valid only until `use` has settled. */
export async function withSocketAddress<T>(
  socket: string,
  use: (path: string) => Promise<T>,
): Promise<T> {
  if (Buffer.byteLength(socket) <= SOCKET_PATH_BYTES_MAX) return use(socket)
  const directory = await open(dirname(socket), 'r')
  try {
    return await use(`/proc/self/fd/${directory.fd}/${basename(socket)}`)
  } finally {
    await directory.close()
  }
}
