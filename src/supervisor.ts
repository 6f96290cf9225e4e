// Several processes as one server on one machine: starts WORKERS children of the program that share its ports, keeps
// them running, and passes its signals on. Each is an instance of the cluster by itself; this process serves nothing.
//
//   start ──▶ are the ports free? ──▶ workers ──▶ all ready ──▶ `ready`
//   a worker ends ──▶ wait (back-off, jitter) ──▶ start it again        SIGHUP ──▶ one after the other: stop, start, ready
//   SIGTERM, SIGINT ──▶ all drain together ──▶ those that are late are killed
//
// A worker ends when this process does: it sees the channel between them close. Bounds: one child a place; waits have ends.

import { fork, type ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { createServer, type AddressInfo } from 'node:net'
import type { Logger } from 'pino'
import type { Config } from './base/config.ts'
import { StartFault } from './base/errors.ts'
import { AllNumbers, type NumbersWord } from './base/gathering.ts'
import { listenFault } from './base/listening.ts'
import { METRICS } from './base/metrics.ts'

/** What a worker tells its supervisor. */
export type WorkerWord =
  | { readonly word: 'ready', readonly port: number, readonly wsPort: number }
  /** A foreseeable reason not to start, for the operator. */
  | { readonly word: 'refused', readonly reason: string }
  | NumbersWord

/** How a worker knows that it is one: its number, from 1, and the secret of dev tokens that all of them share. */
export const WORKER_ENV = 'UPROAR_WORKER'
export const DEV_SECRET_ENV = 'UPROAR_DEV_SECRET'

const RESTART_MS_MIN = 500
const RESTART_MS_MAX = 30_000
/** A worker that ran for so long begins again with the shortest wait. */
const RAN_WELL_MS = 60_000
const START_MS_MAX = 60_000
/** What a worker gets beyond STOP_TIMEOUT_S before it is killed. */
const KILL_AFTER_MS = 3000

export interface Supervisor {
  /** Starts every worker; resolves with the ports once all are ready. Rejects with StartFault when the first start fails. */
  start (): Promise<{ port: number, wsPort: number }>
  /** Restarts one worker after the other, each once the one before is ready again. Nothing when that is under way. */
  roll (): Promise<void>
  /** Passes a signal on to every worker. */
  pass (signal: NodeJS.Signals): void
  /** Stops all; resolves with what did not end cleanly. May be called twice. */
  stop (): Promise<string[]>
}

export interface SupervisorOptions {
  readonly config: Config
  readonly log: Logger
  /** The program's file, started again as each worker. */
  readonly program: string
}

/** One place for a worker; the process in it may change. */
class Place {
  readonly number: number
  child: ChildProcess | null = null
  isReady = false
  /** It is being restarted on purpose. */
  isRolling = false
  startedAt = 0
  failures = 0
  restarts = 0
  constructor (number: number) { this.number = number }
}

export function createSupervisor (options: SupervisorOptions): Supervisor {
  return new Workers(options)
}

class Workers implements Supervisor {
  readonly #options: SupervisorOptions
  readonly #places: readonly Place[]
  readonly #numbers = new AllNumbers()
  readonly #devSecret = randomBytes(32).toString('hex')
  #ports = { port: 0, wsPort: 0 }
  #isStopping = false
  #isRolling = false
  #stopped: Promise<string[]> | null = null

  constructor (options: SupervisorOptions) {
    this.#options = options
    this.#places = Array.from({ length: options.config.workers }, (_, at) => new Place(at + 1))
  }

  async start (): Promise<{ port: number, wsPort: number }> {
    const { host, port, wsPort } = this.#options.config
    // Workers share what they listen on, so each would share a stranger's port too: whether it is free is seen first.
    const http = await freePort({ host, port, setting: 'PORT' })
    let sockets = await freePort({ host, port: wsPort, setting: 'WS_PORT' })
    while (sockets === http) sockets = await freePort({ host, port: wsPort, setting: 'WS_PORT' })
    this.#ports = { port: http, wsPort: sockets }
    try {
      await Promise.all(this.#places.map((place) => this.#launch(place)))
    } catch (error) {
      await this.stop()
      throw error
    }
    for (const place of this.#places) this.#keep(place)
    return this.#ports
  }

  async roll (): Promise<void> {
    const { log } = this.#options
    if (this.#isRolling || this.#isStopping) return void log.warn('a restart of the workers is under way already')
    this.#isRolling = true
    try {
      for (const place of this.#places) {
        if (this.#isStopping) return
        place.isRolling = true
        await this.#end(place)
        // Its place is kept by #keep, which starts it again; a worker that cannot come back ends the round.
        const isBack = await this.#readyAgain(place)
        place.isRolling = false
        if (!isBack) return void log.error({ worker: place.number }, 'the worker does not come back; the others are left as they are')
      }
      log.info('every worker was restarted')
    } finally {
      this.#isRolling = false
    }
  }

  pass (signal: NodeJS.Signals): void {
    for (const { child, isReady } of this.#places) if (isReady) child?.kill(signal)
  }

  stop (): Promise<string[]> {
    this.#isStopping = true
    this.#stopped ??= Promise.all(this.#places.map((place) => this.#end(place))).then((late) => late.filter((word) => word !== null))
    return this.#stopped
  }

  /** Starts the worker; resolves when it is ready. Rejects with StartFault where it says why not. */
  #launch (place: Place): Promise<void> {
    const { program } = this.#options
    const child = fork(program, [], { env: this.#envOf(place), execArgv: process.execArgv, stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
    place.child = child
    place.startedAt = performance.now()
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        child.kill('SIGKILL')
        reject(new Error(`worker ${place.number} was not ready in ${START_MS_MAX} ms`))
      }, START_MS_MAX)
      child.on('message', (told: WorkerWord) => {
        if (told.word !== 'ready' && told.word !== 'refused') return void this.#hear(child, told)
        clearTimeout(timer)
        if (told.word === 'refused') return reject(new StartFault(told.reason))
        place.isReady = true
        resolve()
      })
      child.once('error', reject)
      // Not at 'exit': what it said last may come behind that.
      child.once('close', (code, signal) => {
        clearTimeout(timer)
        reject(new Error(`worker ${place.number} ended with ${code ?? signal} before it was ready`))
      })
    })
  }

  /** A worker asks for everybody's numbers, or tells its own. */
  async #hear (child: ChildProcess, word: NumbersWord): Promise<void> {
    if (word.word !== 'gather') return this.#numbers.hear(word)
    const workers = new Map(this.#places.filter(({ isReady }) => isReady).map(({ number, child: other }) => [number, (told: NumbersWord): void => send(other, told)]))
    send(child, { word: 'gathered', id: word.id, text: await this.#numbers.gather(workers, this.#own()) })
  }

  /** The supervisor's own numbers. */
  #own (): string {
    const series = (name: keyof typeof METRICS, value: (place: Place) => number): string =>
      [`# HELP ${name} ${METRICS[name].help}`, `# TYPE ${name} ${METRICS[name].type}`, ...this.#places.map((place) => `${name}{worker="${place.number}"} ${value(place)}`), ''].join('\n')
    return series('uproar_worker_up', ({ isReady }) => Number(isReady)) + series('uproar_worker_restarts_total', ({ restarts }) => restarts)
  }

  #envOf (place: Place): NodeJS.ProcessEnv {
    const { port, wsPort } = this.#ports
    return { ...process.env, PORT: String(port), WS_PORT: String(wsPort), [WORKER_ENV]: String(place.number), [DEV_SECRET_ENV]: this.#devSecret }
  }

  /** Sees to it that there is always somebody in the place. */
  #keep (place: Place): void {
    const { child } = place
    if (child === null || child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return this.#again(place)
    child.once('exit', (code, signal) => {
      place.isReady = false
      if (this.#isStopping) return
      if (!place.isRolling) place.restarts++
      if (!place.isRolling) this.#options.log.error({ worker: place.number, pid: child.pid, status: code ?? signal }, 'a worker ended')
      this.#again(place)
    })
  }

  #again (place: Place): void {
    if (this.#isStopping) return
    if (performance.now() - place.startedAt > RAN_WELL_MS) place.failures = 0
    const waitMs = place.isRolling && place.failures === 0 ? 0 : backOff(place.failures)
    place.failures++
    setTimeout(() => {
      if (this.#isStopping) return
      this.#launch(place).then(() => {
        this.#options.log.info({ worker: place.number, pid: place.child?.pid }, 'a worker is back')
        if (this.#isStopping) void this.#end(place)
        // The settings were good for the first start: whatever keeps it now may pass.
      }, (error: unknown) => this.#options.log.error({ worker: place.number, err: error }, 'a worker did not start'))
        .finally(() => this.#keep(place))
    }, waitMs)
  }

  async #readyAgain (place: Place): Promise<boolean> {
    const end = performance.now() + START_MS_MAX
    while (performance.now() < end && !this.#isStopping) {
      if (place.isReady) return true
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    return false
  }

  /** Has the worker drain and end, killed when it is late. Resolves with what was not clean about it, or null. */
  async #end (place: Place): Promise<string | null> {
    const { child } = place
    if (child === null || child.exitCode !== null || child.signalCode !== null) return null
    place.isReady = false
    const timer = setTimeout(() => child.kill('SIGKILL'), this.#options.config.stopTimeoutS * 1000 + KILL_AFTER_MS)
    const status = new Promise<number | string>((resolve) => child.once('exit', (code, signal) => resolve(code ?? signal ?? 'unknown')))
    child.kill('SIGTERM')
    const ended = await status
    clearTimeout(timer)
    return ended === 0 ? null : `worker ${place.number} ended with ${ended}`
  }
}

/** One that is gone meanwhile is not told. */
function send (child: ChildProcess | null, word: NumbersWord): void {
  if (child?.connected === true) child.send(word, () => {})
}

/** Time before a restart, milliseconds: doubled with every failure in a row, half of it by chance. */
export function backOff (failures: number, chance = Math.random()): number {
  const most = Math.min(RESTART_MS_MAX, RESTART_MS_MIN * 2 ** failures)
  return most / 2 + chance * most / 2
}

/** The port when nobody listens on it, or a free one for 0. Rejects with StartFault. */
function freePort (place: { readonly host: string, readonly port: number, readonly setting: 'PORT' | 'WS_PORT' }): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', (error) => reject(listenFault(error, place)))
    server.listen({ host: place.host, port: place.port, exclusive: true }, () => {
      const { port } = server.address() as AddressInfo
      server.close(() => resolve(port))
    })
  })
}
