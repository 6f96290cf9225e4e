// An action as it is asked for, over socket or REST alike: its name and arguments, checked and typed. What the arguments
// are is the table below; a fault names its argument. Must not know rooms, roles or what follows.

import { isMap, isUint, LIMITS } from '../../proto/values.ts'
import { Refusal } from '../base/errors.ts'
import { RANKS, type ActionName } from './ranks.ts'

export const REASON_CHARACTERS_MAX = 200
export const TERM_CHARACTERS_MAX = 64
export const TIMEOUT_SECONDS = { min: 10, max: 14 * 86_400 } as const

/** Every argument that an action may have. */
export interface Args {
  readonly seq: number
  readonly user: string
  readonly address: string
  readonly ref: string
  readonly seconds: number
  readonly reason: string
  readonly text: string
  readonly term: string
  readonly purge: boolean
  readonly settings: Readonly<Record<string, unknown>>
}

export interface Request {
  readonly action: ActionName
  readonly args: Partial<Args>
}

type Needs = Readonly<Partial<Record<keyof Args, 'must' | 'may'>>>

/** Which arguments each action takes. Others are refused: one that is misspelt must not count as left out. */
export const ARGUMENTS: Readonly<Record<ActionName, Needs>> = {
  remove: { seq: 'must', reason: 'may' },
  purge: { user: 'must', reason: 'may' },
  clear: { reason: 'may' },
  warn: { user: 'must', reason: 'must' },
  timeout: { user: 'must', seconds: 'must', reason: 'may', purge: 'may' },
  ban: { user: 'must', seconds: 'may', reason: 'may', purge: 'may' },
  shadowBan: { user: 'must', seconds: 'may', reason: 'may' },
  banAddress: { user: 'may', address: 'may', seconds: 'may', reason: 'may' },
  unban: { user: 'may', address: 'may', reason: 'may' },
  approve: { ref: 'must' },
  deny: { ref: 'must', reason: 'may' },
  approveUnban: { user: 'must', reason: 'may' },
  denyUnban: { user: 'must', reason: 'may' },
  set: { settings: 'must', reason: 'may' },
  pin: { seq: 'must' },
  unpin: {},
  announce: { text: 'must' },
  blockTerm: { term: 'must', reason: 'may' },
  unblockTerm: { term: 'must', reason: 'may' },
  note: { user: 'must', text: 'must' },
  acknowledge: {},
  requestUnban: { text: 'must' }
}

/** Actions that are for either of these, and one of them. */
const EITHER: readonly ActionName[] = ['banAddress', 'unban']

const text = (name: string, max: number) => (value: unknown): string | null =>
  typeof value === 'string' && value.trim() !== '' && value.length <= max && value.isWellFormed() && !/\p{Cc}/u.test(value) ? null : `${name} must be a text of 1 to ${max} characters without line breaks`

const CHECKS: Readonly<Record<keyof Args, (value: unknown, action: ActionName) => string | null>> = {
  seq: (value) => isUint(value) && value > 0 ? null : 'seq must be the seq of a message',
  user: text('user', LIMITS.userIdCharacters),
  address: text('address', 64),
  ref: text('ref', 64),
  seconds: (value, action) => {
    const { min, max } = action === 'timeout' ? TIMEOUT_SECONDS : { min: 10, max: 3650 * 86_400 }
    return isUint(value) && value >= min && value <= max ? null : `seconds must be a whole number from ${min} to ${max}`
  },
  reason: text('reason', REASON_CHARACTERS_MAX),
  text: text('text', 500),
  term: text('term', TERM_CHARACTERS_MAX),
  purge: (value) => typeof value === 'boolean' ? null : 'purge must be true or false',
  settings: (value) => isMap(value) && Object.keys(value).length > 0 ? null : 'settings must be a map with at least one setting'
}

/** Reads an action. Refuses with `unsupported` (no such action) or `bad_request`, which names the argument. */
export function parseAction (action: unknown, args: unknown): Request | Refusal {
  if (typeof action !== 'string' || !Object.hasOwn(RANKS, action)) return new Refusal('unsupported', `there is no action ${JSON.stringify(String(action).slice(0, 32))}; there are ${Object.keys(RANKS).join(', ')}`)
  const name = action as ActionName
  if (!isMap(args)) return bad('args must be a map')
  const needs = ARGUMENTS[name]
  for (const key of Object.keys(args)) if (!Object.hasOwn(needs, key)) return bad(`args: ${name} takes no ${JSON.stringify(key.slice(0, 32))}; it takes ${Object.keys(needs).join(', ') || 'none'}`)
  const read: Record<string, unknown> = {}
  for (const [key, need] of Object.entries(needs) as [keyof Args, 'must' | 'may'][]) {
    const value = args[key] ?? null
    if (value === null && need === 'may') continue
    const fault = value === null ? `${key} is missing` : CHECKS[key](value, name)
    if (fault !== null) return bad(`args.${fault}`)
    read[key] = value
  }
  if (EITHER.includes(name) && (read['user'] === undefined) === (read['address'] === undefined)) return bad('args: give either user or address')
  return { action: name, args: read as Partial<Args> }
}

function bad (message: string): Refusal {
  return new Refusal('bad_request', message)
}
