// Stories of the viewer page in a real browser on the real program: people chat, the room's settings reach them, the
// program is killed and comes back, and nothing is lost or shown twice. Details of the page are tested in src/web/page.

import { join } from 'node:path'
import type { Browser, Page } from 'playwright-core'
import t from 'tap'
import { withoutChromium } from '../../deploy/services/services.ts'
import { buildWeb } from '../web/build.ts'
import { launch, live, picture, pictures, row, say, signIn, visit } from '../web/page/browser.suite.ts'
import { freePort, Program, tokenOf } from './harness.ts'

const skip = withoutChromium()
let browser: Browser

t.before(async () => {
  if (skip !== false) return
  // What the program serves is what `npm start` builds first.
  await buildWeb(join(import.meta.dirname, '../../dist'))
  browser = await launch()
})

t.teardown(async () => { if (skip === false) await browser.close() })

const bodies = async (page: Page): Promise<string[]> => await page.locator('#rows .body').allTextContents()

t.test('a newcomer opens the page and chats', { skip, timeout: 150_000 }, async (t) => {
  const program = await Program.start(t, { JWT_SECRET: '', API_KEYS: '', PORT: await freePort(), WS_PORT: await freePort() })
  const [ann, ben] = [await visit(browser, program.http), await visit(browser, program.http, { colorScheme: 'light' })]
  await live(ann.page)
  await ann.page.getByText('It is quiet in here').waitFor()
  await signIn(ann.page, 'Ann', 'broadcaster')
  await signIn(ben.page, 'Ben')
  await say(ann.page, 'hello <b>Ben</b> 👋')
  await row(ben.page, 'hello <b>Ben</b> 👋').waitFor()
  await row(ben.page, 'hello').hover()
  await ben.page.getByRole('button', { name: 'Reply to Ann', exact: true }).click()
  await say(ben.page, 'hello @Ann!')
  await row(ann.page, 'hello @Ann!').waitFor()
  t.match(await row(ann.page, 'hello @Ann!').getAttribute('class'), /is-for-me/)
  t.match(await row(ann.page, 'hello @Ann!').locator('.quote').innerText(), /@Ann hello <b>Ben<\/b> 👋/)
  await ann.page.locator('#viewers-label', { hasText: /^2 viewers$/ }).waitFor({ state: 'attached' })
  const shots = await pictures()
  t.comment(`pictures are in ${shots}`)
  await picture(ann.page, shots, 'served-dark')
  await picture(ben.page, shots, 'served-light')

  const { json: { token } } = await program.request('POST', '/v1/dev/token', { json: { id: 'boss', name: 'Boss', roles: ['admin'] } })
  const changed = await program.request('PUT', '/v1/rooms/lobby', { token, json: { settings: { slowModeSeconds: 60, title: 'The first stream' } } })
  t.equal(changed.status, 200)
  await ben.page.getByRole('heading', { level: 1, name: 'The first stream' }).waitFor()
  await say(ben.page, 'one')
  await ben.page.locator('#send-wait').waitFor()
  t.match(await ben.page.locator('#send-wait').innerText(), /^(60|[345]\d) s$/, 'slow mode counts down from the last message')
  await program.request('PUT', '/v1/rooms/lobby', { token, json: { settings: { slowModeSeconds: 0 } } })
  await ben.page.locator('#send-wait').waitFor({ state: 'hidden' })
  await ben.page.getByRole('button', { name: 'Try again' }).click()
  await ann.page.locator('#rows .body').getByText('one', { exact: true }).waitFor()

  await program.kill9()
  await ben.page.locator('#state', { hasText: /Reconnecting/ }).waitFor()
  await say(ben.page, 'written while it was away')
  await program.launch()
  // A page that tried in vain for long, where a start takes long, comes back after up to 30 s.
  await live(ann.page, 'live', 40_000)
  await live(ben.page, 'live', 40_000)
  await row(ann.page, 'written while it was away').waitFor()
  await row(ben.page, 'written while it was away').waitFor()
  const expected = ['hello <b>Ben</b> 👋', 'hello @Ann!', 'one', 'written while it was away']
  for (const { page } of [ann, ben]) {
    t.same((await bodies(page)).filter((body) => expected.includes(body)), expected, 'all of it, once, in order')
    t.equal(await page.locator('#pending > .row').count(), 0)
    await page.reload()
    await row(page, 'written while it was away').waitFor()
    t.same((await bodies(page)), expected, 'and after a reload')
  }
  for (const { page, faults } of [ann, ben]) {
    t.same(faults.filter((fault) => !/ERR_CONNECTION_(REFUSED|RESET)|WebSocket connection/.test(fault)), [], 'nothing went wrong on the page')
    await page.context().close()
  }
})

t.test('with keys: read only, or a token in the address', { skip, timeout: 60_000 }, async (t) => {
  const program = await Program.start(t)
  const reader = await visit(browser, program.http)
  await live(reader.page)
  t.match(await reader.page.locator('#gate').innerText(), /Read only/)
  const guest = await visit(browser, `${program.http}/#token=${tokenOf('g1', { name: 'Gus', roles: ['vip'] })}`)
  await live(guest.page)
  await say(guest.page, 'from outside')
  await row(reader.page, 'from outside').waitFor()
  t.equal(await row(reader.page, 'from outside').getByRole('img', { name: 'VIP' }).count(), 1)
  const stale = await visit(browser, `${program.http}/#token=${tokenOf('g2', { ttlS: -60 })}`)
  await stale.page.getByText('The token has expired.').waitFor()
  await row(stale.page, 'from outside').waitFor()
  const forged = await visit(browser, `${program.http}/#token=${tokenOf('g3').slice(0, -4)}AAAA`)
  await forged.page.getByText('The token was refused.').waitFor()
  await row(forged.page, 'from outside').waitFor()
  t.pass('with a token that does not count the page can still be read')
  await program.request('PUT', '/v1/rooms/backstage', { token: tokenOf('root', { roles: ['admin'] }), json: { settings: { private: true } } })
  const stranger = await visit(browser, `${program.http}/?room=backstage`)
  await stranger.page.getByText('This room cannot be opened: it is private. Open this page with a token that names it.').waitFor()
  await picture(stranger.page, await pictures(), 'private-dark')
  const unlisted = await visit(browser, `${program.http}/?room=backstage#token=${tokenOf('g4')}`)
  await unlisted.page.getByText('it is private, and you are not on its list.').waitFor()
  const listed = await visit(browser, `${program.http}/?room=backstage#token=${tokenOf('g5', { rooms: { backstage: [] } })}`)
  await live(listed.page)
  for (const { page } of [stranger, unlisted, listed]) await page.context().close()
  for (const { page, faults } of [reader, guest]) {
    t.same(faults, [])
    await page.context().close()
  }
  for (const { page } of [stale, forged]) await page.context().close()
})

t.test('where WebSockets are blocked', { skip, timeout: 60_000 }, async (t) => {
  const program = await Program.start(t, { JWT_SECRET: '', API_KEYS: '', WS_PUBLIC_URL: `ws://127.0.0.1:${await freePort()}/ws` })
  const [ann, ben] = [await visit(browser, program.http), await visit(browser, program.http)]
  for (const { page } of [ann, ben]) await page.locator('#state[data-look=fallback]').waitFor()
  t.match(await ann.page.locator('#state').innerText(), 'slow path')
  await signIn(ann.page, 'Ann', '', 'fallback')
  await signIn(ben.page, 'Ben', '', 'fallback')
  await say(ann.page, 'round the corner')
  await row(ben.page, 'round the corner').waitFor()
  await say(ben.page, 'got it')
  await row(ann.page, 'got it').waitFor()
  t.same(await bodies(ann.page), ['round the corner', 'got it'])
  t.equal(await ann.page.locator('#pending > .row').count(), 0)
  for (const { page } of [ann, ben]) await page.context().close()
})

t.test('what is written runs nowhere, and nobody frames the console', { skip, timeout: 60_000 }, async (t) => {
  const program = await Program.start(t)
  const payload = '<img src=x onerror="globalThis.hit=1"><svg onload="globalThis.hit=1"><script>globalThis.hit=1</script>'
  const [mallory, mod] = [tokenOf('mallory', { name: `"><script>globalThis.hit=1</script>` }), tokenOf('mod', { roles: ['moderator'] })]
  const write = async (nonce: string, body: string): Promise<number> => (await program.request('POST', '/v1/rooms/lobby/messages', { token: mallory, json: { nonce, body } })).status
  t.equal(await write('1', payload), 201)
  await program.request('POST', '/v1/rooms/lobby/actions', { token: mod, json: { action: 'set', args: { settings: { autoLevel: 2 } } } })
  t.equal(await write('2', `${payload} https://evil.example/`), 202, 'held')
  await program.request('PUT', '/v1/rooms/lobby', { token: tokenOf('boss', { roles: ['admin'] }), json: { settings: { title: payload.slice(0, 100) } } })
  for (const path of ['/?room=lobby', '/moderate?rooms=lobby']) {
    const { page, faults } = await visit(browser, `${program.http}${path}#token=${mod}`)
    await page.getByText(payload).first().waitFor()
    if (path.startsWith('/moderate')) {
      await page.getByRole('tab', { name: 'Queue 1' }).click()
      await page.locator('#held').getByText(payload).waitFor()
    }
    t.equal(await page.evaluate('globalThis.hit'), undefined, `${path}: nothing ran`)
    t.same(faults, [], `${path}: nor was anything tried`)
    t.match(await page.evaluate(() => { try { document.body.innerHTML = '<b>x</b>'; return 'made' } catch (error) { return String(error) } }), /TrustedHTML/, `${path}: HTML is made of no text`)
    t.match(await page.evaluate(() => { try { const script = document.createElement('script'); script.textContent = 'globalThis.hit=1'; document.body.append(script); return `${(globalThis as { hit?: number }).hit}` } catch (error) { return String(error) } }), /TrustedScript|undefined/, `${path}: and no script added`)
    await page.context().close()
  }
  const { page } = await visit(browser, 'about:blank')
  await page.setContent(['/', '/moderate', '/docs'].map((path) => `<iframe src="${program.http}${path}"></iframe>`).join(''))
  await page.waitForLoadState('load')
  t.same(page.frames().slice(1).map((frame) => frame.url()), Array(3).fill('chrome-error://chromewebdata/'), 'no other page shows them in a frame')
})
