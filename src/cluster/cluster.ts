// Many processes as one server: who they are, how many watch a room on all of them, and how a frame finds a user who may
// be connected anywhere. This is the face that every engine implements and `cluster.suite.ts` holds it to.
//
//   rooms, gateway ──note()──▶ [what changed here] ──once a second──▶ all instances ──▶ totals ──▶ VIEWERS, limits
//   toUser, tell ──▶ here at once ──▶ bus ──▶ every other instance, best effort
//
// Nothing that is done per message, per join or per handshake asks another process: it is answered from what was known a
// second ago. Must not know sockets, rooms or the log. Bounds: one entry a room, address and user that is here now.

import type { Part } from '../base/lifecycle.ts'

/** One process, as it tells of itself once a second. */
export interface Instance {
  readonly id: string
  readonly host: string
  readonly pid: number
  /** 0 where it does not serve that. */
  readonly port: number
  readonly wsPort: number
  /** Unix milliseconds. */
  readonly startedAt: number
  readonly connections: number
  readonly version: string
  readonly isDraining: boolean
}

/** An instance as others see it. */
export interface InstanceView extends Instance {
  readonly isSelf: boolean
  /** Milliseconds since it was last heard of. */
  readonly silentMs: number
}

/** What is counted over all instances, by name: viewers of a room, connections of an address range. */
export type Counted = 'viewers' | 'addresses'

/** What the cluster calls. None may throw or wait. */
export interface ClusterEvents {
  /** The total of a room's viewers elsewhere changed. */
  viewersChanged? (room: string): void
  /** Frames for every connection that the user has here. */
  toUser? (user: string, bytes: Uint8Array): void
  /** The user has too many connections in all: those that opened before this stamp give way. */
  crowded? (user: string, beforeStamp: number): void
  /** Something was told to all instances under this name. */
  told? (name: string, value: unknown): void
}

export const BEAT_MS = 1000
/** An instance that was not heard of for so long is dead: what it counted no longer counts. */
export const DEAD_MS = 5000
/** Frames and values on the bus are small. */
export const BUS_BYTES_MAX = 65_536

export interface Cluster extends Part {
  /** This instance's name in the cluster; another one after every start. */
  readonly id: string
  /** Instances alive at the last beat, this one included. */
  readonly size: number

  start (): Promise<void>
  /** Takes itself out at once: its counts no longer count elsewhere. */
  stop (): Promise<void>

  /** Adds one who is told. Before start. */
  listen (events: ClusterEvents): void

  /** Notes how many there are here now. Costs a write to a map; is known elsewhere within two beats. */
  note (what: Counted, name: string, here: number): void

  /**
   * How many there are on the other instances, as of the last beats: never asks, never waits. Those of a dead instance
   * count for `DEAD_MS` more. 0 for a name that this instance has not noted.
   */
  elsewhere (what: Counted, name: string): number

  /** Viewers of these rooms on other instances, asked now; what is not answered in time is 0. For REST, not for a hot path. */
  askViewers (rooms: readonly string[]): Promise<readonly number[]>

  /**
   * Notes a user's connections here, as stamps of when they opened (`stampOf`), in any order; none: gone. Where a user has more
   * than the limit in all, the instances that hold the oldest are told `crowded` within two beats.
   */
  noteUser (user: string, stamps: readonly number[]): void

  /** Hands frames (at most BUS_BYTES_MAX) to every connection of the user on every instance: here in this call, elsewhere best effort. */
  toUser (user: string, bytes: Uint8Array): void

  /** Tells every instance, this one included, under a name: here in this call, elsewhere best effort. The value is packed as MessagePack. */
  tell (name: string, value: unknown): void

  /** Every live instance, by start. Rejects with AppError `unavailable` when they cannot be asked. */
  instances (): Promise<readonly InstanceView[]>
}

/** What an instance tells of itself, asked at each beat. */
export type SelfPortrait = () => Omit<Instance, 'id' | 'host' | 'pid' | 'startedAt' | 'version'>

/** When a connection opened, as a number that orders those of one user on all instances alike: microseconds, the last three by its number. */
export function stampOf (connection: { readonly since: number, readonly number: number }): number {
  return connection.since * 1000 + connection.number % 1000
}
