// The join storm: how many joins a second does a core serve, each answered with 50 entries of history? Measured twice: as
// JOINs on open connections, and with everything that a newcomer brings (TCP, handshake, HELLO, JOIN).

import { sleep } from './delivery.ts'
import { Load } from './load.ts'
import { spread, spreadText, type Bench, type Finding, type Row } from './row.ts'
import { Subject, uproar } from './subject.ts'

const HISTORY = 50
const CONNECTIONS = 200
const NEWCOMERS = 4000
const TARGET = 10_000

export const joins: Row = {
  name: 'joins',
  about: 'join storm: joins a second on a core, with 50 entries of history each',
  roundsMax: 1,
  async run (bench: Bench): Promise<Finding[]> {
    const storms: Storm[] = []
    for (let round = 1; round <= bench.rounds; round++) {
      bench.progress(`round ${round}`)
      const measured = await storm(bench)
      bench.progress(`  ${Math.round(measured.joins)} joins and ${Math.round(measured.newcomers)} newcomers per CPU second`)
      storms.push(measured)
    }
    const rates = spread(storms.map((each) => each.joins))
    const newcomers = spread(storms.map((each) => each.newcomers))
    const faulty = storms.reduce((total, each) => total + each.faulty, 0)
    return [
      {
        question: 'Join storm, JOINs on open connections',
        result: `${spreadText(rates)} a second of CPU${faulty === 0 ? ', each with its 50 entries whole and in order' : `; ${faulty} FAULTY`}`,
        conditions: `${CONNECTIONS} connections join the same room anew without pause, ${HISTORY} entries of 130 bytes each`,
        target: `at least ${TARGET} a second on a core`,
        isMet: rates.median >= TARGET && faulty === 0,
        figures: { joinsPerCpuSecond: rates, joinsPerSecond: spread(storms.map((each) => each.perSecond)), faulty }
      },
      {
        question: 'Join storm, newcomers with handshake and HELLO',
        result: `${spreadText(newcomers)} a second of CPU`,
        conditions: `${NEWCOMERS} connections from nothing, ${HISTORY} entries of history each`,
        target: '',
        isMet: null,
        figures: { newcomersPerCpuSecond: newcomers }
      }
    ]
  }
}

interface Storm { joins: number, perSecond: number, newcomers: number, faulty: number }

async function storm (bench: Bench): Promise<Storm> {
  const subject = await Subject.start(uproar(), bench.nodeOptions)
  const load = new Load()
  try {
    const { wsPort: port } = subject
    await load.order('authors.open', { port, dialect: 'uproar', authors: 1 })
    await load.order('authors.pace', 500)
    await sleep(500)
    await load.order('authors.pace', 0)
    await load.order('joiners.open', { port, connections: CONNECTIONS, history: HISTORY })
    await load.order('joiners.storm', 1500)
    const before = subject.cpuSeconds()
    const { joins, seconds, faulty } = await load.order('joiners.storm', bench.isQuick ? 2000 : 4000)
    const cpu = subject.cpuSeconds() - before
    await sleep(300)
    const then = subject.cpuSeconds()
    await load.order('viewers.open', { port, dialect: 'uproar', viewers: NEWCOMERS, history: HISTORY })
    return { joins: joins / cpu, perSecond: joins / seconds, newcomers: NEWCOMERS / (subject.cpuSeconds() - then), faulty }
  } finally {
    await load.end()
    await subject.stop()
  }
}
