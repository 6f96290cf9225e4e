// The program as a process: what it says when it cannot start, when it is ready, and how signals end it.

import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'

interface Run {
  readonly out: () => string
  readonly err: () => string
  /** Resolves once the output has this. */
  readonly says: (what: string) => Promise<void>
  readonly signal: (name: NodeJS.Signals) => void
  readonly exit: Promise<number | null>
}

function run (t: Test, env: Record<string, string>): Run {
  const folder = mkdtempSync(join(tmpdir(), 'uproar-main-'))
  const child = spawn(process.execPath, [join(import.meta.dirname, 'main.ts')], {
    cwd: folder, stdio: ['ignore', 'pipe', 'pipe'], timeout: 60_000, killSignal: 'SIGKILL',
    env: { PATH: process.env.PATH, PORT: '0', WS_PORT: '0', DATA_DIR: join(folder, 'data'), ...env }
  })
  let out = ''
  let err = ''
  const waiting = new Set<() => void>()
  child.stdout.on('data', (chunk: Buffer) => { out += chunk.toString(); for (const look of waiting) look() })
  child.stderr.on('data', (chunk: Buffer) => { err += chunk.toString() })
  const exit = new Promise<number | null>((resolve) => child.once('close', resolve))
  t.teardown(async () => {
    child.kill('SIGKILL')
    await exit
    rmSync(folder, { recursive: true, force: true })
  })
  return {
    out: () => out,
    err: () => err,
    signal: (name) => { child.kill(name) },
    exit,
    says: (what) => new Promise((resolve, reject) => {
      const look = (): void => { if (out.includes(what)) resolve() }
      waiting.add(look)
      look()
      void exit.then((status) => reject(new Error(`ended with ${status}: ${out}${err}`)))
    })
  }
}

t.test('a wrong configuration: every fault by name, no stack, nothing started', async (t) => {
  const program = run(t, { PORT: 'eighty', REDIS_URL: 'redis://:hunter2@localhost', JWT_SECRET: 'hunter3' })
  t.equal(await program.exit, 1)
  t.equal(program.out(), '')
  t.match(program.err(), /^uproar: configuration: 3 faults\n {2}PORT: .*\n {2}JWT_SECRET: .*\n {2}REDIS_URL: .*\n$/)
  t.notMatch(program.err(), 'hunter')
})

t.test('ready names both ports; one Ctrl-C under npm counts once', async (t) => {
  const program = run(t, {})
  await program.says('"msg":"ready"')
  const lines = program.out().trim().split('\n').map((line) => JSON.parse(line) as { msg: string, port?: number, wsPort?: number })
  const ready = lines.find((line) => line.msg === 'ready')
  t.ok((ready?.port ?? 0) > 0 && (ready?.wsPort ?? 0) > 0, 'PORT=0 picks free ones')
  t.match(program.out(), 'NO KEY IS CONFIGURED', 'without a key it says so')
  const page = await fetch(`http://127.0.0.1:${ready?.port}/healthz`)
  t.equal(page.status, 200)
  await page.text()
  program.signal('SIGINT')
  program.signal('SIGINT')
  t.equal(await program.exit, 0)
  t.match(program.out(), '"msg":"stopped"')
  t.equal(program.err(), '')
})

t.test('with a key there is no warning, and no secret in the log', async (t) => {
  const program = run(t, { JWT_SECRET: 'hunter2 hunter2 hunter2 hunter2 hunter2', API_KEYS: 'hunter3-hunter3-hunter3-hunter3' })
  await program.says('"msg":"ready"')
  program.signal('SIGTERM')
  t.equal(await program.exit, 0)
  t.notMatch(program.out(), /NO KEY|hunter/)
})
