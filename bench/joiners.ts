// Connections that join their room again and again, as fast as the server answers: a join storm without the handshakes.
// Each has one JOIN under way; its entries must come whole and in order, up to JOINED's seq.

import { DIALECTS, joinFrame, type Hearer } from './dialect.ts'
import { BINARY, Link, type LinkOwner } from './link.ts'
import type { Told } from './told.ts'

export interface JoinersOptions {
  readonly port: number
  readonly connections: number
  readonly history: number
}

export interface JoinersReport {
  readonly joins: number
  readonly seconds: number
  /** Joins whose entries were not the newest `history`, whole and in order. */
  readonly faulty: number
}

export class Joiners {
  readonly #joiners: Joiner[]
  readonly #shared: Shared = { isOn: false, joins: 0, faulty: 0 }

  static async open (options: JoinersOptions): Promise<Joiners> {
    const joiners = new Joiners(options)
    await Promise.all(joiners.#joiners.map((joiner) => joiner.ready))
    return joiners
  }

  private constructor (options: JoinersOptions) {
    this.#joiners = Array.from({ length: options.connections }, () => new Joiner(options, this.#shared))
  }

  /** Joins for so long. */
  async storm (ms: number): Promise<JoinersReport> {
    const shared = this.#shared
    const before = shared.joins
    const started = performance.now()
    shared.isOn = true
    for (const joiner of this.#joiners) joiner.join()
    await new Promise((resolve) => setTimeout(resolve, ms))
    shared.isOn = false
    return { joins: shared.joins - before, seconds: (performance.now() - started) / 1000, faulty: shared.faulty }
  }

  end (): void {
    for (const joiner of this.#joiners) joiner.link.end()
  }
}

interface Shared { isOn: boolean, joins: number, faulty: number }

class Joiner implements LinkOwner, Hearer {
  readonly link: Link
  readonly ready: Promise<void>
  readonly #options: JoinersOptions
  readonly #shared: Shared
  readonly #joinFrame: Uint8Array
  #onReady: (() => void) | null = null
  #isJoining = true
  #head = 0
  #left = 0

  constructor (options: JoinersOptions, shared: Shared) {
    this.#options = options
    this.#shared = shared
    this.#joinFrame = joinFrame(0, options.history)
    this.ready = new Promise((resolve) => { this.#onReady = resolve })
    this.link = new Link(options.port, '/ws', this)
  }

  opened (link: Link): void {
    link.write(DIALECTS.uproar.greeting(0, null, this.#options.history) as Uint8Array)
  }

  join (): void {
    if (this.#isJoining) return
    this.#isJoining = true
    this.link.write(this.#joinFrame)
  }

  message (_: Link, bytes: Buffer, start: number, end: number): void {
    DIALECTS.uproar.read(this, bytes, start, end, BINARY)
    if (this.#isJoining && this.#left === 0 && this.#head > 0) this.#ended()
  }

  joined (last: number): void {
    this.#head = last
    this.#left = Math.min(this.#options.history, last)
  }

  heard (told: Told): void {
    for (let run = 0; run < told.runs; run++) {
      for (let at = 0; at < (told.counts[run] as number) && this.#left > 0; at++) {
        this.#left--
        if ((told.firsts[run] as number) + at !== this.#head - this.#left) this.#shared.faulty++
      }
    }
  }

  skipped (): void { this.#shared.faulty++ }
  answered (_: number, refusal: string | null): void { if (refusal !== null) throw new Error(refusal) }
  reply (): void {}

  #ended (): void {
    this.#isJoining = false
    this.#head = 0
    this.#onReady?.()
    this.#onReady = null
    if (!this.#shared.isOn) return
    this.#shared.joins++
    this.join()
  }

  closed (): void {}
}
