// No core file while the command line holds a passphrase or a recovery phrase: a crash would leave
// it on the disk. The addon does it, and is loaded only then: `lattice version` stays quick.

/** What this needs of crypto/native.ts, which is loaded by name: cli/ knows nothing of crypto/. */
interface AddonLoader {
  loadAddon(): { disableCoreDumps(): void }
}

/** Before the first secret comes in; lasts as long as the process. Throws 'addon-missing'. */
export async function disableCoreDumps(): Promise<void> {
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js'
  const url = new URL(`../crypto/native.${extension}`, import.meta.url)
  const loader = (await import(url.href)) as AddonLoader
  loader.loadAddon().disableCoreDumps()
}
