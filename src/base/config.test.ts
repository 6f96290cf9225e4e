// Settings from the environment: defaults, every type's edges, all faults at once, and no secret in any of them.

import { generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { CERT, KEY } from './certificate.suite.ts'
import { ConfigError, loadConfig, SETTINGS } from './config.ts'
import { misspelt } from './spelling.ts'

function faultsOf (env: Record<string, string>): readonly string[] {
  try {
    loadConfig(env)
    return []
  } catch (error) {
    if (error instanceof ConfigError) return error.faults
    throw error
  }
}

t.test('nothing set: defaults, frozen', (t) => {
  const config = loadConfig({})
  t.equal(config.host, '127.0.0.1')
  t.equal(config.port, 8080)
  t.equal(config.wsPort, 9001)
  t.equal(config.dataDir, './data')
  t.equal(config.jwtSecret, null)
  t.same(config.origins, [])
  t.same(Object.keys(config), Object.keys(SETTINGS), 'every setting has a value')
  t.throws(() => { (config as { port: number }).port = 1 })
  t.throws(() => { (config.origins as string[]).push('x') })
  t.same(loadConfig({ PORT: '', ORIGINS: ' ', JWT_SECRET: '' }), config, 'empty counts as unset')
  t.end()
})

t.test('what is set is read', (t) => {
  const config = loadConfig({
    HOST: '0.0.0.0', PORT: ' 0 ', WS_PORT: '0', COMPRESSION: 'Yes', ROOMS_ON_DEMAND: '0', LOG_DURABILITY: 'flush',
    ORIGINS: 'https://a.example, http://b.example:8080,', TRUSTED_PROXIES: '10.0.0.0/8,::1,fd00::/8,192.0.2.7', API_KEYS: 'k'.repeat(24),
    JWT_SECRET: 's'.repeat(32), WS_PUBLIC_URL: 'wss://chat.example/ws', ROLE: 'gateway,api', MESSAGES_PER_SECOND_MAX: '0', MESSAGES_BURST_MAX: '0'
  })
  t.match(config, { host: '0.0.0.0', port: 0, wsPort: 0, compression: true, roomsOnDemand: false, logDurability: 'flush', wsPublicUrl: 'wss://chat.example/ws' })
  t.same(config.origins, ['https://a.example', 'http://b.example:8080'])
  t.same(config.trustedProxies, ['10.0.0.0/8', '::1', 'fd00::/8', '192.0.2.7'])
  t.same(config.role, ['gateway', 'api'])
  t.end()
})

t.test('each fault is found, by name', (t) => {
  const cases: readonly (readonly [Record<string, string>, RegExp])[] = [
    [{ PORT: '65536' }, /^PORT: must be a whole number from 0 to 65535 \(it is "65536"\)/],
    [{ PORT: '-1' }, /^PORT: /], [{ PORT: '80.5' }, /^PORT: /], [{ PORT: '0x50' }, /^PORT: /], [{ PORT: '1e3' }, /^PORT: /], [{ PORT: 'Infinity' }, /^PORT: /],
    [{ PORT: '9001' }, /^PORT, WS_PORT: must differ/],
    [{ COMPRESSION: 'maybe' }, /^COMPRESSION: must be true or false \(yes and no,/],
    [{ COMPRESSION: 'constructor' }, /^COMPRESSION: must be true or false/],
    [{ LOG_LEVEL: 'loud' }, /^LOG_LEVEL: must be one of trace, /],
    [{ IDLE_TIMEOUT_S: '7' }, /^IDLE_TIMEOUT_S: /], [{ IDLE_TIMEOUT_S: '961' }, /^IDLE_TIMEOUT_S: /],
    [{ ROLE: 'gateway,baker' }, /^ROLE: .* not baker/], [{ ROLE: 'relay' }, /^KAFKA_BROKERS: the role relay/], [{ ROLE: ',' }, /^ROLE: .* not nothing/],
    [{ JWKS_URL: 'example.org/keys' }, /^JWKS_URL: must be a URL/], [{ JWKS_URL: 'ftp://example.org/keys' }, /^JWKS_URL: must be an http/],
    ...['JWKS_URL', 'SCORER_URL', 'HOOK_URL'].map((name): [Record<string, string>, RegExp] => [{ [name]: 'https://me:hunter2@example.org/' }, new RegExp(`^${name}: must not hold a user name or password$`)]),
    [{ WS_PUBLIC_URL: 'https://example.org' }, /^WS_PUBLIC_URL: must be a ws or wss/],
    [{ ORIGINS: '*' }, /^ORIGINS: .*\(it has "\*"\)/], [{ ORIGINS: 'https://a.example/' }, /^ORIGINS: /],
    [{ TRUSTED_PROXIES: 'loopback' }, /^TRUSTED_PROXIES: .*"loopback"/], [{ TRUSTED_PROXIES: '10.0.0.0/33' }, /^TRUSTED_PROXIES: /], [{ TRUSTED_PROXIES: '10.0.0.0/8/8' }, /^TRUSTED_PROXIES: /], [{ TRUSTED_PROXIES: '10.0.0.0/' }, /^TRUSTED_PROXIES: /],
    [{ BLOCKED_TERMS_FILE: '/nowhere/terms.txt' }, /^BLOCKED_TERMS_FILE: must name a file/],
    [{ MESSAGES_PER_SECOND_MAX: '0' }, /^MESSAGES_PER_SECOND_MAX, MESSAGES_BURST_MAX: /],
    [{ REDIS_URL: 'http://localhost' }, /^REDIS_URL: must look like redis:/], [{ REDIS_PREFIX: 'a{b}' }, /^REDIS_PREFIX: /], [{ KAFKA_BROKERS: 'localhost' }, /^KAFKA_BROKERS: must be host:port/], [{ KAFKA_PREFIX: 'a b' }, /^KAFKA_PREFIX: /], [{ KAFKA_SASL: 'plain' }, /^KAFKA_USERNAME, KAFKA_PASSWORD: /],
    [{ CLICKHOUSE_URL: 'ftp://localhost:8123' }, /^CLICKHOUSE_URL: must be an http/], [{ CLICKHOUSE_URL: 'http://u:p@localhost:8123' }, /^CLICKHOUSE_URL: user, password/], [{ CLICKHOUSE_DATABASE: 'a b' }, /^CLICKHOUSE_DATABASE: /], [{ CLICKHOUSE_STORAGE_POLICY: "x'" }, /^CLICKHOUSE_STORAGE_POLICY: /],
    [{ ARCHIVE_TIERS: 'warm', CLICKHOUSE_STORAGE_POLICY: 'tiered' }, /^ARCHIVE_TIERS: must be volume:days/], [{ ARCHIVE_TIERS: 'warm:30' }, /^ARCHIVE_TIERS: CLICKHOUSE_STORAGE_POLICY/], [{ ARCHIVE: 'off', ROLE: 'archiver' }, /^ARCHIVE: the role/], [{ ARCHIVE: 'maybe' }, /^ARCHIVE: must be one of/],
    [{ WORKERS: '2' }, /^WORKERS: /]
  ]
  for (const [env, expected] of cases) {
    const faults = faultsOf(env)
    t.equal(faults.length, 1, JSON.stringify(env))
    t.match(faults[0], expected)
  }
  t.end()
})

t.test('files must be readable; TLS takes both or neither', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'uproar-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const file = join(folder, 'some.pem')
  writeFileSync(file, 'x')
  const cert = join(folder, 'cert.pem')
  const key = join(folder, 'key.pem')
  const other = join(folder, 'other.pem')
  writeFileSync(cert, CERT)
  writeFileSync(key, KEY)
  writeFileSync(other, generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'pkcs8', format: 'pem' }))
  t.same(faultsOf({ TLS_CERT_FILE: cert, TLS_KEY_FILE: key }), [])
  t.match(faultsOf({ TLS_CERT_FILE: file, TLS_KEY_FILE: file }), [/^TLS_CERT_FILE: must hold a certificate in PEM/, /^TLS_KEY_FILE: must hold a private key in PEM/])
  t.match(faultsOf({ TLS_CERT_FILE: cert, TLS_KEY_FILE: cert }), [/^TLS_KEY_FILE: must hold a private key/])
  t.match(faultsOf({ TLS_CERT_FILE: cert, TLS_KEY_FILE: other }), [/do not belong together/])
  t.match(faultsOf({ TLS_CERT_FILE: folder, TLS_KEY_FILE: key }), [/^TLS_CERT_FILE: must /])
  t.match(faultsOf({ TLS_CERT_FILE: file }), [/both or neither/])
  t.match(faultsOf({ TLS_KEY_FILE: file }), [/both or neither/])
  t.match(faultsOf({ JWT_PUBLIC_KEY_FILE: file, JWT_SECRET: 's'.repeat(32) }), [/set one of them/])
  t.end()
})

t.test('all faults at once, and no secret in them', (t) => {
  const faults = faultsOf({ PORT: 'x', WS_PORT: 'y', JWT_SECRET: 'hunter2', API_KEYS: 'hunter3,hunter4', CLICKHOUSE_URL: 'hunter5', REDIS_URL: 'redis://:hunter6@local host' })
  t.equal(faults.length, 6)
  t.notMatch(faults.join('\n'), /hunter/)
  t.match(new ConfigError(faults).message, /^configuration: 6 faults\n {2}PORT: /)
  t.match(new ConfigError(['one']).message, /^configuration: 1 fault\n/)
  t.end()
})

t.test('names that are nearly a setting', (t) => {
  const slips = misspelt({ JWT_SECERT: 's', PORTS: '1', WS_PROT: '1', API_KEY: 'k', JWT_SECRET: 's', MESSAGES_BURSTMAX: '8', ['X'.repeat(100_000)]: 'x', ORIGIN: '' })
  t.same(slips.map(({ name, meant }) => `${name} ${meant}`), ['JWT_SECERT JWT_SECRET', 'PORTS PORT', 'WS_PROT WS_PORT', 'API_KEY API_KEYS', 'MESSAGES_BURSTMAX MESSAGES_BURST_MAX'])
  t.same(misspelt({ HOME: '/x', PATH: '/bin', NODE: 'x', HOSTNAME: 'x', USER: 'x', SHELL: 'x', TERM: 'x', SSL_CERT_FILE: 'x', LOGNAME: 'x', NODE_ENV: 'x', REDIS_PORT: '1', LC_ALL: 'C', TZ: 'UTC' }), [], 'what belongs to others')
  t.end()
})

t.test('the table itself', (t) => {
  const rows: { env: string, doc: string, type: string, default?: unknown, min?: number, max?: number }[] = Object.values(SETTINGS)
  t.equal(new Set(rows.map((row) => row.env)).size, rows.length, 'no name twice')
  for (const row of rows) {
    if (row.type === 'int') t.ok((row.default as number) >= (row.min as number) && (row.default as number) <= (row.max as number), `${row.env}: default within its bounds`)
  }
  t.same(rows.filter((row) => !/^[A-Z][A-Z0-9_]*$/.test(row.env) || row.doc.length < 10), [])
  t.end()
})

t.test('secrets may stand in files', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'uproar-secrets-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const file = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text)
    return join(folder, name)
  }
  const secret = 's'.repeat(40)
  const config = loadConfig({ JWT_SECRET_FILE: file('jwt', `${secret}\n`), API_KEYS_FILE: file('keys', `${'k'.repeat(24)},${'l'.repeat(24)}\n`), REDIS_URL_FILE: file('redis', 'redis://:p@redis:6379\n') })
  t.match(config, { jwtSecret: secret, apiKeys: ['k'.repeat(24), 'l'.repeat(24)], redisUrl: 'redis://:p@redis:6379' })
  t.equal(loadConfig({ JWT_SECRET_FILE: '' }).jwtSecret, null)
  t.match(faultsOf({ JWT_SECRET_FILE: join(folder, 'gone') }), [/^JWT_SECRET: JWT_SECRET_FILE must name a file that can be read$/])
  t.match(faultsOf({ JWT_SECRET_FILE: file('jwt', secret), JWT_SECRET: secret }), [/^JWT_SECRET: set it or JWT_SECRET_FILE, not both$/])
  t.match(faultsOf({ JWT_SECRET_FILE: file('short', 'hush') }), [/^JWT_SECRET: must have 32 bytes at least$/])
  t.notMatch(faultsOf({ REDIS_URL_FILE: file('wrong', 'hush://hush') }).join(), /hush/)
  t.same(loadConfig({ HOST_FILE: join(folder, 'gone') }).host, '127.0.0.1', 'only secrets')
  t.same(misspelt({ JWT_SECRET_FILE: 'x' }), [])
  t.same(misspelt({ JWT_SECRETS_FILE: 'x' }), [{ name: 'JWT_SECRETS_FILE', meant: 'JWT_SECRET_FILE' }])
  t.end()
})
