// A peer: Socket.IO 4 over WebSocket alone, used as its documentation shows. Forwards each message to its room.

import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Server } from 'socket.io'

const http = createServer()
const io = new Server(http, { transports: ['websocket'], serveClient: false, perMessageDeflate: false })

io.on('connection', (socket) => {
  const { room } = socket.handshake.query
  if (typeof room === 'string') void socket.join(room)
  socket.on('m', (to: number, message: string) => { io.to(String(to)).emit('m', message) })
})
http.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ msg: 'ready', wsPort: (http.address() as AddressInfo).port })))
