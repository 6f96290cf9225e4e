// Who is told of a room's entries as they become durable. Every watcher gets every run of its rooms, in order, until
// it ends that or the log does. Bound: the watchers that callers keep.

import type { Watcher } from './log.ts'

interface Watching { readonly watcher: Watcher }

export class Watchers {
  readonly #rooms = new Map<string, Set<Watching>>()

  add (room: string, watcher: Watcher): () => void {
    const watching = { watcher }
    const others = this.#rooms.get(room)
    if (others === undefined) this.#rooms.set(room, new Set([watching]))
    else others.add(watching)
    return () => this.#end(room, watching)
  }

  has (room: string): boolean {
    return this.#rooms.has(room)
  }

  /** Tells the room's watchers of a run of entries. */
  entries (room: string, run: readonly Uint8Array[]): void {
    const all = this.#rooms.get(room)
    if (all === undefined) return
    for (const watching of [...all]) {
      // An earlier one may have ended a later one.
      if (all.has(watching)) this.#call(room, watching, () => watching.watcher.entries(run))
    }
  }

  /** Tells the room's watchers that continuity ended, and forgets them. */
  lost (room: string): void {
    const all = this.#rooms.get(room)
    if (all === undefined) return
    this.#rooms.delete(room)
    for (const watching of all) this.#call(room, watching, () => watching.watcher.lost())
  }

  clear (): void {
    this.#rooms.clear()
  }

  /** A watcher must not throw. One that does is a fault of ours: it is said aloud, and the others are still told. */
  #call (room: string, watching: Watching, call: () => void): void {
    try {
      call()
    } catch (error) {
      this.#end(room, watching)
      process.emitWarning(new Error('a watcher of the room log threw and is told nothing more', { cause: error }))
    }
  }

  #end (room: string, watching: Watching): void {
    const all = this.#rooms.get(room)
    all?.delete(watching)
    if (all?.size === 0) this.#rooms.delete(room)
  }
}
