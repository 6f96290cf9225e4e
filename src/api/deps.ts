// What the HTTP side asks of the rest of the server; the app passes its parts. Types only, and the marks that requests
// carry from hook to handler.

import type { Logger } from 'pino'
import type { Identity, Revoked } from '../auth/auth.ts'
import type { Authenticator } from '../auth/authenticator.ts'
import type { Clock } from '../base/clock.ts'
import type { Config } from '../base/config.ts'
import type { Refusal } from '../base/errors.ts'
import type { Metrics } from '../base/metrics.ts'
import type { ConnectionInfo } from '../base/peers.ts'
import type { Cluster } from '../cluster/cluster.ts'
import type { Orders } from '../cluster/orders.ts'
import type { Ingest, Moderator } from '../ingest/ingest.ts'
import type { Library } from '../library/library.ts'
import type { Revocations } from '../revocation/revocation.ts'
import type { Rights } from '../rights/rights.ts'
import type { Rooms } from '../rooms/rooms.ts'

/** A part of the server that is kept somewhere: what serves it. */
export interface Engine {
  readonly part: 'log' | 'feed' | 'archive'
  /** `embedded`, or the name of the engine; `none` where the server has no such part. */
  readonly engine: string
  /** What keeps it from serving now; null: nothing that is known of here. */
  readonly fault: string | null
}

export interface Readiness {
  readonly ready: boolean
  readonly checks: Readonly<Record<string, string>>
}

export interface ApiDeps {
  readonly config: Config
  readonly log: Logger
  readonly clock: Clock
  readonly metrics: Metrics
  readonly authenticator: Pick<Authenticator, 'verify' | 'serverKey' | 'devTokens'>
  readonly rooms: Pick<Rooms, 'open' | 'find' | 'describe' | 'configure' | 'remove' | 'list' | 'mostWatched'>
  readonly ingest: Pick<Ingest, 'accept'>
  readonly moderator: Pick<Moderator, 'act' | 'held' | 'standing' | 'person' | 'terms' | 'audit' | 'auditAll'>
  readonly library: Pick<Library, 'search' | 'searchAll' | 'writtenBy' | 'replay' | 'statistics' | 'exported'>
  /** WebSocket connections of this process. */
  readonly connections: (query: { limit: number, user?: string, room?: string }) => readonly ConnectionInfo[]
  readonly cluster: Pick<Cluster, 'instances'>
  readonly orders: Pick<Orders, 'kick' | 'drain'>
  readonly version: string
  /** What this server stands on, for its status page. */
  readonly engines: () => readonly Engine[]
  readonly rights: Pick<Rights, 'erase' | 'job' | 'export'>
  readonly revocations: Revoked & Pick<Revocations, 'revoke' | 'restore' | 'list'>
  /** Other processes listen on the same port, and the kernel deals connections among them. */
  readonly sharesPort: boolean
  /** A port on loopback that is this process's alone, for the same requests; 0: none. */
  readonly ownPort: number
  readonly ready: () => Promise<Readiness>
  /** What `/metrics` serves, of all who share the port; by default this process's. */
  readonly numbers?: () => Promise<string>
  /** The port that the gateway listens on; asked at each request. */
  readonly wsPort: () => number
  /** Folder of the built pages (dist/web). */
  readonly assetsDir: string
}

/** Who asks. `isServer`: with a server key, which may act for others. */
export interface Caller {
  readonly identity: Identity | null
  readonly isServer: boolean
}

/**
 * Who may call a route. `open`: no token is looked at. `read`: anybody, but a token that is given must be valid.
 * `user`: a token or server key is required. `admin`: one with the role admin.
 */
export type Access = 'open' | 'read' | 'user' | 'admin'

declare module 'fastify' {
  interface FastifyContextConfig {
    access?: Access
    /** A stream of events: takes `?token=`, and its origin is checked as for a change. */
    isStream?: boolean
    /** Not counted against the address's requests. */
    isUncounted?: boolean
    /** Everything it waits for has a deadline of its own: it needs none for the whole. */
    isBounded?: boolean
  }
  interface FastifyRequest {
    caller: Caller
    /** The client's address, seen through trusted proxies only. */
    address: string
    /** Whether it came by a trusted proxy. */
    isProxied: boolean
  }
  interface FastifyReply { refusal: Refusal | null }
}
