// The archive's tables, as numbered steps: each is applied once, in order, and never changed after it was released; the
// table `steps` says which ones were. Every statement can be repeated, so two programs that begin at once do no harm, and
// a step that was cut short is done again.
//
// Every table is a set: a row that comes again (the feed repeats) falls together with the first by the table's key, at
// the latest in a read with FINAL. The views made of tables hold only states that do not count twice either: bitmaps of
// seqs, sets of hashes, maxima. That is why however often a batch is repeated, nothing is there twice (archiver.ts).
//
//   messages ─┬─▶ marks (what was removed, by whom) ─┐
//             └─▶ minutes (messages, chatters)       ├─▶ chat: the view for readers
//   audit ────┬─▶ reasons (why) ─────────────────────┘
//             └─▶ moderation (actions a minute)
//   viewers (a minute)      highlights (top words and emotes of a room's day, made anew when the day changed)

/** How the tables are laid out here. */
export interface Layout {
  readonly database: string
  /** Storage policy with the volumes below; null: the engine's own. */
  readonly storagePolicy: string | null
  /** Days after which parts move on, by volume of the policy, in order. */
  readonly tiers: readonly { readonly volume: string, readonly afterDays: number }[]
  /** Written through to the disk before an insert is done. */
  readonly isSynced: boolean
}

export interface Step {
  readonly number: number
  readonly title: string
  readonly statements: (layout: Layout) => readonly string[]
}

/** The newest step that this program knows. */
export const SCHEMA_STEP = 1

const STEPS_TABLE = `CREATE TABLE IF NOT EXISTS steps (number UInt32, title String, at DateTime DEFAULT now()) ENGINE = ReplacingMergeTree ORDER BY number`

/** What stands before everything: the database, and the table of steps. */
export function foundation (layout: Layout): readonly string[] {
  return [`CREATE DATABASE IF NOT EXISTS ${layout.database}`, STEPS_TABLE]
}

function settings ({ storagePolicy, isSynced }: Layout, more: readonly string[] = []): string {
  const all = [
    ...(storagePolicy === null ? [] : [`storage_policy = '${storagePolicy}'`]),
    ...(isSynced ? ['fsync_after_insert = 1', 'fsync_part_directory = 1'] : []),
    ...more
  ]
  return all.length === 0 ? '' : ` SETTINGS ${all.join(', ')}`
}

function ttl ({ storagePolicy, tiers }: Layout, time: string): string {
  if (storagePolicy === null || tiers.length === 0) return ''
  return ` TTL ${tiers.map(({ volume, afterDays }) => `toDateTime(${time}) + INTERVAL ${afterDays} DAY TO VOLUME '${volume}'`).join(', ')}`
}

/** The columns of messages, in the order in which rows are written. */
export const MESSAGE_COLUMNS = [
  'room', 'epoch', 'seq', 'ts', 'op', 'user', 'name', 'roles', 'kind', 'body', 're', 'thread', 'mentions', 'ext', 'shadow', 'target', 'target_user', 'up_to', 'by', 'entry'
] as const

/**
 * A granule is what is read at least. In a part most rooms have fewer rows than the usual 8,192, so a page of 50 entries would
 * read the granules of many rooms: with 1,024 it took an eighth of the time, and an entry 4 bytes more on the disk.
 */
const SMALL_GRANULES = ['index_granularity = 1024'] as const

/** One row for each entry of every room's log. */
const messages = (layout: Layout): string => `
CREATE TABLE IF NOT EXISTS messages (
  room String COMMENT 'the room' CODEC(ZSTD(1)),
  epoch LowCardinality(String) COMMENT 'epoch of the room: seqs of different epochs have nothing to do with each other',
  seq UInt64 COMMENT 'position in the room and epoch; (room, epoch, seq) names the entry' CODEC(Delta, ZSTD(1)),
  ts DateTime64(3, 'UTC') COMMENT 'when it was accepted' CODEC(Delta, ZSTD(1)),
  op Enum8('message' = 1, 'edit' = 2, 'remove' = 3, 'state' = 4, 'erased' = 5) COMMENT 'what the entry is; erased: what stands where an entry was that was erased with its author',
  user String COMMENT 'message: user id of the author; otherwise empty' CODEC(ZSTD(1)),
  name String COMMENT 'message: shown name of the author at the time' CODEC(ZSTD(1)),
  roles UInt32 COMMENT 'message: bits of the author''s roles (1 subscriber, 2 vip, 4 moderator, 8 broadcaster, 16 admin, 32 bot, 64 verified)' CODEC(ZSTD(1)),
  kind UInt8 COMMENT 'message: 0 text, 1 emote, 2 announcement, 3 system, 4 attachment, 5 encrypted, 6 bot card' CODEC(ZSTD(1)),
  body String COMMENT 'message, edit: the text; empty for kind 5, whose bytes are in entry' CODEC(ZSTD(3)),
  re UInt64 COMMENT 'message: seq that it replies to; 0: none' CODEC(ZSTD(1)),
  thread UInt64 COMMENT 'message: seq of its thread; 0: none' CODEC(ZSTD(1)),
  mentions Array(String) COMMENT 'message: user ids mentioned' CODEC(ZSTD(1)),
  ext String COMMENT 'message, edit: ext as JSON; empty: null' CODEC(ZSTD(1)),
  shadow Bool COMMENT 'message: shown to nobody but its author (and moderators)' CODEC(ZSTD(1)),
  target UInt64 COMMENT 'edit, remove: seq of the message concerned; 0: none, or many' CODEC(ZSTD(1)),
  target_user String COMMENT 'remove: user id whose messages up to up_to are removed; empty: not a user''s' CODEC(ZSTD(1)),
  up_to UInt64 COMMENT 'remove: the last seq concerned, of a user''s messages, or where target and target_user are empty of all' CODEC(ZSTD(1)),
  by String COMMENT 'remove: user id of who removed; empty: the server' CODEC(ZSTD(1)),
  entry String COMMENT 'the record''s value as JSON where the columns do not say all of it (entryOf in rows.ts); empty: they do' CODEC(ZSTD(3)),
  INDEX words body TYPE text(tokenizer = 'splitByNonAlpha', preprocessor = lowerUTF8(body)),
  INDEX authors user TYPE bloom_filter(0.01) GRANULARITY 1,
  INDEX times ts TYPE minmax GRANULARITY 1
) ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(ts)
ORDER BY (room, epoch, seq)${ttl(layout, 'ts')}${settings(layout, SMALL_GRANULES)}`

/** What was removed: one row for each REMOVE entry. */
const marks = (layout: Layout): readonly string[] => [`
CREATE TABLE IF NOT EXISTS marks (
  room String COMMENT 'the room',
  epoch LowCardinality(String) COMMENT 'epoch of the room',
  seq UInt64 COMMENT 'of the REMOVE entry',
  ts DateTime64(3, 'UTC') COMMENT 'when',
  target UInt64 COMMENT 'seq of the message; 0: a user''s, or all',
  target_user String COMMENT 'user whose messages up to up_to; empty: one message, or all',
  up_to UInt64 COMMENT 'last seq concerned, of a user''s or of all',
  by String COMMENT 'user id of who removed; empty: the server'
) ENGINE = ReplacingMergeTree ORDER BY (room, epoch, seq)${settings(layout)}`, `
CREATE MATERIALIZED VIEW IF NOT EXISTS marks_of_messages TO marks AS
SELECT room, epoch, seq, ts, target, target_user, up_to, by FROM messages WHERE op = 'remove'`]

/** Every action of moderation. */
const audit = (layout: Layout): string => `
CREATE TABLE IF NOT EXISTS audit (
  room String COMMENT 'the room that it is about; empty: none',
  epoch LowCardinality(String) COMMENT 'epoch of the audit log (not of the room)',
  seq UInt64 COMMENT 'position in the audit log, over all rooms; (epoch, seq) names the row',
  ts DateTime64(3, 'UTC') COMMENT 'when',
  action LowCardinality(String) COMMENT 'name of the action, as in MODERATE',
  by String COMMENT 'user id of who acted; empty: a rule',
  source LowCardinality(String) COMMENT 'human, rule, consumer or hook',
  whom String COMMENT 'user or address concerned; empty: none',
  target UInt64 COMMENT 'seq of the message concerned; 0: none',
  text String COMMENT 'the message''s text at the time; empty: none' CODEC(ZSTD(3)),
  reason String COMMENT 'why; empty: not said' CODEC(ZSTD(1)),
  failure String COMMENT 'why it was not carried out after all; empty: it was',
  entry String COMMENT 'the record''s value as JSON' CODEC(ZSTD(3))
) ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(ts)
ORDER BY (room, epoch, seq)${ttl(layout, 'ts')}${settings(layout)}`

/** How many watched, by minute. */
const viewers = (layout: Layout): string => `
CREATE TABLE IF NOT EXISTS viewers (
  room String COMMENT 'the room',
  minute DateTime('UTC') COMMENT 'the minute',
  viewers SimpleAggregateFunction(max, UInt32) COMMENT 'most viewers that were counted in that minute, over all instances'
) ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(minute)
ORDER BY (room, minute)${ttl(layout, 'minute')}${settings(layout)}`

/** Messages and chatters by minute. Read with the -Merge functions, as in the view minutes_of_rooms. */
const minutes = (layout: Layout): readonly string[] => [`
CREATE TABLE IF NOT EXISTS minutes (
  room String COMMENT 'the room',
  minute DateTime('UTC') COMMENT 'the minute',
  epoch LowCardinality(String) COMMENT 'epoch of the room',
  messages AggregateFunction(groupBitmap, UInt64) COMMENT 'seqs of messages',
  removals AggregateFunction(groupBitmap, UInt64) COMMENT 'seqs of REMOVE entries',
  chatters AggregateFunction(uniq, String) COMMENT 'user ids of authors, hashed'
) ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(minute)
ORDER BY (room, minute, epoch)${ttl(layout, 'minute')}${settings(layout)}`, `
CREATE MATERIALIZED VIEW IF NOT EXISTS minutes_of_messages TO minutes AS
SELECT room, toStartOfMinute(toDateTime(ts, 'UTC')) AS minute, epoch,
  groupBitmapStateIf(seq, op = 'message') AS messages, groupBitmapStateIf(seq, op = 'remove') AS removals, uniqStateIf(user, op = 'message') AS chatters
FROM messages WHERE op IN ('message', 'remove') AND NOT shadow GROUP BY room, minute, epoch`, `
CREATE VIEW IF NOT EXISTS minutes_of_rooms AS
SELECT room, minute, sum(count) AS messages, sum(gone) AS removals, uniqMerge(who) AS chatters FROM (
  SELECT room, minute, epoch, groupBitmapMerge(messages) AS count, groupBitmapMerge(removals) AS gone, uniqMergeState(chatters) AS who FROM minutes GROUP BY room, minute, epoch
) GROUP BY room, minute`]

/** Actions of moderation by minute. */
const moderation = (layout: Layout): readonly string[] => [`
CREATE TABLE IF NOT EXISTS moderation (
  room String COMMENT 'the room',
  minute DateTime('UTC') COMMENT 'the minute',
  action LowCardinality(String) COMMENT 'name of the action',
  source LowCardinality(String) COMMENT 'human, rule, consumer or hook',
  epoch LowCardinality(String) COMMENT 'epoch of the audit log',
  actions AggregateFunction(groupBitmap, UInt64) COMMENT 'seqs in the audit log of what was carried out'
) ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(minute)
ORDER BY (room, minute, action, source, epoch)${ttl(layout, 'minute')}${settings(layout)}`, `
CREATE MATERIALIZED VIEW IF NOT EXISTS moderation_of_audit TO moderation AS
SELECT room, toStartOfMinute(toDateTime(ts, 'UTC')) AS minute, action, source, epoch, groupBitmapState(seq) AS actions
FROM audit WHERE failure = '' GROUP BY room, minute, action, source, epoch`, `
CREATE VIEW IF NOT EXISTS moderation_of_rooms AS
SELECT room, minute, action, source, sum(count) AS actions FROM (
  SELECT room, minute, action, source, epoch, groupBitmapMerge(actions) AS count FROM moderation GROUP BY room, minute, action, source, epoch
) GROUP BY room, minute, action, source`]

/** What a room's day was about. */
const highlights = (layout: Layout): string => `
CREATE TABLE IF NOT EXISTS highlights (
  room String COMMENT 'the room',
  day Date COMMENT 'the day, in UTC',
  version UInt64 COMMENT 'when it was made, Unix milliseconds: of the rows of a room and day the newest counts (read with FINAL)',
  messages UInt64 COMMENT 'messages and removals that minutes had of the day then: made anew when that changed',
  words Array(Tuple(String, UInt64)) COMMENT 'most used words with the number of messages that have them, most used first; at most 100' CODEC(ZSTD(3)),
  emotes Array(Tuple(String, UInt64)) COMMENT 'likewise emotes: :names: and emoji' CODEC(ZSTD(3))
) ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(day)
ORDER BY (room, day)${settings(layout)}`

/** Why something was removed: the actions that remove, small enough to be joined. */
const reasons = (layout: Layout): readonly string[] => [`
CREATE TABLE IF NOT EXISTS reasons (
  room String COMMENT 'the room',
  target UInt64 COMMENT 'seq of the message; 0: a user''s messages, or all',
  whom String COMMENT 'the user whose messages; empty: one message, or all',
  ts DateTime64(3, 'UTC') COMMENT 'when',
  reason String COMMENT 'why; empty: not said'
) ENGINE = ReplacingMergeTree ORDER BY (room, target, whom, ts)${settings(layout)}`, `
CREATE MATERIALIZED VIEW IF NOT EXISTS reasons_of_audit TO reasons AS
SELECT room, target, if(target > 0, '', whom) AS whom, ts, reason FROM audit
WHERE failure = '' AND action IN ('remove', 'purge', 'clear', 'timeout', 'ban', 'shadowBan', 'banAddress')`]

/** Marks with the reason of the last action before them that names the same. */
const marksWithWhy = `
CREATE VIEW IF NOT EXISTS marks_with_why AS
SELECT k.room AS room, k.epoch AS epoch, k.seq AS seq, k.ts AS ts, k.target AS target, k.target_user AS target_user, k.up_to AS up_to, k.by AS by,
  tupleElement(arrayLast(reason -> tupleElement(reason, 1) <= k.ts, r.list), 2) AS why
FROM marks AS k FINAL
LEFT ANY JOIN (SELECT room, target, whom, arraySort(groupArray((ts, reason))) AS list FROM reasons GROUP BY room, target, whom) AS r
  ON r.room = k.room AND r.target = k.target AND r.whom = k.target_user`

/** A mark as the joins below bring it: (up_to, seq, ts, by, why). */
const MARK = '(up_to, seq, ts, by, why)'

/**
 * The view for readers: each entry once, with whether it was removed, by whom and why. Columns of messages, and:
 * `removed` (0, 1), `removed_seq` (seq of the REMOVE entry), `removed_at`, `removed_by`, `removed_why`.
 * Give it a room and bounds of seq or ts wherever there are some: ORDER BY … LIMIT alone reads all that remains. (Joins of
 * equal keys, because the room in a WHERE then narrows all of them.)
 */
const chat = `
CREATE VIEW IF NOT EXISTS chat AS
SELECT ${MESSAGE_COLUMNS.map((column) => `m.${column} AS ${column}`).join(', ')},
  [tupleElement(one.mark, 2) > 0, tupleElement(ofUser, 1) > 0, tupleElement(ofAll, 1) > 0] AS hits,
  multiIf(hits[1], one.mark, hits[2], ofUser, ofAll) AS mark,
  arrayFirst(x -> tupleElement(x, 1) >= m.seq, users.list) AS ofUser,
  arrayFirst(x -> tupleElement(x, 1) >= m.seq, clearings.list) AS ofAll,
  tupleElement(mark, 2) > 0 AS removed, tupleElement(mark, 2) AS removed_seq, tupleElement(mark, 3) AS removed_at, tupleElement(mark, 4) AS removed_by, tupleElement(mark, 5) AS removed_why
FROM messages AS m FINAL
LEFT ANY JOIN (SELECT room, epoch, target, ${MARK} AS mark FROM marks_with_why WHERE target > 0) AS one ON one.room = m.room AND one.epoch = m.epoch AND one.target = m.seq
LEFT ANY JOIN (SELECT room, epoch, target_user, arraySort(groupArray(${MARK})) AS list FROM marks_with_why WHERE target_user != '' GROUP BY room, epoch, target_user) AS users ON users.room = m.room AND users.epoch = m.epoch AND users.target_user = m.user
LEFT ANY JOIN (SELECT room, epoch, arraySort(groupArray(${MARK})) AS list FROM marks_with_why WHERE target = 0 AND target_user = '' GROUP BY room, epoch) AS clearings ON clearings.room = m.room AND clearings.epoch = m.epoch`

export const STEPS: readonly Step[] = [{
  number: 1,
  title: 'messages, marks, audit, viewers, statistics by minute and by day, and the view for readers',
  statements: (layout) => [
    messages(layout), ...marks(layout), audit(layout), ...reasons(layout), viewers(layout), ...minutes(layout), ...moderation(layout), highlights(layout), marksWithWhy, chat
  ]
}]
