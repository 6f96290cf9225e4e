// The moderator console: which rooms, which reader, one client, the streams and the panels; puts the parts together and
// owns nothing else. Bundled to dist/web/moderate/console.js. Bound: ROOMS_MAX rooms at once.
//
//   /moderate?rooms=a,b#token=…     the token stays in this page's memory; without a key, on loopback, a name is enough

import { closeCode } from '../../../proto/codes.ts'
import { ROLE } from '../../../proto/ops.ts'
import { isRoom } from '../../../proto/values.ts'
import { connect, type ConnectionState, type UproarClient, type UproarError } from '../client.ts'
import { Account, takeToken } from '../page/account.ts'
import { Announcer } from '../page/announcer.ts'
import { make, part, show, write } from '../page/dom.ts'
import { placeIcons } from '../page/icons.ts'
import { LinkState } from '../page/link-state.ts'
import { loadConfig, socketUrl, type PageConfig } from '../page/page-config.ts'
import { startTheme } from '../page/theme.ts'
import { Acts } from './acts.ts'
import { AuditPanel } from './audit-panel.ts'
import { Desk } from './desk.ts'
import { FindPanel } from './find-panel.ts'
import { Keys } from './keys.ts'
import { learnName, nameOf } from './names.ts'
import { PersonPanel } from './person-panel.ts'
import { QueuePanel } from './queue-panel.ts'
import { RoomPanel } from './room-panel.ts'
import { RowBar } from './row-bar.ts'
import { layoutSwitch, Streams } from './streams.ts'
import { Tabs, type Tab } from './tabs.ts'
import { refusal, TEXTS } from './texts.ts'
import { Toasts } from './toasts.ts'
import { WatchedRoom } from './watched-room.ts'

const ROOMS_MAX = 6
const ROOM_DEFAULT = 'lobby'
const BROADCASTERS = ROLE.broadcaster | ROLE.admin

class Console {
  readonly #config: PageConfig
  readonly #account: Account
  readonly #desk: Desk
  readonly #rooms: readonly WatchedRoom[]
  readonly #link: LinkState
  readonly #announcer = new Announcer(part('announcer', HTMLElement))
  readonly #tabs: Tabs
  readonly #person: PersonPanel
  readonly #room: RoomPanel
  readonly #log: AuditPanel
  readonly #found: FindPanel
  #current: WatchedRoom
  #client: UproarClient | null = null
  #roles = 0

  constructor (config: PageConfig, names: readonly string[], token: string | null) {
    this.#config = config
    this.#link = new LinkState(TEXTS)
    this.#account = new Account(token, { room: names[0] as string, devTokens: config.devTokens, roleDefault: 'moderator', changed: () => this.connect() })
    this.#desk = new Desk(() => this.#account.token())
    const rooms = this.#rooms = names.map((name, number) => new WatchedRoom(name, number, this.#desk))
    this.#current = rooms[0] as WatchedRoom
    const acts = new Acts(new Toasts(part('toasts', HTMLElement)))
    const desk = this.#desk
    this.#person = new PersonPanel({ acts, desk, mayBanAddress: (room) => (this.#rolesIn(room) & BROADCASTERS) !== 0 }, rooms)
    const about = (room: WatchedRoom, user: { readonly id: string, readonly name: string, readonly roles: number }, field?: 'reason' | 'note'): void => {
      this.#tabs.open('person')
      this.#person.about(room, user, field)
    }
    const bar = new RowBar({ acts, roomOf: (name) => rooms.find((room) => room.name === name) as WatchedRoom, about: (message, field) => about(this.#roomOf(message.room), message.user, field) })
    const streams = new Streams({ host: part('streams', HTMLElement), rooms, bar, settings: (room) => { this.#choose(room); this.#tabs.open('room') } })
    this.#room = new RoomPanel({ rooms, acts, desk, textOf: (room, seq) => streams.find(room.key(seq))?.text ?? null })
    this.#log = new AuditPanel({ rooms, acts, desk, about: (room, user) => about(room, { id: user, name: nameOf(user), roles: 0 }) })
    this.#found = new FindPanel(this.#current, { desk, about })
    this.#tabs = new Tabs((tab) => this.#opened(tab))
    const queue = new QueuePanel({ rooms, acts, about, waiting: (count, isMore) => this.#waiting(count, isMore) })
    layoutSwitch(streams, { columns: part('layout-columns', HTMLButtonElement), merged: part('layout-merged', HTMLButtonElement) })
    show(part('layout', HTMLElement), rooms.length > 1)
    this.#keys(streams, queue)
    this.#listen(acts)
    this.#find(about)
  }

  /** Connects (anew) as whoever the reader is now. */
  connect (): void {
    this.#client?.close()
    const client = this.#client = connect({ url: socketUrl(this.#config), httpUrl: location.origin, token: () => this.#desk.token(), client: 'uproar-moderate/1' })
    this.#roles = 0
    client.on('connection', (state) => { if (client === this.#client) this.#connection(state) })
    this.#link.connection = client.state
    for (const room of this.#rooms) room.enter(client, this.#account.readerIn(room.name))
    this.#gate(this.#account.isAnonymous ? (this.#account.canChoose ? TEXTS.gateDev : TEXTS.gateToken) : '')
  }

  #connection (state: ConnectionState): void {
    this.#link.connection = state
    if (state.state === 'open') {
      this.#roles = state.user?.roles ?? 0
      for (const room of this.#rooms) room.refresh()
    }
    if (state.state === 'waiting' && state.code === closeCode('expired').code) this.#without(TEXTS.tokenExpired)
    if (state.state === 'closed' && state.code === closeCode('unauthorized').code) this.#without(TEXTS.tokenRefused)
  }

  #without (why: string): void {
    if (!this.#account.dropToken()) return
    this.connect()
    this.#gate(why)
  }

  #listen (acts: Acts): void {
    for (const room of this.#rooms) {
      room.on('message', ({ message }) => learnName(message.user))
      room.on('refused', (error: UproarError) => this.#gate(TEXTS.roomRefused(room.name, refusal(error.name, error.message, error.retryAfterMs))))
      room.on('waiting', () => this.#permitted())
    }
    const select = part('current', HTMLSelectElement)
    select.append(...this.#rooms.map(({ name }) => make('option', { value: name, textContent: `#${name}` })))
    select.addEventListener('change', () => this.#choose(this.#roomOf(select.value)))
    part('rooms-form', HTMLFormElement).addEventListener('submit', (event) => { event.preventDefault(); this.#go() })
    part('gate-sign-in', HTMLButtonElement).addEventListener('click', () => this.#account.ask())
    addEventListener('unhandledrejection', (event) => acts.refused(event.reason))
    addEventListener('pagehide', () => this.#client?.close())
    addEventListener('pageshow', (event) => { if (event.persisted) location.reload() })
  }

  /** Other rooms are another page; the token comes along. */
  #go (): void {
    const query = `?${new URLSearchParams({ rooms: part('rooms', HTMLInputElement).value.split(/[\s,]+/).filter((name) => name !== '').join(',') })}`
    const { given } = this.#account
    if (query === location.search) return
    location.assign(`${location.pathname}${query}${given === null ? '' : `#${new URLSearchParams({ token: given })}`}`)
  }

  /** A user can be looked up by id, whether or not they wrote lately. */
  #find (about: (room: WatchedRoom, user: { id: string, name: string, roles: number }) => void): void {
    part('person-form', HTMLFormElement).addEventListener('submit', (event) => {
      event.preventDefault()
      const id = part('person-wanted', HTMLInputElement).value.trim()
      if (id !== '') about(this.#current, { id, name: nameOf(id), roles: 0 })
    })
  }

  #keys (streams: Streams, queue: QueuePanel): void {
    const open = (tab: Tab) => (): void => { this.#tabs.open(tab); part(`tab-${tab}`, HTMLButtonElement).focus() }
    new Keys({
      c: () => { if (part('tab-chat', HTMLButtonElement).offsetParent !== null) this.#tabs.open('chat'); streams.focus() },
      q: () => { this.#tabs.open('queue'); queue.focus() },
      u: open('person'), r: open('room'), l: open('log'), f: open('find'),
      '[': () => streams.focus(-1), ']': () => streams.focus(1)
    })
  }

  #opened (tab: Tab): void {
    show(part('current-room', HTMLElement), this.#rooms.length > 1 && (tab === 'room' || tab === 'log' || tab === 'find'))
    if (tab === 'room') void this.#room.read()
    if (tab === 'log') void this.#log.read()
  }

  #choose (room: WatchedRoom): void {
    this.#current = room
    part('current', HTMLSelectElement).value = room.name
    this.#room.room = room
    this.#log.room = room
    this.#found.room = room
  }

  #roomOf (name: string): WatchedRoom {
    return this.#rooms.find((room) => room.name === name) as WatchedRoom
  }

  #rolesIn (room: WatchedRoom): number {
    return this.#roles | (this.#account.readerIn(room.name)?.roles ?? 0)
  }

  #waiting (count: number, isMore: boolean): void {
    write(part('queue-count', HTMLElement), count === 0 ? '' : String(count))
    document.title = TEXTS.pageTitle(this.#rooms.map(({ name }) => name), count)
    if (isMore) this.#announcer.say(TEXTS.nowWaiting(count))
  }

  /** Nobody's moderator: said once the server has answered for every room. */
  #permitted (): void {
    if (!this.#account.isAnonymous && this.#rooms.every(({ isMine }) => isMine === false)) this.#gate(TEXTS.notAnywhere)
  }

  /** Why nothing can be done here. An empty text takes it away. */
  #gate (text: string): void {
    show(part('gate', HTMLElement), text !== '')
    show(part('gate-sign-in', HTMLElement), this.#account.canChoose)
    const line = part('gate-text', HTMLElement)
    write(line, text)
    const wantsToken = text === TEXTS.gateToken || text === TEXTS.tokenRefused || text === TEXTS.tokenExpired
    if (wantsToken) line.append(make('code', { textContent: `${location.pathname}${location.search}#token=…` }))
  }
}

/** The rooms of the address, and what is to be said about those that cannot be. */
function roomsWanted (): { readonly names: readonly string[], readonly notes: readonly string[] } {
  const query = new URLSearchParams(location.search)
  const wanted = [...new Set([query.get('rooms'), query.get('room')].flatMap((text) => (text ?? '').split(/[\s,]+/)).map((name) => name.replace(/^#/, '')).filter((name) => name !== ''))]
  const names = wanted.filter(isRoom)
  const notes = wanted.filter((name) => !isRoom(name)).slice(0, 1).map((name) => TEXTS.noSuchName([...name].slice(0, 64).join('')))
  if (names.length > ROOMS_MAX) notes.push(TEXTS.tooManyRooms(ROOMS_MAX))
  return { names: names.length === 0 ? [ROOM_DEFAULT] : names.slice(0, ROOMS_MAX), notes }
}

async function start (): Promise<void> {
  const token = takeToken()
  const { names, notes } = roomsWanted()
  placeIcons(document)
  startTheme()
  part('rooms', HTMLInputElement).value = names.join(', ')
  document.title = TEXTS.pageTitle(names, 0)
  write(part('notes', HTMLElement), notes.join(' '))
  show(part('notes', HTMLElement), notes.length > 0)
  new Console(await loadConfig(), names, token).connect()
}

void start()
