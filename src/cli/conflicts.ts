// `lattice conflicts [list] [PATH]`: what devices changed without knowing of each other.

import type { Conflict, ConflictItem, VaultStatus } from '../api/client-types.ts'
import type { ControlClient } from '../api/client.ts'
import type { Context } from './command.ts'
import { withRunningDaemon } from './daemon-process.ts'
import { bytesText, countText, timeText } from './output.ts'
import { mountedVaults, shownPath } from './vault-path.ts'

interface Listed {
  vault: string
  directory: string
  count: number
  conflicts: Conflict[]
}

const LISTED_MAX = 10_000

export async function run(context: Context): Promise<undefined> {
  const listed = await withRunningDaemon(context.paths, async (client) => {
    const all: Listed[] = []
    const chosen = await mountedVaults(await client.status(), context.arguments[0])
    for (const { vault, path } of chosen) {
      all.push(await list(client, vault, path))
    }
    return all
  })
  context.output.result({ vaults: listed }, listed.flatMap(lines))
  return undefined
}

async function list(client: ControlClient, vault: VaultStatus, path: string): Promise<Listed> {
  const conflicts: Conflict[] = []
  let count = 0
  let after: string | undefined
  do {
    const page = await client.conflicts(vault.id, after === undefined ? { path } : { path, after })
    conflicts.push(...page.conflicts)
    count = page.count
    after = page.next
  } while (after !== undefined && conflicts.length < LISTED_MAX)
  return { vault: vault.name, directory: vault.directory, count, conflicts }
}

function lines({ vault, directory, count, conflicts }: Listed): string[] {
  const head = `vault ${vault}: ${count === 0 ? 'no conflicts' : countText(count, 'conflict')}`
  const body = conflicts.flatMap((conflict) => conflictLines(directory, conflict))
  return [head, ...body]
}

export function conflictLines(directory: string, conflict: Conflict): string[] {
  const what = {
    content: 'changed on several devices',
    name: 'several things of one name',
    cycle: 'moved on several devices, one into the other: the later move was left out',
  }[conflict.kind]
  const items = conflict.items.map((item, i) => `  ${i + 1}  ${itemText(directory, item)}`)
  return [`${directory}/${conflict.path}: ${what}`, ...items]
}

function itemText(directory: string, item: ConflictItem): string {
  const size = item.kind === 'file' ? bytesText(item.sizeBytes) : item.kind
  const path = shownPath({ directory } as VaultStatus, item.path)
  return `${timeText(item.timeMs)}  ${item.author}  ${size}  ${path}`
}
