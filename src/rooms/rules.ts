// What binds in a room, read from the fold of its STATE entries: settings, modes, blocked terms, sanctions. Made anew as a
// whole with every change, but for the terms where they are the same. Must not know who is in the room.

import { pack } from '../../proto/codec.ts'
import type { RoomState } from '../log/log.ts'
import { guardOf, type Guard } from '../moderation/moderation.ts'
import { compileTerms, type Terms } from '../moderation/screen.ts'
import { blockedTerms, modesOf, readSettings, toldSettings, type RoomModes, type RoomSettings, type ToldSettings } from './settings.ts'

export class Rules {
  readonly settings: RoomSettings
  /** The settings as viewers are told them. */
  readonly told: ToldSettings
  /** The same in MessagePack, for all who join. */
  readonly packed: Uint8Array
  /** The settings as they bind authors: what shield mode adds is in them. */
  readonly modes: RoomModes
  readonly terms: Terms
  /** The same as they were written. */
  readonly blockedTerms: readonly string[]
  /** Sanctions, held messages and the like. */
  guard: Guard

  constructor (state: RoomState, before: Rules | null = null) {
    this.settings = readSettings(state)
    this.told = toldSettings(this.settings)
    this.packed = pack(this.told)
    this.modes = modesOf(this.settings, state)
    this.guard = guardOf(state.guarded)
    const blocked = blockedTerms(state)
    // Every sanction is a STATE entry: a thousand terms are not compiled anew for each.
    const isSame = before !== null && before.blockedTerms.join('\n') === blocked.join('\n')
    this.terms = isSame ? before.terms : compileTerms(blocked)
    this.blockedTerms = blocked
  }

  /** How long entries are kept back, milliseconds. */
  get delayMs (): number { return this.settings.publicationDelaySeconds * 1000 }
}
