// `npm run cluster`: the whole of it on this machine, to see and to try: Redis, Kafka where it is at hand, three instances,
// and a balancer that makes them one address. Prints that address and every line they log, and ends all of them on Ctrl-C. Settings from the
// environment go to the instances; PORT is the balancer's, INSTANCES their number, REDIS_URL and KAFKA_BROKERS name what is
// there already (KAFKA_BROKERS= for none).
//
// With `--full` every role is a process of its own, as in compose.yml: three gateways, relay, moderator, and an archiver with
// chDB, watched by Prometheus. What is not on this machine is left out, with a line. What ends is said, and not started again.

import type { ChildProcess } from 'node:child_process'
import { createHmac, randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { balancerAtHand, startBalancer, type Balancer, type Place } from './balancer.ts'
import { spawnWithUs } from './services/children.ts'
import { KafkaServer } from './services/kafka.ts'
import { freePort } from './services/ports.ts'
import { PrometheusServer } from './services/prometheus.ts'
import { RedisServer } from './services/redis.ts'
import { javaPath, kafkaPath, prometheusPath, redisPath } from './services/services.ts'

const READY_MS = 60_000
const INSTANCES_MAX = 16
const isFull = process.argv.slice(2).includes('--full')
const PROGRAM = join(import.meta.dirname, '..', 'src', 'main.ts')

/** What was started, to be ended in the reverse order. */
const ends: { readonly what: string, readonly end: () => unknown }[] = []
let ending: Promise<void> | null = null

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => { void end(0) })

try {
  await start()
} catch (error) {
  process.stderr.write(`cluster: ${(error as Error).message}\n`)
  await end(1)
}

async function start (): Promise<void> {
  const [unknown] = process.argv.slice(2).filter((word) => word !== '--full')
  if (unknown !== undefined) throw new Error(`the command line takes --full alone (it has ${JSON.stringify(unknown)})`)
  const count = whole('INSTANCES', 3, 1, INSTANCES_MAX)
  const port = whole('PORT', 8080, 1, 65_535)
  if (!await isFree(port)) throw new Error(`port ${port} on 127.0.0.1 is taken; end what listens there, or set PORT to another`)
  const secret = process.env.JWT_SECRET ?? randomBytes(32).toString('hex')
  const keys = process.env.API_KEYS ?? randomBytes(24).toString('hex')
  const [redisUrl, brokers] = await Promise.all([process.env.REDIS_URL ?? startRedis(), process.env.KAFKA_BROKERS ?? startKafka()])
  const places = await Promise.all(Array.from({ length: count }, async () => ({ port: await freePort(), wsPort: await freePort() })))
  const common = { REDIS_URL: redisUrl, KAFKA_BROKERS: brokers, JWT_SECRET: secret, API_KEYS: keys, HOST: '127.0.0.1', TRUSTED_PROXIES: process.env.TRUSTED_PROXIES ?? '127.0.0.1' }
  say(`starting ${count} instances`)
  await Promise.all(places.map((place, at) => startInstance(String(at + 1), {
    ...common, PORT: String(place.port), WS_PORT: String(place.wsPort), WS_PUBLIC_URL: `ws://127.0.0.1:${port}/ws`, ...(isFull ? { ROLE: 'gateway,api' } : {})
  })))
  const back = isFull ? await startBack(common) : []
  if (isFull) await watch([...places.map((place) => place.port), ...back.map((one) => one.port)])
  const balancer = await balance(port, places)
  say(`${count} instances behind ${balancer.kind === 'plain' ? 'a plain balancer of our own (install nginx or haproxy for a real one)' : balancer.kind}, Ctrl-C ends all`)
  say(`each also at ${places.map((place) => `http://127.0.0.1:${place.port}/`).join(' ')}`)
  for (const { role, port: own } of back) say(`${role} at http://127.0.0.1:${own}/${role === 'archiver' ? ' (search, replay and statistics of the past are there)' : ''}`)
  if (isFull) say(`how it does: http://127.0.0.1:${port}/status`)
  say(`for npx uproar: export UPROAR_URL=http://127.0.0.1:${port} UPROAR_KEY=${keys.split(',')[0]}`)
  say(`as Ben: http://127.0.0.1:${port}/#token=${token(secret, 'ben', 'Ben', [])}`)
  say(`open http://127.0.0.1:${port}/#token=${token(secret, 'ada', 'Ada', ['broadcaster'])}`)
}

async function startRedis (): Promise<string> {
  if (redisPath() === null) throw new Error('there is no redis-server on this machine: install it (Debian: apt-get install redis-server), or set REDIS_URL to one that runs')
  const redis = await RedisServer.start({ teardown: (call) => ends.push({ what: 'redis', end: call }) }, { args: ['--appendonly', 'yes'] })
  say(`redis-server listens on ${redis.port}; what it keeps is gone when it ends`)
  return redis.url
}

async function startKafka (): Promise<string> {
  if (javaPath() === null || kafkaPath() === null) {
    say('without Kafka: npm test fetches it, where there are Java and Maven')
    return ''
  }
  const kafka = await KafkaServer.start({ teardown: (call) => ends.push({ what: 'kafka', end: call }) })
  say(`Kafka listens on ${kafka.port}; what it keeps is gone when it ends`)
  return kafka.broker
}

interface Worker { readonly role: string, readonly port: number }

/** The roles at the back, each as a process of its own; those that this machine has what they take for. */
async function startBack (common: Readonly<Record<string, string>>): Promise<Worker[]> {
  const workers: { role: string, env: Record<string, string> }[] = []
  if (common.KAFKA_BROKERS === '') say('without relay: there is no Kafka')
  else workers.push({ role: 'relay', env: {} })
  workers.push({ role: 'moderator', env: { SCORERS: process.env.SCORERS ?? 'rules' } })
  if (hasChdb()) workers.push({ role: 'archiver', env: { ARCHIVE: 'on', DATA_DIR: folder('archive') } })
  else say('without archiver: the optional package chdb is not installed')
  say(`starting ${workers.map(({ role }) => role).join(', ')}`)
  return Promise.all(workers.map(async ({ role, env }) => {
    const port = await freePort()
    await startInstance(role, { ...common, ...env, ROLE: `${role},api`, PORT: String(port), WS_PORT: '0' })
    return { role, port }
  }))
}

function hasChdb (): boolean {
  try {
    return createRequire(import.meta.url).resolve('chdb') !== ''
  } catch {
    return false
  }
}

/** A folder that goes with the cluster. */
function folder (name: string): string {
  const made = mkdtempSync(join(tmpdir(), `uproar-${name}-`))
  ends.push({ what: 'folder', end: () => rmSync(made, { recursive: true, force: true }) })
  return made
}

/** Prometheus with the rules of this project, asking every process. */
async function watch (ports: readonly number[]): Promise<void> {
  if (prometheusPath() === null) return say('without Prometheus: install it (Debian: apt-get install prometheus)')
  const own = join(import.meta.dirname, 'prometheus')
  const config = readFileSync(join(own, 'prometheus.yml'), 'utf8').replace("['127.0.0.1:8080']", JSON.stringify(ports.map((port) => `127.0.0.1:${port}`))).replace('- rules/*.yml', `- ${join(own, 'rules/*.yml')}`)
  const prometheus = await PrometheusServer.start({ teardown: (call) => ends.push({ what: 'prometheus', end: call }) }, config)
  say(`Prometheus at http://127.0.0.1:${prometheus.port}/ (its alerts: /alerts)`)
}

async function startInstance (name: string, env: Record<string, string>): Promise<void> {
  // A group of its own: Ctrl-C reaches it by us alone, and once. Where the system can, it ends when we are killed.
  const child = spawnWithUs(process.execPath, [PROGRAM], { env: { ...process.env, ...env }, detached: true }, 'TERM')
  const exit = new Promise<void>((resolve) => child.once('close', () => resolve()))
  ends.push({ what: `instance ${name}`, end: () => stopped(child, exit) })
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`instance ${name} was not ready in ${READY_MS} ms; its lines above say why`)), READY_MS)
    const onLine = (line: string): void => {
      process.stdout.write(`[${name}] ${line}\n`)
      if (line.includes('"msg":"ready"')) resolve()
    }
    for (const stream of [child.stdout, child.stderr]) createInterface(stream).on('line', onLine)
    void exit.then(() => {
      clearTimeout(timer)
      reject(new Error(`instance ${name} ended before it was ready; its lines above say why`))
      if (ending === null) say(`instance ${name} ended; the others go on`)
    })
  })
}

async function stopped (child: ChildProcess, exit: Promise<void>): Promise<void> {
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), 25_000)
  await exit
  clearTimeout(timer)
}

async function balance (port: number, places: readonly Place[]): Promise<Balancer> {
  const balancer = await startBalancer(balancerAtHand(), port, places)
  ends.push({ what: 'balancer', end: () => balancer.stop() })
  return balancer
}

function end (status: number): Promise<void> {
  if (ending !== null) return ending
  ending = (async () => {
    if (ends.length > 0) say('ending all')
    // The balancer goes with the instances that it stands before; Redis and Kafka only when they have let go.
    const isStore = ({ what }: { what: string }): boolean => ['redis', 'kafka', 'folder'].includes(what)
    await Promise.allSettled(ends.filter((part) => !isStore(part)).map((part) => part.end()))
    await Promise.allSettled(ends.filter(isStore).map((part) => part.end()))
    process.exit(status)
  })()
  return ending
}

/** A token for trying things out, good for a day. */
function token (secret: string, id: string, name: string, roles: readonly string[]): string {
  const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const now = Math.floor(Date.now() / 1000)
  const signed = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ sub: id, name, roles, iat: now, exp: now + 86_400 })}`
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`
}

function whole (name: string, otherwise: number, min: number, max: number): number {
  const text = process.env[name]?.trim() ?? ''
  if (text === '') return otherwise
  const value = /^\d{1,6}$/.test(text) ? Number(text) : NaN
  if (!(value >= min && value <= max)) throw new Error(`${name} must be a whole number from ${min} to ${max} (it is ${JSON.stringify(text)})`)
  return value
}

function isFree (port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => { socket.destroy(); resolve(false) }).once('error', () => resolve(true))
  })
}

function say (line: string): void {
  process.stdout.write(`cluster: ${line}\n`)
}
