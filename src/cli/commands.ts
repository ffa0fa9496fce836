// The table of commands: names, arguments, options, examples. Parser, help and tests come from it.

import type { CommandSpec, OptionSpec } from './command.ts'

const JSON_OPTION: OptionSpec = {
  flags: '--json',
  summary: 'print one JSON document; errors are JSON on stderr',
}
const PASSPHRASE_OPTION: OptionSpec = {
  flags: '--passphrase-file <file>',
  summary: 'read the passphrase from this file (- is standard input) instead of asking',
}

const VAULT_OPTION: OptionSpec = {
  flags: '--vault <dir>',
  summary: 'which vault, where several are mounted',
}
const PEER_OPTION: OptionSpec = {
  flags: '--peer <addresses>',
  summary: 'HOST:PORT of the other device, several with commas',
}

export const COMMANDS: readonly CommandSpec[] = [
  {
    name: 'init',
    summary: 'create a vault, without mounting it',
    description:
      'Creates a vault that is recorded for DIR (default: the current directory) and will be ' +
      'mounted there. The first vault also makes the key file, protected by a passphrase.',
    arguments: [{ name: 'dir', required: false, summary: 'where it will be mounted' }],
    options: [PASSPHRASE_OPTION, JSON_OPTION],
    examples: [['lattice init ~/Vault', 'create a vault for ~/Vault']],
    load: () => import('./init.ts'),
  },
  {
    name: 'mount',
    summary: 'mount a vault on a directory; a new one where none is recorded',
    description:
      'Mounts the vault that is recorded for DIR, or creates one and says so. A missing DIR is ' +
      'made (0700), a missing parent is an error. Returns when the directory can be used; a ' +
      'daemon in the background serves it until it is unmounted. Mounting again after a crash ' +
      'needs nothing else.',
    arguments: [{ name: 'dir', required: false, summary: 'an empty directory, or a new one' }],
    options: [
      { flags: '--all', summary: 'every vault that is recorded, instead of DIR' },
      { flags: '-f, --foreground', summary: 'serve in this process, until Ctrl-C or umount' },
      { flags: '-r, --read-only', summary: 'refuse every change' },
      { flags: '--allow-other', summary: 'let other users enter; permissions apply' },
      { flags: '-o, --options <words>', summary: 'ro, allow_other, dev, suid, names=nfc|caseless' },
      PASSPHRASE_OPTION,
      JSON_OPTION,
    ],
    examples: [
      ['lattice mount ~/Vault', 'mount, and create the vault the first time'],
      ['lattice mount --foreground ~/Vault', 'under systemd, or to watch the log'],
      ['lattice mount --all', 'what the service does at login'],
      ['lattice mount -o ro --passphrase-file key.txt /mnt/v', 'read-only, without a prompt'],
    ],
    load: () => import('./mount.ts'),
  },
  {
    name: 'umount',
    alias: 'unmount',
    summary: 'store everything and unmount',
    arguments: [{ name: 'dir', required: true, summary: 'a mounted directory' }],
    options: [
      { flags: '-l, --lazy', summary: 'detach now, even if something uses it' },
      JSON_OPTION,
    ],
    examples: [['lattice umount ~/Vault', 'returns when everything is stored']],
    load: () => import('./umount.ts'),
  },
  {
    name: 'status',
    summary: 'what is mounted, and how it is',
    arguments: [],
    options: [JSON_OPTION],
    examples: [['lattice status --json', 'the same for programs']],
    load: () => import('./status.ts'),
  },
  {
    name: 'sync',
    summary: 'make everything written so far durable',
    arguments: [{ name: 'dir', required: false, summary: 'one vault; without it, all' }],
    options: [
      { flags: '--wait', summary: 'until other devices can have it; with --json a line a step' },
      {
        flags: '--copies <n>',
        summary: 'with --wait: until n connected devices prove that they hold all of it',
      },
      JSON_OPTION,
    ],
    examples: [
      ['lattice sync ~/Vault', 'like fsync for the whole vault'],
      ['lattice sync --wait --copies 1 ~/Vault', 'before this device goes away; the other pins it'],
    ],
    load: () => import('./sync.ts'),
  },
  {
    name: 'check',
    summary: 'verify what is stored',
    description:
      'Reads the journal, the packs and the index of the vault, rebuilds the state from the ' +
      'journal and compares. Exits with 26 when something is wrong.',
    arguments: [{ name: 'dir', required: false, summary: 'one vault; without it, all' }],
    options: [
      { flags: '--read-data', summary: 'also open every chunk and verify its hash' },
      PASSPHRASE_OPTION,
      JSON_OPTION,
    ],
    examples: [['lattice check --read-data ~/Vault', 'read every stored byte']],
    load: () => import('./check.ts'),
  },
  {
    name: 'bootstrap',
    summary: 'be the first node of a hash table of your own',
    description:
      'Devices find each other over a distributed hash table. A node at an address that all of ' +
      'them reach makes one that depends on nobody else. Runs until it is interrupted.',
    arguments: [{ name: 'address', required: true, summary: 'HOST:PORT, an IPv4 address' }],
    options: [JSON_OPTION],
    examples: [['lattice bootstrap 203.0.113.7:49737', 'on a machine that everybody reaches']],
    load: async () => ({ run: (await import('./public-node.ts')).runBootstrap }),
  },
  {
    name: 'relay',
    summary: 'pass on what devices say that cannot reach each other',
    description:
      'Two devices behind strict routers talk through a relay that both reach. It sees sealed ' +
      'bytes and addresses, nothing else. Runs until it is interrupted.',
    arguments: [],
    options: [
      { flags: '--port <port>', summary: 'UDP port; any free one when not given' },
      { flags: '--bootstrap <address>', summary: 'HOST:PORT of a bootstrap node of your own' },
      JSON_OPTION,
    ],
    examples: [['lattice relay --port 49738', 'on a machine that everybody reaches']],
    load: async () => ({ run: (await import('./public-node.ts')).runRelay }),
  },
  {
    name: 'doctor',
    summary: 'look whether this machine has what lattice needs',
    arguments: [{ name: 'dir', required: false, summary: 'with --names: only below this' }],
    options: [
      { flags: '--names', summary: 'list names that other systems would see differently' },
      JSON_OPTION,
    ],
    examples: [
      ['lattice doctor', 'what is missing, and what to do about it'],
      ['lattice doctor --names ~/Vault', 'before a Mac or a Windows machine joins'],
    ],
    load: () => import('./doctor.ts'),
  },
  {
    name: 'conflicts list',
    isDefault: true,
    summary: 'what devices changed without knowing of each other',
    description:
      'Lists conflicts. Nothing is lost by one: every version lies in the directory, the later ' +
      'one under the name, the others beside it as "… (conflict DATE DEVICE)". Rename, edit or ' +
      'remove them like any file, or let `conflicts resolve` do it.',
    arguments: [{ name: 'path', required: false, summary: 'only this, or below it' }],
    options: [JSON_OPTION],
    examples: [['lattice conflicts', 'of all mounted vaults']],
    load: () => import('./conflicts.ts'),
  },
  {
    name: 'conflicts show',
    summary: 'one conflict, with the differences between texts',
    arguments: [{ name: 'path', required: true, summary: 'one of the entries' }],
    options: [JSON_OPTION],
    examples: [['lattice conflicts show ~/Vault/notes.txt', 'who wrote what']],
    load: () => import('./conflicts-show.ts'),
  },
  {
    name: 'conflicts resolve',
    summary: 'decide a conflict',
    description:
      'Keeps this device\'s version under the name (mine), the newest of the others (theirs), ' +
      'all of them as files of their own (both), or the one with this number in `conflicts ' +
      'show`. What is not kept leaves the directory and stays in the history.',
    arguments: [{ name: 'path', required: true, summary: 'one of the entries' }],
    options: [{ flags: '--keep <which>', summary: 'mine, theirs, both, or a number' }, JSON_OPTION],
    examples: [['lattice conflicts resolve ~/Vault/notes.txt --keep mine', 'the others go']],
    load: () => import('./conflicts-resolve.ts'),
  },
  {
    name: 'log',
    summary: 'the versions of a file',
    arguments: [{ name: 'path', required: true, summary: 'a file or directory in a vault' }],
    options: [
      { flags: '-n, --limit <count>', summary: 'at most so many (100)' },
      { flags: '--diff', summary: 'show how texts differ from the version before' },
      JSON_OPTION,
    ],
    examples: [['lattice log --diff ~/Vault/notes.txt', 'who changed what, and when']],
    load: () => import('./log.ts'),
  },
  {
    name: 'members',
    alias: 'devices',
    summary: 'the devices of a vault',
    arguments: [{ name: 'dir', required: false, summary: 'one vault; without it, all' }],
    options: [JSON_OPTION],
    examples: [['lattice members ~/Vault', 'who may do what']],
    load: () => import('./members.ts'),
  },
  {
    name: 'invite',
    summary: 'let another device in: print a code, and wait for it',
    description:
      'Prints a code for one device (writer, reader, admin or blind; a blind one keeps and ' +
      'serves sealed data without a key), and waits until it has joined. Both screens then show ' +
      'six digits: say whether they are the same. The code works once, and for an hour.',
    arguments: [],
    options: [
      VAULT_OPTION,
      { flags: '--role <role>', summary: 'writer (default), reader, admin or blind' },
      { flags: '--expires <time>', summary: '90s, 30m, 1h (default), 2d' },
      { flags: '--qr', summary: 'also as a QR code' },
      { flags: '--detach', summary: 'only print the code: lattice invites wait ID goes on' },
      { flags: '--yes', summary: 'do not compare digits: whoever has the code joins' },
      JSON_OPTION,
    ],
    examples: [
      ['lattice invite', 'then, on the other device: lattice join CODE ~/Vault'],
      ['lattice invite --role blind --expires 1d', 'a server that only keeps copies'],
    ],
    load: () => import('./invite.ts'),
  },
  {
    name: 'invites list',
    isDefault: true,
    summary: 'the invites of this device',
    arguments: [{ name: 'dir', required: false, summary: 'one vault; without it, all' }],
    options: [JSON_OPTION],
    examples: [['lattice invites', 'which are pending, and what became of the others']],
    load: () => import('./invites.ts'),
  },
  {
    name: 'invites wait',
    summary: 'go on with an invite that was made with --detach',
    arguments: [{ name: 'id', required: true, summary: 'as listed' }],
    options: [VAULT_OPTION, JSON_OPTION],
    examples: [['lattice invites wait 1a2b3c4d', 'compare the digits when a device comes']],
    load: () => import('./invites-wait.ts'),
  },
  {
    name: 'invites revoke',
    summary: 'end an invite',
    arguments: [{ name: 'id', required: true, summary: 'as listed' }],
    options: [VAULT_OPTION, JSON_OPTION],
    examples: [['lattice invites revoke 1a2b3c4d', 'the code says "revoked" from now on']],
    load: () => import('./invites-revoke.ts'),
  },
  {
    name: 'join',
    summary: 'become a device of a vault, with a code from `lattice invite`',
    description:
      'Joins the vault that the code invites to and mounts it on DIR. The whole tree is there as ' +
      'soon as it has come; content comes when it is read. What was interrupted can be repeated ' +
      'with the same code.',
    arguments: [
      { name: 'code', required: true, summary: 'LATTICE-…' },
      { name: 'dir', required: true, summary: 'an empty directory, or a new one' },
    ],
    options: [
      { flags: '--label <name>', summary: 'this device\'s name, for the others (the host\'s)' },
      PEER_OPTION,
      { flags: '--no-mount', summary: 'only join' },
      { flags: '--yes', summary: 'do not compare digits' },
      PASSPHRASE_OPTION,
      JSON_OPTION,
    ],
    examples: [['lattice join LATTICE-00100-… ~/Vault', 'the digits are compared on both screens']],
    load: () => import('./join.ts'),
  },
  {
    name: 'recover',
    summary: 'a new device from the recovery phrase and any other device',
    description:
      'Asks a device that holds the vault (its address by --peer) and becomes an owner by the 24 ' +
      'words. The other devices stay what they are.',
    arguments: [{ name: 'dir', required: true, summary: 'an empty directory, or a new one' }],
    options: [
      { flags: '--phrase-file <file>', summary: 'file with the 24 words (- is standard input)' },
      { flags: '--label <name>', summary: 'this device\'s name, for the others (the host\'s)' },
      PEER_OPTION,
      { flags: '--no-mount', summary: 'only join' },
      PASSPHRASE_OPTION,
      JSON_OPTION,
    ],
    examples: [['lattice recover --peer nas:4000 ~/Vault', 'all other owners are lost']],
    load: () => import('./recover.ts'),
  },
  {
    name: 'remove',
    summary: 'take a device out of a vault',
    description:
      'What the device has written up to now stays; nothing that it writes later counts, and ' +
      'nothing that is sealed from now on opens for it.',
    arguments: [{ name: 'device', required: true, summary: 'its name, or the start of its key' }],
    options: [VAULT_OPTION, { flags: '--yes', summary: 'do not ask' }, JSON_OPTION],
    examples: [['lattice remove old-phone', 'a new epoch begins at once']],
    load: async () => ({ run: (await import('./member-change.ts')).removeDevice }),
  },
  {
    name: 'role',
    summary: 'change what a device may do',
    arguments: [
      { name: 'device', required: true, summary: 'its name, or the start of its key' },
      { name: 'role', required: true, summary: 'owner, admin, writer, reader or blind' },
    ],
    options: [VAULT_OPTION, JSON_OPTION],
    examples: [['lattice role kiosk reader', 'it sees everything and changes nothing']],
    load: async () => ({ run: (await import('./member-change.ts')).setRole }),
  },
  {
    name: 'rotate',
    summary: 'new keys for everything that is sealed from now on',
    arguments: [],
    options: [VAULT_OPTION, JSON_OPTION],
    examples: [['lattice rotate', 'after a key may have been seen']],
    load: async () => ({ run: (await import('./member-change.ts')).rotate }),
  },
  {
    name: 'rename-device',
    summary: 'what the others call this device',
    arguments: [{ name: 'label', required: true, summary: 'at most 64 bytes' }],
    options: [VAULT_OPTION, JSON_OPTION],
    examples: [['lattice rename-device desk', 'shown in members, and in names of conflicts']],
    load: async () => ({ run: (await import('./member-change.ts')).renameDevice }),
  },
  {
    name: 'peers',
    summary: 'which devices are connected',
    arguments: [{ name: 'dir', required: false, summary: 'one vault; without it, all' }],
    options: [JSON_OPTION],
    examples: [['lattice peers', 'who is there, and by which way']],
    load: () => import('./peers.ts'),
  },
  {
    name: 'pin',
    summary: 'keep what lies below a path on this device',
    description:
      'What is not here is fetched by and by, behind whatever somebody reads, and what other ' +
      'devices put below it later comes by itself. The pin follows what it names when that is ' +
      'renamed. It is of this device alone.',
    arguments: [{ name: 'path', required: true, summary: 'a file or a directory of the vault' }],
    options: [
      { flags: '--wait', summary: 'return when all of it is here; with --json a line a step' },
      JSON_OPTION,
    ],
    examples: [
      ['lattice pin ~/Vault/photos', 'so that they are there without a network'],
      ['lattice pin --wait ~/Vault', 'everything, now'],
    ],
    load: async () => ({ run: (await import('./pin.ts')).pin }),
  },
  {
    name: 'unpin',
    summary: 'no longer keep it on this device',
    description: 'What is here stays here; what comes from now on is fetched when it is read.',
    arguments: [{ name: 'path', required: true, summary: 'what was pinned' }],
    options: [JSON_OPTION],
    examples: [['lattice unpin ~/Vault/photos', 'nothing is fetched ahead any more']],
    load: async () => ({ run: (await import('./pin.ts')).unpin }),
  },
  {
    name: 'evict',
    summary: 'free the disk of what other devices hold',
    description:
      'Files stay where they are, and their content is fetched again when it is read. Only what ' +
      'other devices prove to hold at this moment goes, and nothing that is pinned, open, or ' +
      'used by files elsewhere in the vault. Older versions go with it. To have it done by ' +
      'itself, set cache_mib for the vault in config.toml.',
    arguments: [{ name: 'path', required: true, summary: 'a file or a directory of the vault' }],
    options: [
      { flags: '--copies <n>', summary: 'other devices that must hold it; 1 when not given' },
      JSON_OPTION,
    ],
    examples: [
      ['lattice evict ~/Vault/films', 'seen; the other device has them'],
      ['lattice evict --copies 2 ~/Vault', 'all that two others hold'],
    ],
    load: () => import('./evict.ts'),
  },
  {
    name: 'pins',
    summary: 'what is kept on this device, and how much of it is here',
    arguments: [{ name: 'dir', required: false, summary: 'one vault; without it, all' }],
    options: [JSON_OPTION],
    examples: [['lattice pins', 'what is still on its way']],
    load: async () => ({ run: (await import('./pin.ts')).pins }),
  },
  {
    name: 'key recovery',
    summary: 'show the recovery phrases (24 words) again',
    arguments: [],
    options: [PASSPHRASE_OPTION, JSON_OPTION],
    examples: [['lattice key recovery', 'write the words down and keep them elsewhere']],
    load: () => import('./key-recovery.ts'),
  },
  {
    name: 'key restore',
    summary: 'write a new key file from a recovery phrase',
    description:
      'For a forgotten passphrase: the 24 words open the keys of their vault in the key file, ' +
      'and a new key file with a new passphrase is written. The old one is kept beside it.',
    arguments: [],
    options: [
      { flags: '--phrase-file <file>', summary: 'file with the 24 words (- is standard input)' },
      {
        flags: '--passphrase-file <file>',
        summary: 'read the new passphrase from this file instead of asking',
      },
      JSON_OPTION,
    ],
    examples: [['lattice key restore --phrase-file words.txt', 'then mount as usual']],
    load: () => import('./key-restore.ts'),
  },
  {
    name: 'key replace-phrase',
    summary: 'another recovery phrase for a vault',
    description:
      'The old words open nothing that is sealed from now on. Needs an owner device.',
    arguments: [],
    options: [VAULT_OPTION, { flags: '--yes', summary: 'do not ask' }, JSON_OPTION],
    examples: [['lattice key replace-phrase', 'after somebody may have seen the words']],
    load: () => import('./key-replace-phrase.ts'),
  },
  {
    name: 'service install',
    summary: 'mount all vaults at login',
    description:
      'Writes a systemd user unit (on macOS a launchd agent) that runs `lattice mount --all ' +
      '--foreground`, enables and starts it. What is mounted already is served by the daemon ' +
      'that runs until that ends.',
    arguments: [],
    options: [
      { flags: '--no-start', summary: 'only write the file' },
      JSON_OPTION,
    ],
    examples: [['lattice service install', 'a passphrase then comes from LATTICE_PASSPHRASE_FILE']],
    load: async () => ({ run: (await import('./service.ts')).install }),
  },
  {
    name: 'service uninstall',
    summary: 'no longer mount at login',
    arguments: [],
    options: [{ flags: '--no-stop', summary: 'only remove the file' }, JSON_OPTION],
    examples: [],
    load: async () => ({ run: (await import('./service.ts')).uninstall }),
  },
  {
    name: 'service status',
    summary: 'whether the service is installed and runs',
    arguments: [],
    options: [JSON_OPTION],
    examples: [],
    load: async () => ({ run: (await import('./service.ts')).status }),
  },
  {
    name: 'version',
    summary: 'print the version',
    arguments: [],
    options: [JSON_OPTION],
    examples: [],
    load: () => import('./version.ts'),
  },
]
