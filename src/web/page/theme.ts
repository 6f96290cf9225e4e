// Light, dark, or as the system says: a button that goes round, remembered in this browser. app.css does the rest.

import { part } from './dom.ts'
import { icon } from './icons.ts'
import { recall, remember } from './memory.ts'
import { TEXTS } from './texts.ts'

const THEMES = ['auto', 'light', 'dark'] as const
type Theme = (typeof THEMES)[number]

/** Applies the remembered theme and makes the button work. */
export function startTheme (): void {
  const button = part('theme', HTMLButtonElement)
  let theme = THEMES.find((name) => name === recall('theme')) ?? 'auto'
  const apply = (next: Theme): void => {
    theme = next
    document.documentElement.dataset['theme'] = theme
    button.ariaLabel = TEXTS.theme[theme]
    button.title = TEXTS.theme[theme]
    button.replaceChildren(icon(theme))
  }
  apply(theme)
  button.addEventListener('click', () => {
    apply(THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length] as Theme)
    remember('theme', theme)
  })
}
