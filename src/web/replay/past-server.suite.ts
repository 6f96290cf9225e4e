// A server for the tests of the pages about the past: the built pages, and a made-up evening of one room behind the routes
// that those pages ask (stats, replay, messages). Not the product: no checks. Bound: lives as long as a test.

import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { extname, join } from 'node:path'

const TYPES: Record<string, string> = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml', '.map': 'application/json' }
const POLICY = "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data: https:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'"

export interface PastEntry { readonly op: 'message', readonly seq: number, readonly ts: number, readonly user: { readonly id: string, readonly name: string, readonly roles: number }, readonly kind: number, readonly body: string, readonly ext: Record<string, unknown> | null }

/** When the evening begins: 20 November 2026, 19:00 UTC. */
export const EVENING = Date.UTC(2026, 10, 20, 19)
/** How long it is. */
export const EVENING_MS = 5_400_000

const PEOPLE = [
  ['u1', 'Nadia_K', 0], ['u2', 'ThePatientGardener', 1], ['u3', 'mods_love_tea', 4], ['u4', 'Yuki', 1], ['u5', 'streamer_zoe', 72],
  ['u6', 'Ólafur', 2], ['u7', 'xX_pixel_Xx', 0], ['u8', 'StreamBot', 32], ['u9', 'مريم', 1], ['u10', 'Marguerite Vandenberghe-Lindqvist', 0]
] as const
const SAID = [
  'that waterfall was unreal 😍', 'just got here, what did I miss?', 'take me with you next time please', 'LETS GO', 'so jealous', 'the goose is back', '😂😂😂', 'what tyres are you running on that gravel?',
  'greetings from Lima', 'مرحبا بالجميع من الدار البيضاء', 'map is here: https://example.org/maps/akureyri?day=12', 'I was not ready for that view, honestly', 'W', 'how cold is the water?', 'no way 😂'
] as const

/** Messages of an evening: seconds apart, with a rush when the goose comes (after 40 minutes). */
export function evening (): PastEntry[] {
  const entries: PastEntry[] = []
  let at = 0
  for (let seq = 1; at < EVENING_MS; seq++) {
    const [id, name, roles] = PEOPLE[(seq * 7 + (seq >> 3)) % 10] as (typeof PEOPLE)[number]
    entries.push({ op: 'message', seq, ts: EVENING + at, user: { id, name, roles }, kind: 0, body: `${SAID[(seq * 11 + (seq >> 4)) % SAID.length] as string}`, ext: null })
    const minute = at / 60_000
    const pace = minute > 39 && minute < 44 ? 250 : minute > 60 && minute < 64 ? 700 : 2200 + 1200 * Math.sin(minute / 7)
    at += Math.round(pace * (0.5 + (seq * 37 % 100) / 100))
  }
  return entries
}

export class PastServer {
  readonly #folder: string
  readonly entries = evening()
  /** Instead of numbers: the archive does not answer, for this reason. */
  away: string | null = null
  isModerator = false
  /** Every request for a run of entries: its query. */
  readonly asked: Record<string, string>[] = []
  #http: Server | null = null

  /** `folder`: what build.ts made (dist/web). */
  constructor (folder: string) {
    this.#folder = folder
  }

  get origin (): string {
    return `http://127.0.0.1:${(this.#http?.address() as AddressInfo).port}`
  }

  async start (): Promise<void> {
    this.#http = createServer((request, response) => { void this.#answer(request, response) }).listen(0, '127.0.0.1')
    await once(this.#http, 'listening')
  }

  async stop (): Promise<void> {
    this.#http?.closeAllConnections()
    this.#http?.close()
    if (this.#http !== null) await once(this.#http, 'close')
  }

  async #answer (request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://page')
    const [, route] = /^\/v1\/rooms\/[^/]+\/(\w+)$/.exec(pathname) ?? []
    const query = Object.fromEntries(searchParams)
    response.setHeader('content-security-policy', POLICY)
    if (pathname === '/v1/config') return json(response, { wsUrl: null, wsPort: 1, devTokens: true, limits: {} })
    if (pathname === '/v1/dev/token') return json(response, { token: 'e30.e30.x' })
    if (route === 'stats') return this.away === null ? json(response, this.#stats(query)) : refuse(response, this.away)
    if (route === 'replay') return json(response, this.#replay(query))
    if (route === 'messages') {
      const entries = query['after'] === '0' ? this.entries.slice(0, 1) : this.entries.slice(-1)
      return json(response, { epoch: 'e1', head: this.entries.length, entries, more: true })
    }
    if (pathname === '/holder') return void response.setHeader('content-security-policy', POLICY).setHeader('content-type', 'text/html').end('<!doctype html><title>Holder</title><link rel="icon" href="/icon.svg"><iframe id="chat" width="400" height="600" title="Chat"></iframe>')
    const file = pathname.endsWith('/') || extname(pathname) === '' ? join(pathname, 'index.html') : pathname
    try {
      response.setHeader('content-type', TYPES[extname(file)] ?? 'application/octet-stream').end(await readFile(join(this.#folder, file)))
    } catch {
      response.writeHead(404).end()
    }
  }

  #replay (query: Record<string, string>): unknown {
    this.asked.push(query)
    const moment = Number(query['start']) + Number(query['at'] ?? 0)
    const from = query['after'] === undefined ? this.entries.findIndex(({ ts }) => ts >= moment) : Number(query['after'])
    const first = from < 0 ? this.entries.length : from
    const lead = Math.min(first, Number(query['lead'] ?? 0))
    const limit = Number(query['limit'] ?? 200)
    return { room: 'iceland', epoch: 'e1', head: this.entries.length, lead, entries: this.entries.slice(first - lead, first + limit), more: first + limit < this.entries.length }
  }

  #stats ({ from: fromText, to: toText, stepS: stepText }: Record<string, string>): unknown {
    const to = Number(toText ?? EVENING + 86_400_000)
    const from = Number(fromText ?? to - 86_400_000)
    const stepS = Number(stepText ?? [60, 300, 900, 3600, 21_600, 86_400].find((step) => (to - from) / 1000 / step <= 240) ?? 604_800)
    const [first, last] = [Math.floor(from / 1000 / stepS) * stepS * 1000, Math.ceil(to / 1000 / stepS) * stepS * 1000]
    const within = this.entries.filter(({ ts }) => ts >= first && ts < last)
    const points = [...Map.groupBy(within, ({ ts }) => Math.floor(ts / 1000 / stepS) * stepS * 1000)].map(([at, said]) => ({ at, messages: said.length, chatters: new Set(said.map(({ user }) => user.id)).size, viewers: 800 + Math.round(Math.sin(at / 1e6) * 150) + said.length }))
    const words = (list: readonly (readonly [string, number])[]): { name: string, count: number }[] | null => this.isModerator ? list.map(([name, count]) => ({ name, count })) : null
    return {
      room: 'iceland', from: first, to: last, stepS, first: EVENING, last: EVENING + EVENING_MS - 60_000,
      totals: { messages: within.length, chatters: within.length === 0 ? 0 : PEOPLE.length, viewersMax: points.length === 0 ? null : Math.max(...points.map(({ viewers }) => viewers)) }, points,
      moderation: this.isModerator ? { removals: 23, points: points.filter((_, at) => at % 5 === 0).map(({ at }, number) => ({ at, removals: number % 4, actions: number % 6 })), actions: [{ name: 'remove', count: 19 }, { name: 'timeout', count: 6 }, { name: 'ban', count: 1 }] } : null,
      words: words([['goose', 412], ['waterfall', 287], ['gravel', 140], ['cold', 96], ['akureyri', 61]]),
      emotes: words([['😍', 530], ['😂', 312], [':hype:', 88]])
    }
  }
}

function json (response: ServerResponse, value: unknown): void {
  response.setHeader('content-type', 'application/json').end(JSON.stringify(value))
}

function refuse (response: ServerResponse, message: string): void {
  response.statusCode = 503
  json(response, { error: { code: 40, name: 'unavailable', message, retryAfterMs: 60_000 } })
}
