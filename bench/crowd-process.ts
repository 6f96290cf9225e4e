// A crowd as a process of its own, so that it never shares the server's or the author's CPU time. Forked, it obeys
// messages and answers each; run by hand it joins, watches for some seconds and prints its report as one JSON line:
//
//   node bench/crowd-process.ts --url ws://127.0.0.1:9001/ws --room stage --viewers 1000 --seconds 30 --stalled 100

import { parseArgs } from 'node:util'
import { Crowd, type CrowdOptions, type CrowdReports } from './crowd.ts'

export type CrowdOrder =
  | { readonly order: 'start', readonly options: CrowdOptions, readonly timeoutMs?: number }
  | { readonly order: 'stall', readonly count: number, readonly keepPinging?: boolean }
  | { readonly order: 'wake' }
  | { readonly order: 'cut', readonly count: number }
  | { readonly order: 'settled', readonly seq: number, readonly timeoutMs: number, readonly stalledToo?: boolean }
  | { readonly order: 'report' }
  | { readonly order: 'stop' }

export interface CrowdAnswer { readonly id: number, readonly result?: CrowdReports | boolean | null, readonly error?: string }

let crowd: Crowd | null = null

async function obey (order: CrowdOrder): Promise<CrowdReports | boolean | null> {
  if (order.order === 'start') {
    crowd = new Crowd(order.options)
    await crowd.start(order.timeoutMs)
    return null
  }
  if (crowd === null) throw new Error('there is no crowd yet')
  switch (order.order) {
    case 'stall': crowd.stall(order.count, order.keepPinging); return null
    case 'wake': crowd.wake(); return null
    case 'cut': crowd.cut(order.count); return null
    case 'settled': return await crowd.settled(order.seq, order.timeoutMs, order.stalledToo)
    case 'report': return crowd.report()
    case 'stop': crowd.stop(); return null
  }
}

async function byHand (): Promise<void> {
  const text = { type: 'string' } as const
  const { values } = parseArgs({ options: { url: text, room: text, viewers: text, seconds: text, stalled: text, history: text } })
  const whole = (value: string | undefined, fallback: number): number => /^\d+$/.test(value ?? '') ? Number(value) : fallback
  const byHandCrowd = new Crowd({ url: values.url ?? 'ws://127.0.0.1:9001/ws', room: values.room ?? 'stage', viewers: whole(values.viewers, 100), history: whole(values.history, 0) })
  await byHandCrowd.start()
  byHandCrowd.stall(whole(values.stalled, 0))
  await new Promise((resolve) => setTimeout(resolve, whole(values.seconds, 10) * 1000))
  process.stdout.write(`${JSON.stringify(byHandCrowd.report())}\n`)
  byHandCrowd.stop()
}

if (process.send === undefined) {
  await byHand()
} else {
  process.on('message', (message: CrowdOrder & { id: number }) => {
    obey(message)
      .then((result) => process.send?.({ id: message.id, result }))
      .catch((error: Error) => process.send?.({ id: message.id, error: error.message }))
  })
  // When the one who gives the orders is gone, there is nothing left to do.
  process.once('disconnect', () => process.exit())
}
