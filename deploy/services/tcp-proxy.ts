// A bad network for tests: a TCP proxy on the loopback that cuts connections, swallows what the server answers, or passes
// nothing on while everything stays open. Its target may change, as an address does at a failover.

import { connect, createServer, type Server, type Socket } from 'node:net'
import type { AddressInfo } from 'node:net'
import type { Scope } from './redis.ts'

/** `pass`; `deaf`: requests arrive, answers are lost; `hole`: nothing arrives either way; `refuse`: connections end at once. */
export type ProxyMode = 'pass' | 'deaf' | 'hole' | 'refuse'

interface Pair { readonly near: Socket, readonly far: Socket }

export class TcpProxy {
  target: number
  #mode: ProxyMode = 'pass'
  readonly #server: Server
  readonly #pairs = new Set<Pair>()

  /** Listens on a free port and passes on to `target`, another port; ends with the scope. */
  static async start (scope: Scope, target: number): Promise<TcpProxy> {
    const proxy = new TcpProxy(target)
    await new Promise<void>((resolve) => proxy.#server.listen(0, '127.0.0.1', resolve))
    scope.teardown(() => proxy.stop())
    return proxy
  }

  constructor (target: number) {
    this.target = target
    this.#server = createServer((near) => this.#accept(near))
  }

  get port (): number { return (this.#server.address() as AddressInfo).port }

  /** Bytes that were held back by `hole` stay lost: a connection that went through it is good for nothing. */
  set mode (mode: ProxyMode) {
    this.#mode = mode
  }

  /** Ends every connection there is. */
  cut (): void {
    for (const { near, far } of this.#pairs) {
      near.destroy()
      far.destroy()
    }
  }

  async stop (): Promise<void> {
    this.cut()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  #accept (near: Socket): void {
    if (this.#mode === 'refuse') {
      near.destroy()
      return
    }
    const far = connect(this.target, '127.0.0.1')
    const pair = { near, far }
    this.#pairs.add(pair)
    near.on('data', (chunk: Buffer) => { if (this.#mode !== 'hole') far.write(chunk) })
    far.on('data', (chunk: Buffer) => { if (this.#mode === 'pass') near.write(chunk) })
    for (const [one, other] of [[near, far], [far, near]] as const) {
      one.on('error', () => {})
      one.on('close', () => {
        this.#pairs.delete(pair)
        other.destroy()
      })
    }
  }
}
