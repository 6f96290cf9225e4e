// What this browser remembers for the page, under one prefix. Storage may be forbidden or full: then nothing is remembered
// and nothing fails. Never holds a token.

const PREFIX = 'uproar.'

/** The remembered text, or null. */
export function recall (key: string): string | null {
  try {
    return localStorage.getItem(PREFIX + key)
  } catch {
    return null
  }
}

/** Remembers a text; null forgets it. */
export function remember (key: string, value: string | null): void {
  try {
    if (value === null) localStorage.removeItem(PREFIX + key)
    else localStorage.setItem(PREFIX + key, value)
  } catch {
    // A full or forbidden storage costs the visitor the memory, nothing else.
  }
}
