// How many connections one address may hold open to the HTTP port, whatever it does with them: they are counted when they
// come, before anything is read, so silent ones and TLS handshakes count too. Requests and streams have limits of their own.

import type { Server } from 'node:http'
import type { Socket } from 'node:net'
import { addressRange, plainAddress, type TrustedProxies } from '../base/peers.ts'

/** A browser that loads a page opens several, and keeps them for a while. */
const SOCKETS_PER_VIEWER = 4

/** Cuts connections of an address beyond SOCKETS_PER_VIEWER times `viewersMax` (0: none). `refused` is told of each. */
export function boundSockets (server: Server, viewersMax: number, proxies: Pick<TrustedProxies, 'trusts'>, refused: () => void): void {
  if (viewersMax === 0) return
  const counts = new Map<string, number>()
  server.on('connection', (socket: Socket) => {
    const address = plainAddress(socket.remoteAddress ?? '')
    if (proxies.trusts(address)) return
    const range = addressRange(address)
    const count = (counts.get(range) ?? 0) + 1
    if (count > viewersMax * SOCKETS_PER_VIEWER) {
      refused()
      socket.destroy()
      return
    }
    counts.set(range, count)
    socket.once('close', () => {
      const left = (counts.get(range) ?? 1) - 1
      if (left > 0) counts.set(range, left)
      else counts.delete(range)
    })
  })
}
