// The numbers of all workers of one machine as one text. They share a port, so whoever scrapes it meets any of them: that
// one asks the supervisor, which asks everybody, and each series bears the worker it is of.
//
//   scrape ─▶ worker ─gather─▶ supervisor ─count─▶ every worker ─counted─▶ supervisor ─▶ one text ─gathered─▶ worker ─▶ answer
//
// Bounds: an answer that is not there in ANSWER_MS is left out; ASKED_MAX questions wait at once.

/** What is said of numbers between a worker and its supervisor. */
export type NumbersWord =
  | { readonly word: 'gather' | 'count', readonly id: number }
  | { readonly word: 'gathered' | 'counted', readonly id: number, readonly text: string }

/** For a worker's numbers; a scrape waits for the slowest of them, and a little. */
const ANSWER_MS = 1500
const GATHER_MS = ANSWER_MS * 2
const ASKED_MAX = 100

/** Questions to another process, each answered once, late or never. */
class Asking {
  readonly #timeoutMs: number
  #open = new Map<number, (text: string | null) => void>()
  #ids = 0

  constructor (timeoutMs: number) { this.#timeoutMs = timeoutMs }

  /** Puts the question by `send`, with the number that its answer must bear; null when none comes in time. */
  ask (send: (id: number) => void): Promise<string | null> {
    if (this.#open.size >= ASKED_MAX) return Promise.resolve(null)
    const id = ++this.#ids
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.answered(id, null), this.#timeoutMs)
      this.#open.set(id, (text) => {
        clearTimeout(timer)
        resolve(text)
      })
      send(id)
    })
  }

  answered (id: number, text: string | null): void {
    this.#open.get(id)?.(text)
    this.#open.delete(id)
  }
}

/** The worker's side: answers for its own numbers, and asks for everybody's. */
export class WorkerNumbers {
  readonly #send: (word: NumbersWord) => void
  readonly #asking: Asking
  #own: () => Promise<string> = async () => ''

  constructor (send: (word: NumbersWord) => void, timeoutMs: number = GATHER_MS) {
    this.#send = send
    this.#asking = new Asking(timeoutMs)
  }

  /** From now on these are this worker's numbers. */
  provide (own: () => Promise<string>): void {
    this.#own = own
  }

  /** Everybody's numbers; this worker's alone when the supervisor does not answer. */
  async gather (): Promise<string> {
    return await this.#asking.ask((id) => this.#send({ word: 'gather', id })) ?? this.#own()
  }

  hear (word: NumbersWord): void {
    if (word.word === 'gathered') this.#asking.answered(word.id, word.text)
    else if (word.word === 'count') void this.#tell(word.id)
  }

  /** Whoever asked and is gone meanwhile misses nothing. */
  async #tell (id: number): Promise<void> {
    try {
      this.#send({ word: 'counted', id, text: await this.#own() })
    } catch {
      // The supervisor leaves out what it is not told.
    }
  }
}

/** The supervisor's side. */
export class AllNumbers {
  readonly #asking: Asking

  constructor (timeoutMs: number = ANSWER_MS) { this.#asking = new Asking(timeoutMs) }

  hear (word: NumbersWord): void {
    if (word.word === 'counted') this.#asking.answered(word.id, word.text)
  }

  /** One text of these workers' numbers, by number, and of `ours`. Workers that do not answer are left out. */
  async gather (workers: ReadonlyMap<number, (word: NumbersWord) => void>, ours: string): Promise<string> {
    const texts = await Promise.all([...workers].map(async ([worker, send]) => {
      const text = await this.#asking.ask((id) => send({ word: 'count', id }))
      return text === null ? '' : labelled(text, `worker="${worker}"`)
    }))
    return merged([...texts, ours])
  }
}

/** A series' name and labels; an exemplar behind its value has labels of its own. */
const SERIES = /^([a-zA-Z_:][\w:]*)(?:\{((?:"(?:\\.|[^"\\])*"|[^"}\n])*)\})? /gm

/** Every series of the text with one more label. */
function labelled (text: string, label: string): string {
  return text.replace(SERIES, (_, name: string, labels: string | undefined) => `${name}{${labels === undefined ? '' : `${labels},`}${label}} `)
}

/** The format wants what is of one name together, with one head. */
function merged (texts: readonly string[]): string {
  const families = new Map<string, { readonly head: string, readonly series: string[] }>()
  for (const part of texts.flatMap((text) => text.split(/^(?=# HELP )/m))) {
    const [, name, head, series] = /^(?=# HELP (\S+))((?:#[^\n]*\n)+)([\s\S]*)$/.exec(part) ?? []
    if (name === undefined || head === undefined) continue
    const family = families.get(name) ?? { head, series: [] }
    families.set(name, family)
    const lines = series?.trim() ?? ''
    if (lines !== '') family.series.push(lines)
  }
  return [...families.values()].map(({ head, series }) => `${head}${series.join('\n')}${series.length > 0 ? '\n' : ''}`).join('\n')
}
