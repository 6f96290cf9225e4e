// Typed events for the thin client: a name, a list of listeners. Owns the listeners only; knows nothing of chat.

/** What `on` returns: call it to stop listening. */
export type Off = () => void

/** Something that tells events; `Events` maps each name to what its listeners get. */
export class Emitter<Events extends object> {
  readonly #listeners = new Map<keyof Events, Set<(event: never) => void>>()

  /** Calls `listener` at every `name` event from now on. Returns the way to stop. */
  on<Name extends keyof Events> (name: Name, listener: (event: Events[Name]) => void): Off {
    let set = this.#listeners.get(name)
    if (set === undefined) this.#listeners.set(name, set = new Set())
    set.add(listener)
    return () => { set.delete(listener) }
  }

  /**
   * @internal Tells all listeners, in the order they came. A listener that throws stops neither the
   * others nor the client: its error surfaces as uncaught, as with the platform's own event targets.
   */
  emit<Name extends keyof Events> (name: Name, event: Events[Name]): void {
    for (const listener of this.#listeners.get(name) ?? []) {
      try {
        (listener as (event: Events[Name]) => void)(event)
      } catch (error) {
        queueMicrotask(() => { throw error })
      }
    }
  }
}
