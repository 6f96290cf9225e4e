// `npm run prove`: every story at its full size, one after the other, and at the end what each measured. Takes about
// half an hour on two cores. Name stories to run only those: `npm run prove -- slow crowd`.

import { spawn } from 'node:child_process'
import { join } from 'node:path'

const STORIES = [
  'real-log', 'kill9', 'slow', 'crowd', 'hostile', 'instances', 'in-flight', 'workers', 'drain', 'rolling', 'local-cluster', 'feed', 'archiver', 'archive', 'moderation', 'removal', 'rights', 'smooth', 'full-stack', 'dashboards'
] as const
const STORY_MS_MAX = 3_600_000

interface Outcome { readonly story: string, readonly passed: boolean, readonly seconds: number, readonly measured: readonly string[] }

async function prove (story: string): Promise<Outcome> {
  const started = performance.now()
  const child = spawn(process.execPath, [join(import.meta.dirname, `${story}.test.ts`)], { env: { ...process.env, PROVE: '1', TAP_TIMEOUT: String(STORY_MS_MAX / 1000) }, stdio: ['ignore', 'pipe', 'inherit'] })
  const timer = setTimeout(() => child.kill('SIGTERM'), STORY_MS_MAX)
  let text = ''
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk
    process.stdout.write(chunk)
  })
  const status = await new Promise<number | null>((resolve) => child.once('close', resolve))
  clearTimeout(timer)
  const measured = [...text.matchAll(/^\s*# measured: (.*)$/gm)].map((match) => match[1] as string)
  return { story, passed: status === 0, seconds: (performance.now() - started) / 1000, measured }
}

const wanted = process.argv.slice(2)
const unknown = wanted.filter((story) => !(STORIES as readonly string[]).includes(story))
if (unknown.length > 0) {
  process.stderr.write(`prove: there is no story ${unknown.join(', ')}; there are ${STORIES.join(', ')}\n`)
  process.exit(2)
}
const outcomes: Outcome[] = []
for (const story of wanted.length > 0 ? wanted : STORIES) outcomes.push(await prove(story))
process.stdout.write('\n')
for (const { story, passed, seconds, measured } of outcomes) {
  process.stdout.write(`${passed ? 'proved' : 'FAILED'}  ${story} (${seconds.toFixed(0)} s)\n${measured.map((line) => `        ${line}\n`).join('')}`)
}
process.exitCode = outcomes.every((outcome) => outcome.passed) ? 0 : 1
