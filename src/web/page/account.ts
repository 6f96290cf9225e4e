// Who the reader is, and the token that proves it. Three ways: a token in the address (#token=…), a chosen name on a
// server without a key (development), or nobody (read only). Tokens live in this object only, never in storage.

import { ROLE, type RoleName } from '../../../proto/ops.ts'
import type { Author } from '../client.ts'
import { part, show, write } from './dom.ts'
import { icon } from './icons.ts'
import { recall, remember } from './memory.ts'
import { TEXTS } from './texts.ts'

const REQUEST_MS = 10_000

interface Persona {
  readonly id: string
  readonly name: string
  readonly role: string
}

export interface AccountParts {
  readonly room: string
  /** Whether the server makes tokens for anybody who asks. */
  readonly devTokens: boolean
  /** The role that the dialog offers first; by default none. */
  readonly roleDefault?: string
  /** The reader became somebody else: connect anew. */
  readonly changed: () => void
}

/** Takes `#token=…` out of the address bar, so that it is neither copied along nor kept in the history. */
export function takeToken (): string | null {
  const fragment = new URLSearchParams(location.hash.slice(1))
  const token = fragment.get('token')
  if (token === null) return null
  fragment.delete('token')
  const rest = fragment.toString()
  history.replaceState(history.state, '', `${location.pathname}${location.search}${rest === '' ? '' : `#${rest}`}`)
  return token === '' ? null : token
}

export class Account {
  readonly #parts: AccountParts
  #given: string | null
  readonly #dialog = part('sign-in', HTMLDialogElement)
  readonly #name = part('name', HTMLInputElement)
  readonly #role = part('role', HTMLSelectElement)
  #persona: Persona | null

  constructor (given: string | null, parts: AccountParts) {
    this.#given = given
    this.#parts = parts
    this.#persona = given === null && parts.devTokens ? rememberedPersona() : null
    const form = part('sign-in-form', HTMLFormElement)
    form.addEventListener('submit', (event) => { event.preventDefault(); void this.#signIn() })
    part('sign-in-cancel', HTMLButtonElement).addEventListener('click', () => this.#dialog.close())
    part('sign-out', HTMLButtonElement).addEventListener('click', () => this.#signOut())
    part('account', HTMLButtonElement).addEventListener('click', () => this.ask())
    this.#draw()
  }

  /** Nobody: only reading is possible. */
  get isAnonymous (): boolean {
    return this.#given === null && this.#persona === null
  }

  /** The token of the address does not count (any more): the reader is nobody from now on. False: there was none. */
  dropToken (): boolean {
    const had = this.#given !== null
    this.#given = null
    this.#draw()
    return had
  }

  /** The token of the address, while it counts; null: there is none. */
  get given (): string | null {
    return this.#given
  }

  /** Whether a name can be chosen here. */
  get canChoose (): boolean {
    return this.#given === null && this.#parts.devTokens
  }

  /** Who the reader will be once the server agrees; null for nobody. For names and highlights, never for rights. */
  get reader (): Author | null {
    return this.readerIn(this.#parts.room)
  }

  /** The same in another room. */
  readerIn (room: string): Author | null {
    if (this.#persona !== null) return authorOf(this.#persona.id, this.#persona.name, [this.#persona.role])
    return this.#given === null ? null : claimed(this.#given, room)
  }

  /** A token for the client, fresh where the server makes them; null for nobody. */
  async token (): Promise<string | null> {
    return this.#persona === null ? this.#given : await mint(this.#persona)
  }

  /** Opens the dialog for a name. */
  ask (): void {
    if (!this.canChoose) return
    this.#name.value = this.#persona?.name ?? ''
    this.#role.value = this.#persona?.role ?? this.#parts.roleDefault ?? ''
    show(part('sign-out', HTMLElement), this.#persona !== null)
    this.#fail('')
    this.#dialog.showModal()
    this.#name.select()
  }

  async #signIn (): Promise<void> {
    const name = this.#name.value.trim()
    if (name === '') return
    const persona: Persona = { id: this.#persona?.id ?? rememberedId(), name, role: this.#role.value }
    try {
      await mint(persona)
    } catch {
      return this.#fail(TEXTS.signInFailed)
    }
    this.#become(persona)
  }

  #signOut (): void {
    this.#become(null)
  }

  #become (persona: Persona | null): void {
    this.#persona = persona
    remember('persona', persona === null ? null : JSON.stringify(persona))
    this.#dialog.close()
    this.#draw()
    this.#parts.changed()
  }

  #fail (text: string): void {
    const error = part('sign-in-error', HTMLElement)
    write(error, text)
    show(error, text !== '')
  }

  #draw (): void {
    const button = part('account', HTMLButtonElement)
    show(button, this.canChoose)
    const name = document.createElement('bdi')
    name.textContent = this.#persona?.name ?? TEXTS.chooseName
    button.replaceChildren(icon('person'), name)
    button.title = this.#persona === null ? TEXTS.chooseName : TEXTS.signedInAs(this.#persona.name)
  }
}

async function mint (persona: Persona): Promise<string> {
  const response = await fetch('/v1/dev/token', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ id: persona.id, name: persona.name, roles: persona.role === '' ? [] : [persona.role] }),
    signal: AbortSignal.timeout(REQUEST_MS)
  })
  const answer = await response.json() as { token?: unknown }
  if (!response.ok || typeof answer.token !== 'string') throw new Error('no token')
  return answer.token
}

// What the token says of itself, unchecked: the server checks it.
function claimed (token: string, room: string): Author | null {
  try {
    const payload = (token.split('.')[1] ?? '').replaceAll('-', '+').replaceAll('_', '/')
    const bytes = Uint8Array.from(atob(payload), (character) => character.charCodeAt(0))
    const { sub, name, roles, rooms } = JSON.parse(new TextDecoder().decode(bytes)) as Record<string, unknown>
    const here = Object.entries(rooms ?? {}).find(([key]) => key === room)?.[1]
    return typeof sub === 'string' ? authorOf(sub, typeof name === 'string' ? name : sub, [roles ?? [], here ?? []].flat()) : null
  } catch {
    // Not a token of ours: the server will say so.
    return null
  }
}

function authorOf (id: string, name: string, roles: readonly unknown[]): Author {
  return { id, name, roles: roles.reduce<number>((bits, role) => bits | (Object.hasOwn(ROLE, String(role)) ? ROLE[role as RoleName] : 0), 0) }
}

function rememberedPersona (): Persona | null {
  const text = recall('persona')
  if (text === null) return null
  try {
    const { id, name, role } = JSON.parse(text) as Record<string, unknown>
    return typeof id === 'string' && typeof name === 'string' && typeof role === 'string' ? { id, name, role } : null
  } catch {
    return null
  }
}

// The same person stays the same after reading without a name for a while.
function rememberedId (): string {
  const known = recall('id')
  if (known !== null) return known
  const id = `dev-${[...crypto.getRandomValues(new Uint8Array(8))].map((byte) => byte.toString(16).padStart(2, '0')).join('')}`
  remember('id', id)
  return id
}
