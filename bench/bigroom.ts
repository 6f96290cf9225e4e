// The big room: 18,000 viewers on one instance. Is delivering to all of them as cheap as with bare uWebSockets.js, and does
// the server keep answering others meanwhile? The bare one publishes to one topic, and answers nobody while it does.

import { newProbes, probe, within, type Probes } from './prober.ts'
import { alternate, figure, isComplete, millions, ratio, spread, spreadText, type Bench, type Finding, type Row, writesText } from './row.ts'
import { bareUws, uproar } from './subject.ts'

const WINDOW_MS = 250
const PER_SECOND = 50

export const bigroom: Row = {
  name: 'bigroom',
  about: 'big room: 18,000 viewers on one instance, 50 messages a second, against bare uWS in one topic',
  async run (bench: Bench): Promise<Finding[]> {
    const viewers = bench.isQuick ? 6000 : 18_000
    const probes: Probes[] = []
    const kinds = { ours: uproar(), bare: bareUws(WINDOW_MS) }
    const plan = { viewers, perSecond: PER_SECOND, warmS: 4, countS: bench.isQuick ? 4 : 8 }
    const { ours, bare } = await alternate(bench, kinds, (key) => key === 'bare' ? plan : {
      ...plan,
      beside: async (subject, _, over) => {
        const mine = newProbes()
        probes.push(mine)
        await probe(subject, over, mine)
      }
    })
    const conditions = `${viewers.toLocaleString('en-GB')} viewers (20 of them write), ${PER_SECOND} messages a second of 130 bytes, windows of ${WINDOW_MS} ms`
    const by = ratio(figure(ours, ({ perCpuSecond }) => perCpuSecond), figure(bare, ({ perCpuSecond }) => perCpuSecond))
    const loop = spread(probes.flatMap(({ loopP99Ms }) => loopP99Ms))
    const answers = spread(probes.map(({ answersMs }) => within(answersMs, 0.99)))
    const failures = probes.reduce((total, each) => total + each.failures, 0)
    const whole = ours.every(isComplete)
    return [
      {
        question: `Big room, deliveries per CPU second against ${kinds.bare.name}`,
        result: `${spreadText(by)} times: ${millions(spread(figure(ours, ({ perCpuSecond }) => perCpuSecond)).median)} to ${millions(spread(figure(bare, ({ perCpuSecond }) => perCpuSecond)).median)}${writesText(ours, bare)}${whole ? '' : '; NOT everything arrived once and in order'}`,
        conditions,
        target: 'at least 0.85 times',
        isMet: by.median >= 0.85 && whole,
        figures: {
          ratio: by,
          p50: spread(figure(ours, ({ p50 }) => p50)),
          p99: spread(figure(ours, ({ p99 }) => p99)),
          peerP50: spread(figure(bare, ({ p50 }) => p50)),
          peerP99: spread(figure(bare, ({ p99 }) => p99)),
          writesPerSecond: spread(figure(ours, ({ framesPerSecond }) => framesPerSecond)),
          peerWritesPerSecond: spread(figure(bare, ({ framesPerSecond }) => framesPerSecond)),
          serverShare: spread(figure(ours, ({ cpuSeconds, seconds }) => cpuSeconds / seconds)),
          loadShare: spread(figure(ours, ({ loadShare }) => loadShare))
        }
      },
      {
        question: 'Big room, event loop delay p99',
        result: `${spreadText(loop, 1)} ms`,
        conditions,
        target: 'at most 20 ms',
        isMet: loop.median <= 20,
        figures: { loopP99Ms: loop }
      },
      {
        question: 'Big room, HTTP meanwhile',
        result: `/healthz p99 ${spreadText(answers, 1)} ms, ${failures} failures`,
        conditions: `${conditions}, asked twenty times a second`,
        target: 'p99 at most 50 ms',
        isMet: answers.median <= 50 && failures === 0,
        figures: {
          p50: spread(probes.map(({ answersMs }) => within(answersMs, 0.5))),
          p99: answers,
          max: spread(probes.map(({ answersMs }) => Math.max(...answersMs))),
          failures
        }
      }
    ]
  }
}
