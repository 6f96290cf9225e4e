// The hot room: what does a delivery cost the server when 1,000 viewers get 2,000 messages a second, and how long does it
// take? Held against the same work done by bare uWebSockets.js, by ws and by Socket.IO.

import { alternate, figure, isComplete, isWhole, millions, ratio, spread, spreadText, type Bench, type Finding, type Row, writesText } from './row.ts'
import { BARE_WS, bareUws, SOCKET_IO, uproar } from './subject.ts'

const WINDOW_MS = 50
const VIEWERS = 1000
const PER_SECOND = 2000
/** A server with more code takes longer until what is hot is compiled: V8's threads take 90 ms a second after 8 s, 20 after 20, under 10 after 30. */
const LONG_WARM_S = 28
/** Servers that fall behind are far from any target: fewer rounds tell as much. */
const ROUNDS_MAX: Readonly<Record<string, number>> = { unbatched: 1, ws: 2, socketIo: 2 }

export const fanout: Row = {
  name: 'fanout',
  about: 'hot room: 1,000 viewers, 2,000 messages a second, against bare uWS, ws and Socket.IO',
  async run (bench: Bench): Promise<Finding[]> {
    const kinds = { ours: uproar(), windowed: bareUws(WINDOW_MS), unbatched: bareUws(0), ws: BARE_WS, socketIo: SOCKET_IO }
    const measured = await alternate(bench, kinds, (key) => ({
      viewers: VIEWERS, perSecond: PER_SECOND, warmS: bench.isQuick || key !== 'ours' ? 3 : LONG_WARM_S, countS: bench.isQuick ? 3 : 5, roundsMax: ROUNDS_MAX[key] ?? Infinity
    }))
    const { ours } = measured
    const conditions = '1,000 viewers (20 of them write), 2,000 messages a second of 130 bytes, one server core'
    const cost = (of: keyof typeof kinds): number[] => figure(measured[of], (delivery) => delivery.perCpuSecond)
    const against = (peer: keyof typeof kinds, least: number | null): Finding => {
      const by = ratio(cost('ours'), cost(peer))
      const theirs = measured[peer]
      const behind = theirs.some((delivery) => delivery.behind > 0) ? `; it fell behind, p50 ${spreadText(spread(figure(theirs, ({ p50 }) => p50 / 1000)))} s` : ''
      return {
        question: `Hot room, deliveries per CPU second against ${kinds[peer].name}`,
        result: `${spreadText(by)} times: ${millions(spread(cost('ours')).median)} to ${millions(spread(cost(peer)).median)}${peer === 'windowed' ? writesText(ours, theirs) : behind}`,
        conditions,
        target: least === null ? '' : `at least ${least} times`,
        isMet: least === null ? null : by.median >= least,
        figures: {
          ratio: by,
          ours: spread(cost('ours')),
          peer: spread(cost(peer)),
          peerP50: spread(figure(theirs, ({ p50 }) => p50)),
          peerP99: spread(figure(theirs, ({ p99 }) => p99)),
          peerBehind: spread(figure(theirs, ({ behind }) => behind)),
          oursWritesPerSecond: spread(figure(ours, ({ framesPerSecond }) => framesPerSecond)),
          peerWritesPerSecond: spread(figure(theirs, ({ framesPerSecond }) => framesPerSecond)),
          peerWhole: theirs.every(isWhole) ? 1 : 0,
          peerLoadShare: spread(figure(theirs, ({ loadShare }) => loadShare))
        }
      }
    }
    const p99 = spread(figure(ours, (delivery) => delivery.p99))
    return [
      against('windowed', 0.9), against('unbatched', null), against('ws', 50), against('socketIo', 80),
      {
        question: 'Hot room, from author to viewer',
        result: `p50 ${spreadText(spread(figure(ours, ({ p50 }) => p50)), 0)} ms, p99 ${spreadText(p99, 0)} ms; ${ours.every(isComplete) ? 'every message once and in order at every viewer' : 'NOT everything arrived once and in order'}`,
        conditions: `${conditions}, windows of ${WINDOW_MS} ms`,
        target: `p99 within the window and 25 ms (${WINDOW_MS + 25} ms), nothing lost`,
        isMet: p99.median <= WINDOW_MS + 25 && ours.every(isComplete),
        figures: {
          p50: spread(figure(ours, ({ p50 }) => p50)),
          p99,
          barePeerP99: spread(figure(measured.windowed, (delivery) => delivery.p99)),
          missing: spread(figure(ours, ({ missing }) => missing)),
          repeated: spread(figure(ours, ({ repeated }) => repeated)),
          behind: spread(figure(ours, ({ behind }) => behind)),
          serverShare: spread(figure(ours, ({ cpuSeconds, seconds }) => cpuSeconds / seconds)),
          loadShare: spread(figure(ours, ({ loadShare }) => loadShare))
        }
      }
    ]
  }
}
