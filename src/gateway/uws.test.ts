// Sockets on the real uWebSockets.js: in what order and in how many writes what is handed over goes out.

import { spawnSync } from 'node:child_process'
import t from 'tap'
import { loadConfig } from '../base/config.ts'
import { createListener } from './gateway.ts'
import type { Session } from './session.ts'
import type { Socket } from './socket.ts'

const message = (mark: number, length: number): Uint8Array => new Uint8Array(length).fill(mark)

t.test('what goes along with what is published is one write with it, in the order of the calls', async (t) => {
  const listener = createListener(loadConfig({ WS_PORT: '0', PORT: '0' }))
  const sockets: Socket[] = []
  await listener.listen({
    connect: () => true,
    speak () {},
    admit: () => ({ admitted: true, address: '::1', protocol: '' }),
    open (socket) {
      socket.subscribe('room')
      sockets.push(socket)
      return { socket } as unknown as Session
    },
    message () {},
    ping () {},
    drain () {},
    close () {}
  })
  t.teardown(() => listener.close())
  const heard: number[][] = []
  const clients = await Promise.all(Array.from({ length: 3 }, async () => {
    const client = new WebSocket(`ws://127.0.0.1:${listener.port}/ws`)
    client.binaryType = 'arraybuffer'
    await new Promise((resolve, reject) => { client.onopen = resolve; client.onerror = reject })
    return client
  }))
  for (const [index, client] of clients.entries()) {
    heard.push([])
    client.onmessage = ({ data }) => heard[index]?.push(new Uint8Array(data as ArrayBuffer)[0] as number)
  }
  const written = (): number | null => {
    const { status, stdout } = spawnSync('ss', ['-tinH', 'state', 'established', `sport = :${listener.port}`], { encoding: 'utf8' })
    return status === 0 ? [...stdout.matchAll(/data_segs_out:(\d+)/g)].reduce((sum, [, count]) => sum + Number(count), 0) : null
  }
  /** In each of ten turns of the loop: how many pieces all sockets were written together. */
  const inTurns = async (work: () => void): Promise<number | null> => {
    const before = written()
    for (let turn = 0; turn < 10; turn++) await new Promise<void>((resolve) => setImmediate(() => { work(); setImmediate(resolve) }))
    const after = written()
    return before === null || after === null ? null : (after - before) / 10
  }
  const told = async (): Promise<string[]> => {
    await Promise.all(clients.map((client, index) => new Promise<void>((resolve) => {
      const take = client.onmessage
      client.onmessage = (event) => {
        if (new Uint8Array(event.data as ArrayBuffer)[0] !== 99) return take?.call(client, event)
        client.onmessage = take
        resolve()
      }
      sockets[index]?.send(message(99, 1))
    })))
    return heard.map((marks) => marks.splice(0).join(''))
  }
  const own = (mark: number, ...to: number[]): void => { for (const index of to) sockets[index]?.sendAlong(message(mark, 5)) }

  const results: Record<string, number | null> = {
    behind: await inTurns(() => { listener.publish('room', message(1, 150)); own(2, 0, 1) })
  }
  const all = (text: string): string => text.repeat(10)
  const byClient = (await told()).toSorted()
  t.same(byClient, [all('1'), all('12'), all('12')], 'behind what was published')
  results.before = await inTurns(() => { own(2, 0); listener.publish('room', message(1, 150)); listener.publish('room', message(3, 150)) })
  t.same((await told()).toSorted(), [all('13'), all('13'), all('213')], 'before it')
  results.alone = await inTurns(() => own(2, 0, 1))
  t.same((await told()).toSorted(), [all(''), all('2'), all('2')], 'with nothing')
  await inTurns(() => { listener.publish('room', message(1, 150)); own(2, 0); sockets[0]?.send(message(3, 5)); own(4, 0) })
  t.same((await told()).toSorted(), [all('1'), all('1'), all('1234')], 'between others')
  await inTurns(() => { for (let mark = 1; mark < 41; mark++) own(mark, 0) })
  t.same((await told()).toSorted().at(-1), all(Array.from({ length: 40 }, (_, index) => index + 1).join('')), 'more than a turn may gather')
  own(5, 0)
  sockets[0]?.cut()
  t.doesNotThrow(() => own(5, 0), 'a socket that is gone takes nothing')
  const skip = results.behind === null ? 'ss, which counts the pieces a socket was written in, is not there (Debian: iproute2)' : false
  await t.test('in how many writes', { skip }, async (t) => t.same(results, { behind: 3, before: 3, alone: 2 }))
})
