// How long a room gathers entries before it writes them to its viewers: a pure function, so that its policy can be read
// and tested as a table.
//
// A flush costs 8 to 12 µs of CPU per viewer, whatever it holds up to 16 KB. Without a window, 1,000 viewers at 100
// messages a second would cost a whole core. With a window of 50 µs per viewer, flushes take at most a fifth of a core:
// 10 µs of work for each 50 µs of waiting. The first entry after a pause never waits: a quiet room has no delay.

const MS_PER_VIEWER = 0.05
export const BIG_ROOM_VIEWERS = 5000

export interface WindowLimits {
  /** Longest window below BIG_ROOM_VIEWERS local viewers, milliseconds. */
  readonly maxMs: number
  /** Longest window from there on, milliseconds. */
  readonly bigMaxMs: number
}

/** The least time in milliseconds between two flushes of a room with that many local viewers. */
export function windowMs (viewers: number, limits: WindowLimits): number {
  const wanted = viewers * MS_PER_VIEWER
  return Math.min(wanted < 1 ? 0 : wanted, viewers < BIG_ROOM_VIEWERS ? limits.maxMs : limits.bigMaxMs)
}
