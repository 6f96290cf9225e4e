// What an action does: a pure reducer from the action and what the room is like to the entries of the room's log that
// carry it out, or the refusal that its author gets. Everything an action does goes through the log, so it is in force
// on every instance, after a restart, and for whoever comes late:
//
//   ask ─▶ decide ─▶ [audit row] ─▶ entries ─▶ log ─▶ every instance
//
// Must not know sockets, how the room was loaded or how entries are published (ingest/moderator.ts does).

import { Refusal } from '../base/errors.ts'
import { HELD_MAX, HELD_PER_AUTHOR_MAX, isOver, notePatch, PURGED_MAX, REMOVED_MAX, REQUESTS_MAX, SANCTION_KINDS, sanctionPatch, SANCTIONS_MAX, toldPatch, without, type Guard, type HeldMessage, type Sanction, type SanctionKind } from './guard.ts'
import { mayAct, RANK, rankOf, type ActionName } from './ranks.ts'
import type { Args, Request } from './requests.ts'

/** The most blocked terms of a room. */
export const TERMS_MAX = 1000

/** Who acts, with the rank that counts in this room. */
export interface Actor {
  readonly id: string
  readonly name: string
  readonly roles: number
}

/** What must be known of the room; whoever calls looks it up before. */
export interface Facts {
  readonly now: number
  /** Oldest seq that the log keeps; newest seq. */
  readonly first: number
  readonly seq: number
  readonly guard: Guard
  /** Public settings that are set. */
  readonly settings: Readonly<Record<string, unknown>>
  /** The room's own blocked terms. */
  readonly terms: readonly string[]
  /** Roles of the user concerned as far as they are known here; 0 when they are not. */
  readonly roles: number
  /** The message that `seq` names; null when there is none (any more). */
  readonly message: { readonly user: string, readonly roles: number, readonly text: string } | null
  /** Range of the address concerned; null when it is not known. */
  readonly address: string | null
}

/** An entry to be published. A REMOVE up to `upTo` null takes everything up to the moment when it is published. */
export type Effect =
  | { readonly op: 'state', readonly changes: Readonly<Record<string, unknown>>, readonly guarded: Readonly<Record<string, unknown>> }
  | { readonly op: 'remove', readonly target: RemoveTarget, readonly forget: Readonly<Record<string, unknown>> }
  | { readonly op: 'release', readonly message: HeldMessage }
  | { readonly op: 'announce', readonly text: string, readonly isShadow: boolean }

export type RemoveTarget = { readonly seq: number } | { readonly user: string } | { readonly all: true }

export interface Decision {
  /** In the order in which they must be published. */
  readonly effects: readonly Effect[]
  /** The user concerned and the message's text at the time, for the audit row. */
  readonly whom: string | null
  readonly text: string | null
}

/** What this action, asked for by this actor, does to such a room. */
export function decide ({ action, args }: Request, actor: Actor, facts: Facts): Decision | Refusal {
  const refused = mayAct(action, rankOf(actor.roles), rankConcerned(action, args, actor, facts))
  if (refused !== null) return refused
  return REDUCERS[action](args as Args, actor, facts)
}

/** The rank of whom the action concerns; null: nobody, or the actor. */
function rankConcerned (action: ActionName, args: Partial<Args>, actor: Actor, facts: Facts): number | null {
  if (action === 'remove') return facts.message === null || facts.message.user === actor.id ? null : rankOf(facts.message.roles)
  if (action === 'pin' || action === 'note' || args.user === undefined) return null
  if (args.user === actor.id) return action === 'unban' ? RANK.admin : rankOf(actor.roles)
  return rankOf(facts.roles)
}

/** With every new sanction so many that have ended are forgotten; at a bound, so many of what is over. */
const OVER_SLICE = 20
const SPACE_SLICE = 500

type Reducer = (args: Args, actor: Actor, facts: Facts) => Decision | Refusal

const REDUCERS: Readonly<Record<ActionName, Reducer>> = {
  remove: ({ seq }, _actor, facts) => {
    if (facts.message === null) return missing(`there is no message ${seq} in this room (any more)`)
    const forget = spaceFor(facts, 'removed')
    if (forget instanceof Refusal) return forget
    const unpin: Effect[] = facts.settings['pinned'] === seq ? [{ op: 'state', changes: { pinned: null }, guarded: {} }] : []
    return decision([{ op: 'remove', target: { seq }, forget }, ...unpin], { whom: facts.message.user, text: facts.message.text })
  },
  purge: ({ user }, _actor, facts) => {
    const forget = spaceFor(facts, 'purged')
    return forget instanceof Refusal ? forget : decision([{ op: 'remove', target: { user }, forget }], { whom: user })
  },
  clear: (_args, _actor, { guard, settings }) => {
    const forget = { ...without(...[...guard.removed].map((seq) => `removed:${seq}`), ...[...guard.purged.keys()].map((user) => `purged:${user}`)) }
    const unpin: Effect[] = typeof settings['pinned'] === 'number' ? [{ op: 'state', changes: { pinned: null }, guarded: {} }] : []
    return decision([{ op: 'remove', target: { all: true }, forget }, ...unpin])
  },
  warn: (args, actor, facts) => sanction('warn', args.user, args, actor, facts),
  timeout: (args, actor, facts) => sanction('timeout', args.user, args, actor, facts),
  ban: (args, actor, facts) => sanction('ban', args.user, args, actor, facts),
  shadowBan: (args, actor, facts) => sanction('shadow', args.user, args, actor, facts),
  banAddress: (args, actor, facts) => facts.address === null
    ? missing(args.user === undefined ? 'address must be an IPv4 or IPv6 address' : 'no address of that user is known here: it must have written here lately')
    : sanction('address', facts.address, args, actor, facts),
  unban: (args, actor, facts) => {
    const keys = args.user === undefined ? [`address:${facts.address}`] : SANCTION_KINDS.filter((kind) => kind !== 'address').map((kind) => `${kind}:${args.user}`)
    return lift(keys, args.user ?? null, actor, facts)
  },
  approve: ({ ref }, _actor, { guard }) => {
    const message = guard.held.get(ref)
    if (message === undefined) return missing(`no message ${ref} waits in this room (any more)`)
    return decision([{ op: 'release', message }, { op: 'state', changes: {}, guarded: without(`held:${ref}`) }], { whom: message.user[0], text: textOf(message) })
  },
  deny: ({ ref, reason }, _actor, { guard, now }) => {
    const message = guard.held.get(ref)
    if (message === undefined) return missing(`no message ${ref} waits in this room (any more)`)
    const told = toldPatch(guard, { ref, user: message.user[0], kind: 'denied', reason: reason ?? '', at: now })
    return decision([{ op: 'state', changes: {}, guarded: { ...without(`held:${ref}`), ...told } }], { whom: message.user[0], text: textOf(message) })
  },
  approveUnban: ({ user }, actor, facts) => {
    if (!facts.guard.requests.has(user)) return missing('that user has not asked to be unbanned')
    const keys = SANCTION_KINDS.filter((kind) => kind !== 'address').map((kind) => `${kind}:${user}`)
    return lift(keys, user, actor, facts)
  },
  denyUnban: ({ user, reason }, _actor, { guard, now }) => {
    const request = guard.requests.get(user)
    if (request === undefined) return missing('that user has not asked to be unbanned')
    const told = toldPatch(guard, { ref: `r-${now}-${guard.told.size}`, user, kind: 'denied', reason: reason ?? '', at: now })
    return decision([{ op: 'state', changes: {}, guarded: { ...without(`request:${user}`), ...told } }], { whom: user, text: request.text })
  },
  // Which settings and values these are is for the rooms to say: whoever calls has checked them.
  set: ({ settings }) => decision([{ op: 'state', changes: settings, guarded: {} }]),
  pin: ({ seq }, _actor, { message }) => message === null
    ? missing(`there is no message ${seq} in this room (any more)`)
    : decision([{ op: 'state', changes: { pinned: seq }, guarded: {} }], { whom: message.user, text: message.text }),
  unpin: () => decision([{ op: 'state', changes: { pinned: null }, guarded: {} }]),
  announce: ({ text }, actor, facts) => silenced(actor, facts) ?? decision([{ op: 'announce', text, isShadow: binds('shadow', actor, facts) !== null }], { text }),
  blockTerm: ({ term }, _actor, { terms }) => {
    const more = terms.includes(term) ? terms : [...terms, term]
    if (more.length > TERMS_MAX) return new Refusal('overloaded', `${TERMS_MAX} terms are blocked in this room already; take some out`, 60_000)
    return decision([{ op: 'state', changes: {}, guarded: { blockedTerms: more } }], { text: term })
  },
  unblockTerm: ({ term }, _actor, { terms }) => terms.includes(term)
    ? decision([{ op: 'state', changes: {}, guarded: { blockedTerms: terms.filter((other) => other !== term) } }], { text: term })
    : missing('that term is not blocked in this room'),
  note: ({ user, text }, actor, { guard, now }) =>
    decision([{ op: 'state', changes: {}, guarded: notePatch(guard, user, { text, by: actor.id, at: now }) }], { whom: user, text }),
  acknowledge: (_args, actor, { guard, now }) => guard.inForce('warn', actor.id, now) === null
    ? missing('there is no warning to acknowledge')
    : decision([{ op: 'state', changes: {}, guarded: without(`warn:${actor.id}`) }], { whom: actor.id }),
  requestUnban: ({ text }, actor, { guard, now }) => {
    if (guard.inForce('ban', actor.id, now) === null && guard.inForce('timeout', actor.id, now) === null) return missing('there is no ban or time-out to be lifted')
    if (guard.requests.has(actor.id)) return new Refusal('duplicate', 'a request waits for an answer already', 60_000)
    if (guard.requests.size >= REQUESTS_MAX) return new Refusal('overloaded', `${REQUESTS_MAX} requests wait for an answer already`, 60_000)
    return decision([{ op: 'state', changes: {}, guarded: { [`request:${actor.id}`]: [text, now] } }], { whom: actor.id, text })
  }
}

function sanction (kind: SanctionKind, whom: string, args: Args, actor: Actor, facts: Facts): Decision | Refusal {
  const { guard, now } = facts
  const given = guard.inForce(kind, whom, now)
  const over = overSanctions(guard, now).slice(0, OVER_SLICE)
  if (given !== null && given.rank > rankOf(actor.roles)) return new Refusal('forbidden', 'somebody of a higher role has decided this already')
  const forget = guard.sanctions[kind].has(whom) ? {} : spaceFor(facts, 'sanctions')
  if (forget instanceof Refusal) return forget
  const until = args.seconds === undefined ? null : now + args.seconds * 1000
  const patch = sanctionPatch({ kind, whom, until, rank: rankOf(actor.roles), by: actor.id, reason: args.reason ?? '', at: now })
  const effects: Effect[] = [{ op: 'state', changes: {}, guarded: { ...without(...over), ...forget, ...patch } }]
  if (args.purge === true) {
    const space = spaceFor(facts, 'purged')
    if (space instanceof Refusal) return space
    effects.push({ op: 'remove', target: { user: whom }, forget: space })
  }
  return decision(effects, { whom: args.user ?? whom })
}

/** The sanction that keeps the actor from writing: announcing is writing, whatever else a role allows. */
function silenced (actor: Actor, facts: Facts): Refusal | null {
  if (binds('ban', actor, facts) !== null) return new Refusal('banned', 'you are banned here')
  const timeout = binds('timeout', actor, facts)
  if (timeout !== null) return new Refusal('timed_out', 'you are timed out here', (timeout.until as number) - facts.now)
  return binds('warn', actor, facts) === null ? null : new Refusal('forbidden', 'you were warned, and have to acknowledge it first')
}

function binds (kind: SanctionKind, { id, roles }: Actor, { guard, now }: Facts): Sanction | null {
  const sanction = guard.inForce(kind, id, now)
  return sanction !== null && sanction.rank > rankOf(roles) ? sanction : null
}

function lift (keys: readonly string[], user: string | null, actor: Actor, { guard, now }: Facts): Decision | Refusal {
  const given = keys.flatMap((key) => {
    const at = key.indexOf(':')
    return guard.inForce(key.slice(0, at) as SanctionKind, key.slice(at + 1), now) ?? []
  })
  if (given.length === 0) return missing(user === null ? 'that address is not banned' : 'there is nothing to be lifted from that user')
  if (given.some(({ rank }) => rank > rankOf(actor.roles))) return new Refusal('forbidden', 'somebody of a higher role has decided this')
  const asked = user !== null && guard.requests.has(user) ? [`request:${user}`] : []
  return decision([{ op: 'state', changes: {}, guarded: without(...keys, ...asked) }], { whom: user })
}

/** The keys of sanctions that have ended. */
function overSanctions (guard: Guard, now: number): string[] {
  return SANCTION_KINDS.flatMap((kind) => [...guard.sanctions[kind].values()].filter((each) => isOver(each, now)).map(({ whom }) => `${kind}:${whom}`))
}

/** What must be forgotten so that one more fits, at most a slice of what is over; a refusal when nothing is over. */
function spaceFor (facts: Facts, what: 'sanctions' | 'removed' | 'purged'): Record<string, null> | Refusal {
  const { guard, now, first } = facts
  const [size, max] = what === 'sanctions' ? [guard.size, SANCTIONS_MAX] : what === 'removed' ? [guard.removed.size, REMOVED_MAX] : [guard.purged.size, PURGED_MAX]
  if (size < max) return {}
  const over = what === 'removed'
    ? [...guard.removed].filter((seq) => seq < first).map((seq) => `removed:${seq}`)
    : what === 'purged'
      ? [...guard.purged].filter(([, upTo]) => upTo < first).map(([user]) => `purged:${user}`)
      : overSanctions(guard, now)
  if (over.length > 0) return without(...over.slice(0, SPACE_SLICE))
  return new Refusal('overloaded', what === 'sanctions'
    ? `this room has ${max} sanctions in force; lift some`
    : `this room has ${max} ${what === 'removed' ? 'removed messages' : 'purged users'} in the log that it keeps; clear it`, 60_000)
}

/** Why one more message of this author cannot be held, or null. */
export function holdRefusal ({ held }: Guard, author: string): Refusal | null {
  if (held.size >= HELD_MAX) return new Refusal('overloaded', `${HELD_MAX} messages wait for a moderator already; try again later`, 10_000)
  const own = [...held.values()].filter(({ user }) => user[0] === author).length
  return own >= HELD_PER_AUTHOR_MAX ? new Refusal('overloaded', `${own} messages of yours wait for a moderator already; try again later`, 10_000) : null
}

function decision (effects: readonly Effect[], more: Partial<Omit<Decision, 'effects'>> = {}): Decision {
  return { effects, whom: more.whom ?? null, text: more.text ?? null }
}

/** What waits, as text; bytes are not shown. */
export function textOf ({ body }: Pick<HeldMessage, 'body'>): string {
  return typeof body === 'string' ? body : ''
}

function missing (message: string): Refusal {
  return new Refusal('not_found', message)
}
