// The slices of hypercore, hypercore-storage, corestore and hypercore-crypto that lattice uses; the
// packages ship no types. Below `core` is what hypercore 11.37.1 does not document: the pin is
// exact, and test/logs/ breaks when a bump changes it.

declare module 'hypercore' {
  import type HypercoreStorage from 'hypercore-storage'
  import type { StorageSession, TreeNode } from 'hypercore-storage'

  namespace Hypercore {
    interface Manifest {
      version: 1
      signers: { signature: 'ed25519'; namespace: Buffer; publicKey: Buffer }[]
    }

    interface KeyPair {
      publicKey: Uint8Array
      secretKey: Uint8Array
    }

    interface Upgrade {
      start: number
      length: number
      nodes: TreeNode[]
    }

    interface Proof {
      fork: number
      upgrade: Upgrade | null
      block: { index: number; value: Uint8Array | null } | null
      manifest: unknown
    }

    /** A tree that is about to be committed. */
    interface TreeBatch {
      fork: number
      length: number
      byteLength: number
      roots: TreeNode[]
      signature: Uint8Array | null
      hash(): Buffer
    }

    interface Head {
      fork: number
      length: number
      rootHash: Uint8Array
      signature: Uint8Array
      timestamp: number
    }

    interface SessionState {
      readonly storage: StorageSession
      readonly mutex: { lock(): Promise<void> }
      fork: number
      length: number
      byteLength: number
      roots: TreeNode[]
      signature: Uint8Array | null
      hash(): Buffer
      createTreeBatch(): TreeBatch
      truncate(length: number, fork: number, options: object): Promise<void>
      onappend(
        head: Head, bits: { drop: boolean; start: number; length: number }, flushed: boolean,
      ): void
      _unlock(): void
    }

    interface Muxer {
      readonly stream: NoiseStream
    }

    interface Peer {
      readonly protomux: Muxer
      readonly channel: { close(): void }
      readonly removed: boolean
      /** Nothing is asked of it. */
      paused: boolean
    }

    interface Core {
      readonly state: SessionState
      readonly header: { hints: { contiguousLength: number; remoteContiguousLength: number } }
      readonly verifier: { verify(batch: TreeBatch, signature: Uint8Array): boolean } | null
      readonly replicator: {
        readonly peers: readonly Peer[]
        attached(mux: Muxer): boolean
        attachTo(mux: Muxer): void
        detachFrom(mux: Muxer): void
        updateAll(): void
      }
      readonly _repairMode: boolean
      hintsChanged: boolean
      /** Asked under the lock before another tree is committed; what it throws rejects the tree. */
      preupdate: ((batch: TreeBatch, key: Buffer) => Promise<void>) | null
      /** A peer answers for a fork with a proof; true: the peer stays paused. */
      checkConflict(proof: Proof, from: unknown): Promise<boolean>
      flushHints(): Promise<void>
    }

    interface NoiseStream {
      userData: unknown
      readonly destroyed: boolean
      once(event: 'close', listener: () => void): unknown
    }
  }

  class Hypercore {
    constructor(storage: string | HypercoreStorage, key?: null, options?: object)
    static key(manifest: Hypercore.Manifest): Buffer
    static discoveryKey(key: Uint8Array): Buffer
    static createProtocolStream(stream: Hypercore.NoiseStream, options?: object): unknown
    readonly core: Hypercore.Core
    readonly key: Buffer
    readonly discoveryKey: Buffer
    readonly length: number
    readonly contiguousLength: number
    ready(): Promise<void>
    close(): Promise<void>
    get(index: number, options?: { wait?: boolean; timeout?: number }): Promise<Buffer | null>
    append(
      blocks: readonly Uint8Array[],
      options: { keyPair: Hypercore.KeyPair; maxLength: number },
    ): Promise<{ length: number }>
    download(range: { start: number; end: number; linear: boolean }): { destroy(): void }
    treeHash(length?: number): Promise<Buffer>
    verifyFullyRemote(proof: Hypercore.Proof): Promise<Hypercore.TreeBatch>
    on(event: string, listener: (...details: unknown[]) => void): this
  }

  export default Hypercore
}

declare module 'hypercore-storage' {
  export interface TreeNode {
    index: number
    size: number
    hash: Uint8Array
  }

  export interface StorageReader {
    getTreeNode(index: number): Promise<TreeNode | null>
    getBlock(index: number): Promise<Buffer | null>
    getBitfieldPage(page: number): Promise<Buffer | null>
    tryFlush(): void
  }

  export interface StorageWriter {
    putTreeNode(node: TreeNode): void
    putBlock(index: number, block: Uint8Array): void
    deleteBlock(index: number): void
    putBitfieldPage(page: number, bits: Uint8Array): void
    setHead(head: import('hypercore').default.Head): void
    setHints(hints: { contiguousLength: number; remoteContiguousLength: number }): void
    flush(): Promise<boolean>
  }

  export interface StorageSession {
    read(): StorageReader
    write(): StorageWriter
  }

  class HypercoreStorage {
    constructor(directory: string, options?: { writeBufferSize?: number })
    ready(): Promise<void>
    close(): Promise<void>
    /** Tree nodes by place and fork number, of all cores. */
    readonly treeCache: { clear(): void }
    createDiscoveryKeyStream(): AsyncIterable<Buffer>
    getAuth(discoveryKey: Buffer): Promise<{ manifest: unknown } | null>
  }

  export default HypercoreStorage
}

declare module 'corestore' {
  import type Hypercore from 'hypercore'
  import type HypercoreStorage from 'hypercore-storage'

  class Corestore {
    constructor(storage: HypercoreStorage)
    readonly storage: HypercoreStorage
    ready(): Promise<void>
    close(): Promise<void>
    get(options: { manifest: Hypercore.Manifest; allowFork: boolean }): Hypercore
  }

  export default Corestore
}

declare module 'hypercore-crypto' {
  import type { TreeNode } from 'hypercore-storage'

  const crypto: {
    data(block: Uint8Array): Buffer
    parent(a: TreeNode, b: TreeNode): Buffer
    tree(roots: readonly TreeNode[]): Buffer
  }

  export default crypto
}
