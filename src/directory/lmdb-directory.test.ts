// The embedded directory, held to the suite of its face, and what a closed store does to it.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { openStore } from '../base/store.ts'
import { directorySuite } from './directory.suite.ts'
import { createLmdbDirectory } from './lmdb-directory.ts'

const root = mkdtempSync(join(tmpdir(), 'uproar-directory-'))
t.teardown(() => rmSync(root, { recursive: true, force: true }))
let places = 0

await t.test('the contract', (t) => directorySuite(t, async (place = join(root, String(places++))) => {
  const store = await openStore(place)
  return { directory: createLmdbDirectory(store), place, stop: () => store.close() }
}))

t.test('a closed store makes it unavailable', async (t) => {
  const store = await openStore(join(root, 'closed'))
  const directory = createLmdbDirectory(store)
  await store.close()
  await t.rejects(directory.create({ room: 'r', kind: 'stream', createdAt: 1, createdBy: null }), { code: 'unavailable' })
  await t.rejects(directory.get('r'), { code: 'unavailable' })
})
