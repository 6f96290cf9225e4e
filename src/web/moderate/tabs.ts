// The panels beside the streams, one at a time (ARIA tabs: arrows move, the panel follows). On a narrow screen the streams
// are one of them. Must not know what the panels hold.

import { part, show } from '../page/dom.ts'

export const TABS = ['chat', 'queue', 'person', 'room', 'log', 'find'] as const
export type Tab = (typeof TABS)[number]

/** Where there is no room for streams and panels beside each other; console.css has the same width. */
const NARROW = '(max-width: 56rem)'

export class Tabs {
  readonly #opened: (tab: Tab) => void
  #tab: Tab = 'queue'

  /** `opened` is told the tab that is shown now. */
  constructor (opened: (tab: Tab) => void) {
    this.#opened = opened
    for (const tab of TABS) buttonOf(tab).addEventListener('click', () => this.open(tab))
    part('tabs', HTMLElement).addEventListener('keydown', (event) => this.#key(event))
    const narrow = matchMedia(NARROW)
    // A window that grows shows the streams anyway: then a panel is wanted beside them.
    narrow.addEventListener('change', () => { if (!narrow.matches && this.#tab === 'chat') this.open('queue') })
    this.open(narrow.matches ? 'chat' : 'queue')
  }

  get tab (): Tab { return this.#tab }

  open (tab: Tab): void {
    this.#tab = tab
    document.body.dataset['tab'] = tab
    for (const one of TABS) {
      buttonOf(one).ariaSelected = String(one === tab)
      buttonOf(one).tabIndex = one === tab ? 0 : -1
      // The streams are hidden by the style sheet alone, and only where there is no room for both.
      if (one !== 'chat') show(part(`panel-${one}`, HTMLElement), one === tab)
    }
    this.#opened(tab)
  }

  #key (event: KeyboardEvent): void {
    const shown = TABS.filter((tab) => buttonOf(tab).offsetParent !== null)
    const at = shown.indexOf(this.#tab)
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: shown.length - 1 }[event.key]
    const tab = to === undefined ? undefined : shown[(to + shown.length) % shown.length]
    if (tab === undefined) return
    event.preventDefault()
    this.open(tab)
    buttonOf(tab).focus()
  }
}

function buttonOf (tab: Tab): HTMLButtonElement {
  return part(`tab-${tab}`, HTMLButtonElement)
}
