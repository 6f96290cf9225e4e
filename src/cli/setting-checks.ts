// What settings mean together for a server that others reach: keys, TLS, origins, ports.

import { readFileSync } from 'node:fs'
import { X509Certificate } from 'node:crypto'
import { createServer } from 'node:net'
import { isLoopback, reachableHost } from '../base/peers.ts'
import { listenFault, type Place } from '../base/listening.ts'
import { misspelt } from '../base/spelling.ts'
import type { Check, Finding } from './doctor.ts'

const DAY_MS = 86_400_000
const CERTIFICATE_DAYS_MIN = 14
const JWKS_MS_MAX = 5000

const spelling: Check = ({ env }) => misspelt(env).map(({ name, meant }): Finding => ({ level: 'warn', about: 'settings', says: `${name} is set and is no setting`, remedy: `${meant} is one` }))

const keys: Check = async ({ config }) => {
  const found: Finding[] = []
  if (config.jwtSecret === null && config.jwtPublicKeyFile === null && config.jwksUrl === null) found.push({ level: 'warn', about: 'tokens', says: 'no key: tokens are made for this machine alone, and end with the process', remedy: 'set JWT_SECRET, JWT_PUBLIC_KEY_FILE or JWKS_URL' })
  else found.push({ level: 'ok', about: 'tokens', says: `checked by ${config.jwtSecret !== null ? 'JWT_SECRET' : config.jwtPublicKeyFile !== null ? 'JWT_PUBLIC_KEY_FILE' : 'JWKS_URL'}` })
  if (config.apiKeys.length === 0) found.push({ level: 'warn', about: 'server keys', says: 'none: no backend and no operator can ask by REST', remedy: 'set API_KEYS to one of 24 characters or more: openssl rand -hex 24' })
  else found.push({ level: 'ok', about: 'server keys', says: `${config.apiKeys.length}` })
  if (config.jwksUrl !== null) found.push(await jwks(config.jwksUrl))
  return found
}

async function jwks (url: string): Promise<Finding> {
  try {
    const answer = await fetch(url, { signal: AbortSignal.timeout(JWKS_MS_MAX) })
    const { keys } = await answer.json() as { keys?: unknown[] }
    if (!answer.ok || !Array.isArray(keys) || keys.length === 0) throw new Error(`it answers ${answer.status} and no keys`)
    return { level: 'ok', about: 'JWKS_URL', says: `${keys.length} keys` }
  } catch (error) {
    return { level: 'fail', about: 'JWKS_URL', says: `no keys can be had: ${(error as Error).message}`, remedy: 'until they can every token is refused' }
  }
}

const openness: Check = ({ config }) => {
  if (isLoopback(config.host)) return [{ level: 'ok', about: 'HOST', says: `${config.host}: this machine alone` }]
  const found: Finding[] = [{ level: 'ok', about: 'HOST', says: `${config.host}: others can reach it` }]
  if (config.tlsCertFile === null && config.trustedProxies.length === 0) found.push({ level: 'warn', about: 'TLS', says: 'neither a certificate nor a proxy in front (TRUSTED_PROXIES): tokens travel in the clear, or every viewer has the proxy\'s address', remedy: 'set TLS_CERT_FILE and TLS_KEY_FILE, or TRUSTED_PROXIES to the proxy\'s address' })
  if (config.origins.length === 0) found.push({ level: 'warn', about: 'ORIGINS', says: 'pages of any site may connect', remedy: 'name yours, unless that is meant' })
  if (config.roomsOnDemand) found.push({ level: 'warn', about: 'rooms', says: 'anybody makes a room by reading one that is not there', remedy: 'ROOMS_ON_DEMAND=false, and your backend makes them' })
  return found
}

const certificate: Check = ({ config }) => {
  if (config.tlsCertFile === null) return []
  const { validTo, subject } = new X509Certificate(readFileSync(config.tlsCertFile))
  const days = Math.floor((Date.parse(validTo) - Date.now()) / DAY_MS)
  const says = `of ${subject.replaceAll('\n', ', ')}: good for ${days} days`
  return [days < 0 ? { level: 'fail', about: 'TLS', says, remedy: 'it is over: renew it' } : days < CERTIFICATE_DAYS_MIN ? { level: 'warn', about: 'TLS', says, remedy: 'renew it, and restart' } : { level: 'ok', about: 'TLS', says }]
}

/** Free, or already this server's. */
const ports: Check = async ({ config }) => {
  const { host, port, wsPort } = config
  const running = port === 0 ? null : await fetch(`${config.tlsCertFile === null ? 'http' : 'https'}://${reachableHost(host)}:${port}/readyz`, { signal: AbortSignal.timeout(3000) }).then(async (answer) => ({ status: answer.status, body: await answer.json() as { ready?: boolean } }), () => null)
  if (typeof running?.body.ready === 'boolean') return [running.body.ready ? { level: 'ok', about: 'ports', says: `a server runs on ${port}, and delivers` } : { level: 'fail', about: 'ports', says: `a server runs on ${port} and is not ready`, remedy: `GET /readyz there says why; the log too` }]
  const taken: Finding[] = []
  for (const place of [{ host, port, setting: 'PORT' }, { host, port: wsPort, setting: 'WS_PORT' }] as const) {
    const fault = await faultOf(place)
    if (fault !== null) taken.push({ level: 'fail', about: 'ports', says: fault.message, remedy: 'the server does not start' })
  }
  return taken.length > 0 ? taken : [{ level: 'ok', about: 'ports', says: port === 0 && wsPort === 0 ? 'any that are free' : `${port} and ${wsPort} are free` }]
}

/** Why the place cannot be listened on, or null: it is tried, and let go at once. */
function faultOf (place: Place): Promise<Error | null> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', (error) => resolve(listenFault(error, place)))
    server.listen({ host: place.host, port: place.port, exclusive: true }, () => server.close(() => resolve(null)))
  })
}

export const settingChecks: readonly Check[] = [spelling, keys, openness, certificate, ports]
