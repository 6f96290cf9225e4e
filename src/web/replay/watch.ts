// The replay page: which room, which stream of it, and its chat in step with a clock: its own, or that of the video of the
// page that holds it (`embed`). Puts the parts together. Bundled to dist/web/replay/watch.js.
//
//   ?room=NAME &start=UNIX-MS &length=MS &at=MS &embed        #token=… to enter as somebody

import { isRoom } from '../../../proto/values.ts'
import { UproarError, type Entry } from '../client.ts'
import { Account, takeToken } from '../page/account.ts'
import { Asker } from '../page/asker.ts'
import { make, part, show, write } from '../page/dom.ts'
import { placeIcons } from '../page/icons.ts'
import { messageOf, type Item } from '../page/item.ts'
import { loadConfig } from '../page/page-config.ts'
import { entryRefusal } from '../page/texts.ts'
import { startTheme } from '../page/theme.ts'
import { Timeline } from '../page/timeline.ts'
import { Controls } from './controls.ts'
import { Playhead } from './playhead.ts'
import { Reel, type ReelState, type Run } from './reel.ts'
import { activityOf, logged, streamsOf, type PastStream } from './streams.ts'
import { dayTime, offset, TEXTS } from './texts.ts'
import { followVideo, type VideoTime } from './video.ts'

const ROOM_DEFAULT = 'lobby'
const TICK_MS = 100
/** A video that is further from us than this has jumped. */
const DRIFT_MS = 1500
const LENGTH_DEFAULT_MS = 3_600_000

class Watch {
  readonly #room: string
  readonly #asker: Asker
  readonly #account: Account
  readonly #timeline: Timeline
  readonly #playhead = new Playhead()
  readonly #controls: Controls
  #reel: Reel | null = null
  #stream: PastStream | null = null
  #reelState: ReelState['state'] = 'loading'
  #isFollowing = false
  #choosing = 0

  constructor (room: string, token: string | null, devTokens: boolean) {
    this.#room = room
    this.#account = new Account(token, { room, devTokens, changed: () => { this.#asker.forget(); void this.begin() } })
    this.#asker = new Asker(() => this.#account.token())
    const log = part('log', HTMLElement)
    this.#timeline = new Timeline({
      scroller: log, rows: part('rows', HTMLElement), dress: (row, item) => this.#dress(row, item),
      changed: (paused, unseen) => { show(part('newest', HTMLElement), paused); write(part('newest-text', HTMLElement), TEXTS.newMessages(unseen)) }
    })
    this.#controls = new Controls({
      toggle: () => this.#toggle(),
      seek: (position) => this.#seek(position),
      jump: (by) => this.#seek(this.#playhead.position + by),
      speed: (speed) => { this.#playhead.speed = speed }
    })
    part('newest', HTMLButtonElement).addEventListener('click', () => { this.#timeline.resume(); log.focus({ preventScroll: true }) })
    part('start-form', HTMLFormElement).addEventListener('submit', (event) => { event.preventDefault(); this.#fromMoment() })
    followVideo((time) => this.#follow(time))
    setInterval(() => this.#tick(), TICK_MS)
  }

  /** Finds the streams of the room and loads the one that was asked for, or the newest. */
  async begin (): Promise<void> {
    const query = new URLSearchParams(location.search)
    const start = uintOf(query.get('start'))
    const at = uintOf(query.get('at')) ?? 0
    const given = start === null ? null : { from: start, to: start + (uintOf(query.get('length')) ?? LENGTH_DEFAULT_MS), messages: null }
    if (given !== null) void this.#choose(given, at)
    const streams = await this.#streams()
    this.#drawChoices(streams)
    if (given === null && streams[0] !== undefined) await this.#choose(streams[0], at)
    if (given === null && streams.length === 0) this.#nothing(TEXTS.noStreams)
  }

  async #streams (): Promise<readonly PastStream[]> {
    try {
      const streams = await streamsOf(this.#asker, this.#room)
      this.#notice('')
      // What was said a moment ago may not be in the archive yet.
      const recent = streams.length === 0 ? await logged(this.#asker, this.#room) : null
      return recent === null ? streams : [recent]
    } catch (error) {
      const { name, message, retryAfterMs } = error as UproarError
      const why = `${message.charAt(0).toUpperCase()}${message.slice(1)}.`
      this.#notice(name === 'unavailable' || name === 'overloaded' ? TEXTS.noArchive(why) : entryRefusal(name, message, retryAfterMs))
    }
    const stream = await logged(this.#asker, this.#room).catch(() => null)
    return stream === null ? [] : [stream]
  }

  /** Loads a stream, from its first message on where the archive knows that, and stands at `at`. */
  async #choose (stream: PastStream, at = 0): Promise<void> {
    const choosing = ++this.#choosing
    const [activity, from] = await Promise.all([activityOf(this.#asker, this.#room, stream).catch(() => null), this.#beginningOf(stream)])
    if (choosing !== this.#choosing) return
    this.#stream = { ...stream, from }
    this.#controls.load(Math.max(1000, stream.to - from), from, activity)
    this.#playhead.pause()
    this.#reel = new Reel({ start: from, fetch: (query) => this.#fetch(from, query), changed: (state) => this.#reelChanged(state) })
    write(part('about-line', HTMLElement), TEXTS.stream(from, stream.to - from, stream.messages))
    for (const choice of part('choices', HTMLElement).querySelectorAll('button')) choice.ariaCurrent = String(choice.dataset['from'] === String(stream.from))
    this.#seek(at)
  }

  /** When the first message came: numbers know it by the minute at best. A moment that was asked for stays what it is. */
  async #beginningOf ({ from, to, messages }: PastStream): Promise<number> {
    if (messages === null) return from
    const run = await this.#asker.ask<Run>(`/v1/rooms/${this.#room}/replay`, { start: from, limit: 1 }).catch(() => null)
    const ts = run?.entries[0]?.ts
    return ts === undefined || ts > to ? from : ts
  }

  #fetch (start: number, query: { at: number, lead: number } | { after: number }): Promise<Run> {
    return this.#asker.ask<Run>(`/v1/rooms/${this.#room}/replay`, { start, ...query, ...'at' in query ? { at: Math.floor(query.at) } : {} })
  }

  #seek (position: number): void {
    if (this.#reel === null || this.#stream === null) return
    this.#playhead.seek(Math.min(position, Math.max(0, this.#stream.to - this.#stream.from)))
    this.#timeline.clear()
    this.#reel.seek(this.#playhead.position)
    this.#tick()
  }

  #toggle (): void {
    if (this.#playhead.isPlaying) this.#playhead.pause()
    else this.#playhead.play()
    this.#tick()
  }

  #follow ({ position, isPlaying, rate }: VideoTime): void {
    this.#isFollowing = true
    if (this.#playhead.speed !== rate) this.#playhead.speed = rate
    if (isPlaying !== this.#playhead.isPlaying) isPlaying ? this.#playhead.play() : this.#playhead.pause()
    if (Math.abs(position - this.#playhead.position) > DRIFT_MS) this.#seek(position)
    else this.#playhead.seek(position)
  }

  #tick (): void {
    if (this.#reel === null || this.#stream === null) return
    const { position, speed } = this.#playhead
    const whole = this.#stream.to - this.#stream.from
    if (!this.#isFollowing && position >= whole && this.#playhead.isPlaying) this.#playhead.pause()
    this.#controls.show(Math.min(position, whole), this.#playhead.isPlaying, this.#stream.from)
    for (const entry of this.#reel.due(position, speed)) this.#add(entry)
    show(part('empty', HTMLElement), this.#timeline.isEmpty && this.#reelState !== 'loading')
    write(part('empty-text', HTMLElement), TEXTS.quiet)
    this.#drawState(position >= whole)
  }

  #add (entry: Entry): void {
    if (entry.op === 'message') this.#timeline.add(messageOf(entry, this.#account.reader, (seq) => this.#timeline.find(seq)), true)
    else if (entry.op === 'edit' && typeof entry.body === 'string') this.#timeline.edit(entry.target, entry.body)
  }

  /** In front of a message: how far into the stream it came. */
  #dress (row: HTMLLIElement, item: Item): void {
    if (item.sort !== 'message' || this.#stream === null) return
    const before = item.ts < this.#stream.from
    row.querySelector('.line')?.prepend(make('time', { className: 'row-time', textContent: before ? `−${offset(this.#stream.from - item.ts)}` : offset(item.ts - this.#stream.from), dateTime: new Date(item.ts).toISOString(), title: dayTime(item.ts) }))
  }

  #reelChanged (state: ReelState): void {
    this.#reelState = state.state
    if (state.state !== 'failed') return
    const { name, message, retryAfterMs } = state.error as UproarError
    this.#notice(TEXTS.failed(entryRefusal(name, message, retryAfterMs)))
  }

  #drawState (isOver: boolean): void {
    const { isPlaying } = this.#playhead
    const name = this.#reelState === 'failed' ? 'failed' : this.#reelState === 'loading' ? 'loading' : isOver ? 'ended' : isPlaying ? 'ready' : 'paused'
    const node = part('state', HTMLElement)
    node.dataset['look'] = { failed: 'off', loading: 'waiting', ended: 'idle', ready: 'live', paused: 'idle' }[name]
    write(part('state-text', HTMLElement), name === 'ready' && this.#isFollowing ? TEXTS.following : TEXTS.state[name])
  }

  #drawChoices (streams: readonly PastStream[]): void {
    part('choices', HTMLElement).replaceChildren(...streams.map((stream) => {
      const button = make('button', { type: 'button', className: 'quiet', textContent: TEXTS.stream(stream.from, stream.to - stream.from, stream.messages), onclick: () => { void this.#choose(stream) } })
      button.dataset['from'] = String(stream.from)
      return make('li', {}, button)
    }))
  }

  #fromMoment (): void {
    const field = part('start', HTMLInputElement)
    const from = new Date(field.value).getTime()
    field.setCustomValidity(Number.isFinite(from) && from >= 0 ? '' : TEXTS.badStart)
    if (field.reportValidity()) void this.#choose({ from, to: from + LENGTH_DEFAULT_MS, messages: null })
  }

  #nothing (text: string): void {
    show(part('empty', HTMLElement), true)
    write(part('empty-text', HTMLElement), text)
    part('state', HTMLElement).dataset['look'] = 'idle'
  }

  #notice (text: string): void {
    const notice = part('notice', HTMLElement)
    write(notice, text)
    show(notice, text !== '')
  }
}

function uintOf (text: string | null): number | null {
  return text !== null && /^\d{1,15}$/.test(text) ? Number(text) : null
}

async function start (): Promise<void> {
  const token = takeToken()
  const query = new URLSearchParams(location.search)
  const wanted = query.get('room')
  const room = isRoom(wanted) ? wanted : ROOM_DEFAULT
  document.body.classList.toggle('is-embedded', query.has('embed'))
  placeIcons(document)
  startTheme()
  part('room', HTMLInputElement).value = room
  write(part('title', HTMLElement), `#${room}`)
  document.title = TEXTS.pageTitle(room)
  const { devTokens } = await loadConfig()
  await new Watch(room, token, devTokens).begin()
}

void start()
