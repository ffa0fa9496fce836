// The replicated operations: plain data, no behaviour. What the codec writes and the fold reads.
//
// Ids and names are *latin1 strings*: one character per byte, so that they are exact, cheap as Map
// keys, and compare bytewise with < and >. `Buffer.from(id, 'latin1')` gives the bytes.

export type NodeId = string & { readonly __node: true } // 16 bytes; the first byte tells the kind
/** 16 bytes; a node's first link has the node's id. */
export type LinkId = string & { readonly __link: true }
/** 32 bytes: the Ed25519 public key of a device. */
export type AuthorId = string & { readonly __author: true }
export type ChunkId = string & { readonly __chunk: true } // 32 bytes: keyed BLAKE3-256
/** 32 bytes: BLAKE3-256 of a sealed bundle. */
export type BundleId = string & { readonly __bundle: true }
/** A directory entry's name: 1 to 255 bytes, never '.', '..', with '/' or NUL. */
export type Name = string & { readonly __name: true }

export const KIND_DIRECTORY = 1
export const KIND_FILE = 2
export const KIND_SYMLINK = 3
export const KIND_FIFO = 4
export const KIND_SOCKET = 5
export const KIND_CHAR_DEVICE = 6
export const KIND_BLOCK_DEVICE = 7
export type NodeKind = 1 | 2 | 3 | 4 | 5 | 6 | 7

/**
 * Names one op: (author, sequence of the batch, index in the batch), with the effective time that
 * orders it. An op that is not in a batch yet is *provisional*: `seq` is -1, it is greater than
 * every placed op, and `order` decides among its like. Placing it fills the fields in; the object
 * stays the same, so that whoever refers to it sees the final id. Author, sequence and index name
 * the op; the time in a ref that came in a batch is its author's claim: match refs with sameRef
 * (order.ts).
 */
export interface OpRef {
  ms: number // effective time, 48-bit milliseconds
  counter: number // and its 16-bit counter
  author: AuthorId
  seq: number // -1 while provisional
  index: number
  order: number // local, only for provisional ones
}

/** One stretch of a file's content. `length` bytes from `begin` of the chunk; a hole has no chunk.
 * */
export interface ChunkRef {
  chunk: ChunkId
  chunkBytes: number // plain size of the whole chunk
  begin: number
  length: number
}

export type Content =
  | { kind: 'inline'; bytes: Uint8Array } // <= 1 KiB
  | { kind: 'refs'; chunker: number; refs: (ChunkRef | { hole: number })[] } // <= 16
  | { kind: 'tree'; chunker: number; root: ChunkRef; depth: number } // depth <= 8

/** Keys of replicated attributes. Each is last-writer-wins on its own. */
export const ATTR_KEY_MODE = 1 // permission bits, 12 bits
export const ATTR_KEY_OWNER = 2 // uid and gid; absent = whoever mounts
export const ATTR_KEY_MTIME = 3 // explicit time: seconds and nanoseconds
export const ATTR_KEY_XATTR = 4 // with a name; value undefined = removed
export const ATTR_KEY_TARGET = 5 // of a symlink
export const ATTR_KEY_RDEV = 6

export type AttrChange =
  | { key: 1; mode: number }
  | { key: 2; uid: number; gid: number } // -1 = whoever mounts
  | { key: 3; sec: number; nsec: number }
  | { key: 4; name: string; value: Uint8Array | undefined }
  | { key: 5; target: string } // latin1 string of bytes, <= 4095
  | { key: 6; rdev: number }

/** `prev` = the heads of the node (or link) that its caller saw and that this op supersedes. */
export type Op =
  | {
      kind: 'mk'
      /**
       * Drawn at the call: the author's mint counter, from 1. The id is a hash of author and mint.
       * 0: the id is derived from the put op `source`, and the node is a file: whoever makes a
       * file of that conflict copy makes the same one.
       */
      mint: number
      source?: OpRef // exactly when mint is 0
      node: NodeId
      nodeKind: NodeKind
      parent: NodeId
      name: Name
      attrs: AttrChange[]
    }
  | { kind: 'link'; mint: number; link: LinkId; node: NodeId; parent: NodeId; name: Name }
  | { kind: 'mv'; link: LinkId; parent: NodeId; name: Name; prev: OpRef[] }
  | {
      kind: 'put'
      node: NodeId
      base: OpRef[] // content heads that it replaces
      sizeBytes: number
      mtimeSec: number
      mtimeNsec: number
      content: Content
    }
  | { kind: 'rm'; link: LinkId; prev: OpRef[]; contentHeads: OpRef[] }
  | { kind: 'attr'; node: NodeId; change: AttrChange; prev: OpRef[] }
  | { kind: 'tag'; node: NodeId; add: string[]; removeAdds: OpRef[] }
  /** Announces a bundle of the author's, and chunks in it: more than one op if there are many. */
  | {
      kind: 'bundle'
      /** Its place in the author's content log. */
      number: number
      id: BundleId
      sealedBytes: number
      chunks: ChunkId[]
    }
  | { kind: 'note'; node: NodeId; text: string }
  | { kind: 'ack'; heads: { author: AuthorId; length: number; treeHash: Uint8Array }[] }
  /** genesis, add, … (vault/); never beside others in a batch. */
  | { kind: 'control'; control: number; critical: boolean; body: Uint8Array }
  | { kind: 'unknown'; opKind: number; critical: boolean; body: Uint8Array }

/** What a batch block says once opened. */
export interface Batch {
  ms: number // claimed hybrid logical clock
  counter: number
  deps: { author: AuthorId; length: number; treeHash: Uint8Array }[]
  ops: Op[]
}
