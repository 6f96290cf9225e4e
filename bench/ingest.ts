// The way in: how many messages a second does a core accept durably, from socket to OK, against appending to the log and
// nothing else (log.bench.ts, in a process on the same core)?

import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { sleep } from './delivery.ts'
import { Load } from './load.ts'
import { ratio, spread, spreadText, type Bench, type Finding, type Row } from './row.ts'
import { CORES, onCore, Subject, uproar } from './subject.ts'

const AUTHORS = 64
const UNDER_WAY = 32
const TARGET = 40_000
/** As many messages as the log alone goes through before it is counted, and V8 has four times as much to compile for them. */
const WARM_MS = 12_000

export const ingest: Row = {
  name: 'ingest',
  about: 'accepted messages a second on one core, durable, against the log alone',
  roundsMax: 3,
  async run (bench: Bench): Promise<Finding[]> {
    const accepted: Rate[] = []
    const appended: Rate[] = []
    const told: Rate[] = []
    for (let round = 1; round <= bench.rounds; round++) {
      bench.progress(`round ${round}: Uproar, then its log alone, by promises and by calls`)
      accepted.push(await accept(bench))
      appended.push(await append(bench))
      told.push(await append(bench, 'told'))
      bench.progress(`  accepted ${text(accepted.at(-1) as Rate)}; appended ${text(appended.at(-1) as Rate)}; by calls ${text(told.at(-1) as Rate)}`)
    }
    const rates = spread(accepted.map((each) => each.perCpuSecond))
    const by = ratio(accepted.map((each) => each.perCpuSecond), appended.map((each) => each.perCpuSecond))
    const conditions = `${AUTHORS} authors in a room each, ${UNDER_WAY} messages under way each, delivered to themselves`
    const figures = {
      ratio: by,
      acceptedPerCpuSecond: rates,
      acceptedPerSecond: spread(accepted.map((each) => each.perSecond)),
      appendedPerCpuSecond: spread(appended.map((each) => each.perCpuSecond)),
      appendedPerSecond: spread(appended.map((each) => each.perSecond)),
      toldPerCpuSecond: spread(told.map((each) => each.perCpuSecond)),
      loadShare: spread(accepted.map((each) => each.loadShare))
    }
    return [
      {
        question: 'Accepted durable messages per CPU second, embedded',
        result: `${spreadText(rates)} (${spreadText(figures.acceptedPerSecond)} a second)`,
        conditions,
        target: `at least ${TARGET}`,
        isMet: rates.median >= TARGET,
        figures
      },
      {
        question: 'Accepting against appending to the log alone',
        result: `${spreadText(by)} times per CPU second`,
        conditions: `${conditions}; alone: 4,096 callers in one room, each awaits its publish`,
        target: 'at least 0.5 times',
        isMet: by.median >= 0.5,
        figures
      },
      {
        question: 'Accepting against the log alone, told by calls as the server is',
        result: `${spreadText(ratio(accepted.map((each) => each.perCpuSecond), told.map((each) => each.perCpuSecond)))} times: ${spreadText(figures.toldPerCpuSecond)} appended per CPU second`,
        conditions: `${conditions}; alone: 4,096 callers in one room, no promises`,
        target: '',
        isMet: null,
        figures
      }
    ]
  }
}

interface Rate { perCpuSecond: number, perSecond: number, loadShare: number }

function text ({ perCpuSecond, perSecond }: Rate): string {
  return `${Math.round(perCpuSecond)} per CPU second (${Math.round(perSecond)} a second)`
}

async function accept (bench: Bench): Promise<Rate> {
  const subject = await Subject.start(uproar(), bench.nodeOptions)
  const load = new Load()
  try {
    await load.order('authors.open', { port: subject.wsPort, dialect: 'uproar', authors: AUTHORS, rooms: AUTHORS })
    await load.order('authors.press', UNDER_WAY)
    await sleep(bench.isQuick ? 2000 : WARM_MS)
    const before = { at: performance.now(), cpu: subject.cpuSeconds(), load: load.cpuSeconds(), said: await load.order('authors.report') }
    await sleep(bench.isQuick ? 2000 : 4000)
    const said = await load.order('authors.report')
    if (said.refused > 0 || said.missing > 0 || said.repeated > 0) throw new Error(`not all was accepted and delivered once: ${JSON.stringify(said)}`)
    const seconds = (performance.now() - before.at) / 1000
    const count = said.accepted - before.said.accepted
    return { perCpuSecond: count / (subject.cpuSeconds() - before.cpu), perSecond: count / seconds, loadShare: (load.cpuSeconds() - before.load) / seconds }
  } finally {
    await load.end()
    await subject.stop()
  }
}

/** The log by itself for as long as the server is counted: in one second of it the tables get theirs once, twice or not at all. */
async function append (bench: Bench, ...how: 'told'[]): Promise<Rate> {
  const { command, args } = onCore(CORES?.server)
  const { stdout } = await promisify(execFile)(command, [...args, join(import.meta.dirname, 'log.bench.ts'), bench.isQuick ? '1' : '4', '4096', '1', ...how])
  const { steps: [step] } = JSON.parse(stdout) as { steps: [{ perSecond: number, cpuUs: number }] }
  return { perCpuSecond: 1e6 / step.cpuUs, perSecond: step.perSecond, loadShare: 0 }
}
