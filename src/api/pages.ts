// The built pages and the client, from memory: the folder is read once at start, so a path can only ever name a file
// that was there. And GET /v1/config, which tells a page where the socket is. Bound: FILES_MAX files, BYTES_MAX bytes.

import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join, relative, sep } from 'node:path'
import { promisify } from 'node:util'
import { brotliCompress, constants, gzip } from 'node:zlib'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { LIMITS } from '../../proto/values.ts'
import { Refusal } from '../base/errors.ts'
import { isLocal } from './addresses.ts'
import { refuse } from './answers.ts'
import type { ApiDeps } from './deps.ts'
import { answer, object, refusals, SECURITY } from './schemas.ts'

const FILES_MAX = 500
const BYTES_MAX = 32_000_000

const TYPES: Readonly<Record<string, string>> = {
  html: 'text/html; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  css: 'text/css; charset=utf-8',
  json: 'application/json; charset=utf-8',
  map: 'application/json; charset=utf-8',
  ts: 'text/plain; charset=utf-8',
  txt: 'text/plain; charset=utf-8',
  svg: 'image/svg+xml',
  png: 'image/png',
  ico: 'image/x-icon',
  webp: 'image/webp',
  woff2: 'font/woff2',
  webmanifest: 'application/manifest+json'
}

/** The last two qualities of brotli save a twentieth more, and take ten times as long: whoever asks first waits for it. */
const BROTLI = { params: { [constants.BROTLI_PARAM_QUALITY]: 9 } }
const PACKS = { br: (bytes: Buffer) => promisify(brotliCompress)(bytes, BROTLI), gzip: promisify<Buffer, Buffer>(gzip) } as const
const CODINGS = ['br', 'gzip'] as const

type Coding = keyof typeof PACKS

/** A file in memory, and what it was packed to. */
class Asset {
  readonly type: string
  readonly etag: string
  readonly bytes: Buffer
  readonly #isPackable: boolean
  readonly #packed = new Map<Coding, Promise<Buffer | null>>()

  constructor (name: string, bytes: Buffer) {
    this.type = TYPES[name.slice(name.lastIndexOf('.') + 1)] ?? 'application/octet-stream'
    this.etag = createHash('sha256').update(bytes).digest('base64url').slice(0, 22)
    this.bytes = bytes
    // Maps are large and for whoever looks into a page's code: they go as they are.
    this.#isPackable = /^(text|application|image\/svg)/.test(this.type) && bytes.length > 1024 && !name.endsWith('.map')
  }

  /** Packed when it is first asked for, and once; null where that saves nothing. */
  async packed (coding: Coding): Promise<Buffer | null> {
    if (!this.#isPackable) return null
    let packed = this.#packed.get(coding)
    if (packed === undefined) {
      packed = PACKS[coding](this.bytes).then((small) => small.length < this.bytes.length ? small : null)
      this.#packed.set(coding, packed)
      packed.catch(() => this.#packed.delete(coding))
    }
    return packed
  }
}

/** Reads the folder: path as in a URL → file. An absent folder gives an empty map. */
export async function loadAssets (folder: string): Promise<ReadonlyMap<string, Asset>> {
  const assets = new Map<string, Asset>()
  let total = 0
  for (const name of await filesIn(folder)) {
    const bytes = await readFile(join(folder, name))
    total += bytes.length
    if (assets.size === FILES_MAX || total > BYTES_MAX) throw new Error(`${folder} holds more than ${FILES_MAX} files or ${BYTES_MAX} bytes`)
    assets.set(`/${name.split(sep).join('/')}`, new Asset(name, bytes))
  }
  // A folder's page is at the folder's name, with and without a slash at its end.
  for (const [path, asset] of [...assets]) {
    if (!path.endsWith('/index.html')) continue
    const folder = path.slice(0, -'/index.html'.length)
    for (const name of [folder, `${folder}/`]) if (name !== '') assets.set(name, asset)
  }
  return assets
}

async function filesIn (folder: string): Promise<string[]> {
  try {
    const found = await readdir(folder, { recursive: true, withFileTypes: true })
    return found.filter((entry) => entry.isFile()).map((entry) => relative(folder, join(entry.parentPath, entry.name))).sort()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}

const CONFIG_SCHEMA = {
  tags: ['client'],
  operationId: 'clientConfig',
  summary: 'What a page needs to connect',
  security: SECURITY.none,
  response: {
    200: answer('Addresses and limits; no secrets.', object({
      wsUrl: { type: ['string', 'null'], description: 'address of the socket; null: same host, `wsPort`, path /ws' },
      wsPort: { type: 'integer' },
      devTokens: { type: 'boolean', description: 'whether POST /v1/dev/token answers this client' },
      limits: object({ textCharacters: { type: 'integer' }, historyEntries: { type: 'integer' }, roomsPerConnection: { type: 'integer' } })
    })),
    ...refusals('rate_limited', 'internal')
  }
}

type PageDeps = Pick<ApiDeps, 'config' | 'authenticator' | 'wsPort'>

export function pageRoutes (app: FastifyInstance, deps: PageDeps, assets: ReadonlyMap<string, Asset>, policy: string): void {
  const { config, authenticator } = deps

  app.get('/v1/config', { schema: CONFIG_SCHEMA }, async (request) => {
    return {
      wsUrl: config.wsPublicUrl,
      wsPort: deps.wsPort(),
      devTokens: authenticator.devTokens !== null && isLocal(request),
      limits: { textCharacters: config.textCharactersMax, historyEntries: LIMITS.historyEntries, roomsPerConnection: config.roomsPerConnectionMax }
    }
  })

  // Where one click bans somebody, or a key is typed, no other page may put its own picture over that.
  const unframed = policy.replace(/frame-ancestors [^;]*/, "frame-ancestors 'none'")

  app.get<{ Params: { '*': string } }>('/*', { schema: { hide: true } }, async (request, reply) => {
    const asset = assets.get(`/${request.params['*']}`)
    if (asset === undefined) return refuse(reply, new Refusal('not_found', assets.size === 0 ? 'the pages are not built: npm run build' : 'there is nothing at this path for this method'))
    return sendAsset(request, reply, asset, /^(moderate|status)(\/|$)/.test(request.params['*']) ? unframed : policy)
  })
}

async function sendAsset (request: FastifyRequest, reply: FastifyReply, asset: Asset, policy: string): Promise<FastifyReply> {
  const [coding, bytes] = await bestOf(asset, request.headers['accept-encoding'])
  const etag = `"${asset.etag}-${coding}"`
  reply.headers({ etag, 'cache-control': 'no-cache', 'content-security-policy': policy })
  reply.header('vary', [reply.getHeader('vary'), 'Accept-Encoding'].filter(Boolean).join(', '))
  if (listed(request.headers['if-none-match']).includes(etag)) return reply.code(304).send()
  if (coding !== 'identity') reply.header('content-encoding', coding)
  return reply.type(asset.type).send(bytes)
}

/** The smallest that the client takes, and how it is packed. */
async function bestOf (asset: Asset, accepted: string | string[] | undefined): Promise<[coding: string, bytes: Buffer]> {
  const wanted = listed(accepted)
  for (const coding of CODINGS) {
    const packed = wanted.includes(coding) ? await asset.packed(coding) : null
    if (packed !== null) return [coding, packed]
  }
  return ['identity', asset.bytes]
}

/** The parts of a list header. Split at commas alone: a pattern that takes the blanks too needs half a second for 16 KB of them. */
function listed (header: string | string[] | undefined): string[] {
  return String(header ?? '').split(',').map((part) => part.trim())
}
