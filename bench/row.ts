// What a row of the benches is and what it hands back; how rounds alternate and how their figures are summed up. A row
// answers one question; bench.ts runs it and adds the machine.

import { MeasuredCrowd, measureDelivery, sleep, type Delivery, type DeliveryPlan } from './delivery.ts'
import { Subject, type SubjectKind } from './subject.ts'

/** A figure over the rounds. */
export interface Spread { readonly median: number, readonly min: number, readonly max: number }

/** An answer with what it rests on. */
export interface Finding {
  readonly question: string
  readonly result: string
  /** Load, sizes, settings: what it takes to measure it again. */
  readonly conditions: string
  /** In words; empty where there is none. */
  readonly target: string
  readonly isMet: boolean | null
  readonly figures: Readonly<Record<string, Spread | number>>
}

export interface Bench {
  readonly rounds: number
  /** A look, not a measurement: short phases, small crowds. */
  readonly isQuick: boolean
  /** Of the soak. */
  readonly minutes: number
  /** Options for the measured server's node, such as --cpu-prof. */
  readonly nodeOptions: readonly string[]
  progress (text: string): void
}

export interface Row {
  readonly name: string
  /** One sentence for the list of rows. */
  readonly about: string
  /** Where the usual number (bench.ts) does not do. */
  readonly rounds?: number
  /** More rounds than this tell nothing more, or take too long. */
  readonly roundsMax?: number
  /** What it takes beyond the server itself (a service beside it, which it starts, or time); left out: nothing. */
  readonly needs?: string
  run (bench: Bench): Promise<Finding[]>
}

export function spread (values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b)
  const at = (index: number): number => sorted[index] ?? NaN
  const middle = (sorted.length - 1) / 2
  return { median: (at(Math.floor(middle)) + at(Math.ceil(middle))) / 2, min: at(0), max: at(sorted.length - 1) }
}

/** `roundsMax`: of this kind; fewer than the row's for one that is only far away. */
type Plan = DeliveryPlan & { readonly roundsMax?: number }

/** Measures each kind in turn, round by round, so that what changes on the machine meanwhile meets all of them. */
export async function alternate<K extends string> (bench: Bench, kinds: Readonly<Record<K, SubjectKind>>, plan: Plan | ((key: K) => Plan)): Promise<Record<K, Delivery[]>> {
  const measured = noneYet(kinds)
  for (let round = 1; round <= bench.rounds; round++) {
    for (const [key, kind] of Object.entries(kinds) as [K, SubjectKind][]) {
      const { roundsMax = Infinity, ...planned } = typeof plan === 'function' ? plan(key) : plan
      if (round > roundsMax) continue
      bench.progress(`round ${round} of ${Math.min(bench.rounds, roundsMax)}: ${kind.name}`)
      const delivery = await measureDelivery(kind, { ...planned, nodeOptions: optionsOf(bench, kind) })
      bench.progress(`  ${inWords(delivery)}`)
      measured[key].push(delivery)
    }
  }
  return measured
}

/**
 * The same on `starts` starts of each kind, counted in the same seconds: all are warmed up, those of one kind together, then
 * one start of each is counted at a time, next to the other, the others resting. What the machine does from second to
 * second moves a count by a tenth and more, and meets both alike; where one start differs from the next, more than one has a say.
 * Their authors write in the middle between each other's messages, so that no viewer waits for another server's writes.
 */
export async function sideBySide<K extends string> (bench: Bench, kinds: Readonly<Record<K, SubjectKind>>, plan: (key: K) => DeliveryPlan, starts: number): Promise<Record<K, Delivery[]>> {
  const all: { readonly key: K, readonly start: number, readonly subject: Subject, readonly crowd: MeasuredCrowd }[] = []
  const measured = noneYet(kinds)
  try {
    for (const [key, kind] of Object.entries(kinds) as [K, SubjectKind][]) {
      bench.progress(`warming up ${starts} starts of ${kind.name}`)
      const crowds: MeasuredCrowd[] = []
      for (let start = 0; start < starts; start++) {
        const subject = await Subject.start(kind, optionsOf(bench, kind))
        const crowd = new MeasuredCrowd(subject, subject, plan(key))
        all.push({ key, start, subject, crowd })
        crowds.push(crowd)
      }
      await Promise.all(crowds.map(async (crowd) => {
        await crowd.open()
        await crowd.rest()
      }))
    }
    for (let round = 0; round < bench.rounds; round++) {
      const group = all.filter(({ start }) => start === round % starts)
      const counted = await Promise.all(group.map(async ({ key, crowd }, at) => {
        await sleep(1000 / plan(key).perSecond * at / group.length)
        return await crowd.count()
      }))
      for (const [at, delivery] of counted.entries()) {
        const { key, subject } = group[at] as typeof group[number]
        bench.progress(`round ${round + 1} of ${bench.rounds}: ${subject.kind.name}: ${inWords(delivery)}`)
        measured[key].push(delivery)
      }
    }
    return measured
  } finally {
    for (const { subject, crowd } of all) {
      await crowd.end()
      await subject.stop()
    }
  }
}

function noneYet<K extends string> (kinds: Readonly<Record<K, SubjectKind>>): Record<K, Delivery[]> {
  return Object.fromEntries(Object.keys(kinds).map((key) => [key, []])) as unknown as Record<K, Delivery[]>
}

/** What our server's node is given; peers run as they are. */
function optionsOf (bench: Bench, kind: SubjectKind): readonly string[] {
  return kind.dialect === 'uproar' ? bench.nodeOptions : []
}

function inWords (delivery: Delivery): string {
  const { perCpuSecond, framesPerSecond, p50, p99, cpuSeconds, seconds, behind, loadShare } = delivery
  const late = behind > 0 ? `, ${behind} deliveries behind` : ''
  return `${millions(perCpuSecond)} deliveries per CPU second, p50 ${p50} ms, p99 ${p99} ms, ${framesPerSecond.toFixed(1)} writes a second, server ${share(cpuSeconds / seconds)} of its core, load ${share(loadShare)}${late}${isWhole(delivery) ? '' : ', NOT WHOLE: ' + JSON.stringify(delivery)}`
}

/** Of the figures of two kinds, round by round: a divided by b, in the rounds that both had. */
export function ratio (a: readonly number[], b: readonly number[]): Spread {
  return spread(b.slice(0, a.length).map((value, round) => (a[round] as number) / value))
}

export function figure (deliveries: readonly Delivery[], of: (delivery: Delivery) => number): number[] {
  return deliveries.map(of)
}

export function cpuPerDelivery ({ cpuSeconds, deliveries }: Delivery): number {
  return cpuSeconds / deliveries
}

/** What the server took of its core. */
export function cpuPercent ({ cpuSeconds, seconds }: Delivery): number {
  return cpuSeconds / seconds * 100
}

/** "; 20.1 writes a second to 20.0": for servers that gather, without which their costs cannot be compared. */
export function writesText (ours: readonly Delivery[], theirs: readonly Delivery[]): string {
  const writes = (deliveries: readonly Delivery[]): string => spread(figure(deliveries, ({ framesPerSecond }) => framesPerSecond)).median.toFixed(1)
  return `; ${writes(ours)} writes a second to ${writes(theirs)}`
}

/** Whether every viewer had every message once and in order, as far as it got, and nobody was cut off or refused. */
export function isWhole (delivery: Delivery): boolean {
  return delivery.missing === 0 && delivery.repeated === 0 && delivery.skipped === 0 && delivery.ended === 0 && delivery.refused === 0
}

/** Whether all of it also arrived. */
export function isComplete (delivery: Delivery): boolean {
  return isWhole(delivery) && delivery.behind === 0
}

export function millions (value: number): string {
  return `${(value / 1e6).toFixed(value < 1e6 ? 3 : 1)} M`
}

export function share (value: number): string {
  return `${Math.round(value * 100)} %`
}

/** "0.93 (0.91 to 0.95)" */
export function spreadText ({ median, min, max }: Spread, digits = 2): string {
  const text = (value: number): string => value >= 100 ? String(Math.round(value)) : value.toFixed(value >= 10 ? 1 : digits)
  return min === max ? text(median) : `${text(median)} (${text(min)} to ${text(max)})`
}
