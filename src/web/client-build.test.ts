// What is handed out: the client's codec against proto's, the bundle's size, and the package as a stranger uses it.

import { execFile } from 'node:child_process'
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { isDeepStrictEqual, promisify } from 'node:util'
import { gzipSync } from 'node:zlib'
import t from 'tap'
import { pack, unpack } from '../../proto/codec.ts'
import { buildWeb } from './build.ts'
import { decodeAll, encode } from './wire.ts'

const SIZE_MAX = 10_000
const ROOT = join(import.meta.dirname, '../..')
const run = promisify(execFile)

const VALUES: readonly unknown[] = [
  null, true, false, 0, 1, 127, 128, 255, 256, 65_535, 65_536, 4_294_967_295, 4_294_967_296, 1_700_000_000_000, Number.MAX_SAFE_INTEGER,
  -1, -32, -33, -128, -129, -32_768, -32_769, -2_147_483_648, -2_147_483_649, Number.MIN_SAFE_INTEGER, 0.5, -1.25e300, Infinity,
  '', 'a', 'x'.repeat(31), 'x'.repeat(32), 'ü'.repeat(200), '漢字'.repeat(20_000), '👩‍🚀\u2028\0',
  new Uint8Array(0), new Uint8Array(255).fill(7), new Uint8Array(256), new Uint8Array(70_000),
  [], [1, [2, [3, ['vier']]]], Array.from({ length: 16 }, (_none, at) => at), Array.from({ length: 70_000 }, (_none, at) => at % 3),
  {}, { a: 1, b: [null, { c: 'd' }] }, Object.fromEntries(Array.from({ length: 16 }, (_none, at) => [`k${at}`, at])),
  Object.fromEntries(Array.from({ length: 66_000 }, (_none, at) => [`k${at}`, true]))
]

/** Bytes as the golden vectors show them. */
function shown (value: unknown): unknown {
  if (value instanceof Uint8Array) return { $bin: Buffer.from(value).toString('hex') }
  if (Array.isArray(value)) return value.map(shown)
  return typeof value === 'object' && value !== null ? Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, shown(inner)])) : value
}

t.test('the small codec agrees with the server\'s, both ways', (t) => {
  for (const [at, value] of VALUES.entries()) {
    const name = `value ${at}`
    t.ok(isDeepStrictEqual(decodeAll(pack(value)), [value]), `reads ${name}`)
    t.ok(isDeepStrictEqual(shown(unpack(encode(value))), shown(value)), `writes ${name}`)
    t.ok(isDeepStrictEqual(decodeAll(encode(value)), [value]), `reads what it wrote: ${name}`)
  }
  t.same(decodeAll(Buffer.concat([pack([1, 'a']), pack([2]), pack(3)])), [[1, 'a'], [2], 3], 'back to back')
  t.same(decodeAll(encode({ a: undefined, b: [undefined] })), [{ b: [null] }])
  t.same(decodeAll(Uint8Array.of(0xca, 0x3f, 0x80, 0, 0, 0xd0, 0x80, 0xd1, 0xff, 0x7f, 0xd2, 0xff, 0xff, 0xff, 0xfe)), [1, -128, -129, -2], 'forms that our server does not use')
  const golden = JSON.parse(readFileSync(join(ROOT, 'proto/vectors.json'), 'utf8')) as { frames: { name: string, hex: string, value: unknown }[] }
  for (const { name, hex, value } of golden.frames) t.same(decodeAll(Buffer.from(hex, 'hex')).map(shown), [value], name)
  t.end()
})

t.test('malformed bytes throw, soon and small', (t) => {
  const broken = ['c1', 'd4017f', 'c701', '92 01', 'a3 6162', 'd9ff61', 'dbffffffff61', 'ddffffffff', 'dfffffffff', 'c6ffffffff00', 'cf0000', 'cb00', '81 01 02', '81 c0 02', 'a1ff', '81a95f5f70726f746f5f5f80', '91'.repeat(40) + '01']
  for (const hex of broken) t.throws(() => decodeAll(Buffer.from(hex.replace(/ /g, ''), 'hex')), hex)
  // A walk through mutated frames: anything but a hang or a crash will do.
  const seedBytes = pack([37, 5, 1_700_000_000_000, ['u', 'Name', 3], 0, 'some text', { at: ['a'], meta: { x: [1.5, -3] } }])
  let state = 7
  for (let round = 0; round < 20_000; round++) {
    const bytes = Uint8Array.from(seedBytes)
    for (let change = 0; change < 3; change++) {
      state = (state * 1_103_515_245 + 12_345) % 2_147_483_648
      bytes[state % bytes.length] = state >> 8 & 255
    }
    try {
      decodeAll(bytes)
    } catch (error) {
      if (!(error instanceof TypeError || error instanceof RangeError)) throw error
    }
  }
  t.end()
})

t.test('the bundle is small and leaves the tables out', async (t) => {
  const out = t.testdir()
  const files = await buildWeb(out)
  const bytes = readFileSync(join(out, 'client.js'))
  const size = gzipSync(bytes, { level: 9 }).length
  t.comment(`client.js: ${size} bytes gzip, ${bytes.length} minified`)
  t.ok(size < SIZE_MAX, `${size} < ${SIZE_MAX}`)
  const text = bytes.toString()
  for (const leak of ['hello_timeout', 'members_only', 'serverTime",', 'historyEntries']) t.notOk(text.includes(leak), `no ${leak}`)
  t.ok(['web/app.js', 'web/index.html', 'web/client.js', 'client.js.map'].every((name) => files.has(name)))
  t.match(Object.keys(await import(join(out, 'client.js')) as object).sort(), ['KIND', 'ROLE', 'UproarClient', 'UproarError', 'connect'])
})

t.test('a stranger imports the package and its types', async (t) => {
  const out = t.testdir({ 'package.json': '{"type":"module"}' })
  const package_ = join(out, 'node_modules/uproar')
  mkdirSync(package_, { recursive: true })
  await buildWeb(join(package_, 'dist'), { types: true })
  cpSync(join(ROOT, 'package.json'), join(package_, 'package.json'))
  writeFileSync(join(out, 'plain.js'), `
    import { connect, UproarError, KIND } from 'uproar/client'
    const client = connect({ url: 'ws://127.0.0.1:1/ws', timing: { backoffMs: 60000 } })
    client.on('connection', ({ state }) => {
      if (state !== 'waiting') return
      const sending = client.join('lobby').send('x', { kind: KIND.emote })
      client.close()
      sending.catch((error) => console.log(error instanceof UproarError, error.name))
    })
  `)
  const { stdout } = await run(process.execPath, [join(out, 'plain.js')], { timeout: 20_000 })
  t.equal(stdout, 'true closed\n', 'and the process ends by itself after close()')

  writeFileSync(join(out, 'typed.ts'), `
    import { connect, ROLE, type ChatRoom, type ConnectionState, type Entry, type MessageEntry, type UproarError } from 'uproar/client'
    const client = connect({ url: 'wss://chat.example/ws', token: async () => 'jwt', timing: { pingMs: 5000 } })
    const room: ChatRoom = client.join('lobby', { history: 20, view: 'live', position: ['e', 4] })
    const off: () => void = room.on('message', (message: MessageEntry) => { const isVip: boolean = (message.user.roles & ROLE.vip) > 0; return isVip })
    room.on('joined', ({ recovered, reset, viewers }) => [recovered === true, reset === true, viewers?.toFixed()])
    room.on('refused', (error: UproarError) => error.retryAfterMs?.toFixed())
    client.on('connection', (state: ConnectionState) => { if (state.state === 'waiting') new Date(state.retryAt) })
    const sent: Promise<{ seq: number, ts: number }> = room.send('hi', { ext: { re: 3 } })
    const entries: Promise<Entry[]> = room.history({ limit: 5 }).then((page) => page.entries)
    // @ts-expect-error there is no such event
    room.on('mesage', () => {})
    // @ts-expect-error the url is needed
    connect({})
    // @ts-expect-error not for applications
    room.hear('viewers', 3)
    void [off, sent, entries]
  `)
  for (const [module, resolution] of [['nodenext', 'nodenext'], ['esnext', 'bundler']] as const) {
    const tsc = run(process.execPath, [join(ROOT, 'node_modules/typescript/lib/tsc.js'), '--ignoreConfig', '--noEmit', '--strict', '--target', 'es2022', '--lib', 'es2022,dom', '--types', '',
      '--module', module, '--moduleResolution', resolution, join(out, 'typed.ts')], { cwd: out, timeout: 60_000 })
    t.equal(await tsc.then(() => '', (error: { stdout: string }) => error.stdout), '', resolution)
  }
  const { stdout: list } = await run('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], { cwd: ROOT, timeout: 60_000 })
  const [packed] = JSON.parse(list) as [{ files: { path: string }[] }]
  t.same(packed.files.map(({ path }) => path).filter((path) => !/^(dist\/(client\.|types\/)|package\.json$|README|LICENSE)/.test(path)), ['src/cli/uproar.js'], 'nothing else is in the package, but for what npm puts there: the command, which says that it is not')
})
