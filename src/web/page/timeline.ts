// The list of messages: what came waits in a bounded queue and is shown in one batch per step; rows are few and fixed.
//
//   add → fresh (at most 200) ──step──→ shown (200 rows; up to 600 while the reader is scrolled up)
//
// A step is a frame where little comes. Where much comes the list stands still in between, so that it can be read.
// Following: the end is in sight, old rows leave at the top. Paused: nothing moves under the reader; rows are added below
// up to the bound, the rest waits, and of what waits only the newest 200 are kept, as resuming shows no more than that.
// Reads the scroll position in the scroll event alone (no layout is pending then) and writes it once per frame.
// Must not know connections or what a message means.

import type { Item, Message, Reader } from './item.ts'
import { refreshRow, rowOf } from './row.ts'

export const ROWS_MAX = 200
export const ROWS_PAUSED_MAX = 600
const FRESH_MAX = 200
const QUOTABLE_MAX = 1000
const AT_END_PX = 6
/** The least time from one step to the next, and where steps bring more rows than this, the longer one. */
const STEP_MS = 250
const STEP_HOT_MS = 500
const STEP_HOT_ROWS = 4

export interface TimelineParts {
  readonly scroller: HTMLElement
  readonly rows: HTMLElement
  /** Adds to a fresh row what this page shows beside the message. */
  readonly dress?: (row: HTMLLIElement, item: Item) => void
  /** Told when following ends or begins, and when more came while paused. */
  readonly changed: (paused: boolean, unseen: number) => void
}

export class Timeline {
  readonly #parts: TimelineParts
  #reader: Reader = null
  #fresh: Item[] = []
  #shown: Item[] = []
  readonly #quotable = new Map<number, Message>()
  #unseen = 0
  #isPaused = false
  #heldUntil = 0
  #heldTimer: ReturnType<typeof setTimeout> | null = null
  #isBroken = false
  #frame = 0
  #stepTimer: ReturnType<typeof setTimeout> | null = null
  #nextStepAt = 0
  #lastTop = 0

  constructor (parts: TimelineParts) {
    this.#parts = parts
    const { scroller, rows } = parts
    scroller.addEventListener('scroll', () => this.#scrolled(), { passive: true })
    // A wheel turned up is meant, also when smooth scrolling has only moved a pixel so far.
    scroller.addEventListener('wheel', (event) => { if (event.deltaY < 0 && scroller.scrollTop > 0) this.pause() }, { passive: true })
    // Rotating a phone, its keyboard, zooming: the end stays in sight.
    const resized = new ResizeObserver(() => { if (!this.#isPaused) this.#stick() })
    resized.observe(scroller)
    resized.observe(rows)
  }

  /** Who reads: decides which rows are highlighted from now on. */
  set reader (reader: Reader) {
    this.#reader = reader
  }

  get isPaused (): boolean {
    return this.#isPaused
  }

  get isEmpty (): boolean {
    return this.#shown.length === 0 && this.#fresh.length === 0
  }

  /** The oldest message shown, where paging back begins; null when none is. */
  get oldestSeq (): number | null {
    for (const item of this.#shown) if (item.sort === 'message') return item.seq
    return null
  }

  /** A message by its seq, as long as it is remembered: shown, waiting, or among the last 1,000. */
  find (seq: number): Message | null {
    return this.#quotable.get(seq) ?? this.#all().find((item): item is Message => item.sort === 'message' && item.seq === seq) ?? null
  }

  /** Puts an item at the end; it is shown with the next step. `isNews`: counts as unseen while paused. */
  add (item: Item, isNews: boolean): void {
    this.#fresh.push(item)
    if (item.sort === 'message') this.#remember(item)
    if (this.#fresh.length > FRESH_MAX) {
      this.#fresh.shift()
      this.#isBroken = true
    }
    if (this.#isPaused && isNews) this.#unseen++
    // One's own line is never waited for.
    if (item.sort === 'message' && item.isMine) this.#nextStepAt = 0
    this.#plan()
  }

  /** Puts older messages (oldest first) before all others; what is in sight stays where it is. */
  prepend (items: readonly Message[]): void {
    if (items.length === 0) return
    const { scroller, rows } = this.#parts
    const before = scroller.scrollHeight - scroller.scrollTop
    const fragment = document.createDocumentFragment()
    for (const item of items) fragment.append(this.#row(item))
    rows.prepend(fragment)
    this.#shown.unshift(...items)
    scroller.scrollTop = this.#lastTop = scroller.scrollHeight - before
    while (this.#shown.length > ROWS_PAUSED_MAX) {
      const last = this.#shown.pop() as Item
      last.row?.remove()
      last.row = null
      // From here on there is a hole between what is shown and what waits, until resuming.
      this.#isBroken = true
      if (this.#fresh.length < FRESH_MAX) this.#fresh.unshift(last)
    }
  }

  /** Marks what matches as removed, wherever it is: rows, queue, quotes. Its text is forgotten. */
  remove (matches: (message: Message) => boolean): void {
    const gone = new Set<number>()
    for (const item of new Set([...this.#all(), ...this.#quotable.values()])) {
      if (item.sort !== 'message' || item.isRemoved || !matches(item)) continue
      item.isRemoved = true
      item.text = ''
      gone.add(item.seq)
      this.#redraw(item)
    }
    if (gone.size === 0) return
    for (const item of this.#all()) {
      if (item.sort !== 'message' || item.quote === null || !gone.has(item.quote.seq)) continue
      item.quote.isRemoved = true
      item.quote.text = ''
      this.#redraw(item)
    }
  }

  /** Replaces the text of a message. */
  edit (seq: number, text: string): void {
    const message = this.find(seq)
    if (message === null || message.isRemoved) return
    message.text = text
    message.isEdited = true
    this.#redraw(message)
    for (const item of this.#all()) {
      if (item.sort !== 'message' || item.quote?.seq !== seq) continue
      item.quote.text = text
      this.#redraw(item)
    }
  }

  /** Forgets everything. */
  clear (): void {
    for (const item of this.#all()) item.row = null
    this.#fresh = []
    this.#shown = []
    this.#quotable.clear()
    this.#parts.rows.replaceChildren()
    this.resume()
  }

  /** Stops following: the reader looks at something. */
  pause (): void {
    const { scroller } = this.#parts
    if (this.#isPaused || scroller.scrollHeight <= scroller.clientHeight) return
    this.#isPaused = true
    this.#unseen = 0
    this.#parts.changed(true, 0)
  }

  /** Follows again, from the newest messages. */
  resume (): void {
    const wasPaused = this.#isPaused
    this.#isPaused = false
    this.#unseen = 0
    this.#heldUntil = 0
    if (!wasPaused) return
    this.#parts.changed(false, 0)
    // At once: until the end is in sight again, any small move of the rows would look like the reader scrolling up.
    this.#flush()
  }

  /** Keeps rows still for so long without calling it paused (somebody aims at a button of a row); 0 ends it. */
  hold (ms: number): void {
    this.#heldUntil = performance.now() + ms
    if (this.#heldTimer !== null) clearTimeout(this.#heldTimer)
    this.#heldTimer = setTimeout(() => this.#plan(), ms)
  }

  #row (item: Item): HTMLLIElement {
    const row = rowOf(item, this.#reader)
    this.#parts.dress?.(row, item)
    return row
  }

  #redraw (message: Message): void {
    refreshRow(message, this.#reader)
    if (message.row !== null) this.#parts.dress?.(message.row, message)
  }

  #all (): Item[] {
    return [...this.#shown, ...this.#fresh]
  }

  #remember (message: Message): void {
    this.#quotable.set(message.seq, message)
    if (this.#quotable.size > QUOTABLE_MAX) this.#quotable.delete(this.#quotable.keys().next().value as number)
  }

  #plan (): void {
    if (this.#frame !== 0) return
    if (this.#stepTimer !== null) clearTimeout(this.#stepTimer)
    const waitMs = this.#nextStepAt - performance.now()
    this.#stepTimer = waitMs > 0 ? setTimeout(() => this.#plan(), waitMs) : null
    if (waitMs <= 0) this.#frame = requestAnimationFrame(() => this.#flush())
  }

  #flush (): void {
    cancelAnimationFrame(this.#frame)
    this.#frame = 0
    if (!this.#isPaused && performance.now() < this.#heldUntil) return
    const room = this.#isBroken ? 0 : ROWS_PAUSED_MAX - this.#shown.length
    const batch = this.#fresh.splice(0, this.#isPaused ? room : this.#fresh.length)
    if (!this.#isPaused) {
      this.#isBroken = false
      this.#trim(ROWS_MAX - batch.length)
    }
    this.#nextStepAt = performance.now() + (batch.length > STEP_HOT_ROWS ? STEP_HOT_MS : STEP_MS)
    if (batch.length > 0) {
      const fragment = document.createDocumentFragment()
      for (const item of batch) fragment.append(this.#row(item))
      this.#parts.rows.append(fragment)
      this.#shown.push(...batch)
    }
    if (this.#isPaused) this.#parts.changed(true, this.#unseen)
    else this.#stick()
  }

  #trim (keep: number): void {
    const leaving = this.#shown.splice(0, Math.max(0, this.#shown.length - Math.max(0, keep)))
    for (const item of leaving) {
      item.row?.remove()
      item.row = null
    }
  }

  // Beyond any height: the browser clamps it, and the height need not be read.
  #stick (): void {
    this.#parts.scroller.scrollTop = 1e7
  }

  #scrolled (): void {
    const { scroller } = this.#parts
    const top = scroller.scrollTop
    const toEnd = scroller.scrollHeight - scroller.clientHeight - top
    if (!this.#isPaused && top < this.#lastTop - 1 && toEnd > AT_END_PX) this.pause()
    else if (this.#isPaused && top > this.#lastTop && toEnd <= AT_END_PX) this.resume()
    this.#lastTop = top
  }
}
