// Growth: does a delivery cost more as the room grows? Each size is held against 1,000 viewers in the same run. Smaller
// rooms pay for a message's way in among fewer viewers and have shorter windows, larger ones gather for longer: so the cost
// of a write to a socket is shown beside that of a delivery, and the target counts upwards only.

import { alternate, figure, isComplete, ratio, spread, spreadText, type Bench, type Finding, type Row, type Spread } from './row.ts'
import { uproar } from './subject.ts'

const PER_SECOND = 100
const SIZES = { v100: 100, v1000: 1000, v10000: 10_000, v19000: 19_000 } as const
const QUICK = { v100: 100, v1000: 1000, v10000: 4000, v19000: 6000 } as const
type Size = keyof typeof SIZES

export const growth: Row = {
  name: 'growth',
  about: 'cost of a delivery as a room grows from 100 to 19,000 viewers, against itself at 1,000',
  roundsMax: 1,
  async run (bench: Bench): Promise<Finding[]> {
    const sizes: Readonly<Record<Size, number>> = bench.isQuick ? QUICK : SIZES
    const kind = uproar()
    const kinds = { v100: kind, v1000: kind, v10000: kind, v19000: kind }
    const measured = await alternate(bench, kinds, (key) => ({ viewers: sizes[key], perSecond: PER_SECOND, warmS: 3, countS: bench.isQuick ? 3 : 5 }))
    const costs = (key: Size): number[] => figure(measured[key], ({ cpuSeconds, deliveries }) => cpuSeconds / deliveries * 1e6)
    const writes = (key: Size): number[] => figure(measured[key], ({ cpuSeconds, seconds, framesPerSecond }) => cpuSeconds / seconds / framesPerSecond / sizes[key] * 1e6)
    const keys = Object.keys(sizes) as Size[]
    const by = Object.fromEntries(keys.map((key) => [key, ratio(costs(key), costs('v1000'))])) as Record<Size, Spread>
    const byWrite = Object.fromEntries(keys.map((key) => [key, ratio(writes(key), writes('v1000'))])) as Record<Size, Spread>
    const whole = keys.every((key) => measured[key].every(isComplete))
    const words = (of: Record<Size, Spread>): string => keys.map((key) => `${sizes[key].toLocaleString('en-GB')}: ${spreadText(of[key])}`).join(', ')
    return [{
      question: 'CPU as the room grows, against itself at 1,000 viewers',
      result: `per delivery ${words(by)}; per write to a socket ${words(byWrite)}${whole ? '' : '; NOT everything arrived once and in order'}`,
      conditions: `${PER_SECOND} messages a second of 130 bytes`,
      target: 'at most 1.25 times beyond 1,000 viewers, per delivery and per write',
      isMet: keys.every((key) => sizes[key] <= 1000 || Math.max(by[key].median, byWrite[key].median) <= 1.25) && whole,
      figures: Object.fromEntries(keys.flatMap((key) => [
        [`ratio${sizes[key]}`, by[key]],
        [`usPerDelivery${sizes[key]}`, spread(costs(key))],
        [`usPerWrite${sizes[key]}`, spread(writes(key))],
        [`p99At${sizes[key]}`, spread(figure(measured[key], ({ p99 }) => p99))],
        [`serverShare${sizes[key]}`, spread(figure(measured[key], ({ cpuSeconds, seconds }) => cpuSeconds / seconds))]
      ]))
    }]
  }
}
