// Pages through a room's whole history over REST, newest page first, and hands back what it found, oldest first.

import type { Program } from './harness.ts'

export interface HistoryEntry { readonly op: string, readonly seq: number, readonly body?: string, readonly user?: { readonly id: string }, readonly ext?: { readonly meta?: { readonly line?: number } } | null }

/** Reads at most a million entries; throws when pages do not join. */
export async function wholeHistory (program: Program, room: string, limit = 200): Promise<HistoryEntry[]> {
  const pages: HistoryEntry[][] = []
  let before: number | null = null
  for (let count = 0; count < 1_000_000;) {
    const { status, json } = await program.request('GET', `/v1/rooms/${room}/messages?limit=${limit}${before === null ? '' : `&before=${before}`}`)
    if (status !== 200) throw new Error(`history answered ${status}: ${JSON.stringify(json)}`)
    const entries = json.entries as HistoryEntry[]
    pages.push(entries)
    count += entries.length
    if (json.more !== true) break
    if (entries[0] === undefined) throw new Error('an empty page that says there is more')
    before = entries[0].seq
  }
  return pages.reverse().flat()
}
