// Sources with their types stripped, kept for a test run. Run as a program, before the tests, it strips all of them; each
// process of the run loads it before everything else (package.json, `test`) and takes them from there. Node strips anew in
// every process, for half a second of CPU, and a run has hundreds. It is the same text by the same function, found by the
// hash of the source; what is not there Node strips as ever.

import { hash } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { registerHooks, stripTypeScriptTypes } from 'node:module'
import { fileURLToPath } from 'node:url'

const ROOT = new URL('../..', import.meta.url)
const KEPT = new URL(`node_modules/.cache/stripped-${process.version}/`, ROOT)
const FOLDERS = ['src', 'proto', 'bench', 'deploy']

if (process.argv[1] === import.meta.filename) {
  rmSync(KEPT, { recursive: true, force: true })
  mkdirSync(KEPT, { recursive: true })
  for (const folder of FOLDERS) {
    for (const path of readdirSync(new URL(folder, ROOT), { recursive: true })) {
      if (!path.endsWith('.ts')) continue
      const source = readFileSync(new URL(`${folder}/${path}`, ROOT))
      writeFileSync(placeOf(source), stripTypeScriptTypes(source.toString()))
    }
  }
} else {
  registerHooks({
    load (url, context, next) {
      if (!url.endsWith('.ts') || !url.startsWith(ROOT.href)) return next(url, context)
      try {
        return { format: 'module', source: readFileSync(placeOf(readFileSync(fileURLToPath(url)))), shortCircuit: true }
      } catch {
        return next(url, context)
      }
    }
  })
}

function placeOf (source) { return new URL(`${hash('sha1', source)}.js`, KEPT) }
