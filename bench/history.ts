// History over HTTP: how many pages of 50 messages a second, against Fastify with a route that answers the same bytes made
// before? autocannon asks, on the load's core.

import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { sleep } from './delivery.ts'
import { roomName } from './dialect.ts'
import { Load } from './load.ts'
import { ratio, spread, spreadText, type Bench, type Finding, type Row } from './row.ts'
import { CORES, onCore, Subject, uproar, type SubjectKind } from './subject.ts'

const PATH = `/v1/rooms/${roomName(0)}/messages?limit=50`
const CONNECTIONS = 50
const WARM_S = 4

export const history: Row = {
  name: 'history',
  about: 'history over HTTP, against a bare Fastify route of the same body',
  roundsMax: 1,
  async run (bench: Bench): Promise<Finding[]> {
    const dir = mkdtempSync(join(tmpdir(), 'uproar-page-'))
    const file = join(dir, 'page.json')
    const bare: SubjectKind = { name: 'bare Fastify', dialect: 'plain', file: 'peer-fastify.ts', env: { BODY_FILE: file } }
    const ours: Rate[] = []
    const theirs: Rate[] = []
    try {
      for (let round = 1; round <= bench.rounds; round++) {
        bench.progress(`round ${round}: Uproar, then bare Fastify`)
        ours.push(await serve(uproar(), bench, file))
        theirs.push(await serve(bare, bench, null))
        bench.progress(`  ${Math.round(ours.at(-1)?.perCpuSecond ?? 0)} to ${Math.round(theirs.at(-1)?.perCpuSecond ?? 0)} per CPU second`)
      }
    } finally {
      rmSync(dir, { recursive: true })
    }
    const by = ratio(ours.map((each) => each.perCpuSecond), theirs.map((each) => each.perCpuSecond))
    const failures = [...ours, ...theirs].reduce((total, each) => total + each.failures, 0)
    return [{
      question: 'History over HTTP, pages per CPU second against bare Fastify',
      result: `${spreadText(by)} times: ${spreadText(spread(ours.map((each) => each.perCpuSecond)))} to ${spreadText(spread(theirs.map((each) => each.perCpuSecond)))}${failures === 0 ? '' : `; ${failures} FAILURES`}`,
      conditions: `pages of 50 messages of 130 bytes, autocannon with ${CONNECTIONS} connections`,
      target: 'at least 0.6 times',
      isMet: by.median >= 0.6 && failures === 0,
      figures: {
        ratio: by,
        pagesPerSecond: spread(ours.map((each) => each.perSecond)),
        p99: spread(ours.map((each) => each.p99)),
        peerPagesPerSecond: spread(theirs.map((each) => each.perSecond)),
        peerP99: spread(theirs.map((each) => each.p99)),
        failures
      }
    }]
  }
}

interface Rate { perCpuSecond: number, perSecond: number, p99: number, failures: number }

/** Serves pages for some seconds. `keep`: fills a room first and keeps the page that is served as this file. */
async function serve (kind: SubjectKind, bench: Bench, keep: string | null): Promise<Rate> {
  const subject = await Subject.start(kind, kind.dialect === 'uproar' ? bench.nodeOptions : [])
  try {
    const url = `${subject.http}${PATH}`
    if (keep !== null) {
      await fill(subject)
      const page = await (await fetch(url)).text()
      if ((JSON.parse(page) as { messages?: unknown[], entries?: unknown[] }).entries?.length !== 50) throw new Error(`not a page of 50: ${page.slice(0, 200)}`)
      writeFileSync(keep, page)
    }
    await cannon(url, bench.isQuick ? 1 : WARM_S)
    const before = subject.cpuSeconds()
    const { requests, latency, non2xx, errors, timeouts } = await cannon(url, bench.isQuick ? 2 : 5)
    const cpu = subject.cpuSeconds() - before
    return { perCpuSecond: requests.total / cpu, perSecond: requests.average, p99: latency.p99, failures: non2xx + errors + timeouts }
  } finally {
    await subject.stop()
  }
}

async function fill (subject: Subject): Promise<void> {
  const load = new Load()
  try {
    await load.order('authors.open', { port: subject.wsPort, dialect: 'uproar', authors: 1 })
    await load.order('authors.pace', 300)
    await sleep(1000)
    await load.order('authors.pace', 0)
    await sleep(300)
  } finally {
    await load.end()
  }
}

interface Fired { requests: { total: number, average: number }, latency: { p99: number }, non2xx: number, errors: number, timeouts: number }

async function cannon (url: string, seconds: number): Promise<Fired> {
  const { command, args } = onCore(CORES?.load)
  const program = join(import.meta.dirname, '../node_modules/autocannon/autocannon.js')
  const { stdout } = await promisify(execFile)(command, [...args, program, '--json', '-c', String(CONNECTIONS), '-d', String(seconds), url])
  return JSON.parse(stdout) as Fired
}
