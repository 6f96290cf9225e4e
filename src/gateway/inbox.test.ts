// Messages that wait for the log's commit, with a socket in hand: their order, their bound, and that none is left behind.

import t from 'tap'
import { type Frame } from '../../proto/codec.ts'
import { IN, OUT } from '../../proto/ops.ts'
import { setUp } from './gateway.suite.ts'

t.test('while commits are paced SENDs wait unread, in the order of their connection, and none is left behind', async (t) => {
  const { enter, until, log, gateway } = await setUp(t, { FRAMES_PER_SECOND_MAX: '0', MESSAGES_PER_SECOND_MAX: '0', MESSAGES_BURST_MAX: '0' })
  const crowd = await enter('ann')
  let sent = 0
  const send = (): void => { crowd.say([IN.SEND, ++sent, 'a', `n${sent}`, 0, `hi ${sent}`, null]) }
  await until(() => {
    for (let i = 0; i < 20; i++) send()
    return log.rhythm?.isGathering === true
  })
  const bob = await enter('bob')
  for (let i = 0; i < 3; i++) send()
  await until(() => {
    send()
    return log.rhythm?.isGathering === true
  })
  bob.socket.take()
  bob.say([IN.SEND, 1, 'a', 'b1', 0, 'waits', null])
  t.same(bob.socket.take(), [], 'nothing is answered yet')
  bob.say([IN.LEAVE, 2, 'a'])
  t.same(bob.socket.take().filter((frame) => frame[0] === OUT.OK), [[OUT.OK, 2, null]], 'and what follows on its connection is not held up')
  await until(() => bob.socket.frames.length > 0)
  t.match(bob.socket.frames, [[OUT.OK, 1, [Number, Number]]], 'the message was read before the LEAVE')
  const answers = (): Frame[] => crowd.socket.frames.filter((frame) => frame[0] === OUT.OK)
  await until(() => answers().length === sent)
  t.same(answers().map((frame) => frame[1]), Array.from({ length: sent }, (_, index) => index + 1), 'each once, in order')
  // More than may wait: they are read without the commit, and one of a closed connection is forgotten.
  const gone = await enter('eve')
  await until(() => {
    send()
    return log.rhythm?.isGathering === true
  })
  gone.say([IN.SEND, 1, 'a', 'e1', 0, 'never', null])
  gateway.close(gone.session)
  for (let i = 0; i < 600; i++) send()
  await until(() => answers().length === sent)
  t.same(gone.socket.take().filter((frame) => frame[0] === OUT.OK), [])
})
