// The console at 100 messages a second, in one room and in two side by side, by the clock of a real browser: tasks of more
// than 50 ms, frames, heap and nodes, which must not grow. In the suite a few seconds and the nodes alone, since what others
// do to the machine is in every clock, that of the CPU included; in `npm run prove` two minutes each with every figure.

import { join } from 'node:path'
import type { Browser, CDPSession } from 'playwright-core'
import t from 'tap'
import { withoutChromium } from '../../deploy/services/services.ts'
import { buildWeb } from '../web/build.ts'
import { launch } from '../web/page/browser.suite.ts'
import { tokenOf } from './harness.ts'
import { Stage, streamRow } from './moderate.suite.ts'
import { isFull, measured, sized } from './size.ts'
import { Speaker } from './speaker.ts'

t.setTimeout(sized(150_000, 600_000))

const skip = withoutChromium()
const PER_SECOND = 100
const WARM_S = sized(3, 20)
const SECONDS = sized(4, 120)
const WORDS = ['LETS GO', 'no way 😂', 'that was close', 'W', 'where is this?', 'greetings from Lima', 'the goose again', '🔥🔥🔥', 'I was not ready for that view, honestly']
let browser: Browser

t.before(async () => {
  if (skip !== false) return
  await buildWeb(join(import.meta.dirname, '../../dist'))
  browser = await launch()
})

t.teardown(async () => { if (skip === false) await browser.close() })

interface Sample { readonly nodes: number, readonly heapMb: number, readonly listeners: number }

/** What the page holds, after a collection of what it does not. */
async function sample (session: CDPSession): Promise<Sample> {
  await session.send('HeapProfiler.collectGarbage')
  const { metrics } = await session.send('Performance.getMetrics') as { metrics: { name: string, value: number }[] }
  const value = (name: string): number => metrics.find((metric) => metric.name === name)?.value ?? 0
  return { nodes: value('Nodes'), heapMb: value('JSHeapUsedSize') / 1_048_576, listeners: value('JSEventListeners') }
}

interface Task { readonly wallMs: number, readonly cpuMs: number }

/** Tasks of the page's main thread that took over 50 ms of the clock, and what of it they had the CPU: the rest is other programs'. */
function longTasks (trace: Buffer): Task[] {
  const { traceEvents } = JSON.parse(trace.toString()) as { traceEvents: { name: string, pid: number, tid: number, dur?: number, tdur?: number, args?: { name?: string } }[] }
  const mains = new Set(traceEvents.filter(({ name, args }) => name === 'thread_name' && args?.name === 'CrRendererMain').map(({ pid, tid }) => `${pid}/${tid}`))
  return traceEvents.filter(({ name, pid, tid, dur = 0 }) => /RunTask/.test(name) && dur > 50_000 && mains.has(`${pid}/${tid}`)).map(({ dur = 0, tdur = 0 }) => ({ wallMs: dur / 1000, cpuMs: tdur / 1000 }))
}

async function talk (speakers: readonly Speaker[], seconds: number, from: number): Promise<number> {
  const started = performance.now()
  let sent = 0
  for (; sent < seconds * PER_SECOND; sent++) {
    const ahead = sent * 1000 / PER_SECOND - (performance.now() - started)
    if (ahead > 0) await new Promise((resolve) => setTimeout(resolve, ahead))
    await (speakers[sent % speakers.length] as Speaker).say(`${WORDS[sent % WORDS.length]} ${from + sent}`)
  }
  await Promise.all(speakers.map((speaker) => speaker.answered()))
  return sent
}

for (const rooms of [['busy'], ...(isFull ? [['busy', 'kitchen']] : [])]) void t.test(`smooth at 100 messages a second: ${rooms.join(', ')}`, { skip }, async (t) => {
  const stage = await Stage.start(t)
  for (const room of rooms) await stage.set(room, { title: room, autoLevel: 0, slowModeSeconds: 0 })
  const { page, faults } = await stage.console(browser, rooms, { viewport: { width: 1440, height: 900 } })
  const speakers = await Promise.all([0, 1, 2, 3].map((at) => Speaker.connect(t, stage.program.ws, rooms[at % rooms.length] as string, tokenOf(`loud${at}`, { name: `loud_${at}` }))))
  const session = await page.context().newCDPSession(page)
  await session.send('Performance.enable')
  const warm = await talk(speakers, WARM_S, 0)
  await streamRow(page, ` ${warm - 1}`).waitFor()
  const before = await sample(session)
  await page.evaluate(() => {
    const seen = Object.assign(globalThis, { tasks: [] as number[], frames: [] as number[] })
    new PerformanceObserver((list) => { for (const entry of list.getEntries()) seen.tasks.push(Math.round(entry.duration)) }).observe({ type: 'longtask' })
    let last = performance.now()
    const frame = (now: number): void => { seen.frames.push(now - last); last = now; requestAnimationFrame(frame) }
    requestAnimationFrame(frame)
  })
  await browser.startTracing(page, { categories: ['toplevel'] })
  const said = await talk(speakers, SECONDS, warm)
  await streamRow(page, ` ${warm + said - 1}`).waitFor()
  const { tasks, frames } = await page.evaluate(() => {
    const { tasks, frames } = globalThis as unknown as { tasks: number[], frames: number[] }
    return { tasks, frames }
  })
  const long = longTasks(await browser.stopTracing())
  const after = await sample(session)
  const sorted = frames.toSorted((one, other) => one - other)
  measured(t, `${SECONDS} s at ${PER_SECOND} msg/s: ${tasks.length} tasks over 50 ms (${tasks.join(' ') || 'none'} ms); frames p50 ${sorted[sorted.length >> 1]?.toFixed(1)} ms, p99 ${sorted[Math.floor(sorted.length * 0.99)]?.toFixed(1)} ms`)
  measured(t, `of those, clock and CPU: ${long.map(({ wallMs, cpuMs }) => `${wallMs.toFixed(0)}/${cpuMs.toFixed(0)}`).join(' ') || 'none'} ms`)
  measured(t, `nodes ${before.nodes} then ${after.nodes}, listeners ${before.listeners} then ${after.listeners}, heap ${before.heapMb.toFixed(1)} then ${after.heapMb.toFixed(1)} MB`)
  t.ok(after.nodes < before.nodes * 1.1 + 100, `nodes stay as many: ${before.nodes}, ${after.nodes}`)
  t.ok(after.listeners < before.listeners * 1.1 + 50, `listeners too: ${before.listeners}, ${after.listeners}`)
  t.equal(await page.locator('.column .rows > .row').count(), 200 * rooms.length, 'the rows are bounded')
  if (isFull) t.ok(after.heapMb < before.heapMb * 1.15 + 1, 'the heap stays as large')
  if (isFull) t.ok(tasks.length <= SECONDS / 20, `${tasks.length} long tasks in ${SECONDS} s`)
  if (isFull) t.same(long.filter(({ cpuMs }) => cpuMs > 50), [], 'none takes 50 ms of the CPU')
  t.same(faults, [])
})
