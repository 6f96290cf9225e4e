// The status page: whether the server works, for anybody; how, for whoever has a server key or sits at the machine. Asks
// every EVERY_MS, one question at a time, and says when there is no answer. A key stays in this tab's memory and no
// longer; from the address (`#key=…`) it is taken at once.

import { make, part, show, write } from '../page/dom.ts'
import { placeIcons } from '../page/icons.ts'
import { startTheme } from '../page/theme.ts'
import { fill, number, span, type Cell } from './tables.ts'

const EVERY_MS = 2000
const ANSWER_MS_MAX = 8000

interface Detail {
  readonly version: string
  readonly delivery: { readonly verdict: string, readonly ageMs: number | null }
  readonly instances: readonly { readonly id: string, readonly host: string, readonly version: string, readonly startedAt: number, readonly connections: number, readonly isDraining: boolean, readonly isSelf: boolean, readonly silentMs: number }[] | null
  readonly connections: number
  readonly rooms: { readonly active: number, readonly top: readonly { readonly room: string, readonly viewers: number }[] }
  readonly engines: readonly { readonly part: string, readonly engine: string, readonly fault: string | null }[]
  readonly lag: readonly { readonly consumer: string, readonly records: number, readonly seconds: number }[]
}
interface Status { readonly works: boolean, readonly detail: Detail | null }

type Look = 'works' | 'broken' | 'waiting'

/** Silence of an instance that is worth a word: it says something every second. */
const SILENT_MS = 3000
/** Waiting that is worth a colour. */
const LAG_S = 30

let key = takeKey()
/** Counts questions: an answer to an older one is not shown. */
let turn = 0

/** The key of the address, which is cleaned of it. */
function takeKey (): string {
  const found = /^#(?:key|token)=(.+)$/.exec(location.hash)?.[1] ?? ''
  if (location.hash !== '') history.replaceState(null, '', `${location.pathname}${location.search}`)
  try {
    return decodeURIComponent(found)
  } catch {
    return ''
  }
}

async function ask (): Promise<void> {
  const mine = ++turn
  try {
    const answer = await fetch('/v1/status', { headers: key === '' ? {} : { authorization: `Bearer ${key}` }, cache: 'no-store', signal: AbortSignal.timeout(ANSWER_MS_MAX) })
    if (mine !== turn) return
    if (answer.status === 401) return refused()
    if (!answer.ok) return verdict('waiting', 'Asked too much', answer.status === 429 ? 'This address has asked more than it may; the page goes on by itself.' : `The server answered ${answer.status}.`)
    render(await answer.json() as Status)
  } catch {
    if (mine === turn) verdict('broken', 'Cannot be reached', 'The server does not answer this page. It is asked again.')
  }
}

/** The key counts for nothing: it is let go, and the page asks as anybody. */
function refused (): void {
  key = ''
  write(part('key-fault', HTMLElement), 'The server does not know this key.')
  void ask()
}

function verdict (look: Look, word: string, more: string): void {
  part('verdict', HTMLElement).dataset['look'] = look
  write(part('verdict-word', HTMLElement), word)
  write(part('verdict-more', HTMLElement), more)
  document.title = `${word} · Uproar`
}

function render ({ works, detail }: Status): void {
  const verdictOf = detail === null || works ? '' : `${detail.delivery.verdict}. `
  verdict(works ? 'works' : 'broken', works ? 'Works' : 'Does not work', works ? 'What is written arrives.' : `${verdictOf}What is written may not arrive.`)
  show(part('key-form', HTMLElement), detail === null)
  show(part('detail', HTMLElement), detail !== null)
  if (detail === null) return
  write(part('key-fault', HTMLElement), '')
  tiles(detail)
  instances(detail)
  show(part('rooms-note', HTMLElement), detail.rooms.top.length === 0)
  fill(part('rooms', HTMLTableElement), ['Room', 'Viewers'], detail.rooms.top.map(({ room, viewers }) => [{ text: room, isName: true }, number(viewers)]))
  show(part('lag-card', HTMLElement), detail.lag.length > 0)
  fill(part('lag', HTMLTableElement), ['Consumer', 'Waiting', 'Oldest'], detail.lag.map(({ consumer, records, seconds }) => [{ text: consumer }, number(records), { text: records === 0 ? 'none' : span(seconds * 1000), isNumber: true, isWarn: seconds > LAG_S }]))
}

function tiles ({ connections, delivery, rooms, engines, version }: Detail): void {
  const shown: readonly (readonly [string, string])[] = [
    ['connections', connections.toLocaleString('en-GB')],
    ['since an entry came back', delivery.ageMs === null ? 'never' : delivery.ageMs < 10_000 ? `${(delivery.ageMs / 1000).toFixed(1)} s` : span(delivery.ageMs)],
    ['rooms in memory', rooms.active.toLocaleString('en-GB')],
    ...engines.map(({ part: name, engine, fault }) => [fault === null ? name : `${name}: ${fault}`, engine] as const),
    ['version', version]
  ]
  const list = part('tiles', HTMLElement)
  if (list.childElementCount !== shown.length) list.replaceChildren(...shown.map(() => make('div', { className: 'tile' }, make('dt'), make('dd'))))
  for (const [at, [name, value]] of shown.entries()) {
    const [dt, dd] = (list.children[at] as Element).children as unknown as [Element, Element]
    write(dt, name)
    write(dd, value)
  }
}

function instances ({ instances: all }: Detail): void {
  show(part('instances-note', HTMLElement), all === null)
  fill(part('instances', HTMLTableElement), ['Machine', 'Id', 'Connections', 'Up', 'Version', 'State'], (all ?? []).map((one): Cell[] => {
    const isSilent = one.silentMs > SILENT_MS
    return [{ text: one.isSelf ? `${one.host} (answers)` : one.host, isName: true }, { text: one.id.slice(0, 6) }, number(one.connections), { text: span(Date.now() - one.startedAt), isNumber: true }, { text: one.version },
      { text: one.isDraining ? 'draining' : isSilent ? `silent for ${span(one.silentMs)}` : 'serves', isWarn: one.isDraining || isSilent }]
  }))
}

function start (): void {
  placeIcons(document)
  startTheme()
  part('key-form', HTMLFormElement).addEventListener('submit', (event) => {
    event.preventDefault()
    const input = part('key', HTMLInputElement)
    key = input.value.trim()
    input.value = ''
    write(part('key-fault', HTMLElement), '')
    void ask()
  })
  const round = async (): Promise<void> => {
    // A page in the background asks nothing.
    if (document.visibilityState === 'visible') await ask()
    setTimeout(() => { void round() }, EVERY_MS)
  }
  document.addEventListener('visibilitychange', () => { if (document.visibilityState === 'visible') void ask() })
  void round()
}

start()
