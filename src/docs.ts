// The README's tables, written from the code they describe: settings, metrics, measured numbers. Each stands between
// two comment markers; the rest of the README is written by hand. Run: `npm run docs`; a test compares.
//
//   <!-- settings -->
//   | setting | default | meaning |        ◀── replaced
//   <!-- /settings -->

import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { SETTINGS } from './base/config.ts'
import { METRICS } from './base/metrics.ts'
import { costsInWords, SCALING_HEADS, scalingRows } from './scaling.ts'

const ROOT = join(import.meta.dirname, '..')
export const README = join(ROOT, 'README.md')
/** One JSON object a line, appended by whoever measured: `Measurement`. */
export const NUMBERS = join(ROOT, 'bench', 'numbers.jsonl')

/** One measured result. Nothing is in the README's table that is not such a line. */
export interface Measurement {
  readonly question: string
  readonly result: string
  /** Load, sizes, settings: what it takes to measure it again. */
  readonly conditions: string
  /** What it should be, and whether it is; empty and null where there is none. */
  readonly target: string
  readonly met: boolean | null
  readonly rounds: number
  /** Share of the machine that other programs took meanwhile, 0 to 1; null where that is not known. */
  readonly others: number | null
  /** Nanoseconds that memory took to answer (bench/machine.ts); not in older lines. */
  readonly memoryNs?: number
  readonly machine: string
  readonly node: string
  readonly commit: string
  /** YYYY-MM-DD */
  readonly date: string
}

/** The README with every table written anew. Throws when a marker is missing. */
export function written (readme: string): string {
  let text = readme
  for (const [name, table] of Object.entries(TABLES)) {
    const open = `<!-- ${name} -->`
    const close = `<!-- /${name} -->`
    const from = text.indexOf(open)
    const to = text.indexOf(close)
    if (from < 0 || to < from) throw new Error(`README.md needs ${open} and, after it, ${close}`)
    text = `${text.slice(0, from + open.length)}\n${table()}\n${text.slice(to)}`
  }
  return text
}

const TABLES: Readonly<Record<string, () => string>> = { settings: settingsTable, metrics: metricsTable, numbers: numbersTable, scaling: scalingTable }

interface SettingRow { group: string, env: string, type: string, doc: string, default?: unknown, min?: number, max?: number, choices?: readonly string[] }

function settingsTable (): string {
  const rows: SettingRow[] = Object.values(SETTINGS)
  const groups = [...new Set(rows.map((row) => row.group))]
  return groups.map((group) => [
    `**${group}**\n`,
    ...table(['setting', 'default', 'values', 'meaning'], rows.filter((row) => row.group === group)
      .map((row) => [`\`${row.env}\``, defaultOf(row), valuesOf(row), row.doc]))
  ].join('\n')).join('\n\n')
}

function defaultOf (row: SettingRow): string {
  const value = Array.isArray(row.default) ? row.default.join(',') : row.default ?? ''
  return value === '' ? 'none' : `\`${String(value)}\``
}

function valuesOf (row: SettingRow): string {
  switch (row.type) {
    case 'int': return row.min === row.max ? String(row.min) : `${thousands(row.min)} to ${thousands(row.max)}`
    case 'bool': return '`true`, `false`'
    case 'choice': return (row.choices ?? []).map((choice) => `\`${choice}\``).join(', ')
    case 'list': return 'list, by commas'
    default: return 'text'
  }
}

function thousands (value: number | undefined): string {
  return (value ?? 0).toLocaleString('en-GB')
}

interface MetricRow { type: string, help: string, label?: string }

function metricsTable (): string {
  const rows: [string, MetricRow][] = Object.entries(METRICS)
  return table(['metric', 'type', 'label', 'meaning'], rows.map(([name, row]) => [`\`${name}\``, row.type, row.label ?? '', row.help])).join('\n')
}

function numbersTable (): string {
  const measured = existsSync(NUMBERS) ? readFileSync(NUMBERS, 'utf8').split('\n').filter((line) => line.trim() !== '').map(measurement) : []
  if (measured.length === 0) return 'None measured for this version yet.'
  // Lines are only ever appended: the last answer to a question is the one that counts.
  const newest = new Map(measured.map((row) => [row.question, row]))
  return table(['question', 'result', 'target', 'conditions', 'measured'], [...newest.values()].map((row) => [
    row.question, row.result, row.met === null ? row.target : `${row.target}: ${row.met ? 'met' : '**missed**'}`, row.conditions,
    `${row.date}, median of ${row.rounds} (least to most), ${row.machine}${(row.others ?? 0) < 0.05 ? '' : ` of which other programs took ${Math.round((row.others ?? 0) * 100)} %`}${row.memoryNs === undefined ? '' : `, memory at ${row.memoryNs} ns`}, Node ${row.node}, ${row.commit}`
  ])).join('\n')
}

function scalingTable (): string {
  const lines = existsSync(NUMBERS) ? readFileSync(NUMBERS, 'utf8').split('\n').filter((line) => line.trim() !== '').map((line) => JSON.parse(line) as Measurement) : []
  return [...table(SCALING_HEADS, scalingRows(lines)), '', `Measured: ${costsInWords(lines)}.`].join('\n')
}

function measurement (line: string): Measurement {
  const row = JSON.parse(line) as Measurement
  for (const key of ['question', 'result', 'conditions', 'target', 'machine', 'node', 'commit', 'date'] as const) {
    if (typeof row[key] !== 'string') throw new Error(`bench/numbers.jsonl: ${key} must be text in ${line.slice(0, 120)}`)
  }
  return row
}

function table (heads: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const line = (cells: readonly string[]): string => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
  return [line(heads), `|${heads.map(() => '---').join('|')}|`, ...rows.map(line)]
}

if (process.argv[1] === import.meta.filename && process.argv.includes('--write')) {
  writeFileSync(README, written(readFileSync(README, 'utf8')))
  console.log('README.md: tables written')
}
