// The program: configuration, the app, signals. Says `ready` with both ports once everything serves.

import { pino } from 'pino'
import { createApp, type App } from './app.ts'
import { ConfigError, loadConfig, type Config } from './base/config.ts'

const config = readConfig()
const log = pino({
  level: config.logLevel,
  base: null,
  timestamp: pino.stdTimeFunctions.isoTime,
  redact: ['req.headers.authorization', 'headers.authorization', 'token']
}, pino.destination({ dest: 1, sync: true }))

const app = create()
/** Under npm one Ctrl-C arrives twice, from the terminal and from npm: a repeat within this time is that same one. */
const ECHO_MS = 500
let stoppingSince: number | null = null
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => onSignal(signal))
process.on('uncaughtException', (error) => die(error, 'an uncaught exception'))
process.on('unhandledRejection', (error) => die(error, 'an unhandled rejection'))

try {
  const { port, wsPort } = await app.start()
  log.info({ port, wsPort, host: config.host, page: `${config.tlsCertFile === null ? 'http' : 'https'}://${config.host}:${port}/`, dataDir: config.dataDir, pid: process.pid }, 'ready')
} catch (error) {
  log.fatal({ err: error }, 'did not start')
  process.exit(1)
}

function readConfig (): Config {
  try {
    return loadConfig()
  } catch (error) {
    return refuse(error)
  }
}

function create (): App {
  try {
    return createApp(config, { log })
  } catch (error) {
    return refuse(error)
  }
}

/** Faults of the configuration are told in full, and without a stack. */
function refuse (error: unknown): never {
  if (!(error instanceof ConfigError)) throw error
  process.stderr.write(`uproar: ${error.message}\n`)
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
  app.stop().then((late) => {
    if (late.length > 0) log.warn({ late }, 'stopped, but not cleanly')
    else log.info('stopped')
    process.exit(late.length > 0 ? 1 : 0)
  }, (error: unknown) => die(error, 'stopping'))
}

/** A fault that nobody caught: the state is not to be trusted any more. The log is durable; a supervisor starts us anew. */
function die (error: unknown, what: string): void {
  log.fatal({ err: error }, what)
  process.exit(1)
}
