// `uproar connections` and `uproar kick`.

import type { Call } from './cli.ts'
import { columns, span } from './columns.ts'
import { wholeOption } from './options.ts'
import { CliFault } from './server.ts'

const LIMIT_MAX = 1000

interface ConnectionView { readonly session: string, readonly user: string | null, readonly address: string, readonly since: number, readonly rooms: readonly string[], readonly bufferedBytes: number }

export async function listConnections (call: Call): Promise<number> {
  const { options, out } = call
  const query = new URLSearchParams({ limit: String(wholeOption(options, 'limit', { otherwise: 100, max: LIMIT_MAX })) })
  for (const name of ['user', 'room']) if (typeof options[name] === 'string') query.set(name, options[name])
  const { connections, more } = await call.server().ask('GET', `/v1/connections?${query}`) as { connections: ConnectionView[], more: boolean }
  if (options['json'] === true) out.print(`${JSON.stringify({ connections, more })}\n`)
  else {
    out.print(columns(['session', 'user', 'address', 'for', 'rooms', 'waiting bytes'], connections.map(({ session, user, address, since, rooms, bufferedBytes }) => [session, user ?? '(anonymous)', address, span(Date.now() - since), rooms.join(' '), bufferedBytes])))
    if (more) out.error('there are more: --limit, --user, --room\n')
  }
  return 0
}

export async function kick (call: Call): Promise<number> {
  const { words: [user, ...others], options, out } = call
  const named = { ...(user === undefined ? {} : { user }), ...pick(options, 'session'), ...pick(options, 'address') }
  if (Object.keys(named).length !== 1 || others.length > 0) throw new CliFault('name one of USER, --session and --address', { isUsage: true })
  const { closedHere } = await call.server().ask('POST', '/v1/connections/kick', { ...named, ...pick(options, 'reason') }) as { closedHere: number }
  out.print(options['json'] === true ? `${JSON.stringify({ closedHere })}\n` : `${closedHere} connection${closedHere === 1 ? '' : 's'} closed on the instance that answered; the others were told\n`)
  return 0
}

function pick (options: Call['options'], name: string): Record<string, string> {
  return typeof options[name] === 'string' ? { [name]: options[name] } : {}
}
