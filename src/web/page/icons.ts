// The page's icons and badges as SVG made in place: no requests, no markup strings.
// Owns the drawings; must not know where they are shown. Nodes are cloned from one prototype per icon.

import { ROLE, type RoleName } from '../../../proto/ops.ts'
import { TEXTS } from './texts.ts'

const SVG = 'http://www.w3.org/2000/svg'

// Drawn on 24 × 24, as strokes; `fill` ones are solid.
const ICONS = {
  logo: { fill: true, path: 'M3 10.5a1.5 1.5 0 0 1 3 0v3a1.5 1.5 0 0 1-3 0zM8 6.5a1.5 1.5 0 0 1 3 0v11a1.5 1.5 0 0 1-3 0zM13 3.5a1.5 1.5 0 0 1 3 0v17a1.5 1.5 0 0 1-3 0zM18 8.5a1.5 1.5 0 0 1 3 0v7a1.5 1.5 0 0 1-3 0z' },
  send: { fill: true, path: 'M3.4 20.4 21 12 3.4 3.6 3.4 10l11 2-11 2z' },
  reply: { fill: false, path: 'M9 6 4 11l5 5M4 11h9a7 7 0 0 1 7 7v1' },
  at: { fill: false, path: 'M16 8v5a3 3 0 0 0 5 2 10 10 0 1 0-4 5M16 12a4 4 0 1 1-8 0 4 4 0 0 1 8 0' },
  close: { fill: false, path: 'M6 6l12 12M18 6 6 18' },
  down: { fill: false, path: 'M12 5v14M6 13l6 6 6-6' },
  eye: { fill: false, path: 'M2 12s4-7 10-7 10 7 10 7-4 7-10 7S2 12 2 12M15 12a3 3 0 1 1-6 0 3 3 0 0 1 6 0' },
  person: { fill: false, path: 'M16 8a4 4 0 1 1-8 0 4 4 0 0 1 8 0M4 21a8 8 0 0 1 16 0' },
  auto: { fill: true, path: 'M12 2a10 10 0 1 0 0 20 10 10 0 1 0 0-20zM12 4v16a8 8 0 0 1 0-16z' },
  light: { fill: false, path: 'M16 12a4 4 0 1 1-8 0 4 4 0 0 1 8 0M12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.4 1.4M17.6 17.6 19 19M5 19l1.4-1.4M17.6 6.4 19 5' },
  dark: { fill: false, path: 'M20 14.5A8.5 8.5 0 1 1 9.5 4a7 7 0 0 0 10.5 10.5' },
  horn: { fill: false, path: 'M4 10v4h3l9 5V5l-9 5zM19 9a4 4 0 0 1 0 6' },
  info: { fill: false, path: 'M12 11v6M12 7v.5M21 12a9 9 0 1 1-18 0 9 9 0 0 1 18 0' },
  warn: { fill: false, path: 'M12 3 2 20h20zM12 10v4M12 17v.5' },
  again: { fill: false, path: 'M20 11a8 8 0 1 0-2 6M20 4v7h-7' },
  talk: { fill: false, path: 'M4 5h16v11H10l-5 4v-4H4z' },
  bin: { fill: false, path: 'M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13M10 11v5M14 11v5' },
  clock: { fill: false, path: 'M21 12a9 9 0 1 1-18 0 9 9 0 0 1 18 0M12 7v5l3 2' },
  ban: { fill: false, path: 'M21 12a9 9 0 1 1-18 0 9 9 0 0 1 18 0M5.6 5.6l12.8 12.8' },
  pin: { fill: false, path: 'M9 3h6l-1 7 4 3v2H6v-2l4-3zM12 15v6' },
  check: { fill: false, path: 'M4 12.5 9.5 18 20 6.5' },
  gear: { fill: false, path: 'M4 7h10M18 7h2M4 17h2M10 17h10M18 7a2 2 0 1 1-4 0 2 2 0 0 1 4 0M10 17a2 2 0 1 1-4 0 2 2 0 0 1 4 0' },
  shield: { fill: false, path: 'M12 3l7 3v5c0 5-3 8-7 10-4-2-7-5-7-10V6z' },
  columns: { fill: false, path: 'M4 4h7v16H4zM13 4h7v16h-7z' },
  merged: { fill: false, path: 'M4 4h16v16H4zM8 9h8M8 12h8M8 15h5' },
  help: { fill: false, path: 'M21 12a9 9 0 1 1-18 0 9 9 0 0 1 18 0M9.5 9.5a2.5 2.5 0 1 1 3.5 2.3c-.7.3-1 .8-1 1.7M12 16.5v.5' },
  play: { fill: true, path: 'M7 4.5v15L20 12z' },
  pause: { fill: true, path: 'M6 4.5h4.5v15H6zM13.5 4.5H18v15h-4.5z' },
  chart: { fill: false, path: 'M4 20h16M7 16v-5M12 16V6M17 16v-8' },
  go: { fill: false, path: 'M5 12h14M13 6l6 6-6 6' }
} as const

export type IconName = keyof typeof ICONS

// White drawings on a coloured tile (the colour is the class's); each stays legible at 16 pixels.
const BADGES: Record<RoleName, string> = {
  broadcaster: 'M4 8h10v8H4zM15.5 11 20 8v8l-4.5-3z',
  admin: 'M12 3l7 3v5c0 5-3 8-7 10-4-2-7-5-7-10V6z',
  moderator: 'M18.5 3 21 5.5 12 14.5l2 2-1.5 1.5-2.5-2.5L6 19.5 4.5 18l4-4L6 11.5 7.5 10l2 2z',
  vip: 'M7 5h10l4 5-9 10L3 10z',
  subscriber: 'M12 3l2.7 5.8 6.3.8-4.6 4.4 1.2 6.3L12 17.2 6.4 20.3l1.2-6.3L3 9.6l6.3-.8z',
  verified: 'M10 17.5 4.5 12l2-2L10 13.5 17.5 6l2 2z',
  bot: 'M11 3h2v3h5v13H6V6h5zM8.5 10v3h2.5v-3zM13 10v3h2.5v-3z'
}

/** Most telling first: a row shows at most three. */
const ORDER: readonly RoleName[] = ['broadcaster', 'admin', 'moderator', 'bot', 'vip', 'verified', 'subscriber']

const BADGES_SHOWN = 3
const prototypes = new Map<string, SVGSVGElement>()

/** A decorative icon: hidden from the accessibility tree, its button carries the name. */
export function icon (name: IconName): SVGSVGElement {
  return clone(`icon-${name}`, () => {
    const { path, fill } = ICONS[name]
    const svg = drawing(path)
    svg.setAttribute('class', fill ? 'icon is-solid' : 'icon')
    svg.setAttribute('aria-hidden', 'true')
    return svg
  })
}

/** Puts icons into the places of the document that ask for one with `data-icon`. */
export function placeIcons (within: ParentNode): void {
  for (const place of within.querySelectorAll<HTMLElement>('[data-icon]')) {
    place.prepend(icon(place.dataset['icon'] as IconName))
    place.removeAttribute('data-icon')
  }
}

/** The badges of a role bit set, as images with names; null when there are none. */
export function badges (roles: number): HTMLSpanElement | null {
  const names = ORDER.filter((role) => (roles & ROLE[role]) !== 0).slice(0, BADGES_SHOWN)
  if (names.length === 0) return null
  const span = document.createElement('span')
  span.className = 'badges'
  for (const name of names) span.append(badge(name))
  return span
}

function badge (role: RoleName): SVGSVGElement {
  return clone(`badge-${role}`, () => {
    const svg = drawing(BADGES[role])
    const title = document.createElementNS(SVG, 'title')
    title.textContent = TEXTS.roles[role]
    svg.prepend(title)
    svg.setAttribute('class', `badge is-${role}`)
    svg.setAttribute('role', 'img')
    svg.setAttribute('aria-label', TEXTS.roles[role])
    return svg
  })
}

function drawing (path: string): SVGSVGElement {
  const svg = document.createElementNS(SVG, 'svg')
  svg.setAttribute('viewBox', '0 0 24 24')
  const line = document.createElementNS(SVG, 'path')
  line.setAttribute('d', path)
  svg.append(line)
  return svg
}

function clone (key: string, make: () => SVGSVGElement): SVGSVGElement {
  let prototype = prototypes.get(key)
  if (prototype === undefined) prototypes.set(key, prototype = make())
  return prototype.cloneNode(true) as SVGSVGElement
}
