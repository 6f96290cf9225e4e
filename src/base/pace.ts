// Doing something for many at a steady pace: so many a second, however late the timers are, and never in a burst to
// catch up.

export interface Pace {
  /** Over this long, where there are enough. */
  readonly ms: number
  /** But no slower than so many a second. */
  readonly perSecondMin: number
}

const TICK_MS = 50
/** A late tick makes up for at most so many on time. */
const CATCH_UP_TICKS = 2

/** Calls for every item, spread evenly; resolves when it has. Items are taken in order. */
export async function paced<T> (items: readonly T[], { ms, perSecondMin }: Pace, call: (item: T) => void): Promise<void> {
  const perTick = Math.max(items.length / Math.max(1, ms / TICK_MS), perSecondMin * TICK_MS / 1000)
  let due = 0
  let at = 0
  let before = performance.now() - TICK_MS
  for (;;) {
    const now = performance.now()
    due += perTick * Math.min(CATCH_UP_TICKS, (now - before) / TICK_MS)
    before = now
    while (at < items.length && at < due) call(items[at++] as T)
    if (at >= items.length) return
    await new Promise((resolve) => setTimeout(resolve, TICK_MS))
  }
}
