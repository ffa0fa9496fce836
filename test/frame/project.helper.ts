// A small project in a temporary folder: this checkout's rules and node_modules, other sources.
// For the tests of the frame only; removed when the test that made it ends.
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { spawnSync } from 'node:child_process'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const checkout = fileURLToPath(new URL('../..', import.meta.url))

export interface Run {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export class Project {
  readonly root: string

  /** `copies` are paths of this checkout that the project gets too. */
  constructor(copies: readonly string[], linkModules = true) {
    this.root = mkdtempSync(join(tmpdir(), 'frame-'))
    for (const path of copies) {
      mkdirSync(dirname(join(this.root, path)), { recursive: true })
      copyFileSync(join(checkout, path), join(this.root, path))
    }
    if (linkModules) symlinkSync(join(checkout, 'node_modules'), join(this.root, 'node_modules'))
  }

  write(path: string, text: string): void {
    mkdirSync(dirname(join(this.root, path)), { recursive: true })
    writeFileSync(join(this.root, path), text)
  }

  /** Runs a program in the project's root to its end, at most a minute. */
  run(command: string, argv: readonly string[], env: NodeJS.ProcessEnv = process.env): Run {
    const options = { cwd: this.root, env, encoding: 'utf8', timeout: 60_000 } as const
    const { status, stdout, stderr, error } = spawnSync(command, argv, options)
    if (error) throw error
    return { code: status, stdout, stderr }
  }

  remove(): void {
    rmSync(this.root, { recursive: true, force: true })
  }
}
