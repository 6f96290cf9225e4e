// Builds what browsers and npm get: `node src/web/build.ts [--types]`. Everything is built in memory first and each file
// is then put in place by a rename, so a failed build leaves the last good one and a running server never sees half a file.
//
//   src/web/client.ts      → dist/client.js (ESM, minified, source map) and the same at dist/web/client.js
//   src/web/page/app.ts    → dist/web/app.js        src/web/page/*.css → dist/web/*.css
//   src/web/moderate/console.ts → dist/web/moderate/console.js, and its css and html beside it; likewise status, replay and stats
//   src/web/page/*.{html,svg,png,ico,webmanifest} → dist/web/, as they are; pages with their parts (page-parts.ts)
//   --types: dist/client.d.ts and dist/types/, made by tsc (slower, only wanted for a package)

import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { basename, dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { gzipSync } from 'node:zlib'
import { build, type BuildFailure, type BuildOptions } from 'esbuild'
import { withParts } from './page-parts.ts'

const ROOT = resolve(import.meta.dirname, '../..')
/** The pages: folder, entry, and where it goes below dist/web. */
const PAGES = [
  { source: 'src/web/page', entry: 'app.ts', folder: 'web' },
  { source: 'src/web/moderate', entry: 'console.ts', folder: 'web/moderate' },
  { source: 'src/web/status', entry: 'status.ts', folder: 'web/status' },
  { source: 'src/web/replay', entry: 'watch.ts', folder: 'web/replay' },
  { source: 'src/web/stats', entry: 'board.ts', folder: 'web/stats' }
] as const
const COPIED = /\.(?:html|svg|png|ico|webmanifest)$/
/** What all current browsers and Node 22 run. */
const TARGET = 'es2022'

/** Files by their path in the output folder. */
type Files = Map<string, Uint8Array>

/** Builds into `out`. Rejects with a readable error and then has changed nothing. Answers the files it wrote. */
export async function buildWeb (out: string, options: { types?: boolean } = {}): Promise<Files> {
  const files: Files = new Map()
  await bundle(files, out, ['src/web/client.ts'], '')
  for (const name of ['client.js', 'client.js.map']) files.set(`web/${name}`, files.get(name) as Uint8Array)
  for (const page of PAGES) await buildPage(files, out, page)
  if (options.types === true) await declare(files, out)
  for (const [name, bytes] of files) await put(join(out, name), bytes)
  await sweep(join(out, 'web'), files, 'web/')
  if (options.types === true) await sweep(join(out, 'types'), files, 'types/')
  return files
}

async function buildPage (files: Files, out: string, { source, entry, folder }: (typeof PAGES)[number]): Promise<void> {
  const names = await readdir(join(ROOT, source))
  if (!names.includes(entry)) throw new Error(`${source}/${entry} is not there: it is the page's entry`)
  await bundle(files, out, [entry, ...names.filter((name) => name.endsWith('.css'))].map((name) => `${source}/${name}`), folder)
  for (const name of names.filter((name) => COPIED.test(name))) {
    const bytes = await readFile(join(ROOT, source, name))
    files.set(`${folder}/${name}`, name.endsWith('.html') ? Buffer.from(withParts(bytes.toString())) : bytes)
  }
}

async function bundle (files: Files, out: string, entries: string[], folder: string): Promise<void> {
  const options = {
    absWorkingDir: ROOT,
    entryPoints: entries,
    outdir: join(out, folder),
    bundle: true,
    minify: true,
    format: 'esm',
    platform: 'browser',
    target: TARGET,
    sourcemap: true,
    legalComments: 'none',
    logLevel: 'silent',
    write: false
  } satisfies BuildOptions
  const { outputFiles } = await build(options)
  for (const { path, contents } of outputFiles) files.set(relative(out, path), contents)
}

/** The client's types: tsc's declarations as a tree, and a file of one line that leads into it. */
async function declare (files: Files, out: string): Promise<void> {
  await mkdir(out, { recursive: true })
  const folder = await mkdtemp(join(out, '.types-'))
  try {
    const tsc = join(ROOT, 'node_modules/typescript/lib/tsc.js')
    await promisify(execFile)(process.execPath, [tsc, '--ignoreConfig', '--declaration', '--emitDeclarationOnly', '--stripInternal', '--strict',
      '--target', 'es2024', '--lib', 'es2024,dom,dom.iterable', '--module', 'nodenext', '--types', '', '--allowImportingTsExtensions', '--skipLibCheck',
      '--rootDir', ROOT, '--outDir', folder, join(ROOT, 'src/web/client.ts')], { timeout: 60_000 })
      .catch((error: { stdout?: string }) => { throw new Error(`tsc failed at the client's types:\n${error.stdout ?? String(error)}`, { cause: error }) })
    for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
      const path = join(entry.parentPath, entry.name)
      if (entry.isFile()) files.set(join('types', relative(folder, path)), await readFile(path))
    }
    files.set('client.d.ts', Buffer.from("export * from './types/src/web/client.js'\n"))
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function put (path: string, bytes: Uint8Array): Promise<void> {
  const old = await readFile(path).catch(() => null)
  if (old !== null && old.equals(bytes)) return
  await mkdir(dirname(path), { recursive: true })
  const part = join(dirname(path), `.${basename(path)}.${process.pid}`)
  try {
    await writeFile(part, bytes)
    await rename(part, path)
  } finally {
    await rm(part, { force: true })
  }
}

/** Takes away what an earlier build left and this one did not make. */
async function sweep (folder: string, files: Files, prefix: string): Promise<void> {
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name)
    if (entry.isFile() && !files.has(prefix + relative(folder, path))) await rm(path, { force: true })
  }
}

async function main (): Promise<void> {
  const started = performance.now()
  try {
    const files = await buildWeb(join(ROOT, 'dist'), { types: process.argv.includes('--types') })
    const sizes = ['client.js', 'web/app.js', 'web/app.css', 'web/moderate/console.js'].filter((name) => files.has(name)).map((name) => {
      const bytes = files.get(name) as Uint8Array
      return `${name} ${(gzipSync(bytes, { level: 9 }).length / 1000).toFixed(1)} kB gzip`
    })
    // To stderr: `npm start` runs this before the server, whose stdout is its log.
    console.error(`built ${sizes.join(', ')} in ${Math.round(performance.now() - started)} ms`)
  } catch (error) {
    const faults = (error as BuildFailure).errors ?? []
    const lines = faults.map(({ text, location }) => `  ${location === null ? '' : `${location.file}:${location.line}:${location.column}: `}${text}`)
    console.error(`the build failed, dist/ is as it was: ${lines.length > 0 ? `\n${lines.join('\n')}` : String((error as Error).message)}`)
    process.exitCode = 1
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main()
