// `uproar instances` and `uproar drain`. Waiting for a drain has an end: WAIT_MS_MAX.

import type { InstanceView } from '../cluster/cluster.ts'
import type { Call } from './cli.ts'
import { columns, span } from './columns.ts'
import { CliFault, type ServerLink } from './server.ts'

const POLL_MS = 500
const WAIT_MS_MAX = 3_600_000

export async function listInstances (call: Call): Promise<number> {
  const instances = await instancesOf(call.server())
  if (call.options['json'] === true) call.out.print(`${JSON.stringify({ instances })}\n`)
  else call.out.print(columns(['id', 'machine', 'pid', 'http', 'sockets', 'connections', 'version', 'up', 'state'], instances.map((one) => [one.id, one.host, String(one.pid), String(one.port), String(one.wsPort), one.connections, one.version, span(Date.now() - one.startedAt), one.isDraining ? 'draining' : one.silentMs > 3000 ? `silent for ${span(one.silentMs)}` : 'serves'])))
  return 0
}

export async function drain (call: Call): Promise<number> {
  const { words: [wanted, ...others], options, out } = call
  if (wanted === undefined || others.length > 0) throw new CliFault('name one instance: uproar instances', { isUsage: true })
  const server = call.server()
  const { id } = theOne(await instancesOf(server), wanted)
  const { connections } = await server.ask('POST', `/v1/instances/${encodeURIComponent(id)}/drain`, options['force'] === true ? { force: true } : {}) as { connections: number }
  const left = options['wait'] === true ? await emptied(server, id) : connections
  if (options['json'] === true) out.print(`${JSON.stringify({ id, connections: left })}\n`)
  else out.print(options['wait'] === true ? `${id} has no viewers any more; end it when you like\n` : `${id} drains ${connections} connections; --wait waits for the last\n`)
  return 0
}

async function instancesOf (server: ServerLink): Promise<InstanceView[]> {
  return ((await server.ask('GET', '/v1/instances')) as { instances: InstanceView[] }).instances
}

function theOne (all: readonly InstanceView[], wanted: string): InstanceView {
  const found = all.filter((instance) => instance.id.startsWith(wanted))
  const [one] = found
  if (one === undefined || found.length > 1) throw new CliFault(one === undefined ? `no instance's id begins with ${JSON.stringify(wanted)}: uproar instances` : `${found.length} ids begin with ${JSON.stringify(wanted)}: give more of it`)
  return one
}

/** Resolves with 0 once the instance has no connections, or is gone. */
async function emptied (server: ServerLink, id: string): Promise<0> {
  for (const end = performance.now() + WAIT_MS_MAX; performance.now() < end; await new Promise((resolve) => setTimeout(resolve, POLL_MS))) {
    const one = (await instancesOf(server)).find((instance) => instance.id === id)
    // The count is of its last beat: only one that says it drains has heard of it.
    if (one === undefined || (one.isDraining && one.connections === 0)) return 0
  }
  throw new CliFault(`${id} still has connections after ${span(WAIT_MS_MAX)}`)
}
