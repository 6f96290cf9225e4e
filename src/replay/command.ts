// The command line of the replay: arguments in, progress on stderr, the table on stdout, an exit status.
// 0: whatever was accepted arrived once, in order. 1: not so, or the server could not be reached. 2: bad arguments.

import { statSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { isRoom } from '../../proto/values.ts'
import { readLog } from './csv.ts'
import { replay } from './replay.ts'
import { isWhole, progressLine, tableOf, type Progress } from './report.ts'
import { devTokens, signedTokens, type TokenSource } from './tokens.ts'

export const USAGE = `usage: npm run replay -- FILE.csv --room NAME [options]

FILE.csv has a header and the columns offset_ms, user, text. Its lines are sent through real sockets, as its authors
and at its own rhythm, while a viewer that joined first checks that all accepted ones arrive once, in order.

  --room NAME          room to speak in (1 to 64 of A-Z a-z 0-9 _ . : -)
  --speed N            times the log's rhythm, 0.01 to 10000; or max (default 10)
  --authors N          map the log's users onto N authors (default: each as their own)
  --connections N      connections open at once, 1 to 15000 (default 500)
  --limit N            send the first N lines only
  --url URL            WebSocket address (default ws://127.0.0.1:9001/ws)
  --http URL           HTTP address, for POST /v1/dev/token (default http://127.0.0.1:8080)
  --secret S           sign tokens with this secret instead (or JWT_SECRET in the environment)
  --run ID             names the run: repeated within ten minutes, its lines are recognised and not said twice
  --json               end with one line of JSON too
  --help               say this and nothing else

A server that is not at its default ports needs both --url and --http, unless tokens are signed with a secret. For a
certificate that this machine does not trust, set NODE_EXTRA_CA_CERTS to its file.`

export interface Command {
  readonly file: string
  readonly room: string
  readonly speed: number
  readonly authors: number | null
  readonly connections: number
  readonly limit: number | null
  readonly url: string
  readonly http: string
  readonly secret: string | null
  readonly isSecretOfEnvironment: boolean
  readonly run: string | undefined
  readonly json: boolean
}

/** The command, or every fault of the arguments. */
export function parseCommand (argv: readonly string[], env: Readonly<Record<string, string | undefined>>): Command | string[] {
  let parsed
  try {
    const text = { type: 'string' } as const
    parsed = parseArgs({ args: [...argv], allowPositionals: true, options: { room: text, speed: text, authors: text, connections: text, limit: text, url: text, http: text, secret: text, run: text, json: { type: 'boolean' } } })
  } catch (error) {
    return [(error as Error).message]
  }
  const { values, positionals } = parsed
  const faults: string[] = []
  const whole = (name: 'authors' | 'connections' | 'limit', max: number): number | null => {
    const value = values[name]
    if (value === undefined) return null
    if (/^\d{1,9}$/.test(value) && Number(value) >= 1 && Number(value) <= max) return Number(value)
    faults.push(`--${name} must be a whole number from 1 to ${max}`)
    return null
  }
  const address = (name: 'url' | 'http', fallback: string, protocols: RegExp): string => {
    const value = values[name] ?? fallback
    if (!URL.canParse(value) || !protocols.test(value)) faults.push(`--${name} must be an address such as ${fallback}`)
    return value
  }
  const speed = values.speed === 'max' ? Infinity : Number(values.speed ?? 10)
  if (!(speed >= 0.01 && (speed <= 10_000 || speed === Infinity))) faults.push('--speed must be a number from 0.01 to 10000, or max')
  const [file = '', ...others] = positionals
  if (file === '') faults.push('FILE.csv is missing')
  else if (!isFile(file)) faults.push(`${file} is not a file that can be read`)
  if (others.length > 0) faults.push(`one file only, not also ${others.join(' ')}`)
  if (!isRoom(values.room)) faults.push(values.room === undefined ? '--room is missing' : '--room must have 1 to 64 of A-Z a-z 0-9 _ . : -')
  if (values.run !== undefined && !/^[\w.-]{1,40}$/.test(values.run)) faults.push('--run must have 1 to 40 letters, digits, dots or dashes')
  const command: Command = {
    file, room: values.room ?? '', speed, authors: whole('authors', 1_000_000), connections: whole('connections', 15_000) ?? 500, limit: whole('limit', 100_000_000),
    url: address('url', 'ws://127.0.0.1:9001/ws', /^wss?:/), http: address('http', 'http://127.0.0.1:8080', /^https?:/),
    secret: values.secret ?? (env.JWT_SECRET || null), isSecretOfEnvironment: values.secret === undefined && Boolean(env.JWT_SECRET), run: values.run, json: values.json ?? false
  }
  return faults.length > 0 ? faults : command
}

function isFile (path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() === true
}

/** Runs the command; resolves with the exit status. */
export async function runCommand (argv: readonly string[], env: Readonly<Record<string, string | undefined>>, out: Output): Promise<number> {
  if (argv.includes('--help') || argv.includes('-h')) {
    out.print(`${USAGE}\n`)
    return 0
  }
  const command = parseCommand(argv, env)
  if (Array.isArray(command)) {
    out.error(`${command.map((fault) => `replay: ${fault}`).join('\n')}\n\n${USAGE}\n`)
    return 2
  }
  if (command.isSecretOfEnvironment) out.error('replay: tokens are signed with JWT_SECRET of the environment\n')
  const tokens: TokenSource = command.secret === null ? devTokens(command.http) : signedTokens(command.secret)
  const aborted = new AbortController()
  const stop = (): void => aborted.abort()
  process.once('SIGINT', stop)
  const show = progressOn(out)
  try {
    const lastOffsetMs = command.limit === null ? await lengthOf(command.file) : null
    const report = await replay({ ...command, lines: readLog(command.file), tokens, lastOffsetMs, onProgress: show, signal: aborted.signal })
    if (out.isTty) out.error('\n')
    out.print(`${tableOf(report)}\n`)
    if (command.json) out.print(`${JSON.stringify(report)}\n`)
    return isWhole(report) && report.accepted > 0 ? 0 : 1
  } catch (error) {
    out.error(`${out.isTty ? '\n' : ''}replay: ${(error as Error).message}\n`)
    return 1
  } finally {
    process.off('SIGINT', stop)
  }
}

/** Where the words go; a terminal gets one line that changes, anything else a line every five seconds. */
export interface Output { readonly isTty: boolean, print (text: string): void, error (text: string): void }

const QUIET_S = 5

function progressOn (out: Output): (progress: Progress) => void {
  let shownS = -QUIET_S
  return (progress) => {
    if (out.isTty) return out.error(`\r\x1b[2K${progressLine(progress)}`)
    if (progress.seconds - shownS < QUIET_S) return
    shownS = progress.seconds
    out.error(`${progressLine(progress)}\n`)
  }
}

/** Reads the log once, which finds what is malformed before anything is said. */
async function lengthOf (file: string): Promise<number> {
  let last = 0
  for await (const line of readLog(file)) last = Math.max(last, line.offsetMs)
  return last
}
