// A vault that this device joins: its keys until it is stored, and storing it. Every step may be
// repeated after a crash: the device keys of an unfinished join lie in a file that only the code
// (or the phrase) opens, so that joining again by the same code is the same device, and the inviter
// gives it the same again.
//
//   joins/<16 hex digits>   record under the join key (net/pairing/secrets.ts, or KDF(entropy,
//                           'lattice/0/recovery-join')) of JSON {version: 0, signSeed, boxSeed,
//                           databaseKey, confirmed?}, each in hex; the name is the start of
//                           BLAKE2b-256 of the key; removed when the vault is stored
//   <state>/introducer      record under KDF(database key, 'lattice/0/local-invites'), associated
//                           data = vault id, of JSON {device, addresses}: whom to dial first
//
// Order of storing: key file, state directory without a genesis (it comes with the inviter's ops
// log), its format file, config.toml, and only then the inviter is told.

import { readFile, rmdir, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { addVault, loadConfig } from '../config/config-file.ts'
import type { VaultEntry } from '../config/config-schema.ts'
import { vaultDirectory } from '../config/paths.ts'
import type { Paths } from '../config/paths.ts'
import { ensurePrivateDirectory, replaceFile } from '../config/private-files.ts'
import { openRecord, sealRecord } from '../crypto/aead.ts'
import { blake2b } from '../crypto/hash.ts'
import { deriveKey } from '../crypto/kdf.ts'
import type { KeyRing } from '../crypto/key-ring.ts'
import { randomSecret } from '../crypto/random.ts'
import { secretFrom, takeSecret, wipe } from '../crypto/secret.ts'
import type { Secret } from '../crypto/secret.ts'
import type { VaultKeys } from '../crypto/vault-keys.ts'
import type { Address } from '../net/pairing/ports.ts'
import type { Welcome } from '../net/pairing/welcome.ts'
import { must } from '../util/assert.ts'
import { equalBytes, fromHex, toHex, utf8 } from '../util/bytes.ts'
import { LatticeError, errnoName, fromSystemError, isLatticeError } from '../util/errors.ts'
import { checkFormat, makeStateDirectory, markFormat } from './state-directory.ts'

const JOIN_AD = utf8('lattice/0/join')

/** The keys of a device that is no member of anything yet. */
export interface UnfinishedJoin {
  path: string
  joinKey: Secret
  signSeed: Secret
  boxSeed: Secret
  databaseKey: Secret
  /** Hex of the inviter whose digits were confirmed here. */
  confirmed: string | undefined
}

/** The one that was begun with this key, or a fresh one, which is durable when it resolves. */
export async function beginJoin(paths: Paths, joinKey: Uint8Array): Promise<UnfinishedJoin> {
  const name = toHex(blake2b(32, joinKey).subarray(0, 8))
  const path = join(paths.stateDirectory, 'joins', name)
  const known = await readUnfinished(path, joinKey)
  if (known !== undefined) return known
  await ensurePrivateDirectory(join(paths.stateDirectory, 'joins'))
  const fresh: UnfinishedJoin = {
    path, joinKey: secretFrom(joinKey), signSeed: randomSecret(), boxSeed: randomSecret(),
    databaseKey: randomSecret(), confirmed: undefined,
  }
  await saveUnfinished(fresh)
  return fresh
}

export async function saveUnfinished(unfinished: UnfinishedJoin): Promise<void> {
  const { path, joinKey, signSeed, boxSeed, databaseKey, confirmed } = unfinished
  const plain = utf8(JSON.stringify({
    version: 0, signSeed: toHex(signSeed), boxSeed: toHex(boxSeed),
    databaseKey: toHex(databaseKey), confirmed,
  }))
  await replaceFile(path, sealRecord(joinKey, JOIN_AD, plain))
  wipe(plain)
}

export function wipeUnfinished(unfinished: UnfinishedJoin): void {
  const { joinKey, signSeed, boxSeed, databaseKey } = unfinished
  for (const secret of [joinKey, signSeed, boxSeed, databaseKey]) wipe(secret)
}

export interface StoreOptions {
  paths: Paths
  ring: KeyRing
  saveKeys: () => Promise<void>
  unfinished: UnfinishedJoin
  directory: string
  name: string
  /** Whom to dial first. */
  introducer: { device: Uint8Array; addresses: readonly Address[] }
  /** Of a recovery. */
  entropy?: Uint8Array
}

/**
 * Owns the secrets in `welcome`. Throws 'exists' when another device of this vault is here, or
 * another vault at the directory.
 */
export async function storeJoined(welcome: Welcome, options: StoreOptions): Promise<VaultEntry> {
  const { paths, ring, saveKeys, unfinished, directory, name } = options
  const id = toHex(welcome.vaultId)
  const known = ring.find(welcome.vaultId)
  if (known !== undefined && !equalBytes(known.signSeed, unfinished.signSeed)) {
    throw new LatticeError('exists', 'this LATTICE_HOME is a device of that vault already', {
      hint: 'lattice status lists the vaults',
    })
  }
  const keys = keysOf(welcome, unfinished, options.entropy)
  ring.put(keys)
  await saveKeys()
  await makeState(paths, id, keys, options.introducer)
  const entry = { name, path: directory, id }
  const { vaults } = await loadConfig(paths)
  const recorded = vaults.find((vault) => vault.id === id)
  if (recorded === undefined) await addVault(paths, entry)
  await unlink(unfinished.path).catch(() => undefined) // it opens by the code only
  return recorded ?? entry
}

/** The device that let this one in. */
export interface Introducer {
  device: Uint8Array
  addresses: Address[]
}

/** Whom this device joined by; undefined for the vault's first one, and when it is damaged. */
export async function readIntroducer(
  stateDirectory: string, keys: VaultKeys,
): Promise<Introducer | undefined> {
  const key = deriveKey(keys.databaseKey, 'lattice/0/local-invites')
  try {
    const plain = openRecord(key, keys.vaultId, await readFile(join(stateDirectory, 'introducer')))
    const value = JSON.parse(plain.toString('utf8')) as { device: string; addresses: Address[] }
    return { device: must(fromHex(value.device), 'a key in hex'), addresses: value.addresses }
  } catch (error) {
    if (errnoName(error) === 'ENOENT' || isLatticeError(error)) return undefined
    throw error
  } finally {
    wipe(key)
  }
}

function keysOf(
  welcome: Welcome, unfinished: UnfinishedJoin, entropy: Uint8Array | undefined,
): VaultKeys {
  const { vaultId, name, idKey, cutKey, recoveryBoxKey, recoverySignKey, epochs } = welcome
  return {
    vaultId, name, idKey, cutKey, recoveryBoxKey, recoverySignKey, epochs,
    signSeed: secretFrom(unfinished.signSeed),
    boxSeed: secretFrom(unfinished.boxSeed),
    databaseKey: secretFrom(unfinished.databaseKey),
    recoveryEntropy: entropy === undefined ? undefined : secretFrom(entropy),
  }
}

async function makeState(
  paths: Paths, id: string, keys: VaultKeys, introducer: StoreOptions['introducer'],
): Promise<void> {
  const path = vaultDirectory(paths, id)
  try {
    await checkFormat(path, id)
    return // stored before, but the inviter was not told
  } catch (error) {
    if (!isLatticeError(error, 'vault-not-found')) throw error
  }
  await removeEmpty(path)
  await makeStateDirectory(path)
  const key = deriveKey(keys.databaseKey, 'lattice/0/local-invites')
  const { device, addresses } = introducer
  const plain = utf8(JSON.stringify({ device: toHex(device), addresses }))
  await replaceFile(join(path, 'introducer'), sealRecord(key, keys.vaultId, plain))
  wipe(key)
  await markFormat(path, id)
}

/** What a join left that did not come to its format file; anything with content stays. */
async function removeEmpty(path: string): Promise<void> {
  await unlink(join(path, 'introducer')).catch(() => undefined)
  for (const part of [join(path, 'journal'), join(path, 'packs'), path]) {
    try {
      await rmdir(part)
    } catch (error) {
      if (errnoName(error) !== 'ENOENT') throw fromSystemError(error, `${part} is in the way`)
    }
  }
}

async function readUnfinished(
  path: string, joinKey: Uint8Array,
): Promise<UnfinishedJoin | undefined> {
  let sealed: Uint8Array
  try {
    sealed = await readFile(path)
  } catch (error) {
    if (errnoName(error) === 'ENOENT') return undefined
    throw fromSystemError(error, 'the unfinished join cannot be read')
  }
  const plain = openRecord(joinKey, JOIN_AD, sealed)
  const value = JSON.parse(plain.toString('utf8')) as Record<string, string | undefined>
  wipe(plain)
  const secret = (name: string): Secret => (
    takeSecret(must(fromHex(value[name] ?? ''), 'a key in hex'))
  )
  return {
    path, joinKey: secretFrom(joinKey), signSeed: secret('signSeed'), boxSeed: secret('boxSeed'),
    databaseKey: secret('databaseKey'), confirmed: value['confirmed'],
  }
}
