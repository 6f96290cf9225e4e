// Memory: what does one more viewer who sits in a room cost the process? Resident memory before and after a crowd came,
// some seconds later, against bare uWebSockets.js, ws and Socket.IO.

import { sleep } from './delivery.ts'
import { Load } from './load.ts'
import { spread, spreadText, type Bench, type Finding, type Row } from './row.ts'
import { BARE_WS, bareUws, SOCKET_IO, Subject, uproar, type SubjectKind } from './subject.ts'

/** These come first: a program's first connections pay for code and buffers that all share. */
const FIRST = 500
const SETTLE_MS = 9000

export const memory: Row = {
  name: 'memory',
  about: 'memory of an idle viewer in a room at 19,000 viewers, against bare uWS, ws and Socket.IO',
  roundsMax: 1,
  async run (bench: Bench): Promise<Finding[]> {
    const many = bench.isQuick ? 5000 : 18_500
    const fewer = bench.isQuick ? 1000 : 5000
    const perViewer = async (kind: SubjectKind, viewers: number): Promise<Record<'rss' | 'anonymous', number>> => {
      bench.progress(`${kind.name}, ${viewers + FIRST} viewers`)
      const grown = await growth(kind, viewers, bench)
      bench.progress(`  ${(grown.rss / 1024).toFixed(2)} KB a viewer`)
      return grown
    }
    const ours = []
    const bare = []
    for (let round = 0; round < bench.rounds; round++) {
      ours.push(await perViewer(uproar(), many))
      bare.push(await perViewer(bareUws(0), many))
    }
    const ws = await perViewer(BARE_WS, fewer)
    const socketIo = await perViewer(SOCKET_IO, fewer)
    const kb = (each: { rss: number }): number => each.rss / 1024
    const mine = spread(ours.map(kb))
    const theirs = spread(bare.map(kb))
    return [{
      question: 'Memory of an idle viewer in a room',
      result: `${spreadText(mine)} KB; bare uWS ${spreadText(theirs)} KB, ws ${kb(ws).toFixed(1)} KB, Socket.IO ${kb(socketIo).toFixed(1)} KB`,
      conditions: `process RSS from ${FIRST} to ${(many + FIRST).toLocaleString('en-GB')} viewers (ws and Socket.IO: ${(fewer + FIRST).toLocaleString('en-GB')}), ${SETTLE_MS / 1000} s after the last came`,
      target: 'at most 3 KB',
      isMet: mine.median <= 3,
      figures: { kb: mine, ownPagesKb: spread(ours.map(({ anonymous }) => anonymous / 1024)), bareKb: theirs, wsKb: kb(ws), socketIoKb: kb(socketIo) }
    }]
  }
}

/** Bytes that each of `viewers` added. */
async function growth (kind: SubjectKind, viewers: number, bench: Bench): Promise<Record<'rss' | 'anonymous', number>> {
  const subject = await Subject.start(kind, kind.dialect === 'uproar' ? bench.nodeOptions : [])
  const loads = [new Load(), new Load()] as const
  try {
    const { wsPort: port } = subject
    await loads[0].order('viewers.open', { port, dialect: kind.dialect, viewers: FIRST })
    await sleep(SETTLE_MS / 4)
    const before = subject.memory()
    await loads[1].order('viewers.open', { port, dialect: kind.dialect, viewers })
    await sleep(SETTLE_MS)
    const after = subject.memory()
    return { rss: (after.rss - before.rss) / viewers, anonymous: (after.anonymous - before.anonymous) / viewers }
  } finally {
    for (const load of loads) await load.end()
    await subject.stop()
  }
}
