// What an operator has every instance do, wherever the order was given: close connections, send viewers away. An order goes
// over the bus of the cluster: carried out here in the same call, elsewhere best effort within milliseconds. Must not know
// sockets or HTTP; what an order means is handed in. What comes over the bus is looked at before it is believed.

import type { Cluster } from './cluster.ts'

/** Whose connections are closed: by user, by session, or by address as `GET /v1/connections` shows it. */
export type KickTarget = { readonly user: string } | { readonly session: string } | { readonly address: string }

/** What carries orders out on this instance. Neither may throw or wait. */
export interface Doers {
  /** Closes them for good; answers how many there were. */
  kick (target: KickTarget, reason: string): number
  /** Fails readiness, takes no more viewers and sends away those it has, at its pace. The process stays. */
  drain (): void
}

const KICK = 'kick'
const DRAIN = 'drain'

export class Orders {
  readonly #cluster: Pick<Cluster, 'id' | 'tell' | 'listen'>
  readonly #doers: Doers
  #kicked = 0

  constructor (cluster: Pick<Cluster, 'id' | 'tell' | 'listen'>, doers: Doers) {
    this.#cluster = cluster
    this.#doers = doers
    cluster.listen({ told: (name, value) => this.#heard(name, value) })
  }

  /** Has the connections closed on every instance. Answers how many there were here. */
  kick (target: KickTarget, reason: string): number {
    this.#kicked = 0
    this.#cluster.tell(KICK, { target, reason })
    return this.#kicked
  }

  /** Has the instance of that id drain. */
  drain (id: string): void {
    this.#cluster.tell(DRAIN, id)
  }

  #heard (name: string, value: unknown): void {
    if (name === DRAIN && value === this.#cluster.id) this.#doers.drain()
    if (name !== KICK) return
    const { target, reason } = (value ?? {}) as { target?: unknown, reason?: unknown }
    const whom = targetOf(target)
    if (whom !== null && typeof reason === 'string') this.#kicked += this.#doers.kick(whom, reason)
  }
}

function targetOf (value: unknown): KickTarget | null {
  const [entry, ...others] = Object.entries((value ?? {}) as Record<string, unknown>)
  if (entry === undefined || others.length > 0 || typeof entry[1] !== 'string') return null
  return ['user', 'session', 'address'].includes(entry[0]) ? { [entry[0]]: entry[1] } as unknown as KickTarget : null
}
