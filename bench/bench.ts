// The command `npm run bench`: runs the rows named, or all of the server itself, and appends one line of JSON for each answer.
//
//   npm run bench                          every row of the server itself, in under 15 minutes
//   npm run bench -- --all                 and those that need Redis, Kafka, ClickHouse or ten minutes: 35 minutes in all
//   npm run bench -- fanout steady         some of them
//   npm run bench -- --list                which there are
//   --rounds N   --quick (a look: short, nothing is written)   --minutes N (soak)   --out FILE   --profile FOLDER

import { execFileSync } from 'node:child_process'
import { appendFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { NUMBERS } from '../src/docs.ts'
import { archive } from './archive.ts'
import { bigroom } from './bigroom.ts'
import { fanout } from './fanout.ts'
import { growth } from './growth.ts'
import { history } from './history.ts'
import { ingest } from './ingest.ts'
import { joins } from './joins.ts'
import { countOthers, machineText, memoryNs } from './machine.ts'
import { memory } from './memory.ts'
import { quiet } from './quiet.ts'
import { redis } from './redis.ts'
import { relay } from './relay.ts'
import type { Bench, Finding, Row } from './row.ts'
import { screen } from './screen.ts'
import { soak } from './soak.ts'
import { stalled } from './stalled.ts'
import { steady } from './steady.ts'
import { CORES } from './subject.ts'

const ROWS: readonly Row[] = [fanout, bigroom, steady, quiet, ingest, memory, joins, growth, stalled, history, screen, soak, redis, relay, archive]
const ROUNDS = 3

const text = { type: 'string' } as const
const flag = { type: 'boolean' } as const
const { values, positionals } = parseArgs({ allowPositionals: true, options: { rounds: text, quick: flag, minutes: text, out: text, profile: text, list: flag, all: flag } })

if (values.list === true) {
  for (const row of ROWS) process.stdout.write(`${row.name.padEnd(10)} ${row.about}${row.needs === undefined ? '' : ` (needs ${row.needs})`}\n`)
} else {
  process.exitCode = await runAll(chosen())
}

function chosen (): readonly Row[] {
  const unknown = positionals.filter((name) => !ROWS.some((row) => row.name === name))
  if (unknown.length > 0) {
    process.stderr.write(`no such row: ${unknown.join(', ')}; there are ${ROWS.map((row) => row.name).join(', ')}\n`)
    process.exit(2)
  }
  if (positionals.length > 0) return ROWS.filter((row) => positionals.includes(row.name))
  return values.all === true ? ROWS : ROWS.filter((row) => row.needs === undefined)
}

async function runAll (rows: readonly Row[]): Promise<number> {
  const isQuick = values.quick === true
  const out = values.out ?? (isQuick ? null : NUMBERS)
  const started = performance.now()
  const missed: string[] = []
  let failed = 0
  for (const [at, row] of rows.entries()) {
    const bench = benchOf(row, isQuick, (line) => {
      process.stderr.write(`${clock(started)} ${at + 1}/${rows.length} ${row.name}  ${line}\n`)
    })
    bench.progress(row.about)
    try {
      const memory = memoryNs()
      const others = countOthers()
      const findings = await row.run(bench)
      const share = others()
      bench.progress(`other programs took ${share === null ? 'an unknown share' : `${Math.round(share * 100)} %`} of the machine meanwhile; memory answered in ${memory.toFixed(0)} ns`)
      for (const finding of findings) {
        if (finding.isMet === false) missed.push(`${finding.question}: ${finding.result}; the target is ${finding.target}`)
        process.stdout.write(`${verdict(finding)} ${finding.question}: ${finding.result}\n`)
        if (out !== null) appendFileSync(out, `${JSON.stringify(line(row, finding, bench, { share, memory }))}\n`)
      }
    } catch (error) {
      failed++
      process.stderr.write(`${row.name} failed: ${(error as Error).stack ?? String(error)}\n`)
    }
  }
  process.stdout.write(`${rows.length} rows in ${clock(started)}, ${failed} failed, ${missed.length} targets missed\n`)
  for (const each of missed) process.stdout.write(`  missed: ${each}\n`)
  if (out !== null) process.stdout.write(`written to ${out}; npm run docs puts the newest lines of ${NUMBERS.slice(NUMBERS.indexOf('bench'))} into the README\n`)
  return failed === 0 ? 0 : 1
}

function benchOf (row: Row, isQuick: boolean, progress: (text: string) => void): Bench {
  const whole = (value: string | undefined, fallback: number): number => /^[1-9]\d*$/.test(value ?? '') ? Number(value) : fallback
  return {
    rounds: Math.min(row.roundsMax ?? Infinity, whole(values.rounds, isQuick ? 1 : row.rounds ?? ROUNDS)),
    isQuick,
    minutes: whole(values.minutes, isQuick ? 1 : 10),
    nodeOptions: values.profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${join(process.cwd(), values.profile)}`],
    progress
  }
}

/** What others left of the machine: the share they took, and how long memory took to answer when the row began. */
interface Surroundings { readonly share: number | null, readonly memory: number }

/** One line: what src/docs.ts puts into the README, and everything behind it. */
function line (row: Row, finding: Finding, bench: Bench, { share, memory }: Surroundings): Record<string, unknown> {
  const { isMet, figures, ...rest } = finding
  return {
    row: row.name,
    ...rest,
    met: isMet,
    rounds: bench.rounds,
    figures: roundedFigures(figures),
    machine: machineText(),
    others: share === null ? null : Number(share.toFixed(2)),
    memoryNs: Math.round(memory),
    cores: CORES === null ? 'shared' : 'server and load on a core each',
    node: process.versions.node,
    commit: commit(),
    date: new Date().toISOString().slice(0, 10)
  }
}

function roundedFigures (figures: Finding['figures']): Record<string, unknown> {
  return JSON.parse(JSON.stringify(figures), (_, value: unknown) => typeof value === 'number' ? Number(value.toPrecision(4)) : value) as Record<string, unknown>
}

/** The commit that was measured; with a mark when files differ from it. */
function commit (): string {
  try {
    const git = (...args: string[]): string => execFileSync('git', args, { cwd: import.meta.dirname, encoding: 'utf8' }).trim()
    const isChanged = git('status', '--porcelain', '--untracked-files=no', '--', '../src', '../proto', '../package-lock.json') !== ''
    return git('rev-parse', '--short', 'HEAD') + (isChanged ? '+' : '')
  } catch {
    return 'unknown'
  }
}

function verdict ({ isMet }: Finding): string {
  return isMet === null ? '    ' : isMet ? 'met ' : 'MISS'
}

function clock (started: number): string {
  const seconds = Math.round((performance.now() - started) / 1000)
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`
}
