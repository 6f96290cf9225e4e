// There is no archive here: every question gets the reason.

import { AppError } from '../base/errors.ts'
import type { Archive } from './archive.ts'

export function createNoArchive (reason: string): Archive {
  const refuse = async (): Promise<never> => { throw new AppError('unavailable', reason) }
  return {
    start () {},
    verdict: { state: 'none', reason },
    query: refuse,
    async * stream () { await refuse() },
    insert: refuse,
    command: refuse,
    async close () {}
  }
}
