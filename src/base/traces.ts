// Traces of messages through all processes, without a byte carried for them: a message's place (room, epoch, seq) is its
// name everywhere, so its trace id is a hash of it, whether it is in the sample is another, and every process that meets it
// comes to the same answers by itself. The wire, the log's bytes and the feed's records know nothing of traces.
//
//   gateway:  accept ┬ log          (once the seq is known; the spans are made afterwards)
//   relay, moderator, archiver:     └ feed relay, feed moderator, …     each under `accept`, whose span id is a hash too
//
// The built-in viewer's messages (probe/) are all traced, with `probe` under `accept`: they are few, and the measure of all others.
//
// Null stands for no traces, and costs a message one comparison. Bound: the exporter's queue.

import { hash, randomBytes } from 'node:crypto'
import type { Clock } from './clock.ts'
import type { Span } from './otlp.ts'

/** What names an entry, in every process. */
export interface Place {
  readonly room: string
  readonly epoch: string
  readonly seq: number
}

export interface TracesOptions {
  /** One entry in so many. */
  readonly sample: number
  readonly clock: Clock
  readonly exporter: { offer (span: Span): void }
  /** A line for the log that bears the trace's id. */
  readonly note?: (details: Readonly<Record<string, unknown>>) => void
}

/** The trace id of an entry, 32 hexadecimal digits: what log lines about it bear as `trace`, sampled or not. */
export function traceIdOf ({ room, epoch, seq }: Place): string {
  return hash('sha256', `${room}\n${epoch}\n${seq}`, 'hex').slice(0, 32)
}

export class Traces {
  readonly #options: TracesOptions

  constructor (options: TracesOptions) { this.#options = options }

  /** Whether the entry is in the sample: FNV-1a over its epoch, mixed with its seq. An epoch is of one room alone. */
  has (epoch: string, seq: number): boolean {
    let mixed = 0x811c9dc5
    for (let at = 0; at < epoch.length; at++) mixed = Math.imul(mixed ^ epoch.charCodeAt(at), 0x01000193)
    mixed = Math.imul(mixed ^ seq, 0x85ebca6b)
    mixed = Math.imul(mixed ^ mixed >>> 13, 0xc2b2ae35)
    return (mixed ^ mixed >>> 16) >>> 0 < 2 ** 32 / this.#options.sample
  }

  /** A message was accepted just now. `began` and `handed` (to the log) by clock.elapsed(). Answers its trace; null: it is not in the sample. */
  accepted (place: Place, began: number, handed: number, via: string, isProbe = false): string | null {
    if (!isProbe && !this.has(place.epoch, place.seq)) return null
    const { clock, exporter, note } = this.#options
    const end = clock.now()
    const past = end - clock.elapsed()
    const traceId = traceIdOf(place)
    const spanId = rootOf(traceId)
    const attributes = { 'uproar.room': place.room, 'uproar.epoch': place.epoch, 'uproar.seq': place.seq }
    exporter.offer({ traceId, spanId, parentId: null, name: 'accept', start: past + began, end, attributes: { ...attributes, 'uproar.via': via }, failure: null })
    exporter.offer({ traceId, spanId: randomBytes(8).toString('hex'), parentId: spanId, name: 'log', start: past + handed, end, attributes, failure: null })
    note?.({ trace: traceId, room: place.room, seq: place.seq, ms: Math.round(end - past - began) })
    return traceId
  }

  /** The built-in viewer has its message back, which it sent at `began`, by clock.elapsed(). Answers the trace. */
  probed (place: Place, began: number): string {
    const { clock, exporter } = this.#options
    const end = clock.now()
    const traceId = traceIdOf(place)
    exporter.offer({ traceId, spanId: randomBytes(8).toString('hex'), parentId: rootOf(traceId), name: 'probe', start: end - clock.elapsed() + began, end, attributes: { 'uproar.room': place.room, 'uproar.epoch': place.epoch, 'uproar.seq': place.seq }, failure: null })
    return traceId
  }

  /** A consumer has handled these entries, or failed at them. `began` by clock.elapsed(). */
  handled (consumer: string, entries: readonly Place[], began: number, failure: string | null): void {
    for (const { room, epoch, seq } of entries) {
      if (!this.has(epoch, seq)) continue
      const { clock, exporter } = this.#options
      const end = clock.now()
      const traceId = traceIdOf({ room, epoch, seq })
      exporter.offer({
        traceId, spanId: randomBytes(8).toString('hex'), parentId: rootOf(traceId), name: `feed ${consumer}`, start: end - clock.elapsed() + began, end,
        attributes: { 'uproar.room': room, 'uproar.epoch': epoch, 'uproar.seq': seq, 'uproar.batch': entries.length }, failure
      })
    }
  }
}

/** The span id of a trace's `accept`, for whoever hangs a span under it in another process. */
function rootOf (traceId: string): string {
  return hash('sha256', `${traceId}\naccept`, 'hex').slice(0, 16)
}
