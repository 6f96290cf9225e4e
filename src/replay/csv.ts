// A chat log as CSV (RFC 4180): `offset_ms,user,text` with a header, quotes where needed, line breaks within quotes.
// Read as a stream: one chunk and one record in memory, a record at most 64 KB. Must not know what becomes of it.

import { createReadStream } from 'node:fs'

export interface LogLine {
  /** 1 for the first record after the header. */
  readonly number: number
  /** Milliseconds from the start of the stream. */
  readonly offsetMs: number
  readonly user: string
  readonly text: string
}

const COLUMNS = ['offset_ms', 'user', 'text'] as const
const RECORD_CHARACTERS_MAX = 65_536

/** The log's lines in the order of the file. Throws an Error that names the record at the first one that is malformed. */
export async function * readLog (file: string): AsyncGenerator<LogLine> {
  yield * logLines(createReadStream(file, { encoding: 'utf8', highWaterMark: 65_536 }))
}

export async function * logLines (chunks: AsyncIterable<string>): AsyncGenerator<LogLine> {
  let places: number[] | null = null
  let number = 0
  for await (const record of records(chunks)) {
    if (places === null) {
      const names = record.map((name) => name.replace(/^\uFEFF/, '').trim().toLowerCase())
      places = COLUMNS.map((column) => names.indexOf(column))
      if (places.includes(-1)) throw new Error(`the header must name ${COLUMNS.join(', ')}; it is ${JSON.stringify(record.join(',').slice(0, 80))}`)
      continue
    }
    number++
    const [offset, user, text] = places.map((place) => record[place])
    if (offset === undefined || user === undefined || text === undefined) throw new Error(`record ${number} has ${record.length} fields`)
    const offsetMs = offset.trim() === '' ? NaN : Number(offset)
    if (!Number.isFinite(offsetMs) || offsetMs < 0) throw new Error(`record ${number}: offset_ms must be a number of milliseconds, not ${JSON.stringify(offset.slice(0, 40))}`)
    if (user === '') throw new Error(`record ${number}: user is empty`)
    yield { number, offsetMs, user, text }
  }
  if (places === null) throw new Error('the file is empty')
}

// A field is plain until a comma or a line break; quoted, it runs to the quote that is not doubled:
//
//   12,ann,"she said ""hi"", twice"⏎      → 12 | ann | she said "hi", twice

async function * records (chunks: AsyncIterable<string>): AsyncGenerator<string[]> {
  let record: string[] = []
  let field = ''
  let size = 0
  let state: 'start' | 'plain' | 'quoted' | 'quote' = 'start'
  const endField = (): void => {
    record.push(field)
    field = ''
    state = 'start'
  }
  for await (const chunk of chunks) {
    for (const character of chunk) {
      if (++size > RECORD_CHARACTERS_MAX) throw new Error(`a record has more than ${RECORD_CHARACTERS_MAX} characters: is a quote missing?`)
      if (state === 'quoted') {
        if (character === '"') state = 'quote'
        else field += character
      } else if (state === 'quote' && character === '"') {
        field += '"'
        state = 'quoted'
      } else if (state === 'start' && character === '"') {
        state = 'quoted'
      } else if (character === ',') {
        endField()
      } else if (character === '\n') {
        // An empty line is no record.
        if (record.length > 0 || field !== '' || state === 'quote') {
          endField()
          yield record
        }
        record = []
        size = 0
        state = 'start'
      } else if (character !== '\r') {
        field += character
        state = 'plain'
      }
    }
  }
  if (state === 'quoted') throw new Error('the file ends within quotes')
  if (record.length > 0 || field !== '' || state === 'quote') {
    endField()
    yield record
  }
}
