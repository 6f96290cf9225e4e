// The soak: do memory and latency stay where they are while a hot room goes on for minutes? The first fifth is warm-up;
// then the first third of what is left is held against the last.

import { measureDelivery, sleep } from './delivery.ts'
import { isComplete, spread, type Bench, type Finding, type Row } from './row.ts'
import { uproar } from './subject.ts'

interface Look { readonly anonymousMb: number, readonly rssMb: number, readonly p50: number, readonly p99: number }

const LOOKS_PER_MINUTE = 30

export const soak: Row = {
  name: 'soak',
  about: '2,000 messages a second into 1,000 viewers for minutes: drift of memory and latency',
  needs: 'ten minutes',
  roundsMax: 1,
  async run (bench: Bench): Promise<Finding[]> {
    const seconds = bench.isQuick ? 20 : bench.minutes * 60
    const everyMs = Math.max(2000, seconds * 1000 / (LOOKS_PER_MINUTE * 10))
    const looks: Look[] = []
    bench.progress(`${seconds} s`)
    const delivery = await measureDelivery(uproar(), {
      viewers: 1000,
      perSecond: 2000,
      warmS: Math.round(seconds / 5),
      countS: seconds,
      nodeOptions: bench.nodeOptions,
      beside: async (subject, watching, over) => {
        while (!over.aborted) {
          await sleep(everyMs)
          const { latency } = await watching.order('viewers.report')
          const { rss, anonymous } = subject.memory()
          looks.push({ anonymousMb: anonymous / 1e6, rssMb: rss / 1e6, p50: latency.p50, p99: latency.p99 })
        }
      }
    })
    const third = Math.max(1, Math.floor(looks.length / 3))
    const drift = (of: (look: Look) => number): { first: number, last: number, by: number } => {
      const first = spread(looks.slice(0, third).map(of)).median
      const last = spread(looks.slice(-third).map(of)).median
      return { first, last, by: last / first }
    }
    const memory = drift((look) => look.anonymousMb)
    const p50 = drift((look) => look.p50)
    const p99 = drift((look) => look.p99)
    const conditions = `1,000 viewers, 2,000 messages a second of 130 bytes, ${(seconds / 60).toLocaleString('en-GB', { maximumFractionDigits: 1 })} minutes after ${Math.round(seconds / 5)} s of warm-up, first third against last`
    return [
      {
        question: 'Soak, memory of the server',
        result: `${memory.first.toFixed(0)} MB, then ${memory.last.toFixed(0)} MB (highest ${Math.max(...looks.map((look) => look.anonymousMb)).toFixed(0)})`,
        conditions: `${conditions}, without pages mapped from the log's file`,
        target: 'grows by 10 % at most',
        isMet: memory.by <= 1.1,
        figures: { anonymousMb: spread(looks.map((look) => look.anonymousMb)), rssMb: spread(looks.map((look) => look.rssMb)), drift: memory.by }
      },
      {
        question: 'Soak, latency',
        result: `p50 ${p50.first.toFixed(0)} ms, then ${p50.last.toFixed(0)} ms; p99 ${p99.first.toFixed(0)} ms, then ${p99.last.toFixed(0)} ms${isComplete(delivery) ? '; every message once and in order' : '; NOT everything arrived once and in order'}`,
        conditions,
        target: 'p50 and p99 grow by 20 % at most, nothing lost',
        isMet: p50.by <= 1.2 && p99.by <= 1.2 && isComplete(delivery),
        figures: { p50: spread(looks.map((look) => look.p50)), p99: spread(looks.map((look) => look.p99)), driftP50: p50.by, driftP99: p99.by, behind: delivery.behind }
      }
    ]
  }
}
