// Addresses: what limits count by, and who counts as this machine itself.

import rateLimit from '@fastify/rate-limit'
import type { FastifyRequest } from 'fastify'

/** What limits count by: the client's address, of IPv6 its first 64 bits (a household has that many). */
export function addressKey (request: FastifyRequest): string {
  return rateLimit.normalizeIP(request.address)
}

const FORWARDED = ['forwarded', 'via', 'x-forwarded-for', 'x-forwarded-host', 'x-forwarded-proto', 'x-real-ip'] as const

/** Whether the request comes from this machine itself, by no proxy, and asks for it by a name of this machine. */
export function isLocal (request: FastifyRequest): boolean {
  const peer = request.raw.socket.remoteAddress ?? ''
  if (!/^(::ffff:)?127\.\d+\.\d+\.\d+$/.test(peer) && peer !== '::1') return false
  // A proxy on this machine brings everybody. It says so by a header, or is a trusted one, or, as nginx does where nothing
  // else was set, speaks HTTP/1.0.
  if (request.isProxied || request.raw.httpVersionMinor === 0 || FORWARDED.some((name) => request.headers[name] !== undefined)) return false
  // A page elsewhere could reach a loopback server through the browser: neither a foreign origin nor a foreign name
  // that was made to point here (DNS rebinding) counts as local.
  const { origin, host } = request.headers
  return isLoopbackUrl(`http://${host ?? ''}`) && (origin === undefined || isLoopbackUrl(origin))
}

function isLoopbackUrl (text: string): boolean {
  const url = URL.parse(text)
  return url !== null && /^(localhost|.+\.localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(url.hostname)
}
