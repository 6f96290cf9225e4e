// What one viewer has been sent of one room, held against the contract: every seq after the join once, in order, or
// announced as skipped. A handful of numbers while all is well; remembers at most 10,000 holes.

const HOLES_MAX = 10_000

export class Account {
  received = 0
  /** Entries the server said it would not send. */
  skipped = 0
  duplicates = 0
  outOfOrder = 0
  /** Joins that had to start anew because the position was not recovered. */
  unrecovered = 0
  epoch = ''
  /** Seq of the last entry received or skipped; -1 before the first after an unrecovered or fresh join. */
  last = -1
  #holes: Set<number> | null = null
  #holesBeyond = 0

  /** Seqs that neither came nor were announced, up to the last one seen. */
  get missing (): number { return (this.#holes?.size ?? 0) + this.#holesBeyond }
  /** Whether nothing went wrong so far; skipping is not wrong. */
  get isWhole (): boolean { return this.missing === 0 && this.duplicates === 0 && this.outOfOrder === 0 }

  /** A fresh join: `next` is the seq that must come first, or null when history may begin anywhere. */
  join (epoch: string, next: number | null): void {
    this.epoch = epoch
    this.last = next === null ? -1 : next - 1
  }

  /** A join with a position that the server did not recover. */
  restart (epoch: string): void {
    this.unrecovered++
    this.join(epoch, null)
  }

  entry (seq: number): void {
    this.received++
    if (seq === this.last + 1 || this.last < 0) {
      this.last = seq
    } else if (seq > this.last) {
      this.#leaveHoles(this.last + 1, seq - 1)
      this.last = seq
    } else if (this.#holes?.delete(seq) === true) {
      this.outOfOrder++
    } else {
      this.duplicates++
    }
  }

  /** A SKIPPED frame: of first to last, `count` were not and will not be sent. */
  skip (first: number, last: number, count: number): void {
    if (this.last >= 0 && first > this.last + 1) this.#leaveHoles(this.last + 1, first - 1)
    if (this.last >= 0 && first <= this.last) this.duplicates += Math.min(last, this.last) - first + 1
    this.skipped += count
    this.last = Math.max(this.last, last)
  }

  #leaveHoles (first: number, last: number): void {
    this.#holes ??= new Set()
    for (let seq = first; seq <= last; seq++) {
      if (this.#holes.size >= HOLES_MAX) {
        this.#holesBeyond += last - seq + 1
        return
      }
      this.#holes.add(seq)
    }
  }
}
