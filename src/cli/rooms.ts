// `uproar rooms`: pages through the rooms and shows the most watched first. Bound: ROOMS_MAX rooms.

import type { Call } from './cli.ts'
import { columns } from './columns.ts'
import { wholeOption } from './options.ts'

const PAGE = 200
const ROOMS_MAX = 10_000

interface RoomView { readonly room: string, readonly viewers: number, readonly seq: number, readonly settings: { readonly private?: boolean, readonly locked?: boolean, readonly slowModeSeconds?: number } }

export async function listRooms (call: Call): Promise<number> {
  const { options, out } = call
  const limit = wholeOption(options, 'limit', { otherwise: 50, max: ROOMS_MAX })
  const server = call.server()
  const prefix = typeof options['prefix'] === 'string' ? options['prefix'] : ''
  const all: RoomView[] = []
  let hasMore = true
  while (hasMore && all.length < ROOMS_MAX) {
    const after = all.at(-1)?.room ?? ''
    const page = await server.ask('GET', `/v1/rooms?limit=${PAGE}&prefix=${encodeURIComponent(prefix)}&after=${encodeURIComponent(after)}`) as { rooms: RoomView[], more: boolean }
    all.push(...page.rooms)
    hasMore = page.more && page.rooms.length > 0
  }
  const rooms = all.sort((a, b) => b.viewers - a.viewers || (a.room < b.room ? -1 : 1)).slice(0, limit)
  if (options['json'] === true) out.print(`${JSON.stringify({ rooms, more: hasMore || all.length > limit })}\n`)
  else {
    out.print(columns(['room', 'viewers', 'entries', 'settings'], rooms.map(({ room, viewers, seq, settings }) => [room, viewers, seq, notable(settings)])))
    if (hasMore || all.length > limit) out.error(`${all.length - rooms.length}${hasMore ? ' and more' : ''} rooms are not shown: --limit, --prefix\n`)
  }
  return 0
}

function notable ({ private: isPrivate, locked, slowModeSeconds = 0 }: RoomView['settings']): string {
  return [isPrivate === true ? 'private' : '', locked === true ? 'locked' : '', slowModeSeconds > 0 ? `slow mode ${slowModeSeconds} s` : ''].filter((word) => word !== '').join(', ')
}
