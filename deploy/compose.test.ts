// The stack of compose, held without a container engine: to the published schema of compose, to the files it mounts, and to
// the program: the environment and the secrets of each container of ours are loaded as the program would. Redis's settings
// are run by a real redis-server.

import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { cpSync, existsSync, globSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { Ajv } from 'ajv'
import t, { type Test } from 'tap'
import { parse } from 'yaml'
import { loadConfig, ROLES, SETTINGS } from '../src/base/config.ts'
import { parseRedisUrl } from '../src/base/redis-place.ts'
import { Redis } from '../src/base/redis.ts'
import { freePort } from './services/ports.ts'
import { promtool } from './services/prometheus.ts'
import { balancerPath, redisPath, withoutBalancer, withoutPrometheus, withoutRedis } from './services/services.ts'

const FOLDER = join(import.meta.dirname, 'compose')
const SETTING_NAMES: readonly string[] = Object.values(SETTINGS).flatMap((setting) => 'secret' in setting ? [setting.env, `${setting.env}_FILE`] : [setting.env])

interface Container {
  readonly image: string
  readonly environment?: Readonly<Record<string, string>>
  readonly volumes?: readonly string[]
  readonly secrets?: readonly string[]
  readonly ports?: readonly string[]
  readonly networks?: readonly string[]
  readonly healthcheck?: object
  readonly stop_grace_period?: string
  readonly depends_on?: Readonly<Record<string, { condition: string }>>
  readonly deploy: { readonly resources: { readonly limits: { readonly memory: string } } }
  readonly [key: string]: unknown
}
interface Stack {
  readonly services: Readonly<Record<string, Container>>
  readonly secrets: Readonly<Record<string, { readonly file: string }>>
  readonly networks: Readonly<Record<string, { readonly internal?: boolean, readonly ipam?: { readonly config: readonly { readonly subnet: string }[] } }>>
  readonly volumes: Readonly<Record<string, unknown>>
}

const text = readFileSync(join(FOLDER, 'compose.yml'), 'utf8')
const stack = parse(text, { merge: true }) as Stack
const containers = Object.entries(stack.services)
const ours = containers.filter(([, { image }]) => image.startsWith('uproar:'))
/** `${NAME:-otherwise}`, as compose fills it in where nothing is set. */
const filled = (value: string): string => value.replace(/\$\{\w+(?::-(.*?))?\}/g, '$1')
const seconds = (time = '10s'): number => Number(/^(\d+)s$/.exec(time)?.[1])

function makeSecrets (t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'uproar-secrets-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  execFileSync(join(FOLDER, 'make-secrets.sh'), [folder], { timeout: 20_000 })
  return folder
}

t.test('compose.yml is of the published schema', (t) => {
  const schema = JSON.parse(readFileSync(join(dirname(createRequire(import.meta.url).resolve('dclint/package.json')), 'schemas/compose.schema.json'), 'utf8')) as { $schema: string }
  const ajv = new Ajv({ strict: false, allErrors: true, validateFormats: false })
  const validate = ajv.compile({ ...schema, $schema: 'http://json-schema.org/draft-07/schema#' })
  const faultsOf = (value: unknown): string[] => validate(value) ? [] : (validate.errors ?? []).map(({ instancePath, message }) => `${instancePath} ${message}`)
  t.same(faultsOf(stack), [])
  const wrong = structuredClone(stack) as any
  wrong.services.relay.restarts = 'always'
  t.match(faultsOf(wrong), [/^\/services\/relay must NOT have additional properties/])
  t.end()
})

t.test('what containers name is there', (t) => {
  for (const [name, { secrets = [], volumes = [], networks = [], depends_on: needed = {}, healthcheck, image, deploy }] of containers) {
    t.same(secrets.filter((secret) => stack.secrets[secret] === undefined), [], `${name}: secrets`)
    t.same(networks.filter((network) => stack.networks[network] === undefined), [], `${name}: networks`)
    t.same(Object.keys(needed).filter((other) => stack.services[other] === undefined), [], `${name}: what it waits for`)
    t.ok(Object.values(needed).every(({ condition }) => condition === 'service_healthy'))
    t.ok(healthcheck !== undefined || image.startsWith('uproar:'), `${name}: its health is checked (ours by its image)`)
    t.match(image, /:\d+\.\d+[\w.-]*$|:v\d+\.\d+\.\d+$/, `${name}: a version is pinned`)
    t.ok(deploy.resources.limits.memory, `${name}: memory has a limit`)
    for (const [source = '', , mode] of volumes.map((volume) => volume.split(':'))) {
      if (!source.startsWith('.')) t.ok(source in stack.volumes, `${name}: volume ${source}`)
      else {
        t.equal(mode, 'ro', `${name}: ${source} is read alone`)
        t.ok(source.startsWith('./secrets/') || existsSync(join(FOLDER, source)), `${name}: ${source} is there`)
      }
    }
  }
  t.end()
})

t.test('the world meets the balancer alone', (t) => {
  const open = containers.flatMap(([name, { ports = [] }]) => ports.filter((port) => !port.startsWith('127.0.0.1:')).map((port) => `${name} ${port}`))
  t.same(open, ['balancer 8000:8000'])
  for (const engine of ['redis', 'kafka', 'clickhouse']) t.ok(stack.services[engine]?.networks?.includes('back') === true && !stack.services[engine]?.networks?.includes('front'), engine)
  t.equal(stack.networks.back?.internal, true)
  t.equal(stack.services['gateway-1']?.environment?.TRUSTED_PROXIES, stack.networks.front?.ipam?.config[0]?.subnet, 'gateways believe the balancer\'s network')
  t.same(containers.filter(([, { networks = [] }]) => networks.includes('front')).map(([name]) => name).sort(), ['balancer', 'gateway-1', 'gateway-2'], 'and nobody else is in it')
  t.end()
})

t.test('each container of ours starts with what it is given', (t) => {
  const folder = makeSecrets(t)
  t.ok(ours.length >= 5)
  for (const [name, { environment = {}, secrets = [], ...container }] of ours) {
    t.same(Object.keys(environment).filter((key) => !SETTING_NAMES.includes(key)), [], `${name}: variables are settings`)
    const env = Object.fromEntries(Object.entries(environment).map(([key, value]) => {
      const [, secret] = /^\/run\/secrets\/(.+)$/.exec(value) ?? []
      if (secret !== undefined) t.ok(secrets.includes(secret), `${name}: ${key} is handed to it`)
      return [key, secret === undefined ? filled(value) : join(folder, secret)]
    }))
    const config = loadConfig(env)
    t.ok(config.role.includes('api'), `${name}: health and metrics`)
    t.ok(seconds(container.stop_grace_period) >= config.stopTimeoutS + 5, `${name}: a drain has its time`)
    t.match(container, { read_only: true, cap_drop: ['ALL'], tmpfs: ['/tmp'], init: true }, name)
  }
  const roles = new Set(ours.flatMap(([, { environment = {} }]) => (environment.ROLE ?? '').split(',')))
  t.same(ROLES.filter((role) => role !== 'all' && !roles.has(role)), [], 'every role has a container')
  t.end()
})

t.test('secrets are made once, each as it is used', (t) => {
  const folder = makeSecrets(t)
  const read = (name: string): string => readFileSync(join(folder, name), 'utf8')
  t.same(Object.values(stack.secrets).map(({ file }) => file.replace('./secrets/', '')).filter((name) => !existsSync(join(folder, name))), [])
  t.same(Object.entries(stack.secrets).filter(([name, { file }]) => file !== `./secrets/${name}`), [])
  const before = globSync('*', { cwd: folder }).map(read)
  execFileSync(join(FOLDER, 'make-secrets.sh'), [folder], { timeout: 20_000 })
  t.same(globSync('*', { cwd: folder }).map(read), before, 'what is there stays')
  t.equal(new Set(['jwt_secret', 'api_keys', 'redis_password', 'clickhouse_password', 'grafana_password'].map(read)).size, 5, 'no two are the same')
  t.match(read('jwt_secret'), /^[0-9a-f]{48}$/)
  t.equal(statSync(folder).mode & 0o777, 0o711)
  t.notMatch(read('clickhouse_users.xml'), read('clickhouse_password'), 'ClickHouse is told a sum')
  t.match(readFileSync(join(import.meta.dirname, '..', '.gitignore'), 'utf8'), /^deploy\/compose\/secrets\/$/m, 'and none is committed')
  t.end()
})

t.test('the balancer\'s rules are those that are tested', (t) => {
  const rules = (path: string): string[] => readFileSync(join(import.meta.dirname, path), 'utf8').split('\n').map((line) => line.trim()).filter((line) => line !== '' && !line.startsWith('#'))
    .filter((line) => !/^(server instance-|resolvers docker|nameserver dns|hold valid)/.test(line)).map((line) => line.replace(' resolvers docker init-addr libc,none', ''))
  t.same(rules('compose/haproxy.cfg'), rules('haproxy/haproxy.cfg'))
  const servers = [...readFileSync(join(FOLDER, 'haproxy.cfg'), 'utf8').matchAll(/server instance-\d (\S+):(\d+)(?: port (\d+))?/g)]
  t.same(servers.map(([, host, port, check]) => `${host} ${port} ${check ?? ''}`.trim()), ['gateway-1 8080', 'gateway-2 8080', 'gateway-1 9001 8080', 'gateway-2 9001 8080'])
  t.end()
})

t.test('HAProxy and Prometheus take their files', { skip: withoutBalancer('haproxy') || withoutPrometheus() }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'uproar-compose-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  writeFileSync(join(folder, 'haproxy.cfg'), readFileSync(join(FOLDER, 'haproxy.cfg'), 'utf8').replaceAll(/gateway-\d/g, '127.0.0.1'))
  const { status, stderr, stdout } = spawnSync(balancerPath('haproxy') as string, ['-c', '-f', join(folder, 'haproxy.cfg')], { encoding: 'utf8', timeout: 20_000 })
  t.equal(status, 0, stderr + stdout)
  cpSync(join(FOLDER, 'prometheus.yml'), join(folder, 'prometheus.yml'))
  cpSync(join(import.meta.dirname, 'prometheus/rules'), join(folder, 'rules'), { recursive: true })
  t.match(await promtool('check', 'config', join(folder, 'prometheus.yml')), { status: 0, text: /rules found/ })
})

t.test('Prometheus asks every process', (t) => {
  const [own, general] = ['compose/prometheus.yml', 'prometheus/prometheus.yml'].map((path) => parse(readFileSync(join(import.meta.dirname, path), 'utf8')))
  t.same([own.global, own.rule_files], [general.global, general.rule_files])
  t.equal(own.scrape_configs[0].job_name, general.scrape_configs[0].job_name)
  t.same(own.scrape_configs[0].static_configs[0].targets.sort(), ours.map(([name]) => `${name}:8080`).sort())
  t.same(ours.filter(([, { networks = [] }]) => !networks.includes('watch')).map(([name]) => name), [], 'they can be reached from there')
  t.end()
})

t.test('Grafana is given what its data sources ask for', (t) => {
  const asked = [...readFileSync(join(import.meta.dirname, 'grafana/provisioning/datasources/uproar.yml'), 'utf8').matchAll(/\$\{(\w+)\}/g)].map((match) => match[1] as string)
  const given = [...Object.keys(stack.services.grafana?.environment ?? {}), ...[...readFileSync(join(makeSecrets(t), 'grafana.env'), 'utf8').matchAll(/^(\w+)=/gm)].map((match) => match[1] as string)]
  t.ok(asked.length >= 4)
  t.same(asked.filter((name) => !given.includes(name)), [])
  const users = readFileSync(join(import.meta.dirname, 'clickhouse/users.xml'), 'utf8')
  for (const name of [stack.services.grafana?.environment?.CLICKHOUSE_USER, stack.services.archiver?.environment?.CLICKHOUSE_USER]) t.match(users, new RegExp(`<users>[\\s\\S]*<${name}>`), `ClickHouse knows ${name}`)
  t.match(users, '<default remove="1"/>')
  t.match(readFileSync(join(import.meta.dirname, 'grafana/provisioning/dashboards/uproar.yml'), 'utf8'), `path: ${/dashboards:(\S+?):ro/.exec(stack.services.grafana?.volumes?.join(' ') ?? '')?.[1]}`)
  t.end()
})

t.test('images are of the versions that the tests run', (t) => {
  const pom = readFileSync(join(import.meta.dirname, 'services/kafka/pom.xml'), 'utf8')
  t.equal(stack.services.kafka?.image, `apache/kafka:${/<kafka\.version>(.*)<\/kafka\.version>/.exec(pom)?.[1]}`)
  t.match(readFileSync(join(import.meta.dirname, 'kubernetes/overlays/local/engines.yaml'), 'utf8'), `image: ${stack.services.kafka?.image}`)
  const { version } = JSON.parse(readFileSync(join(import.meta.dirname, '../package.json'), 'utf8')) as { version: string }
  t.ok(ours.every(([, { image }]) => image === `uproar:${version}`))
  t.end()
})

t.test('Redis by its settings: only with the password, durable, never evicting', { skip: withoutRedis() }, async (t) => {
  const secrets = makeSecrets(t)
  const port = await freePort()
  const conf = join(secrets, 'redis.conf')
  writeFileSync(conf, readFileSync(join(import.meta.dirname, 'redis/redis.conf'), 'utf8').replace('/run/secrets', secrets).replace('dir /data', `dir ${secrets}`).replace('bind * -::*', 'bind 127.0.0.1'))
  const child = spawn(redisPath() as string, [conf, '--port', String(port)], { stdio: ['ignore', 'pipe', 'pipe'] })
  let words = ''
  child.stdout.on('data', (chunk: Buffer) => { words += chunk.toString() })
  const exit = new Promise((resolve) => child.once('exit', resolve))
  t.teardown(async () => {
    child.kill('SIGKILL')
    await exit
  })
  const url = readFileSync(join(secrets, 'redis_url'), 'utf8').replace('redis:6379', `127.0.0.1:${port}`)
  const redis = new Redis(parseRedisUrl(url), { timeoutMs: 2000 })
  t.teardown(() => redis.close())
  for (let left = 200; ; left--) {
    const answer = await redis.check().then(() => 'fine', (error: Error) => error.message)
    if (answer === 'fine') break
    if (left === 0 || child.exitCode !== null) throw new Error(`${answer}\n${words}`)
    await new Promise((resolve) => setTimeout(resolve, 25))
  }
  for (const [name, value] of [['maxmemory-policy', 'noeviction'], ['appendonly', 'yes'], ['appendfsync', 'everysec'], ['maxmemory', '1073741824']] as const) {
    t.same((await redis.call('t', 'CONFIG', ['GET', name]) as Buffer[]).map(String), [name, value])
  }
  const stranger = new Redis(parseRedisUrl(`redis://127.0.0.1:${port}`), { timeoutMs: 1000 })
  t.teardown(() => stranger.close())
  await t.rejects(stranger.call('t', 'PING', []), 'nobody without the password')
})
