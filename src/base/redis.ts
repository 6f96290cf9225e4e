// Connections to Redis: one server, the master behind Sentinels, or a Cluster. Owns which node answers for which hash
// tag, and the life of every connection; must not know what commands mean. ioredis speaks the protocol, and nothing
// else: it reconnects, queues and resends nothing, because each of these would do a write twice or hold it without
// bound. A connection here is one TCP connection. When it ends, its calls fail at once, and the next call opens another.
//
// In a Cluster the node for a tag is learned from MOVED answers, as from any other node. Errors carry Redis' words but
// never a command, its arguments or a password. Bounds: a deadline on every call, one connection a node for commands.

import { Redis as Client, type RedisOptions as ClientOptions } from 'ioredis'
import { StartFault } from './errors.ts'
import type { RedisAddress, RedisPlace } from './redis-place.ts'

/** Words of a command: text, bytes, numbers. */
export type RedisWord = string | Buffer | number

/** A call that failed. `away`: Redis did not answer, or not as the master of these keys; whether it ran is unknown unless `isUnsent`. */
export class RedisFault extends Error {
  override readonly name = 'RedisFault'
  readonly isAway: boolean
  readonly isUnsent: boolean
  constructor (message: string, kind: { isAway: boolean, isUnsent?: boolean }) {
    super(message)
    this.isAway = kind.isAway
    this.isUnsent = kind.isUnsent ?? false
  }
}

export interface RedisOptions {
  /** Deadline of a call, and of connecting, in milliseconds. */
  readonly timeoutMs: number
}

/** Answers that say "not here" or "not now": the same call may succeed elsewhere or later. */
const NOT_NOW = /^(MOVED|ASK|TRYAGAIN|CLUSTERDOWN|LOADING|MASTERDOWN|READONLY|BUSY|NOREPLICAS|OOM|UNKILLABLE|MISCONF)\b|non local key in a cluster node/
/** Answers after which the connection leads to the wrong place. */
const WRONG_PLACE = /^(READONLY|MASTERDOWN|LOADING|CLUSTERDOWN)\b/
const HOPS_MAX = 5
const MAJOR_MIN = 7

export class Redis {
  readonly place: RedisPlace
  readonly #options: RedisOptions
  /** By address, '' where there is one place to go. */
  readonly #links = new Map<string, Link>()
  /** Cluster: the node that answered for a tag. */
  readonly #owners = new Map<string, string>()
  readonly #known: string[]
  #turn = 0
  #isClosed = false

  constructor (place: RedisPlace, options: RedisOptions) {
    this.place = place
    this.#options = options
    this.#known = place.kind === 'cluster' ? place.addresses.map(addressText) : ['']
  }

  /**
   * Sends a command to the node that holds the keys of this hash tag and resolves with its answer, text as Buffers.
   * Rejects with RedisFault after `timeoutMs` at most.
   */
  async call (tag: string, command: string, words: readonly RedisWord[], timeoutMs = this.#options.timeoutMs): Promise<unknown> {
    for (let hop = 0; ; hop++) {
      const address = this.#addressOf(tag)
      try {
        const answer = await this.#link(address).call(command, words, timeoutMs)
        this.#owners.set(tag, address)
        return answer
      } catch (error) {
        if (!(error instanceof RedisFault) || !this.#isElsewhere(tag, address, error) || hop === HOPS_MAX) throw error
      }
    }
  }

  /** Connections of their own to the same place, for calls that must not hold up or take along those of this one. */
  sibling (): Redis {
    return new Redis(this.place, this.#options)
  }

  /** A connection of the caller's own to the node that holds this tag, for commands that block it. */
  async connect (tag: string): Promise<Link> {
    if (this.#isClosed) throw new RedisFault('the connections to Redis are closed', { isAway: true, isUnsent: true })
    const link = new Link(this.place, this.#addressOf(tag), this.#options.timeoutMs)
    try {
      await link.open()
      return link
    } catch (error) {
      this.#owners.delete(tag)
      throw error
    }
  }

  /** After a call on an own connection failed: learns from it where the tag's keys are. */
  learn (tag: string, link: Link, error: unknown): void {
    if (error instanceof RedisFault) this.#isElsewhere(tag, link.address, error)
  }

  /** Redis answers, is new enough, of the kind that the URL says, and keeps what it is given. Throws StartFault. */
  async check (): Promise<void> {
    const info = await this.#firstInfo()
    const line = (name: string): string => new RegExp(`^${name}:(.*?)\r?$`, 'm').exec(info)?.[1] ?? ''
    if (Number.parseInt(line('redis_version'), 10) < MAJOR_MIN) throw new StartFault(`REDIS_URL: Redis ${MAJOR_MIN} or later is needed; this one is ${line('redis_version')}`)
    const isCluster = line('cluster_enabled') === '1'
    if (isCluster && this.place.kind !== 'cluster') throw new StartFault('REDIS_URL: this Redis is a node of a Cluster; the URL must begin with redis+cluster (rediss+cluster for TLS)')
    if (!isCluster && this.place.kind === 'cluster') throw new StartFault('REDIS_URL: this Redis is not a node of a Cluster; the URL must begin with redis (rediss for TLS)')
    const policy = line('maxmemory_policy')
    const isBounded = Number(line('maxmemory')) > 0
    if (isBounded && policy !== 'noeviction') throw new StartFault(`REDIS_URL: this Redis may throw data away (maxmemory-policy ${policy}); set it to noeviction`)
  }

  /** Ends every connection for commands; calls under way fail. */
  close (): void {
    this.#isClosed = true
    for (const link of this.#links.values()) link.end()
    this.#links.clear()
  }

  async #firstInfo (): Promise<string> {
    let last: unknown
    for (const address of this.#known) {
      try {
        return String(await this.#link(address).call('INFO', ['everything'], this.#options.timeoutMs))
      } catch (error) {
        last = error
      }
    }
    throw new StartFault(`REDIS_URL: ${reasonOf(last)}`)
  }

  #addressOf (tag: string): string {
    const owner = this.#owners.get(tag)
    if (owner !== undefined) return owner
    return this.#known[this.#turn++ % this.#known.length] as string
  }

  #link (address: string): Link {
    if (this.#isClosed) throw new RedisFault('the connections to Redis are closed', { isAway: true, isUnsent: true })
    const existing = this.#links.get(address)
    if (existing !== undefined && !existing.isEnded) return existing
    const link = new Link(this.place, address, this.#options.timeoutMs)
    this.#links.set(address, link)
    return link
  }

  /** Whether the same call should be made again at once, at another node. */
  #isElsewhere (tag: string, address: string, fault: RedisFault): boolean {
    const moved = /^MOVED \d+ (\S*):(\d+)/.exec(fault.message)
    if (moved === null) {
      // A node that refuses a call for what it says still is the one that answers for the keys.
      if (fault.isAway) this.#owners.delete(tag)
      else this.#owners.set(tag, address)
      return false
    }
    // An empty host means: the one that said so.
    const host = moved[1] === '' ? address.slice(0, address.lastIndexOf(':')) : moved[1] as string
    const owner = `${host}:${moved[2]}`
    this.#owners.set(tag, owner)
    if (!this.#known.includes(owner) && this.#known.length < NODES_MAX) this.#known.push(owner)
    return true
  }
}

/** Nodes that are remembered to ask when others are away. */
const NODES_MAX = 1000

/** One connection: opened by its first call, over for good when it ends. */
export class Link {
  readonly address: string
  readonly #client: Client
  readonly #timeoutMs: number
  #opening: Promise<void> | null = null
  #words = ''
  #isEnding = false
  isEnded = false

  constructor (place: RedisPlace, address: string, timeoutMs: number) {
    this.address = address
    this.#timeoutMs = timeoutMs
    this.#client = new Client(clientOptions(place, address, timeoutMs))
    this.#client.on('error', (error: Error) => { this.#words = error.message })
    this.#client.on('end', () => { this.isEnded = true })
  }

  /** Rejects with RedisFault when there is no connection within the deadline. */
  open (): Promise<void> {
    this.#opening ??= this.#open()
    return this.#opening
  }

  /** Rejects with RedisFault; a deadline that passes ends the connection, so that a late answer is nobody's. */
  async call (command: string, words: readonly RedisWord[], timeoutMs: number): Promise<unknown> {
    await this.open()
    if (this.isEnded) throw this.#away('the connection to Redis ended', true)
    try {
      return await this.#within(timeoutMs, this.#client.callBuffer(command, ...words))
    } catch (error) {
      throw this.#faultOf(error)
    }
  }

  /** XREAD with BLOCK on several streams; null when nothing came. */
  async read (words: readonly RedisWord[], timeoutMs: number): Promise<[key: Buffer, entries: [id: Buffer, fields: Buffer[]][]][] | null> {
    await this.open()
    try {
      // The named method keeps the shape of the answer whatever the protocol's version.
      const read = this.#client.xreadBuffer as (...words: RedisWord[]) => Promise<[Buffer, [Buffer, Buffer[]][]][] | null>
      return await this.#within(timeoutMs, read.apply(this.#client, [...words]))
    } catch (error) {
      throw this.#faultOf(error)
    }
  }

  end (): void {
    if (this.#isEnding) return
    this.#isEnding = true
    this.isEnded = true
    this.#client.disconnect()
  }

  async #open (): Promise<void> {
    try {
      await this.#within(this.#timeoutMs, this.#client.connect())
    } catch (error) {
      this.end()
      throw this.#away(`Redis cannot be reached: ${this.#words === '' ? (error as Error).message : this.#words}`, true)
    }
  }

  async #within<T> (ms: number, work: Promise<T>): Promise<T> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => { timer = setTimeout(() => reject(this.#away(`Redis did not answer in ${ms} ms`, false)), ms) })
    try {
      return await Promise.race([work, late])
    } catch (error) {
      if (error instanceof RedisFault) {
        work.catch(() => {})
        this.end()
      }
      throw error
    } finally {
      clearTimeout(timer)
    }
  }

  /** What ioredis throws may carry the command and its arguments, which are no business of a log's. */
  #faultOf (error: unknown): RedisFault {
    if (error instanceof RedisFault) return error
    const { name, message } = error as Error
    if (name !== 'ReplyError') return this.#away(`the connection to Redis ended: ${message}`, message.includes('enableOfflineQueue'))
    if (WRONG_PLACE.test(message)) this.end()
    return new RedisFault(message, { isAway: NOT_NOW.test(message) })
  }

  #away (message: string, isUnsent: boolean): RedisFault {
    return new RedisFault(message, { isAway: true, isUnsent })
  }
}

function clientOptions (place: RedisPlace, address: string, timeoutMs: number): ClientOptions {
  const { kind, name, username, password, sentinelUsername, sentinelPassword, db, tls } = place
  const secure = tls === null ? null : { ...(tls.ca === null ? {} : { ca: tls.ca }), ...(tls.servername === null ? {} : { servername: tls.servername }) }
  const common: ClientOptions = {
    lazyConnect: true, enableOfflineQueue: false, autoResendUnfulfilledCommands: false, maxRetriesPerRequest: 0, retryStrategy: null, protocol: 2,
    connectTimeout: timeoutMs, disableClientInfo: true, connectionName: 'uproar', db,
    ...(username === null ? {} : { username }), ...(password === null ? {} : { password })
  }
  if (kind === 'sentinel') {
    return {
      ...common, name, sentinels: [...place.addresses], sentinelRetryStrategy: () => null, sentinelCommandTimeout: timeoutMs, failoverDetector: false,
      ...(sentinelUsername === null ? {} : { sentinelUsername }), ...(sentinelPassword === null ? {} : { sentinelPassword }),
      ...(secure === null ? {} : { tls: secure, sentinelTLS: secure, enableTLSForSentinelMode: true })
    }
  }
  const target = address === '' ? place.addresses[0] as RedisAddress : addressOf(address)
  return { ...common, ...target, ...(secure === null ? {} : { tls: secure }) }
}

function addressText ({ host, port }: RedisAddress): string {
  return `${host}:${port}`
}

function addressOf (text: string): RedisAddress {
  const colon = text.lastIndexOf(':')
  return { host: text.slice(0, colon), port: Number(text.slice(colon + 1)) }
}

function reasonOf (error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
