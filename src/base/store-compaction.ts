// Makes the store's file anew, record by record, so that nothing is left in it of what was overwritten or deleted: lmdb
// never clears pages that are free, nor the gaps within pages. Asked for by a mark in the file (whoever erased something
// sets it), done before the store is opened; the new file takes the old one's place in one act of the file system, so a
// death at any point leaves one whole file. What the disk itself keeps of the old file's blocks is the file system's matter.
// Bounds: as much space again as the file takes, or it waits for the next start; SLICE records or SLICE_BYTES in memory.

import { closeSync, existsSync, fsyncSync, openSync, renameSync, rmSync, statfsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Database, RootDatabase } from 'lmdb'

type Bytes = Database<Uint8Array, Uint8Array>
export type OpenEnvironment = (folder: string, noSync?: boolean) => RootDatabase<Uint8Array, Uint8Array>

/** In the table `meta`: the file is to be made anew. */
export const COMPACTION_DUE = Buffer.from('compact')
const SLICE = 10_000
const SLICE_BYTES = 4_194_304
const FOLDER = 'lmdb'
const FRESH = 'lmdb-fresh'
/** Space that must be left beside the new file. */
const SPARE_BYTES = 67_108_864

/** Makes the file anew if it is marked. Rejects with the system's error; the old file is as it was then. */
export async function compactIfDue (dir: string, open: OpenEnvironment): Promise<void> {
  rmSync(join(dir, FRESH), { recursive: true, force: true })
  const file = join(dir, FOLDER, 'data.mdb')
  if (!existsSync(file) || statSync(file).size === 0) return
  const old = open(join(dir, FOLDER))
  try {
    if (tableOf(old, 'meta').getBinary(COMPACTION_DUE) === undefined) return
    const { bavail, bsize } = statfsSync(dir)
    if (bavail * bsize < statSync(file).size + SPARE_BYTES) {
      process.emitWarning('there is no space to make the store\'s file anew: what was erased stays in its free pages until a start with more')
      return
    }
    await copy(old, join(dir, FRESH), open)
  } finally {
    await old.close()
  }
  if (!existsSync(join(dir, FRESH))) return
  synced(join(dir, FRESH, 'data.mdb'))
  renameSync(join(dir, FRESH, 'data.mdb'), file)
  synced(join(dir, FOLDER))
  rmSync(join(dir, FRESH), { recursive: true, force: true })
}

/** All tables that are there, also those of a version that this program does not know. */
async function copy (old: RootDatabase<Uint8Array, Uint8Array>, folder: string, open: OpenEnvironment): Promise<void> {
  const tables = [...old.getKeys()].map((name) => Buffer.from(name).toString().replace(/\0$/, ''))
  // Synced once, when it is whole.
  const fresh = open(folder, true)
  try {
    for (const name of tables) await copyTable(tableOf(old, name), tableOf(fresh, name), fresh, name === 'meta')
  } finally {
    await fresh.close()
  }
}

async function copyTable (from: Bytes, to: Bytes, fresh: RootDatabase<Uint8Array, Uint8Array>, isMeta: boolean): Promise<void> {
  let start: Uint8Array = new Uint8Array([0])
  for (;;) {
    const slice: [Uint8Array, Uint8Array][] = []
    // Copies: what a range gives lies in the old file's memory map.
    let bytes = 0
    for (const { key, value } of from.getRange({ start, limit: SLICE })) {
      slice.push([Buffer.from(key), Buffer.from(value)])
      bytes += value.length
      if (bytes >= SLICE_BYTES) break
    }
    if (slice.length === 0) return
    await fresh.batch(() => { for (const [key, value] of slice) if (!(isMeta && COMPACTION_DUE.equals(key))) void to.put(key, value) })
    start = Buffer.concat([(slice.at(-1) as [Uint8Array, Uint8Array])[0], Buffer.alloc(1)])
  }
}

function tableOf (env: RootDatabase<Uint8Array, Uint8Array>, name: string): Bytes {
  return env.openDB({ name, encoding: 'binary', keyEncoding: 'binary' })
}

function synced (path: string): void {
  const fd = openSync(path, 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}
