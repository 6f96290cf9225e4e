// The journal: where the log's batches are written, one behind the other, before anybody is answered. A batch costs one
// write in sequence, whatever it holds, where the tables would cost a page for every nonce and every room. What the
// tables have been given (layers.ts) is not needed here any more, and its file is written over:
//
//   journal-0   [41][42][43] … [57]         ◀─ is being settled into the tables; free once they have it
//   journal-1   [58][59][60]▕ old bytes     ◀─ written now; when it is free again, the two change places
//
//   record   length (4)  crc32 (4)  commit (6)  payload        length: of the payload; crc32: of commit and payload
//
// A file is read up to the first record that is not whole or does not carry the next number, so neither a torn write nor
// what was there before is ever taken for a batch. Writing over the same places again also spares the file system the
// growing of a file: 110 µs of CPU a synced write instead of 174. Must not know what a batch holds.
// Bound: BYTES_MAX a file; beyond it appends are refused.

import { close, closeSync, constants, existsSync, fdatasync, fstatSync, fsyncSync, ftruncate, ftruncateSync, mkdirSync, openSync, readSync, write, writeSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { crc32 } from 'node:zlib'
import { AppError, StartFault } from '../base/errors.ts'

/** Bytes before a record's payload; whoever makes a record leaves them free. */
export const RECORD_HEAD = 14

/** A record as it was found. */
export interface Found { readonly commit: number, readonly payload: Buffer }

const NAMES = ['journal-0', 'journal-1'] as const
const BYTES_MAX = 1_073_741_824
/** What a file keeps of its length when it is written over. */
const BYTES_KEPT = 67_108_864
/** How what lies behind the last record is looked through: in such pieces, and for so many numbers. */
const SCAN_BYTES = 1_048_576
const COMMITS_BEHIND_MAX = 1_000_000
/** A write made here that took longer has waited for the disk: for a while a thread makes them. */
const SLOW_MS = 5
const ASIDE_MS = 30_000

interface File { readonly fd: number, readonly found: readonly Place[], newest: number, position: number }
interface Place { readonly commit: number, readonly at: number, readonly length: number }

const truncate = promisify(ftruncate)
const sync = promisify(fdatasync)

export class Journal {
  readonly #dir: string
  readonly #isSynced: boolean
  readonly #files: readonly [File, File]
  #current: 0 | 1
  /** Files with appends that may not be on the disk: the one written before too, until what it held is settled. */
  #dirty = new Set<File>()
  #isSyncing = false
  #synced: Promise<void> = Promise.resolve()
  #asideUntil = -Infinity
  /** A failed write could not be taken back: whether its record counts will show at the next start. */
  isBroken = false

  /**
   * Opens the journal in the directory, or makes it. `isSynced`: an append is on the disk before it resolves (survives a
   * loss of power); otherwise it is the kernel's (survives this process) until `sync`. `isNeeded`: the tables may lack
   * what it holds. Throws StartFault when it cannot be read, or is needed and not there.
   */
  constructor (dataDir: string, { isSynced, isNeeded }: { readonly isSynced: boolean, readonly isNeeded: boolean }) {
    this.#dir = join(dataDir, 'journal')
    this.#isSynced = isSynced
    const gone = NAMES.filter((name) => !existsSync(join(this.#dir, name)))
    if (isNeeded && gone.length > 0) throw new StartFault(`DATA_DIR: ${gone.join(' and ')} in ${this.#dir} is gone, and the server was not stopped cleanly before: what it accepted last, some seconds of it, was there alone. Put it back, or go on without that by making an empty file of each name`)
    try {
      mkdirSync(this.#dir, { recursive: true })
      const flags = constants.O_RDWR | constants.O_CREAT | (isSynced ? constants.O_DSYNC ?? constants.O_SYNC : 0)
      this.#files = NAMES.map((name) => openFile(join(this.#dir, name), flags)) as [File, File]
      syncFolder(this.#dir)
    } catch (error) {
      throw new StartFault(`DATA_DIR: the journal in ${this.#dir} cannot be opened: ${(error as Error).message}`, { cause: error })
    }
    const [first, second] = this.#files
    this.#current = second.newest > first.newest ? 1 : 0
  }

  /**
   * The records after the commit `settled`, in order. Throws StartFault when one of them is missing. At the end a torn
   * record is what a crash leaves. Where whole ones stand behind it, it was damaged: with `isSynced` that is a StartFault
   * too; without, a loss of power may do that to the last second, so it is a warning.
   */
  * after (settled: number): Generator<Found> {
    let next = settled + 1
    for (const file of [...this.#files].sort((a, b) => a.newest - b.newest)) {
      for (const { commit, at, length } of file.found) {
        if (commit <= settled) continue
        if (commit !== next++) throw new StartFault(`DATA_DIR: the journal in ${this.#dir} has commit ${commit} where ${next - 1} should be; restore the directory from a backup`)
        yield { commit, payload: readAt(file.fd, at + RECORD_HEAD, length) }
      }
    }
    for (const file of this.#files) this.#endAt(file, next)
  }

  /** Sees to it that no whole record stands behind the file's last: the commit `next` would let it count again. */
  #endAt (file: File, next: number): void {
    const lost = recordBehind(file, next)
    if (lost === null) return
    const what = `the journal in ${this.#dir} is damaged: its commit ${next} cannot be read, though a later one (${lost}) can; what was accepted from there on is lost`
    if (this.#isSynced) throw new StartFault(`DATA_DIR: ${what}; restore the directory from a backup`)
    process.emitWarning(new Error(what))
    ftruncateSync(file.fd, file.position)
    fsyncSync(file.fd)
  }

  /** Bytes of the file that is written now. */
  get bytes (): number { return this.#file.position }

  /** Whether writing may go on in this file. */
  get hasSpace (): boolean { return this.#file.position < BYTES_MAX }

  get #file (): File { return this.#files[this.#current] }

  /**
   * Writes a record: `bytes` has RECORD_HEAD free bytes and the payload, and must not change until this resolves; null: it
   * is done. One at a time. Rejects with AppError `unavailable`, and then the record is not there, unless `isBroken` says otherwise.
   */
  append (commit: number, bytes: Buffer): Promise<void> | null {
    const file = this.#file
    bytes.writeUInt32LE(bytes.length - RECORD_HEAD, 0)
    bytes.writeUIntLE(commit, 8, 6)
    bytes.writeUInt32LE(crc32(bytes.subarray(8)), 4)
    if (!this.#mayWriteHere()) {
      return writeWhole(file.fd, bytes, file.position).then(() => this.#appended(file, commit, bytes), (error: unknown) => this.#notAppended(file, error))
    }
    try {
      this.#writeHere(file, bytes)
    } catch (error) {
      return this.#notAppended(file, error)
    }
    this.#appended(file, commit, bytes)
    return null
  }

  #appended (file: File, commit: number, { length }: Buffer): void {
    file.position += length
    file.newest = commit
    if (!this.#isSynced) this.#dirty.add(file)
  }

  async #notAppended (file: File, cause: unknown): Promise<never> {
    await this.#takeBack(file)
    throw new AppError('unavailable', 'the store could not write; try again', { cause })
  }

  /** Whether a sync is under way. */
  get isSyncing (): boolean { return this.#isSyncing }

  /** Brings to the disk what was appended until now, where appending does not, after the sync that is under way. Rejects with the system's error. */
  sync (): Promise<void> {
    const sync = this.#synced.then(() => this.#syncDirty())
    this.#synced = sync.catch(() => {})
    return sync
  }

  async #syncDirty (): Promise<void> {
    const files = [...this.#dirty]
    if (files.length === 0) return
    this.#dirty.clear()
    this.#isSyncing = true
    try {
      await Promise.all(files.map(({ fd }) => sync(fd)))
    } catch (error) {
      for (const file of files) this.#dirty.add(file)
      throw error
    } finally {
      this.#isSyncing = false
    }
  }

  /**
   * A write that ends in the kernel's memory takes some 10 µs, and handing it to a thread 50. So it is made in this turn
   * of the loop, but not where it may have to wait for the disk: while a sync is under way, or soon after one that did.
   */
  #mayWriteHere (): boolean {
    return !this.#isSynced && !this.#isSyncing && performance.now() >= this.#asideUntil
  }

  #writeHere (file: File, bytes: Buffer): void {
    const start = performance.now()
    for (let from = 0; from < bytes.length;) from += writeSync(file.fd, bytes, from, bytes.length - from, file.position + from)
    const end = performance.now()
    if (end - start > SLOW_MS) this.#asideUntil = end + ASIDE_MS
  }

  /**
   * From here on the other file is written, over what it held, if the tables have all of that: they are whole up to the
   * commit `settled`. After a crash they may not have it yet, and this file goes on.
   */
  turn (settled: number): void {
    const other = 1 - this.#current as 0 | 1
    if (this.#files[other].newest > settled) return
    this.#current = other
    const file = this.#file
    file.position = 0
    if (fstatSync(file.fd).size > BYTES_KEPT) ftruncate(file.fd, BYTES_KEPT, () => {})
  }

  /**
   * Takes out of the files what the tables have (all up to the commit `settled`) and what was there before: the file system
   * may still have it where it was. Not while an append is under way. Rejects with AppError `unavailable`.
   */
  async blank (settled: number): Promise<void> {
    const other = this.#files[1 - this.#current] as File
    try {
      if (other.newest <= settled) await truncate(other.fd, 0)
      await truncate(this.#file.fd, this.#file.newest <= settled ? 0 : this.#file.position)
      if (this.#file.newest <= settled) this.#file.position = 0
    } catch (error) {
      throw new AppError('unavailable', 'the journal could not be emptied; try again', { cause: error })
    }
  }

  async close (): Promise<void> {
    for (const { fd } of this.#files) await promisify(close)(fd)
  }

  /** Whatever a failed write left behind must not be read as a record. */
  async #takeBack (file: File): Promise<void> {
    try {
      await truncate(file.fd, file.position)
      await sync(file.fd)
    } catch {
      this.isBroken = true
    }
  }
}

function openFile (path: string, flags: number): File {
  const fd = openSync(path, flags, 0o600)
  const found: Place[] = []
  const { size } = fstatSync(fd)
  let position = 0
  while (position + RECORD_HEAD <= size) {
    const head = readAt(fd, position, RECORD_HEAD)
    const length = head.readUInt32LE(0)
    const commit = head.readUIntLE(8, 6)
    const before = found.at(-1)
    if (length === 0 || position + RECORD_HEAD + length > size || (before !== undefined && commit !== before.commit + 1)) break
    if (crc32(readAt(fd, position + 8, length + RECORD_HEAD - 8)) !== head.readUInt32LE(4)) break
    found.push({ commit, at: position, length })
    position += RECORD_HEAD + length
  }
  return { fd, found, newest: found.at(-1)?.commit ?? -1, position }
}

/** The commit of a whole record behind a file's last, from `next` on; null: there is none, as it should be. What was there before has lesser numbers. */
function recordBehind ({ fd, position }: File, next: number): number | null {
  const size = Math.min(fstatSync(fd).size, position + BYTES_KEPT)
  for (let start = position; start + RECORD_HEAD < size; start += SCAN_BYTES) {
    const chunk = readAt(fd, start, Math.min(SCAN_BYTES + RECORD_HEAD, size - start))
    for (let at = 0; at + RECORD_HEAD <= chunk.length && at < SCAN_BYTES; at++) {
      // Most places are no record's beginning: a length that would not fit says so at once.
      const length = chunk.readUInt32LE(at)
      if (length === 0 || start + at + RECORD_HEAD + length > size) continue
      const commit = chunk.readUIntLE(at + 8, 6)
      if (commit < next || commit > next + COMMITS_BEHIND_MAX) continue
      if (crc32(readAt(fd, start + at + 8, length + RECORD_HEAD - 8)) === chunk.readUInt32LE(at + 4)) return commit
    }
  }
  return null
}

function readAt (fd: number, at: number, length: number): Buffer {
  const bytes = Buffer.alloc(length)
  let read = 0
  while (read < length) {
    const count = readSync(fd, bytes, read, length - read, at + read)
    if (count === 0) break
    read += count
  }
  return bytes
}

/** A file's name is on the disk once its folder is. */
function syncFolder (dir: string): void {
  const fd = openSync(dir, constants.O_RDONLY)
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

function writeWhole (fd: number, bytes: Buffer, position: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const more = (from: number): void => {
      write(fd, bytes, from, bytes.length - from, position + from, (error, written) => {
        if (error !== null) reject(error)
        else if (from + written < bytes.length) more(from + written)
        else resolve()
      })
    }
    more(0)
  })
}
