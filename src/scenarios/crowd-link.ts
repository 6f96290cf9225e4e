// The hand that holds a crowd: forks bench/crowd-process.ts, gives it orders and waits for its answers. Ended with the test.

import { fork, type ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import type { CrowdOptions, CrowdReports } from '../../bench/crowd.ts'

const PROCESS = join(import.meta.dirname, '../../bench/crowd-process.ts')

export class CrowdLink {
  #child: ChildProcess
  #id = 0
  #waiting = new Map<number, { resolve (result: unknown): void, reject (error: Error): void }>()

  /** Forks a crowd and has everyone join. */
  static async gather (scope: { teardown (end: () => unknown): void }, options: CrowdOptions, timeoutMs = 120_000): Promise<CrowdLink> {
    const crowd = new CrowdLink()
    scope.teardown(() => crowd.end())
    await crowd.#order({ order: 'start', options, timeoutMs }, timeoutMs + 5000)
    return crowd
  }

  constructor () {
    this.#child = fork(PROCESS, { execArgv: [], stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
    this.#child.on('message', (answer: { id: number, result?: unknown, error?: string }) => {
      const waiting = this.#waiting.get(answer.id)
      this.#waiting.delete(answer.id)
      if (answer.error === undefined) waiting?.resolve(answer.result)
      else waiting?.reject(new Error(answer.error))
    })
    this.#child.once('exit', (code, signal) => {
      for (const waiting of this.#waiting.values()) waiting.reject(new Error(`the crowd ended with ${code ?? signal}`))
      this.#waiting.clear()
    })
  }

  async stall (count: number, keepPinging = false): Promise<void> { await this.#order({ order: 'stall', count, keepPinging }) }
  async wake (): Promise<void> { await this.#order({ order: 'wake' }) }
  async cut (count: number): Promise<void> { await this.#order({ order: 'cut', count }) }
  /** True when every reader has got to `seq` in time. */
  async settled (seq: number, timeoutMs: number, stalledToo = false): Promise<boolean> {
    return await this.#order({ order: 'settled', seq, timeoutMs, stalledToo }, timeoutMs + 5000) as boolean
  }

  async report (): Promise<CrowdReports> { return await this.#order({ order: 'report' }) as CrowdReports }

  end (): void {
    if (this.#child.exitCode === null) this.#child.kill('SIGKILL')
  }

  async #order (order: Record<string, unknown>, timeoutMs = 20_000): Promise<unknown> {
    const id = ++this.#id
    let timer: NodeJS.Timeout | undefined
    try {
      return await new Promise((resolve, reject) => {
        timer = setTimeout(() => reject(new Error(`the crowd did not answer ${String(order.order)} in ${timeoutMs} ms`)), timeoutMs)
        this.#waiting.set(id, { resolve, reject })
        this.#child.send({ ...order, id })
      })
    } finally {
      clearTimeout(timer)
      this.#waiting.delete(id)
    }
  }
}
