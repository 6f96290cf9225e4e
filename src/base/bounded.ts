// Containers with a bound, so that nothing a client does can grow memory. The caller learns from the return value.

/** First in, first out, at most `max` items. Policy when full: the new item is refused. */
export class BoundedQueue<T> {
  readonly max: number
  #items: T[] = []
  #start = 0

  constructor (max: number) {
    this.max = max
  }

  get size (): number { return this.#items.length - this.#start }

  /** False when full; the item was not taken. */
  offer (item: T): boolean {
    if (this.size >= this.max) return false
    this.#items.push(item)
    return true
  }

  /** Removes and returns up to `count` items, oldest first. */
  take (count: number): T[] {
    const taken = this.#items.slice(this.#start, this.#start + count)
    this.#start += taken.length
    if (this.#start === this.#items.length) {
      this.#items = []
      this.#start = 0
    } else if (this.#start > 1024 && this.#start * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#start)
      this.#start = 0
    }
    return taken
  }
}

/** A map of at most `max` keys. Policy when full: the key that was written longest ago goes. */
export class BoundedMap<K, V> {
  readonly max: number
  #map = new Map<K, V>()

  constructor (max: number) {
    this.max = max
  }

  get size (): number { return this.#map.size }
  get (key: K): V | undefined { return this.#map.get(key) }
  has (key: K): boolean { return this.#map.has(key) }
  delete (key: K): boolean { return this.#map.delete(key) }
  clear (): void { this.#map.clear() }
  entries (): IterableIterator<[K, V]> { return this.#map.entries() }

  /** Writes the key as the youngest; returns the key that had to go, if one had. */
  set (key: K, value: V): K | undefined {
    this.#map.delete(key)
    this.#map.set(key, value)
    if (this.#map.size <= this.max) return undefined
    const oldest = this.#map.keys().next().value as K
    this.#map.delete(oldest)
    return oldest
  }

  /** Makes a key that is there the youngest, once keys are likely to have to go: until then their order does not matter. */
  touch (key: K, value: V): void {
    if (this.#map.size * 2 >= this.max) this.set(key, value)
  }

  /** Removes, from the one written longest ago on, every key whose value `isOver`; stops at the first that is not. */
  expire (isOver: (value: V, key: K) => boolean): void {
    for (const [key, value] of this.#map) {
      if (!isOver(value, key)) return
      this.#map.delete(key)
    }
  }
}

/** A token bucket as three numbers; `spend` says how long to wait, 0 when the token was taken. */
export class TokenBucket {
  #tokens: number
  #at: number

  constructor (burst: number, now: number) {
    this.#tokens = burst
    this.#at = now
  }

  /**
   * Takes `price` tokens (at most a whole burst) if they are there. `now` in milliseconds; an earlier one than the last
   * counts as that. Returns milliseconds until they will be.
   */
  spend (now: number, perSecond: number, burst: number, price = 1): number {
    const due = Math.min(price, burst)
    const since = Math.max(0, now - this.#at)
    this.#tokens = Math.min(burst, this.#tokens + since / 1000 * perSecond)
    this.#at += since
    // A hair less than due, so that who waits as told is not refused over a rounding.
    if (this.#tokens >= due - 1e-9) {
      this.#tokens -= due
      return 0
    }
    return (due - this.#tokens) / perSecond * 1000
  }
}
