// What the server tells its pages (GET /v1/config): where the socket is, whether it makes tokens, its limits.

const CONFIG_MS = 10_000
const CONFIG_RETRY_MS = 3000

/** The answer of GET /v1/config. */
export interface PageConfig {
  readonly wsUrl: string | null
  readonly wsPort: number
  readonly devTokens: boolean
  readonly limits?: { readonly textCharacters?: unknown }
}

/** Where the socket is. */
export function socketUrl (config: PageConfig): string {
  if (config.wsUrl !== null) return config.wsUrl
  return `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.hostname}:${config.wsPort}/ws`
}

/** A server that is just starting answers a moment later: the page waits for it rather than staying dead. */
export async function loadConfig (): Promise<PageConfig> {
  for (;;) {
    try {
      const response = await fetch('/v1/config', { signal: AbortSignal.timeout(CONFIG_MS) })
      if (response.ok) return await response.json() as PageConfig
    } catch {
      // Not reachable: tried again below.
    }
    await new Promise((resolve) => setTimeout(resolve, CONFIG_RETRY_MS))
  }
}
