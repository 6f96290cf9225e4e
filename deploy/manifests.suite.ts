// Reads the manifests of Kubernetes for their test: kustomizations as kubectl renders them, or, where there is none, the
// resources with the labels of their kustomization; and holds each document to the published types and schemas.

import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parse, parseAllDocuments } from 'yaml'

const ROOT = join(import.meta.dirname, '..')

// Shapes are for the schemas to hold, so they stay open here.
export interface Manifest { readonly apiVersion: string, readonly kind: string, readonly metadata: { readonly name: string, readonly labels?: Record<string, string> }, readonly spec?: any, readonly data?: Record<string, string> }

interface Kustomization { readonly resources?: readonly string[], readonly labels?: readonly { readonly pairs: Record<string, string> }[], readonly patches?: readonly { readonly path?: string }[], readonly [key: string]: unknown }

export function manifestsOf (file: string): Manifest[] {
  return parseAllDocuments(readFileSync(file, 'utf8')).map((document) => {
    if (document.errors.length > 0) throw new Error(`${file}: ${document.errors.map(({ message }) => message).join('; ')}`)
    return document.toJS() as Manifest
  })
}

export function kustomizationOf (folder: string): Kustomization {
  return parse(readFileSync(join(folder, 'kustomization.yaml'), 'utf8')) as Kustomization
}

export const hasKubectl = spawnSync('kubectl', ['version', '--client'], { stdio: 'ignore', timeout: 20_000 }).status === 0

/** What an `apply -k` of the folder would send; null where only kubectl can tell. */
export function rendered (folder: string): Manifest[] | null {
  if (!hasKubectl) return null
  const text = execFileSync('kubectl', ['kustomize', folder], { encoding: 'utf8', timeout: 60_000, maxBuffer: 1 << 24 })
  return parseAllDocuments(text).map((document) => document.toJS() as Manifest)
}

/** The folder's own resources, with the labels that the kustomization adds where selectors look. */
export function resourcesOf (folder: string): Manifest[] {
  const { resources = [], labels = [] } = kustomizationOf(folder)
  const pairs = Object.assign({}, ...labels.map((each) => each.pairs)) as Record<string, string>
  return resources.filter((name) => name.endsWith('.yaml')).flatMap((name) => manifestsOf(join(folder, name))).map((manifest) => {
    const { metadata, spec } = manifest
    const template = spec?.template
    return {
      ...manifest, metadata: { ...metadata, labels: { ...metadata.labels, ...pairs } },
      ...(template === undefined ? {} : { spec: { ...spec, template: { ...template, metadata: { ...template.metadata, labels: { ...template.metadata.labels, ...pairs } } } } })
    }
  })
}

/** Where the published model of a kind is. */
function modelOf ({ apiVersion, kind }: Manifest): string {
  return apiVersion.startsWith('monitoring.coreos.com/') ? `@kubernetes-models/prometheus-operator/${apiVersion}/${kind}` : `kubernetes-models/${apiVersion}/${kind}`
}

/** What is wrong by the schemas: values, and what is required. */
export async function schemaFaults (manifests: readonly Manifest[]): Promise<string[]> {
  const faults: string[] = []
  for (const manifest of manifests) {
    const models = await import(modelOf(manifest)) as Record<string, new (data: Manifest) => { validate (): void }>
    const Model = models[manifest.kind] as new (data: Manifest) => { validate (): void }
    try {
      new Model(manifest).validate()
    } catch (error) {
      faults.push(`${manifest.kind} ${manifest.metadata.name}: ${(error as Error).message}`)
    }
  }
  return faults
}

/** What is wrong by the types, held by the compiler: it alone finds fields that do not exist, which the API drops without a word. */
export function typeFaults (manifests: readonly Manifest[]): string[] {
  const folder = mkdtempSync(join(tmpdir(), 'uproar-manifests-'))
  const file = join(folder, 'manifests.ts')
  try {
    writeFileSync(file, manifests.map((manifest, at) =>
      `import type { I${manifest.kind} as T${at} } from '${join(ROOT, 'node_modules', modelOf(manifest))}.js'\nexport const ${manifest.kind}_${manifest.metadata.name.replace(/\W/g, '_')}_${at}: T${at} = ${JSON.stringify(manifest)}\n`).join(''))
    const { stdout } = spawnSync(process.execPath, [join(ROOT, 'node_modules/typescript/lib/tsc.js'), '--ignoreConfig', '--noEmit', '--strict', '--skipLibCheck', '--module', 'nodenext', '--target', 'es2024', '--types', '', file], { encoding: 'utf8', timeout: 60_000 })
    const lines = readFileSync(file, 'utf8').split('\n')
    return stdout.split('\n').filter((line) => line.includes('error TS')).map((line) => `${/const (\w+)/.exec(lines[Number(/\((\d+),/.exec(line)?.[1]) - 1] ?? '')?.[1] ?? ''}: ${line.slice(line.indexOf('error'))}`)
  } finally {
    rmSync(folder, { recursive: true })
  }
}
