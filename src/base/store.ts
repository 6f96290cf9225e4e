// The embedded store: one lmdb environment in DATA_DIR, shared by the log and the directory, with one owner at a time
// and a format version. Owns the tables and the one way to write; must not know what the records mean.
//
// What lmdb 3.5.6 does, by reading its source and by trying (a slowed and a failing fdatasync, kill -9, a full disk):
// - Writes are instructions that a thread of libuv's pool carries out; JavaScript never waits for them. Those of one
//   `batch` call are in one transaction: all or none, whatever else is queued.
// - `eventTurnBatching` is off: it adds a promise of its own to every turn that nobody can catch, so that one failed
//   commit would end the process as an unhandled rejection. `batch` is what gives atomicity here.
// - `overlappingSync` (default) writes the pages and the meta page, makes the transaction visible, unlocks, and then
//   syncs. The README says that a commit resolves before its sync; in 3.5.6 both promises settle after it (40 ms with
//   an fdatasync slowed to 40 ms). So a resolved commit survives kill -9 and the loss of power alike, and a slow disk
//   makes batches larger, not the log slower. After a loss of power the newest synced transaction is the state.
// - `noSync` would commit in 0.06 ms instead of 0.3 ms, and may corrupt the whole file when power goes. `useWritemap`
//   ends the process (SIGBUS) when the disk is full. Neither is used.
// - A failed write (disk full, EIO) aborts its transaction and the next one works. A failed sync rejects too, although
//   the transaction is visible by then: who needs to know reads it back (lmdb-log.ts).

import { accessSync, closeSync, constants, existsSync, mkdirSync, openSync, readSync, statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { open, type Database, type RootDatabase } from 'lmdb'
import { AppError, StartFault } from './errors.ts'
import { checkName } from './names.ts'
import { claim, type Claim } from './owner.ts'
import { compactIfDue } from './store-compaction.ts'

/**
 * Rises when the records change in a way that older versions cannot read.
 * 2: nonces in parts, and a journal before the tables. A store of format 1 is taken over; its nonces, good for some
 * minutes, are not.
 * 3: entries in blocks. What format 2 has is read as it is.
 */
const FORMAT = 3
const FORMATS_TAKEN_OVER = [1, 2]

const CLOSE_MS_MAX = 5000
/** MDB_MAGIC, after the header of the first page. */
const MARK = 0xbeefc0de
const MARK_AT = 24

const TABLES = ['meta', 'heads', 'states', 'entries', 'nonces', 'removed', 'rooms', 'cursors'] as const
export type TableName = (typeof TABLES)[number]

/** Bytes to bytes, sorted by key. Keys 1 to 1,978 bytes. */
export type Table = Database<Uint8Array, Uint8Array>

export interface Store {
  readonly dir: string
  readonly tables: Readonly<Record<TableName, Table>>
  /**
   * Carries out the writes that `work` makes (put, remove, clearAsync on tables, synchronously) as one transaction,
   * and resolves when it is durable. Rejects with AppError `unavailable` when it failed, and with what `work` threw: what
   * it had written before that is written still.
   * `isFlushed`: also wait for the sync's own word.
   */
  commit (work: () => void, isFlushed?: boolean): Promise<void>
  /** Waits for what is under way, closes the environment, gives the directory up. May be called twice. */
  close (): Promise<void>
}

/**
 * The value as bytes of their own: not a view on lmdb's memory, and not a slice of a pool. Throws AppError
 * `unavailable` when the store cannot be read.
 */
export function read (table: Table, key: Uint8Array): Uint8Array | undefined {
  const found = reading(() => table.getBinary(key))
  return found === undefined ? undefined : new Uint8Array(found.buffer, found.byteOffset, found.length)
}

/** What a look at the store finds. Throws AppError `unavailable` when it cannot be read. */
export function reading<T> (look: () => T): T {
  try {
    return look()
  } catch (error) {
    throw new AppError('unavailable', 'the store could not be read', { cause: error })
  }
}

/**
 * A room's name as a key, sorted like the names themselves (by code unit): UTF-16 big-endian behind a byte, because a
 * key must not be empty. Throws AppError `bad_request` for a name that no key can hold.
 */
export function nameKey (name: string): Uint8Array {
  checkName(name)
  const key = Buffer.allocUnsafe(1 + name.length * 2)
  key[0] = 1
  key.write(name, 1, 'utf16le')
  key.subarray(1).swap16()
  return key
}

/** The name of a key that nameKey made. */
export function keyName (key: Uint8Array): string {
  return Buffer.from(key.subarray(1)).swap16().toString('utf16le')
}

/** Makes the folder and those above it, one by one: Node's own recursion never ends where the kernel says there is no such place (/proc). */
function makeFolder (dir: string): void {
  if (existsSync(dir)) return
  makeFolder(dirname(dir))
  try {
    mkdirSync(dir)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
}

/** Opens the store in the directory, making both when they are missing. Errors name the directory. */
export async function openStore (dataDir: string): Promise<Store> {
  const dir = resolve(dataDir)
  try {
    makeFolder(dir)
    accessSync(dir, constants.R_OK | constants.W_OK | constants.X_OK)
  } catch (error) {
    throw new StartFault(`DATA_DIR: the data directory ${dir} cannot be written: ${(error as Error).message}; set DATA_DIR to a folder of this user's`, { cause: error })
  }
  const owner = await claim(dir)
  try {
    await compact(dir)
    return openOwned(dir, owner)
  } catch (error) {
    await owner.release()
    throw error
  }
}

function openOwned (dir: string, owner: Claim): Store {
  const env = openEnvironment(dir)
  let tables: Record<TableName, Table>
  try {
    const meta = openTable(env, 'meta')
    checkFormat(meta, dir)
    tables = Object.fromEntries(TABLES.map((name) => [name, name === 'meta' ? meta : openTable(env, name)])) as Record<TableName, Table>
  } catch (error) {
    void env.close()
    throw error
  }
  const underWay = new Set<Promise<unknown>>()
  let closing: Promise<void> | null = null
  return {
    dir,
    tables,
    commit (work, isFlushed = false) {
      if (closing !== null) return Promise.reject(new AppError('unavailable', 'the store is closed'))
      const commit = carryOut(env, work, isFlushed)
      underWay.add(commit)
      const done = (): void => { underWay.delete(commit) }
      commit.then(done, done)
      return commit
    },
    close () {
      closing ??= Promise.allSettled(underWay).then(() => closeWithin(env, CLOSE_MS_MAX)).finally(() => owner.release())
      return closing
    }
  }
}

/** After a commit that failed lmdb may wait for a sync that never was; what resolved is safe without it. */
async function closeWithin (env: RootDatabase<Uint8Array, Uint8Array>, ms: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  // A read of this very turn would be let go by a timer that fires when the environment is gone, and throws there.
  env.resetReadTxn()
  await Promise.race([env.close(), new Promise((resolve) => { timer = setTimeout(resolve, ms) })])
  clearTimeout(timer)
}

/** What was erased goes out of the file's free pages too, where that was asked for. */
async function compact (dir: string): Promise<void> {
  try {
    checkFile(join(dir, 'lmdb', 'data.mdb'))
    await compactIfDue(dir, openFolder)
  } catch (error) {
    throw new StartFault(`DATA_DIR: the store in ${dir} cannot be opened: ${(error as Error).message}`, { cause: error })
  }
}

function openFolder (path: string, noSync = false): RootDatabase<Uint8Array, Uint8Array> {
  return open({ path, noSync, noSubdir: false, maxDbs: 32, encoding: 'binary', keyEncoding: 'binary', eventTurnBatching: false, separateFlushed: true })
}

function openEnvironment (dir: string): RootDatabase<Uint8Array, Uint8Array> {
  try {
    checkFile(join(dir, 'lmdb', 'data.mdb'))
    return openFolder(join(dir, 'lmdb'))
  } catch (error) {
    throw new StartFault(`DATA_DIR: the store in ${dir} cannot be opened: ${(error as Error).message}`, { cause: error })
  }
}

/** lmdb 3.5.6 ends the process (SIGSEGV) on a file that is not its own, so its mark is looked for first. */
function checkFile (path: string): void {
  if (!existsSync(path) || statSync(path).size === 0) return
  const file = openSync(path, 'r')
  try {
    const start = Buffer.alloc(MARK_AT + 4)
    readSync(file, start, 0, start.length, 0)
    if (start.readUInt32LE(MARK_AT) !== MARK) throw new Error(`${path} is not an lmdb file`)
  } finally {
    closeSync(file)
  }
}

function openTable (env: RootDatabase<Uint8Array, Uint8Array>, name: TableName): Table {
  return env.openDB({ name, encoding: 'binary', keyEncoding: 'binary' })
}

function checkFormat (meta: Table, dir: string): void {
  const key = Buffer.from('format')
  const found = meta.getBinary(key)
  if (found === undefined) {
    meta.putSync(key, Buffer.from(String(FORMAT)))
    return
  }
  const format = Number(found.toString())
  if (FORMATS_TAKEN_OVER.includes(format)) {
    meta.putSync(key, Buffer.from(String(FORMAT)))
    return
  }
  if (format > FORMAT) throw new StartFault(`DATA_DIR: the store in ${dir} has format ${format}, made by a newer version; this one reads up to ${FORMAT}`)
  if (format !== FORMAT) throw new StartFault(`DATA_DIR: the store in ${dir} has the unknown format ${JSON.stringify(found.toString())}`)
}

type Commit = Promise<boolean> & { flushed?: Promise<unknown> }

async function carryOut (env: RootDatabase<Uint8Array, Uint8Array>, work: () => void, isFlushed: boolean): Promise<void> {
  const thrown: unknown[] = []
  // lmdb carries out what was written before a throw, and gives nobody the promise of it then.
  const commit = env.batch(() => {
    try {
      work()
    } catch (error) {
      thrown.push(error)
    }
  }) as Commit
  try {
    await commit
  } catch (error) {
    throw new AppError('unavailable', 'the store could not write; try again', { cause: await causeOf(error) })
  } finally {
    env.resetReadTxn()
  }
  if (thrown.length > 0) throw thrown[0]
  if (isFlushed) await commit.flushed
}

/** lmdb rejects with a promise of the cause, which must be taken or it counts as unhandled; it may also never settle. */
async function causeOf (error: unknown): Promise<unknown> {
  const inner = (error as { commitError?: Promise<unknown> }).commitError
  if (inner === undefined) return error
  const cause = inner.then(() => error, (reason: unknown) => reason)
  return Promise.race([cause, new Promise((resolve) => setImmediate(resolve, error))])
}
