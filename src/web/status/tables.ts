// Tables that are filled again and again: cells that did not change are left as they are, so that nothing flickers and a
// selection stays. Numbers and spans of time as text. Bound: what the server sends, some dozens of rows.

import { make, write } from '../page/dom.ts'

export interface Cell { readonly text: string, readonly isNumber?: boolean, readonly isName?: boolean, readonly isWarn?: boolean }

export function number (value: number): Cell {
  return { text: value.toLocaleString('en-GB'), isNumber: true }
}

/** In its largest unit or two. */
export function span (ms: number): string {
  const s = Math.max(0, Math.round(ms / 1000))
  if (s < 60) return `${s} s`
  if (s < 3600) return `${Math.floor(s / 60)} min`
  if (s < 86_400) return `${Math.floor(s / 3600)} h ${Math.floor(s % 3600 / 60)} min`
  return `${Math.floor(s / 86_400)} d ${Math.floor(s % 86_400 / 3600)} h`
}

/** Shows these rows under these heads; without rows nothing. */
export function fill (table: HTMLTableElement, heads: readonly string[], rows: readonly (readonly Cell[])[]): void {
  const body = table.tBodies[0] ?? table.createTBody()
  if (table.tHead === null) table.createTHead().append(make('tr', {}, ...heads.map((head) => make('th', { scope: 'col' }, head))))
  for (const [at, head] of [...table.tHead?.rows[0]?.cells ?? []].entries()) head.className = rows[0]?.[at]?.isNumber === true ? 'is-number' : ''
  table.hidden = rows.length === 0
  while (body.rows.length > rows.length) body.deleteRow(-1)
  for (const [at, cells] of rows.entries()) {
    const row = body.rows[at] ?? body.insertRow()
    for (const [column, { text, isNumber, isName, isWarn }] of cells.entries()) {
      const cell = row.cells[column] ?? row.insertCell()
      cell.className = [isNumber === true ? 'is-number' : '', isName === true ? 'is-name' : '', isWarn === true ? 'is-warn' : ''].filter((name) => name !== '').join(' ')
      write(cell, text)
    }
  }
}
