// Redis servers for tests and benches: the machine's redis-server on free loopback ports, each with a folder of its own,
// ended and removed with the test. One can be killed, frozen, cut down to its data or started again where it was; a few
// of them make a Cluster or stand under Sentinels. Must not know what is tested. Every wait has a deadline.

import { execFile, type ChildProcess } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { spawnWithUs } from './children.ts'
import { freePort } from './ports.ts'
import { redisPath } from './services.ts'

const READY_MS = 15_000
const CLUSTER_MS = 30_000
const WORDS_KEPT = 4000

/** What of a test (or a bench) the servers need: they end when it does. */
export interface Scope { teardown (end: () => unknown): void }

export interface RedisServerOptions {
  /** More of redis-server's arguments, such as `['--appendonly', 'yes']`. */
  readonly args?: readonly string[]
  /** Needed from clients, and used by `cli`. */
  readonly password?: string
  /** Started as a Sentinel, with this text as its configuration. */
  readonly sentinel?: string
  /** Files of a certificate and its key: the server then speaks TLS alone, on the same port. */
  readonly tls?: { readonly cert: string, readonly key: string }
}

export class RedisServer {
  readonly port: number
  readonly dir: string
  readonly #options: RedisServerOptions
  #child: ChildProcess | null = null
  #exit: Promise<void> = Promise.resolve()
  #words = ''

  /** Starts one and waits until it answers; it ends with the scope. */
  static async start (scope: Scope, options: RedisServerOptions = {}): Promise<RedisServer> {
    const server = new RedisServer(await freePort(), options)
    scope.teardown(() => server.destroy())
    await server.launch()
    return server
  }

  constructor (port: number, options: RedisServerOptions) {
    this.port = port
    this.dir = mkdtempSync(join(tmpdir(), 'uproar-redis-'))
    this.#options = options
  }

  get url (): string {
    const user = this.#options.password === undefined ? '' : `:${this.#options.password}@`
    return `${this.#options.tls === undefined ? 'redis' : 'rediss'}://${user}127.0.0.1:${this.port}`
  }

  get pid (): number { return this.#child?.pid ?? 0 }

  /** Starts it, or starts it again on its port and folder. */
  async launch (): Promise<void> {
    const binary = redisPath()
    if (binary === null) throw new Error('there is no redis-server')
    const child = spawnWithUs(binary, this.#args(), { cwd: this.dir })
    this.#child = child
    this.#exit = new Promise((resolve) => child.once('exit', () => resolve()))
    for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk: Buffer) => { this.#words = (this.#words + chunk.toString()).slice(-WORDS_KEPT) })
    await within(READY_MS, `redis-server on ${this.port}`, async () => {
      if (child.exitCode !== null) throw new Error(`redis-server ended with ${child.exitCode}:\n${this.#words}`)
      return (await this.cli('PING').catch(() => '')) === 'PONG'
    })
  }

  /** Runs redis-cli against it; resolves with what it printed, trimmed. Rejects when it failed or took 10 s. */
  cli (...words: string[]): Promise<string> {
    const secret = this.#options.password === undefined ? [] : ['--no-auth-warning', '-a', this.#options.password]
    const tls = this.#options.tls === undefined ? [] : ['--tls', '--insecure']
    return new Promise((resolve, reject) => {
      execFile('redis-cli', ['-p', String(this.port), ...secret, ...tls, ...words], { timeout: 10_000, maxBuffer: 1 << 26 }, (error, stdout) => {
        if (error !== null) reject(error)
        else resolve(stdout.trim())
      })
    })
  }

  /** A line of INFO, such as `used_cpu_user`. */
  async info (name: string): Promise<string> {
    return new RegExp(`^${name}:(.*?)\r?$`, 'm').exec(await this.cli('INFO', 'everything'))?.[1] ?? ''
  }

  /** SIGKILL: no word, no last save. */
  async kill9 (): Promise<void> {
    this.#child?.kill('SIGKILL')
    await this.#exit
  }

  /** SIGTERM, as an operator's restart does it. */
  async stop (): Promise<void> {
    this.#child?.kill('SIGTERM')
    const timer = setTimeout(() => this.#child?.kill('SIGKILL'), READY_MS)
    await this.#exit
    clearTimeout(timer)
  }

  /** SIGSTOP: connections stay open and nothing answers. */
  freeze (): void { this.#child?.kill('SIGSTOP') }

  thaw (): void { this.#child?.kill('SIGCONT') }

  /** Between kill9 and launch: its data is gone. */
  forget (): void {
    for (const name of ['appendonlydir', 'dump.rdb', 'appendonly.aof']) rmSync(join(this.dir, name), { recursive: true, force: true })
  }

  async destroy (): Promise<void> {
    await this.kill9()
    rmSync(this.dir, { recursive: true, force: true })
  }

  #args (): string[] {
    const { args = [], password, sentinel, tls } = this.#options
    const port = tls === undefined ? ['--port', String(this.port)] : ['--port', '0', '--tls-port', String(this.port), '--tls-cert-file', tls.cert, '--tls-key-file', tls.key, '--tls-ca-cert-file', tls.cert, '--tls-auth-clients', 'no']
    if (sentinel === undefined) {
      const secret = password === undefined ? [] : ['--requirepass', password, '--masterauth', password]
      return [...port, '--bind', '127.0.0.1', '--dir', this.dir, '--save', '', '--repl-diskless-sync-delay', '0', ...secret, ...args]
    }
    const file = join(this.dir, 'sentinel.conf')
    // A Sentinel keeps what it learned in its file: only the first start writes it.
    if (!existsSync(file)) writeFileSync(file, `port ${this.port}\nbind 127.0.0.1\ndir ${this.dir}\n${sentinel}\n`)
    return [file, '--sentinel']
  }
}

/** A server that copies `master`. Resolves once it is in step. */
export async function startReplica (scope: Scope, master: RedisServer, options: RedisServerOptions = {}): Promise<RedisServer> {
  const replica = await RedisServer.start(scope, { ...options, args: [...(options.args ?? []), '--replicaof', '127.0.0.1', String(master.port)] })
  await within(READY_MS, 'the replica', async () => await replica.info('master_link_status') === 'up')
  return replica
}

export interface RedisCluster {
  readonly masters: readonly RedisServer[]
  /** One of each master, in their order; empty when none were asked for. */
  readonly replicas: readonly RedisServer[]
  /** `redis+cluster://host:port,…` of the masters. */
  readonly url: string
}

/** A Cluster of three masters that share the slots evenly, each with a replica on request. */
export async function startCluster (scope: Scope, options: { readonly replicas?: boolean, readonly args?: readonly string[], readonly nodeTimeoutMs?: number } = {}): Promise<RedisCluster> {
  const start = async (): Promise<RedisServer> => {
    const bus = await freePort()
    return RedisServer.start(scope, { args: ['--cluster-enabled', 'yes', '--cluster-port', String(bus), '--cluster-node-timeout', String(options.nodeTimeoutMs ?? 2000), ...(options.args ?? [])] })
  }
  const masters = await Promise.all([start(), start(), start()])
  const replicas = options.replicas === true ? await Promise.all([start(), start(), start()]) : []
  const place = (node: RedisServer): string => `127.0.0.1:${node.port}`
  await masters[0].cli('--cluster', 'create', ...masters.map(place), '--cluster-yes')
  for (const [i, replica] of replicas.entries()) {
    const master = masters[i] as RedisServer
    const id = await master.cli('CLUSTER', 'MYID')
    await masters[0].cli('--cluster', 'add-node', place(replica), place(master), '--cluster-slave', '--cluster-master-id', id)
  }
  const all = [...masters, ...replicas]
  await within(CLUSTER_MS, 'the cluster', async () => {
    const states = await Promise.all(all.map(async (node) => `${await node.cli('CLUSTER', 'INFO')}`))
    const links = await Promise.all(replicas.map((node) => node.info('master_link_status')))
    return states.every((state) => state.includes('cluster_state:ok') && state.includes(`cluster_known_nodes:${all.length}`)) && links.every((link) => link === 'up')
  })
  return { masters, replicas, url: `redis+cluster://${masters.map(place).join(',')}` }
}

export interface RedisSentinels {
  readonly master: RedisServer
  readonly replica: RedisServer
  readonly sentinels: readonly RedisServer[]
  /** `redis+sentinel://host:port,…/main` */
  readonly url: string
}

/** A master and its replica under three Sentinels, which promote the replica after `downMs` of silence. */
export async function startSentinels (scope: Scope, options: { readonly downMs?: number, readonly args?: readonly string[] } = {}): Promise<RedisSentinels> {
  const args = options.args ?? []
  const master = await RedisServer.start(scope, { args })
  const replica = await startReplica(scope, master, { args })
  const sentinel = `sentinel monitor main 127.0.0.1 ${master.port} 2\nsentinel down-after-milliseconds main ${options.downMs ?? 1000}\nsentinel failover-timeout main 5000`
  const sentinels = await Promise.all([0, 1, 2].map(() => RedisServer.start(scope, { sentinel })))
  await within(READY_MS, 'the Sentinels', async () => {
    const seen = await Promise.all(sentinels.map((one) => one.cli('SENTINEL', 'MASTER', 'main')))
    return seen.every((text) => /num-slaves\n1\n/.test(text) && /num-other-sentinels\n2\n/.test(text))
  })
  return { master, replica, sentinels, url: `redis+sentinel://${sentinels.map(({ port }) => `127.0.0.1:${port}`).join(',')}/main` }
}

async function within (ms: number, what: string, holds: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + ms
  while (!await holds()) {
    if (performance.now() > end) throw new Error(`${what}: not ready in ${ms} ms`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
