/**
 * Ways to keep directories in LMDB, behind one interface, filled and read by `stat.ts`.
 * All of them also write node id → ino, and one record by ino (content; attributes where they are
 * not in the dirent), so that every create is a whole create.
 *
 *   inode        name (parent ‖ hash) → ino       dirent (parent ‖ cookie) → name, ino
 *   embed        name (parent ‖ hash) → cookie    dirent (parent ‖ cookie) → name, ino, attributes
 *   scan         as embed; the first lookup in a directory loads all of it
 *   hash         dirent (parent ‖ hash) → name, ino, attributes  cookie (parent ‖ cookie) → hash
 *   htree        dirent (parent ‖ hash) → name, ino, attributes  (the hash is the cookie)
 *   htree-inode  dirent (parent ‖ hash) → name, ino              (the hash is the cookie)
 *
 * hash = 16 bytes of keyed BLAKE2b; hashes, cookies and inos stand in clear where they are keys or
 * an index's only value (they betray nothing), everything else is sealed.
 */
import { open, type Database, type RootDatabase } from 'lmdb';
import {
  ATTRIBUTES_BYTES, attributesOf, decodeAttributes, encodeAttributes, Sealer, sodium, writeU64,
  type Attributes,
} from './records.ts';

interface Layout {
  /** What a dirent's key ends in, after the parent. */
  key: 'cookie' | 'hash';
  index: 'name' | 'cookie' | 'none';
  attributesIn: 'dirent' | 'inode';
}

export const LAYOUTS = {
  'inode': { key: 'cookie', index: 'name', attributesIn: 'inode' },
  'embed': { key: 'cookie', index: 'name', attributesIn: 'dirent' },
  'scan': { key: 'cookie', index: 'name', attributesIn: 'dirent' },
  'hash': { key: 'hash', index: 'cookie', attributesIn: 'dirent' },
  'htree': { key: 'hash', index: 'none', attributesIn: 'dirent' },
  'htree-inode': { key: 'hash', index: 'none', attributesIn: 'inode' },
} as const satisfies Record<string, Layout>;

export type LayoutName = keyof typeof LAYOUTS;

export interface Entry {
  name: string;
  attributes: Attributes;
}

const TABLE = { dirent: 1, inode: 2 } as const;
const MASTER = Buffer.alloc(32, 7);
const NAME_KEY = Buffer.alloc(32, 9);
const BINARY = { keyEncoding: 'binary', encoding: 'binary' } as const;
const CONTENT = Buffer.alloc(60, 3);

/** A dirent's plaintext: ino 6, spare 2, attributes (or not), name. */
const DIRENT_HEAD_BYTES = 8;

type Table = Database<Buffer, Buffer>;

export class Directories {
  readonly root: RootDatabase<Buffer, Buffer>;
  readonly tables: Table[];
  readonly #layout: Layout;
  readonly #scan: boolean;
  readonly #nameAt: number;
  readonly #sealer = new Sealer(MASTER);
  readonly #index: Table;
  readonly #dirent: Table;
  readonly #inode: Table;
  readonly #node: Table;
  readonly #hashKey = Buffer.alloc(24);
  readonly #hash = this.#hashKey.subarray(8);
  readonly #cookieKey = Buffer.alloc(16);
  readonly #inoKey = Buffer.alloc(8);
  readonly #direntKey: Buffer;
  readonly #scratch = Buffer.alloc(512);
  readonly #loaded = new Map<number, Map<string, Attributes>>();

  constructor(path: string, name: LayoutName) {
    this.#layout = LAYOUTS[name];
    this.#scan = name === 'scan';
    this.#direntKey = this.#layout.key === 'hash' ? this.#hashKey : this.#cookieKey;
    this.#nameAt = DIRENT_HEAD_BYTES
      + (this.#layout.attributesIn === 'dirent' ? ATTRIBUTES_BYTES : 0);
    this.root = open<Buffer, Buffer>({ path, ...BINARY, maxDbs: 8 });
    this.#index = this.root.openDB({ name: 'index', ...BINARY });
    this.#dirent = this.root.openDB({ name: 'dirent', ...BINARY });
    this.#inode = this.root.openDB({ name: 'inode', ...BINARY });
    this.#node = this.root.openDB({ name: 'node', ...BINARY });
    this.tables = [this.#index, this.#dirent, this.#inode, this.#node];
  }

  /** Adds one entry; call inside `transactionSync`. */
  create(parent: number, name: string, ino: number): void {
    const attributes = attributesOf(ino);
    this.#setKeys(parent, name, ino);
    const scratch = this.#scratch;

    const inDirent = this.#layout.attributesIn === 'dirent';
    if (!inDirent) encodeAttributes(scratch, 0, attributes);
    CONTENT.copy(scratch, inDirent ? 0 : ATTRIBUTES_BYTES);
    const inode = scratch.subarray(0, CONTENT.length + (inDirent ? 0 : ATTRIBUTES_BYTES));
    this.#inode.putSync(this.#inoKey, this.#sealer.seal(TABLE.inode, this.#inoKey, inode));

    scratch.writeUIntLE(ino, 0, 6);
    if (inDirent) encodeAttributes(scratch, DIRENT_HEAD_BYTES, attributes);
    const end = this.#nameAt + scratch.write(name, this.#nameAt, 'utf8');
    const key = this.#direntKey;
    this.#dirent.putSync(key, this.#sealer.seal(TABLE.dirent, key, scratch.subarray(0, end)));

    const value = Buffer.from(this.#inoKey);
    if (this.#layout.index === 'name') this.#index.putSync(this.#hashKey, value);
    if (this.#layout.index === 'cookie') {
      this.#index.putSync(this.#cookieKey, Buffer.from(this.#hash));
    }
    this.#node.putSync(attributes.node, value);
  }

  /** Attributes of one name: what a cold LOOKUP needs. */
  lookup(parent: number, name: string): Attributes | undefined {
    if (this.#scan) return this.#load(parent).get(name);
    this.#setKeys(parent, name, 0);
    if (this.#layout.index === 'name') {
      // cookie and ino are the same number here. Buffer#copy throws on getBinaryFast's buffer,
      // whose `length` is not its `byteLength`
      const found = this.#index.getBinaryFast(this.#hashKey)?.subarray(0, 8);
      if (!found) return undefined;
      found.copy(this.#inoKey);
      if (this.#layout.attributesIn === 'inode') return this.#inodeAttributes();
      found.copy(this.#cookieKey, 8);
    }
    const sealed = this.#dirent.getBinaryFast(this.#direntKey);
    if (!sealed) return undefined;
    return this.#attributesFrom(this.#sealer.open(TABLE.dirent, this.#direntKey, sealed));
  }

  /** All entries of a directory in cookie order, with attributes: READDIRPLUS. */
  list(parent: number): Entry[] {
    const begin = Buffer.alloc(16);
    const end = Buffer.alloc(16);
    writeU64(begin, 0, parent);
    writeU64(end, 0, parent + 1);
    const entries: Entry[] = [];
    if (this.#layout.index === 'cookie') {
      writeU64(this.#hashKey, 0, parent);
      for (const { value } of this.#index.getRange({ start: begin, end })) {
        value.copy(this.#hash);
        entries.push(this.#openEntry(this.#hashKey, this.#dirent.getBinaryFast(this.#hashKey)));
      }
      return entries;
    }
    for (const { key, value } of this.#dirent.getRange({ start: begin, end })) {
      entries.push(this.#openEntry(key, value));
    }
    return entries;
  }

  async close(): Promise<void> {
    await this.root.close();
  }

  #setKeys(parent: number, name: string, ino: number): void {
    writeU64(this.#hashKey, 0, parent);
    sodium.crypto_generichash(this.#hash, Buffer.from(name), NAME_KEY);
    writeU64(this.#cookieKey, 0, parent);
    writeU64(this.#cookieKey, 8, ino);
    writeU64(this.#inoKey, 0, ino);
  }

  #inodeAttributes(): Attributes | undefined {
    const sealed = this.#inode.getBinaryFast(this.#inoKey);
    if (!sealed) return undefined;
    return decodeAttributes(this.#sealer.open(TABLE.inode, this.#inoKey, sealed), 0);
  }

  #attributesFrom(dirent: Buffer): Attributes | undefined {
    if (this.#layout.attributesIn === 'dirent') return decodeAttributes(dirent, DIRENT_HEAD_BYTES);
    writeU64(this.#inoKey, 0, dirent.readUIntLE(0, 6));
    return this.#inodeAttributes();
  }

  #openEntry(key: Buffer, sealed: Buffer | undefined): Entry {
    if (!sealed) throw new Error('index names a missing entry');
    const plain = this.#sealer.open(TABLE.dirent, key, sealed);
    const name = plain.toString('utf8', this.#nameAt);
    const attributes = this.#attributesFrom(plain);
    if (!attributes) throw new Error('dirent names a missing inode');
    return { name, attributes };
  }

  #load(parent: number): Map<string, Attributes> {
    let directory = this.#loaded.get(parent);
    if (!directory) {
      directory = new Map(this.list(parent).map((entry) => [entry.name, entry.attributes]));
      this.#loaded.set(parent, directory);
    }
    return directory;
  }
}
