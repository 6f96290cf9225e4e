// The viewer page in real Chromium, against a scripted server: what a visitor does and sees. Looks, speed and
// accessibility are in look.test.ts, the real server in served.test.ts.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Browser, Page } from 'playwright-core'
import t, { type Test } from 'tap'
import type { User } from '../../../proto/values.ts'
import { withoutChromium } from '../../../deploy/services/services.ts'
import { buildWeb } from '../build.ts'
import { launch, live, row, say, scrollUp, signIn, toEnd, visit, type Visitor } from './browser.suite.ts'
import { StandIn, tokenOf } from './stand-in.suite.ts'

const ANN: User = ['u1', 'Ann', 0]
const BEN: User = ['u2', 'Ben', 4]
const EVE: User = ['u3', 'Eve', 1]

const skip = withoutChromium()
let browser: Browser
let folder: string

t.before(async () => {
  if (skip !== false) return
  folder = await mkdtemp(join(tmpdir(), 'uproar-page-'))
  await buildWeb(folder)
  browser = await launch()
})

t.teardown(async () => {
  if (skip !== false) return
  await browser.close()
  await rm(folder, { recursive: true, force: true })
})

/** A test with its own server; at the end every visitor's page must be free of faults. */
function play (name: string, act: (t: Test, server: StandIn, open: (path?: string) => Promise<Page>, visitors: Visitor[]) => Promise<void>): void {
  void t.test(name, { skip }, async (t) => {
    const server = new StandIn(join(folder, 'web'))
    await server.start()
    const visitors: Visitor[] = []
    t.teardown(async () => {
      for (const { page } of visitors) await page.context().close()
      await server.stop()
    })
    await act(t, server, async (path = '/') => {
      const visitor = await visit(browser, server.origin + path)
      visitors.push(visitor)
      await live(visitor.page)
      return visitor.page
    }, visitors)
    t.same(visitors.flatMap(({ faults }) => faults), [], 'no exception, no console error, nothing the security policy refused')
  })
}

const texts = (page: Page): Promise<string[]> => page.locator('#rows > .row .body').allTextContents()

play('reading without a name, signing in, sending and receiving', async (t, server, open) => {
  const [one, two] = [await open(), await open()]
  await one.getByText('It is quiet in here').waitFor()
  t.notOk(await one.locator('#composer').isVisible(), 'nobody in particular cannot write')
  t.match(await one.locator('#gate').innerText(), 'without a name')
  await signIn(one, 'Ada', 'moderator')
  await signIn(two, 'Bo')
  await say(one, 'hello  all\n of you ')
  await row(two, 'hello all of you').waitFor()
  await row(one, 'hello all of you').waitFor()
  t.equal(await one.locator('#pending > .row').count(), 0, 'the waiting copy left')
  t.equal(await one.locator('#message').inputValue(), '')
  t.equal(await row(two, 'hello all').getByRole('img', { name: 'Moderator' }).count(), 1, 'the badge has a name')
  t.notOk(await one.getByText('It is quiet in here').isVisible())
  t.equal(await one.locator('#viewers-label').innerText(), '1,204 viewers')
  const before = await one.evaluate(() => localStorage.getItem('uproar.persona'))
  await one.reload()
  await one.locator('#composer').waitFor()
  t.equal(await one.evaluate(() => localStorage.getItem('uproar.persona')), before, 'the same person after a reload')
  await row(one, 'hello all of you').waitFor()
  await one.locator('#message').press('ArrowUp')
  t.equal(await one.locator('#message').inputValue(), '', 'nothing to recall yet')
  await say(one, 'again')
  await row(one, 'again').waitFor()
  await one.locator('#message').press('ArrowUp')
  t.equal(await one.locator('#message').inputValue(), 'again', 'the last message comes back')
  server.change({ title: 'Late show' })
  await two.getByRole('heading', { level: 1, name: 'Late show' }).waitFor()
})

play('replies, mentions and completing a name', async (t, server, open) => {
  const page = await open()
  await signIn(page, 'Sam Fox')
  const first = server.publish(ANN, 'anybody from Oslo?')
  await row(page, 'anybody from Oslo?').hover()
  t.match(await page.locator('#tools-time').getAttribute('datetime'), /^\d{4}-\d\d-\d\dT/)
  await page.getByRole('button', { name: 'Reply to Ann', exact: true }).click()
  t.match(await page.locator('#replying').innerText(), /Replying to\s+Ann\s+anybody/)
  await page.keyboard.press('Escape')
  t.notOk(await page.locator('#replying').isVisible(), 'Escape takes the reply back')
  await row(page, 'anybody from Oslo?').hover()
  await page.getByRole('button', { name: 'Reply to Ann', exact: true }).click()
  await say(page, 'me!')
  await row(page, 'me!').waitFor()
  t.match(await row(page, 'me!').locator('.quote').innerText(), /@Ann anybody from Oslo\?/)
  t.same(server.entries.at(-1)?.[6], { re: first })

  server.publish(BEN, 'so am I', { ext: { re: 2 } })
  await row(page, 'so am I').waitFor()
  t.match(await row(page, 'so am I').getAttribute('class'), /is-for-me/, 'an answer to me stands out')
  server.publish(EVE, 'look here @sam fox, please')
  await row(page, 'look here').waitFor()
  t.match(await row(page, 'look here').getAttribute('class'), /is-for-me/, 'my name stands out, in any case')
  t.equal(await row(page, 'look here').locator('.mention.is-me').innerText(), '@sam fox')
  server.publish(EVE, 'look there @samuel')
  await row(page, 'look there').waitFor()
  t.notMatch(await row(page, 'look there').getAttribute('class'), /is-for-me/)

  const box = page.locator('#message')
  await box.pressSequentially('hi @')
  const list = page.getByRole('listbox', { name: 'People to mention' })
  t.same(await list.getByRole('option').allInnerTexts(), ['Eve', 'Ben', 'Ann'], 'who wrote last comes first')
  t.equal(await box.getAttribute('role'), 'combobox')
  t.equal(await box.getAttribute('aria-activedescendant'), 'picker-0')
  await box.press('ArrowDown')
  t.equal(await page.getByRole('option', { selected: true }).innerText(), 'Ben')
  await box.press('Tab')
  t.equal(await box.inputValue(), 'hi @Ben ')
  t.equal(await box.getAttribute('role'), null, 'a plain text box again')
  await box.pressSequentially('and @an')
  await box.press('Enter')
  t.equal(await box.inputValue(), 'hi @Ben and @Ann ')
  await box.press('Enter')
  await row(page, 'hi @Ben and @Ann').waitFor()
  t.same(server.entries.at(-1)?.[6], { at: ['u1', 'u2'] }, 'ids of the mentioned travel along')

  for (let at = 0; at < 60; at++) server.publish(ANN, `line ${at}`)
  server.publish(BEN, 'far above', { ext: { re: first } })
  await row(page, 'far above').locator('.quote').click()
  await page.waitForFunction(() => document.activeElement?.textContent?.includes('anybody from Oslo?'))
  t.ok(await row(page, 'anybody from Oslo?').isVisible(), 'a click on the quote jumps there')
  await page.locator('#newest').waitFor()
})

play('waiting, refusals in plain words, slow mode', async (t, server, open) => {
  const page = await open()
  await signIn(page, 'Sam')
  server.holdsSends = true
  await say(page, 'slow answer')
  const pending = page.locator('#pending > .row')
  t.match(await pending.innerText(), /Sam: slow answer\s+sending…/)
  while (server.waiting.length === 0) await new Promise((resolve) => setImmediate(resolve))
  server.holdsSends = false
  server.waiting.splice(0).forEach((go) => go())
  await row(page, 'slow answer').waitFor()
  t.equal(await pending.count(), 0)

  server.refusals.push({ name: 'blocked' })
  await say(page, 'bad word')
  await page.getByText('Your message contains something this room does not allow.').waitFor()
  t.match(await pending.getAttribute('class'), /is-failed/)
  await pending.getByRole('button', { name: 'Try again' }).click()
  await row(page, 'bad word').waitFor()
  t.equal(await pending.count(), 0, 'accepted at the second try')
  server.refusals.push({ name: 'timed_out', retryAfterMs: 180_000 }, { name: 'room_locked' })
  await say(page, 'too hot')
  await page.getByText('A moderator gave you a time-out. Try again in 3 min.').waitFor()
  await pending.getByRole('button', { name: 'Discard' }).click()
  t.equal(await pending.count(), 0)
  t.equal(await page.locator('#send').getAttribute('aria-disabled'), 'true', 'waits the time-out out')
  t.match(await page.locator('#send').innerText(), /3 min|180 s|1\d\d s/)

  const other = await open()
  await signIn(other, 'Kim')
  server.refusals.length = 0
  server.change({ slowModeSeconds: 5 })
  await row(other, 'Slow mode is on: one message every 5 s.').waitFor()
  await say(other, 'first')
  await row(other, 'first').waitFor()
  await other.locator('#send-wait').waitFor()
  t.match(await other.locator('#send-wait').innerText(), /^[1-5] s$/)
  await say(other, 'second')
  await other.getByText(/Slow mode: you can write again in [1-5] s/).first().waitFor()
  t.equal(await other.locator('#message').inputValue(), 'second', 'what was typed stays')
  t.notOk(server.entries.some((entry) => entry[5] === 'second'))
  await other.locator('#send-wait').waitFor({ state: 'hidden' })
  await other.locator('#message').press('Enter')
  await row(other, 'second').waitFor()

  await other.locator('#message').fill('👋'.repeat(501))
  t.equal(await other.locator('#counter').innerText(), '-1', 'characters are code points')
  t.equal(await other.locator('#message').getAttribute('aria-invalid'), 'true')
  await other.locator('#message').fill('x'.repeat(450))
  t.equal(await other.locator('#counter').innerText(), '50')
  server.change({ locked: true })
  await other.waitForFunction(() => (document.getElementById('message') as HTMLTextAreaElement).disabled)
  t.equal(await other.locator('#message').getAttribute('placeholder'), 'The room is locked')
})

play('hostile texts stay texts', async (t, server, open) => {
  const page = await open()
  await signIn(page, 'Sam')
  const html = '<img src=x onerror="document.title=1"><script>document.title=2</script><b>bold</b>&lt;'
  server.publish(['x1', '<i>Mallory</i>', 0], html)
  server.publish(['x2', '\u202eevil\u202d', 0], 'abc \u202e cba \u2066 open isolate')
  server.publish(['x3', 'Z\u0351\u0352\u0353a\u0354', 0], `z${'\u0301\u0323'.repeat(200)}algo`)
  server.publish(EVE, '😀'.repeat(500))
  server.publish(EVE, 'w'.repeat(500))
  server.publish(EVE, 'javascript:alert(1) data:text/html,x https://ok.example/a_(b)?c=1#d, HTTP://UP.example. https://bank.example@evil.example/ https://ok.example/"onclick=x')
  server.publish(EVE, '')
  server.publish(EVE, 'constructor __proto__ toString', { ext: { re: 99999, at: 'nonsense', meta: { x: 1 } } as Record<string, unknown> })
  server.publish(['__proto__', 'constructor', 127], 'all the badges', { kind: 99 })
  server.publish(EVE, new Uint8Array([1, 2, 255]) as unknown as string, { kind: 5 })
  server.publish(EVE, 'the end')
  await row(page, 'the end').waitFor()
  t.match(await texts(page), [html], 'shown as it was written')
  t.equal(await page.locator('#rows img, #rows script, #rows b, #rows i').count(), 0)
  t.equal(await page.title(), 'lobby · Uproar')
  t.same(await page.locator('#rows .body a').evaluateAll((links) => links.map((link) => (link as HTMLAnchorElement).href)),
    ['https://ok.example/a_(b)?c=1#d', 'http://up.example/', 'https://ok.example/'], 'only plain web links')
  t.equal(await page.locator('#rows .body a').first().getAttribute('rel'), 'noopener noreferrer nofollow ugc')
  const widths = await page.locator('#rows > .row').evaluateAll((rows) => rows.map((one) => one.scrollWidth - one.clientWidth))
  t.same(widths.filter((width) => width > 1), [], 'long words wrap')
  const log = await page.locator('#log').evaluate((node) => node.scrollWidth - node.clientWidth)
  t.ok(log <= 1)
  const isolation = await page.locator('#rows .name, #rows .body').evaluateAll((nodes) => [...new Set(nodes.map((node) => getComputedStyle(node).unicodeBidi))])
  t.same(isolation, ['isolate'], 'directions do not leak')
  const high = await row(page, 'algo').boundingBox()
  t.ok((high?.height ?? 99) < 60, 'stacked marks do not leave their row')
  t.equal(await row(page, 'encrypted message').count(), 1)
  t.equal(await row(page, 'all the badges').getByRole('img').count(), 3)
})

play('removals, edits, announcements', async (t, server, open) => {
  const page = await open()
  await signIn(page, 'Sam')
  const bad = server.publish(EVE, 'a terrible thing')
  server.publish(ANN, 'how rude', { ext: { re: bad } })
  server.publish(BEN, 'Stay kind.', { kind: 2 })
  server.publish(['u9', 'Uproar', 32], 'Ann subscribed for a year.', { kind: 3 })
  await row(page, 'how rude').locator('.quote', { hasText: 'a terrible thing' }).waitFor()
  t.equal(await page.locator('.row.is-announcement .kind').innerText(), 'Announcement')
  t.equal(await page.locator('.row.is-system').count(), 1)
  await row(page, 'a terrible thing').first().hover()
  await page.locator('#rows > .row').first().hover()
  await page.getByRole('button', { name: 'Reply to Eve', exact: true }).click()
  server.remove({ seq: bad })
  await page.locator('#rows > .row').first().getByText('message removed').waitFor()
  t.notMatch(await page.locator('#log').innerHTML(), 'terrible', 'nothing of it is left, not in the quote either')
  t.notOk(await page.locator('#replying').isVisible(), 'the reply to it is taken back')

  const typo = server.publish(ANN, 'teh typo')
  await row(page, 'teh typo').waitFor()
  server.edit(typo, 'the typo')
  await row(page, 'the typo (edited)').waitFor()
  for (let at = 0; at < 5; at++) server.publish(EVE, `spam ${at}`)
  await row(page, 'spam 4').waitFor()
  server.remove({ user: 'u3', upTo: server.entries.length })
  server.publish(EVE, 'sorry')
  await row(page, 'sorry').waitFor()
  t.same((await texts(page)).filter((text) => text.startsWith('spam')), [])
  server.remove({ all: true, upTo: server.entries.length })
  await row(page, 'A moderator cleared the chat.').waitFor()
  t.same(await texts(page), [], 'everything is gone')
})

play('pausing, new messages, fixed rows, paging back', async (t, server, open) => {
  for (let at = 1; at <= 400; at++) server.publish(ANN, `old ${at}`)
  const page = await open()
  await row(page, 'old 400').waitFor()
  t.ok(await toEnd(page) < 2, 'begins at the end')
  await scrollUp(page)
  t.equal(await page.locator('#newest').innerText(), 'Chat paused')
  const place = await page.locator('#log').evaluate((log) => log.scrollTop)
  server.burst(Array.from({ length: 12 }, (_, at) => [EVE, `new ${at + 1}`] as const))
  await page.getByText('12 new messages').waitFor()
  t.ok(Math.abs(await page.locator('#log').evaluate((log) => log.scrollTop) - place) < 2, 'what is read does not move')
  await page.locator('#newest').click()
  await page.locator('#newest').waitFor({ state: 'hidden' })
  await page.waitForFunction(() => { const log = document.getElementById('log') as HTMLElement; return log.scrollHeight - log.clientHeight - log.scrollTop < 2 })
  await scrollUp(page)
  await page.locator('#log').press('End')
  await page.locator('#newest').waitFor({ state: 'hidden' })
  t.pass('End resumes')

  for (let at = 0; at < 50; at++) server.burst(Array.from({ length: 100 }, (_, one) => [BEN, `bulk ${at * 100 + one + 1}`] as const))
  await row(page, 'bulk 5000').waitFor()
  t.equal(await page.locator('#rows > .row').count(), 200, 'rows are few after 5,000 messages')
  t.ok(await toEnd(page) < 2)
  const shown = await texts(page)
  t.same(shown, Array.from({ length: 200 }, (_, at) => `bulk ${4801 + at}`), 'the newest, in order')

  await scrollUp(page)
  for (let at = 0; at < 30; at++) server.burst(Array.from({ length: 100 }, (_, one) => [BEN, `more ${at * 100 + one + 1}`] as const))
  await page.getByText('3,000 new messages').waitFor()
  t.ok(await page.locator('#rows > .row').count() <= 600, 'rows have a bound while paused')
  await page.locator('#log').evaluate((log) => { log.scrollTop = 0 })
  await row(page, 'bulk 4751').waitFor()
  t.ok(await page.locator('#rows > .row').count() <= 600, 'and keep it when paging back')
  const first = (await texts(page))[0]
  t.match(first, /^bulk \d+$/, 'older ones come before')
  await page.locator('#newest').click()
  await row(page, 'more 3000').waitFor()
  t.same(await texts(page), Array.from({ length: 200 }, (_, at) => `more ${2801 + at}`), 'resuming shows the newest, without a hole')
})

play('sampled and missed messages are told', async (t, server, open) => {
  const page = await open()
  server.publish(ANN, 'one')
  await row(page, 'one').waitFor()
  t.equal(server.joins[0]?.['view'], 'live')
  server.burst([[ANN, 'two'], [BEN, 'three']])
  server.skip(400, 'sampled')
  await page.getByText(/Showing \d+ of \d+ a second/).waitFor()
  await page.getByRole('button', { name: 'Show all' }).click()
  while (server.joins.length < 2) await new Promise((resolve) => setImmediate(resolve))
  t.same(server.joins[1], { ...server.joins[1], view: 'full', position: ['e1', server.entries.length] }, 'goes on from the same place')
  server.publish(ANN, 'whole now')
  await row(page, 'whole now').waitFor()
  t.equal((await texts(page))[0], 'one', 'what was shown stays')
  server.skip(3120, 'slow')
  await page.getByText('You were away: 3,120 messages missed').waitFor()
})

play('a lost connection: told, repaired, nothing twice', async (t, server, open, visitors) => {
  const page = await open()
  await signIn(page, 'Sam')
  server.publish(ANN, 'before')
  await row(page, 'before').waitFor()
  server.isDown = true
  server.drop()
  await page.locator('#state', { hasText: /Reconnecting/ }).waitFor()
  await page.getByText('The connection was lost.').waitFor()
  await say(page, 'written meanwhile')
  t.match(await page.locator('#pending > .row').innerText(), /sending…/)
  server.publish(BEN, 'missed while away')
  server.isDown = false
  await live(page)
  await row(page, 'missed while away').waitFor()
  await row(page, 'written meanwhile').waitFor()
  t.same(await texts(page), ['before', 'missed while away', 'written meanwhile'])
  t.notOk(await page.getByText('The connection was lost.').isVisible())
  await page.locator('#pending > .row').first().waitFor({ state: 'detached' })
  server.drop(4503)
  await page.locator('#state', { hasText: 'Disconnected' }).waitFor()
  for (const { faults } of visitors) faults.splice(0, faults.length, ...faults.filter((fault) => !fault.includes('WebSocket connection')))
})

play('a token in the address, rooms, themes', async (t, server, open) => {
  server.hasDevTokens = false
  const reader = await open()
  t.match(await reader.locator('#gate').innerText(), /Read only\. To write, open this page with a token:\s+\/#token=…/)
  t.notOk(await reader.locator('#account').isVisible())
  const page = await open(`/?room=lobby#token=${tokenOf({ id: 'g1', name: 'Gus', roles: ['vip'] })}`)
  t.equal(await page.evaluate(() => location.hash), '', 'the token leaves the address bar')
  await say(page, 'from a token')
  await row(page, 'from a token').waitFor()
  t.equal(await row(page, 'from a token').locator('.name').innerText(), 'Gus')
  t.notMatch(await page.evaluate(() => JSON.stringify({ ...localStorage, ...sessionStorage })), /e30/, 'and is not stored')
  const background = (): Promise<string> => page.evaluate(() => getComputedStyle(document.body).backgroundColor)
  const dark = await background()
  await page.getByRole('button', { name: 'Theme: as the system' }).click()
  t.not(await background(), dark, 'light by choice')
  await page.reload()
  t.not(await background(), dark, 'and remembered')
  await page.getByLabel('Room name').fill('other.room')
  await page.getByLabel('Room name').press('Enter')
  await page.waitForURL('**/?room=other.room')
  t.equal(await page.title(), 'other.room · Uproar')
})
