// What can be set for a room, as a table of checks. Public settings go to viewers in JOINED and STATE; guarded ones stay
// on the server. A setting put to null goes back to its default.

import { Refusal } from '../base/errors.ts'
import { isMap } from '../../proto/values.ts'
import type { RoomState, StatePatch } from '../log/log.ts'
import { LEVEL_MAX } from '../moderation/moderation.ts'

/** A room's settings with their defaults filled in. */
export interface RoomSettings {
  readonly title: string
  readonly slowModeSeconds: number
  readonly locked: boolean
  readonly private: boolean
  /** Messages a second that a `live` view is shown of a hot room. */
  readonly liveMessagesPerSecond: number
  /** Only members may write: those whose token names the room, subscribers, vips, staff. */
  readonly membersOnly: boolean
  /** Only subscribers, vips and staff may write. */
  readonly subscribersOnly: boolean
  /** Only accounts that the token says are so old may write; 0: any. */
  readonly minimumAccountAgeDays: number
  readonly emoteOnly: boolean
  /** What was said within the last 30 s may not be said again, by anybody. */
  readonly uniqueChat: boolean
  /** Every message waits for a moderator. */
  readonly preModeration: boolean
  /** Several modes in one switch: modes() below. */
  readonly shield: boolean
  /** Viewers get entries so much later than moderators do. */
  readonly publicationDelaySeconds: number
  /** The automatic level, 0 to 4 (moderation/levels.ts). */
  readonly autoLevel: number
  /** Hosts that links may lead to at levels that hold or block links. */
  readonly allowedLinks: readonly string[]
  /** Seq of the message that stands on top; 0: none. */
  readonly pinned: number
  /** How long the archive keeps the room, days; 0: for ever; null: as ARCHIVE_DAYS says. */
  readonly archiveDays: number | null
}

/** The settings as they bind authors, and what of them viewers are not told. */
export type RoomModes = RoomSettings & { readonly hook: HookMode }

export type ToldSettings = typeof ALWAYS_TOLD & Readonly<Partial<RoomSettings>>

/** Settings that every viewer is told, whether set or not; the others come with JOINED only where they are set. */
const ALWAYS_TOLD: Pick<RoomSettings, 'title' | 'slowModeSeconds' | 'locked' | 'private' | 'liveMessagesPerSecond'> =
  { title: '', slowModeSeconds: 0, locked: false, private: false, liveMessagesPerSecond: 20 }

const DEFAULTS: RoomSettings = {
  ...ALWAYS_TOLD,
  membersOnly: false, subscribersOnly: false, minimumAccountAgeDays: 0, emoteOnly: false, uniqueChat: false, preModeration: false, shield: false,
  publicationDelaySeconds: 0, autoLevel: 0, allowedLinks: [], pinned: 0, archiveDays: null
}

/** What shield mode makes of the other settings: each at least this strict. */
export const SHIELD = { slowModeSeconds: 10, membersOnly: true, uniqueChat: true, autoLevel: 3 } as const

/** Settings that moderators may change; the others are for broadcasters and admins. */
const MODES: ReadonlySet<string> = new Set([
  'slowModeSeconds', 'locked', 'membersOnly', 'subscribersOnly', 'minimumAccountAgeDays', 'emoteOnly', 'uniqueChat', 'preModeration', 'shield', 'publicationDelaySeconds', 'autoLevel', 'allowedLinks'
])

/** Whether messages are shown to the hook first, and what counts when it does not answer: they pass (`open`) or not (`closed`). */
export const HOOK_MODES = ['off', 'open', 'closed'] as const
export type HookMode = (typeof HOOK_MODES)[number]

type Check = (value: unknown) => string | null

const text = (max: number): Check => (value) => typeof value === 'string' && [...value].length <= max && !/\p{Cc}/u.test(value) ? null : `must be a text of at most ${max} characters`
const whole = (min: number, max: number): Check => (value) => Number.isInteger(value) && (value as number) >= min && (value as number) <= max ? null : `must be a whole number from ${min} to ${max}`
const flag: Check = (value) => typeof value === 'boolean' ? null : 'must be true or false'
const terms: Check = (value) => Array.isArray(value) && value.length <= 1000 && value.every((term) => typeof term === 'string' && term.trim().length > 0 && term.length <= 64)
  ? null
  : 'must be a list of at most 1,000 terms of 1 to 64 characters'

const oneOf = (...values: readonly number[]): Check => (value) => values.includes(value as number) ? null : `must be one of ${values.join(', ')}`
const hosts: Check = (value) => Array.isArray(value) && value.length <= 100 && value.every((host) => typeof host === 'string' && /^(?=.{1,253}$)[\p{Ll}\p{N}-]+(\.[\p{Ll}\p{N}-]+)*$/u.test(host))
  ? null
  : 'must be a list of at most 100 host names in lower case, such as example.org'

const PUBLIC: Readonly<Record<string, Check>> = {
  title: text(120), slowModeSeconds: whole(0, 3600), locked: flag, private: flag, liveMessagesPerSecond: whole(1, 1000),
  membersOnly: flag, subscribersOnly: flag, minimumAccountAgeDays: whole(0, 3650), emoteOnly: flag, uniqueChat: flag, preModeration: flag, shield: flag,
  publicationDelaySeconds: oneOf(0, 2, 4, 6), autoLevel: whole(0, LEVEL_MAX), allowedLinks: hosts, pinned: whole(0, Number.MAX_SAFE_INTEGER), archiveDays: whole(0, 36_500)
}
const hook: Check = (value) => HOOK_MODES.includes(value as HookMode) ? null : `must be one of ${HOOK_MODES.join(', ')}`
const GUARDED: Readonly<Record<string, Check>> = { blockedTerms: terms, hook }

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

/** Checks settings that a moderator wants to change by an action; blocked terms and what a room is are not among them. */
export function parseModes (value: unknown): Readonly<Record<string, unknown>> | Refusal {
  const patch = parseSettings(value)
  if (patch instanceof Refusal) return patch
  const other = Object.keys({ ...patch.settings, ...patch.guarded }).find((name) => !MODES.has(name))
  if (other !== undefined) return new Refusal('forbidden', `settings.${other} is set by PUT /v1/rooms/:room, by a broadcaster or admin; this action sets ${[...MODES].join(', ')}`)
  return patch.settings ?? {}
}

/** The settings as viewers are told them: the first five, and of the others those that differ from their default. */
export function toldSettings (settings: RoomSettings): ToldSettings {
  return Object.fromEntries(Object.entries(settings).filter(([name, value]) => Object.hasOwn(ALWAYS_TOLD, name) || !isDefault(name, value))) as ToldSettings
}

function isDefault (name: string, value: unknown): boolean {
  return Array.isArray(value) ? value.length === 0 : value === DEFAULTS[name as keyof RoomSettings]
}

/** The settings as they bind authors: with shield mode each is at least as strict as SHIELD. */
export function modesOf (settings: RoomSettings, state: RoomState): RoomModes {
  const modes = { ...settings, hook: hookMode(state) }
  if (!settings.shield) return modes
  return {
    ...modes, membersOnly: true, uniqueChat: true,
    slowModeSeconds: Math.max(settings.slowModeSeconds, SHIELD.slowModeSeconds),
    autoLevel: Math.max(settings.autoLevel, SHIELD.autoLevel)
  }
}

/** The hook's mode of a room's state. */
function hookMode (state: RoomState): HookMode {
  const value = state.guarded['hook'] as HookMode
  return HOOK_MODES.includes(value) ? value : 'off'
}

/** The blocked terms of a room's state. */
export function blockedTerms (state: RoomState): readonly string[] {
  const value = state.guarded['blockedTerms']
  return Array.isArray(value) ? value as string[] : []
}
