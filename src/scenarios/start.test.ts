// Stories of starting: faults of the configuration are told together and by name, a folder or port in use is said plainly,
// and without a key the program makes its own and says so.

import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { OUT } from '../../proto/ops.ts'
import { Program } from './harness.ts'
import { Viewer } from './viewer.ts'

interface Ended { readonly status: number | null, readonly text: string }

async function run (env: Record<string, string>, cwd: string): Promise<Ended> {
  const child = spawn(process.execPath, [join(import.meta.dirname, '../main.ts')], { cwd, env: { PATH: process.env.PATH, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
  let text = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => { text += chunk.toString() })
  const timer = setTimeout(() => child.kill('SIGKILL'), 15_000)
  const status = await new Promise<number | null>((resolve) => child.once('close', resolve))
  clearTimeout(timer)
  return { status, text }
}

t.test('what keeps it from starting', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'uproar-start-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const secret = 'too short a secret'
  const faulty = await run({ PORT: 'eighty', WS_PORT: '70000', JWT_SECRET: secret, API_KEYS: 'short', LOG_LEVEL: 'loud', ORIGINS: 'example.org', TLS_CERT_FILE: '/nowhere.pem', REDIS_URL: 'http://x', MESSAGES_BURST_MAX: '0' }, folder)
  t.equal(faulty.status, 1)
  for (const name of ['PORT', 'WS_PORT', 'JWT_SECRET', 'API_KEYS', 'LOG_LEVEL', 'ORIGINS', 'TLS_CERT_FILE', 'REDIS_URL', 'MESSAGES_BURST_MAX']) t.match(faulty.text, new RegExp(`\\b${name}\\b`), `${name} is named`)
  t.notMatch(faulty.text, new RegExp(secret), 'secrets are not')
  t.notMatch(faulty.text, /\n\s+at /, 'and there is no stack')

  const program = await Program.start(t)
  const port = new URL(program.http).port
  const wsPort = new URL(program.ws).port
  const own = { DATA_DIR: join(folder, 'own'), PORT: '0', WS_PORT: '0' }
  for (const [what, env, pattern] of [
    ['PORT', { ...own, PORT: port }, new RegExp(port)], ['WS_PORT', { ...own, WS_PORT: wsPort }, /WS_PORT/], ['DATA_DIR', { ...own, DATA_DIR: program.dataDir }, /DATA_DIR|in use|lock|another/i]
  ] as const) {
    const taken = await run(env, folder)
    t.equal(taken.status, 1, `${what} that is taken ends it`)
    t.match(taken.text, pattern, `and ${what} is said`)
  }

  const file = join(folder, 'not-a.pem')
  writeFileSync(file, 'not a key')
  for (const [env, pattern] of [
    [{ ...own, PORT: port }, /^uproar: PORT: port \d+ on 127\.0\.0\.1 is taken/m], [{ ...own, WS_PORT: wsPort }, /^uproar: WS_PORT: port \d+ on 127\.0\.0\.1 is taken/m],
    [{ ...own, HOST: '192.0.2.1' }, /^uproar: HOST: 192\.0\.2\.1 is no address of this machine/m], [{ ...own, DATA_DIR: '/proc/nope' }, /^uproar: DATA_DIR: .*\/proc\/nope cannot be written/m],
    [{ ...own, JWT_PUBLIC_KEY_FILE: file }, /^ {2}JWT_PUBLIC_KEY_FILE: must hold a public key/m], [{ ...own, TLS_CERT_FILE: file, TLS_KEY_FILE: file }, /^ {2}TLS_CERT_FILE: must hold a certificate/m]
  ] as const) {
    const { status, text } = await run(env, folder)
    t.equal(status, 1, JSON.stringify(env).slice(0, 80))
    t.match(text, pattern)
    t.notMatch(text, /did not start|\bat .*\.ts:\d|"stack"/, 'in one plain line')
  }
})

t.test('what it says while it starts', async (t) => {
  const program = await Program.start(t, { HOST: '0.0.0.0', JWT_SECRET: '', API_KEYS: 'a-server-key-of-this-test-1', JWT_SECERT: 'a secret in the wrong place' })
  const said = program.lines.map((line) => JSON.parse(line) as Record<string, unknown>)
  t.match(said[0], { msg: 'starting', version: /^\d/, node: process.version, host: '0.0.0.0', key: 'none', apiKeys: 1 })
  t.match(said.find((line) => line['name'] === 'JWT_SECERT'), { level: 40, meant: 'JWT_SECRET' })
  t.match(said.find((line) => /NO KEY/.test(String(line['msg']))), { msg: /anyone who can reach this server may read; .*this machine only/ })
  t.match(said.at(-1), { msg: 'ready', page: /^http:\/\/127\.0\.0\.1:\d+\/$/ })
  t.notMatch(program.lines.join(), /a-server-key-of|wrong place/, 'no secret, not even in a setting that is none')
})

t.test('without a key it makes its own', async (t) => {
  const program = await Program.start(t, { JWT_SECRET: '', API_KEYS: '' })
  t.ok(program.lines.some((line) => /"level":40/.test(line) && /secret|key/i.test(line)), 'and says so loudly')
  const { status, json } = await program.request('POST', '/v1/dev/token', { json: { id: 'ann', name: 'Ann', roles: ['vip'] } })
  t.ok(status === 200 || status === 201, `dev token: ${status}`)
  t.notOk(program.lines.some((line) => line.includes(json.token)), 'tokens do not reach the log')
  const viewer = await Viewer.connect(t, program.ws, json.token)
  t.match(viewer.frames[0], [OUT.WELCOME, String, ['ann', 'Ann', 2]])
  t.match(await program.request('POST', '/v1/dev/token', { json: { id: '', roles: ['king'] } }), { status: 400 })
  const withKey = await Program.start(t)
  t.match(await withKey.request('POST', '/v1/dev/token', { json: { id: 'ann', name: 'Ann', roles: [] } }), { status: 404 }, 'with a key there are no dev tokens')
})

t.test('signals', async (t) => {
  const program = await Program.start(t)
  t.equal(await program.stop(), 0, 'SIGTERM ends it cleanly')
  t.ok(program.lines.some((line) => line.includes('"msg":"stopped"')))
})
