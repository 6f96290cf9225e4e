// The pages about the past in real Chromium, against a scripted server: a stream watched again, in step with its own clock
// and with the video of a page that holds it; a room's numbers; what both say without an archive; and how they look and read.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Browser, BrowserContextOptions, Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { withoutChromium } from '../../../deploy/services/services.ts'
import { buildWeb } from '../build.ts'
import { audit, launch, PHONE, picture, pictures, row, visit, type Visitor } from '../page/browser.suite.ts'
import { EVENING, EVENING_MS, PastServer } from './past-server.suite.ts'

const skip = withoutChromium()
let browser: Browser
let folder: string
let shots: string

t.before(async () => {
  if (skip !== false) return
  folder = await mkdtemp(join(tmpdir(), 'uproar-replay-'))
  shots = await pictures()
  t.comment(`pictures are in ${shots}`)
  await buildWeb(folder)
  browser = await launch()
})

t.teardown(async () => {
  if (skip !== false) return
  await browser.close()
  await rm(folder, { recursive: true, force: true })
})

/** A test with a server of its own; at the end no page may have had a fault but those of answers that were refused. */
function play (name: string, act: (t: Test, server: PastServer, open: (path: string, options?: BrowserContextOptions) => Promise<Page>) => Promise<void>): void {
  void t.test(name, { skip, timeout: 60_000 }, async (t) => {
    const server = new PastServer(join(folder, 'web'))
    await server.start()
    const visitors: Visitor[] = []
    t.teardown(async () => {
      for (const { page } of visitors) await page.context().close()
      await server.stop()
    })
    await act(t, server, async (path, options) => {
      const visitor = await visit(browser, server.origin + path, options)
      visitors.push(visitor)
      return visitor.page
    })
    t.same(visitors.flatMap(({ faults }) => faults).filter((fault) => !/status of 503/.test(fault)), [], 'no exception, no console error, nothing the security policy refused')
  })
}

/** Seconds that the player shows. */
const shown = async (page: Page): Promise<number> => (await page.locator('#player-time').innerText()).split('/')[0]?.trim().split(':').reduce((sum, part) => sum * 60 + Number(part), 0) ?? -1

/** Milliseconds into the stream of the newest message in sight, and the seqs in their order. */
const rows = (page: Page): Promise<number[]> => page.locator('#rows > .row').evaluateAll((all) => all.map((one) => Number((one as HTMLElement).dataset['seq'])))

/** The last seq that is due at this moment. */
const dueAt = (server: PastServer, ms: number): number => server.entries.findLast(({ ts }) => ts <= EVENING + ms)?.seq ?? 0

async function seek (page: Page, ms: number): Promise<void> {
  await page.locator('#seek').fill(String(ms))
}

play('a stream is watched again: play, pause, seek, speed', async (t, server, open) => {
  const page = await open('/replay?room=iceland')
  await page.getByRole('button', { name: /20 Nov 2026.*90 min, 4,\d+ messages/ }).waitFor()
  t.equal(await page.locator('#choices [aria-current=true]').count(), 1, 'the newest stream is loaded')
  await page.locator('#state-text', { hasText: 'Paused' }).waitFor()
  t.same(await rows(page), [1], 'it stands at its beginning')
  t.match(await page.locator('#player-time').innerText(), '0:00 / 1:30:00')

  await seek(page, 2_400_000)
  const last = dueAt(server, 2_400_000)
  await page.locator(`#rows > .row[data-seq="${last}"]`).waitFor()
  t.same(await rows(page), Array.from({ length: 50 }, (_, at) => last - 49 + at), 'what was said before that moment, and nothing after')
  t.equal(await page.locator('#seek').getAttribute('aria-valuetext'), '40:00 of 1:30:00')
  t.match(await page.locator('.row-time').last().innerText(), /^(39|40):\d\d$/)

  await page.keyboard.press('k')
  await page.locator('#state-text', { hasText: 'In step' }).waitFor()
  await page.waitForFunction((seq) => Number((document.querySelector('#rows > .row:last-child') as HTMLElement).dataset['seq']) > seq + 3, last)
  await page.keyboard.press('k')
  await page.locator('#state-text', { hasText: 'Paused' }).waitFor()
  const [at, seqs] = [await shown(page), await rows(page)]
  t.same(seqs, Array.from({ length: seqs.length }, (_, index) => (seqs[0] as number) + index), 'every message once, in order')
  t.ok((seqs.at(-1) as number) <= dueAt(server, at * 1000 + 1000) && (seqs.at(-1) as number) >= dueAt(server, at * 1000 - 1000), 'in step with the clock')

  await page.getByLabel('Speed').selectOption('8')
  await page.getByRole('button', { name: 'Play (K)' }).click()
  const before = await shown(page)
  const began = performance.now()
  await page.waitForFunction((from) => { const [text] = (document.getElementById('player-time')?.textContent ?? '').split('/'); const [minutes, seconds] = (text ?? '').trim().split(':').map(Number); return (minutes as number) * 60 + (seconds as number) >= from + 16 }, before)
  const seconds = (performance.now() - began) / 1000
  t.ok(seconds < 8, `16 s of the stream took ${seconds.toFixed(1)} s at 8 times`)
  await page.getByRole('button', { name: 'Pause (K)' }).click()

  await page.keyboard.press('j')
  await page.locator('#play').focus()
  const there = await shown(page)
  await page.keyboard.press('l')
  t.equal(await shown(page) - there, 10, 'J and L go ten seconds')
  await page.locator('#seek').focus()
  await page.keyboard.press('End')
  await page.locator('#state-text', { hasText: 'The end' }).waitFor()
  await page.locator(`#rows > .row[data-seq="${server.entries.length}"]`).waitFor()
  await page.getByRole('button', { name: 'Play (K)' }).click()
  await page.waitForFunction(() => document.querySelector('#play')?.getAttribute('aria-label') === 'Play (K)')
  t.ok(server.asked.every(({ limit }) => limit === undefined || Number(limit) <= 200))

  await page.getByLabel('Or from a moment on').fill('2026-11-20T19:20:00')
  await page.getByRole('button', { name: 'Watch from there' }).click()
  const zone = await page.evaluate(() => new Date('2026-11-20T19:20:00').getTime())
  await page.waitForFunction((start) => performance.getEntriesByType('resource').some(({ name }) => name.includes(`start=${start}`)), zone)
})

play('an address names the stream and the moment', async (t, server, open) => {
  const page = await open(`/replay?room=iceland&start=${EVENING}&length=${EVENING_MS}&at=600000`)
  await page.locator(`#rows > .row[data-seq="${dueAt(server, 600_000)}"]`).waitFor()
  t.equal(await shown(page), 600)
})

play('the video of the page that holds it drives it', async (t, server, open) => {
  const page = await open('/holder')
  const ready = page.evaluate(() => new Promise<unknown>((resolve) => addEventListener('message', (event) => { if ((event.data as { uproar?: string }).uproar === 'ready') resolve(event.data) })))
  await page.locator('#chat').evaluate((frame, address) => { (frame as HTMLIFrameElement).src = address }, `/replay?room=iceland&start=${EVENING}&length=${EVENING_MS}&embed`)
  t.same(await ready, { uproar: 'ready' })
  const inner = page.frameLocator('#chat')
  const tell = (time: Record<string, unknown>): Promise<void> => page.locator('#chat').evaluate((frame, data) => (frame as HTMLIFrameElement).contentWindow?.postMessage(data, location.origin), time)
  await inner.locator('#rows > .row').first().waitFor()
  t.notOk(await inner.locator('.bar').isVisible(), 'the chat alone is there')
  t.notOk(await inner.locator('.stage').isVisible())
  await tell({ uproar: 'time', seconds: 1200, playing: false, rate: 1 })
  await inner.locator(`#rows > .row[data-seq="${dueAt(server, 1_200_000)}"]`).waitFor()
  await tell({ uproar: 'time', seconds: 1200, playing: true, rate: 2 })
  await inner.locator('#state-text', { hasText: 'Follows the video' }).waitFor()
  await inner.locator(`#rows > .row[data-seq="${dueAt(server, 1_200_000) + 2}"]`).waitFor()
  await tell({ uproar: 'time', seconds: 60, playing: false, rate: 2 })
  await inner.locator(`#rows > .row[data-seq="${dueAt(server, 60_000)}"]`).waitFor()
  t.equal(await inner.locator(`#rows > .row[data-seq="${dueAt(server, 1_200_000)}"]`).count(), 0, 'a jump back takes the later ones away')
  for (const junk of [null, 'time', { uproar: 'time', seconds: 'x' }, { uproar: 'time', seconds: Infinity }, { uproar: 'time', seconds: 5, rate: -1 }, { uproar: 'stop' }, { seconds: 99 }]) await tell(junk as Record<string, unknown>)
  t.equal(await inner.locator('#state-text').innerText(), 'Paused', 'what is no time is passed over')
})

play('a room\'s numbers', async (t, server, open) => {
  const page = await open('/stats?room=iceland&span=all')
  await page.locator('.chart').nth(1).waitFor()
  t.equal(await page.locator('.chart').count(), 2, 'messages and viewers')
  t.match(await page.locator('#figures').innerText(), /4,\d{3}\nmessages|messages/)
  t.ok(await page.getByText('shown to the room\'s moderators').isVisible())
  t.equal(await page.locator('.list').count(), 0)
  const chart = page.getByRole('slider', { name: /^Messages and chatters/ })
  await chart.focus()
  await page.keyboard.press('Home')
  const first = await chart.getAttribute('aria-valuetext')
  t.match(first, /20 Nov, \d\d:\d\d: \d+ messages, \d+ chatters/)
  await page.keyboard.press('ArrowRight')
  t.not(await chart.getAttribute('aria-valuetext'), first)
  t.equal(await page.locator('.chart-readout').first().innerText(), await chart.getAttribute('aria-valuetext'), 'the same in sight')
  server.isModerator = true
  await page.getByLabel('Time', { exact: true }).selectOption('hour')
  await page.getByText('Nothing was said in this time.').waitFor()
  t.match(page.url(), /span=hour/)
  await page.getByLabel('Time', { exact: true }).selectOption('all')
  // The hour before has words too, and no viewers: the third chart is what tells that all of it is shown.
  await page.locator('.chart').nth(2).waitFor()
  t.match(await page.locator('.list').first().innerText(), /goose\s+412/)
  t.equal(await page.locator('.chart').count(), 3, 'and moderation for moderators')
})

play('without an archive both pages say so', async (t, server, open) => {
  server.away = 'there is no archive here: ARCHIVE is off'
  const stats = await open('/stats?room=iceland')
  await stats.getByText('There is no archive here: ARCHIVE is off. Statistics come from the archive: there are none to show.').waitFor()
  t.equal(await stats.locator('.chart').count(), 0)
  const replay = await open('/replay?room=iceland')
  await replay.getByText('What the room\'s log still has can be watched; nothing older.').waitFor()
  await row(replay, server.entries[0]?.body ?? '').waitFor()
  t.equal(await replay.locator('#choices > li').count(), 1, 'and the log is offered')
})

void t.test('pictures, and what assistive technology gets', { skip, timeout: 60_000 }, async (t) => {
  const server = new PastServer(join(folder, 'web'))
  server.isModerator = true
  await server.start()
  t.teardown(async () => {
    for (const context of browser.contexts()) await context.close()
    await server.stop()
  })
  for (const [name, options] of [['dark', {}], ['light', { colorScheme: 'light' }], ['phone', PHONE]] as const) {
    const replay = (await visit(browser, `${server.origin}/replay?room=iceland&at=2520000`, options)).page
    await replay.locator(`#rows > .row[data-seq="${dueAt(server, 2_520_000)}"]`).waitFor()
    await picture(replay, shots, `replay-${name}`)
    t.same(await audit(replay), [], `${name}, the replay`)
    const stats = (await visit(browser, `${server.origin}/stats?room=iceland&span=all`, options)).page
    await stats.locator('.list').first().waitFor()
    if (name !== 'phone') await stats.locator('.plot').first().hover()
    await picture(stats, shots, `stats-${name}`)
    t.same(await audit(stats), [], `${name}, the statistics`)
    for (const page of [replay, stats]) t.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${name}: nothing sticks out`)
  }
  const page = (await visit(browser, `${server.origin}/replay?room=iceland`)).page
  await page.locator('#choices button').waitFor()
  const order: string[] = []
  for (let at = 0; at < 9; at++) {
    await page.keyboard.press('Tab')
    order.push(await page.evaluate(() => (document.activeElement as HTMLElement).id || (document.activeElement?.className ?? '')))
  }
  t.same(order, ['skip', 'brand', 'room', 'plain', 'theme', 'account', 'play', 'seek', 'speed'], 'in the order of sight')
  const outlines = await page.evaluate(() => [...document.querySelectorAll<HTMLElement>('a, button, input, select, #log')].filter((node) => node.offsetParent !== null && node.closest('dialog') === null).filter((node) => {
    node.focus()
    return document.activeElement === node && ![node, node.parentElement as HTMLElement].some((one) => getComputedStyle(one).outlineStyle !== 'none')
  }).map((node) => node.id || node.className))
  t.same(outlines, [], 'focus is always seen')
})
