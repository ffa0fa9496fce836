// `mount --foreground`: the daemon runs in the command line's own process, so that a service
// manager or a terminal holds it. The only place where the command line loads the daemon.

import type { Paths } from '../config/paths.ts'

/** What this needs of daemon/run.ts, which is loaded by name: cli/ stands above daemon/. */
interface DaemonRunner {
  runDaemon(paths: Paths): Promise<{
    shutDown(reason: string): Promise<void>
    done: Promise<void>
    ready(status: string): void
  }>
}

/** Starts a daemon here, runs `mount`, tells the service manager what that says, and returns the
 *  exit code when the daemon has ended. */
export async function serveForeground(
  paths: Paths,
  mount: () => Promise<string>,
): Promise<number | undefined> {
  process.removeAllListeners('SIGINT') // the daemon unmounts first
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js'
  const url = new URL(`../daemon/run.${extension}`, import.meta.url)
  const runner = (await import(url.href)) as DaemonRunner
  const daemon = await runner.runDaemon(paths)
  try {
    daemon.ready(await mount())
  } catch (error) {
    await daemon.shutDown('the mount failed')
    throw error
  }
  await daemon.done
  return typeof process.exitCode === 'number' ? process.exitCode : undefined
}
