// The first step: from what a client sent to a draft with types, or the reason why not. Everything after it trusts it.

import { pack } from '../../proto/codec.ts'
import { KIND, ROLE } from '../../proto/ops.ts'
import { isMap, isNonce, isUint, LIMITS, nestsWithin } from '../../proto/values.ts'
import type { Identity } from '../auth/auth.ts'
import { Refusal } from '../base/errors.ts'
import { ALLOWED } from '../moderation/moderation.ts'
import type { Room } from '../rooms/rooms.ts'
import type { Answer, Author, Ext, MessageDraft, Submission } from './draft.ts'
import { cleanText, codePoints } from './text.ts'

export interface ShapeLimits {
  readonly textCharactersMax: number
}

const ENCRYPTED_BYTES_MAX = 2048

/** Kinds that clients may send, and the roles it takes (0: any). System lines are the server's; attachments come later. */
const SENDABLE: Readonly<Record<number, number>> = {
  [KIND.text]: 0,
  [KIND.emote]: 0,
  [KIND.announcement]: ROLE.moderator | ROLE.broadcaster | ROLE.admin,
  [KIND.system]: ROLE.admin,
  [KIND.encrypted]: 0,
  [KIND.botCard]: ROLE.bot | ROLE.admin
}

/** Checks the submission's fields and cleans its text. */
export function shape (author: Author, submission: Submission, answer: Answer, now: number, elapsed: number, limits: ShapeLimits): MessageDraft | Refusal {
  const { nonce, kind } = submission
  const { room, user: [,, roles] } = author
  if (!isNonce(nonce)) return bad('nonce must be a string of 1 to 64 characters')
  if (!nonce.isWellFormed()) return bad('nonce must be well-formed text')
  if (!isUint(kind)) return bad('kind must be a whole number')
  const wanted = SENDABLE[kind]
  if (wanted === undefined) return new Refusal('unsupported', `messages of kind ${kind} are not served`)
  if (wanted !== 0 && (roles & wanted) === 0) return new Refusal('forbidden', `messages of kind ${kind} need another role`)
  const body = bodyOf(submission.body, kind, limits)
  if (body instanceof Refusal) return body
  const ext = submission.ext == null ? null : extOf(submission.ext, room)
  if (ext instanceof Refusal) return ext
  return { room, author, roles, nonce, kind, body, ext, now, elapsed, answer, verdict: ALLOWED, place: null }
}

function bodyOf (body: unknown, kind: number, limits: ShapeLimits): string | Uint8Array | Refusal {
  if (kind === KIND.encrypted) {
    if (!(body instanceof Uint8Array)) return bad('an encrypted body must be bytes')
    if (body.length === 0) return bad('body is empty')
    return body.length > ENCRYPTED_BYTES_MAX ? new Refusal('too_long', `an encrypted body has at most ${ENCRYPTED_BYTES_MAX} bytes`) : body
  }
  if (typeof body !== 'string') return bad('body must be text')
  const text = cleanText(body)
  if (text === '') return bad('body is empty')
  // A character takes a unit at least: what is short enough in units need not be counted.
  const length = text.length <= limits.textCharactersMax ? text.length : codePoints(text)
  return length > limits.textCharactersMax ? new Refusal('too_long', `the text has ${length} characters; ${limits.textCharactersMax} are allowed`) : text
}

function extOf (value: unknown, room: Room): Ext | null | Refusal {
  if (!isMap(value)) return bad('ext must be a map')
  const ext: Ext = {}
  for (const key of ['re', 'thread'] as const) {
    const seq = value[key]
    if (seq == null) continue
    if (!isUint(seq) || seq === 0 || seq > room.seq) return bad(`ext.${key} must be the seq of an entry of the room`)
    ext[key] = seq
  }
  const at = value['at']
  if (at != null) {
    if (!Array.isArray(at) || at.length > LIMITS.mentions || !at.every(isUserId)) return bad(`ext.at must be a list of at most ${LIMITS.mentions} user ids`)
    ext.at = at
  }
  const meta = value['meta']
  if (meta != null) {
    if (!isMap(meta) || !nestsWithin(meta, LIMITS.metaNesting)) return bad(`ext.meta must be a map of at most ${LIMITS.metaNesting} levels`)
    if (pack(meta).length > LIMITS.metaBytes) return new Refusal('too_long', `ext.meta has at most ${LIMITS.metaBytes} bytes`)
    ext.meta = meta
  }
  return Object.keys(ext).length === 0 ? null : ext
}

function isUserId (value: unknown): value is string {
  return typeof value === 'string' && value.length > 0 && value.length <= LIMITS.userIdCharacters
}

function bad (message: string): Refusal {
  return new Refusal('bad_request', message)
}

/** Whether this identity's token still counts. */
export function isCurrent (identity: Identity, now: number): boolean {
  return identity.expiresAt > now
}
