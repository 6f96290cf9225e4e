// The README's table of what a crowd costs, computed from what was measured (bench/numbers.jsonl): rows that stand for a
// measurement say so, the others are the same figures multiplied. Knows no more of the server than the costs below; a
// figure that is missing or renamed is an error, never a guess.
//
//   gateways    viewers × writes a second × µs a write  +  messages × µs a message, in every instance as if it had accepted it
//   memory      a process each, and every viewer
//   out         viewers × (messages shown × bytes, deflated where a write has enough of them + writes × bytes of headers)
//   Redis       messages × µs  +  every append × every instance that reads it

/** A line of bench/numbers.jsonl, as far as it matters here. */
export interface Figures {
  readonly question: string
  readonly figures?: Readonly<Record<string, number | { readonly median: number }>>
}

interface Costs {
  /** CPU µs of one WebSocket message handed to one socket. */
  readonly writeUs: number
  /** The same in a room of BIG_ROOM viewers and more: its writes hold more, and find their sockets gone from the caches. */
  readonly bigWriteUs: number
  /** CPU µs of an instance for a message that it accepts into Redis. */
  readonly messageUs: number
  readonly redisUs: number
  readonly relayUs: number
  readonly viewerKb: number
  readonly processMb: number
  readonly newcomersPerCpuSecond: number
}

interface Crowd {
  readonly viewers: number
  readonly perSecond: number
  /** Where its cores were measured, how many they were, and for how many writes a second: a slow machine widens a big room's windows. */
  readonly measured?: { readonly room: string, cores (figure: Figure): number, writes (figure: Figure): number }
}

type Figure = (question: string, name: string) => number

const STEADY = 'Steady room, CPU against bare uWS, unbatched'
const BIG = 'Big room, deliveries per CPU second against bare uWS, windows of 250 ms'

const CROWDS: readonly Crowd[] = [
  { viewers: 1000, perSecond: 20, measured: { room: 'steady room', cores: (figure) => figure(STEADY, 'share') / 100, writes: (figure) => figure(STEADY, 'writesPerSecond') } },
  { viewers: 18_000, perSecond: 50, measured: { room: 'big room', cores: (figure) => figure(BIG, 'serverShare'), writes: (figure) => figure(BIG, 'writesPerSecond') } },
  { viewers: 50_000, perSecond: 50 },
  { viewers: 100_000, perSecond: 100 },
  { viewers: 250_000, perSecond: 200 },
  { viewers: 1_000_000, perSecond: 500 }
]

/** Viewers that a gateway takes (CONNECTIONS_MAX of the manifests); a measured row stands as it was measured. */
const VIEWERS_PER_GATEWAY = 12_000
/** As long as writing every entry at once takes less of a core than this, nobody waits (rooms/window.ts). */
const UNBATCHED_CORE = 0.4
const BIG_ROOM = 5000
const WINDOW_S = 0.05
const WINDOW_BIG_S = 0.25
/** What a live view is shown at most. */
const SHOWN_PER_SECOND = 20
const MESSAGE_BYTES = 130
/** Writes with so much in them are deflated, and to what part: real chat, five messages a write (rooms/encoding.ts). */
export const DEFLATED_FROM_BYTES = 500
const DEFLATED_TO = 1 / 1.8
/** TCP/IP and WebSocket headers of a write. */
const HEADER_BYTES = 60
/** Redis's CPU for each reader that an append wakes; measured while the log was designed, with 100 readers. */
const WAKE_US = 30
/** Appends to one stream a second: commits of all instances meet here, and each gathers for 16 ms. */
const APPENDS_PER_SECOND_MAX = 1000 / 16

export const SCALING_HEADS = ['viewers in one room', 'messages a second', 'writes a second each', 'gateways', 'their cores', 'their memory', 'out to viewers', 'Redis, the room\'s shard', 'out of Redis', 'all of them back within 60 s', ''] as const

/** Rows for the README, from the newest line of each question. Throws where a figure is missing. */
export function scalingRows (lines: readonly Figures[]): string[][] {
  const figure = figuresOf(lines)
  const costs = costsOf(figure)
  return CROWDS.map((crowd) => {
    const { viewers, perSecond } = crowd
    const gateways = crowd.measured === undefined ? Math.ceil(viewers / VIEWERS_PER_GATEWAY) : 1
    const writeUs = viewers / gateways < BIG_ROOM ? costs.writeUs : costs.bigWriteUs
    const writes = writesPerSecond(viewers / gateways, perSecond, writeUs)
    const cores = (viewers * writes * writeUs + gateways * perSecond * costs.messageUs) / 1e6
    const shown = Math.min(perSecond, SHOWN_PER_SECOND) * MESSAGE_BYTES
    const out = viewers * (shown * (shown / writes >= DEFLATED_FROM_BYTES ? DEFLATED_TO : 1) + writes * HEADER_BYTES) * 8
    const appends = Math.min(perSecond, gateways * APPENDS_PER_SECOND_MAX)
    const redis = (perSecond * costs.redisUs + appends * gateways * WAKE_US) / 1e6
    return [
      viewers.toLocaleString('en-GB'), perSecond.toLocaleString('en-GB'), rounded(writes), gateways.toLocaleString('en-GB'), rounded(cores), memory(gateways, viewers, costs), bits(out),
      `${rounded(redis * 100)} % of a core`, bits(perSecond * MESSAGE_BYTES * gateways * 8), `${rounded(viewers / 60 / costs.newcomersPerCpuSecond)} cores`, crowd.measured === undefined ? 'computed' : `cores measured: **${rounded(crowd.measured.cores(figure))}** for ${crowd.measured.writes(figure).toFixed(1)} writes a second (${crowd.measured.room})`
    ]
  })
}

/** Costs of one message and one viewer, in words, for the sentence under the table. */
export function costsInWords (lines: readonly Figures[]): string {
  const { writeUs, bigWriteUs, messageUs, redisUs, relayUs, viewerKb, processMb } = costsOf(figuresOf(lines))
  return `${rounded(writeUs)} µs of CPU for each write to a socket (${rounded(bigWriteUs)} with ${BIG_ROOM.toLocaleString('en-GB')} viewers and more), ${rounded(messageUs)} µs of an instance and ${rounded(redisUs)} µs of Redis for each message, ${rounded(relayUs)} µs of the relay to bring it to Kafka, ${rounded(viewerKb)} KB for each viewer and ${rounded(processMb)} MB for each process`
}

function figuresOf (lines: readonly Figures[]): Figure {
  const newest = new Map(lines.map((line) => [line.question, line]))
  return (question, name) => {
    const value = newest.get(question)?.figures?.[name]
    const number = typeof value === 'object' ? value.median : value
    if (number === undefined || !(number > 0)) throw new Error(`bench/numbers.jsonl: the scaling table needs ${name} of "${question}"`)
    return number
  }
}

function costsOf (figure: Figure): Costs {
  const writeUs = figure(STEADY, 'share') / 100 / (figure(STEADY, 'writesPerSecond') * 1000) * 1e6
  return {
    writeUs,
    bigWriteUs: Math.max(writeUs, figure(BIG, 'serverShare') / (figure(BIG, 'writesPerSecond') * 18_000) * 1e6),
    messageUs: figure('CPU of a message accepted into Redis', 'instanceUs'),
    redisUs: figure('CPU of a message accepted into Redis', 'redisUs'),
    relayUs: figure('Relayed into Kafka from Redis, 16 shards, messages a second', 'cpuUs'),
    viewerKb: figure('Memory of an idle viewer in a room', 'kb'),
    processMb: figure('Soak, memory of the server', 'anonymousMb'),
    newcomersPerCpuSecond: figure('Join storm, newcomers with handshake and HELLO', 'newcomersPerCpuSecond')
  }
}

function writesPerSecond (viewers: number, perSecond: number, writeUs: number): number {
  if (viewers * perSecond * writeUs / 1e6 <= UNBATCHED_CORE) return perSecond
  return Math.min(perSecond, 1 / (viewers < BIG_ROOM ? WINDOW_S : WINDOW_BIG_S))
}

function memory (gateways: number, viewers: number, { processMb, viewerKb }: Costs): string {
  const mb = gateways * processMb + viewers * viewerKb / 1024
  return mb < 1024 ? `${rounded(mb)} MB` : `${rounded(mb / 1024)} GB`
}

function bits (perSecond: number): string {
  return perSecond < 1e9 ? `${rounded(perSecond / 1e6)} Mbit/s` : `${rounded(perSecond / 1e9)} Gbit/s`
}

function rounded (value: number): string {
  return value.toLocaleString('en-GB', value < 10 ? { maximumSignificantDigits: 2 } : { maximumFractionDigits: 0 })
}
