// The statistics page: one room, one span of time, the archive's numbers as figures, charts and lists. Asks anew once a
// minute while it is in sight. Bundled to dist/web/stats/board.js.       ?room=NAME&span=day      #token=…

import { isRoom } from '../../../proto/values.ts'
import type { UproarError } from '../client.ts'
import { Account, takeToken } from '../page/account.ts'
import { Asker } from '../page/asker.ts'
import { make, part, show, write } from '../page/dom.ts'
import { placeIcons } from '../page/icons.ts'
import { loadConfig } from '../page/page-config.ts'
import { entryRefusal } from '../page/texts.ts'
import { startTheme } from '../page/theme.ts'
import { chartOf, type Series } from './chart.ts'
import { count, moment, SPANS, TEXTS } from './texts.ts'

interface Count { readonly name: string, readonly count: number }

/** The answer of GET /v1/rooms/:room/stats. */
interface Stats {
  readonly from: number
  readonly to: number
  readonly stepS: number
  readonly first: number | null
  readonly last: number | null
  readonly totals: { readonly messages: number, readonly chatters: number, readonly viewersMax: number | null }
  readonly points: readonly { readonly at: number, readonly messages: number, readonly chatters: number, readonly viewers: number | null }[]
  readonly moderation: { readonly removals: number, readonly points: readonly { readonly at: number, readonly removals: number, readonly actions: number }[], readonly actions: readonly Count[] } | null
  readonly words: readonly Count[] | null
  readonly emotes: readonly Count[] | null
}

const ROOM_DEFAULT = 'lobby'
const SPAN_DEFAULT = 'day'
const AGAIN_MS = 60_000
const LISTED = 15

class Board {
  readonly #room: string
  readonly #asker: Asker
  readonly #span = part('span', HTMLSelectElement)
  #asked = 0

  constructor (room: string, span: string, token: string | null, devTokens: boolean) {
    this.#room = room
    const account = new Account(token, { room, devTokens, roleDefault: 'moderator', changed: () => { this.#asker.forget(); void this.read() } })
    this.#asker = new Asker(() => account.token())
    this.#span.append(...SPANS.map(([value, label]) => new Option(label, value, value === span, value === span)))
    this.#span.addEventListener('change', () => {
      history.replaceState(null, '', `?${new URLSearchParams({ room, span: this.#span.value })}`)
      void this.read()
    })
    setInterval(() => { if (!document.hidden && !this.#isLooking()) void this.read() }, AGAIN_MS)
  }

  /** Asks for the numbers and shows them; the last asked for count. */
  async read (): Promise<void> {
    const asked = ++this.#asked
    try {
      const stats = await this.#stats()
      if (asked === this.#asked) this.#draw(stats)
    } catch (error) {
      if (asked !== this.#asked) return
      const { name, message, retryAfterMs } = error as UproarError
      const why = `${message.charAt(0).toUpperCase()}${message.slice(1)}.`
      this.#notice(name === 'unavailable' || name === 'overloaded' ? TEXTS.unavailable(why) : TEXTS.refused(entryRefusal(name, message, retryAfterMs)))
      for (const id of ['figures', 'charts', 'lists']) part(id, HTMLElement).replaceChildren()
    }
  }

  async #stats (): Promise<Stats> {
    const path = `/v1/rooms/${this.#room}/stats`
    const [, , seconds] = SPANS.find(([name]) => name === this.#span.value) ?? SPANS[1]
    const now = Date.now()
    if (seconds !== null) return this.#asker.ask<Stats>(path, { from: now - seconds * 1000, to: now })
    const { first, last } = await this.#asker.ask<Stats>(path, { stepS: 86_400 })
    return this.#asker.ask<Stats>(path, first === null || last === null ? {} : { from: first, to: last + 60_000 })
  }

  /** A cursor on a chart must not be taken away. */
  #isLooking (): boolean {
    return document.activeElement?.classList.contains('plot') === true || document.querySelector('.plot:hover') !== null
  }

  #draw (stats: Stats): void {
    const { from, to, stepS, totals, moderation, words, emotes } = stats
    this.#notice(totals.messages === 0 && totals.viewersMax === null ? TEXTS.nothing : '')
    write(part('told', HTMLElement), TEXTS.told(from, to, stepS))
    part('figures', HTMLElement).replaceChildren(...figuresOf(stats))
    part('charts', HTMLElement).replaceChildren(...this.#charts(stats))
    const lists = [[TEXTS.lists.words, words], [TEXTS.lists.emotes, emotes], [TEXTS.lists.actions, moderation?.actions ?? null]] as const
    part('lists', HTMLElement).replaceChildren(...lists.flatMap(([title, rows]) => rows === null || rows.length === 0 ? [] : [listOf(title, rows)]))
    show(part('more-for-moderators', HTMLElement), moderation === null)
    write(part('more-for-moderators', HTMLElement), moderation === null ? TEXTS.forModerators : '')
  }

  #charts (stats: Stats): HTMLElement[] {
    const { from, to, stepS, points, moderation } = stats
    const steps = Math.max(1, Math.round((to - from) / stepS / 1000))
    const series = <Point extends { readonly at: number }> (name: string, all: readonly Point[], value: (point: Point) => number | null, without: 0 | null = 0): Series => {
      const values = new Array<number | null>(steps).fill(without)
      for (const point of all) values[Math.round((point.at - from) / stepS / 1000)] = value(point)
      return { name, values }
    }
    const times = [from, from + (to - from) / 2, to].map((at) => moment(at, stepS))
    const base = { from, stepS, times }
    const charts = [chartOf({ ...base, title: TEXTS.charts.messages, bars: series(TEXTS.series.messages, points, ({ messages }) => messages), line: series(TEXTS.series.chatters, points, ({ chatters }) => chatters) })]
    if (stats.totals.viewersMax !== null) charts.push(chartOf({ ...base, title: TEXTS.charts.viewers, bars: null, line: series(TEXTS.series.viewers, points, ({ viewers }) => viewers, null) }))
    if (moderation !== null) charts.push(chartOf({ ...base, title: TEXTS.charts.moderation, bars: series(TEXTS.series.removals, moderation.points, ({ removals }) => removals), line: series(TEXTS.series.actions, moderation.points, ({ actions }) => actions) }))
    return charts
  }

  #notice (text: string): void {
    write(part('notice', HTMLElement), text)
    show(part('notice', HTMLElement), text !== '')
  }
}

function figuresOf ({ stepS, totals, points, moderation }: Stats): HTMLElement[] {
  const figures: readonly (readonly [label: string, value: string | null])[] = [
    [TEXTS.figures.messages, count(totals.messages)],
    [TEXTS.figures.chatters, count(totals.chatters)],
    [TEXTS.figures.rate, totals.chatters === 0 ? null : (totals.messages / totals.chatters).toFixed(1)],
    [TEXTS.figures.busiest(stepS), count(Math.max(0, ...points.map(({ messages }) => messages)))],
    [TEXTS.figures.viewersMax, totals.viewersMax === null ? null : count(totals.viewersMax)],
    [TEXTS.figures.removals, moderation === null ? null : count(moderation.removals)]
  ]
  return figures.flatMap(([label, value]) => value === null ? [] : [make('div', { className: 'figure' }, make('dt', { textContent: label }), make('dd', { textContent: value }))])
}

function listOf (title: string, rows: readonly Count[]): HTMLElement {
  const most = Math.max(1, ...rows.map((row) => row.count))
  return make('section', { className: 'list' }, make('h2', { textContent: title }), make('ol', {}, ...rows.slice(0, LISTED).map((row) => {
    const item = make('li', {}, make('bdi', { textContent: row.name }), make('span', { textContent: count(row.count) }))
    item.style.setProperty('--share', String(row.count / most))
    return item
  })))
}

async function start (): Promise<void> {
  const token = takeToken()
  const query = new URLSearchParams(location.search)
  const wanted = query.get('room')
  const room = isRoom(wanted) ? wanted : ROOM_DEFAULT
  placeIcons(document)
  startTheme()
  part('room', HTMLInputElement).value = room
  part('replay-link', HTMLAnchorElement).href = `/replay?${new URLSearchParams({ room })}`
  write(part('title', HTMLElement), `#${room}`)
  document.title = TEXTS.pageTitle(room)
  const { devTokens } = await loadConfig()
  await new Board(room, query.get('span') ?? SPAN_DEFAULT, token, devTokens).read()
}

void start()
