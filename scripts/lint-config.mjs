// Writes .oxlintrc.json. oxlint knows no layers, and a later override of a rule replaces an earlier
// one, so every folder of src/ needs its whole list; here the layers stand once, as a table.
// `node scripts/lint-config.mjs` writes the file, `--check` (part of npm test) fails if it differs.
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const target = fileURLToPath(new URL('../.oxlintrc.json', import.meta.url))

// ---- who may import whom: folder → what it may import, and the sentence that a breach prints ----

const base = ['util', 'config']
const core = [...base, 'crypto', 'ops', 'state', 'chunks']
const port = 'implements ports that state, chunks and vault declare; daemon injects it'
const layers = {
  util: [[], 'util imports nothing of ours and knows no word of the domain'],
  config: [['util'], 'config stands on util only'],
  crypto: [base, 'crypto stands on util and config only'],
  ops: [[...base, 'crypto'], 'ops stands on crypto and what is below it'],
  state: [[...base, 'crypto', 'ops'], 'state stands on ops and below; disk comes through a port'],
  chunks: [[...base, 'crypto', 'ops'], 'chunks stands on ops and below; disk comes through a port'],
  journal: [[...core, 'vault'], `journal ${port}`],
  db: [[...core, 'vault'], `db ${port}`],
  logs: [[...core, 'vault'], `logs ${port}`],
  vault: [core, 'vault stands on state and chunks; journal, db and logs come in through its ports'],
  net: [[...core, 'vault'], 'net stands on vault'],
  fs: [[...core, 'vault'], 'fs stands on vault and knows no FUSE'],
  fuse: [[...base, 'crypto', 'ops', 'vault', 'fs'], 'fuse stands on fs and the ports of vault'],
  api: [[...core, 'vault', 'net', 'fs'], 'api stands on vault, net and fs'],
  daemon: [null, 'daemon composes everything below it; cli is above it'],
  cli: [base, 'cli speaks to the daemon through src/api/client only'],
}

// ---- third-party packages that have one home ----

const homes = {
  lmdb: ['db'],
  'sodium-native': ['crypto'],
  '@napi-rs/blake-hash': ['crypto'],
  'lz4-napi': ['chunks'],
  fastify: ['api'],
  'prom-client': ['api'],
  commander: ['cli'],
  diff: ['cli'],
  uqr: ['cli'],
  '@clack/prompts': ['cli'],
  'smol-toml': ['config'],
  pino: ['daemon'],
  'compact-encoding': ['ops', 'state'],
  'p-queue': [],
  hypercore: ['logs'],
  'hypercore-storage': ['logs'],
  corestore: ['logs'],
  'hypercore-crypto': ['logs'],
  hyperswarm: ['net'],
  hyperdht: ['net'],
  'blind-relay': ['net'],
  '@hyperswarm/secret-stream': ['net', 'logs'],
  protomux: ['net', 'logs'],
  'bonjour-service': ['net'],
  'multicast-dns': ['net'],
}

// ---- folders that a seed must replay: no clock, no timer, no randomness of their own ----

const deterministic = ['ops', 'state', 'chunks', 'vault', 'fs']
const ambient = 'time, timers and randomness come in through ports: a seed must replay everything'
const randomNames = ['randomBytes', 'randomFill', 'randomFillSync', 'randomInt', 'randomUUID']
const timeGlobals = ['Date', 'setTimeout', 'setInterval', 'setImmediate', 'performance', 'crypto']
const timeModules = ['timers', 'timers/promises', 'perf_hooks']

// and no disk, network or process of their own, but for the adapters that stand among them

const system = 'disk, network and processes come in through ports: a seed must replay everything'
const systemModules = [
  'fs', 'net', 'dgram', 'tls', 'http', 'http2', 'https', 'dns', 'child_process', 'cluster',
  'worker_threads',
]
const adapters = {
  chunks: ['pack-disk', 'pack-store', 'read-plan', 'seal-pool', 'seal-worker'],
  vault: ['lock'],
  fs: ['disk-space'],
}

function importRule(folder, isAdapter) {
  const [mayImport, message] = layers[folder]
  const denied = Object.keys(layers).filter((other) => {
    if (other === folder) return false
    return mayImport === null ? other === 'cli' : !mayImport.includes(other)
  })
  const direct = denied.filter((other) => !(folder === 'cli' && other === 'api'))
  const foreign = Object.keys(homes).filter((name) => !homes[name].includes(folder))
  const patterns = [
    { regex: `^(\\.\\./)+(${direct.join('|')})/`, message },
    {
      regex: `^(${foreign.join('|')})(/|$)`,
      message: 'this package is imported by one folder only: scripts/lint-config.mjs, "homes"',
    },
    { regex: '^(\\.\\./)+(test|bench|scripts|dist)/', message: 'src imports only from src' },
  ]
  // oxlint's expressions have no look-ahead: whatever in api/ does not begin so
  const notClient = '([^c]|c[^l]|cl[^i]|cli[^e])'
  if (folder === 'cli') patterns.push({ regex: `^(\\.\\./)+api/${notClient}`, message })
  if (!deterministic.includes(folder)) return ['error', { patterns }]
  if (!isAdapter) {
    patterns.push({ regex: `^(node:)?(${systemModules.join('|')})(/|$)`, message: system })
  }
  const paths = ['node:crypto', 'crypto'].map((name) => (
    { name, importNames: [...randomNames, 'webcrypto'], message: ambient }
  ))
  for (const name of timeModules) {
    paths.push({ name: `node:${name}`, message: ambient }, { name, message: ambient })
  }
  return ['error', { patterns, paths }]
}

function folderRules(folder) {
  const rules = { 'no-restricted-imports': importRule(folder, false) }
  if (!deterministic.includes(folder)) return rules
  const property = (object, name) => ({ object, property: name, message: ambient })
  rules['no-restricted-globals'] = [
    'error',
    ...timeGlobals.map((name) => ({ name, message: ambient })),
  ]
  rules['no-restricted-properties'] = [
    'error',
    property('Math', 'random'),
    property('process', 'hrtime'),
    property('process', 'uptime'),
    ...timeGlobals.map((name) => property('globalThis', name)),
    ...randomNames.map((name) => property('crypto', name)),
  ]
  return rules
}

const config = {
  $schema: './node_modules/oxlint/configuration_schema.json',
  plugins: ['eslint', 'typescript', 'unicorn', 'oxc', 'import', 'promise', 'node'],
  categories: { correctness: 'error' },
  env: { node: true, es2024: true },
  ignorePatterns: ['dist', 'native', 'node_modules', 'test/vectors', 'test/fixtures'],
  rules: {
    eqeqeq: 'error',
    'no-console': 'error',
    'no-empty': 'error',
    'no-throw-literal': 'error',
    'no-var': 'error',
    'prefer-const': 'error',
    'max-lines': ['error', { max: 800 }],
    'max-lines-per-function': ['error', { max: 120, skipComments: true }],
    'import/no-cycle': 'error',
    'import/no-default-export': 'error',
    'typescript/await-thenable': 'error',
    'typescript/consistent-type-imports': ['error', { disallowTypeAnnotations: false }],
    'typescript/no-explicit-any': 'error',
    // tap itself waits for the promise of t.test()
    'typescript/no-floating-promises': [
      'error',
      {
        allowForKnownSafePromises: [
          { from: 'package', name: ['PromiseWithSubtest'], package: '@tapjs/core' },
        ],
      },
    ],
    'typescript/no-misused-promises': 'error',
    'typescript/no-non-null-assertion': 'error',
    'unicorn/no-process-exit': 'error',
  },
  overrides: [
    ...Object.keys(layers).map((folder) => (
      { files: [`src/${folder}/**/*.ts`], rules: folderRules(folder) }
    )),
    ...Object.entries(adapters).map(([folder, names]) => ({
      files: names.map((name) => `src/${folder}/${name}.ts`),
      rules: { 'no-restricted-imports': importRule(folder, true) },
    })),
    {
      files: ['src/cli/**/*.ts'],
      rules: { 'no-console': 'off', 'unicorn/no-process-exit': 'off' },
    },
    {
      files: ['test/**', 'bench/**'],
      rules: {
        'max-lines-per-function': 'off',
        'no-console': 'off',
        'typescript/no-non-null-assertion': 'off',
        'unicorn/no-process-exit': 'off',
      },
    },
  ],
}

const text = JSON.stringify(config, null, 1) + '\n'
if (process.argv.includes('--check')) {
  if (readFileSync(target, 'utf8') !== text) {
    console.error('.oxlintrc.json differs from scripts/lint-config.mjs: run it')
    process.exit(1)
  }
} else {
  writeFileSync(target, text)
}
