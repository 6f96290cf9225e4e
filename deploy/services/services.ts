// What the tests need beside npm packages, as one table: how each service is found and how it is installed. `npm test`
// asks for all of it first; tests ask where a thing is, and never install. Every call has a deadline.

import { spawn, spawnSync } from 'node:child_process'
import { accessSync, constants, statSync } from 'node:fs'
import { delimiter, join } from 'node:path'

export interface Service {
  readonly name: string
  /** What cannot be tested without it. */
  readonly neededBy: string
  /** Where it is, or null. */
  find (): string | null
  /** Debian packages that bring it. */
  readonly packages: readonly string[]
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

/** Sees to every service of the table, installing what is missing. Resolves with those it could not get. */
export async function ensure (say: (line: string) => void): Promise<Service[]> {
  const missing: Service[] = []
  for (const service of SERVICES) {
    const place = service.find() ?? await install(service, say)
    if (place === null) missing.push(service)
    else say(`${service.name}: ${place}`)
  }
  return missing
}

/** Whether a missing service is a failure rather than a loud line. */
export function isCi (): boolean {
  return ['true', '1'].includes(process.env.CI ?? '')
}

async function install (service: Service, say: (line: string) => void): Promise<string | null> {
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
  return service.find()
}

/** What makes apt-get run with the rights it needs; null where there is no such way. */
function aptPrefix (): readonly string[] | null {
  if (spawnSync('apt-get', ['--version'], { stdio: 'ignore', timeout: 10_000 }).status !== 0) return null
  if (process.getuid?.() === 0) return []
  return spawnSync('sudo', ['-n', 'true'], { stdio: 'ignore', timeout: 10_000 }).status === 0 ? ['sudo', '-n'] : null
}

/** Runs a command with a deadline; a line of progress every 15 s, its last words when it fails. */
function run (command: readonly string[], timeoutS: number, say: (line: string) => void): Promise<boolean> {
  const [program, ...args] = command as [string, ...string[]]
  const label = args.filter((arg) => ['update', 'install'].includes(arg)).join('') || program
  const start = performance.now()
  const seconds = (): number => Math.round((performance.now() - start) / 1000)
  return new Promise((resolve) => {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], timeout: timeoutS * 1000, killSignal: 'SIGKILL' })
    let words = ''
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => { words = (words + chunk.toString()).slice(-2000) })
    const ticker = setInterval(() => say(`apt-get ${label}: ${seconds()} s of at most ${timeoutS} s`), 15_000)
    const end = (isDone: boolean, why: string): void => {
      clearInterval(ticker)
      say(isDone ? `apt-get ${label}: done in ${seconds()} s` : `apt-get ${label}: failed (${why})\n${words.trimEnd()}`)
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
