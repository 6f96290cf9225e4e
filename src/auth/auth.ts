// Who someone is and what they may do. A token (JWT) or a server key becomes an Identity; `can` answers every question
// of permission from it, for socket and REST alike. Must not know rooms' settings or sanctions (ingest, moderation).

import { ROLE } from '../../proto/ops.ts'
import type { User } from '../../proto/values.ts'

/** A verified user. Anonymous viewers have none. */
export interface Identity {
  readonly id: string
  readonly name: string
  /** Bit set of ROLE, everywhere. */
  readonly roles: number
  /** Bit set of ROLE per room; with private rooms also the right to enter. */
  readonly rooms: ReadonlyMap<string, number>
  /** Unix milliseconds when the token ends; Infinity for a server key. */
  readonly expiresAt: number
  readonly tokenId: string | null
  /** Unix milliseconds when the token was issued, in whole seconds; null when it does not say. Server keys have none. */
  readonly issuedAt?: number | null
  /** Unix milliseconds when the account was made, where the token says so. */
  readonly accountSince?: number
  /** The server's own viewer (probe/). No token can say so: identities from tokens have the fields that claims.ts makes. */
  readonly isProbe?: true
}

/** Whose token no longer counts though it has not expired. */
export interface Revoked {
  /** Two look-ups in memory: fit to be asked for every token and, now and then, for every connection. */
  has (identity: Identity): boolean
}

/** Roles that count in a room: the ones held everywhere and the ones held there. */
export function rolesIn (identity: Identity, room: string): number {
  return identity.roles | (identity.rooms.get(room) ?? 0)
}

/** The user as frames of a room show it. */
export function userIn (identity: Identity, room: string): User {
  return [identity.id, identity.name, rolesIn(identity, room)]
}

export const ANNOUNCERS = ROLE.moderator | ROLE.broadcaster | ROLE.admin
/** Roles that slow mode, locks and the screen do not bind; rates bind everybody. */
export const STAFF = ROLE.moderator | ROLE.broadcaster | ROLE.admin | ROLE.bot

/** What can be asked for in a room. */
export type Action = 'read' | 'send' | 'announce' | 'configure' | 'create' | 'delete'

/** What the room says about who may do what. */
export interface RoomAccess {
  readonly name: string
  /** Only those whose token names the room (or an admin) may enter. */
  readonly isPrivate: boolean
}

/** Whether this identity (null: anonymous) may do this in that room, by roles and capabilities alone. */
export function can (identity: Identity | null, action: Action, room: RoomAccess): boolean {
  const roles = identity === null ? 0 : rolesIn(identity, room.name)
  const isAdmin = (roles & ROLE.admin) !== 0
  const mayEnter = !room.isPrivate || isAdmin || identity?.rooms.has(room.name) === true
  switch (action) {
    case 'read': return mayEnter
    case 'send': return identity !== null && mayEnter
    case 'announce': return mayEnter && (roles & ANNOUNCERS) !== 0
    case 'configure':
    case 'create': return mayEnter && (roles & (ROLE.broadcaster | ROLE.admin)) !== 0
    case 'delete': return isAdmin
  }
}
