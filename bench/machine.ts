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

const CHASE_BYTES = 8_388_608
const CHASE_STEPS = 500_000

/**
 * Nanoseconds that memory takes to answer: one read after the other in 8 MB of no order, which is what a server that
 * has just written to a thousand sockets meets. On a machine that is shared it tells how much of the last cache the
 * neighbours leave: 190 to 280 were seen on a day when everything took three times as long.
 */
export function memoryNs (): number {
  const next = new Int32Array(CHASE_BYTES / 4)
  const order = Int32Array.from(next, (_, index) => index)
  for (let left = order.length - 1; left > 0; left--) {
    const other = Math.floor(Math.random() * (left + 1))
    const moved = order[left] as number
    order[left] = order[other] as number
    order[other] = moved
  }
  for (let index = 0; index < order.length; index++) next[order[index] as number] = order[(index + 1) % order.length] as number
  let at = 0
  const chase = (steps: number): void => { for (let step = 0; step < steps; step++) at = next[at] as number }
  chase(CHASE_STEPS)
  const began = performance.now()
  chase(CHASE_STEPS)
  return (performance.now() - began) * 1e6 / CHASE_STEPS
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
