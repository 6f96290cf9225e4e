// A button for what cannot simply be undone: the first press asks, the second within four seconds does it.

import { make, write } from '../page/dom.ts'
import { TEXTS } from './texts.ts'

const ARMED_MS = 4000

/** Makes the button. */
export function twiceButton (label: string, act: () => void, className = 'quiet'): HTMLButtonElement {
  const button = make('button', { type: 'button', className, textContent: label, ariaLive: 'polite' })
  let timer: ReturnType<typeof setTimeout> | null = null
  const rest = (): void => {
    if (timer !== null) clearTimeout(timer)
    timer = null
    button.classList.remove('is-armed')
    button.style.minWidth = ''
    button.ariaLabel = null
    write(button, label)
  }
  button.addEventListener('click', () => {
    const isArmed = timer !== null
    rest()
    if (isArmed) return act()
    timer = setTimeout(rest, ARMED_MS)
    // It stays where it is: the second press must not hit what slid under the pointer.
    button.style.minWidth = `${button.offsetWidth}px`
    button.classList.add('is-armed')
    button.ariaLabel = TEXTS.sure(label)
    write(button, TEXTS.sureShort)
  })
  button.addEventListener('blur', rest)
  return button
}
