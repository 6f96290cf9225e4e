// How long a room gathers entries before it writes them to its viewers: a pure function, so that its policy can be read
// and tested as a table.
//
// A flush costs about 10 µs of CPU per viewer, whatever it holds up to 16 KB (8 to 12 µs measured: one send() each), so
// what a room costs is flushes × viewers. As long as writing every entry at once would take less than IMMEDIATE_SHARE of
// a core, nobody waits:
//
//   viewers    at once up to        beyond that
//       100      400 entries/s      a window of at most 50 ms
//     1,000       40 entries/s      a window of at most 50 ms
//     5,000        8 entries/s      a window of at most 250 ms
//    18,000      2.2 entries/s      a window of at most 250 ms
//
// Beyond it the room is hot and the full window pays: at 2,000 entries/s to 1,000 viewers, bare uWebSockets.js did
// 6.7 million deliveries per CPU second in windows of 50 ms, 4.1 million in 20 ms and 1.3 million without. A room just
// past the border takes a window that grows with its rate, so that crossing it is no step.
//
// The 10 µs are of a machine that has nothing else to do. Where others take the CPU, or its memory is slow, a flush takes
// several times as long, and a room that did not know it would owe its viewers more with every one: with a balancer and two
// more instances on the same two cores, 12 entries a second to 1,000 viewers came 3 s late. So rooms time their flushes, and
// a window is never shorter than what keeps a room flushing for at most FLUSHING_SHARE of the time, up to the longest one,
// nor longer for it than one message takes to fill: beyond that, later is not fewer writes.

import type { Clock } from '../base/clock.ts'

const FLUSH_MS_PER_VIEWER = 0.01
const FLUSHING_SHARE = 0.6
/** Below this a flush is too short to be worth timing. */
const TIMED_VIEWERS = 250
/** One flush in so many is timed, since a timer costs as much as some hundred viewers; its weight in what flushes take of late. */
const TIMED_EVERY = 4
const TIMED_WEIGHT = 0.5
const IMMEDIATE_SHARE = 0.4
export const BIG_ROOM_VIEWERS = 5000

export interface WindowLimits {
  /** Longest window below BIG_ROOM_VIEWERS local viewers, milliseconds. */
  readonly maxMs: number
  /** Longest window from there on, milliseconds. */
  readonly bigMaxMs: number
}

/**
 * The least time in milliseconds between two flushes of a room with that many local viewers and entries a second.
 * `flushMs`: what its flushes took of late, by the clock on the wall; 0: not known. `fillMs`: in what time so much comes as
 * one message holds.
 */
export function windowMs (viewers: number, perSecond: number, limits: WindowLimits, flushMs = 0, fillMs = Infinity): number {
  const longestMs = viewers < BIG_ROOM_VIEWERS ? limits.maxMs : limits.bigMaxMs
  const share = Math.max(viewers * FLUSH_MS_PER_VIEWER, flushMs) * perSecond / 1000
  if (share <= IMMEDIATE_SHARE || longestMs === 0) return 0
  const maxMs = Math.max(longestMs, Math.min(limits.bigMaxMs, flushMs / FLUSHING_SHARE, fillMs))
  return Math.min(maxMs, maxMs * (share / IMMEDIATE_SHARE - 1))
}

/** What a room's flushes take, by the clock on the wall: what others take of the CPU meanwhile counts. */
export class FlushTime {
  /** Of late, from the begin until the sockets were written to, milliseconds; 0 in a small room. */
  ms = 0
  #beganAt = 0
  #count = 0

  began (clock: Clock): void {
    this.#beganAt = clock.elapsed()
  }

  /** All that was to be published is. The library writes at the end of the turn, so what that takes is known in the next. */
  ended (viewers: number, clock: Clock): void {
    const began = this.#beganAt
    if (viewers < TIMED_VIEWERS) this.ms = 0
    else if (this.#count++ % TIMED_EVERY === 0) clock.after(0, () => { this.ms += (clock.elapsed() - began - this.ms) * TIMED_WEIGHT })
  }
}

/** Entries a second, as an average that forgets: what was a RATE_MS ago counts for a third. */
export class Rate {
  #perMs = 0
  #at = 0

  /** So many arrived now; returns entries a second. `now` in milliseconds, never going back. */
  add (count: number, now: number): number {
    this.#perMs = this.#perMs * Math.exp((this.#at - now) / RATE_MS) + count / RATE_MS
    this.#at = now
    return this.#perMs * 1000
  }

  perSecond (now: number): number {
    return this.#perMs * Math.exp((this.#at - now) / RATE_MS) * 1000
  }
}

const RATE_MS = 500
