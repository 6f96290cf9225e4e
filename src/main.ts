// The program: configuration, the app, signals. Says `starting` at once, and `ready` with both ports once everything
// serves; a foreseeable reason not to start is one plain sentence on stderr.

import { readFileSync } from 'node:fs'
import { pino } from 'pino'
import type { App } from './app.ts'
import { loadConfig, type Config } from './base/config.ts'
import { StartFault } from './base/errors.ts'
import { reachableHost } from './base/peers.ts'
import { misspelt } from './base/spelling.ts'

const config = readConfig()
const log = pino({
  level: config.logLevel,
  base: null,
  timestamp: pino.stdTimeFunctions.isoTime,
  redact: ['req.headers.authorization', 'headers.authorization', 'token']
}, pino.destination({ dest: 1, sync: true }))

announce()
const app = await create()
/** Under npm one Ctrl-C arrives twice, from the terminal and from npm: a repeat within this time is that same one. */
const ECHO_MS = 500
let stoppingSince: number | null = null
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => onSignal(signal))
// A file that has reached the limit of this process: the write fails and says so, which is enough.
process.on('SIGXFSZ', () => {})
process.on('uncaughtException', (error) => die(error, 'an uncaught exception'))
process.on('unhandledRejection', (error) => die(error, 'an unhandled rejection'))

try {
  const { port, wsPort } = await app.start()
  log.info({ port, wsPort, host: config.host, page: `${config.tlsCertFile === null ? 'http' : 'https'}://${reachableHost(config.host)}:${port}/`, dataDir: config.dataDir, pid: process.pid }, 'ready')
} catch (error) {
  if (error instanceof StartFault) refuse(error)
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

/** What runs, and by which settings: the ones that tell one deployment from another. No secret, no address with one in it. */
function announce (): void {
  const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }
  const { host, port, wsPort, dataDir, role, logDurability, roomsOnDemand, origins, trustedProxies } = config
  const key = config.jwtSecret !== null ? 'JWT_SECRET' : config.jwtPublicKeyFile !== null ? 'JWT_PUBLIC_KEY_FILE' : config.jwksUrl !== null ? 'JWKS_URL' : 'none'
  log.info({ version, node: process.version, pid: process.pid, host, port, wsPort, tls: config.tlsCertFile !== null, dataDir, role, key, apiKeys: config.apiKeys.length, logDurability, roomsOnDemand, origins, trustedProxies }, 'starting')
  for (const { name, meant } of misspelt(process.env)) log.warn({ name, meant }, 'this is no setting; is it misspelt?')
}

async function create (): Promise<App> {
  try {
    // Loaded now, after the first word: most of the time of a start goes into it.
    const { createApp } = await import('./app.ts')
    return createApp(config, { log })
  } catch (error) {
    return refuse(error)
  }
}

/** Foreseeable faults are told in full, and without a stack. */
function refuse (error: unknown): never {
  if (!(error instanceof StartFault)) throw error
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
