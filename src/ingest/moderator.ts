// The way in for actions, whoever asks and by whichever way: read, look up what must be known, decide, write the audit
// row, publish. One after the other in each room of this instance, so that each is decided on what the one before did.
//
//   MODERATE, POST …/actions ─▶ parse ─▶ facts ─▶ decide ─▶ audit row ─▶ log.publish (each effect) ─▶ in force here ─▶ OK
//                                 └────────── a refusal, the same for both ways ──────────▶ ERR
//
// Bounds: ACTING_MAX actions that wait for their turn in a room.

import { isIP } from 'node:net'
import { unpack } from '../../proto/codec.ts'
import { entryObject, isShadow, packShadowTail, packTail, unshadowed, type EntryObject } from '../../proto/entry.ts'
import { KIND, OUT } from '../../proto/ops.ts'
import type { User } from '../../proto/values.ts'
import { rolesIn, userIn, type Identity } from '../auth/auth.ts'
import type { Clock } from '../base/clock.ts'
import { AppError, Refusal, refusalOf } from '../base/errors.ts'
import type { Metrics } from '../base/metrics.ts'
import { addressRange, plainAddress } from '../base/peers.ts'
import { StateConflict, type Draft, type Log, type Published, type RoomState } from '../log/log.ts'
import { Audit, decide, guardOf, mayAct, parseAction, rankOf, RANK, textOf, type AuditQuery, type AuditRow, type Decision, type Effect, type Facts, type HeldMessage, type Note, type Once, type Request, type Sanction, type SanctionKind, type Source, type UnbanRequest } from '../moderation/moderation.ts'
import { blockedTerms, parseModes, type Room, type Rooms } from '../rooms/rooms.ts'
import { isCurrent } from './shape.ts'
import { cleanText } from './text.ts'

export interface ModeratorOptions {
  readonly log: Log
  readonly rooms: Pick<Rooms, 'find'>
  readonly clock: Clock
  readonly metrics: Metrics
  /** Range of the address that a user last wrote from; null when it is not known here. */
  readonly addressOf: (user: string) => string | null
  readonly fault: (error: unknown, what: string) => void
}

/** What a room's moderators see of it beside the log. */
export interface Standing {
  readonly sanctions: readonly Sanction[]
  readonly requests: readonly UnbanRequest[]
}

/** What a room's moderators are told of a user. */
export interface Person {
  /** Newest first. `isShadow`: only the author sees it. */
  readonly messages: readonly (Extract<EntryObject, { op: 'message' }> & { readonly isShadow: boolean })[]
  readonly sanctions: readonly Sanction[]
  readonly notes: readonly Note[]
  /** What the user wrote to be unbanned; null: it did not ask. */
  readonly request: UnbanRequest | null
}

const ACTING_MAX = 200
const MESSAGES_OF_PERSON = 50
/** Actions that change a list by what it was: they count only upon the state that they were decided on, else anew. */
const UPON_STATE: ReadonlySet<string> = new Set(['blockTerm', 'unblockTerm', 'note'])
const TRIES_MAX = 20

export class Moderator {
  readonly #options: ModeratorOptions
  readonly #audit: Audit
  /** The last action under way of each room, and how many wait. */
  readonly #turns = new Map<string, { last: Promise<unknown>, count: number }>()

  constructor (options: ModeratorOptions) {
    this.#options = options
    this.#audit = new Audit(options.log)
  }

  /** Carries out an action; resolves once it is durable and in force on this instance. Never rejects. */
  async act (name: string, by: Identity | null, action: unknown, args: unknown, source: Source = 'human', once: Once | null = null): Promise<Published | Refusal> {
    const result = await this.#guarded(by, name, (room, identity) => {
      const request = parseAction(action, args)
      if (request instanceof Refusal) return request
      // Whoever may not do this at all does not stand in the way of those who may.
      return mayAct(request.action, rankOf(rolesIn(identity, room.name)), null) ?? this.#inTurn(room.name, () => this.#carryOut(room, identity, request, { source, once }))
    })
    if (result instanceof Refusal) this.#options.metrics.add('uproar_refusals_total', 1, result.name)
    return result
  }

  /** Messages that wait in a room, oldest first; for its moderators. */
  async held (name: string, by: Identity | null): Promise<readonly HeldMessage[] | Refusal> {
    return this.#guarded(by, name, (room, identity) => forModerators(room, identity) ?? [...room.guard.held.values()].sort((a, b) => a.at - b.at))
  }

  /** Sanctions in force and requests to lift them, oldest first; for the room's moderators. */
  async standing (name: string, by: Identity | null): Promise<Standing | Refusal> {
    return this.#guarded(by, name, (room, identity) => {
      const now = this.#options.clock.now()
      const { sanctions, requests } = room.guard
      return forModerators(room, identity) ?? {
        sanctions: Object.values(sanctions).flatMap((of) => [...of.values()]).filter(({ until }) => until === null || until > now).sort((a, b) => a.at - b.at),
        requests: [...requests.values()].sort((a, b) => a.at - b.at)
      }
    })
  }

  /** What is known of a user in a room, for its moderators. Of the messages the newest MESSAGES_OF_PERSON. */
  async person (name: string, by: Identity | null, user: string): Promise<Person | Refusal> {
    return this.#guarded(by, name, async (room, identity) => {
      const refused = forModerators(room, identity)
      if (refused !== null) return refused
      const written = await room.pages.writtenBy(user, MESSAGES_OF_PERSON)
      return {
        messages: written.map((entry) => ({ ...entryObject(isShadow(entry) ? unshadowed(entry) : entry) as Extract<EntryObject, { op: 'message' }>, isShadow: isShadow(entry) })),
        sanctions: room.guard.on(user, this.#options.clock.now()),
        notes: room.guard.notes.get(user) ?? [],
        request: room.guard.requests.get(user) ?? null
      }
    })
  }

  /** The room's own blocked terms, for its moderators. */
  async terms (name: string, by: Identity | null): Promise<readonly string[] | Refusal> {
    return this.#guarded(by, name, (room, identity) => forModerators(room, identity) ?? room.blockedTerms)
  }

  /** Audit rows of a room, for its moderators. */
  async audit (name: string, by: Identity | null, query: Omit<AuditQuery, 'room'>): Promise<{ rows: AuditRow[], next: number | null } | Refusal> {
    return this.#guarded(by, name, (room, identity) => forModerators(room, identity) ?? this.#audit.query({ ...query, room: name }))
  }

  /** Audit rows of all rooms; whoever asks has been found to be an admin. */
  async auditAll (query: AuditQuery): Promise<{ rows: AuditRow[], next: number | null } | Refusal> {
    try {
      return await this.#audit.query(query)
    } catch (error) {
      return this.#failed(error)
    }
  }

  /** Does something in a room on behalf of somebody who may enter it. */
  async #guarded<T> (by: Identity | null, name: string, work: (room: Room, identity: Identity) => T | Refusal | Promise<T | Refusal>): Promise<T | Refusal> {
    if (by === null) return new Refusal('unauthorized', 'this needs a token')
    if (!isCurrent(by, this.#options.clock.now())) return new Refusal('unauthorized', 'the token has expired')
    try {
      const room = await this.#options.rooms.find(name, by)
      return room instanceof Refusal ? room : await work(room, by)
    } catch (error) {
      return this.#failed(error)
    }
  }

  #failed (error: unknown): Refusal {
    if (!(error instanceof AppError)) this.#options.fault(error, 'moderation')
    return refusalOf(error)
  }

  async #inTurn<T> (name: string, work: () => Promise<T | Refusal>): Promise<T | Refusal> {
    const turn = this.#turns.get(name) ?? { last: Promise.resolve(), count: 0 }
    if (turn.count >= ACTING_MAX) return new Refusal('overloaded', 'too many actions wait for their turn in this room', 1000)
    turn.count++
    this.#turns.set(name, turn)
    const mine = turn.last.then(work, work)
    turn.last = mine
    try {
      return await mine
    } finally {
      if (--turn.count === 0) this.#turns.delete(name)
    }
  }

  async #carryOut (room: Room, by: Identity, request: Request, { source, once, tries = 1 }: { source: Source, once: Once | null, tries?: number }): Promise<Published | Refusal> {
    const checked = checkedRequest(request)
    if (checked instanceof Refusal) return checked
    const done = once === null ? null : wasDone(room, checked, once)
    if (done !== null) return done
    const [id, username, roles] = userIn(by, room.name)
    const upon = UPON_STATE.has(checked.action) ? await this.#options.log.state(room.name) : null
    const decision = decide(checked, { id, name: username, roles }, await this.#facts(room, checked, upon))
    if (decision instanceof Refusal) return decision
    const row = { room: room.name, action: checked.action, by: id, source, whom: decision.whom, text: decision.text, reason: checked.args.reason ?? null, args: { ...checked.args }, failure: null }
    if (tries === 1) await this.#audit.append(row, once?.id)
    try {
      const published = await this.#publish(room, by, decision, { once, atState: upon?.seq })
      this.#options.metrics.add('uproar_actions_total', 1, checked.action)
      return published
    } catch (error) {
      if (error instanceof StateConflict && tries < TRIES_MAX) return this.#carryOut(room, by, request, { source, once, tries: tries + 1 })
      const refusal = this.#failed(error)
      await this.#audit.append({ ...row, failure: refusal.message }).catch((fault: unknown) => this.#options.fault(fault, 'an audit row'))
      return refusal
    }
  }

  async #facts (room: Room, { action, args }: Request, upon: RoomState | null): Promise<Facts> {
    const { clock, log, addressOf } = this.#options
    const entry = args.seq === undefined ? null : await room.message(args.seq)
    const isForAll = entry !== null && !(action === 'pin' && isShadow(entry))
    return {
      now: clock.now(), first: (await log.head(room.name)).first, seq: room.seq, settings: room.told,
      guard: upon === null ? room.guard : guardOf(upon.guarded), terms: upon === null ? room.blockedTerms : blockedTerms(upon),
      roles: args.user === undefined ? 0 : await rolesOf(room, args.user, action === 'purge' || args.purge === true),
      message: isForAll ? messageOf(entry) : null,
      address: args.address !== undefined
        ? rangeOf(args.address)
        : args.user === undefined ? null : addressOf(args.user)
    }
  }

  /** Publishes the effects in order; each is in force here before the next is made. */
  async #publish (room: Room, by: Identity, { effects }: Decision, { once, atState }: { once: Once | null, atState: number | undefined }): Promise<Published> {
    let published: Published | null = null
    for (const [at, effect] of effects.entries()) {
      published = await this.#options.log.publish(room.name, { ...draftOf(effect, room, by, once === null ? null : `${once.id}.${at}`), atState })
      await room.settled()
    }
    return published as Published
  }
}

/**
 * Roles of a user, as far as they are known; 0 where they are not. A sanction that turns out to be on somebody above
 * does not bind, but what was removed is gone: before that the log is looked through too.
 */
async function rolesOf (room: Room, user: string, removes: boolean): Promise<number> {
  const roles = room.rolesOf(user)
  if (roles !== null || !removes) return roles ?? 0
  const [newest] = await room.pages.writtenBy(user, 1)
  return newest === undefined ? 0 : messageOf(newest)?.roles ?? 0
}

/** The range that an address, or a range as it is listed, stands for; null for what is neither. */
function rangeOf (text: string): string | null {
  const address = text.endsWith('::/64') ? text.slice(0, -3) : text
  return isIP(address) === 0 ? null : addressRange(plainAddress(address))
}

const SANCTIONS: Readonly<Record<string, SanctionKind>> = { warn: 'warn', timeout: 'timeout', ban: 'ban', shadowBan: 'shadow' }

/** Whether an action that is to be done once needs no doing: the room is another by now, or the user was sanctioned since. */
function wasDone ({ epoch, guard }: Room, { action, args }: Request, once: Once): Refusal | null {
  if (once.epoch !== undefined && once.epoch !== epoch) return new Refusal('not_found', 'that room was deleted')
  const kind = SANCTIONS[action]
  const given = kind === undefined ? undefined : guard.sanctions[kind].get(args.user ?? '')
  return given !== undefined && given.at >= once.since ? new Refusal('duplicate', 'that was decided already', 1000) : null
}

/** Settings and announcements have rules of their own. */
function checkedRequest (request: Request): Request | Refusal {
  const { action, args } = request
  if (action === 'set') {
    const settings = parseModes(args.settings)
    return settings instanceof Refusal ? settings : { action, args: { ...args, settings } }
  }
  if (action !== 'announce') return request
  const text = cleanText(args.text as string)
  return text === '' ? new Refusal('bad_request', 'args.text is empty') : { action, args: { ...args, text } }
}

function messageOf (entry: Uint8Array): Facts['message'] {
  const [, , , [user, , roles], , body] = unpack(entry) as [number, number, number, User, number, string | Uint8Array]
  return { user, roles, text: textOf({ body }) }
}

function draftOf (effect: Effect, room: Room, by: Identity, nonce: string | null): Draft {
  const base = { author: by.id, nonce, epoch: room.epoch } as const
  switch (effect.op) {
    case 'state': return { ...base, op: OUT.STATE, tail: packTail([effect.changes]), patch: { settings: effect.changes, guarded: effect.guarded } }
    case 'announce': return { ...base, op: OUT.MESSAGE, tail: (effect.isShadow ? packShadowTail : packTail)([userIn(by, room.name), KIND.announcement, effect.text, null]) }
    case 'release': {
      const { user, kind, body, ext, nonce } = effect.message
      return { ...base, op: OUT.MESSAGE, tail: packTail([user, kind, body, ext]), author: user[0], nonce }
    }
    case 'remove': {
      const { target, forget } = effect
      const full = 'seq' in target ? target : { ...target, upTo: room.seq }
      const own = 'seq' in target ? { [`removed:${target.seq}`]: 1 } : 'user' in target ? { [`purged:${target.user}`]: room.seq } : { cleared: room.seq }
      return { ...base, op: OUT.REMOVE, tail: packTail([full, by.id]), patch: { guarded: { ...forget, ...own } } }
    }
  }
}

function forModerators (room: Room, identity: Identity): Refusal | null {
  return rankOf(rolesIn(identity, room.name)) >= RANK.moderator ? null : new Refusal('forbidden', 'this needs the role moderator, broadcaster or admin in this room')
}
