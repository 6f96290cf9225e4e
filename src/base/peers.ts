// Whose connection it is: the client's address, seen through trusted proxies only; and what an address of ours means.

import { BlockList, isIP } from 'node:net'

/** A connection as operators see it. */
export interface ConnectionInfo {
  readonly session: string
  readonly user: string | null
  readonly address: string
  /** Unix milliseconds. */
  readonly since: number
  readonly rooms: readonly string[]
  readonly bufferedBytes: number
}

/** Addresses and CIDR ranges whose X-Forwarded-For is believed. */
export class TrustedProxies {
  readonly #list = new BlockList()
  readonly #isEmpty: boolean

  /** Throws an Error that names the entry which is neither an address nor a range. */
  constructor (entries: readonly string[]) {
    this.#isEmpty = entries.length === 0
    for (const entry of entries) {
      const [, address = '', bits] = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(entry) ?? []
      const family = isIP(address)
      const length = bits === undefined ? null : Number(bits)
      if (family === 0 || (length !== null && length > (family === 4 ? 32 : 128))) {
        throw new Error(`${JSON.stringify(entry)} is neither an address nor a CIDR range`)
      }
      const kind = family === 4 ? 'ipv4' : 'ipv6'
      if (length === null) this.#list.addAddress(address, kind)
      else this.#list.addSubnet(address, length, kind)
    }
  }

  /** The nearest address in the chain that is not a trusted proxy's; the peer itself when it is not one. */
  clientAddress (peer: string, forwardedFor: string): string {
    let address = plainAddress(peer)
    if (this.#isEmpty || forwardedFor === '') return address
    const hops = forwardedFor.split(',')
    while (this.trusts(address)) {
      const hop = hops.pop()?.trim()
      if (hop === undefined || isIP(hop) === 0) break
      address = plainAddress(hop)
    }
    return address
  }

  /** Whether this is a trusted proxy's address: many share it. Takes what plainAddress gives. */
  trusts (address: string): boolean {
    if (this.#isEmpty) return false
    const family = isIP(address)
    return family !== 0 && this.#list.check(address, family === 4 ? 'ipv4' : 'ipv6')
  }
}

/** What limits count by: an address, of IPv6 its first 64 bits (a household has that many). Takes what plainAddress gives. */
export function addressRange (address: string): string {
  if (isIP(address) !== 6) return address
  const [start = '', end = ''] = address.split('::')
  const groups = (text: string): string[] => text === '' ? [] : text.split(':')
  const zeros = address.includes('::') ? Array<string>(8 - groups(start).length - groups(end).length).fill('0') : []
  return `${[...groups(start), ...zeros, ...groups(end)].slice(0, 4).join(':')}::/64`
}

/** Whether a listener bound to this host is reached from its own machine only. */
export function isLoopback (host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host)
}

/** The host for an address that a browser on this machine can open: wildcards stand for every address. */
export function reachableHost (host: string): string {
  if (host === '0.0.0.0' || host === '::') return '127.0.0.1'
  return isIP(host) === 6 ? `[${host}]` : host
}

/** One form for one address: IPv4 never in its IPv6 clothes, IPv6 without needless zeros and without its zone. */
export function plainAddress (address: string): string {
  if (isIP(address) !== 6) return address
  const mapped = /^(?:0000:){5}ffff:([0-9a-f]{2})([0-9a-f]{2}):([0-9a-f]{2})([0-9a-f]{2})$/i.exec(address)
  if (mapped !== null) return mapped.slice(1).map((byte) => parseInt(byte, 16)).join('.')
  if (address.startsWith('::ffff:') && isIP(address.slice(7)) === 4) return address.slice(7)
  return new URL(`http://[${address.replace(/%.*$/, '')}]`).hostname.slice(1, -1)
}
