// Rows of text as columns for a terminal. What comes from users is made harmless: no control character reaches the terminal.

/** Lines with the heads above, each column as wide as its widest cell; numbers stand to the right. */
export function columns (heads: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const cells = [heads, ...rows.map((row) => row.map((cell) => typeof cell === 'number' ? cell.toLocaleString('en-GB') : harmless(cell)))]
  const widths = heads.map((_, at) => Math.max(...cells.map((row) => row[at]?.length ?? 0)))
  const isNumber = heads.map((_, at) => rows.length > 0 && rows.every((row) => typeof row[at] === 'number'))
  return cells.map((row) => row.map((cell, at) => isNumber[at] === true ? cell.padStart(widths[at] as number) : cell.padEnd(widths[at] as number)).join('  ').trimEnd()).map((line) => `${line}\n`).join('')
}

export function harmless (text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '\ufffd')
}

/** A span of time in its largest unit or two. */
export function span (ms: number): string {
  const s = Math.max(0, Math.round(ms / 1000))
  if (s < 60) return `${s} s`
  if (s < 3600) return `${Math.floor(s / 60)} min`
  if (s < 86_400) return `${Math.floor(s / 3600)} h ${Math.floor(s % 3600 / 60)} min`
  return `${Math.floor(s / 86_400)} d ${Math.floor(s % 86_400 / 3600)} h`
}
