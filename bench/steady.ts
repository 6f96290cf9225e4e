// The steady room, as most rooms are: does gathering cost time or work where there is little to gather? Held against bare
// uWebSockets.js, which sends each message at once.

import { cpuPercent, cpuPerDelivery, figure, isComplete, ratio, sideBySide, spread, spreadText, type Bench, type Finding, type Row } from './row.ts'
import { bareUws, uproar } from './subject.ts'

/** Of some seconds each, in which both are counted: their ratio moves by a fortieth from one to the next. */
const ROUNDS = 12
/** And it moves by as much from one start to the next, for as long as that runs. */
const STARTS = 3

/**
 * V8's threads are busiest from the 300th to the 600th message on, up to 50 ms a second, and V8 tidies up once some 34 s
 * after a start, which takes 110 ms. At 20 messages a second those of our server took 10 ms a second until the 1,200th, and
 * 3 until the 1,600th, for what is called less than once a message. As many a second as the log still commits one by one
 * (src/log/writer.ts) bring it there, then the pace that is measured.
 */
const WARM = { ours: { warmS: 50, warmPerSecond: 150 }, bare: { warmS: 4 } }

export const steady: Row = {
  name: 'steady',
  about: 'steady room: 1,000 viewers, 20 messages a second, against bare uWS unbatched',
  rounds: ROUNDS,
  async run (bench: Bench): Promise<Finding[]> {
    // A peer's authors watch too, as ours do: each message then wakes two processes, which costs a server one in a hundred.
    const measured = await sideBySide(bench, { ours: uproar(), bare: bareUws(0) }, (key) => ({
      viewers: 1000, perSecond: 20, countS: 4, authorsWatch: true, ...(bench.isQuick ? { warmS: 4 } : WARM[key])
    }), STARTS)
    const { ours, bare } = measured
    const conditions = '1,000 viewers (20 of them write), 20 messages a second of 130 bytes; three starts of each server, counted in the same seconds'
    const p99 = ratio(figure(ours, (delivery) => delivery.p99), figure(bare, (delivery) => delivery.p99))
    const cpu = ratio(figure(ours, cpuPerDelivery), figure(bare, cpuPerDelivery))
    const whole = ours.every(isComplete)
    return [
      {
        question: 'Steady room, latency p99 against bare uWS, unbatched',
        result: `${spreadText(p99)} times: ${spreadText(spread(figure(ours, (delivery) => delivery.p99)), 1)} ms to ${spreadText(spread(figure(bare, (delivery) => delivery.p99)), 1)} ms${whole ? '' : '; NOT everything arrived once and in order'}`,
        conditions,
        target: 'at most 1.5 times',
        isMet: p99.median <= 1.5 && whole,
        figures: {
          ratio: p99,
          p50: spread(figure(ours, (delivery) => delivery.p50)),
          p99: spread(figure(ours, (delivery) => delivery.p99)),
          peerP50: spread(figure(bare, (delivery) => delivery.p50)),
          peerP99: spread(figure(bare, (delivery) => delivery.p99))
        }
      },
      {
        question: 'Steady room, CPU against bare uWS, unbatched',
        result: `${spreadText(cpu)} times: ${spreadText(spread(figure(ours, cpuPercent)), 1)} % of a core to ${spreadText(spread(figure(bare, cpuPercent)), 1)} %`,
        conditions,
        target: 'at most 1.1 times',
        isMet: cpu.median <= 1.1,
        figures: {
          ratio: cpu,
          share: spread(figure(ours, cpuPercent)),
          peerShare: spread(figure(bare, cpuPercent)),
          writesPerSecond: spread(figure(ours, (delivery) => delivery.framesPerSecond)),
          peerWritesPerSecond: spread(figure(bare, (delivery) => delivery.framesPerSecond))
        }
      }
    ]
  }
}
