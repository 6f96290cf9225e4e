// What stories of the moderator console stand on: the real program, people who speak through its REST, and the console in
// a real browser as somebody with a moderator's token.

import type { Browser, BrowserContextOptions, Page } from 'playwright-core'
import { live, visit, type Visitor } from '../web/page/browser.suite.ts'
import { API_KEY, OPEN_LIMITS, Program, tokenOf } from './harness.ts'

export { audit } from '../web/page/browser.suite.ts'

interface Scope { teardown (end: () => unknown): void }

export const PEOPLE: readonly (readonly [id: string, name: string, roles: readonly string[]])[] = [
  ['u1', 'Nadia_K', []], ['u2', 'ThePatientGardener', ['subscriber']], ['u3', 'Yuki', ['subscriber']], ['u4', 'Ólafur', ['vip']], ['u5', 'xX_pixel_Xx', []],
  ['u6', 'مريم', ['subscriber']], ['u7', 'Marguerite Vandenberghe-Lindqvist', []], ['u8', 'streamer_zoe', ['broadcaster', 'verified']]
]

export class Stage {
  readonly program: Program
  #said = 0

  static async start (t: Scope, env: Readonly<Record<string, string>> = {}): Promise<Stage> {
    return new Stage(await Program.start(t, { ...OPEN_LIMITS, ...env }))
  }

  constructor (program: Program) {
    this.program = program
  }

  /** Somebody says something; resolves with its seq, or the status of the refusal below zero. */
  async say (room: string, who: number | string, text: string, ext: unknown = null): Promise<number> {
    const [id, name, roles] = typeof who === 'string' ? [who, who, []] : PEOPLE[who % PEOPLE.length] as (typeof PEOPLE)[number]
    const { status, json } = await this.program.request('POST', `/v1/rooms/${room}/messages`, { token: API_KEY, json: { nonce: `s${++this.#said}-${room}`, body: text, ext, as: { id, name, roles } } })
    return status < 300 && status !== 202 ? json.seq as number : -status
  }

  async act (room: string, action: string, args: Record<string, unknown>): Promise<void> {
    const { status, text } = await this.program.request('POST', `/v1/rooms/${room}/actions`, { token: API_KEY, json: { action, args } })
    if (status !== 200) throw new Error(`${action}: ${text}`)
  }

  async set (room: string, settings: Record<string, unknown>): Promise<void> {
    const { status, text } = await this.program.request('PUT', `/v1/rooms/${room}`, { token: API_KEY, json: { settings } })
    if (status >= 300) throw new Error(text)
  }

  /** The console as a moderator of these rooms. */
  async console (browser: Browser, rooms: readonly string[], options: BrowserContextOptions & { role?: string, id?: string } = {}): Promise<Visitor> {
    const { role = 'moderator', id = 'mod', ...context } = options
    const token = tokenOf(id, { name: 'Kim', rooms: Object.fromEntries(rooms.map((room) => [room, [role]])) })
    const visitor = await visit(browser, `${this.program.http}/moderate?rooms=${rooms.join(',')}#token=${token}`, context)
    await live(visitor.page)
    return visitor
  }
}

/** The row of a stream whose text holds this. */
export function streamRow (page: Page, text: string): ReturnType<Page['locator']> {
  return page.locator('.column .rows > .row').filter({ hasText: text }).last()
}
