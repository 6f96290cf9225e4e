// What of moderation's own records goes when a person is erased, and what stays under a pseudonym or because it must bind.
// Pure: from a state or a row to what is to be written instead.
//
//   goes        held messages, requests, notes about the person, sanctions that have ended, marks of removed messages
//   stays bare  sanctions in force: the id, since they bind by it, and until when; their reason goes. Else whoever is
//               banned would only have to ask to be erased
//   renamed     who gave sanctions and wrote notes about others, who acted (audit rows)

import type { RoomState, StatePatch } from '../log/log.ts'
import type { AuditDraft } from './audit.ts'
import { Guard, isOver, SANCTION_KINDS, sanctionPatch, without } from './guard.ts'

export interface Erased {
  readonly user: string
  /** What stands in the person's place where a record is about others too. */
  readonly pseudonym: string
  readonly now: number
  /** Whether the message of this seq is erased. */
  readonly isErased: (seq: number) => boolean
}

/** What must change in a room's state; null when nothing of it is the person's. */
export function stateWithout (state: RoomState, erased: Erased): StatePatch | null {
  const guard = new Guard(state.guarded)
  const guarded = { ...gone(guard, erased), ...sanctionsWithout(guard, erased), ...notesWithout(guard, erased) }
  const { pinned } = state.settings
  const settings = typeof pinned === 'number' && erased.isErased(pinned) ? { pinned: null } : {}
  return Object.keys(guarded).length + Object.keys(settings).length === 0 ? null : { settings, guarded }
}

function gone (guard: Guard, { user, isErased }: Erased): Record<string, null> {
  return without(
    ...[...guard.held.values()].filter((message) => message.user[0] === user).map(({ ref }) => `held:${ref}`),
    ...guard.requests.has(user) ? [`request:${user}`] : [],
    ...guard.notes.has(user) ? [`note:${user}`] : [],
    ...guard.purged.has(user) ? [`purged:${user}`] : [],
    ...[...guard.told.values()].filter((notice) => notice.user === user).map(({ ref }) => `told:${ref}`),
    ...[...guard.removed].filter(isErased).map((seq) => `removed:${seq}`)
  )
}

function sanctionsWithout (guard: Guard, { user, pseudonym, now }: Erased): Record<string, unknown> {
  const changes: Record<string, unknown> = {}
  for (const kind of SANCTION_KINDS) {
    for (const sanction of guard.sanctions[kind].values()) {
      const { whom, by, reason } = sanction
      const isOwn = kind !== 'address' && whom === user
      if (isOwn && isOver(sanction, now)) changes[`${kind}:${whom}`] = null
      else if ((isOwn && reason !== '') || by === user) Object.assign(changes, sanctionPatch({ ...sanction, by: by === user ? pseudonym : by, reason: isOwn ? '' : reason }))
    }
  }
  return changes
}

function notesWithout (guard: Guard, { user, pseudonym }: Erased): Record<string, unknown> {
  const changed = [...guard.notes].filter(([whom, notes]) => whom !== user && notes.some(({ by }) => by === user))
  return Object.fromEntries(changed.map(([whom, notes]) => [`note:${whom}`, notes.map(({ text, by, at }) => [text, by === user ? pseudonym : by, at])]))
}

/** Actions whose text is what the actor said itself. */
const OWN_WORDS: ReadonlySet<string> = new Set(['announce', 'requestUnban'])

/** An audit row without the person: it still says that somebody did this, and when; null when it is about others. */
export function rowWithout<Row extends AuditDraft> (row: Row, user: string, pseudonym: string): Row | null {
  const [isBy, isAbout] = [row.by === user, row.whom === user || row.args['user'] === user]
  if (!isBy && !isAbout) return null
  const hasWords = (isAbout && row.action !== 'erase') || (isBy && OWN_WORDS.has(row.action))
  const args = { ...row.args }
  if (args['user'] === user) args['user'] = pseudonym
  if (hasWords) for (const key of ['text', 'reason', 'ref']) delete args[key]
  return { ...row, by: isBy ? pseudonym : row.by, whom: row.whom === user ? pseudonym : row.whom, args, ...(hasWords ? { text: null, reason: null } : {}) }
}

/** What moderation keeps of a person in a room, for the person. */
export function recordsOf (state: RoomState, user: string): Record<string, unknown>[] {
  const { sanctions, requests, notes, held } = new Guard(state.guarded)
  const request = requests.get(user)
  return [
    ...SANCTION_KINDS.filter((kind) => kind !== 'address').flatMap((kind) => sanctions[kind].get(user) ?? []).map(({ kind, until, reason, at }) => ({ type: 'sanction', kind, until, reason, at })),
    ...(notes.get(user) ?? []).map(({ text, at }) => ({ type: 'note', text, at })),
    ...request === undefined ? [] : [{ type: 'request', text: request.text, at: request.at }],
    ...[...held.values()].filter((message) => message.user[0] === user).map(({ ref, kind, body, reason, at }) => ({ type: 'held', ref, kind, body: typeof body === 'string' ? body : Buffer.from(body).toString('base64'), reason, at }))
  ]
}
