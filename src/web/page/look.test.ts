// How the viewer page looks, speeds and reads: contrast and roles as a browser computes them, keyboard alone, the busy
// room, and pictures of its states (in UPROAR_PICTURES, or a temporary folder that the test names).

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Browser, Page } from 'playwright-core'
import t, { type Test } from 'tap'
import type { User } from '../../../proto/values.ts'
import { withoutChromium } from '../../../deploy/services/services.ts'
import { buildWeb } from '../build.ts'
import { audit as auditAll, launch, live, PHONE, picture, pictures, row, say, scrollUp, signIn, toEnd, visit } from './browser.suite.ts'
import { StandIn } from './stand-in.suite.ts'

const PEOPLE: User[] = [
  ['u1', 'Nadia_K', 0], ['u2', 'ThePatientGardener', 1], ['u3', 'mods_love_tea', 4], ['u4', 'Yuki', 1], ['u5', 'streamer_zoe', 72],
  ['u6', 'Ólafur', 2], ['u7', 'xX_pixel_Xx', 0], ['u8', 'StreamBot', 32], ['u9', 'مريم', 1], ['u10', 'Marguerite Vandenberghe-Lindqvist', 0]
]

const skip = withoutChromium()
let browser: Browser
let folder: string
let shots: string

t.before(async () => {
  if (skip !== false) return
  folder = await mkdtemp(join(tmpdir(), 'uproar-look-'))
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

async function serve (t: Test): Promise<StandIn> {
  const server = new StandIn(join(folder, 'web'))
  await server.start()
  t.teardown(async () => {
    for (const context of browser.contexts()) await context.close()
    await server.stop()
  })
  return server
}

/** A conversation with one of everything. */
function converse (server: StandIn): void {
  const say = (who: number, text: string, more: { kind?: number, ext?: Record<string, unknown> } = {}): number => server.publish(PEOPLE[who] as User, text, more)
  server.state = { title: 'Cycling across Iceland, day 12: the north coast' }
  say(0, 'just got here, what did I miss?')
  say(2, 'Welcome everyone! Please keep it friendly 💛')
  const waterfall = say(1, 'that waterfall was unreal 😍 I have never seen water that colour')
  say(3, 'Take me with you next time please')
  say(6, 'LETS GOOOOOOOOOOO')
  say(4, 'Coming up on Akureyri in about ten minutes, hold on to your hats')
  say(5, 'map is here: https://example.org/maps/akureyri?day=12 (live)')
  say(0, 'so jealous', { ext: { re: waterfall } })
  say(7, 'Zoe has been live for 3 hours 12 minutes.')
  say(8, 'مرحبا بالجميع من الدار البيضاء')
  say(6, '🔥🔥🔥')
  say(4, 'New here? Tomorrow we start at 08:00 from the harbour.', { kind: 2 })
  say(9, 'What tyres are you running on that gravel? I tried 45 mm last summer and they were barely enough for the highland roads')
  server.remove({ seq: say(6, 'buy followers now') })
  say(2, '@Nadia_K the ferry, the puncture and a very angry goose')
  say(0, 'hey @Sam, good to see you!')
}

/**
 * What axe finds, with one exception: a text area that becomes a combobox while names are offered. The HTML rules allow that
 * role on one-line inputs only, but those do not wrap, and screen readers take it as it is meant.
 */
async function audit (page: Page): Promise<string[]> {
  return (await auditAll(page)).filter((fault) => !fault.startsWith('aria-allowed-role: #message:'))
}

void t.test('every name colour is readable in both themes', { skip }, async (t) => {
  const server = await serve(t)
  for (const colorScheme of ['dark', 'light'] as const) {
    const { page } = await visit(browser, server.origin, { colorScheme })
    const worst = await page.evaluate(() => {
      const canvas = new OffscreenCanvas(1, 1)
      const context = canvas.getContext('2d', { willReadFrequently: true }) as OffscreenCanvasRenderingContext2D
      const luminance = (colour: string): number => {
        context.fillStyle = colour
        context.fillRect(0, 0, 1, 1)
        const [red, green, blue] = [...context.getImageData(0, 0, 1, 1).data].map((value) => value / 255).map((value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4) as [number, number, number]
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue
      }
      const style = getComputedStyle(document.documentElement)
      const grounds = ['--surface', '--raised', '--raised-2', '--accent-wash', '--note-wash', '--bad-wash'].map((name) => luminance(style.getPropertyValue(name)))
      const name = document.createElement('bdi')
      name.className = 'name'
      document.body.append(name)
      let lowest = 99
      for (let hue = 0; hue < 360; hue += 10) {
        for (const tone of [false, true]) {
          name.style.setProperty('--hue', String(hue))
          name.classList.toggle('is-deep', tone)
          const own = luminance(getComputedStyle(name).color)
          for (const ground of grounds) lowest = Math.min(lowest, (Math.max(own, ground) + 0.05) / (Math.min(own, ground) + 0.05))
        }
      }
      return lowest
    })
    t.ok(worst >= 4.5, `${colorScheme}: the lowest contrast is ${worst.toFixed(2)}`)
  }
})

void t.test('what assistive technology gets', { skip }, async (t) => {
  const server = await serve(t)
  converse(server)
  for (const colorScheme of ['dark', 'light'] as const) {
    const { page } = await visit(browser, server.origin, { colorScheme })
    await live(page)
    await row(page, 'hey @Sam').waitFor()
    t.same(await audit(page), [], `${colorScheme}, reading only`)
    await page.locator('#account').click()
    t.same(await audit(page), [], `${colorScheme}, the dialog`)
    await page.keyboard.press('Escape')
    await signIn(page, 'Sam')
    await row(page, 'hey @Sam').hover()
    server.refusals.push({ name: 'slow_mode', retryAfterMs: 60_000 })
    await say(page, 'too soon')
    await page.locator('#pending .is-failed').waitFor()
    await page.locator('#message').pressSequentially('@')
    await page.getByRole('listbox').waitFor()
    t.same(await audit(page), [], `${colorScheme}, writing, a refusal, names to choose from`)
  }
  const { page } = await visit(browser, server.origin)
  await live(page)
  for (const role of ['banner', 'main'] as const) t.equal(await page.getByRole(role).count(), 1, `one ${role}`)
  t.equal(await page.getByRole('region', { name: 'Stream' }).count(), 1)
  t.equal(await page.getByRole('region', { name: 'Chat' }).count(), 1)
  t.equal(await page.getByRole('log', { name: 'Chat messages' }).count(), 1)
  t.equal(await page.getByRole('heading', { level: 1 }).count(), 1)
  server.publish(PEOPLE[0] as User, 'a calm word')
  await page.locator('#announcer', { hasText: 'Nadia_K: a calm word' }).waitFor()
  server.burst(Array.from({ length: 12 }, (_, at) => [PEOPLE[1] as User, `flood ${at}`] as const))
  await page.locator('#announcer', { hasText: '12 new messages' }).waitFor()
  t.notMatch(await page.locator('#announcer').innerText(), 'flood', 'a flood is told as a number')
})

void t.test('the keyboard alone', { skip }, async (t) => {
  const server = await serve(t)
  const { page, faults } = await visit(browser, server.origin)
  await live(page)
  const focused = (): Promise<string> => page.evaluate(() => (document.activeElement as HTMLElement).id || (document.activeElement?.className ?? ''))
  await page.keyboard.press('Tab')
  t.equal(await focused(), 'skip', 'the skip link comes first')
  const order: string[] = []
  for (let at = 0; at < 8; at++) {
    await page.keyboard.press('Tab')
    order.push(await focused())
  }
  t.same(order.slice(0, 7), ['brand', 'room', 'plain', 'theme', 'account', 'log', 'gate-sign-in'], 'in the order of sight')
  await page.locator('#gate-sign-in').focus()
  await page.keyboard.press('Enter')
  await page.keyboard.type('Kay')
  await page.keyboard.press('Enter')
  await page.waitForFunction(() => document.activeElement?.id === 'message')
  await live(page)
  await page.keyboard.type('typed blind')
  await page.keyboard.press('Enter')
  await row(page, 'typed blind').waitFor()
  for (let at = 0; at < 60; at++) server.publish(PEOPLE[at % 10] as User, `line ${at}`)
  await row(page, 'line 59').waitFor()
  await page.locator('#log').focus()
  await page.keyboard.press('ArrowUp')
  await page.keyboard.press('ArrowUp')
  t.equal(await page.evaluate(() => document.activeElement?.querySelector('.body')?.textContent), 'line 58', 'arrows walk the messages')
  await page.locator('#newest').waitFor()
  server.publish(PEOPLE[0] as User, 'while looking')
  await page.locator('#newest', { hasText: '1 new message' }).waitFor()
  await page.keyboard.press('Tab')
  await page.keyboard.press('Tab')
  t.equal(await focused(), 'tools-reply', 'the buttons of the row follow')
  await page.keyboard.press('Enter')
  t.equal(await focused(), 'message')
  t.match(await page.locator('#replying').innerText(), 'line 58')
  await page.keyboard.press('Escape')
  await page.keyboard.press('Escape')
  await page.locator('#newest').waitFor({ state: 'hidden' })
  t.ok(await toEnd(page) < 2, 'Escape twice: no reply, and back at the end')
  const outlines = await page.evaluate(() => {
    const found: string[] = []
    for (const node of document.querySelectorAll<HTMLElement>('a, button, input, #log')) {
      if (node.closest('dialog') !== null || node.offsetParent === null) continue
      node.focus()
      const shown = [node, node.parentElement as HTMLElement].some((one) => getComputedStyle(one).outlineStyle !== 'none')
      if (document.activeElement === node && !shown) found.push(node.id || node.className)
    }
    return found
  })
  t.same(outlines, [], 'focus is always seen')
  t.same(faults, [])
})

void t.test('200 messages a second', { skip, timeout: 60_000 }, async (t) => {
  const server = await serve(t)
  converse(server)
  const { page, faults } = await visit(browser, server.origin, { viewport: { width: 1440, height: 900 } })
  await signIn(page, 'Sam')
  await page.evaluate(() => {
    const seen = Object.assign(globalThis, { tasks: [] as number[], frames: [] as number[] })
    new PerformanceObserver((list) => { for (const entry of list.getEntries()) seen.tasks.push(Math.round(entry.duration)) }).observe({ type: 'longtask' })
    let last = performance.now()
    const frame = (now: number): void => { seen.frames.push(now - last); last = now; requestAnimationFrame(frame) }
    requestAnimationFrame(frame)
  })
  const words = ['LETS GO', 'no way 😂', 'that was close', 'W', 'where is this?', 'greetings from Lima', 'the goose again', '🔥🔥🔥', 'I was not ready for that view, honestly']
  let sent = 0
  await new Promise<void>((resolve) => {
    // The rhythm of a busy room: one message of the socket per window of 50 ms.
    const timer = setInterval(() => {
      server.burst(Array.from({ length: 10 }, () => [PEOPLE[sent % 10] as User, `${words[sent % 9]} ${++sent}`] as const))
      if (sent >= 1000) { clearInterval(timer); resolve() }
    }, 50)
  })
  await row(page, ' 1000').waitFor()
  await picture(page, shots, 'busy-dark')
  const { tasks, frames } = await page.evaluate(() => {
    const { tasks, frames } = globalThis as unknown as { tasks: number[], frames: number[] }
    return { tasks, frames }
  })
  const sorted = frames.toSorted((one, other) => one - other)
  t.comment(`long tasks (ms): ${tasks.join(' ') || 'none'}; frames: ${sorted.length}, p50 ${sorted[sorted.length >> 1]?.toFixed(1)} ms, p99 ${sorted[Math.floor(sorted.length * 0.99)]?.toFixed(1)} ms`)
  t.equal(await page.locator('#rows > .row').count(), 200)
  const numbers = (await page.locator('#rows .body').allTextContents()).map((text) => Number(text.split(' ').at(-1)))
  t.same(numbers, Array.from({ length: 200 }, (_, at) => 801 + at), 'the newest 200, in order')
  t.ok(await toEnd(page) < 2)
  await say(page, 'heard over the noise')
  await row(page, 'heard over the noise').waitFor()
  await scrollUp(page)
  server.burst(Array.from({ length: 12 }, () => [PEOPLE[3] as User, 'later'] as const))
  await page.locator('#newest', { hasText: '12 new messages' }).waitFor()
  await picture(page, shots, 'paused-dark')
  t.same(faults, [])
})

void t.test('a hot room moves in steps, and what concerns the reader stays to be read', { skip, timeout: 60_000 }, async (t) => {
  const server = await serve(t)
  converse(server)
  const { page, faults } = await visit(browser, server.origin)
  await signIn(page, 'Sam')
  await page.evaluate(() => {
    const steps = Object.assign(globalThis, { steps: [] as number[] }).steps
    new MutationObserver((changes) => { if (changes.some(({ addedNodes }) => addedNodes.length > 0)) steps.push(performance.now()) })
      .observe(document.getElementById('rows') as HTMLElement, { childList: true })
  })
  let sent = 0
  const noise = (): void => { server.publish(PEOPLE[sent % 10] as User, `noise ${++sent}`) }
  const hot = setInterval(noise, 25)
  t.teardown(() => clearInterval(hot))
  await row(page, 'noise 120').waitFor()
  const gaps = (await page.evaluate(() => (globalThis as unknown as { steps: number[] }).steps)).map((at, index, all) => at - (all[index - 1] ?? -Infinity))
  t.ok(gaps.length < 15, `${gaps.length} steps for 120 messages`)
  t.ok(gaps.every((gap) => gap > 240), `no two steps within 250 ms: ${gaps.map(Math.round).join(' ')}`)

  const strip = page.getByRole('region', { name: 'Yours, and for you' })
  const box = (): Promise<unknown> => page.locator('#log').boundingBox()
  const place = await box()
  await say(page, 'did anybody see that?')
  await strip.getByText('did anybody see that?').waitFor()
  // A strip that is pointed at stays, however long the picture and the audit take.
  await strip.hover()
  server.publish(PEOPLE[1] as User, 'I did, @Sam, twice! What a place for it to come out of the water, and so close to the road at that, unbelievable')
  await strip.getByText('I did, @Sam').waitFor()
  await picture(page, shots, 'hot-dark')
  t.same(await audit(page), [])
  t.same(await box(), place, 'nothing moves for the strip')
  t.equal(await page.locator('#announcer').getByText('mentioned you').count() <= 1, true, 'said once')
  t.equal(await strip.getAttribute('aria-live'), null)
  // 250 of 40 a second: longer than a line stays that nobody points at.
  await row(page, `noise ${sent + 250}`).waitFor()
  t.ok(await strip.getByText('did anybody see that?').isVisible(), 'what is pointed at stays')
  await page.mouse.move(0, 0)
  const rude = server.publish(PEOPLE[6] as User, '@Sam something rude')
  await strip.getByText('something rude').waitFor()
  server.remove({ seq: rude })
  await strip.getByText('something rude').waitFor({ state: 'detached' })
  await strip.waitFor({ state: 'hidden' })
  t.pass('and leaves by itself')
  await say(page, 'to be dismissed')
  await strip.getByText('to be dismissed').waitFor()
  await strip.getByRole('button', { name: 'Dismiss' }).click()
  t.notOk(await strip.isVisible())
  clearInterval(hot)
  await say(page, 'calm again')
  await row(page, 'calm again').waitFor()
  t.notOk(await strip.isVisible(), 'what can be seen in the list is not repeated')
  t.same(faults, [])
})

void t.test('pictures', { skip, timeout: 90_000 }, async (t) => {
  const server = await serve(t)
  const empty = await visit(browser, server.origin, { colorScheme: 'light' })
  await live(empty.page)
  await picture(empty.page, shots, 'empty-light')
  await empty.page.context().close()
  converse(server)
  for (const options of [{}, PHONE]) {
    const { page } = await visit(browser, server.origin, options)
    await live(page)
    await row(page, 'What tyres').hover()
    await picture(page, shots, options === PHONE ? 'reading-phone' : 'reading-dark')
    const account = await page.locator('#account').boundingBox()
    t.ok(account !== null && account.x + account.width <= (page.viewportSize()?.width ?? 0), 'nothing sticks out')
    if (options !== PHONE) {
      const [bar, text] = [await page.locator('#tools').boundingBox(), await row(page, 'What tyres').locator('.line').boundingBox()]
      t.ok(bar !== null && text !== null && bar.y + bar.height <= text.y + 1, 'the bar of a row leaves its text readable')
    }
    await signIn(page, 'Sam')
    t.equal(await page.locator('#field.is-tall').count(), 0)
    await page.locator('#message').fill('It is a long way to the harbour, and longer still by bicycle. '.repeat(10))
    t.equal(await page.locator('#counter').innerText(), '-119')
    await picture(page, shots, options === PHONE ? 'too-long-phone' : 'too-long-dark')
    const [counter, send] = [await page.locator('#counter').boundingBox(), await page.locator('#send').boundingBox()]
    t.ok(counter !== null && send !== null && counter.y < send.y && send.y - counter.y - counter.height < 12, 'the counter stands right above the button')
    const { top, line } = await page.locator('#message').evaluate((box) => { box.scrollTop = 1e6; return { top: box.scrollTop, line: parseFloat(getComputedStyle(box).lineHeight) } })
    t.ok(top > 0 && Math.abs(top / line - Math.round(top / line)) < 0.05, 'no half line at the edge of the box')
    await page.context().close()
  }
  for (const colorScheme of ['dark', 'light'] as const) {
    server.entries = []
    converse(server)
    const { page } = await visit(browser, server.origin, { viewport: { width: 1440, height: 900 }, colorScheme })
    await live(page)
    await page.locator('#account').click()
    await picture(page, shots, `dialog-${colorScheme}`)
    await page.keyboard.press('Escape')
    await signIn(page, 'Sam')
    await row(page, 'Take me').hover()
    await picture(page, shots, `desktop-${colorScheme}`)
    await page.getByRole('button', { name: 'Reply to Yuki', exact: true }).click()
    await page.locator('#message').pressSequentially('pack your bags, @')
    await picture(page, shots, `reply-${colorScheme}`)
    await page.keyboard.press('Escape')
    await page.keyboard.press('Escape')
    server.refusals.push({ name: 'slow_mode', retryAfterMs: 28_000 })
    await say(page, 'can I ask one more thing?')
    await page.locator('#send-wait').waitFor()
    server.skip(300, 'sampled')
    await page.locator('#sampled').waitFor()
    await picture(page, shots, `refused-${colorScheme}`)
    await page.context().close()
  }
  server.entries = []
  converse(server)
  for (const [name, options] of [['phone-dark', PHONE], ['phone-light', { ...PHONE, colorScheme: 'light' }], ['phone-keyboard', { ...PHONE, viewport: { width: 390, height: 420 } }], ['phone-side', { ...PHONE, viewport: { width: 844, height: 390 } }], ['zoom-200', { viewport: { width: 640, height: 400 }, deviceScaleFactor: 2 }]] as const) {
    const { page } = await visit(browser, server.origin, options)
    await signIn(page, 'Sam')
    server.publish(PEOPLE[4] as User, 'hello to everybody on a small screen')
    await row(page, 'small screen').waitFor()
    const box = await page.locator('#send').boundingBox()
    const { width, height } = page.viewportSize() as { width: number, height: number }
    t.ok(box !== null && box.x + box.width <= width && box.y + box.height <= height, `${name}: the message box is in sight`)
    t.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${name}: nothing sticks out`)
    await picture(page, shots, name)
    if (name === 'phone-dark') t.same(await audit(page), [], 'a phone is as accessible')
  }
  const forced = await visit(browser, server.origin, { forcedColors: 'active', reducedMotion: 'reduce' })
  await signIn(forced.page, 'Sam')
  await picture(forced.page, shots, 'forced-colours')
})
