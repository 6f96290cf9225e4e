// Tokens for authors, signed with the secret that the benches give to the server they start.

import { createHmac } from 'node:crypto'

export const SECRET = 'a secret for the benches, of more than thirty-two bytes'

/** A token of this user, good for two hours. */
export function tokenOf (id: string): string {
  const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const now = Math.floor(Date.now() / 1000)
  const signed = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ sub: id, name: id, roles: [], exp: now + 7200, iat: now - 1 })}`
  return `${signed}.${createHmac('sha256', SECRET).update(signed).digest('base64url')}`
}
