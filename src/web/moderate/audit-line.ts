// One row of the audit log as a sentence: when, who did what to whom, why, and what was written at the time.

import { make } from '../page/dom.ts'
import type { AuditRow } from './desk.ts'
import { nameOf } from './names.ts'
import { fullTime, hourMinute, span, TEXTS } from './texts.ts'

/** Makes the row. `about`: opens the card of a user. */
export function auditLine (row: AuditRow, about?: (user: string) => void): HTMLElement {
  const { ts, by, source, action, whom, text, reason, args, failure } = row
  const who = by === null ? (source === 'rule' ? TEXTS.aRule : source) : nameOf(by)
  const verb = Object.hasOwn(TEXTS.action, action) ? TEXTS.action[action as keyof typeof TEXTS.action] : action
  const item = make('li', { className: failure === null ? 'audit' : 'audit is-bad' },
    make('time', { className: 'row-time', textContent: hourMinute(ts), title: fullTime(ts), dateTime: new Date(ts).toISOString() }), ' ',
    make('bdi', { className: 'audit-who', textContent: who }), ` ${verb} `, whom === by ? null : personButton(whom, about), detail(args),
    make('bdi', { textContent: reason === null || reason === '' ? '' : ` (${reason})` }))
  if (failure !== null) item.append(make('span', { textContent: ` ${TEXTS.failed(failure)}` }))
  if (text !== null && text !== '') item.append(make('q', { className: 'audit-text' }, make('bdi', { textContent: text })))
  return item
}

function personButton (whom: string | null, about?: (user: string) => void): Node | null {
  if (whom === null) return null
  const name = make('bdi', { textContent: nameOf(whom) })
  return about === undefined ? name : make('button', { type: 'button', className: 'link', onclick: () => about(whom) }, name)
}

/** What of the arguments is worth saying. */
function detail (args: AuditRow['args']): string {
  const settings = args['settings']
  if (typeof settings === 'object' && settings !== null) return Object.entries(settings).map(([name, value]) => modeLine(name, value)).join(', ')
  const seconds = args['seconds']
  return `${typeof seconds === 'number' ? ` for ${span(seconds)}` : ''}${args['purge'] === true ? ' and removed everything' : ''}`
}

function modeLine (name: string, value: unknown): string {
  const mode = Object.hasOwn(TEXTS.modes, name) ? TEXTS.modes[name as keyof typeof TEXTS.modes] : name
  if (Array.isArray(value)) return `${mode}: ${value.join(', ') || 'none'}`
  if (typeof value === 'boolean') return `${mode} ${value ? 'on' : 'off'}`
  if (value === null) return `${mode} as by default`
  return `${mode} ${name.endsWith('Seconds') ? span(Number(value)) : String(value)}`
}
