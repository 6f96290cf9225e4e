// Real Chromium for the page's tests: one browser per test file, a fresh context per visitor, and what visitors do.
// Faults of the page (exceptions, console errors, refused resources) are collected and checked by every test.

import { mkdir, mkdtemp, readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { chromium, type Browser, type BrowserContextOptions, type Page } from 'playwright-core'
import { chromiumPath } from '../../../deploy/services/services.ts'

const ARGS = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync']
const DEADLINE_MS = 15_000
const DESKTOP: BrowserContextOptions = { viewport: { width: 1280, height: 800 }, colorScheme: 'dark' }

export const PHONE: BrowserContextOptions = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true, colorScheme: 'dark' }

/** A visitor: their page and what went wrong on it. */
export interface Visitor {
  readonly page: Page
  readonly faults: string[]
}

export async function launch (): Promise<Browser> {
  return await chromium.launch({ executablePath: chromiumPath() as string, args: ARGS, timeout: 60_000 })
}

/** Opens a page as a new visitor with nothing remembered. */
export async function visit (browser: Browser, url: string, options: BrowserContextOptions = {}): Promise<Visitor> {
  const context = await browser.newContext({ ...DESKTOP, ...options })
  context.setDefaultTimeout(DEADLINE_MS)
  const page = await context.newPage()
  const faults: string[] = []
  page.on('pageerror', (error) => faults.push(String(error)))
  page.on('console', (message) => { if (message.type() === 'error') faults.push(message.text()) })
  await page.goto(url)
  return { page, faults }
}

/** Waits until the page says that it is connected, by WebSocket or (`fallback`) without. */
export async function live (page: Page, look = 'live', timeout?: number): Promise<void> {
  await page.locator(`#state[data-look=${look}]`).waitFor(timeout === undefined ? {} : { timeout })
}

/** Chooses a name, as on a server without a key. */
export async function signIn (page: Page, name: string, role = '', look = 'live'): Promise<void> {
  await page.locator('#account').click()
  await page.getByLabel('Name', { exact: true }).fill(name)
  await page.getByLabel('Badge').selectOption(role)
  await page.getByRole('button', { name: 'Join the chat' }).click()
  await page.locator('#composer').waitFor()
  await live(page, look)
}

/** Writes and sends. */
export async function say (page: Page, text: string): Promise<void> {
  await page.locator('#message').fill(text)
  await page.locator('#message').press('Enter')
}

/** The row whose text holds this. */
export function row (page: Page, text: string): ReturnType<Page['locator']> {
  return page.locator('#rows > .row').filter({ hasText: text }).last()
}

/** How far the log is from its end, in pixels. */
export async function toEnd (page: Page): Promise<number> {
  return await page.locator('#log').evaluate((log) => log.scrollHeight - log.clientHeight - log.scrollTop)
}

/** Scrolls the log up as a wheel does, and waits until the page has noticed. */
export async function scrollUp (page: Page): Promise<void> {
  await page.locator('#log').hover()
  await page.mouse.wheel(0, -400)
  await page.locator('#newest').waitFor()
}

/** What axe finds, by rule and place. */
export async function audit (page: Page): Promise<string[]> {
  // Through the debugger's door, as the page's own policy allows no foreign script.
  await page.evaluate(await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8'))
  return await page.evaluate(async () => {
    const { axe } = globalThis as unknown as { axe: { run (): Promise<{ violations: Array<{ id: string, nodes: Array<{ target: string[], failureSummary: string }> }> }> } }
    return (await axe.run()).violations.flatMap(({ id, nodes }) => nodes.map(({ target, failureSummary }) => `${id}: ${target.join(' ')}: ${failureSummary}`))
  })
}

/** The folder for pictures: UPROAR_PICTURES, or a fresh one in the system's temporary folder. */
export async function pictures (): Promise<string> {
  const given = process.env['UPROAR_PICTURES']
  if (given === undefined || given === '') return await mkdtemp(join(tmpdir(), 'uproar-pictures-'))
  await mkdir(given, { recursive: true })
  return given
}

/** Takes a picture once nothing moves and fonts are there. */
export async function picture (page: Page, folder: string, name: string): Promise<void> {
  await page.evaluate(() => document.fonts.ready.then(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)))))
  await page.screenshot({ path: join(folder, `${name}.png`) })
}
