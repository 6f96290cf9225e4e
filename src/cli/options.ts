// Options as values: whole numbers within bounds, refused by name.

import type { Call } from './cli.ts'
import { CliFault } from './server.ts'

export function wholeOption (options: Call['options'], name: string, { otherwise, min = 1, max }: { otherwise: number, min?: number, max: number }): number {
  const text = options[name]
  if (text === undefined) return otherwise
  const value = typeof text === 'string' && /^\d{1,9}$/.test(text) ? Number(text) : NaN
  if (!(value >= min && value <= max)) throw new CliFault(`--${name} must be a whole number from ${min} to ${max}`, { isUsage: true })
  return value
}
