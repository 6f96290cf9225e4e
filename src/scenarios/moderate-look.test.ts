// How the moderator console looks, reads and speeds: pictures of its states (in UPROAR_PICTURES, or a temporary folder
// that the test names), what assistive technology gets, and two rooms at 100 messages a second together.

import { join } from 'node:path'
import type { Browser, Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { withoutChromium } from '../../deploy/services/services.ts'
import { buildWeb } from '../web/build.ts'
import { launch, PHONE, picture, pictures } from '../web/page/browser.suite.ts'
import { audit, Stage, streamRow } from './moderate.suite.ts'
import { tokenOf } from './harness.ts'
import { Speaker } from './speaker.ts'

const skip = withoutChromium()
let browser: Browser
let shots: string

t.before(async () => {
  if (skip !== false) return
  await buildWeb(join(import.meta.dirname, '../../dist'))
  browser = await launch()
  shots = await pictures()
  t.comment(`pictures are in ${shots}`)
})

t.teardown(async () => { if (skip === false) await browser.close() })

/** Two rooms in which a bit of everything has happened. */
async function evening (t: Test): Promise<Stage> {
  const stage = await Stage.start(t)
  t.teardown(async () => { for (const context of browser.contexts()) await context.close() })
  await stage.set('iceland', { title: 'Cycling across Iceland, day 12' })
  await stage.set('kitchen', { slowModeSeconds: 5, autoLevel: 2 })
  const waterfall = await stage.say('iceland', 1, 'that waterfall was unreal 😍 I have never seen water that colour')
  await stage.say('iceland', 2, 'Take me with you next time please')
  await stage.say('iceland', 0, 'so jealous', { re: waterfall })
  await stage.say('iceland', 5, 'مرحبا بالجميع من الدار البيضاء')
  await stage.act('iceland', 'remove', { seq: await stage.say('iceland', 4, 'buy followers now'), reason: 'advertising' })
  await stage.say('iceland', 6, 'What tyres are you running on that gravel? I tried 45 mm last summer and they were barely enough for the highland roads')
  await stage.say('iceland', 3, '🔥🔥🔥')
  await stage.say('iceland', 7, 'Coming up on Akureyri in about ten minutes, hold on to your hats')
  await stage.say('kitchen', 2, 'is that too much salt?')
  await stage.say('kitchen', 1, 'never enough butter')
  await stage.set('kitchen', { slowModeSeconds: 0 })
  await stage.say('kitchen', 4, 'free keys at https://keys.example/win')
  await stage.say('kitchen', 6, 'the recipe is at https://kitchen.example/bread, in case anybody wonders')
  await stage.set('kitchen', { slowModeSeconds: 5 })
  await stage.act('kitchen', 'note', { user: 'u5', text: 'Sold followers in June as well. Be quick.' })
  await stage.act('kitchen', 'timeout', { user: 'u5', seconds: 600, reason: 'advertising' })
  await stage.act('iceland', 'ban', { user: 'u9', reason: 'harassment' })
  const { status } = await stage.program.request('POST', '/v1/rooms/iceland/actions', { token: tokenOf('u9', { name: 'sorry_sam' }), json: { action: 'requestUnban', args: { text: 'I was out of line last week and I am sorry.' } } })
  t.equal(status, 200)
  return stage
}

async function open (page: Page, tab: string): Promise<void> {
  await page.getByRole('tab', { name: tab }).click()
}

void t.test('pictures, and what assistive technology gets', { skip, timeout: 120_000 }, async (t) => {
  const stage = await evening(t)
  for (const colorScheme of ['dark', 'light'] as const) {
    const { page, faults } = await stage.console(browser, ['iceland', 'kitchen'], { colorScheme })
    await page.getByText('2 messages wait', { exact: true }).waitFor()
    await page.getByText('1 unban request', { exact: true }).waitFor()
    await streamRow(page, 'Coming up on').hover()
    await picture(page, shots, `moderate-queue-${colorScheme}`)
    t.same(await audit(page), [], `${colorScheme}, the queue`)
    await page.locator('#held').getByRole('button', { name: 'xX_pixel_Xx', exact: true }).click()
    await page.getByRole('heading', { name: 'xX_pixel_Xx' }).waitFor()
    await page.getByRole('button', { name: 'Ban', exact: true }).click()
    await picture(page, shots, `moderate-user-${colorScheme}`)
    t.same(await audit(page), [], `${colorScheme}, a user`)
    await open(page, 'Room')
    await picture(page, shots, `moderate-room-${colorScheme}`)
    t.same(await audit(page), [], `${colorScheme}, the room`)
    await open(page, 'Audit')
    await page.locator('#audit-rows > li').first().waitFor()
    await picture(page, shots, `moderate-audit-${colorScheme}`)
    t.same(await audit(page), [], `${colorScheme}, the audit log`)
    await page.getByRole('button', { name: 'In one stream' }).click()
    await streamRow(page, 'never enough butter').waitFor()
    await page.keyboard.press('?')
    await page.getByRole('heading', { name: 'Keys' }).waitFor()
    await picture(page, shots, `moderate-keys-${colorScheme}`)
    t.same(await audit(page), [], `${colorScheme}, the keys`)
    t.same(faults, [])
    await page.context().close()
  }
  const { page: phone } = await stage.console(browser, ['iceland'], PHONE)
  await streamRow(phone, 'Coming up on').locator('.body').tap()
  await phone.getByRole('button', { name: 'Remove this message of streamer_zoe (D)' }).waitFor()
  await picture(phone, shots, 'moderate-phone-chat')
  await open(phone, 'Queue')
  await phone.getByText('Nothing waits').waitFor()
  await picture(phone, shots, 'moderate-phone-queue')
  await open(phone, 'Room')
  await picture(phone, shots, 'moderate-phone-room')
  t.same(await audit(phone), [])
  const wide = await phone.evaluate(() => document.documentElement.scrollWidth - innerWidth)
  t.equal(wide, 0, 'nothing is wider than a phone')
})

void t.test('two rooms at 100 messages a second together', { skip, timeout: 90_000 }, async (t) => {
  const stage = await evening(t)
  const { page, faults } = await stage.console(browser, ['iceland', 'kitchen'], { viewport: { width: 1440, height: 900 } })
  await streamRow(page, 'Coming up on').waitFor()
  await stage.set('kitchen', { autoLevel: 0, slowModeSeconds: 0 })
  const speakers = await Promise.all(['iceland', 'kitchen'].map((room, at) => Speaker.connect(t, stage.program.ws, room, tokenOf(`loud${at}`, { name: `loud_${at}` }))))
  const words = ['LETS GO', 'no way 😂', 'that was close', 'W', 'where is this?', 'greetings from Lima', 'the goose again', '🔥🔥🔥', 'I was not ready for that view, honestly']
  const perRoom = 300
  await Promise.all(speakers.map(async (speaker, at) => {
    const started = performance.now()
    for (let sent = 1; sent <= perRoom; sent++) {
      await speaker.say(`${words[(sent + at) % 9]} ${sent}`)
      const ahead = sent * 20 - (performance.now() - started)
      if (ahead > 0) await new Promise((resolve) => setTimeout(resolve, ahead))
    }
  }))
  for (const room of ['iceland', 'kitchen']) await page.getByRole('log', { name: `Messages of #${room}` }).locator('.row').filter({ hasText: ` ${perRoom}` }).last().waitFor()
  await picture(page, shots, 'moderate-busy')
  for (const room of ['iceland', 'kitchen']) {
    const log = page.getByRole('log', { name: `Messages of #${room}` })
    t.equal(await log.locator('.row').count(), 200, 'the rows are bounded')
    const numbers = (await log.locator('.body').allTextContents()).map((text) => Number(text.split(' ').at(-1)))
    t.same(numbers, Array.from({ length: 200 }, (_, at) => perRoom - 199 + at), `#${room}: the newest 200, in order, every one`)
  }
  t.same(faults, [])
})
