// The hand that holds a load process: starts it on the second core, gives orders, waits for the answers with a deadline.

import { fork, type ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import type { Answer, OrderName, Orders } from './load-process.ts'
import { cpuSecondsOf } from './machine.ts'
import { CORES, onCore } from './subject.ts'

const PROCESS = 'load-process.ts'
const ANSWER_MS = 90_000

export class Load {
  readonly #child: ChildProcess
  readonly #waiting = new Map<number, { resolve: (result: unknown) => void, reject: (error: Error) => void }>()
  #ids = 0
  #failure: Error | null = null

  constructor () {
    const { command, args } = onCore(CORES?.load)
    this.#child = fork(join(import.meta.dirname, PROCESS), { execPath: command, execArgv: args, stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
    this.#child.on('message', ({ id, result, error }: Answer) => {
      const waiting = this.#waiting.get(id)
      this.#waiting.delete(id)
      if (error === undefined) waiting?.resolve(result)
      else waiting?.reject(new Error(error))
    })
    this.#child.once('exit', (code, signal) => {
      this.#failure = new Error(`the load ended with ${code ?? signal}`)
      for (const { reject } of this.#waiting.values()) reject(this.#failure)
    })
  }

  /** CPU seconds that it has spent: above 0.9 a second it is what is being measured. */
  cpuSeconds (): number { return cpuSecondsOf(this.#child.pid as number) }

  async order<N extends OrderName> (name: N, ...[argument]: Parameters<Orders[N]>): Promise<ReturnType<Orders[N]>> {
    if (this.#failure !== null) throw this.#failure
    const id = this.#ids++
    let timer: NodeJS.Timeout | undefined
    try {
      return await new Promise((resolve, reject) => {
        timer = setTimeout(() => reject(new Error(`the load did not answer ${name} in ${ANSWER_MS} ms`)), ANSWER_MS)
        this.#waiting.set(id, { resolve: resolve as (result: unknown) => void, reject })
        this.#child.send({ id, name, argument })
      })
    } finally {
      clearTimeout(timer)
      this.#waiting.delete(id)
    }
  }

  async end (): Promise<void> {
    if (this.#failure !== null) return
    const exit = new Promise((resolve) => this.#child.once('exit', resolve))
    this.#child.kill('SIGKILL')
    await exit
  }
}
