// An operator's day with two instances: the command line sees them, kicks a user who is
// elsewhere, drains one whose viewers go on without a gap; and the status page in a real browser, as a stranger and as one
// who operates it.

import { spawn } from 'node:child_process'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { runCli } from '../cli/cli.ts'
import { withoutChromium, withoutRedis } from '../../deploy/services/services.ts'
import { Watcher } from '../replay/watcher.ts'
import { buildWeb } from '../web/build.ts'
import { launch, PHONE, picture, pictures, visit } from '../web/page/browser.suite.ts'
import { API_KEY, eventually, tokenOf, type Program } from './harness.ts'
import { startInstances } from './instances.ts'
import { audit } from './moderate.suite.ts'
import { Viewer } from './viewer.ts'

t.setTimeout(240_000)
const skip = withoutRedis()

interface Outcome { readonly status: number | null, readonly out: string, readonly err: string }

/** `uproar`, asking this instance. */
async function uproar (program: Program, ...words: string[]): Promise<Outcome> {
  let [out, err] = ['', '']
  const status = await runCli(words, { UPROAR_URL: program.http, UPROAR_KEY: API_KEY }, { isTty: false, print: (text) => { out += text }, error: (text) => { err += text } })
  return { status, out, err }
}

/** The same as a program of its own. */
async function uproarProgram (program: Program, ...words: string[]): Promise<Outcome> {
  const child = spawn(join(import.meta.dirname, '../cli/uproar.js'), words, { env: { PATH: `${join(process.execPath, '..')}:${process.env.PATH}`, UPROAR_URL: program.http, UPROAR_KEY: API_KEY }, stdio: ['ignore', 'pipe', 'pipe'], timeout: 60_000 })
  let [out, err] = ['', '']
  child.stdout.on('data', (chunk: Buffer) => { out += chunk.toString() })
  child.stderr.on('data', (chunk: Buffer) => { err += chunk.toString() })
  const status = await new Promise<number | null>((resolve) => child.once('close', resolve))
  return { status, out, err }
}

async function idOf (program: Program): Promise<string> {
  const { json } = await program.request('GET', '/v1/instances', { token: API_KEY })
  return (json.instances as { id: string, isSelf: boolean }[]).find(({ isSelf }) => isSelf)?.id ?? ''
}

async function watcherAt (t: Test, program: Program, room: string): Promise<Watcher> {
  const watcher = new Watcher({ url: program.ws, room, pingMs: 1000 })
  t.teardown(() => watcher.stop())
  await watcher.start()
  return watcher
}

t.test('an operator\'s day', { skip }, async (t) => {
  const { programs } = await startInstances(t, { DRAIN_S: '1' }, 2)
  const [a, b] = programs as [Program, Program]
  await eventually('them to know one another', async () => (await a.request('GET', '/v1/instances', { token: API_KEY })).json.instances.length === 2 || null)
  const watchers = await Promise.all([a, b].map((program) => watcherAt(t, program, 'hall')))
  const ann = await Viewer.connect(t, b.ws, tokenOf('ann'))
  const alsoAnn = await Viewer.connect(t, b.ws, tokenOf('ann'))
  const ben = await Viewer.connect(t, b.ws, tokenOf('ben'))
  for (const viewer of [ann, alsoAnn, ben]) await viewer.join('hall')
  await eventually('five viewers', async () => (await a.request('GET', '/v1/rooms/hall/viewers')).json.viewers === 5 || null)

  await t.test('what there is', async (t) => {
    const instances = await uproarProgram(a, 'instances')
    t.equal(instances.status, 0)
    t.equal(instances.out.match(/ serves$/gm)?.length, 2, instances.out)
    t.match(await uproar(a, 'rooms'), { status: 0, out: /^hall +5 /m })
    t.match(await uproar(b, 'connections', '--user', 'ann'), { status: 0, out: /^\S+ +ann +127\.0\.0\.1 .* hall +0$/m })
    await eventually('the beats', async () => (JSON.parse((await uproar(a, 'status', '--json')).out).detail.connections === 5) || null)
    t.match(await uproar(a, 'status'), { status: 0, out: /^works[\s\S]*log: redis[\s\S]*5 connections[\s\S]*hall +5/ })
  })

  await t.test('a user is kicked wherever they are', async (t) => {
    t.match(await uproar(a, 'kick', 'ann', '--reason', 'enough for today'), { status: 0, out: /^0 connections closed on the instance that answered; the others were told/ })
    t.match(await ann.ended(3000), { code: 4505 })
    t.match(await alsoAnn.ended(3000), { code: 4505 })
    t.ok(ann.frames.some((frame) => frame.includes('enough for today')), 'and told why')
    await ben.roundTrip()
    t.equal(ben.ending, null, 'others stay')
    t.match(a.lines.join('\n'), /"by":"server","user":"ann","reason":"enough for today".*connections kicked/)
  })

  await t.test('an instance is drained, and its viewers go on', async (t) => {
    let head = 0
    const say = async (): Promise<void> => { head = (await a.request('POST', '/v1/rooms/hall/messages', { token: API_KEY, json: { nonce: `n${head}`, body: 'hello', as: { id: 'ops' } } })).json.seq as number }
    await say()
    const id = await idOf(b)
    const draining = uproar(a, 'drain', id.slice(0, 8), '--wait')
    t.match(await ben.ended(8000), { code: 4413 })
    await say()
    t.match(await draining, { status: 0, out: new RegExp(`^${id} has no viewers any more`) })
    t.match(await b.request('GET', '/readyz'), { status: 503 })
    t.match(await b.request('GET', '/v1/rooms/hall'), { status: 200 }, 'it still answers')
    const late = new Viewer(b.ws)
    await t.rejects(late.opened(), 'but takes nobody')
    t.match(await uproar(a, 'instances'), { out: /draining/ })
    await watchers[0]?.until(() => (watchers[0]?.account.last ?? 0) >= head, `seq ${head}`)
    t.match(watchers[0]?.account, { missing: 0, duplicates: 0, outOfOrder: 0, last: head })
    const started = performance.now()
    t.equal(await b.stop(), 0)
    t.ok(performance.now() - started < 5000, 'then its end takes no time')
    await b.launch()
    await watchers[1]?.until(() => (watchers[1]?.account.last ?? 0) >= head, 'the one that came back to it')
    t.match(watchers[1]?.account, { missing: 0, duplicates: 0, outOfOrder: 0 })
  })

  await t.test('the status page', { skip: withoutChromium() }, async (t) => {
    await buildWeb(join(import.meta.dirname, '../../dist'))
    const browser = await launch()
    t.teardown(() => browser.close())
    const shots = await pictures()
    t.comment(`pictures are in ${shots}`)
    await eventually('both', async () => (await a.request('GET', '/v1/instances', { token: API_KEY })).json.instances.length === 2 || null)

    const stranger = await visit(browser, `${a.http}/status`, { extraHTTPHeaders: { 'x-forwarded-for': '192.0.2.7' } })
    await stranger.page.getByText('Works', { exact: true }).waitFor()
    t.notOk(await stranger.page.locator('#detail').isVisible(), 'a stranger sees whether it works')
    t.notMatch(await stranger.page.locator('body').innerText(), /hall|redis/)
    t.same(await audit(stranger.page), [])
    await picture(stranger.page, shots, 'status-stranger')
    await stranger.page.locator('#key').fill('wrong-key-wrong-key-wrong')
    await stranger.page.getByRole('button', { name: 'Show more' }).click()
    await stranger.page.getByText('The server does not know this key.').waitFor()
    t.same(stranger.faults.filter((fault) => !fault.includes('401')), [])
    await stranger.page.locator('#key').fill(API_KEY)
    await stranger.page.getByRole('button', { name: 'Show more' }).click()
    await stranger.page.locator('#detail').waitFor()
    t.equal(await stranger.page.locator('#key').inputValue(), '')

    for (const [name, options] of [['status-dark', {}], ['status-light', { colorScheme: 'light' }], ['status-phone', PHONE]] as const) {
      const { page, faults } = await visit(browser, `${a.http}/status#key=${API_KEY}`, { ...options, extraHTTPHeaders: { 'x-forwarded-for': '192.0.2.7' } })
      await page.locator('#instances tbody tr').nth(1).waitFor()
      await page.locator('#rooms').getByText('hall').waitFor()
      t.notMatch(page.url(), API_KEY, 'the key does not stay in the address')
      t.match(await page.locator('#tiles').innerText(), /redis/)
      t.same(await audit(page), [], name)
      t.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'nothing sticks out')
      await picture(page, shots, name)
      t.same(faults, [])
      await page.context().close()
    }

    const { page } = await visit(browser, `${a.http}/status`)
    await page.locator('#detail').waitFor()
    const shown = await page.locator('#rooms tbody td').nth(1).innerText()
    const more = await Viewer.connect(t, a.ws)
    await more.join('hall')
    await page.locator('#rooms tbody td').nth(1).filter({ hasText: String(Number(shown) + 1) }).waitFor({ timeout: 10_000 })
    await a.kill9()
    await page.getByText('Cannot be reached', { exact: true }).waitFor({ timeout: 15_000 })
    await a.launch()
    await page.getByText('Works', { exact: true }).waitFor({ timeout: 15_000 })
  })
})
