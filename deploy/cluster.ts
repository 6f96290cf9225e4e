// `npm run cluster`: the whole of it on this machine, to see and to try: Redis, Kafka where it is at hand, three instances,
// and a balancer that makes them one address. Prints that address and every line they log, and ends all of them on Ctrl-C. Settings from the
// environment go to the instances; PORT is the balancer's, INSTANCES their number, REDIS_URL and KAFKA_BROKERS name what is
// there already (KAFKA_BROKERS= for none).

import { spawn, type ChildProcess } from 'node:child_process'
import { createHmac, randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { balancerAtHand, startBalancer, type Balancer, type Place } from './balancer.ts'
import { KafkaServer } from './services/kafka.ts'
import { freePort } from './services/ports.ts'
import { RedisServer } from './services/redis.ts'
import { javaPath, kafkaPath, redisPath } from './services/services.ts'

const READY_MS = 30_000
const INSTANCES_MAX = 16
const SETPRIV = '/usr/bin/setpriv'
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
  const count = whole('INSTANCES', 3, 1, INSTANCES_MAX)
  const port = whole('PORT', 8080, 1, 65_535)
  if (!await isFree(port)) throw new Error(`port ${port} on 127.0.0.1 is taken; end what listens there, or set PORT to another`)
  const secret = process.env.JWT_SECRET ?? randomBytes(32).toString('hex')
  const [redisUrl, brokers] = await Promise.all([process.env.REDIS_URL ?? startRedis(), process.env.KAFKA_BROKERS ?? startKafka()])
  const places = await Promise.all(Array.from({ length: count }, async () => ({ port: await freePort(), wsPort: await freePort() })))
  await Promise.all(places.map((place, at) => startInstance(at + 1, {
    REDIS_URL: redisUrl, KAFKA_BROKERS: brokers, JWT_SECRET: secret, HOST: '127.0.0.1', PORT: String(place.port), WS_PORT: String(place.wsPort),
    WS_PUBLIC_URL: `ws://127.0.0.1:${port}/ws`, TRUSTED_PROXIES: process.env.TRUSTED_PROXIES ?? '127.0.0.1'
  })))
  const balancer = await balance(port, places)
  say(`${count} instances behind ${balancer.kind === 'plain' ? 'a plain balancer of our own (install nginx or haproxy for a real one)' : balancer.kind}, Ctrl-C ends all`)
  say(`each also at ${places.map((place) => `http://127.0.0.1:${place.port}/`).join(' ')}`)
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

async function startInstance (number: number, env: Record<string, string>): Promise<void> {
  // A group of its own: Ctrl-C reaches it by us alone, and once. Where the system can, it ends when we are killed.
  const dying = existsSync(SETPRIV) ? [SETPRIV, '--pdeathsig', 'TERM', '--'] : []
  const [command, ...args] = [...dying, process.execPath, PROGRAM] as string[] as [string, ...string[]]
  const child = spawn(command, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'], detached: true })
  const exit = new Promise<void>((resolve) => child.once('close', () => resolve()))
  ends.push({ what: `instance ${number}`, end: () => stopped(child, exit) })
  process.once('exit', () => child.kill('SIGKILL'))
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`instance ${number} was not ready in ${READY_MS} ms; its lines above say why`)), READY_MS)
    const onLine = (line: string): void => {
      process.stdout.write(`[${number}] ${line}\n`)
      if (line.includes('"msg":"ready"')) resolve()
    }
    for (const stream of [child.stdout, child.stderr]) createInterface(stream).on('line', onLine)
    void exit.then(() => {
      clearTimeout(timer)
      reject(new Error(`instance ${number} ended before it was ready; its lines above say why`))
      if (ending === null) say(`instance ${number} ended; the others go on`)
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
    const isStore = ({ what }: { what: string }): boolean => what === 'redis' || what === 'kafka'
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
