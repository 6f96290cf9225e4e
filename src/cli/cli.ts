// The operator's command line: a word, its options, and what comes of it. Each word is a row of COMMANDS with the help that
// teaches it; what it does is in a file by its noun. It asks a running server by REST with a server key, and knows nothing
// that REST does not say; only `doctor` and `token` look at this machine and its settings.
// 0: done. 1: it could not be done, or something is wrong. 2: bad arguments.

import { parseArgs } from 'node:util'
import type { Output } from '../replay/command.ts'
import { runCommand } from '../replay/command.ts'
import { listConnections, kick } from './connections.ts'
import { doctor } from './doctor.ts'
import { drain, listInstances } from './instances.ts'
import { listRooms } from './rooms.ts'
import { CliFault, connectServer, type ServerLink } from './server.ts'
import { showStatus } from './status.ts'
import { mintToken } from './token.ts'

export type Env = Readonly<Record<string, string | undefined>>

/** What a command is given. */
export interface Call {
  readonly words: readonly string[]
  /** Options by name: text, several texts, or true. */
  readonly options: Readonly<Record<string, string | boolean | readonly string[] | undefined>>
  readonly env: Env
  readonly out: Output
  /** The server that is asked; throws CliFault where there is no key. */
  server (): ServerLink
}

type OptionType = 'text' | 'list' | 'flag'

interface Command {
  readonly summary: string
  /** Behind the word. */
  readonly usage: string
  readonly options: Readonly<Record<string, { readonly type: OptionType, readonly help: string }>>
  readonly more: string
  /** Resolves with the exit status. */
  run (call: Call): Promise<number>
}

const text = (help: string): { type: OptionType, help: string } => ({ type: 'text', help })
const flag = (help: string): { type: OptionType, help: string } => ({ type: 'flag', help })
const LIMIT = text('how many at most')
const JSON_FLAG = flag('answer with JSON, for programs')
const SERVER = {
  url: text('address of the server (or UPROAR_URL; default http://127.0.0.1:8080)'),
  key: text('server key (better UPROAR_KEY or API_KEYS in the environment: other users see arguments)'),
  json: JSON_FLAG
}

export const COMMANDS: Readonly<Record<string, Command>> = {
  doctor: {
    summary: 'looks at settings, engines and this machine, and says what to do',
    usage: '', options: { pid: text('look at the limits of this process instead of one\'s own'), json: JSON_FLAG },
    more: 'Run it where the server runs, with its environment. Each line is ok, warn or fail; a fail makes the exit status 1.\nIt changes nothing, and asks the engines only for what they say of themselves.',
    run: doctor
  },
  status: {
    summary: 'how a running server does: instances, viewers, delivery, lag',
    usage: '', options: SERVER,
    more: 'The same as the page at /status. The exit status is 1 when the server does not deliver.',
    run: showStatus
  },
  rooms: {
    summary: 'rooms, the most watched first',
    usage: '', options: { prefix: text('only names that begin so'), limit: LIMIT, ...SERVER },
    more: 'Looks through the first 10,000 rooms by name; the count of viewers is of all instances.',
    run: listRooms
  },
  connections: {
    summary: 'who is connected to the instance that answers',
    usage: '', options: { user: text('only this user id'), room: text('only in this room'), limit: LIMIT, ...SERVER },
    more: 'Behind a balancer that is any instance: name one by --url. The session names a connection for `uproar kick --session`.',
    run: listConnections
  },
  kick: {
    summary: 'closes a user\'s connections on every instance',
    usage: '[USER]', options: { session: text('instead of a user: one connection'), address: text('instead of a user: all from this address'), reason: text('told to whoever is there'), ...SERVER },
    more: 'A client does not come back by itself; whoever opens the page anew gets in. To keep somebody out ban them, or revoke\ntheir tokens (POST /v1/revocations), and then kick.',
    run: kick
  },
  instances: {
    summary: 'the processes that are one server',
    usage: '', options: SERVER, more: 'The first letters of an id are enough for `uproar drain`.', run: listInstances
  },
  drain: {
    summary: 'takes an instance out: its viewers go to the others, at a pace',
    usage: 'INSTANCE', options: { force: flag('also the last one that serves viewers'), wait: flag('until its viewers are gone'), ...SERVER },
    more: 'It goes on running until it is told to end (SIGTERM), which then takes no time. There is no way back but a restart.',
    run: drain
  },
  token: {
    summary: 'a token for a user, signed with JWT_SECRET or made by a server without a key',
    usage: 'USER', options: { name: text('name that others see (default: the id)'), role: { type: 'list', help: 'everywhere; may be repeated' }, room: { type: 'list', help: 'ROOM or ROOM=ROLE: the right to enter, and a role there; may be repeated' }, minutes: text('how long it is good (default 60)'), url: SERVER.url, json: JSON_FLAG },
    more: 'It is for trying things out and for operators; viewers get theirs from your backend. JWT_SECRET (or JWT_SECRET_FILE),\nJWT_ISSUER and JWT_AUDIENCE come from the environment, as the server has them.',
    run: mintToken
  },
  replay: {
    summary: 'plays a chat log through real sockets, and checks what arrives',
    usage: 'FILE.csv --room NAME', options: {}, more: 'It has options of its own: uproar replay --help', run: async () => 2
  }
}

/** Runs a command line; resolves with the exit status. */
export async function runCli (argv: readonly string[], env: Env, out: Output): Promise<number> {
  const [word = '--help', ...rest] = argv
  if (['--help', '-h', 'help'].includes(word)) {
    const about = COMMANDS[rest[0] ?? '']
    out.print(about === undefined ? overview() : helpOf(rest[0] as string, about))
    return 0
  }
  if (word === 'replay') return runCommand(rest, env, out)
  const command = Object.hasOwn(COMMANDS, word) ? COMMANDS[word] as Command : undefined
  if (command === undefined) return bad(out, `there is no command ${JSON.stringify(word)}`, overview())
  if (rest.includes('--help') || rest.includes('-h')) {
    out.print(helpOf(word, command))
    return 0
  }
  const call = parsed(command, rest, env, out)
  if (typeof call === 'string') return bad(out, call, helpOf(word, command))
  try {
    return await command.run(call)
  } catch (error) {
    if (!(error instanceof CliFault)) throw error
    if (error.isUsage) return bad(out, error.message, helpOf(word, command))
    out.error(`uproar ${word}: ${error.message}\n`)
    return 1
  }
}

function parsed (command: Command, argv: readonly string[], env: Env, out: Output): Call | string {
  try {
    const options = Object.fromEntries(Object.entries(command.options).map(([name, { type }]) => [name, { type: type === 'flag' ? 'boolean' : 'string', multiple: type === 'list' } as const]))
    const { values, positionals } = parseArgs({ args: [...argv], allowPositionals: true, options })
    return { words: positionals, options: values as Call['options'], env, out, server: () => connectServer({ url: asText(values['url']), key: asText(values['key']) }, env) }
  } catch (error) {
    return (error as Error).message
  }
}

function asText (value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined
}

function bad (out: Output, fault: string, help: string): number {
  out.error(`uproar: ${fault}\n\n${help}`)
  return 2
}

function overview (): string {
  const width = Math.max(...Object.keys(COMMANDS).map((word) => word.length))
  return `usage: uproar COMMAND [options]

${Object.entries(COMMANDS).map(([word, { summary }]) => `  ${word.padEnd(width)}  ${summary}`).join('\n')}

Commands that ask a running server need its address and a server key, one of its API_KEYS:

  export UPROAR_URL=https://chat.example.org UPROAR_KEY=…
  uproar instances
  uproar kick user-1815 --reason "please read the rules"

uproar COMMAND --help tells more of each.
`
}

function helpOf (word: string, { summary, usage, options, more }: Command): string {
  const rows = Object.entries(options).map(([name, { type, help }]) => [`--${name}${type === 'flag' ? '' : ' …'}`, help] as const)
  const width = Math.max(0, ...rows.map(([name]) => name.length))
  return `usage: uproar ${[word, usage].filter((part) => part !== '').join(' ')}${rows.length > 0 ? ' [options]' : ''}

${summary[0]?.toUpperCase()}${summary.slice(1)}.
${rows.length === 0 ? '' : `\n${rows.map(([name, help]) => `  ${name.padEnd(width)}  ${help}`).join('\n')}\n`}
${more}
`
}
