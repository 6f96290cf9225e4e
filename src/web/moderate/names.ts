// Names by user id, as far as they were seen: the audit log and sanctions know ids alone. Bound: the 2,000 seen last.

import type { Author } from '../client.ts'

const NAMES_MAX = 2000
const names = new Map<string, string>()

/** Somebody wrote, or waits. */
export function learnName ({ id, name }: Pick<Author, 'id' | 'name'>): void {
  names.delete(id)
  names.set(id, name)
  if (names.size > NAMES_MAX) names.delete(names.keys().next().value as string)
}

/** The name of a user; the id where none is known. */
export function nameOf (id: string): string {
  return names.get(id) ?? id
}
