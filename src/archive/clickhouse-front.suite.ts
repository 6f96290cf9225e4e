// ClickHouse's HTTP interface over chDB, for tests: queries in the address or the body, parameters, data, formats, the
// user and password, its errors. And on purpose: failing, being slow, not answering, doing the write and then cutting
// the connection. No ClickHouse of its own is to be had where the tests run (Debian's is of 2018).
// Bound: CONNECTIONS statements at once.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createChdbConnection, type ChdbConnection } from 'chdb/connection'

/** What is to happen to a request. */
export type Mishap =
  | 'none'
  /** 500 as ClickHouse says it, and nothing is done. */
  | 'fails'
  /** 500 of something in between, and nothing is done. */
  | 'gateway'
  /** The statement is carried out, then the connection is cut instead of an answer. */
  | 'cutAfter'
  /** The connection is cut, and nothing is done. */
  | 'cutBefore'
  /** No answer, ever. */
  | 'silent'
  /** The answer is cut in its middle. */
  | 'cutMiddle'

const CONNECTIONS = 4
const CODE = /Code: (\d+)/

export class ClickHouseFront {
  readonly #server: Server
  readonly #free: ChdbConnection[]
  readonly #waiting: ((connection: ChdbConnection) => void)[] = []
  readonly user = 'archivist'
  readonly password = 'pass:word/ü'
  /** Asked about every statement. */
  mishap: (sql: string) => Mishap = () => 'none'
  /** Statements that came, without their data. */
  readonly statements: string[] = []

  private constructor (directory: string) {
    this.#free = Array.from({ length: CONNECTIONS }, () => createChdbConnection({ path: directory }))
    this.#server = createServer((request, response) => {
      this.#answer(request, response).catch((error: unknown) => response.destroy(error as Error))
    })
    this.#server.keepAliveTimeout = 3000
  }

  static async start (directory: string): Promise<ClickHouseFront> {
    const front = new ClickHouseFront(directory)
    await front.listen(0)
    return front
  }

  get port (): number { return (this.#server.address() as AddressInfo).port }
  get url (): string { return `http://127.0.0.1:${this.port}` }

  /** Back at a port where it was before. */
  listen (port: number): Promise<void> {
    return new Promise((resolve) => this.#server.listen(port, '127.0.0.1', () => resolve()))
  }

  /** Away: the port is closed, connections are cut. */
  async leave (): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  async stop (): Promise<void> {
    await this.leave()
    await Promise.all(this.#free.map((connection) => connection.close()))
  }

  async #answer (request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url as string, 'http://front')
    const body = Buffer.concat(await request.toArray() as Buffer[]).toString()
    const inAddress = url.searchParams.get('query')
    const sql = inAddress ?? body
    this.statements.push(sql)
    const mishap = this.mishap(sql)
    if (mishap === 'silent') return
    if (mishap === 'cutBefore') return void response.destroy()
    if (mishap === 'gateway') return void response.writeHead(502).end('<html>bad gateway</html>')
    if (mishap === 'fails') return refuse(response, 'Code: 242. DB::Exception: Table is in readonly mode. (TABLE_IS_READ_ONLY)')
    if (request.headers.authorization !== `Basic ${Buffer.from(`${this.user}:${this.password}`).toString('base64')}`) return refuse(response, 'Code: 516. DB::Exception: Authentication failed. (AUTHENTICATION_FAILED)', 403)
    try {
      const bytes = await this.#run(url.searchParams, inAddress === null ? sql : `${sql}\n${body}`)
      if (mishap === 'cutAfter') return void response.destroy()
      response.writeHead(200, { 'x-clickhouse-query-id': url.searchParams.get('query_id') ?? '', 'x-clickhouse-summary': '{}' })
      if (mishap === 'cutMiddle') response.write(bytes.subarray(0, bytes.length >> 1), () => response.destroy())
      else response.end(bytes)
    } catch (error) {
      const fault = error as { message: string, cause?: { message?: string } }
      refuse(response, CODE.test(fault.message) ? fault.message : fault.cause?.message ?? fault.message)
    }
  }

  async #run (params: URLSearchParams, sql: string): Promise<Buffer> {
    const connection = this.#free.pop() ?? await new Promise<ChdbConnection>((resolve) => this.#waiting.push(resolve))
    try {
      const given = [...params].filter(([name]) => name.startsWith('param_')).map(([name, value]) => `SET ${name} = ${literal(value)}; `)
      const { stream } = await connection.exec({ query: `USE ${params.get('database') ?? 'default'}; ${given.join('')}${sql}` })
      return Buffer.concat(await stream.toArray() as Buffer[])
    } finally {
      const next = this.#waiting.shift()
      if (next === undefined) this.#free.push(connection)
      else next(connection)
    }
  }
}

function literal (value: string): string {
  return `'${value.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`
}

function refuse (response: ServerResponse, message: string, status = 500): void {
  response.writeHead(status, { 'x-clickhouse-exception-code': CODE.exec(message)?.[1] ?? '0' }).end(`${message} (version 26.7.2.1)\n`)
}
