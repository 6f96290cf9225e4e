// A Prometheus for tests: a real one on a free loopback port, in a folder of its own, ended and removed with the test, with
// what it is asked over HTTP; and promtool. Must not know what is tested. Every wait has a deadline.

import { execFile, type ChildProcess } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { spawnWithUs } from './children.ts'
import { freePort } from './ports.ts'
import type { Scope } from './redis.ts'
import { prometheusPath } from './services.ts'

const READY_MS = 20_000
const ASK_MS = 10_000
const WORDS_KEPT = 4000

/** A series of an instant query's answer. */
export interface Sample { readonly labels: Readonly<Record<string, string>>, readonly value: number }

export interface Alert { readonly name: string, readonly state: 'pending' | 'firing', readonly labels: Readonly<Record<string, string>> }

export class PrometheusServer {
  readonly port: number
  readonly dir: string
  #child: ChildProcess | null = null
  #exit: Promise<void> = Promise.resolve()
  #words = ''

  /** Starts one with this configuration (the text of prometheus.yml) and waits until it is ready; it ends with the scope. */
  static async start (scope: Scope, config: string): Promise<PrometheusServer> {
    const server = new PrometheusServer(await freePort(), config)
    scope.teardown(() => server.destroy())
    await server.#launch()
    return server
  }

  constructor (port: number, config: string) {
    this.port = port
    this.dir = mkdtempSync(join(tmpdir(), 'uproar-prometheus-'))
    writeFileSync(join(this.dir, 'prometheus.yml'), config)
  }

  /** What the expression is now; empty where there is nothing. Throws what Prometheus says of a faulty one. */
  async query (expression: string): Promise<Sample[]> {
    const { result, resultType } = await this.#ask('query', { query: expression }) as { resultType: string, result: unknown }
    const of = (value: unknown): number => Number((value as [number, string])[1])
    if (resultType === 'scalar') return [{ labels: {}, value: of(result) }]
    return (result as { metric: Record<string, string>, value: unknown }[]).map(({ metric, value }) => ({ labels: metric, value: of(value) }))
  }

  /** The labels of the exemplars that the expression's series have had in the last minutes. */
  async exemplars (expression: string): Promise<Readonly<Record<string, string>>[]> {
    const now = Date.now() / 1000
    const series = await this.#ask('query_exemplars', { query: expression, start: String(now - 300), end: String(now + 60) }) as { exemplars: { labels: Record<string, string> }[] }[]
    return series.flatMap(({ exemplars }) => exemplars.map(({ labels }) => labels))
  }

  /** Names and expressions of all rules that were loaded. */
  async rules (): Promise<{ readonly name: string, readonly type: 'alerting' | 'recording', readonly query: string, readonly health: string, readonly lastError: string }[]> {
    const { groups } = await this.#ask('rules') as { groups: { rules: { name: string, type: 'alerting' | 'recording', query: string, health: string, lastError?: string }[] }[] }
    return groups.flatMap(({ rules }) => rules.map(({ name, type, query, health, lastError = '' }) => ({ name, type, query, health, lastError })))
  }

  async alerts (): Promise<Alert[]> {
    const { alerts } = await this.#ask('alerts') as { alerts: { labels: Record<string, string>, state: 'pending' | 'firing' }[] }
    return alerts.map(({ labels, state }) => ({ name: labels['alertname'] ?? '', state, labels }))
  }

  /** Where it scrapes, and whether that went well. */
  async targets (): Promise<{ readonly url: string, readonly health: string, readonly lastError: string }[]> {
    const { activeTargets } = await this.#ask('targets') as { activeTargets: { scrapeUrl: string, health: string, lastError: string }[] }
    return activeTargets.map(({ scrapeUrl, health, lastError }) => ({ url: scrapeUrl, health, lastError }))
  }

  async destroy (): Promise<void> {
    this.#child?.kill('SIGKILL')
    await this.#exit
    rmSync(this.dir, { recursive: true, force: true })
  }

  async #launch (): Promise<void> {
    const binary = prometheusPath()
    if (binary === null) throw new Error('there is no prometheus')
    const child = spawnWithUs(binary, [`--config.file=${join(this.dir, 'prometheus.yml')}`, `--storage.tsdb.path=${join(this.dir, 'data')}`, `--web.listen-address=127.0.0.1:${this.port}`, '--log.level=warn', '--enable-feature=exemplar-storage'], { cwd: this.dir })
    this.#child = child
    this.#exit = new Promise((resolve) => child.once('exit', () => resolve()))
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => { this.#words = (this.#words + chunk.toString()).slice(-WORDS_KEPT) })
    const late = performance.now() + READY_MS
    while (!await fetch(`http://127.0.0.1:${this.port}/-/ready`, { signal: AbortSignal.timeout(ASK_MS) }).then((answer) => answer.ok, () => false)) {
      if (child.exitCode !== null) throw new Error(`prometheus ended with ${child.exitCode}:\n${this.#words}`)
      if (performance.now() > late) throw new Error(`prometheus was not ready in ${READY_MS} ms:\n${this.#words}`)
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }

  async #ask (what: string, words: Readonly<Record<string, string>> = {}): Promise<unknown> {
    const answer = await fetch(`http://127.0.0.1:${this.port}/api/v1/${what}`, { ...(what.startsWith('query') ? { method: 'POST', body: new URLSearchParams(words) } : {}), signal: AbortSignal.timeout(ASK_MS) })
    const body = await answer.json() as { status: string, error?: string, data: unknown }
    if (body.status !== 'success') throw new Error(`${JSON.stringify(words)}: ${body.error}`)
    return body.data
  }
}

/** Runs promtool; resolves with its exit status and what it said. */
export function promtool (...words: string[]): Promise<{ readonly status: number, readonly text: string }> {
  const binary = prometheusPath()
  if (binary === null) throw new Error('there is no promtool')
  return new Promise((resolve) => {
    execFile(join(dirname(binary), 'promtool'), words, { timeout: 60_000, killSignal: 'SIGKILL', maxBuffer: 1 << 24 }, (error, stdout, stderr) => {
      resolve({ status: error === null ? 0 : Number(error.code ?? 1), text: stdout + stderr })
    })
  })
}
