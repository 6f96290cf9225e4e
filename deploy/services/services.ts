// What the tests need beside npm packages, as one table: how each service is found and how it is installed. `npm test`
// asks for all of it first; tests ask where a thing is, and never install. Every call has a deadline.

import { spawn, spawnSync } from 'node:child_process'
import { accessSync, constants, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs'
import { homedir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'

export interface Service {
  readonly name: string
  /** What cannot be tested without it. */
  readonly neededBy: string
  /** Where it is, or null. */
  find (): string | null
  /** Debian packages that bring it. */
  readonly packages: readonly string[]
  /** The package is unpacked into the cache instead of being installed: it would start a service of the machine's. */
  readonly isUnpacked?: true
  /** What is fetched once these are there, for what Debian does not have. False when it failed. */
  fetch? (say: (line: string) => void): Promise<boolean>
  /** What a person does where we cannot install it. */
  readonly remedy: string
}

export const SERVICES: readonly Service[] = [
  {
    name: 'Chromium',
    neededBy: 'the page tests',
    find: chromiumPath,
    packages: ['chromium', 'fonts-liberation'],
    remedy: 'install Chromium or Chrome, or set CHROMIUM_PATH to its binary'
  },
  {
    name: 'Redis',
    neededBy: 'the tests of many instances',
    find: redisPath,
    packages: ['redis-server', 'redis-tools'],
    remedy: 'install redis-server 7 or later with redis-cli, or set REDIS_SERVER_PATH to its binary'
  },
  {
    name: 'Kafka',
    neededBy: 'the tests of the feed to Kafka',
    find: () => javaPath() === null ? null : kafkaPath(),
    packages: ['default-jre-headless', 'maven'],
    fetch: fetchKafka,
    remedy: 'install Java 17 or later and Maven, which fetches the jars of deploy/services/kafka/pom.xml, or set KAFKA_JARS_PATH to a folder that has them'
  },
  {
    name: 'Prometheus',
    neededBy: 'the tests of dashboards and alerts',
    find: prometheusPath,
    packages: ['prometheus'],
    isUnpacked: true,
    remedy: 'install prometheus 2.40 or later with promtool, or set PROMETHEUS_PATH to its binary'
  },
  {
    name: 'nginx',
    neededBy: 'the tests of balancing by nginx',
    find: () => balancerPath('nginx'),
    packages: ['nginx-light'],
    remedy: 'install nginx (Debian: nginx-light)'
  },
  {
    name: 'HAProxy',
    neededBy: 'the tests of balancing by HAProxy',
    find: () => balancerPath('haproxy'),
    packages: ['haproxy'],
    remedy: 'install haproxy'
  }
]

/** The browser that page tests drive: CHROMIUM_PATH, else the first known name on the PATH, else null. */
export function chromiumPath (): string | null {
  const given = process.env.CHROMIUM_PATH?.trim()
  if (given !== undefined && given !== '') return isExecutable(given) ? given : null
  const folders = [...(process.env.PATH ?? '').split(delimiter).filter((folder) => folder !== ''), '/usr/bin']
  const names = ['chromium', 'chromium-browser', 'google-chrome-stable', 'google-chrome']
  const places = [...names.flatMap((name) => folders.map((folder) => join(folder, name))), '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome']
  return places.find(isExecutable) ?? null
}

/**
 * For the `skip` option of page tests: false when there is a browser, else the sentence to skip with. In CI there is no
 * skipping: it throws.
 */
export function withoutChromium (): string | false {
  if (chromiumPath() !== null) return false
  const reason = 'NO CHROMIUM: the page is NOT tested; install Chromium or set CHROMIUM_PATH'
  if (isCi()) throw new Error(reason)
  return reason
}

/** The redis-server that tests start: REDIS_SERVER_PATH, else the one on the PATH, else null. */
export function redisPath (): string | null {
  const given = process.env.REDIS_SERVER_PATH?.trim()
  if (given !== undefined && given !== '') return isExecutable(given) ? given : null
  const folders = [...(process.env.PATH ?? '').split(delimiter).filter((folder) => folder !== ''), '/usr/bin']
  return folders.map((folder) => join(folder, 'redis-server')).find(isExecutable) ?? null
}

/** For the `skip` option of tests on Redis, as withoutChromium is for the page's. */
export function withoutRedis (): string | false {
  if (redisPath() !== null) return false
  const reason = 'NO REDIS: what runs on it is NOT tested; install redis-server 7 or set REDIS_SERVER_PATH'
  if (isCi()) throw new Error(reason)
  return reason
}

/** The Java that runs the broker: in JAVA_HOME, else on the PATH, else null. */
export function javaPath (): string | null {
  const home = process.env.JAVA_HOME?.trim() ?? ''
  const folders = [...(home === '' ? [] : [join(home, 'bin')]), ...(process.env.PATH ?? '').split(delimiter).filter((folder) => folder !== ''), '/usr/bin']
  return folders.map((folder) => join(folder, 'java')).find(isExecutable) ?? null
}

/** The folder of the broker's jars: KAFKA_JARS_PATH, else the one in the cache that was fetched whole, else null. */
export function kafkaPath (): string | null {
  const given = process.env.KAFKA_JARS_PATH?.trim() ?? ''
  const folder = given === '' ? kafkaCache() : given
  return existsSync(folder) ? folder : null
}

/** For the `skip` option of tests on Kafka, as withoutChromium is for the page's. */
export function withoutKafka (): string | false {
  if (javaPath() !== null && kafkaPath() !== null) return false
  const reason = 'NO KAFKA: what runs on it is NOT tested; install Java 17 and Maven and run npm test, or set KAFKA_JARS_PATH'
  if (isCi()) throw new Error(reason)
  return reason
}

/** Where prometheus is, with promtool beside it: PROMETHEUS_PATH, else on the PATH, else unpacked in the cache, else null. */
export function prometheusPath (): string | null {
  const given = process.env.PROMETHEUS_PATH?.trim() ?? ''
  if (given !== '') return isExecutable(given) ? given : null
  const folders = [...(process.env.PATH ?? '').split(delimiter).filter((folder) => folder !== ''), '/usr/bin', join(cache('prometheus'), 'usr', 'bin')]
  return folders.map((folder) => join(folder, 'prometheus')).find((path) => isExecutable(path) && isExecutable(join(dirname(path), 'promtool'))) ?? null
}

/** As withoutChromium, for the tests of dashboards and alerts. */
export function withoutPrometheus (): string | false {
  if (prometheusPath() !== null) return false
  const reason = 'NO PROMETHEUS: dashboards and alerts are NOT tested; install prometheus or set PROMETHEUS_PATH'
  if (isCi()) throw new Error(reason)
  return reason
}

/** Where nginx or haproxy is, or null. */
export function balancerPath (kind: 'nginx' | 'haproxy'): string | null {
  const folders = [...(process.env.PATH ?? '').split(delimiter).filter((folder) => folder !== ''), '/usr/sbin', '/usr/local/sbin']
  return folders.map((folder) => join(folder, kind)).find(isExecutable) ?? null
}

/** As withoutChromium, for the tests of balancing. */
export function withoutBalancer (kind: 'nginx' | 'haproxy'): string | false {
  if (balancerPath(kind) !== null) return false
  const reason = `NO ${kind.toUpperCase()}: balancing by it is NOT tested; install ${kind}`
  if (isCi()) throw new Error(reason)
  return reason
}

const POM = join(import.meta.dirname, 'kafka', 'pom.xml')

/** Per version, so that a new pin fetches anew. */
function kafkaCache (): string {
  const version = /<kafka\.version>(.*)<\/kafka\.version>/.exec(readFileSync(POM, 'utf8'))?.[1] as string
  return cache(`kafka-${version}`)
}

function cache (name: string): string {
  const caches = process.env.XDG_CACHE_HOME?.trim() ?? ''
  return join(caches === '' ? join(homedir(), '.cache') : caches, 'uproar', name)
}

/** Some 45 MB from Maven's repository; the folder gets its name only once all of it is there. */
async function fetchKafka (say: (line: string) => void): Promise<boolean> {
  const folder = kafkaCache()
  const part = `${folder}.part`
  rmSync(part, { recursive: true, force: true })
  mkdirSync(dirname(folder), { recursive: true })
  const isDone = await run(['mvn', '-B', '-q', '-f', POM, 'dependency:copy-dependencies', `-DoutputDirectory=${part}`, '-DincludeScope=runtime'], 600, say)
  if (!isDone || !existsSync(part)) return false
  rmSync(folder, { recursive: true, force: true })
  renameSync(part, folder)
  return true
}

/** Sees to every service of the table, installing what is missing. Resolves with those it could not get. */
export async function ensure (say: (line: string) => void): Promise<Service[]> {
  const missing: Service[] = []
  for (const service of SERVICES) {
    const place = service.find() ?? await fetched(service, say) ?? await install(service, say)
    if (place === null) missing.push(service)
    else say(`${service.name}: ${place}`)
  }
  return missing
}

/** Whether a missing service is a failure rather than a loud line. */
export function isCi (): boolean {
  return ['true', '1'].includes(process.env.CI ?? '')
}

/** What only has to be fetched, where its packages are there already. */
async function fetched (service: Service, say: (line: string) => void): Promise<string | null> {
  const { fetch } = service
  if (fetch === undefined || !isOnPath('mvn') || javaPath() === null) return null
  say(`${service.name}: not found; fetching it`)
  await fetch(say)
  return service.find()
}

function isOnPath (program: string): boolean {
  return (process.env.PATH ?? '').split(delimiter).some((folder) => folder !== '' && isExecutable(join(folder, program)))
}

/** Fetches the packages with apt-get, which needs no rights, and lays their files into the cache. */
async function unpack (service: Service, say: (line: string) => void): Promise<string | null> {
  const folder = cache(service.name.toLowerCase())
  const part = `${folder}.part`
  rmSync(part, { recursive: true, force: true })
  mkdirSync(part, { recursive: true })
  say(`${service.name}: not found; unpacking ${service.packages.join(', ')}`)
  const fetch = (): Promise<boolean> => run(['apt-get', '-q', 'download', ...service.packages], 300, say, part)
  const prefix = aptPrefix()
  // A list that is older than the archive names files that are gone.
  const isFetched = isOnPath('apt-get') && (await fetch() || (prefix !== null && await run([...prefix, 'apt-get', '-q', 'update'], 180, say) && await fetch()))
  if (!isFetched) return null
  for (const name of readdirSync(part).filter((file) => file.endsWith('.deb'))) {
    if (!await run(['dpkg-deb', '-x', join(part, name), part], 60, say)) return null
    rmSync(join(part, name))
  }
  rmSync(folder, { recursive: true, force: true })
  renameSync(part, folder)
  return service.find()
}

async function install (service: Service, say: (line: string) => void): Promise<string | null> {
  if (service.isUnpacked === true) return unpack(service, say)
  const prefix = aptPrefix()
  if (prefix === null) {
    say(`${service.name}: not found, and not installed: that takes apt-get, and root or a sudo that asks nothing`)
    return null
  }
  say(`${service.name}: not found; installing ${service.packages.join(', ')} with apt-get`)
  const apt = [...prefix, 'env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', '-q', '-y', '-o', 'DPkg::Lock::Timeout=120']
  // A failed update is not the end: the lists at hand may do.
  if (!await run([...apt, 'update'], 180, say)) say('apt-get update failed; trying with the package lists at hand')
  await run([...apt, 'install', '--no-install-recommends', ...service.packages], 900, say)
  return service.find() ?? await fetched(service, say)
}

/** What makes apt-get run with the rights it needs; null where there is no such way. */
function aptPrefix (): readonly string[] | null {
  if (spawnSync('apt-get', ['--version'], { stdio: 'ignore', timeout: 10_000 }).status !== 0) return null
  if (process.getuid?.() === 0) return []
  return spawnSync('sudo', ['-n', 'true'], { stdio: 'ignore', timeout: 10_000 }).status === 0 ? ['sudo', '-n'] : null
}

/** Runs a command with a deadline; a line of progress every 15 s, its last words when it fails. */
function run (command: readonly string[], timeoutS: number, say: (line: string) => void, cwd?: string): Promise<boolean> {
  const [program, ...args] = command as [string, ...string[]]
  const label = args.includes('apt-get') || program === 'apt-get' ? `apt-get ${args.filter((arg) => ['update', 'install', 'download'].includes(arg)).join('')}` : program
  const start = performance.now()
  const seconds = (): number => Math.round((performance.now() - start) / 1000)
  return new Promise((resolve) => {
    const child = spawn(program, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'], timeout: timeoutS * 1000, killSignal: 'SIGKILL' })
    let words = ''
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => { words = (words + chunk.toString()).slice(-2000) })
    const ticker = setInterval(() => say(`${label}: ${seconds()} s of at most ${timeoutS} s`), 15_000)
    const end = (isDone: boolean, why: string): void => {
      clearInterval(ticker)
      say(isDone ? `${label}: done in ${seconds()} s` : `${label}: failed (${why})\n${words.trimEnd()}`)
      resolve(isDone)
    }
    child.once('error', (error) => end(false, error.message))
    child.once('close', (code, signal) => end(code === 0, signal ?? `exit ${code}`))
  })
}

function isExecutable (path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return statSync(path).isFile()
  } catch {
    return false
  }
}
