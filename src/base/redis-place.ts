// Where Redis is, read from REDIS_URL:
//
//   redis://[user:password@]host[:port][/db]                     one server
//   redis+sentinel://[user:password@]host:port,host:port/name    the master that Sentinels call `name`; ?db=1
//   redis+cluster://[user:password@]host:port,host:port          a Cluster, by some of its nodes
//
// `rediss` instead of `redis` speaks TLS. After `?`: `ca=FILE` trusts the certificates in a PEM file, `servername=NAME` is
// what certificates must say instead of the host, `sentinel_user` and `sentinel_password` are for Sentinels that ask.
// Errors never repeat the address: it may hold a password.

import { readFileSync } from 'node:fs'

export interface RedisAddress { readonly host: string, readonly port: number }

export interface RedisPlace {
  readonly kind: 'single' | 'sentinel' | 'cluster'
  readonly addresses: readonly RedisAddress[]
  /** What the Sentinels call the master. */
  readonly name: string
  readonly username: string | null
  readonly password: string | null
  readonly sentinelUsername: string | null
  readonly sentinelPassword: string | null
  readonly db: number
  readonly tls: { readonly ca: string | null, readonly servername: string | null } | null
}

const FORM = /^(rediss?)(?:\+(sentinel|cluster))?:\/\/(?:([^@/?#]*)@)?([^/?#@]+)(?:\/([^?#]*))?(?:\?([^#]*))?$/
const PARAMETERS = ['db', 'ca', 'servername', 'sentinel_user', 'sentinel_password']
const DB_MAX = 1_000_000

/** Reads REDIS_URL. Throws Error with a sentence that holds no part of the text. */
export function parseRedisUrl (text: string): RedisPlace {
  const [, scheme, kind = 'single', user, hosts = '', path = '', query = ''] = FORM.exec(text) ?? []
  if (scheme === undefined) throw new Error('must look like redis://host:port, redis+sentinel://host:port,…/name or redis+cluster://host:port,… (rediss for TLS)')
  const parameters = new URLSearchParams(query)
  if ([...parameters.keys()].some((key) => !PARAMETERS.includes(key))) throw new Error(`knows the parameters ${PARAMETERS.join(', ')} only`)
  const addresses = hosts.split(',').map((host) => address(host, kind === 'sentinel' ? 26_379 : 6379))
  if (kind === 'single' && addresses.length > 1) throw new Error('names several hosts: then it begins with redis+sentinel or redis+cluster')
  if (kind === 'sentinel' && path === '') throw new Error('must end with the name that the Sentinels give the master, as in /main')
  if (kind === 'cluster' && path !== '') throw new Error('must end behind the hosts: a Cluster has one database')
  const db = kind === 'single' && path !== '' ? path : parameters.get('db') ?? '0'
  if (!/^\d+$/.test(db) || Number(db) > DB_MAX || (kind === 'cluster' && db !== '0')) throw new Error('names a database that cannot be')
  const [username, password] = credentials(user)
  return {
    kind: kind as RedisPlace['kind'], addresses, name: kind === 'sentinel' ? unescaped(path) : '', username, password,
    sentinelUsername: parameters.get('sentinel_user'), sentinelPassword: parameters.get('sentinel_password'), db: Number(db),
    tls: scheme === 'rediss' ? { ca: certificates(parameters.get('ca')), servername: parameters.get('servername') } : null
  }
}

function address (text: string, otherwise: number): RedisAddress {
  const [, bracketed, plain, port] = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]\s]+))(?::(\d{1,5}))?$/.exec(text) ?? []
  const host = bracketed ?? plain
  const number = port === undefined ? otherwise : Number(port)
  if (host === undefined || number < 1 || number > 65_535) throw new Error('names a host that is not host or host:port')
  return { host, port: number }
}

function credentials (text: string | undefined): [string | null, string | null] {
  if (text === undefined || text === '') return [null, null]
  const colon = text.indexOf(':')
  const user = unescaped(colon < 0 ? text : text.slice(0, colon))
  return [user === '' ? null : user, colon < 0 ? null : unescaped(text.slice(colon + 1))]
}

function unescaped (text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw new Error('has a % that is not an escape')
  }
}

function certificates (file: string | null): string | null {
  if (file === null) return null
  try {
    return readFileSync(file, 'utf8')
  } catch {
    throw new Error('names a file of certificates (ca) that cannot be read')
  }
}
