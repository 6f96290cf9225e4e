// The store and its claim on DATA_DIR: what is written stays, one owner at a time whatever happened to the last, and
// errors that name the directory. Real directories, real processes.

import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { COMPACTION_DUE } from './store-compaction.ts'
import { openStore, read } from './store.ts'

const root = mkdtempSync(join(tmpdir(), 'uproar-store-'))
t.teardown(() => rmSync(root, { recursive: true, force: true }))

async function hold (dir: string): Promise<ChildProcess> {
  const child = spawn(process.execPath, [new URL('owner.child.ts', import.meta.url).pathname, dir], { stdio: ['ignore', 'pipe', 'inherit'] })
  await once(child.stdout as NodeJS.ReadableStream, 'data')
  return child
}

async function kill (child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  child.kill(signal)
  await once(child, 'exit')
}

const key = Buffer.from('key')
const value = new Uint8Array([1, 2, 3])

t.test('writes are there after closing and opening again', async (t) => {
  const dir = join(root, 'deep', 'er')
  const store = await openStore(dir)
  await store.commit(() => { void store.tables.entries.put(key, value) })
  t.same(read(store.tables.entries, key), value)
  t.equal(read(store.tables.entries, Buffer.from('none')), undefined)
  await store.close()
  await store.close()
  await t.rejects(store.commit(() => {}), { code: 'unavailable' })
  const again = await openStore(dir)
  t.same(read(again.tables.entries, key), value)
  await again.close()
})

t.test('one owner at a time', async (t) => {
  const dir = join(root, 'owned')
  const store = await openStore(dir)
  await t.rejects(openStore(dir), { message: new RegExp(`${dir} is in use by process ${process.pid} on `) }, 'also within a process')
  await store.close()

  const child = await hold(dir)
  await t.rejects(openStore(dir), { message: new RegExp(`${dir} is in use by process ${child.pid} on `) })
  child.kill('SIGSTOP')
  await t.rejects(openStore(dir), { message: /in use by another process, which does not answer/ }, 'an owner that hangs is an owner')
  await kill(child, 'SIGKILL')
  const after = await openStore(dir)
  t.pass('what kill -9 leaves does not block')
  await after.close()
  t.same(readdirSync(dir), ['lmdb'], 'and nothing of the claim is left')
})

t.test('of many that open at once after a crash one gets it', async (t) => {
  const dir = join(root, 'race')
  await kill(await hold(dir), 'SIGKILL')
  const opened = await Promise.allSettled(Array.from({ length: 8 }, () => openStore(dir)))
  const winners = opened.flatMap((one) => one.status === 'fulfilled' ? [one.value] : [])
  t.equal(winners.length, 1)
  await winners[0]?.close()
})

t.test('a directory with a long name', async (t) => {
  const dir = join(root, 'x'.repeat(120), 'y'.repeat(120))
  const store = await openStore(dir)
  await t.rejects(openStore(dir), /in use by process/)
  await store.close()
  await (await openStore(dir)).close()
})

t.test('what is wrong is said, with the directory', async (t) => {
  const file = join(root, 'a-file')
  writeFileSync(file, '')
  await t.rejects(openStore(file), { message: new RegExp(`data directory ${file} cannot be written: `) })
  if (process.getuid?.() !== 0) {
    const dir = join(root, 'read-only')
    mkdirSync(dir)
    chmodSync(dir, 0o500)
    await t.rejects(openStore(dir), { message: new RegExp(`data directory ${dir} cannot be written: `) })
  }
  const broken = join(root, 'broken')
  mkdirSync(join(broken, 'lmdb'), { recursive: true })
  writeFileSync(join(broken, 'lmdb', 'data.mdb'), 'not a database'.repeat(1000))
  await t.rejects(openStore(broken), { message: new RegExp(`store in ${broken} cannot be opened: `) })
  t.same(readdirSync(broken), ['lmdb'], 'a directory that could not be opened is given up')
})

t.test('work that throws: its commit rejects with that, and leaves nothing behind that nobody waits for', async (t) => {
  const store = await openStore(join(root, 'throwing'))
  const work = (): void => {
    void store.tables.entries.put(Buffer.from('before'), Buffer.of(1))
    throw new Error('of the work')
  }
  await t.rejects(store.commit(work), { message: 'of the work' })
  t.same(read(store.tables.entries, Buffer.from('before')), Uint8Array.of(1), 'what it had written is there, as lmdb has it')
  await store.commit(() => { void store.tables.entries.put(Buffer.from('after'), Buffer.of(2)) })
  t.same(read(store.tables.entries, Buffer.from('after')), Uint8Array.of(2))
  await store.close()
})

t.test('a store of a newer version is refused', async (t) => {
  const dir = join(root, 'newer')
  const store = await openStore(dir)
  await store.commit(() => { void store.tables.meta.put(Buffer.from('format'), Buffer.from('4')) })
  await store.close()
  await t.rejects(openStore(dir), { message: `the store in ${dir} has format 4, made by a newer version; this one reads up to 3` })
})

t.test('a store that is marked for it is made anew: every record is there, and nothing else', async (t) => {
  const dir = join(root, 'anew')
  const file = join(dir, 'lmdb', 'data.mdb')
  const store = await openStore(dir)
  const key = (n: number): Buffer => Buffer.from(String(n).padStart(6, '0'))
  await store.commit(() => { for (let n = 0; n < 5000; n++) void store.tables.entries.put(key(n), Buffer.from(`${n % 7 === 0 ? 'secret' : 'open'} words of ${n}`)) })
  await store.commit(() => { for (let n = 0; n < 5000; n += 7) void store.tables.entries.put(key(n), Buffer.from('-')) })
  await store.commit(() => { void store.tables.states.put(Buffer.from('s'), Buffer.alloc(100_000, 7)) })
  await store.close()
  t.ok(readFileSync(file).includes('secret words'), 'what was overwritten is in free pages')
  const marked = await openStore(dir)
  t.ok(readFileSync(file).includes('secret words'), 'a start alone leaves it there')
  await marked.commit(() => { void marked.tables.meta.put(COMPACTION_DUE, Buffer.of(1)) })
  await marked.close()
  // What a death in the middle of an earlier try left.
  mkdirSync(join(dir, 'lmdb-fresh'))
  writeFileSync(join(dir, 'lmdb-fresh', 'data.mdb'), 'half of it')
  const anew = await openStore(dir)
  t.notOk(readFileSync(file).includes('secret words'))
  t.equal(existsSync(join(dir, 'lmdb-fresh')), false)
  t.equal([...anew.tables.entries.getRange({})].filter(({ key: found, value }, n) => key(n).equals(found) && Buffer.from(value).toString() === (n % 7 === 0 ? '-' : `open words of ${n}`)).length, 5000)
  t.same(read(anew.tables.states, Buffer.from('s')), new Uint8Array(Buffer.alloc(100_000, 7)))
  t.equal(read(anew.tables.meta, COMPACTION_DUE), undefined, 'once')
  await anew.commit(() => { void anew.tables.entries.put(key(9999), Buffer.of(1)) })
  await anew.close()
  const again = await openStore(dir)
  t.same(read(again.tables.entries, key(9999)), Uint8Array.of(1))
  await again.close()
})
