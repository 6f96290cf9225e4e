// What this browser (or this tab alone) remembers for the page, under one prefix. Storage may be forbidden or full: then nothing is remembered
// and nothing fails. Never holds a token.

const PREFIX = 'uproar.'

/** `browser`: for good, in all its tabs. `tab`: until the tab is closed. */
export type Where = 'browser' | 'tab'

/** The remembered text, or null. */
export function recall (key: string, where: Where = 'browser'): string | null {
  try {
    return storage(where).getItem(PREFIX + key)
  } catch {
    return null
  }
}

/** Remembers a text; null forgets it. */
export function remember (key: string, value: string | null, where: Where = 'browser'): void {
  try {
    if (value === null) storage(where).removeItem(PREFIX + key)
    else storage(where).setItem(PREFIX + key, value)
  } catch {
    // A full or forbidden storage costs the visitor the memory, nothing else.
  }
}

function storage (where: Where): Storage {
  return where === 'browser' ? localStorage : sessionStorage
}
