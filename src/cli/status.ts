// `uproar status`: what the page at /status shows, as text.

import type { Call } from './cli.ts'
import { columns, span } from './columns.ts'

interface Status {
  readonly works: boolean
  readonly detail: null | {
    readonly version: string
    readonly delivery: { readonly verdict: string, readonly ageMs: number | null }
    readonly instances: null | readonly { readonly id: string, readonly host: string, readonly connections: number, readonly isDraining: boolean, readonly startedAt: number }[]
    readonly connections: number
    readonly rooms: { readonly active: number, readonly top: readonly { readonly room: string, readonly viewers: number }[] }
    readonly engines: readonly { readonly part: string, readonly engine: string, readonly fault: string | null }[]
    readonly lag: readonly { readonly consumer: string, readonly records: number, readonly seconds: number }[]
  }
}

export async function showStatus (call: Call): Promise<number> {
  const status = await call.server().ask('GET', '/v1/status') as Status
  call.out.print(call.options['json'] === true ? `${JSON.stringify(status)}\n` : textOf(status))
  return status.works ? 0 : 1
}

function textOf ({ works, detail }: Status): string {
  const first = works ? 'works: what is written arrives\n' : 'DOES NOT WORK\n'
  if (detail === null) return `${first}more is told with a server key (UPROAR_KEY)\n`
  const { delivery, instances, connections, rooms, engines, lag, version } = detail
  return [
    first,
    `delivery: ${delivery.verdict}${delivery.ageMs === null ? '' : `, the last entry came back ${delivery.ageMs} ms ago`}\n`,
    `version ${version}; ${engines.map(({ part, engine, fault }) => `${part}: ${engine}${fault === null ? '' : ` (${fault})`}`).join(', ')}\n`,
    `${connections.toLocaleString('en-GB')} connections\n\n`,
    instances === null ? 'the registry of instances does not answer\n' : columns(['instance', 'machine', 'connections', 'up', 'state'], instances.map((one) => [one.id, one.host, one.connections, span(Date.now() - one.startedAt), one.isDraining ? 'draining' : 'serves'])),
    rooms.top.length === 0 ? '' : `\n${columns(['room', 'viewers'], rooms.top.map(({ room, viewers }) => [room, viewers]))}`,
    lag.length === 0 ? '' : `\n${columns(['consumer', 'waiting', 'oldest'], lag.map(({ consumer, records, seconds }) => [consumer, records, span(seconds * 1000)]))}`
  ].join('')
}
