// Stories of the moderator console in a real browser on the real program: what a moderator does there reaches viewers and
// other moderators, what is refused is taken back and said, and who may not moderate cannot.

import { join } from 'node:path'
import type { Browser, Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { withoutChromium } from '../../deploy/services/services.ts'
import { buildWeb } from '../web/build.ts'
import { launch, live, row, say, signIn, visit } from '../web/page/browser.suite.ts'
import { freePort, Program, tokenOf } from './harness.ts'
import { Stage, streamRow } from './moderate.suite.ts'

const skip = withoutChromium()
let browser: Browser

t.before(async () => {
  if (skip !== false) return
  await buildWeb(join(import.meta.dirname, '../../dist'))
  browser = await launch()
})

t.teardown(async () => { if (skip === false) await browser.close() })

async function begin (t: Test): Promise<Stage> {
  const stage = await Stage.start(t)
  t.teardown(closeAll)
  return stage
}

async function closeAll (): Promise<void> {
  for (const context of browser.contexts()) await context.close()
}

async function viewer (stage: Stage, id: string, room: string): Promise<Page> {
  const { page } = await visit(browser, `${stage.program.http}/?room=${room}#token=${tokenOf(id, { name: id })}`)
  await live(page)
  return page
}

const toast = (page: Page, text: string | RegExp): ReturnType<Page['locator']> => page.locator('.toast').filter({ hasText: text }).last()
const isGone = (locator: ReturnType<Page['locator']>): Promise<void> => locator.waitFor({ state: 'detached' })

void t.test('what a moderator does reaches everybody', { skip, timeout: 110_000 }, async (t) => {
  const stage = await begin(t)
  await stage.set('stage', { title: 'On stage' })
  const [{ page: mod, faults }, { page: other }] = [await stage.console(browser, ['stage']), await stage.console(browser, ['stage'], { id: 'mod2', role: 'broadcaster' })]
  const [ann, ben] = [await viewer(stage, 'ann', 'stage'), await viewer(stage, 'ben', 'stage')]

  await say(ann, 'something rude')
  await streamRow(mod, 'something rude').hover()
  await mod.getByRole('button', { name: 'Remove this message of ann (D)' }).click()
  await streamRow(mod, 'message of ann removed').waitFor()
  await row(ben, 'message removed').waitFor()
  await row(ann, 'message removed').waitFor()
  t.equal(await mod.locator('.newest:visible').count(), 0, 'a click on the bar does not stop the stream')

  await say(ann, 'rude again')
  await streamRow(mod, 'rude again').click()
  await mod.keyboard.press('t')
  await toast(mod, 'ann has a time-out of 10 min.').waitFor()
  await ann.getByText('A moderator gave you a time-out of 10 min').waitFor()
  await mod.keyboard.press('Enter')
  await mod.locator('#person-sanctions').getByText('Timed out').waitFor()
  await toast(mod, 'ann has a time-out').getByRole('button', { name: 'Undo' }).click()
  await mod.locator('#person-sanctions').getByText('Nothing is in force.').waitFor()
  await say(ann, 'thank you')
  await streamRow(mod, 'thank you').waitFor({ state: 'attached' })

  await mod.getByRole('tab', { name: 'Room' }).click()
  await mod.getByRole('switch', { name: 'Pre-moderation' }).click()
  await other.locator('.chip', { hasText: 'Pre-moderated' }).waitFor()
  await other.getByRole('tab', { name: 'Room' }).click()
  t.ok(await other.getByRole('switch', { name: 'Pre-moderation' }).isChecked(), 'another moderator sees it live')
  await say(ann, 'may I say this?')
  await say(ben, 'and this <img src=x onerror="document.title=1">')
  await mod.getByRole('tab', { name: 'Queue 2' }).click()
  await mod.getByText('2 messages wait', { exact: true }).waitFor()
  await mod.locator('#held').getByText('and this <img src=x onerror="document.title=1">').waitFor()
  await mod.getByRole('button', { name: 'Approve what ann wrote: may I say this?' }).click()
  await row(ben, 'may I say this?').waitFor()
  await other.getByRole('tab', { name: 'Queue 1' }).waitFor()
  await mod.keyboard.press('q')
  await mod.keyboard.press('d')
  await mod.getByText('Nothing waits', { exact: true }).waitFor()
  await ben.getByText('A moderator did not let your message through.').waitFor()

  await mod.getByRole('tab', { name: 'Room' }).click()
  await mod.getByRole('switch', { name: 'Pre-moderation' }).click()
  await mod.getByRole('switch', { name: 'Lock the room' }).click()
  await ben.locator('#message[placeholder="The room is locked"]').waitFor()
  await mod.getByRole('switch', { name: 'Lock the room' }).click()
  await mod.getByLabel('Slow mode', { exact: true }).selectOption('60')
  await ben.getByText('Slow mode is on: one message every 60 s.').waitFor()
  await mod.getByLabel('Slow mode', { exact: true }).selectOption('0')
  await mod.getByLabel('An announcement to everybody').fill('Five minutes break')
  await mod.keyboard.press('Enter')
  await row(ben, 'Five minutes break').waitFor()

  await mod.getByLabel('A term to block').fill('turnip*')
  await mod.keyboard.press('Enter')
  await mod.locator('#terms').getByText('turnip*').waitFor()
  await say(ben, 'turnips for all')
  await ben.getByText('Your message contains something this room does not allow.').waitFor()
  await ben.getByRole('button', { name: 'Discard' }).click()
  await other.getByRole('tab', { name: 'Room' }).click()
  await other.getByRole('button', { name: 'Take out turnip*' }).click()
  await isGone(mod.locator('#terms').getByText('turnip*'))
  await say(ben, 'turnips for all!')
  await row(ann, 'turnips for all!').waitFor()
  await mod.getByLabel('A host to allow').fill('https://www.Example.org/path')
  await mod.keyboard.press('Enter')
  await other.locator('#links').getByText('example.org', { exact: true }).waitFor()

  await mod.getByRole('tab', { name: 'Audit' }).click()
  await mod.locator('#audit-rows').getByText('something rude').waitFor()
  t.equal(await mod.locator('img').count(), 0, 'text is never markup')
  await mod.getByLabel('Only this action').selectOption('deny')
  await mod.getByText('1 row', { exact: true }).waitFor()
  t.match(await mod.locator('#audit-rows > li').innerText(), /Kim denied a message of ben/)
  t.same(faults, [])
})

void t.test('a user from card to ban and back', { skip, timeout: 110_000 }, async (t) => {
  const stage = await begin(t)
  await stage.say('stage', 7, 'I am the host')
  const { page: mod, faults } = await stage.console(browser, ['stage'])
  const { page: host } = await stage.console(browser, ['stage'], { id: 'host', role: 'broadcaster' })
  const [ann, ben] = [await viewer(stage, 'ann', 'stage'), await viewer(stage, 'ben', 'stage')]
  await say(ann, 'first of mine')
  await say(ann, 'second of mine')

  await streamRow(mod, 'I am the host').hover()
  await mod.getByRole('button', { name: 'Remove this message of streamer_zoe (D)' }).click()
  await toast(mod, 'You cannot do that to somebody of the same or a higher role.').waitFor()
  t.notMatch(await streamRow(mod, 'I am the host').getAttribute('class'), /is-going/, 'what was shown early is taken back')

  await streamRow(mod, 'second of mine').locator('.name').click()
  await mod.getByRole('heading', { name: 'ann' }).waitFor()
  await mod.locator('#person-messages').getByText('first of mine').waitFor()
  t.equal(await mod.getByRole('button', { name: 'Ban address' }).count(), 0, 'addresses are for broadcasters')
  await mod.getByRole('button', { name: 'Warn' }).click()
  await mod.getByText('A warning needs a reason').waitFor()
  await mod.getByLabel('Reason').fill('be kind')
  await mod.getByRole('button', { name: 'Warn' }).click()
  await ann.getByText('A moderator warns you: be kind').waitFor()
  await mod.locator('#person-sanctions').getByText('Warned, not yet acknowledged').waitFor()
  await ann.getByRole('button', { name: 'I understand' }).click()
  await mod.locator('#person-sanctions').getByText('Nothing is in force.').waitFor()

  await mod.getByLabel('A note for the other moderators').fill('seems to be new here')
  await mod.keyboard.press('Enter')
  await mod.locator('#person-notes').getByText('seems to be new here').waitFor()
  await streamRow(host, 'second of mine').locator('.name').click()
  await host.locator('#person-notes').getByText('seems to be new here').waitFor()
  await host.getByRole('button', { name: 'Ban address' }).waitFor()

  await mod.getByLabel('Time-out of another length').fill('soon')
  await mod.keyboard.press('Enter')
  await mod.getByText('Write a time such as 90 s').waitFor()
  await mod.getByLabel('Time-out of another length').fill('2 h')
  await mod.keyboard.press('Enter')
  await mod.locator('#person-sanctions').getByText('2 h left').waitFor()
  await mod.getByRole('button', { name: 'Lift all' }).click()
  await mod.locator('#person-sanctions').getByText('Nothing is in force.').waitFor()

  await mod.getByRole('button', { name: 'Shadow ban' }).click()
  await mod.getByRole('button', { name: 'Shadow ban: sure?' }).click()
  await mod.locator('#person-sanctions').getByText('Shadow banned').waitFor()
  await say(ann, 'does anybody hear me?')
  await mod.locator('#person-messages').getByText('does anybody hear me?').waitFor()
  t.match(await mod.locator('#person-messages > li').first().innerText(), /only the author sees this/)
  await say(ben, 'a quiet evening')
  await streamRow(mod, 'a quiet evening').waitFor()
  t.equal(await row(ben, 'does anybody hear me?').count(), 0)
  await mod.getByRole('button', { name: 'Time-out of 1 min', exact: true }).click()
  await toast(mod, 'ann has a time-out of 1 min.').waitFor()
  t.equal(await toast(mod, 'ann has a time-out of 1 min.').getByRole('button', { name: 'Undo' }).count(), 0, 'undoing would lift the shadow ban too')

  await mod.getByLabel('With a time-out or ban, also remove what was said').check()
  await mod.getByRole('button', { name: 'Ban', exact: true }).click()
  await mod.getByRole('button', { name: 'Ban: sure?' }).click()
  await toast(mod, 'ann is banned.').waitFor()
  await ann.getByText('You were banned from this room: be kind.').waitFor()
  await isGone(row(ben, 'first of mine'))
  const { status } = await stage.program.request('POST', '/v1/rooms/stage/actions', { token: tokenOf('ann'), json: { action: 'requestUnban', args: { text: 'I am sorry' } } })
  t.equal(status, 200)
  await host.keyboard.press('q')
  await host.locator('#requests').getByText('I am sorry').waitFor()
  await host.getByRole('button', { name: 'Unban ann' }).click()
  await ann.getByText('You may write here again.').waitFor()
  await mod.locator('#person-sanctions').getByText('Nothing is in force.').waitFor()
  await mod.locator('#person-history').getByText('unbanned, as asked,').waitFor()
  t.same(faults, [])
})

void t.test('by keyboard alone, and through a restart', { skip, timeout: 110_000 }, async (t) => {
  const stage = new Stage(await Program.start(t, { PORT: await freePort(), WS_PORT: await freePort() }))
  t.teardown(closeAll)
  for (const room of ['one', 'two']) for (let at = 1; at <= 30; at++) await stage.say(room, at, `${room} ${at}`)
  const { page, faults } = await stage.console(browser, ['one', 'two'])
  await streamRow(page, 'two 30').waitFor()
  await page.keyboard.press('Tab')
  t.equal(await page.evaluate(() => document.activeElement?.className), 'skip', 'the skip link comes first')
  await page.keyboard.press('c')
  const focused = (): Promise<string | null | undefined> => page.evaluate(() => document.activeElement?.getAttribute('aria-label') ?? document.activeElement?.querySelector('.body')?.textContent)
  t.equal(await focused(), 'Messages of #one')
  await page.keyboard.press(']')
  t.equal(await focused(), 'Messages of #two')
  await page.keyboard.press('ArrowUp')
  await page.keyboard.press('ArrowUp')
  t.equal(await focused(), 'two 29')
  await page.keyboard.press('b')
  await toast(page, 'Press B again to ban').waitFor()
  await page.keyboard.press('ArrowUp')
  await page.keyboard.press('b')
  t.equal(await page.locator('.toast', { hasText: 'is banned' }).count(), 0, 'another message is another question')
  await page.keyboard.press('b')
  await toast(page, 'is banned.').waitFor()
  await page.keyboard.press('n')
  t.equal(await page.evaluate(() => document.activeElement?.id), 'person-note')
  await page.keyboard.type('q?')
  t.equal(await page.locator('#person-note').inputValue(), 'q?', 'keys are text where text is written')
  await page.locator('#tab-person').focus()
  await page.keyboard.press('ArrowRight')
  t.equal(await page.locator('#panel-room').isVisible(), true, 'arrows move between the tabs')
  await page.keyboard.press('?')
  await page.getByLabel('Single keys count anywhere').uncheck()
  await page.keyboard.press('Escape')
  await page.keyboard.press('q')
  t.equal(await page.locator('#panel-queue').isVisible(), false, 'single keys can be turned off')
  const unseen = await page.evaluate(() => {
    const found: string[] = []
    for (const node of document.querySelectorAll<HTMLElement>('a, button, input, select, .log')) {
      if (node.closest('dialog') !== null || node.offsetParent === null) continue
      node.focus()
      const places = [node, node.parentElement as HTMLElement, node.nextElementSibling as HTMLElement | null]
      if (document.activeElement === node && !places.some((place) => place !== null && getComputedStyle(place).outlineStyle !== 'none')) found.push(node.id || node.className)
    }
    return found
  })
  t.same(unseen, [], 'focus is always seen')

  await page.getByRole('button', { name: 'In one stream' }).click()
  await streamRow(page, 'two 30').waitFor()
  t.equal(await page.locator('.column').count(), 1)
  t.match(await streamRow(page, 'one 30').innerText(), /#one/)
  await stage.program.kill9()
  await page.locator('#link-notice', { hasText: 'Actions are possible again when it is back' }).waitFor()
  await stage.program.launch()
  await live(page)
  await stage.say('one', 1, 'after the restart')
  await streamRow(page, 'after the restart').click()
  await page.keyboard.press('d')
  await page.locator('.column .row', { hasText: 'message of ThePatientGardener removed' }).waitFor()
  t.same(await page.locator('.column .body').allTextContents().then((all) => all.filter((text) => /^one \d+$/.test(text)).length), 30, 'nothing twice, nothing lost')
  await page.getByLabel('Room names').fill('one, two, three')
  await page.keyboard.press('Enter')
  await page.getByRole('heading', { name: '#three' }).waitFor()
  await live(page)
  await streamRow(page, 'one 30').click()
  await page.keyboard.press('t')
  await toast(page, 'has a time-out of 10 min.').waitFor()
  t.notOk(page.url().includes('token'), 'the token comes along, and not in the address')
  t.same(faults.filter((fault) => !/ERR_CONNECTION|WebSocket connection|Failed to load resource/.test(fault)), [])
})

void t.test('who may not', { skip, timeout: 90_000 }, async (t) => {
  const stage = await begin(t)
  await stage.say('stage', 0, 'hello')
  const answer = await stage.program.request('GET', '/moderate')
  t.match(answer.headers.get('content-security-policy'), /default-src 'self';.*frame-ancestors 'none'$/, 'no page may lay its own picture over the buttons')
  t.equal((await stage.program.request('GET', '/moderate/')).status, 200)
  const { page: nobody } = await visit(browser, `${stage.program.http}/moderate?rooms=stage`)
  await nobody.getByText('To moderate, open this page with a moderator\'s token: /moderate?rooms=stage#token=…').waitFor()
  await nobody.locator('#held-heading', { hasText: 'What waits is shown to the room\'s moderators alone' }).waitFor({ state: 'attached' })
  t.equal(await nobody.getByText('Nothing waits').count(), 0, 'whoever is not told must not read that nothing waits')
  const { page: ann } = await visit(browser, `${stage.program.http}/moderate?rooms=stage,no%20good!,other#token=${tokenOf('ann')}`)
  await ann.getByText('You moderate none of these rooms.').waitFor()
  await ann.getByText('You do not moderate #stage: you can read it, and no more.').waitFor()
  await ann.getByText('“good!” cannot be the name of a room').waitFor()
  await streamRow(ann, 'hello').hover()
  await ann.getByRole('button', { name: 'Remove this message of Nadia_K (D)' }).click()
  await toast(ann, 'You do not moderate this room.').waitFor()
  t.notOk((await ann.evaluate(() => location.href)).includes('token'), 'the token leaves the address bar')
  const { page: stale } = await visit(browser, `${stage.program.http}/moderate?rooms=stage#token=${tokenOf('mod', { ttlS: -60 })}`)
  await stale.getByText('The token has expired.').waitFor()
})

void t.test('on a server without a key a name is enough', { skip, timeout: 60_000 }, async (t) => {
  const program = await Program.start(t, { JWT_SECRET: '', API_KEYS: '' })
  t.teardown(closeAll)
  const { page, faults } = await visit(browser, `${program.http}/moderate?rooms=lobby`)
  await live(page)
  await page.getByText('This server runs without a key: for development only.').waitFor()
  await page.locator('#gate-sign-in').click()
  await page.getByLabel('Name', { exact: true }).fill('Kim')
  await page.getByRole('button', { name: 'Moderate', exact: true }).click()
  await page.locator('#gate').waitFor({ state: 'hidden' })
  const { page: ben } = await visit(browser, program.http)
  await signIn(ben, 'Ben')
  await say(ben, 'hi Kim')
  await streamRow(page, 'hi Kim').hover()
  await page.getByRole('button', { name: 'Pin this message of Ben (I)' }).click()
  await page.getByRole('tab', { name: 'Room' }).click()
  await page.getByText('Pinned: hi Kim').waitFor()
  await page.getByRole('button', { name: 'Clear the chat' }).click()
  await page.getByRole('button', { name: 'Clear the chat: sure?' }).click()
  await row(ben, 'A moderator cleared the chat.').waitFor()
  t.same(faults, [])
})
