// `uproar doctor`: looks at everything that keeps a server from serving, and says of each what to do. Changes nothing. The
// checks are in `-checks.ts` files by what they look at; each has a deadline, and one that fails itself is a finding too.

import { loadConfig, ConfigError, type Config } from '../base/config.ts'
import type { Call } from './cli.ts'
import { harmless } from './columns.ts'
import { engineChecks } from './engine-checks.ts'
import { machineChecks } from './machine-checks.ts'
import { CliFault } from './server.ts'
import { settingChecks } from './setting-checks.ts'

export type Level = 'ok' | 'warn' | 'fail'

export interface Finding {
  readonly level: Level
  /** What was looked at, in a word or two. */
  readonly about: string
  readonly says: string
  /** What to do; of a finding that is not ok. */
  readonly remedy?: string
}

export interface Patient {
  readonly config: Config
  readonly env: Call['env']
  /** Whose limits count: a process id, or `self`. */
  readonly pid: string
}

export type Check = (patient: Patient) => Promise<readonly Finding[]> | readonly Finding[]

const CHECK_MS_MAX = 20_000
const COLOURS: Readonly<Record<Level, string>> = { ok: '32', warn: '33', fail: '31' }

export async function doctor ({ words, options, env, out }: Call): Promise<number> {
  const pid = options['pid'] ?? 'self'
  if (words.length > 0 || typeof pid !== 'string' || !/^(self|\d{1,9})$/.test(pid)) throw new CliFault('it takes no words, and --pid a number', { isUsage: true })
  const { config, findings } = settingsOf(env)
  const all = [...findings]
  const show = (finding: Finding): void => {
    if (options['json'] !== true) out.print(lineOf(finding, out.isTty && env.NO_COLOR === undefined))
  }
  all.forEach(show)
  for (const check of [...settingChecks, ...machineChecks, ...engineChecks]) {
    const found = await inTime(check, { config, env, pid })
    all.push(...found)
    found.forEach(show)
  }
  const count = (level: Level): number => all.filter((finding) => finding.level === level).length
  if (options['json'] === true) out.print(`${JSON.stringify({ findings: all })}\n`)
  else out.print(`\n${count('ok')} ok, ${count('warn')} to think about, ${count('fail')} to mend\n`)
  return count('fail') > 0 ? 1 : 0
}

/** The settings, and what is wrong with them; where they cannot be used the rest is looked at with the defaults. */
function settingsOf (env: Call['env']): { config: Config, findings: Finding[] } {
  try {
    return { config: loadConfig(env), findings: [{ level: 'ok', about: 'settings', says: 'every one can be used' }] }
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return { config: loadConfig({}), findings: error.faults.map((fault) => ({ level: 'fail', about: 'settings', says: fault, remedy: 'the server does not start; what follows was looked at with the defaults' })) }
  }
}

async function inTime (check: Check, patient: Patient): Promise<readonly Finding[]> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<readonly Finding[]>((resolve) => { timer = setTimeout(resolve, CHECK_MS_MAX, [{ level: 'fail', about: 'doctor', says: `a check took more than ${CHECK_MS_MAX / 1000} s`, remedy: 'what it asked does not answer' }]) })
  try {
    return await Promise.race([check(patient), late])
  } catch (error) {
    return [{ level: 'fail', about: 'doctor', says: `a check failed: ${(error as Error).message}`, remedy: 'this is a fault of the doctor; please tell its makers' }]
  } finally {
    clearTimeout(timer)
  }
}

function lineOf ({ level, about, says, remedy }: Finding, inColour: boolean): string {
  const word = inColour ? `\x1b[${COLOURS[level]}m${level.padEnd(4)}\x1b[0m` : level.padEnd(4)
  return `${word}  ${about.padEnd(12)}  ${harmless(says)}\n${remedy === undefined ? '' : `${' '.repeat(20)}→ ${harmless(remedy)}\n`}`
}
