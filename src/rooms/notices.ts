// What a user is told of sanctions: the SANCTION frames that follow from how a room's guarded state changed, so that
// they come from every instance where the user is, whoever decided and wherever. A shadow ban is told to nobody, and an
// address is not a user. Pure.

import { encode } from '../../proto/codec.ts'
import { OUT } from '../../proto/ops.ts'
import type { Guard, Sanction } from '../moderation/moderation.ts'

export interface Notice {
  readonly user: string
  readonly frame: Uint8Array
}

const TOLD = ['ban', 'timeout', 'warn'] as const

/** Notices for `user` (null: for everybody) of what is in force now and was not, or not so, before; and of what was lifted. */
export function noticesOf (before: Guard | null, after: Guard, now: number, user: string | null): Notice[] {
  const notices: Notice[] = []
  for (const kind of TOLD) {
    const news = user === null ? [...after.sanctions[kind].values()] : [after.sanctions[kind].get(user)].filter((one) => one !== undefined)
    for (const sanction of news) {
      if (isNew(before?.sanctions[kind].get(sanction.whom), sanction) && after.inForce(kind, sanction.whom, now) !== null) {
        notices.push({ user: sanction.whom, frame: encode([OUT.SANCTION, kind, sanction.until, sanction.reason]) })
      }
    }
    for (const whom of before?.sanctions[kind].keys() ?? []) {
      if (!after.sanctions[kind].has(whom) && before?.inForce(kind, whom, now) != null) notices.push({ user: whom, frame: encode([OUT.SANCTION, 'lifted', null, kind]) })
    }
  }
  // What is no sanction is told once, to those who are here when it is decided.
  for (const { ref, user: whom, kind, reason } of after.told.values()) {
    if (before?.told.has(ref) === false && (user === null || user === whom)) notices.push({ user: whom, frame: encode([OUT.SANCTION, kind, null, reason]) })
  }
  return notices
}

function isNew (before: Sanction | undefined, after: Sanction): boolean {
  return before === undefined || before.at !== after.at || before.until !== after.until || before.by !== after.by
}
