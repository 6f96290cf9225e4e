// What a replay says: the progress line while it runs and the table at its end. Words and columns only.

import type { LatencySummary } from './latency.ts'

export interface ReplayReport {
  readonly file: string
  readonly room: string
  readonly run: string
  readonly speed: number
  readonly authors: number
  readonly connectionsMax: number
  readonly connectionsOpened: number
  readonly seconds: number
  /** How late, at worst, a line was handed out against the log's own rhythm, milliseconds. */
  readonly behindMsMax: number
  readonly sent: number
  readonly accepted: number
  readonly retried: number
  /** By error name, or how the connection ended for good. */
  readonly refused: Readonly<Record<string, number>>
  /** From SEND to OK, milliseconds. */
  readonly latency: LatencySummary
  readonly watcher: WatcherReport
}

export interface WatcherReport {
  /** Accepted lines that arrived. */
  readonly received: number
  /** Accepted lines that did not arrive. */
  readonly missing: number
  /** Lines or seqs that arrived more than once. */
  readonly duplicated: number
  readonly outOfOrder: number
  /** Entries that the server announced as not sent. */
  readonly skipped: number
  /** Times the watcher had to come back. */
  readonly resumed: number
  /** What the watcher waited for in vain; null when it got everything. */
  readonly complaint: string | null
}

/** Whether everything accepted arrived once, in order. */
export function isWhole (report: ReplayReport): boolean {
  const { missing, duplicated, outOfOrder } = report.watcher
  return missing === 0 && duplicated === 0 && outOfOrder === 0
}

export function tableOf (report: ReplayReport): string {
  const { watcher, latency } = report
  const refused = Object.entries(report.refused).sort((a, b) => b[1] - a[1])
  const refusedCount = refused.reduce((sum, [, count]) => sum + count, 0)
  const ms = (value: number): string => `${value < 10 ? value.toFixed(2) : value.toFixed(1)} ms`
  const rows: [string, string][] = [
    ['sent', `${number(report.sent)} by ${number(report.authors)} authors over ${number(report.connectionsOpened)} connections (at most ${number(report.connectionsMax)} at once)`],
    ['accepted', `${number(report.accepted)}${report.retried > 0 ? `, ${number(report.retried)} sent again` : ''}`],
    ['refused', number(refusedCount)],
    ...refused.map(([name, count]): [string, string] => [`  ${name}`, number(count)]),
    ['time', `${report.seconds.toFixed(1)} s, ${number(Math.round(report.sent / Math.max(0.001, report.seconds)))} a second, behind the log by ${Math.round(report.behindMsMax)} ms at most`],
    ['SEND → OK', `p50 ${ms(latency.p50)}   p90 ${ms(latency.p90)}   p99 ${ms(latency.p99)}   max ${ms(latency.max)}`],
    ['watcher', `received ${number(watcher.received)}   missing ${number(watcher.missing)}   duplicated ${number(watcher.duplicated)}   out of order ${number(watcher.outOfOrder)}`],
    ['', `skipped ${number(watcher.skipped)}   resumed ${number(watcher.resumed)} times`],
    ...watcher.complaint === null ? [] : [['', watcher.complaint] as [string, string]]
  ]
  const width = Math.max(...rows.map(([name]) => name.length))
  const lines = rows.map(([name, value]) => `  ${name.padEnd(width)}  ${value}`)
  const verdict = isWhole(report) ? 'everything accepted arrived once, in order' : 'NOT everything accepted arrived once, in order'
  return [`replay of ${report.file} into ${report.room} ${Number.isFinite(report.speed) ? `at ${report.speed}×` : 'as fast as it goes'}, run ${report.run}`, ...lines, `  ${verdict}`].join('\n')
}

export interface Progress { readonly offsetMs: number, readonly share: number | null, readonly sent: number, readonly accepted: number, readonly refused: number, readonly open: number, readonly seconds: number }

export function progressLine (progress: Progress, width = 24): string {
  const { share } = progress
  const full = share === null ? 0 : Math.round(Math.min(1, share) * width)
  const bar = share === null ? '' : `[${'█'.repeat(full)}${'·'.repeat(width - full)}] ${String(Math.floor(share * 100)).padStart(3)} %  `
  return `${bar}${clock(progress.offsetMs)} of the log  sent ${number(progress.sent)}  accepted ${number(progress.accepted)}  refused ${number(progress.refused)}  ${number(progress.open)} connections  ${progress.seconds.toFixed(0)} s`
}

function number (value: number): string {
  return value.toLocaleString('en-GB')
}

function clock (ms: number): string {
  const seconds = Math.floor(ms / 1000)
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`
}
