// Who may do what to whom, by role: the one function of permission for socket, REST and whoever else acts. Pure.
//
//   admin 4 ▶ broadcaster 3 ▶ moderator 2 ▶ vip 1 ▶ everybody else 0       nobody acts on an equal or above

import { ROLE } from '../../proto/ops.ts'
import { Refusal } from '../base/errors.ts'

export const RANK = { other: 0, vip: 1, moderator: 2, broadcaster: 3, admin: 4 } as const

/** The rank that roles in a room give. */
export function rankOf (roles: number): number {
  if ((roles & ROLE.admin) !== 0) return RANK.admin
  if ((roles & ROLE.broadcaster) !== 0) return RANK.broadcaster
  if ((roles & ROLE.moderator) !== 0) return RANK.moderator
  return (roles & ROLE.vip) !== 0 ? RANK.vip : RANK.other
}

/** Least rank for each action. */
export const RANKS = {
  remove: RANK.moderator, purge: RANK.moderator, clear: RANK.moderator,
  warn: RANK.moderator, timeout: RANK.moderator, ban: RANK.moderator, shadowBan: RANK.moderator, banAddress: RANK.broadcaster, unban: RANK.moderator,
  approve: RANK.moderator, deny: RANK.moderator, approveUnban: RANK.moderator, denyUnban: RANK.moderator,
  set: RANK.moderator, pin: RANK.moderator, unpin: RANK.moderator, announce: RANK.moderator,
  blockTerm: RANK.moderator, unblockTerm: RANK.moderator, note: RANK.moderator,
  acknowledge: RANK.other, requestUnban: RANK.other
} as const

export type ActionName = keyof typeof RANKS

/**
 * Whether somebody of rank `own` may do this; `other`: the rank of the user whom it concerns, null when it concerns none
 * (or oneself).
 */
export function mayAct (action: ActionName, own: number, other: number | null): Refusal | null {
  const least = RANKS[action]
  if (own < least) return new Refusal('forbidden', `${action} needs the role ${least === RANK.broadcaster ? 'broadcaster or admin' : 'moderator, broadcaster or admin'} in this room`)
  if (other !== null && other >= own && least > RANK.other) return new Refusal('forbidden', `${action} is not possible on somebody of the same or a higher role`)
  return null
}
