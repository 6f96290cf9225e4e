// Hostile messages, frames, handshakes and requests against the real program, while a well-behaved viewer and author go on
// in the next room and one viewer watches the room that is attacked: no crash, no hang, no growth, and they miss nothing.

import { Agent } from 'node:http'
import t from 'tap'
import { Watcher } from '../replay/watcher.ts'
import { FRAMES, hostileRequest, OPENINGS, playFrames, playOpening, sendRequest } from './hostile-bytes.ts'
import { sendHostile } from './hostile-connections.ts'
import { HostileMessages } from './hostile-messages.ts'
import { OPEN_LIMITS, Program, tokenOf } from './harness.ts'
import { Random } from './random.ts'
import { measured, megabytes, sized } from './size.ts'
import { Speaker } from './speaker.ts'

t.setTimeout(sized(240_000, 3_000_000))

const SEED = Number(process.env.HOSTILE_SEED ?? 20_261_121)
const MESSAGES = sized(30_000, 2_000_000)
const BYTES = sized(400, 10_000)
const REQUESTS = sized(3000, 100_000)
/** Anonymous memory may move by so much after the warm-up: the collector's breathing, not growth with what was sent. */
const GROWTH_MAX = 64 * 1_048_576

t.test('two million hostile messages, or a share of them', async (t) => {
  // Rooms made in passing leave memory after a second.
  const program = await Program.start(t, { ...OPEN_LIMITS, ROOM_IDLE_S: '1' })
  const calm = new Watcher({ url: program.ws, room: 'calm', pingMs: 1000 })
  const attacked = new Watcher({ url: program.ws, room: 'stage', pingMs: 1000 })
  t.teardown(() => { calm.stop(); attacked.stop() })
  await Promise.all([calm.start(), attacked.start()])
  const speaker = await Speaker.connect(t, program.ws, 'calm', tokenOf('speaker'))
  let isOver = false
  const speaking = (async () => {
    while (!isOver) {
      await speaker.say(`calm words ${speaker.accepted}`)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    await speaker.answered()
  })()

  const random = new Random(SEED)
  const tokens = [tokenOf('mallory'), tokenOf('trent', { roles: ['moderator'] }), tokenOf('late', { ttlS: -10 }), 'not a token', '', 'a.b.c', 'x'.repeat(2000)]
  const messages = new HostileMessages(random, { rooms: ['stage', 'stage', 'other', 'a:b', '', 'no such room!', 'uproar:canary', 'x'.repeat(65)], tokens })
  const run = { url: program.ws, random, messages, tokens: tokens.slice(0, 2), room: 'stage', connectionsAtOnce: 24 }

  const warm = await sendHostile({ ...run, count: MESSAGES * 0.2 })
  await sendBytes(program, random, BYTES * 0.2)
  await sendRequests(program, random, tokens, REQUESTS * 0.2)
  const before = program.memory()
  const started = performance.now()
  const main = await sendHostile({ ...run, count: MESSAGES * 0.8 })
  const seconds = (performance.now() - started) / 1000
  t.same([...warm.offences, ...main.offences], [], 'bad messages closed their connection with 4500, all others were answered')
  const total = warm.messages + main.messages
  t.ok(total >= MESSAGES, `${total} messages over ${warm.connections + main.connections} connections, ${warm.closedBad + main.closedBad} of them closed, ${warm.closedSlow + main.closedSlow} more by their own word`)
  await sendBytes(program, random, BYTES * 0.8)
  const statuses = await sendRequests(program, random, tokens, REQUESTS * 0.8)
  const unfit = [...statuses].filter(([status]) => status >= 500 && status !== 501 && status !== 503)
  t.same(unfit, [], `HTTP answered ${[...statuses].map(([status, count]) => `${status} × ${count}`).join(', ')}`)
  const after = program.memory()
  const growth = after.anonymous - before.anonymous
  t.ok(growth < GROWTH_MAX, `memory did not grow: ${megabytes(before.anonymous)} → ${megabytes(after.anonymous)}`)

  isOver = true
  await speaking
  await calm.until(() => calm.account.last >= speaker.head, 'the calm viewer to have all')
  t.match(calm.account, { received: speaker.accepted, missing: 0, duplicates: 0, outOfOrder: 0, skipped: 0 }, `the viewer next door got all ${speaker.accepted} messages`)
  t.same([speaker.refusals, calm.closes], [[], []], 'and neither was disturbed')
  t.match(attacked, { failure: null, account: { missing: 0, duplicates: 0, outOfOrder: 0 } }, `the viewer of the attacked room got its ${attacked.account.received} entries`)
  t.same(program.faults, [], 'the program logged no fault')
  const ready = await program.request('GET', '/readyz')
  t.equal(ready.status, 200, 'it is ready still')
  measured(t, `seed ${SEED}: ${total} hostile messages (${Math.round(main.messages / seconds)} a second), ${BYTES} hostile connections, ${REQUESTS} hostile requests; anonymous memory ${megabytes(before.anonymous)} → ${megabytes(after.anonymous)}; next door ${speaker.accepted} messages, none missed`)
})

async function sendBytes (program: Program, random: Random, count: number): Promise<void> {
  const ports = [program.http, program.ws].map((address) => Number(new URL(address).port))
  await inParallel(8, count, async () => {
    if (random.chance(0.5)) await playFrames(program.ws, random, random.pick(FRAMES)[1])
    else await playOpening(random.pick(ports), random, random.pick(OPENINGS)[1])
  })
}

async function sendRequests (program: Program, random: Random, tokens: readonly string[], count: number): Promise<Map<number, number>> {
  const agent = new Agent({ keepAlive: true, maxSockets: 8 })
  const statuses = new Map<number, number>()
  await inParallel(8, count, async () => {
    const hostile = hostileRequest(random, tokens.filter((token) => /^[\w.-]+$/.test(token)))
    const status = await sendRequest(program.http, agent, hostile)
    statuses.set(status, (statuses.get(status) ?? 0) + 1)
    if (status >= 500 && status !== 501 && status !== 503) process.stderr.write(`${status} to ${JSON.stringify(hostile).slice(0, 600)}\n`)
  })
  agent.destroy()
  return statuses
}

async function inParallel (workers: number, count: number, work: () => Promise<void>): Promise<void> {
  let left = Math.ceil(count)
  await Promise.all(Array.from({ length: workers }, async () => { while (left-- > 0) await work() }))
}
