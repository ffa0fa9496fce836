// Paths, config.toml and the table of exit codes: what is accepted, what is refused and why.

import { lchownSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync } from 'node:fs'
import { writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { addVault, loadConfig, newVaultName } from '../../src/config/config-file.ts'
import { parseConfig } from '../../src/config/config-schema.ts'
import { EXIT_CODES, exitCodeOf } from '../../src/config/exit-codes.ts'
import { callerDirectory, resolvePaths, vaultDirectory } from '../../src/config/paths.ts'
import { ensurePrivateDirectory } from '../../src/config/private-files.ts'
import type { ErrorCode } from '../../src/util/errors.ts'

const ID_A = 'a'.repeat(32)
const ID_B = '0123456789abcdef'.repeat(2)

function temporary(test: { teardown(task: () => void): void }): string {
  const path = mkdtempSync(join(tmpdir(), 'cfg-'))
  test.teardown(() => rmSync(path, { recursive: true, force: true }))
  return path
}

t.test('LATTICE_HOME moves everything', (t) => {
  const paths = resolvePaths({ LATTICE_HOME: '/a/b', XDG_CONFIG_HOME: '/x', HOME: '/home/u' })
  t.equal(paths.configFile, '/a/b/config.toml')
  t.equal(paths.keyFile, '/a/b/keys')
  t.equal(paths.stateDirectory, '/a/b/state')
  t.equal(paths.socket, '/a/b/lattice.sock')
  t.equal(vaultDirectory(paths, ID_B), '/a/b/state/vaults/0123456789abcdef')
  t.end()
})

t.test('otherwise the XDG directories, ignoring relative ones', (t) => {
  const paths = resolvePaths({ HOME: '/home/u', XDG_STATE_HOME: '/s', XDG_RUNTIME_DIR: '/run/u/7' })
  t.equal(paths.configFile, '/home/u/.config/lattice/config.toml')
  t.equal(paths.stateDirectory, '/s/lattice')
  t.equal(paths.socket, '/run/u/7/lattice/lattice.sock')
  const bare = resolvePaths({ HOME: '/home/u', XDG_CONFIG_HOME: 'relative' })
  t.equal(bare.configFile, '/home/u/.config/lattice/config.toml')
  t.equal(bare.socket, '/home/u/.local/state/lattice/run/lattice.sock')
  t.end()
})

t.test('relative paths count from INIT_CWD only under npm start', (t) => {
  t.equal(callerDirectory({ INIT_CWD: '/from', npm_lifecycle_event: 'start' }), '/from')
  t.equal(callerDirectory({ INIT_CWD: '/from', npm_lifecycle_event: 'test' }), process.cwd())
  t.equal(callerDirectory({ INIT_CWD: '/from' }), process.cwd())
  t.equal(callerDirectory({ npm_lifecycle_event: 'start' }), process.cwd())
  t.end()
})

t.test('config.toml: values, defaults, warnings', (t) => {
  const config = parseConfig(`version = 1
[daemon]
log_level = "debug"
colour = "blue"
[memory]
dirty_mib = 64
[vault."My Vault"]
path = "/home/u/My Vault"
id = "${ID_A}"
cache_mib = 256
icon = "x"
`)
  t.equal(config.logLevel, 'debug')
  t.equal(config.dirtyBytesMax, 64 * 2 ** 20)
  t.same(config.vaults, [
    { name: 'My Vault', path: '/home/u/My Vault', id: ID_A, cacheBytes: 256 * 2 ** 20 },
  ])
  t.same(config.warnings, [
    'config.toml: unknown key daemon.colour, ignored',
    'config.toml: unknown key vault.My Vault.icon, ignored',
  ])
  t.end()
})

t.test('config.toml: what is refused, and by which reason', (t) => {
  const vault = (path: string, id: string): string => `path = "${path}"\nid = "${id}"\n`
  const refused: [string, ErrorCode, RegExp][] = [
    ['', 'damaged-config', /version is missing/],
    ['version = 2', 'unknown-format', /version 2/],
    ['version = "1"', 'unknown-format', /version 1/],
    ['version = 1\n[daemon', 'damaged-config', /line 2/],
    ['version = 1\ndaemon = 3', 'damaged-config', /daemon must be a table/],
    ['version = 1\n[daemon]\nlog_level = "loud"', 'damaged-config', /log_level/],
    ['version = 1\n[memory]\ndirty_mib = 1', 'damaged-config', /dirty_mib/],
    ['version = 1\n[memory]\ndirty_mib = 1.5e99', 'damaged-config', /dirty_mib/],
    ['version = 1\n[vault]\na = 1', 'damaged-config', /vault\.a must be a table/],
    [`version = 1\n[vault.a]\n${vault('rel', ID_A)}`, 'damaged-config', /absolute/],
    [`version = 1\n[vault.a]\n${vault('/a', ID_A)}cache_mib = 1`, 'damaged-config', /cache_mib/],
    [`version = 1\n[vault.a]\n${vault('/a', 'xyz')}`, 'damaged-config', /hexadecimal/],
    [
      `version = 1\n[vault.a]\n${vault('/a', ID_A)}[vault.b]\n${vault('/a', ID_B)}`,
      'damaged-config',
      /same path/,
    ],
    [
      `version = 1\n[vault.a]\n${vault('/a', ID_A)}[vault.b]\n${vault('/b', ID_A)}`,
      'damaged-config',
      /same id/,
    ],
  ]
  for (const [text, code, message] of refused) {
    t.throws(() => parseConfig(text), { code, message }, JSON.stringify(text))
  }
  t.end()
})

t.test('a vault is added without touching what the user wrote', async (t) => {
  const paths = resolvePaths({ LATTICE_HOME: join(temporary(t), 'home') })
  t.same((await loadConfig(paths)).vaults, [], 'no file is no error')
  await addVault(paths, { name: 'Vault', path: '/v', id: ID_A })
  const text = readFileSync(paths.configFile, 'utf8')
  writeFileSync(paths.configFile, `# mine\n${text}`)
  const odd = { name: 'ü "quoted" [x].y', path: '/v/\u00fc "q"\\n', id: ID_B }
  await addVault(paths, odd)
  t.match(readFileSync(paths.configFile, 'utf8'), /^# mine\n/)
  t.same((await loadConfig(paths)).vaults[1], odd)
  t.equal(statSync(paths.configFile).mode & 0o777, 0o600)
  t.equal(statSync(paths.configDirectory).mode & 0o777, 0o700)
  await t.rejects(addVault(paths, { name: 'Other', path: '/v', id: 'c'.repeat(32) }), {
    code: 'exists',
  })
  t.end()
})

t.test('names of vaults come from their directory and are unique', (t) => {
  const entry = (name: string): { name: string; path: string; id: string } => {
    return { name, path: `/${name}`, id: ID_A }
  }
  t.equal(newVaultName('/home/u/Vault', []), 'Vault')
  t.equal(newVaultName('/x/Vault', [entry('Vault'), entry('Vault-2')]), 'Vault-3')
  t.equal(newVaultName('/', []), 'Vault')
  t.equal(newVaultName('/a\u0007b', []), 'a_b')
  t.ok(Buffer.byteLength(newVaultName(`/${'é'.repeat(255)}`, [])) <= 200)
  t.end()
})

t.test('a directory that others may write to is refused', async (t) => {
  const path = join(temporary(t), 'd')
  await ensurePrivateDirectory(path)
  t.equal(statSync(path).mode & 0o777, 0o700)
  await ensurePrivateDirectory(path)
  const { chmodSync } = await import('node:fs')
  chmodSync(path, 0o777)
  await t.rejects(ensurePrivateDirectory(path), { code: 'denied', hint: /chmod go-w/ })
  const link = `${path}-link`
  symlinkSync(path, link)
  await t.rejects(ensurePrivateDirectory(link), { code: 'denied' }, 'nor through a link')
  chmodSync(path, 0o700)
  await ensurePrivateDirectory(link)
  if (process.geteuid?.() !== 0) return
  lchownSync(link, 12345, 12345)
  await t.rejects(ensurePrivateDirectory(link), { code: 'denied' }, "somebody else's link")
})

t.test('exit codes: one class for each reason, every reason has one', (t) => {
  const source = readFileSync(new URL('../../src/util/errors.ts', import.meta.url), 'utf8')
  const union = source.slice(source.indexOf('export type ErrorCode'), source.indexOf('/** Ids and'))
  const reasons = [...union.matchAll(/\| '([a-z-]+)'/g)].map((match) => match[1] ?? '')
  t.ok(reasons.length > 50)
  const listed = EXIT_CODES.flatMap((row) => row.reasons)
  t.same(listed.toSorted(), reasons.toSorted())
  t.same(new Set(EXIT_CODES.map(({ code }) => code)).size, EXIT_CODES.length)
  // what scripts rely on: never to be changed
  const promised = { usage: 2, 'not-mounted': 4, 'mountpoint-busy': 7, 'no-fuse': 8, locked: 11 }
  const more = { 'vault-not-found': 10, 'wrong-passphrase': 12, denied: 13, 'damaged-journal': 14 }
  const last = { 'unknown-format': 15, 'empty-passphrase': 22, 'disk-full': 28, prerequisite: 69 }
  for (const [reason, code] of Object.entries({ ...promised, ...more, ...last })) {
    t.equal(exitCodeOf(reason), code, reason)
  }
  t.equal(exitCodeOf('of-a-later-version'), 1)
  t.end()
})
