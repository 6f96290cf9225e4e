// A stable colour for each user id. Only a hue (and one of two tones) comes from here; app.css turns it into OKLCH with a
// lightness per theme that keeps every hue at a contrast of 4.5 or more, which a test measures in the browser.

const HUES = 36
const remembered = new Map<string, readonly [hue: number, tone: number]>()
const REMEMBERED_MAX = 2000

/** Hue in degrees (steps of ten) and tone (0 or 1) of a user id. */
export function nameColour (id: string): readonly [hue: number, tone: number] {
  const known = remembered.get(id)
  if (known !== undefined) return known
  // FNV-1a with a last mix: neighbouring ids (user-1, user-2) must not get neighbouring colours.
  let hash = 0x811c9dc5
  for (let at = 0; at < id.length; at++) hash = Math.imul(hash ^ id.charCodeAt(at), 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d)
  hash ^= hash >>> 13
  const colour = [(hash >>> 0) % HUES * (360 / HUES), (hash >>> 20) & 1] as const
  if (remembered.size >= REMEMBERED_MAX) remembered.clear()
  remembered.set(id, colour)
  return colour
}

/** Gives a node the colour of a user id. */
export function colourName (node: HTMLElement, id: string): void {
  const [hue, tone] = nameColour(id)
  node.style.setProperty('--hue', String(hue))
  node.classList.toggle('is-deep', tone === 1)
}
