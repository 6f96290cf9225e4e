// Quiet rooms: what do many small rooms cost, each with five viewers and a message a second? Every room has one author on
// a connection of its own, with the bare peer too.

import { alternate, cpuPercent, cpuPerDelivery, figure, isComplete, ratio, spread, spreadText, type Bench, type Finding, type Row } from './row.ts'
import { bareUws, uproar } from './subject.ts'

const VIEWERS_PER_ROOM = 5

export const quiet: Row = {
  name: 'quiet',
  about: 'quiet rooms: 2,000 rooms of 5, 1 message a second each, against bare uWS',
  roundsMax: 2,
  async run (bench: Bench): Promise<Finding[]> {
    const rooms = bench.isQuick ? 500 : 2000
    const plan = { viewers: rooms * VIEWERS_PER_ROOM, rooms, authors: rooms, authorsWatch: true, perSecond: rooms, countS: bench.isQuick ? 3 : 6 }
    const { ours, bare } = await alternate(bench, { ours: uproar(), bare: bareUws(0) }, (key) => ({ ...plan, warmS: bench.isQuick || key === 'bare' ? 3 : 10 }))
    const cpu = ratio(figure(ours, cpuPerDelivery), figure(bare, cpuPerDelivery))
    const whole = ours.every(isComplete)
    return [{
      question: 'Quiet rooms, CPU against bare uWS',
      result: `${spreadText(cpu)} times: ${spreadText(spread(figure(ours, cpuPercent)), 1)} % of a core to ${spreadText(spread(figure(bare, cpuPercent)), 1)} %${whole ? '' : '; NOT everything arrived once and in order'}`,
      conditions: `${rooms.toLocaleString('en-GB')} rooms of ${VIEWERS_PER_ROOM} (one of them writes), 1 message a second each`,
      target: 'at most 2 times',
      isMet: cpu.median <= 2 && whole,
      figures: {
        ratio: cpu,
        share: spread(figure(ours, cpuPercent)),
        peerShare: spread(figure(bare, cpuPercent)),
        p50: spread(figure(ours, (delivery) => delivery.p50)),
        p99: spread(figure(ours, (delivery) => delivery.p99)),
        peerP99: spread(figure(bare, (delivery) => delivery.p99))
      }
    }]
  }
}
