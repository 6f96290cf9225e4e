// The cluster of one: a process by itself, with the embedded log. Everything is here, so nothing is kept and nothing is
// sent; frames and what is told go straight to those who listen.

import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'
import type { Clock } from '../base/clock.ts'
import type { Cluster, ClusterEvents, InstanceView, SelfPortrait } from './cluster.ts'

export interface LocalClusterOptions {
  readonly clock: Clock
  readonly version: string
  readonly self: SelfPortrait
}

export function createLocalCluster (options: LocalClusterOptions): Cluster {
  return new LocalCluster(options)
}

class LocalCluster implements Cluster {
  readonly name = 'cluster'
  readonly id = randomBytes(8).toString('hex')
  readonly size = 1
  readonly #options: LocalClusterOptions
  readonly #startedAt: number
  #listeners: ClusterEvents[] = []

  constructor (options: LocalClusterOptions) {
    this.#options = options
    this.#startedAt = options.clock.now()
  }

  async start (): Promise<void> {}
  async stop (): Promise<void> {}
  listen (events: ClusterEvents): void { this.#listeners.push(events) }
  note (): void {}
  elsewhere (): number { return 0 }
  async askViewers (rooms: readonly string[]): Promise<readonly number[]> { return rooms.map(() => 0) }
  noteUser (): void {}

  toUser (user: string, bytes: Uint8Array): void {
    for (const listener of this.#listeners) listener.toUser?.(user, bytes)
  }

  tell (name: string, value: unknown): void {
    for (const listener of this.#listeners) listener.told?.(name, value)
  }

  async instances (): Promise<readonly InstanceView[]> {
    return [{ id: this.id, host: hostname(), pid: process.pid, startedAt: this.#startedAt, version: this.#options.version, ...this.#options.self(), isSelf: true, silentMs: 0 }]
  }
}
