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
  // More than may wait: they are read without the commit; and what a connection sent before it went is kept.
  const gone = await enter('eve')
  await until(() => {
    send()
    return log.rhythm?.isGathering === true
  })
  gone.say([IN.SEND, 1, 'a', 'e1', 0, 'and off', null])
  gateway.close(gone.session)
  for (let i = 0; i < 600; i++) send()
  await until(() => answers().length === sent)
  t.same(gone.socket.take().filter((frame) => frame[0] === OUT.OK), [])
  t.match(await log.find('a', 'eve', 'e1'), { seq: Number })
})

t.test('a hot room\'s SENDs wait for the end of its window; a quiet room beside it does not', async (t) => {
  const { enter, until, log, clock, metrics } = await setUp(t, { FRAMES_PER_SECOND_MAX: '0', MESSAGES_PER_SECOND_MAX: '0', MESSAGES_BURST_MAX: '0', CONNECTIONS_PER_ADDRESS_MAX: '0' })
  const crowd = await enter('ann', 'hot')
  for (let count = 0; count < 100; count++) await enter(null, 'hot')
  const bob = await enter('bob', 'quiet')
  const commits = (): number => metrics.value('uproar_log_commits_total')
  let sent = 0
  const send = (count: number): void => {
    for (let i = 0; i < count; i++) crowd.say([IN.SEND, ++sent, 'hot', `n${sent}`, 0, `hi ${sent}`, null])
  }
  const during = (ms: number): Promise<boolean> => new Promise((resolve) => setTimeout(resolve, ms, false))
  /** A window of the hot room begins with a commit, while many come. */
  const begin = async (): Promise<void> => {
    await until(() => {
      send(120)
      return log.rhythm?.isGathering === true
    })
    await until(() => metrics.value('uproar_messages_accepted_total', 'socket') >= sent)
    clock.advance(110)
    const before = commits()
    send(20)
    await until(() => commits() > before)
  }
  /** Whether it was so once: a machine that has much to do may be late, at times. */
  const sometime = async (what: () => Promise<boolean>): Promise<void> => {
    for (let time = 0; time < 50; time++) if (await what()) return
    t.fail('never')
  }
  await sometime(async () => {
    await begin()
    const before = commits()
    send(20)
    await during(35)
    return commits() === before
  })
  await sometime(async () => {
    await begin()
    send(20)
    await during(1)
    bob.socket.take()
    bob.say([IN.SEND, 1, 'quiet', `b${sent}`, 0, 'at once', null])
    await during(35)
    return bob.socket.take().some((frame) => frame[0] === OUT.OK)
  })
  const before = commits()
  send(20)
  await until(() => commits() > before)
  t.pass('and none is left behind')
})
