// The viewer page: which room, which reader, one client, one chat; puts the parts together and owns nothing else.
// Bundled to dist/web/app.js. Only the client talks to the server, but for /v1/config and development tokens.

import { connect, type ConnectionState, type UproarClient } from '../client.ts'
import { closeCode } from '../../../proto/codes.ts'
import { isRoom } from '../../../proto/values.ts'
import { Account, takeToken } from './account.ts'
import { Chat } from './chat.ts'
import { part, show, write } from './dom.ts'
import { placeIcons } from './icons.ts'
import { LinkState } from './link-state.ts'
import { loadConfig, socketUrl, type PageConfig } from './page-config.ts'
import { entryRefusal, TEXTS } from './texts.ts'
import { startTheme } from './theme.ts'

const ROOM_DEFAULT = 'lobby'
const WANTED_CHARACTERS_MAX = 64

class App {
  readonly #config: PageConfig
  readonly #account: Account
  readonly #chat: Chat
  readonly #link: LinkState
  #client: UproarClient | null = null

  constructor (config: PageConfig, room: string, token: string | null, link: LinkState) {
    this.#config = config
    this.#link = link
    this.#account = new Account(token, { room, devTokens: config.devTokens, changed: () => { this.connect(); this.#chat.focus() } })
    this.#chat = new Chat({ room, refused: (error) => this.#gate(TEXTS.roomRefused(entryRefusal(error.name, error.message, error.retryAfterMs))) })
    this.#limits(config.limits)
    part('gate-sign-in', HTMLButtonElement).addEventListener('click', () => this.#account.ask())
    addEventListener('pagehide', () => this.#client?.close())
    // Back from the browser's cache the connection is gone for good: begin anew.
    addEventListener('pageshow', (event) => { if (event.persisted) location.reload() })
  }

  /** Connects (anew) as whoever the reader is now. */
  connect (): void {
    this.#client?.close()
    const client = this.#client = connect({ url: socketUrl(this.#config), httpUrl: location.origin, token: () => this.#account.token(), client: 'uproar-page/1' })
    client.on('connection', (state) => { if (client === this.#client) this.#connection(state) })
    this.#link.connection = client.state
    this.#chat.enter(client, this.#account.reader)
    this.#gate(this.#account.isAnonymous ? (this.#account.canChoose ? TEXTS.readOnlyDev : TEXTS.readOnlyToken) : '')
  }

  #connection (state: ConnectionState): void {
    this.#link.connection = state
    if (state.state === 'open') {
      // The welcome knows the roles everywhere; those of the token for this room count too.
      this.#chat.reader = state.user === null ? null : { ...state.user, roles: state.user.roles | (this.#account.reader?.roles ?? 0) }
      this.#limits(state.limits)
    }
    // A token of the address cannot be had anew: rather read on without one than come back with it for ever.
    if (state.state === 'waiting' && state.code === closeCode('expired').code) this.#without(TEXTS.tokenExpired)
    if (state.state === 'closed' && state.code === closeCode('unauthorized').code) this.#without(TEXTS.tokenRefused)
  }

  #without (why: string): void {
    if (!this.#account.dropToken()) return
    this.connect()
    this.#gate(why)
  }

  #limits (limits: { readonly textCharacters?: unknown } | undefined): void {
    if (typeof limits?.textCharacters === 'number') this.#chat.charactersMax = limits.textCharacters
  }

  /** Instead of the message box: why nothing can be written. An empty text brings the box back. */
  #gate (text: string): void {
    show(part('gate', HTMLElement), text !== '')
    show(part('composer', HTMLElement), text === '')
    show(part('gate-sign-in', HTMLElement), this.#account.canChoose)
    const line = part('gate-text', HTMLElement)
    write(line, text)
    if (text !== TEXTS.readOnlyToken) return
    const example = document.createElement('code')
    example.textContent = `${location.pathname}${location.search}#token=…`
    line.append(example)
  }
}

// Phones: the keyboard shrinks what is visible. Where the browser does not resize the page itself, this does.
function followKeyboard (): void {
  const viewport = window.visualViewport
  if (viewport === null) return
  const apply = (): void => {
    const isCovered = viewport.scale === 1 && viewport.height < window.innerHeight - 1
    document.documentElement.style.setProperty('--visible-height', isCovered ? `${viewport.height}px` : '100dvh')
  }
  viewport.addEventListener('resize', apply)
  apply()
}

/** Says that this is not the room that was asked for, until the reader has seen it. */
function tellRoom (text: string): void {
  const notice = part('room-notice', HTMLElement)
  write(part('room-notice-text', HTMLElement), text)
  show(notice, true)
  part('room-notice-seen', HTMLButtonElement).addEventListener('click', () => show(notice, false))
}

async function start (): Promise<void> {
  const token = takeToken()
  const wanted = new URLSearchParams(location.search).get('room')
  const room = isRoom(wanted) ? wanted : ROOM_DEFAULT
  if (room !== wanted && wanted !== null && wanted !== '') tellRoom(TEXTS.noSuchName([...wanted].slice(0, WANTED_CHARACTERS_MAX).join(''), room))
  placeIcons(document)
  startTheme()
  followKeyboard()
  part('room', HTMLInputElement).value = room
  write(part('title', HTMLElement), room)
  write(part('about-room', HTMLElement), `#${room}`)
  document.title = TEXTS.pageTitle(room)
  const link = new LinkState()
  new App(await loadConfig(), room, token, link).connect()
}

void start()
