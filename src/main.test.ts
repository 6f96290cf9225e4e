// The program and its signals, as npm and terminals send them. Faults of the start are told in scenarios/start.test.ts.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import t from 'tap'

t.test('one Ctrl-C under npm arrives twice and counts once', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'uproar-main-'))
  const child = spawn(process.execPath, [join(import.meta.dirname, 'main.ts')], {
    cwd: folder, stdio: ['ignore', 'pipe', 'inherit'], timeout: 60_000, killSignal: 'SIGKILL',
    env: { PATH: process.env.PATH, PORT: '0', WS_PORT: '0', DATA_DIR: join(folder, 'data') }
  })
  const exit = once(child, 'exit')
  t.teardown(async () => {
    child.kill('SIGKILL')
    await exit
    rmSync(folder, { recursive: true, force: true })
  })
  const said: string[] = []
  for await (const line of createInterface(child.stdout)) {
    const { msg } = JSON.parse(line) as { msg: string }
    said.push(msg)
    if (msg === 'ready') {
      child.kill('SIGINT')
      child.kill('SIGINT')
    }
  }
  t.same(await exit, [0, null])
  t.same(said.slice(said.indexOf('ready')), ['ready', 'stopping', 'stopped'])
})
