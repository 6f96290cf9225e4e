// Start and stop as mirror images: parts start in the order they were added and stop in the reverse order, each with a
// deadline of its own cut from one for the whole. Stopping twice is harmless; a part that fails to start stops those
// before it.

import { StartFault } from './errors.ts'

export interface Part {
  readonly name: string
  start?(): Promise<void> | void
  /** Finishes what is under way and lets go. May be called without start having ended. */
  stop?(): Promise<void> | void
}

export class Lifecycle {
  #parts: Part[] = []
  #started: Part[] = []
  #stopping: Promise<string[]> | null = null

  add (part: Part): void {
    this.#parts.push(part)
  }

  /** Starts every part in order. When one fails, stops what was started and throws that failure. */
  async start (stopTimeoutMs: number): Promise<void> {
    for (const part of this.#parts) {
      // A signal during the start: what came after would never be stopped.
      if (this.#stopping !== null) throw new Error('stopped before everything had started')
      this.#started.push(part)
      try {
        await part.start?.()
      } catch (error) {
        await this.stop(stopTimeoutMs)
        if (error instanceof StartFault) throw error
        throw new Error(`${part.name} did not start: ${(error as Error).message}`, { cause: error })
      }
    }
  }

  /** Stops in reverse order; resolves with the names of the parts that failed or did not end in time. */
  stop (timeoutMs: number): Promise<string[]> {
    this.#stopping ??= this.#stop(timeoutMs)
    return this.#stopping
  }

  async #stop (timeoutMs: number): Promise<string[]> {
    const end = performance.now() + timeoutMs
    const late: string[] = []
    for (const part of this.#started.reverse()) {
      // Even when time is up every part gets a moment: closing a store cleanly matters more than a prompt exit.
      const left = Math.max(250, end - performance.now())
      try {
        if (!await within(left, part.stop?.())) late.push(`${part.name}: not stopped in ${Math.round(left)} ms`)
      } catch (error) {
        late.push(`${part.name}: ${(error as Error).message}`)
      }
    }
    return late
  }
}

async function within (ms: number, work: Promise<void> | void): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  const deadline = new Promise<boolean>((resolve) => { timer = setTimeout(resolve, ms, false) })
  try {
    return await Promise.race([Promise.resolve(work).then(() => true), deadline])
  } finally {
    clearTimeout(timer)
  }
}
