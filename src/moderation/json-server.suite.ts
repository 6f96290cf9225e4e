// A program elsewhere for the tests of scorer and hook: an HTTP server that answers JSON as the test says, late, wrongly or
// not at all, and keeps what it was asked.

import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface JsonServer {
  readonly url: string
  readonly asked: { readonly body: Record<string, any>, readonly authorization: string | undefined }[]
  /** Makes the answer: a value for JSON, a text as it is, a number as the status, or nothing at all (null). */
  answer: (body: Record<string, any>) => unknown
}

export async function jsonServer (scope: { teardown (end: () => unknown): void }): Promise<JsonServer> {
  const state: JsonServer = { url: '', asked: [], answer: () => 500 }
  const server = createServer(async (request, response) => {
    let text = ''
    for await (const chunk of request) text += chunk
    const body = JSON.parse(text)
    state.asked.push({ body, authorization: request.headers.authorization })
    const answer = await state.answer(body)
    if (answer === null) return
    if (typeof answer === 'number') response.writeHead(answer).end()
    else response.writeHead(200, { 'content-type': 'application/json' }).end(typeof answer === 'string' ? answer : JSON.stringify(answer))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  scope.teardown(() => {
    server.closeAllConnections()
    return new Promise((resolve) => server.close(resolve))
  })
  return Object.assign(state, { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/` })
}
