// The program: configuration, the app, signals. Says `starting` at once, and `ready` with both ports once everything
// serves; a foreseeable reason not to start is one plain sentence on stderr. With WORKERS it is the supervisor of several
// of itself (supervisor.ts), and each of those is this same program, which its environment tells that it is a worker.

import { readFileSync } from 'node:fs'
import { setFlagsFromString } from 'node:v8'
import { pino } from 'pino'
import type { Sharing } from './app.ts'
import { ConfigError, loadConfig, type Config } from './base/config.ts'
import { StartFault } from './base/errors.ts'
import { WorkerNumbers, type NumbersWord } from './base/gathering.ts'
import { reachableHost } from './base/peers.ts'
import { REDACTION } from './base/redaction.ts'
import { misspelt } from './base/spelling.ts'
import { createSupervisor, DEV_SECRET_ENV, WORKER_ENV, type WorkerWord } from './supervisor.ts'

/** What signals are passed to. */
interface Running {
  start (): Promise<{ port: number, wsPort: number }>
  stop (): Promise<string[]>
  roll? (): Promise<void>
  pass? (signal: NodeJS.Signals): void
}

/** This process's place among workers, from 1; null: it is no worker. */
const worker = process.send !== undefined && process.env[WORKER_ENV] !== undefined ? Number(process.env[WORKER_ENV]) : null
const config = readConfig()
const isSupervisor = worker === null && config.workers > 1
const log = pino({
  level: config.logLevel,
  base: worker === null ? null : { worker },
  timestamp: pino.stdTimeFunctions.isoTime,
  redact: REDACTION
}, pino.destination({ dest: 1, sync: true }))
const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }

const numbers = worker === null ? null : new WorkerNumbers((word) => tell(word))
if (numbers !== null) process.on('message', (word: NumbersWord) => numbers.hear(word))

if (worker === null) announce()
const running = await create()
/** Under npm one Ctrl-C arrives twice, from the terminal and from npm: a repeat within this time is that same one. */
const ECHO_MS = 500
let stoppingSince: number | null = null
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => onSignal(signal))
// Without workers a hang-up ends the process, as it does by default; a worker leaves it to its supervisor.
if (isSupervisor || worker !== null) process.on('SIGHUP', () => onHangUp())
process.on('SIGUSR2', () => onDebugSignal())
// A file that has reached the limit of this process: the write fails and says so, which is enough.
process.on('SIGXFSZ', () => {})
process.on('uncaughtException', (error) => die(error, 'an uncaught exception'))
process.on('unhandledRejection', (error) => die(error, 'an unhandled rejection'))
// The supervisor is gone, however that came: nobody would ever stop this process.
if (worker !== null) process.on('disconnect', () => onSignal('the end of the supervisor'))

try {
  // V8 compiles well what was called 3,000 times. Much of a hot room's work is done once a window, 20 times a second: it would
  // run slowly for two and a half minutes. Before anything runs that will run often, for a function keeps the bound that it
  // began with; behind the loading of everything, most of which is done once.
  setFlagsFromString('--invocation-count-for-turbofan=300')
  const { port, wsPort } = await running.start()
  const { host, dataDir, tlsCertFile, workers } = config
  const page = `${tlsCertFile === null ? 'http' : 'https'}://${reachableHost(host)}:${port}/`
  log.info({ port, wsPort, host, page, ...(isSupervisor ? { workers } : config.redisUrl === null ? { dataDir } : {}), pid: process.pid }, worker === null ? 'ready' : 'worker ready')
  if (worker !== null) tell({ word: 'ready', port, wsPort })
} catch (error) {
  if (error instanceof StartFault) refuse(error)
  log.fatal({ err: error }, 'did not start')
  process.exit(1)
}

function readConfig (): Config {
  try {
    return loadConfig({ ...process.env, ...commandLine(process.argv.slice(2)) })
  } catch (error) {
    return refuse(error)
  }
}

/** `--workers N` is WORKERS=N; there is nothing else to say on the command line. */
function commandLine (words: readonly string[]): Record<string, string> {
  const [name = '', value, ...rest] = words.flatMap((word) => word.split('='))
  if (name === '') return {}
  if (name !== '--workers' || value === undefined || rest.length > 0) throw new ConfigError([`the command line takes --workers N alone (it is ${JSON.stringify(words.join(' '))})`])
  return { WORKERS: value }
}

/** What runs, and by which settings: the ones that tell one deployment from another. No secret, no address with one in it. */
function announce (): void {
  const { host, port, wsPort, dataDir, role, logDurability, roomsOnDemand, origins, trustedProxies, workers } = config
  const key = config.jwtSecret !== null ? 'JWT_SECRET' : config.jwtPublicKeyFile !== null ? 'JWT_PUBLIC_KEY_FILE' : config.jwksUrl !== null ? 'JWKS_URL' : 'none'
  log.info({ version, node: process.version, pid: process.pid, host, port, wsPort, tls: config.tlsCertFile !== null, dataDir, role, workers, key, apiKeys: config.apiKeys.length, logDurability, roomsOnDemand, origins, trustedProxies }, 'starting')
  for (const { name, meant } of misspelt(process.env)) log.warn({ name, meant }, 'this is no setting; is it misspelt?')
}

async function create (): Promise<Running> {
  try {
    if (isSupervisor) return createSupervisor({ config, log, program: import.meta.filename })
    // Loaded now, after the first word: most of the time of a start goes into it.
    const { createApp } = await import('./app.ts')
    return createApp(config, { log, version, ...(worker === null ? {} : { sharing: sharingOf(worker) }) })
  } catch (error) {
    return refuse(error)
  }
}

function sharingOf (number: number): Sharing {
  const secret = process.env[DEV_SECRET_ENV]
  return {
    sharesPorts: true,
    ownPort: config.workerPortBase === 0 ? 0 : config.workerPortBase + number,
    devSecret: secret === undefined ? null : Buffer.from(secret, 'hex'),
    numbers
  }
}

function tell (word: WorkerWord): void {
  process.send?.(word)
}

/** Foreseeable faults are told in full, and without a stack; a worker's by its supervisor, once. */
function refuse (error: unknown): never {
  if (!(error instanceof StartFault)) throw error
  if (worker === null) process.stderr.write(`uproar: ${error.message}\n`)
  else tell({ word: 'refused', reason: error.message })
  process.exit(1)
}

function onSignal (signal: string): void {
  if (stoppingSince !== null) {
    if (performance.now() - stoppingSince < ECHO_MS) return
    log.warn({ signal }, 'second signal: ending at once')
    process.exit(1)
  }
  stoppingSince = performance.now()
  log.info({ signal }, 'stopping')
  running.stop().then((late) => {
    if (late.length > 0) log.warn({ late }, 'stopped, but not cleanly')
    else log.info('stopped')
    process.exit(late.length > 0 ? 1 : 0)
  }, (error: unknown) => die(error, 'stopping'))
}

function onHangUp (): void {
  if (running.roll === undefined) return
  log.info('restarting one worker after the other')
  running.roll().catch((error: unknown) => log.error({ err: error }, 'restarting the workers'))
}

/** Turns debug lines on, or back to LOG_LEVEL, here and in every worker. */
function onDebugSignal (): void {
  log.level = log.level === 'debug' ? config.logLevel : 'debug'
  log.warn({ level: log.level }, 'the log level is changed')
  running.pass?.('SIGUSR2')
}

/** A fault that nobody caught: the state is not to be trusted any more. The log is durable; a supervisor starts us anew. */
function die (error: unknown, what: string): void {
  log.fatal({ err: error }, what)
  process.exit(1)
}
