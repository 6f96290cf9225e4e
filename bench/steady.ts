// The steady room, as most rooms are: does gathering cost time or work where there is little to gather? Held against bare
// uWebSockets.js, which sends each message at once.

import { cpuPercent, cpuPerDelivery, figure, inTurns, isComplete, ratio, spread, spreadText, type Bench, type Finding, type Row } from './row.ts'
import { bareUws, uproar } from './subject.ts'

/** Some seconds of one and of the other, time and again: what a thousand writes take moves by a tenth from one to the next. */
const TURNS = 12
/** And what they take moves by a twentieth from one start to the next, for as long as it runs: by where its memory came to lie. */
const STARTS = 2

/**
 * V8's threads are busiest from the 300th to the 600th message on, up to 50 ms a second, and V8 tidies up once some 34 s
 * after a start, which takes 110 ms. At 20 messages a second those of our server took 10 ms a second until the 1,200th, and
 * 3 until the 1,600th, for what is called less than once a message. As many a second as a room of 1,000 still sends at once
 * (src/rooms/window.ts) bring it there in less time.
 */
const WARM = { ours: { warmS: 60, warmPerSecond: 35 }, bare: { warmS: 4 } }

export const steady: Row = {
  name: 'steady',
  about: 'steady room: 1,000 viewers, 20 messages a second, against bare uWS unbatched',
  rounds: TURNS,
  async run (bench: Bench): Promise<Finding[]> {
    const measured = await inTurns(bench, { ours: uproar(), bare: bareUws(0) }, (key) => ({
      viewers: 1000, perSecond: 20, countS: 4, ...(bench.isQuick ? { warmS: 4 } : WARM[key])
    }), STARTS)
    const { ours, bare } = measured
    const conditions = '1,000 viewers (20 of them write), 20 messages a second of 130 bytes; two starts of each server, in turns'
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
