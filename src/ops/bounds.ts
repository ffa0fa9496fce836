/**
 * Every bound of what an op batch may contain. They belong to the rules version: a device that
 * accepted more, or less, than the others would come to another state.
 */

/** Numbers the set of rules (bounds, fold, view, derived ids) that this code follows. */
export const RULES_VERSION = 0

export const ID_BYTES = 16
export const AUTHOR_BYTES = 32
export const CHUNK_ID_BYTES = 32
export const TREE_HASH_BYTES = 32
export const EPOCH_ID_BYTES = 8

export const TIME_MAX_MS = 2 ** 47 // a later claim is void
export const COUNTER_MAX = 0xffff

/** The sealed block; the plaintext is smaller by ENVELOPE_OVERHEAD_BYTES (envelope.ts). */
export const BATCH_MAX_BYTES = 256 * 1024
export const BATCH_OPS_MAX = 4096
export const BATCH_DEPS_MAX = 4096
export const BATCH_AUTHORS_MAX = 4096

export const NAME_MAX_BYTES = 255
export const TARGET_MAX_BYTES = 4095
export const XATTR_NAME_MAX_BYTES = 255
export const XATTR_VALUE_MAX_BYTES = 64 * 1024
/** All xattrs of a node, names and values: a whole node must fit into a batch (fs/ enforces). */
export const XATTRS_TOTAL_MAX_BYTES = 128 * 1024
export const XATTRS_PER_NODE_MAX = 512
export const ATTRS_PER_OP_MAX = 1024
export const MODE_MAX = 0o7777
export const OWNER_MAX = 0xfffffffe
export const NSEC_MAX = 999_999_999

/** Heads that one op supersedes. */
export const REFS_PER_OP_MAX = 1024
export const INLINE_MAX_BYTES = 1024
export const CONTENT_REFS_MAX = 16
export const TREE_DEPTH_MAX = 8
export const CHUNK_MAX_BYTES = 1024 * 1024
export const BUNDLE_CHUNKS_MAX = 4096
export const BUNDLE_ID_BYTES = 32
export const BUNDLE_SEALED_MAX_BYTES = 1024 * 1024
export const TAGS_PER_OP_MAX = 64
export const TAG_MAX_BYTES = 255
export const NOTE_MAX_BYTES = 4096
export const ACK_HEADS_MAX = 4096
