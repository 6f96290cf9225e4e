// The archive where there is none: every read is refused and says why. So nobody behind it asks whether there is one.

import { AppError } from '../base/errors.ts'
import type { Archive } from './archive.ts'

/** An archive that is not there, for this reason. */
export function noArchive (reason: string): Archive {
  const refuse = async (): Promise<never> => { throw new AppError('unavailable', reason, { retryAfterMs: 60_000 }) }
  return {
    verdict: { state: 'none', reason },
    async start () {},
    query: refuse,
    async * stream () { yield await refuse() },
    insert: refuse,
    command: refuse,
    async close () {}
  }
}
