// What can be set for a room, as a table of checks. Public settings go to viewers in JOINED and STATE; guarded ones stay
// on the server. A setting put to null goes back to its default.

import { Refusal } from '../base/errors.ts'
import { isMap } from '../../proto/values.ts'
import type { RoomState, StatePatch } from '../log/log.ts'

/** A room's settings with their defaults filled in. */
export interface RoomSettings {
  readonly title: string
  readonly slowModeSeconds: number
  readonly locked: boolean
  readonly private: boolean
  /** Messages a second that a `live` view is shown of a hot room. */
  readonly liveMessagesPerSecond: number
}

const DEFAULTS: RoomSettings = { title: '', slowModeSeconds: 0, locked: false, private: false, liveMessagesPerSecond: 20 }

type Check = (value: unknown) => string | null

const text = (max: number): Check => (value) => typeof value === 'string' && [...value].length <= max && !/\p{Cc}/u.test(value) ? null : `must be a text of at most ${max} characters`
const whole = (min: number, max: number): Check => (value) => Number.isInteger(value) && (value as number) >= min && (value as number) <= max ? null : `must be a whole number from ${min} to ${max}`
const flag: Check = (value) => typeof value === 'boolean' ? null : 'must be true or false'
const terms: Check = (value) => Array.isArray(value) && value.length <= 1000 && value.every((term) => typeof term === 'string' && term.trim().length > 0 && term.length <= 64)
  ? null
  : 'must be a list of at most 1,000 terms of 1 to 64 characters'

const PUBLIC: Readonly<Record<string, Check>> = { title: text(120), slowModeSeconds: whole(0, 3600), locked: flag, private: flag, liveMessagesPerSecond: whole(1, 1000) }
const GUARDED: Readonly<Record<string, Check>> = { blockedTerms: terms }

/** Names of the settings that a room takes, for documents and schemas. */
export const SETTING_NAMES = [...Object.keys(PUBLIC), ...Object.keys(GUARDED)] as const

/** Checks a request's settings and parts them into what viewers see and what they do not. */
export function parseSettings (value: unknown): StatePatch | Refusal {
  if (!isMap(value)) return new Refusal('bad_request', 'settings must be an object')
  const settings: Record<string, unknown> = {}
  const guarded: Record<string, unknown> = {}
  for (const [name, setting] of Object.entries(value)) {
    const isPublic = Object.hasOwn(PUBLIC, name)
    const check = isPublic ? PUBLIC[name] : Object.hasOwn(GUARDED, name) ? GUARDED[name] : undefined
    if (check === undefined) return new Refusal('bad_request', `settings: there is no setting ${JSON.stringify(name.slice(0, 64))}; there are ${SETTING_NAMES.join(', ')}`)
    const fault = setting === null ? null : check(setting)
    if (fault !== null) return new Refusal('bad_request', `settings.${name} ${fault}`)
    ;(isPublic ? settings : guarded)[name] = setting
  }
  return { settings, guarded }
}

/** The public settings of a room's state, defaults filled in. */
export function readSettings (state: RoomState): RoomSettings {
  return { ...DEFAULTS, ...state.settings }
}

/** The blocked terms of a room's state. */
export function blockedTerms (state: RoomState): readonly string[] {
  const value = state.guarded['blockedTerms']
  return Array.isArray(value) ? value as string[] : []
}
