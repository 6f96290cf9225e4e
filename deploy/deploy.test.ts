// What surrounds the program, read rather than run: the image's build file against the project and the settings'
// defaults, the health check against a server that stands in, and how tests find their services.

import { existsSync, globSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { execFile } from 'node:child_process'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join, matchesGlob } from 'node:path'
import t from 'tap'
import { SETTINGS } from '../src/base/config.ts'
import { chromiumPath, ensure, SERVICES, withoutChromium } from './services/services.ts'

const root = join(import.meta.dirname, '..')
const read = (path: string): string => readFileSync(join(root, path), 'utf8')

interface Step { readonly word: string, readonly rest: string }

function steps (dockerfile: string): Step[] {
  return dockerfile.replaceAll('\\\n', ' ').split('\n').filter((line) => /^[A-Z]+ /.test(line))
    .map((line) => ({ word: line.slice(0, line.indexOf(' ')), rest: line.slice(line.indexOf(' ') + 1).trim() }))
}

t.test('the image is built from what is there', (t) => {
  const all = steps(read('Dockerfile'))
  const rest = (word: string): string[] => all.filter((step) => step.word === word).map((step) => step.rest)

  const { devDependencies, optionalDependencies, bin } = JSON.parse(read('package.json')) as { devDependencies: Record<string, string>, optionalDependencies: Record<string, string>, bin: Record<string, string> }
  t.ok(rest('FROM').every((from) => new RegExp(`^node:${devDependencies.node}-bookworm-slim@sha256:[0-9a-f]{64}( AS build)?$`).test(from)), 'bases are pinned, to the Node that runs everywhere else')
  t.equal(new Set(rest('FROM').map((from) => from.split(' ')[0])).size, 1, 'what is built on one runs on the same')
  t.same([...rest('RUN').join().matchAll(/optionalDependencies\.(\S+?);/g)].map((match) => match[1]), Object.keys(optionalDependencies), 'what it leaves out is what is optional here')
  t.match(rest('RUN').join(), `/app/${bin.uproar} /usr/local/bin/uproar`, 'the operator\'s command is at hand')
  const copied = rest('COPY').filter((copy) => !copy.startsWith('--from')).flatMap((copy) => copy.split(/\s+/).slice(0, -1))
  t.same(copied.filter((path) => !existsSync(join(root, path))), [], 'every COPY has its source')
  const kept = read('.dockerignore').split('\n').filter((line) => line.startsWith('!')).map((line) => line.slice(1))
  t.same(copied.filter((path) => !kept.includes(path)), [], '.dockerignore lets every source in')

  const last = all.slice(all.findLastIndex((step) => step.word === 'FROM'))
  t.same(last.find((step) => step.word === 'USER')?.rest, '1000:1000', 'it runs as a user without rights, by number')
  t.ok(last.findIndex((step) => step.word === 'USER') < last.findIndex((step) => step.word === 'CMD'))
  const env = Object.fromEntries(last.filter((step) => step.word === 'ENV').flatMap((step) => step.rest.split(/\s+/).map((pair) => pair.split('='))))
  t.equal(env.PORT, String(SETTINGS.port.default))
  t.equal(env.WS_PORT, String(SETTINGS.wsPort.default))
  t.equal(env.HOST, '0.0.0.0')
  t.same(last.find((step) => step.word === 'EXPOSE')?.rest.split(' '), [env.PORT, env.WS_PORT])
  t.equal(last.find((step) => step.word === 'VOLUME')?.rest, env.DATA_DIR)
  t.match(last.find((step) => step.word === 'HEALTHCHECK')?.rest, 'deploy/healthcheck.ts')
  const names = Object.values(SETTINGS).map((setting): string => setting.env)
  t.same(Object.keys(env).filter((name) => name !== 'NODE_ENV' && !names.includes(name)), [], 'ENV sets settings that exist')
  t.end()
})

t.test('the health check follows /healthz', async (t) => {
  let status = 200
  const server = createServer((request, response) => { response.writeHead(request.url === '/healthz' ? status : 404).end() })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const check = (): Promise<unknown> => new Promise((resolve) => {
    execFile(process.execPath, [join(root, 'deploy/healthcheck.ts')], { env: { PORT: String(port) }, timeout: 20_000 }, (error) => resolve(error?.code ?? 0))
  })
  t.equal(await check(), 0)
  status = 503
  t.equal(await check(), 1)
  await new Promise((resolve) => server.close(resolve))
  t.equal(await check(), 1, 'nobody listens')
})

t.test('tests find their browser, and CI does not skip', (t) => {
  const before = { ...process.env }
  t.teardown(() => { process.env = before })
  const folder = mkdtempSync(join(tmpdir(), 'uproar-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const browser = join(folder, 'browser')
  writeFileSync(browser, '#!/bin/sh\n', { mode: 0o755 })

  process.env = { ...before, CHROMIUM_PATH: browser, CI: 'true' }
  t.equal(chromiumPath(), browser)
  t.equal(withoutChromium(), false)
  process.env = { ...before, CHROMIUM_PATH: folder, CI: '' }
  t.equal(chromiumPath(), null, 'a folder is no browser')
  t.match(withoutChromium(), /NO CHROMIUM/)
  process.env = { ...before, CHROMIUM_PATH: join(folder, 'gone'), CI: 'true' }
  t.throws(() => withoutChromium(), { message: /NO CHROMIUM/ })
  for (const service of SERVICES) t.ok(service.remedy.length > 10 && service.packages.length > 0, service.name)
  t.end()
})

t.test('what is missing is installed, or it is said what to do', async (t) => {
  const before = { ...process.env }
  t.teardown(() => { process.env = before })
  const folder = mkdtempSync(join(tmpdir(), 'uproar-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const browser = join(folder, 'browser')
  const stand = (name: string, lines: string): void => writeFileSync(join(folder, name), `#!/bin/sh\n${lines}\n`, { mode: 0o755 })
  const said: string[] = []
  const run = async (): Promise<string[]> => {
    said.length = 0
    // The others may be on this machine or not.
    return (await ensure((line) => said.push(line))).map((service) => service.name).filter((name) => name === 'Chromium')
  }
  const redis = join(folder, 'redis-server')
  for (const name of ['redis-server', 'java']) stand(name, 'exit 0')
  process.env = { ...before, CHROMIUM_PATH: browser, REDIS_SERVER_PATH: redis, KAFKA_JARS_PATH: folder, PATH: `${folder}:${before.PATH}` }
  stand('sudo', 'shift; exec "$@"')

  stand('apt-get', 'case "$*" in *--version) exit 0;; *) echo "no network here" >&2; exit 100;; esac')
  t.same(await run(), ['Chromium'])
  t.match(said.join('\n'), /apt-get update: failed \(exit 100\)\nno network here[\s\S]*apt-get install: failed/)

  stand('apt-get', `case "$*" in *install*chromium*) echo x > "${browser}"; chmod +x "${browser}";; esac`)
  t.same(await run(), [])
  t.ok(said.includes(`Chromium: ${browser}`))
  t.same(await run(), [], 'what is there is not installed again')
  t.same(said.filter((line) => /^(Chromium|Redis)/.test(line)), [`Chromium: ${browser}`, `Redis: ${redis}`])
})

t.test('scripts and tests are where the runner looks', (t) => {
  const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> }
  const files = Object.values(scripts).flatMap((script) => [...script.matchAll(/node (\S+\.ts)/g)].map((match) => match[1] as string))
  t.same(files.filter((path) => !existsSync(join(root, path))), [], 'every script names a file that exists')
  t.ok((statSync(join(root, 'src/cli/uproar.js')).mode & 0o111) !== 0, 'and the command can be executed')
  t.equal(scripts.start, 'exec node src/main.ts', 'a signal to npm reaches the program, not a shell before it')
  const include = /include:\n\s*- "([^"]+)"/.exec(read('.taprc'))?.[1] ?? ''
  const tests = globSync('{src,proto,bench,deploy}/**/*.test.ts', { cwd: root })
  t.ok(tests.length > 0)
  t.same(tests.filter((path) => !matchesGlob(path, include)), [], '.taprc runs every test')
  t.ok((statSync(join(root, '.ci/run')).mode & 0o111) !== 0, '.ci/run can be executed')
  t.end()
})
