// How long a room's name may be for the engines, whatever the rooms themselves allow: one bound for all of them, so that
// a name which one engine takes every other takes too.

import { AppError } from './errors.ts'

/** lmdb's keys have 1,978 bytes at most, and a character takes two. */
export const NAME_CHARACTERS_MAX = 900

/** Throws AppError `bad_request` for a name that no engine can hold. */
export function checkName (name: string): void {
  if (name.length > NAME_CHARACTERS_MAX) throw new AppError('bad_request', `a room's name has at most ${NAME_CHARACTERS_MAX} characters`)
}
