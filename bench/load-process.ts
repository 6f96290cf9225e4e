// The load as a process of its own, on a core of its own: obeys orders that come as messages, and answers each. Ends with
// whoever started it.

import { Authors, type AuthorsOptions, type AuthorsReport } from './authors.ts'
import { Joiners, type JoinersOptions, type JoinersReport } from './joiners.ts'
import { Viewers, type ViewersOptions, type ViewersReport } from './viewers.ts'

/** Orders and what they are answered with. */
export interface Orders {
  'viewers.open': (options: ViewersOptions) => number
  'viewers.report': () => ViewersReport
  'viewers.stall': (count: number) => null
  'viewers.quiet': (timeoutMs: number) => boolean
  'authors.open': (options: AuthorsOptions) => null
  'authors.pace': (perSecond: number) => null
  'authors.press': (underWay: number) => null
  'authors.report': () => AuthorsReport
  'joiners.open': (options: JoinersOptions) => null
  'joiners.storm': (ms: number) => JoinersReport
  'end': () => null
}

export type OrderName = keyof Orders
export interface Order { readonly id: number, readonly name: OrderName, readonly argument: unknown }
export interface Answer { readonly id: number, readonly result?: unknown, readonly error?: string }

let viewers: Viewers | null = null
let authors: Authors | null = null
let joiners: Joiners | null = null

function there<T> (thing: T | null): T {
  if (thing === null) throw new Error('open it first')
  return thing
}

// A mapped type cannot say that an order may be obeyed later: the answers are awaited below.
const OBEY: { [N in OrderName]: (argument: never) => ReturnType<Orders[N]> | Promise<ReturnType<Orders[N]>> } = {
  'viewers.open': (options: ViewersOptions) => {
    viewers = new Viewers(options)
    return viewers.open()
  },
  'viewers.report': () => there(viewers).report(),
  'viewers.stall': (count: number) => {
    there(viewers).stall(count)
    return null
  },
  'viewers.quiet': (timeoutMs: number) => there(viewers).quiet(timeoutMs),
  'authors.open': async (options: AuthorsOptions) => {
    authors = await Authors.open(options)
    return null
  },
  'authors.pace': (perSecond: number) => {
    there(authors).pace(perSecond)
    return null
  },
  'authors.press': (underWay: number) => {
    there(authors).press(underWay)
    return null
  },
  'authors.report': () => there(authors).report(),
  'joiners.open': async (options: JoinersOptions) => {
    joiners = await Joiners.open(options)
    return null
  },
  'joiners.storm': (ms: number) => there(joiners).storm(ms),
  end: () => {
    viewers?.end()
    authors?.end()
    joiners?.end()
    return null
  }
}

process.on('message', ({ id, name, argument }: Order) => {
  const answer = (message: Answer): void => { process.send?.(message) }
  Promise.resolve()
    .then(() => OBEY[name](argument as never))
    .then((result) => answer({ id, result }), (error: Error) => answer({ id, error: error.message }))
})
process.once('disconnect', () => process.exit())
