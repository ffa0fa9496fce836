// The service files: systemd and a property-list parser accept them, the command writes them with
// what the user's setup needs, and the datagrams to the service manager really arrive.
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { ServiceManager } from '../../src/daemon/service-manager.ts'

const checkout = fileURLToPath(new URL('../..', import.meta.url))
const has = (name: string): boolean => spawnSync(name, ['--version']).error === undefined
const root = mkdtempSync(join(tmpdir(), 'lattice-service-'))

function lattice(words: string[], environment: Record<string, string> = {}) {
  const home = join(root, 'user')
  mkdirSync(home, { recursive: true })
  const rest = { ...process.env }
  for (const name of ['XDG_CONFIG_HOME', 'LATTICE_HOME', 'LATTICE_PASSPHRASE_FILE']) {
    delete rest[name]
  }
  const main = join(checkout, 'src/cli/main.ts')
  const ran = spawnSync(process.execPath, ['--import', 'tsx', main, ...words], {
    cwd: checkout, encoding: 'utf8', env: { ...rest, HOME: home, ...environment },
  })
  return { code: ran.status, stdout: ran.stdout, stderr: ran.stderr }
}

const unitFile = join(root, 'user/.config/systemd/user/lattice.service')

t.test('install, status and uninstall in a home', {
  skip: process.platform === 'linux' ? false : 'launchd is not tried here',
}, async (t) => {
  t.match(JSON.parse(lattice(['service', 'status', '--json']).stdout), {
    installed: false, state: 'not installed', manager: 'systemd', file: unitFile,
  })
  t.equal(lattice(['service', 'uninstall']).code, 4)
  const odd = join(root, 'a "home" of 100%')
  const made = lattice(['service', 'install', '--no-start', '--json'], { LATTICE_HOME: odd })
  t.equal(made.code, 0, made.stderr)
  t.match(JSON.parse(made.stdout), { file: unitFile, started: false })
  const unit = readFileSync(unitFile, 'utf8')
  t.match(unit, `ExecStart="${join(checkout, 'bin/lattice')}" mount --all --foreground\n`)
  t.ok(unit.includes(`Environment="LATTICE_HOME=${root}/a \\"home\\" of 100%%"\n`), 'quoted')
  t.match(JSON.parse(lattice(['service', 'status', '--json']).stdout), { installed: true })
  t.equal(lattice(['service', 'uninstall', '--no-stop']).code, 0)
  t.notOk(existsSync(unitFile))
})

t.test('systemd accepts the units', {
  skip: has('systemd-analyze') ? false : 'no systemd-analyze',
}, async (t) => {
  lattice(['service', 'install', '--no-start'])
  const system = join(root, 'lattice@.service')
  const shipped = readFileSync(join(checkout, 'systemd/lattice@.service'), 'utf8')
  writeFileSync(system, shipped.replace('/usr/bin/lattice', join(checkout, 'bin/lattice')))
  for (const [file, scope] of [[unitFile, '--user'], [system, '--system']] as const) {
    const verify = spawnSync('systemd-analyze', [scope, 'verify', '--man=no', file], {
      encoding: 'utf8', env: { ...process.env, XDG_RUNTIME_DIR: root },
    })
    const said = `${verify.stdout}${verify.stderr}`.split('\n')
      .filter((line) => line.includes('lattice'))
    t.strictSame(said, [], file)
    t.equal(verify.status, 0, file)
  }
})

t.test('nothing in the units hides or hinders a mount', async (t) => {
  const hindering = [
    'Private', 'Protect', 'ReadWritePaths', 'ReadOnlyPaths', 'InaccessiblePaths', 'RootDirectory',
    'NoNewPrivileges=', 'DynamicUser', 'RestrictNamespaces', 'SystemCallFilter', 'MountFlags',
    'RestrictSUIDSGID', 'CapabilityBoundingSet', 'DevicePolicy', 'TemporaryFileSystem',
  ]
  for (const file of ['lattice.service', 'lattice@.service']) {
    const lines = readFileSync(join(checkout, 'systemd', file), 'utf8').split('\n')
      .filter((line) => !line.startsWith('#'))
    for (const word of hindering) t.notOk(lines.some((line) => line.startsWith(word)), word)
  }
})

t.test('the agent is a property list', { skip: has('python3') ? false : 'no python3' },
  async (t) => {
    const parsed = JSON.parse(execFileSync('python3', ['-c', `
import json, plistlib, sys
print(json.dumps(plistlib.load(open(sys.argv[1], 'rb'))))
`, join(checkout, 'launchd/org.lattice.plist')], { encoding: 'utf8' })) as object
    t.match(parsed, {
      Label: 'org.lattice', RunAtLoad: true, KeepAlive: { SuccessfulExit: false },
      ProgramArguments: ['/usr/bin/lattice', 'mount', '--all', '--foreground'],
    })
  })

t.test('the service manager hears ready, watchdog and stopping', {
  skip: has('python3') ? false : 'no python3',
}, async (t) => {
  for (const path of [join(root, 'notify'), `@lattice-test-${process.pid}`]) {
    const receiver = spawn('python3', ['-u', '-c', `
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1].replace('@', '\\0', 1))
print('bound')
while True:
    print(s.recv(4096).decode().replace('\\n', ';'))
`, path])
    t.teardown(() => receiver.kill())
    const heard: string[] = []
    receiver.stdout.on('data', (text: Buffer) => heard.push(...text.toString().trim().split('\n')))
    const until = async (is: () => boolean): Promise<void> => {
      while (!is()) await new Promise((resolve) => setTimeout(resolve, 10))
    }
    await until(() => heard.includes('bound'))
    const environment: NodeJS.ProcessEnv = {
      NOTIFY_SOCKET: path, WATCHDOG_USEC: '40000', WATCHDOG_PID: String(process.pid),
    }
    const manager = ServiceManager.fromEnvironment(environment)
    t.strictSame(environment, {}, 'children are not the service')
    manager.ready('2 of 2\nvaults')
    await until(() => heard.filter((line) => line === 'WATCHDOG=1').length >= 3)
    manager.stopping()
    await until(() => heard.includes('STOPPING=1'))
    manager.close()
    t.ok(heard.includes(`READY=1;MAINPID=${process.pid};STATUS=2 of 2 vaults`), heard.join(' | '))
  }
  const other = ServiceManager.fromEnvironment({ WATCHDOG_USEC: '1000', WATCHDOG_PID: '1' })
  other.ready('nobody listens')
  new ServiceManager('/nowhere/notify', 0).ready('a manager that is gone')
})
