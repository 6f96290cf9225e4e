// `uproar token`: signed here with the server's secret, or, of a server without a key on this machine, asked for.

import { DevTokens } from '../auth/dev-tokens.ts'
import { Refusal } from '../base/errors.ts'
import { loadConfig, type Config } from '../base/config.ts'
import { systemClock } from '../base/clock.ts'
import type { Call } from './cli.ts'
import { wholeOption } from './options.ts'
import { addressOf, CliFault, connectServer } from './server.ts'

const MINUTES_MAX = 43_200

export async function mintToken (call: Call): Promise<number> {
  const { words: [id, ...others], options, env, out } = call
  if (id === undefined || others.length > 0) throw new CliFault('name one user', { isUsage: true })
  const user = { id, ...(typeof options['name'] === 'string' ? { name: options['name'] } : {}), roles: listOf(options['role']), rooms: roomsOf(listOf(options['room'])) }
  const minutes = wholeOption(options, 'minutes', { otherwise: 60, max: MINUTES_MAX })
  const settings = keySettings(env)
  const token = settings.jwtSecret === null ? await asked(call, user) : await new DevTokens({ clock: systemClock, issuer: settings.jwtIssuer, audience: settings.jwtAudience, secret: Buffer.from(settings.jwtSecret) }).mint(user, minutes * 60)
  if (token instanceof Refusal) throw new CliFault(token.message)
  out.print(options['json'] === true ? `${JSON.stringify({ token })}\n` : `${token}\n`)
  return 0
}

/** Only what signs: the rest of the environment may be wrong, or another program's. */
function keySettings (env: Call['env']): Pick<Config, 'jwtSecret' | 'jwtIssuer' | 'jwtAudience'> {
  const names = ['JWT_SECRET', 'JWT_SECRET_FILE', 'JWT_ISSUER', 'JWT_AUDIENCE']
  try {
    return loadConfig(Object.fromEntries(names.map((name) => [name, env[name]])))
  } catch (error) {
    throw new CliFault((error as Error).message)
  }
}

async function asked ({ options, env }: Call, user: unknown): Promise<string> {
  const url = addressOf(typeof options['url'] === 'string' ? options['url'] : undefined, env)
  try {
    return (await connectServer({ url, key: '' }, {}).ask('POST', '/v1/dev/token', user) as { token: string }).token
  } catch (error) {
    throw new CliFault(`${(error as Error).message}. A server with a key of its own makes none: set JWT_SECRET to its secret`)
  }
}

function listOf (value: Call['options'][string]): string[] {
  return Array.isArray(value) ? value as string[] : []
}

function roomsOf (words: readonly string[]): Record<string, string[]> {
  const rooms: Record<string, string[]> = Object.create(null) as Record<string, string[]>
  for (const word of words) {
    const [room = '', role = ''] = word.split(/=(.*)/s)
    rooms[room] = [...rooms[room] ?? [], ...(role === '' ? [] : [role])]
  }
  return { ...rooms }
}
