// The machine that a bench runs on, and how much of it others took meanwhile: figures from a busy machine say so.

import { readFileSync } from 'node:fs'
import { cpus, totalmem } from 'node:os'

const TICKS_PER_SECOND = 100

export function machineText (): string {
  const cores = cpus()
  return `${(cores[0]?.model ?? 'unknown').trim()}, ${cores.length} cores, ${Math.round(totalmem() / 2 ** 30)} GB`
}

/** CPU seconds that a process and its threads have spent, user and system. */
export function cpuSecondsOf (pid: number): number {
  const fields = statOf(pid)
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND
}

/** Starts a count; the function it returns tells the share of the machine, 0 to 1, that programs not started here took since. */
export function countOthers (): () => number | null {
  if (process.platform !== 'linux') return () => null
  const before = { at: performance.now(), busy: busySeconds(), own: ownSeconds() }
  return () => {
    const others = busySeconds() - before.busy - (ownSeconds() - before.own)
    return Math.max(0, others / ((performance.now() - before.at) / 1000 * cpus().length))
  }
}

/** Of all cores: everything but idle and waiting for disks. */
function busySeconds (): number {
  const [user = 0, nice = 0, system = 0, , , irq = 0, softIrq = 0, stolen = 0] = (readFileSync('/proc/stat', 'utf8').split('\n')[0] ?? '').split(/\s+/).slice(1).map(Number)
  return (user + nice + system + irq + softIrq + stolen) / TICKS_PER_SECOND
}

/** Of this process and all its children that have ended. */
function ownSeconds (): number {
  return statOf(process.pid).slice(11, 15).reduce((total, ticks) => total + Number(ticks), 0) / TICKS_PER_SECOND
}

/** Fields of /proc/PID/stat behind the name. */
function statOf (pid: number): string[] {
  return readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /s, '').split(' ')
}
