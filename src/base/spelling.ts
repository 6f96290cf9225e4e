// Settings that were probably misspelt: names in the environment that are close to one of ours, but not one. A hint for
// the log, never a fault: the environment holds much that is not for us.

import { SETTINGS } from './config.ts'

const NAMES: ReadonlySet<string> = new Set(Object.values(SETTINGS).flatMap((setting) => 'secret' in setting ? [setting.env, `${setting.env}_FILE`] : [setting.env]))
const NAME_CHARACTERS_MAX = 64
/** Shorter names are close to too much that is not meant for us: HOME is two letters from HOST. */
const LONG = 8

export interface Slip { readonly name: string, readonly meant: string }

/** Names that are set and differ from a setting's by a letter or a swap, or by two letters where it is long. */
export function misspelt (env: Readonly<Record<string, string | undefined>>): Slip[] {
  return Object.keys(env).filter((name) => env[name] !== '' && name.length <= NAME_CHARACTERS_MAX && !NAMES.has(name)).flatMap((name) => {
    const meant = [...NAMES].find((known) => known.length >= LONG ? distance(name, known) <= 2 : distance(name, known) <= 1 || isSwapped(name, known))
    return meant === undefined ? [] : [{ name, meant }]
  })
}

/** Whether two neighbouring letters changed places, and nothing else. */
function isSwapped (a: string, b: string): boolean {
  const at = [...a].findIndex((letter, i) => letter !== b[i])
  return a.length === b.length && at >= 0 && a === `${b.slice(0, at)}${b[at + 1] ?? ''}${b[at]}${b.slice(at + 2)}`
}

/** Letters to insert, delete or replace; more than two of difference in length is not looked into. */
function distance (a: string, b: string): number {
  if (Math.abs(a.length - b.length) > 2) return Infinity
  let row = Array.from({ length: b.length + 1 }, (_, at) => at)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min((row[j] as number) + 1, (next[j - 1] as number) + 1, (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1)))
    }
    row = next
  }
  return row[b.length] as number
}
