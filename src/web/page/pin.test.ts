// The pinned message and what only moderators are shown, on the viewer page in real Chromium against a scripted server.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Browser } from 'playwright-core'
import t from 'tap'
import { OUT } from '../../../proto/ops.ts'
import type { User } from '../../../proto/values.ts'
import { withoutChromium } from '../../../deploy/services/services.ts'
import { buildWeb } from '../build.ts'
import { launch, live, row, visit } from './browser.suite.ts'
import { StandIn } from './stand-in.suite.ts'

const ANN: User = ['u1', 'Ann', 0]
const skip = withoutChromium()

t.test('the pinned message', { skip }, async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'uproar-pin-'))
  await buildWeb(folder)
  const browser: Browser = await launch()
  const server = new StandIn(join(folder, 'web'))
  await server.start()
  t.teardown(async () => {
    await browser.close()
    await server.stop()
    await rm(folder, { recursive: true, force: true })
  })
  const old = server.publish(ANN, 'the rules <b>of</b> this chat')
  for (let i = 0; i < 150; i++) server.publish(ANN, `talk ${i}`)
  const last = server.publish(ANN, 'the newest')
  server.state['pinned'] = old
  const { page, faults } = await visit(browser, `${server.origin}/`)
  await live(page)
  const pinned = page.locator('#pinned')
  await pinned.getByText('the rules <b>of</b> this chat').waitFor()
  t.match(await pinned.innerText(), /Pinned\s+Ann/, 'by whom, and found in history where the list does not reach')
  server.change({ pinned: last })
  await pinned.getByText('the newest').waitFor()
  t.ok(await page.locator('#log').evaluate((log) => log.clientHeight) > 400, 'the list has its place below it')
  t.ok(await page.locator('#rows > .row').last().isVisible())
  server.change({ pinned: null })
  await pinned.waitFor({ state: 'hidden' })
  server.change({ pinned: last })
  await pinned.waitFor()
  server.remove({ user: 'u1', upTo: last, erased: true })
  await pinned.waitFor({ state: 'hidden' })

  server.tell([OUT.MESSAGE, server.entries.length + 1, Date.now(), ANN, 0, 'for staff', null, true])
  await row(page, 'for staff').getByText('(hidden from others)').waitFor()
  t.same(faults, [])
})
