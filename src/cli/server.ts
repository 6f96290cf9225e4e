// The running server, asked by REST: one request with a deadline, and faults in words that say what to do. The key is in
// no message. Must not know commands.

import { readFileSync } from 'node:fs'
import { connectionFault } from '../replay/faults.ts'

const TIMEOUT_MS = 10_000
const URL_DEFAULT = 'http://127.0.0.1:8080'

/** What keeps a command from being carried out, for whoever typed it. */
export class CliFault extends Error {
  override readonly name = 'CliFault'
  /** The arguments are wrong: the help is shown. */
  readonly isUsage: boolean
  constructor (message: string, options: { isUsage?: boolean } = {}) {
    super(message)
    this.isUsage = options.isUsage ?? false
  }
}

export interface ServerLink {
  readonly url: string
  /** The parsed answer. Throws CliFault when it cannot be reached or refuses. */
  ask (method: 'GET' | 'POST', path: string, body?: unknown): Promise<any>
}

/** The server of these options or of the environment; nothing is asked yet. Throws CliFault for an address that is none. */
export function connectServer (given: { url?: string | undefined, key?: string | undefined }, env: Readonly<Record<string, string | undefined>>): ServerLink {
  const url = addressOf(given.url, env)
  const key = given.key ?? env.UPROAR_KEY ?? firstKey(env)
  return { url, ask: (method, path, body) => ask({ url, key, method, path, body }) }
}

export function addressOf (given: string | undefined, env: Readonly<Record<string, string | undefined>>): string {
  const text = given ?? (env.UPROAR_URL?.trim() || URL_DEFAULT)
  if (!URL.canParse(text) || !/^https?:/.test(text)) throw new CliFault(`the server's address must be one such as ${URL_DEFAULT} (it is ${JSON.stringify(text)})`, { isUsage: true })
  return new URL(text).origin
}

/** A shell that has the server's settings has its keys. */
function firstKey (env: Readonly<Record<string, string | undefined>>): string | undefined {
  const file = env.API_KEYS_FILE?.trim() ?? ''
  try {
    return (file === '' ? env.API_KEYS : readFileSync(file, 'utf8'))?.split(',')[0]?.trim() || undefined
  } catch {
    throw new CliFault('API_KEYS_FILE must name a file that can be read')
  }
}

interface Asked { readonly url: string, readonly key: string | undefined, readonly method: string, readonly path: string, readonly body: unknown }

async function ask ({ url, key, method, path, body }: Asked): Promise<unknown> {
  const headers: Record<string, string> = { ...(key === undefined ? {} : { authorization: `Bearer ${key}` }), ...(body === undefined ? {} : { 'content-type': 'application/json' }) }
  const answer = await fetch(new URL(path, url), { method, headers, redirect: 'error', signal: AbortSignal.timeout(TIMEOUT_MS), ...(body === undefined ? {} : { body: JSON.stringify(body) }) })
    .catch((error: unknown) => { throw new CliFault(`${url} cannot be reached: ${connectionFault(error)}. Is it running there? Another address: --url or UPROAR_URL`) })
  const found = await answer.json().catch(() => null) as { error?: { name?: string, message?: string } } | null
  if (answer.ok && found !== null) return found
  const { name = '', message = '' } = found?.error ?? {}
  if (name === 'unauthorized') throw new CliFault(key === undefined ? `${url} asks who you are: set UPROAR_KEY to one of its API_KEYS` : `${url} does not know this key: it must be one of its API_KEYS (${message})`)
  if (name === 'forbidden') throw new CliFault(`${url} does not let this key do that: ${message}`)
  throw new CliFault(message === '' ? `${url} answered with status ${answer.status}, and not as this program's server does` : `${url}: ${message}`)
}
