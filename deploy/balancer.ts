// A balancer in front of instances on this machine: nginx or HAProxy with the sample configuration of their folder, its
// places filled in, or, where neither is installed, a plain one of our own. For `npm run cluster` and for tests. Must not
// know what the instances serve beyond that sockets are at /ws. Bounds: READY_MS to start; 16 KB for a request's head.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { spawnWithUs } from './services/children.ts'
import { balancerPath } from './services/services.ts'

export interface Place { readonly port: number, readonly wsPort: number }

export type BalancerKind = 'nginx' | 'haproxy' | 'plain'

export interface Balancer {
  readonly kind: BalancerKind
  readonly port: number
  stop (): Promise<void>
}

const READY_MS = 10_000
const HEAD_BYTES_MAX = 16_384
const SAMPLES = { nginx: 'nginx/nginx.conf', haproxy: 'haproxy/haproxy.cfg' } as const

/** The first kind that this machine has. */
export function balancerAtHand (): BalancerKind {
  return balancerPath('nginx') !== null ? 'nginx' : balancerPath('haproxy') !== null ? 'haproxy' : 'plain'
}

/** The sample configuration with these instances in the place of its three, listening on loopback. */
export function configured (kind: 'nginx' | 'haproxy', port: number, places: readonly Place[]): string {
  const sample = readFileSync(join(import.meta.dirname, SAMPLES[kind]), 'utf8')
  return sample.split('\n').flatMap((line) => {
    if (line.includes('instance-1')) return places.map((place, at) => line.replace('instance-1', `instance-${at + 1}`).replace(':8081', `:${place.port}`).replace('port 8081', `port ${place.port}`).replace(':9001', `:${place.wsPort}`))
    return /instance-[23]/.test(line) ? [] : [line.replace(/^(\s*(?:listen|bind) ):?8000\b/, `$1127.0.0.1:${port}`)]
  }).join('\n')
}

/** Starts one; resolves when it listens. Rejects with its last words. */
export async function startBalancer (kind: BalancerKind, port: number, places: readonly Place[]): Promise<Balancer> {
  return kind === 'plain' ? startPlain(port, places) : startProgram(kind, port, places)
}

async function startProgram (kind: 'nginx' | 'haproxy', port: number, places: readonly Place[]): Promise<Balancer> {
  const binary = balancerPath(kind)
  if (binary === null) throw new Error(`there is no ${kind} on this machine`)
  const folder = mkdtempSync(join(tmpdir(), `uproar-${kind}-`))
  const file = join(folder, kind === 'nginx' ? 'nginx.conf' : 'haproxy.cfg')
  const text = configured(kind, port, places)
  // Its places for files are the system's; here it has a folder of its own.
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `    ${name}_temp_path ${folder}/${name};`).join('\n')
  writeFileSync(file, kind === 'nginx' ? text.replace('http {', `http {\n${temporary}`) : text)
  const args = kind === 'nginx' ? ['-p', folder, '-c', file, '-e', 'stderr', '-g', `daemon off; pid ${folder}/nginx.pid;`] : ['-db', '-f', file]
  const child = spawnWithUs(binary, args)
  let words = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => { words = (words + chunk.toString()).slice(-4000) })
  const exit = new Promise<void>((resolve) => child.once('close', () => resolve()))
  const stop = async (): Promise<void> => {
    child.kill(kind === 'nginx' ? 'SIGTERM' : 'SIGINT')
    const timer = setTimeout(() => child.kill('SIGKILL'), 3000)
    await exit
    clearTimeout(timer)
    rmSync(folder, { recursive: true, force: true })
  }
  for (const end = performance.now() + READY_MS; ; await new Promise((resolve) => setTimeout(resolve, 50))) {
    if (child.exitCode === null && await isListening(port)) return { kind, port, stop }
    if (child.exitCode === null && performance.now() < end) continue
    await stop()
    throw new Error(`${kind} does not listen on ${port}:\n${words}`)
  }
}

/** Round robin by connection: looks at the first line, and then only passes bytes on. It knows no health but refusal. */
async function startPlain (port: number, places: readonly Place[]): Promise<Balancer> {
  let turn = 0
  const open = new Set<Socket>()
  const server: Server = createServer((client) => {
    open.add(client)
    client.once('close', () => open.delete(client)).on('error', () => client.destroy())
    let head = Buffer.alloc(0)
    const read = (chunk: Buffer): void => {
      head = Buffer.concat([head, chunk])
      if (head.length > HEAD_BYTES_MAX) return void client.destroy()
      if (!head.includes('\n')) return
      client.off('data', read)
      client.pause()
      const isSocket = /^GET \/ws[ ?]/.test(head.toString('latin1', 0, 16))
      pass(client, head, places.map((_, at) => places[(turn + at) % places.length] as Place).map((place) => isSocket ? place.wsPort : place.port))
      turn++
    }
    client.on('data', read)
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, '127.0.0.1', () => resolve())
  })
  const stop = async (): Promise<void> => {
    const closed = new Promise((resolve) => server.close(resolve))
    for (const socket of open) socket.destroy()
    await closed
  }
  return { kind: 'plain', port, stop }
}

/** Joins the client to the first of these ports that takes it. */
function pass (client: Socket, head: Buffer, ports: readonly number[]): void {
  const [port, ...others] = ports
  if (port === undefined) return void client.end('HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 0\r\n\r\n')
  const upstream = connect({ host: '127.0.0.1', port, noDelay: true })
  const refused = (): void => pass(client, head, others)
  upstream.once('error', refused)
  upstream.once('connect', () => {
    upstream.off('error', refused)
    upstream.on('error', () => client.destroy())
    client.once('close', () => upstream.destroy())
    upstream.once('close', () => client.destroy())
    upstream.write(head)
    client.pipe(upstream)
    upstream.pipe(client)
  })
}

function isListening (port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => { socket.destroy(); resolve(true) }).once('error', () => resolve(false))
  })
}
