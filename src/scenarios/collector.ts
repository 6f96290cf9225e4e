// A small collector of traces (OTLP over HTTP, JSON) for the stories: keeps every span that it is sent, and ends with the test.

import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface CollectedSpan {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId?: string
  readonly name: string
  /** `service.instance.id` of who sent it. */
  readonly instance: string
}

export interface Collector {
  readonly url: string
  readonly spans: readonly CollectedSpan[]
  /** Goes away before its time. */
  close (): void
}

export async function startCollector (scope: { teardown (end: () => unknown): void }): Promise<Collector> {
  const spans: CollectedSpan[] = []
  const server = createServer((request, response) => {
    let text = ''
    request.on('data', (chunk: Buffer) => { text += chunk.toString() }).on('end', () => {
      for (const { resource, scopeSpans } of JSON.parse(text).resourceSpans) {
        const instance = resource.attributes.find(({ key }: { key: string }) => key === 'service.instance.id')?.value.stringValue
        for (const each of scopeSpans) spans.push(...each.spans.map((span: object) => ({ ...span, instance })))
      }
      response.end('{}')
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const close = (): void => {
    server.closeAllConnections()
    server.close()
  }
  scope.teardown(close)
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, spans, close }
}
