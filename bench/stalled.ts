// Stalled viewers: when one in ten stops reading, do the others notice, and what does it cost in memory? Each round
// measures the same crowd without and with them.

import { sleep } from './delivery.ts'
import { alternate, figure, isWhole, ratio, spread, spreadText, type Bench, type Finding, type Row } from './row.ts'
import { readMetric } from './prober.ts'
import { uproar } from './subject.ts'

const VIEWERS = 1000
const STALLED = 100
const PER_SECOND = 2000
/** For each stalled viewer: the slow limit (256 KB), a sweep (64 KB), and what the allocator makes of it. */
const MEMORY_MB_MAX = STALLED * 0.5 + 30

export const stalled: Row = {
  name: 'stalled',
  about: 'one viewer in ten stalled: latency of the others, and memory',
  roundsMax: 2,
  async run (bench: Bench): Promise<Finding[]> {
    const kind = uproar()
    const behind: number[] = []
    const plan = { viewers: VIEWERS, perSecond: PER_SECOND, warmS: bench.isQuick ? 4 : 9, countS: 6 }
    const measured = await alternate(bench, { none: kind, some: kind }, (key) => key === 'none' ? plan : {
      ...plan,
      stalled: STALLED,
      beside: async (subject, _, over) => {
        while (!over.aborted) await sleep(100)
        behind.push(await readMetric(subject, 'uproar_slow_viewers_total{outcome="behind"}'))
      }
    })
    const p99 = ratio(figure(measured.some, (delivery) => delivery.p99), figure(measured.none, (delivery) => delivery.p99))
    const memory = (deliveries: typeof measured.some): number[] => figure(deliveries, ({ memory: { idle, after } }) => (after - idle) / 1e6)
    const more = spread(memory(measured.some).map((mb, round) => mb - (memory(measured.none)[round] as number)))
    // The server closes those who stall for too long: only the others must be whole.
    const whole = measured.none.every(isWhole) && measured.some.every((delivery) => delivery.missing === 0 && delivery.repeated === 0 && delivery.skipped === 0 && delivery.refused === 0 && delivery.ended <= STALLED)
    return [
      {
        question: 'One viewer in ten stalled, latency p99 of the others',
        result: `${spreadText(p99)} times: ${spreadText(spread(figure(measured.some, (delivery) => delivery.p99)), 0)} ms to ${spreadText(spread(figure(measured.none, (delivery) => delivery.p99)), 0)} ms${whole ? '; they had every message once and in order' : '; they did NOT have everything'}`,
        conditions: `${VIEWERS} viewers, ${STALLED} of them stalled from the start, ${PER_SECOND} messages a second of 130 bytes`,
        target: 'at most 1.2 times that with none stalled',
        isMet: p99.median <= 1.2 && whole,
        figures: { ratio: p99, p99: spread(figure(measured.some, (delivery) => delivery.p99)), p99None: spread(figure(measured.none, (delivery) => delivery.p99)), closed: spread(figure(measured.some, ({ ended }) => ended)) }
      },
      {
        question: 'One viewer in ten stalled, memory they cost',
        result: `${spreadText(more, 0)} MB; the server took ${spreadText(spread(behind), 0)} of them for slow, the kernel holds the backlog of the others`,
        conditions: `${VIEWERS} viewers, ${STALLED} of them stalled, ${plan.warmS + plan.countS} s of ${PER_SECOND} messages a second`,
        target: `at most ${MEMORY_MB_MAX} MB`,
        isMet: more.median <= MEMORY_MB_MAX,
        figures: { moreMb: more, takenForSlow: spread(behind), some: spread(memory(measured.some)), none: spread(memory(measured.none)) }
      }
    ]
  }
}
