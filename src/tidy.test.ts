// House rules as a test: who may import whom, names, sizes, leftovers, dead files. Rules are data at the top; every
// offence of a rule is listed at once, with what to do. A new module or an exception is a line in a table below.

import { readdirSync, readFileSync } from 'node:fs'
import { basename, dirname, join, posix } from 'node:path'
import t, { type Test } from 'tap'

const ROOT = join(import.meta.dirname, '..')

/** From left to right: a module imports only from layers to its left, and from itself. */
const LAYERS: readonly (readonly string[])[] = [
  ['proto'], ['base'], ['auth'], ['log', 'directory'], ['cluster', 'revocation'], ['feed'], ['archive'], ['moderation'], ['rooms', 'rights'], ['ingest', 'library'], ['gateway', 'api', 'probe'], ['app'], ['supervisor'], ['main']
]

/** Modules beside the layers, and what they may import. */
const BESIDE: Readonly<Record<string, readonly string[]>> = {
  web: ['proto'],
  replay: ['proto', 'base', 'web'],
  cli: ['base', 'auth', 'cluster', 'feed', 'replay'],
  docs: ['proto', 'base', 'scaling'],
  scaling: [],
  scenarios: ['*'],
  bench: ['*'],
  deploy: []
}

/** Files that others may import, where that is not the one named like its folder. `*`: every file of the module. */
const FACES: Readonly<Record<string, readonly string[]>> = {
  proto: ['*'],
  base: ['*'],
  auth: ['auth.ts', 'authenticator.ts', 'dev-tokens.ts'],
  log: ['log.ts', 'outlet.ts'],
  cluster: ['cluster.ts', 'orders.ts'],
  feed: ['feed.ts', 'standby.ts', 'feed.suite.ts', 'kafka-report.ts'],
  archive: ['archive.ts', 'reads.ts', 'archive.suite.ts'],
  moderation: ['moderation.ts', 'json-server.suite.ts', 'screen.ts', 'judge.ts', 'levels.ts'],
  rooms: ['rooms.ts', 'stage.suite.ts'],
  web: ['client.ts', 'build.ts', 'page/browser.suite.ts'],
  deploy: ['services/services.ts', 'services/children.ts', 'services/ports.ts', 'services/redis.ts', 'services/kafka.ts', 'services/prometheus.ts', 'services/tcp-proxy.ts', 'grafana/dashboards.ts', 'grafana/archive-panels.ts', 'balancer.ts'],
  replay: ['replay.ts', 'watcher.ts', 'socket.ts', 'batches.ts', 'account.ts', 'latency.ts', 'tokens.ts', 'csv.ts', 'report.ts', 'command.ts', 'faults.ts'],
  bench: ['crowd.ts']
}

/** Concrete engines and what app.ts starts beside the faces: named by app.ts, by tests and by benches, by nobody else. */
const ADAPTERS: readonly string[] = [
  'src/log/lmdb-log.ts', 'src/log/redis-log.ts', 'src/log/canary.ts', 'src/directory/lmdb-directory.ts', 'src/directory/redis-directory.ts',
  'src/cluster/local-cluster.ts', 'src/cluster/redis-cluster.ts',
  'src/archive/chdb-archive.ts', 'src/archive/clickhouse-archive.ts', 'src/archive/no-archive.ts', 'src/archive/archiver.ts', 'src/archive/erasure.ts', 'src/archive/audience.ts', 'src/archive/upkeep.ts',
  'src/feed/log-feed.ts', 'src/feed/kafka-feed.ts', 'src/feed/relay.ts', 'src/feed/notifier.ts'
]

/** The one place that may know the sockets' library (tests and benches may too). */
const SOCKETS = { library: 'uWebSockets.js', module: 'gateway' }

/** Where running begins, beside tests and the scripts of package.json: the programs, and the pages that the build bundles. */
const ENTRIES = ['src/main.ts', 'src/cli/main.ts', 'src/web/page/app.ts', 'src/web/moderate/console.ts', 'src/web/status/status.ts', 'src/web/replay/watch.ts', 'src/web/stats/board.ts']

const TOP_LEVEL = ['src', 'bench', 'proto', 'deploy', 'Dockerfile', 'package.json', 'package-lock.json', 'tsconfig.json', 'README.md', 'LICENSE']
const IGNORED = ['node_modules', 'dist', 'data', '.git', '.tap']
const LINES_MAX = 500
const NAME = /^[a-z0-9]+(-[a-z0-9]+)*(\.[a-z0-9]+)+$/
const BANNED_IN_NAMES = ['util', 'utils', 'helper', 'helpers', 'manager', 'impl', 'misc', 'common']
// Written in pieces, so that this file does not offend itself.
const LEFTOVERS = new RegExp([`\\b${'TO' + 'DO'}\\b`, `\\b${'FIX' + 'ME'}\\b`, `\\b${'XX' + 'X'}\\b`, `\\b(t|tap|test)\\.${'(only|skip)'}\\(`].join('|'))
const MACHINE_PATHS = new RegExp(['', '(work|root|home|Users)', '[a-z]'].join('/'))

interface Source { readonly path: string, readonly text: string, readonly code: string }

const everything = walk('.')
const sources: readonly Source[] = everything
  .filter((path) => /^(src|proto|bench|deploy)\//.test(path) && path.endsWith('.ts'))
  .map((path) => {
    const text = readFileSync(join(ROOT, path), 'utf8')
    return { path, text, code: withoutComments(text) }
  })

function walk (folder: string): string[] {
  return readdirSync(join(ROOT, folder), { withFileTypes: true }).flatMap((item) => {
    const path = posix.join(folder, item.name)
    if (IGNORED.includes(item.name)) return []
    return item.isDirectory() ? walk(path) : item.isFile() ? [path] : []
  })
}

function withoutComments (text: string): string {
  return text.replace(/^\s*\/\*[\s\S]*?\*\//gm, '').replace(/^\s*\/\/.*$/gm, '')
}

/** What a file imports: packages as they are written, files as paths from the root. */
function importsOf (source: Source): string[] {
  const found = [...source.code.matchAll(/(?:^import|^export|^\s*\})[^'"\n]*?from\s*['"]([^'"]+)['"]|^import\s+['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]\s*\)/gm)]
  return found.map((match) => (match[1] ?? match[2] ?? match[3]) as string)
    .map((name) => name.startsWith('.') ? posix.join(posix.dirname(source.path), name) : name)
}

function moduleOf (path: string): string {
  const parts = path.split('/')
  if (parts[0] !== 'src') return parts[0] as string
  return parts.length === 2 ? basename(path).split('.')[0] as string : parts[1] as string
}

const isTest = (path: string): boolean => /\.(test|suite)\.ts$/.test(path)
const isFree = (path: string): boolean => isTest(path) || ['bench', 'scenarios'].includes(moduleOf(path))

function mayImport (from: string, to: string): boolean {
  if (from === to) return true
  const own = LAYERS.findIndex((layer) => layer.includes(from))
  const other = LAYERS.findIndex((layer) => layer.includes(to))
  if (own >= 0) return other >= 0 && other < own
  return BESIDE[from]?.some((name) => name === '*' || name === to) ?? false
}

function isFace (path: string): boolean {
  const module = moduleOf(path)
  const faces = FACES[module] ?? [`${module}.ts`]
  return faces.includes('*') || faces.some((face) => path.endsWith(`/${face}`) && moduleOf(path) === module) || posix.dirname(path) === 'src'
}

function holds (t: Test, offences: readonly string[], remedy: string): void {
  t.same(offences, [], offences.length === 0 ? 'nothing offends' : remedy)
  t.end()
}

t.test('every module has its place', (t) => {
  const known = new Set([...LAYERS.flat(), ...Object.keys(BESIDE), 'tidy'])
  holds(t, [...new Set(sources.map((source) => moduleOf(source.path)))].filter((module) => !known.has(module)),
    'add the module to LAYERS or BESIDE in src/tidy.test.ts')
})

t.test('imports point to the left', (t) => {
  const offences = sources.filter((source) => !isFree(source.path)).flatMap((source) => importsOf(source)
    .filter((target) => /^(src|proto|bench|deploy)\//.test(target) && !mayImport(moduleOf(source.path), moduleOf(target)))
    .map((target) => `${source.path} imports ${target}`))
  holds(t, offences, 'a module may import only what stands to its left (LAYERS, BESIDE): turn the dependency round, or hand it in')
})

t.test('modules are entered by their face', (t) => {
  const offences = sources.flatMap((source) => importsOf(source)
    .filter((target) => /^(src|proto|bench|deploy)\//.test(target) && moduleOf(target) !== moduleOf(source.path))
    .filter((target) => !isFace(target))
    .filter((target) => !(ADAPTERS.includes(target) && (isFree(source.path) || source.path === 'src/app.ts')))
    .map((target) => `${source.path} imports ${target}`))
  holds(t, offences, 'import the face (the file named like its folder); what is needed outside belongs on it')
})

t.test('only the gateway knows the sockets', (t) => {
  const users = sources.filter((source) => !isFree(source.path) && importsOf(source).includes(SOCKETS.library)).map((source) => source.path)
  const offences = users.filter((path, at) => moduleOf(path) !== SOCKETS.module || at > 0)
  holds(t, offences, `one file of src/${SOCKETS.module} imports ${SOCKETS.library}; the rest sees its small interface`)
})

t.test('relative imports name their .ts file, and it exists', (t) => {
  const paths = new Set(everything)
  const offences = sources.flatMap((source) => importsOf(source)
    .filter((target) => /^(\.\.|src|proto|bench|deploy)(\/|$)/.test(target) && !paths.has(target))
    .filter((target) => !target.startsWith('dist/'))
    .map((target) => `${source.path} imports ${target}`))
  holds(t, offences, 'source runs as it is: write the whole file name')
})

t.test('names are kebab-case nouns of the domain', (t) => {
  const names = everything.filter((path) => /^(src|proto|bench)\//.test(path) && !NAME.test(basename(path)) && !['PROTOCOL.md', 'README.md'].includes(basename(path)))
  const vague = sources.filter((source) => basename(source.path).split(/[-.]/).some((word) => BANNED_IN_NAMES.includes(word))).map((source) => source.path)
  const classes = sources.flatMap((source) => [...source.code.matchAll(/\b(?:class|interface)\s+(\w*(?:Utils?|Helpers?|Manager|Impl))\b/g)].map((match) => `${source.path}: ${match[1]}`))
  holds(t, [...names, ...vague, ...classes], 'name the file or class after what it is in the domain')
})

t.test('files open with what they are', (t) => {
  const offences = sources.filter((source) => !/^(#!.*\n)?(\/\/|\/\*)/.test(source.text)).map((source) => source.path)
  holds(t, offences, 'open with 2 to 4 lines: what it is, owns, must not know, its bound')
})

t.test('files are short enough to know where to look', (t) => {
  const offences = sources.map((source) => ({ path: source.path, lines: source.text.split('\n').length - 1 }))
    .filter((file) => file.lines > LINES_MAX).map((file) => `${file.path}: ${file.lines} lines`)
  holds(t, offences, `split the file along its nouns; ${LINES_MAX} lines is the most`)
})

t.test('no leftovers, no default exports', (t) => {
  const offences = sources.flatMap((source) => source.text.split('\n').flatMap((line, at) =>
    LEFTOVERS.test(line) || /^export default\b/.test(line) ? [`${source.path}:${at + 1}: ${line.trim()}`] : []))
  holds(t, offences, 'finish it or take it out; exports have names')
})

t.test('nothing names the machine it was written on', (t) => {
  const texts = everything.filter((path) => /\.(ts|md|json|ya?ml|html|css|sh)$|(^|\/)(Dockerfile|run|\.taprc|\.dockerignore)$/.test(path) && path !== 'package-lock.json')
  const offences = texts.flatMap((path) => readFileSync(join(ROOT, path), 'utf8').split('\n').flatMap((line, at) =>
    MACHINE_PATHS.test(line) && !/https?:\/\//.test(line) ? [`${path}:${at + 1}: ${line.trim().slice(0, 120)}`] : []))
  holds(t, offences, 'paths are relative to the project or come from settings')
})

t.test('the top level stays as it is', (t) => {
  const offences = readdirSync(ROOT).filter((name) => !name.startsWith('.') && !name.endsWith('.log') && !IGNORED.includes(name) && !TOP_LEVEL.includes(name))
  holds(t, offences, 'the top level is fixed; find the module it belongs to')
})

t.test('no dead files', (t) => {
  const byPath = new Map(sources.map((source) => [source.path, source]))
  const scripts = Object.values((JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { scripts: Record<string, string> }).scripts)
  const roots = [...byPath.keys()].filter((path) => isTest(path) && path.endsWith('.test.ts') || /\.(prove|bench|d)\.ts$/.test(path) || scripts.some((script) => script.includes(path)))
  const reached = new Set<string>()
  const open = [...roots, ...ENTRIES]
  for (let path = open.pop(); path !== undefined; path = open.pop()) {
    const source = byPath.get(path)
    if (source === undefined || reached.has(path)) continue
    reached.add(path)
    // Besides imports: workers, child processes and bundles are named as strings.
    const named = [...source.code.matchAll(/['"`]([\w./-]+\.ts)['"`]/g)].map((match) => match[1] as string)
    open.push(...importsOf(source), ...named, ...named.map((name) => posix.join(dirname(source.path), name)))
  }
  holds(t, sources.map((source) => source.path).filter((path) => !reached.has(path)), 'nothing imports it, no script or test runs it: take it out')
})
