// Blocks that two processes agree about.

export function blockAt(seq: number): Buffer {
  const block = Buffer.alloc(40 + (seq * 31) % 400, `block ${seq} `)
  block.writeUInt32BE(seq, 0)
  return block
}
