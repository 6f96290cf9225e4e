// Exemplars: beside a bucket of a histogram the last traced value that fell into it, so that a slow one leads to its trace.
// Prometheus reads them in OpenMetrics alone, so a text with exemplars is written as whoever asks wants it. Our own, as the
// library would rename counters for good when it once wrote OpenMetrics. Must not know what is counted.
//
//   uproar_accept_seconds_bucket{le="0.005"} 17 # {trace_id="4bf9…"} 0.0031 1764000000.123

const EXEMPLAR = / # \{trace_id="[0-9a-f]+"\} \S+ \S+$/gm
const COUNTER = /^# HELP (\S+)_total (.*)\n# TYPE \1_total counter$/gm
const BUCKET = /^(\w+)_bucket\{le="([^"]+)"\} \S+$/gm

export const OPEN_METRICS = 'application/openmetrics-text; version=1.0.0; charset=utf-8'

export interface Exemplar {
  readonly trace: string
  readonly seconds: number
  /** Unix milliseconds. */
  readonly at: number
}

/** The text with what `find` has for a bucket, by the histogram's name and the bucket's bound. */
export function withExemplars (text: string, find: (name: string, bound: string) => Exemplar | undefined): string {
  return text.replace(BUCKET, (line, name: string, bound: string) => {
    const found = find(name, bound)
    return found === undefined ? line : `${line} # {trace_id="${found.trace}"} ${found.seconds} ${(found.at / 1000).toFixed(3)}`
  })
}

/** The text in Prometheus' own format, which knows no exemplars. */
export function withoutExemplars (text: string): string {
  return text.replace(EXEMPLAR, '')
}

/**
 * The text as OpenMetrics: a counter's family is named without its `_total`, no line is empty, and the end is said. Where a
 * gauge has that name already (`uproar_connections`) the counter keeps its own, and is of no type: that is allowed.
 */
export function openMetricsOf (text: string): string {
  const names = new Set(Array.from(text.matchAll(/^# TYPE (\S+)/gm), ([, name]) => name))
  const named = text.replace(COUNTER, (_, name: string, help: string) => {
    const [family, type] = names.has(name) ? [`${name}_total`, 'unknown'] : [name, 'counter']
    return `# HELP ${family} ${help}\n# TYPE ${family} ${type}`
  })
  return `${named.replace(/\n{2,}/g, '\n').trim()}\n# EOF\n`
}
