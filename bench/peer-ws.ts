// A peer: the library `ws`, used as its documentation shows. Forwards each message to everybody in its room.

import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { WebSocketServer, type WebSocket } from 'ws'

const rooms = new Map<number, Set<WebSocket>>()
const http = createServer()
const server = new WebSocketServer({ server: http, perMessageDeflate: false })

server.on('connection', (socket, request) => {
  const text = new URL(request.url ?? '/', 'http://localhost').searchParams.get('room')
  if (text !== null) {
    const room = Number(text)
    let members = rooms.get(room)
    if (members === undefined) rooms.set(room, members = new Set())
    members.add(socket)
    socket.on('close', () => members.delete(socket))
  }
  socket.on('error', () => socket.terminate())
  socket.on('message', (data: Buffer) => {
    const message = data.subarray(2)
    for (const member of rooms.get(data.readUInt16BE(0)) ?? []) member.send(message, { binary: true })
  })
})
http.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ msg: 'ready', wsPort: (http.address() as AddressInfo).port })))
