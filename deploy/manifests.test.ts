// The manifests of Kubernetes, held without a cluster: to the published types and schemas, to one another (selectors,
// ports, names), and to the program: every variable is a setting of ours, every role exists, and a drain has its time.

import { existsSync, globSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { parse } from 'yaml'
import { loadConfig, ROLES, SETTINGS } from '../src/base/config.ts'
import { Metrics } from '../src/base/metrics.ts'
import { hasKubectl, kustomizationOf, manifestsOf, rendered, resourcesOf, schemaFaults, typeFaults, type Manifest } from './manifests.suite.ts'
import { FILE as RULE_OBJECT, written } from './prometheus/kubernetes-rules.ts'

const KUBERNETES = join(import.meta.dirname, 'kubernetes')
const BASE = join(KUBERNETES, 'base')
const GRAFANA = join(import.meta.dirname, 'grafana')
const RULES = join(import.meta.dirname, 'prometheus/rules')
const OVERLAYS = ['production', 'local'].map((name) => join(KUBERNETES, 'overlays', name))
/** What the operator makes, and the README says so. */
const SECRET = { name: 'uproar', keys: ['JWT_SECRET', 'API_KEYS', 'REDIS_URL', 'CLICKHOUSE_PASSWORD'] }
const SETTING_NAMES: readonly string[] = Object.values(SETTINGS).map((setting) => setting.env)
const isOurs = (container: { image: string }): boolean => /(^|\/)uproar(:|$)/.test(container.image)

type Labels = Record<string, string>
const matches = (selector: Labels, labels: Labels = {}): boolean => Object.entries(selector).every(([name, value]) => labels[name] === value)
const podsOf = (all: readonly Manifest[]): Manifest[] => all.filter(({ kind }) => kind === 'Deployment')
const labelsOf = (deployment: Manifest): Labels => deployment.spec.template.metadata.labels as Labels
const portsOf = (deployment: Manifest): { name: string, containerPort: number }[] => deployment.spec.template.spec.containers.flatMap((container: { ports?: unknown[] }) => container.ports ?? [])

/** What does not find what it names. */
function loose (all: readonly Manifest[]): string[] {
  const pods = podsOf(all)
  return all.flatMap((manifest): string[] => {
    const { kind, metadata: { name }, spec } = manifest
    const missing = (what: string, isThere: boolean): string[] => isThere ? [] : [`${kind} ${name}: ${what}`]
    switch (kind) {
      case 'Deployment': return missing('its selector does not fit its pods', matches(spec.selector.matchLabels, labelsOf(manifest)))
      case 'Service': {
        const served = pods.filter((pod) => matches(spec.selector, labelsOf(pod)))
        return [...missing('selects no pods', served.length > 0), ...spec.ports.flatMap((port: { targetPort: string }) => served.flatMap((pod) => missing(`${pod.metadata.name} has no port ${port.targetPort}`, portsOf(pod).some((each) => each.name === port.targetPort))))]
      }
      case 'PodDisruptionBudget': return missing('selects no pods', pods.some((pod) => matches(spec.selector.matchLabels, labelsOf(pod))))
      case 'NetworkPolicy': return missing('selects no pods', pods.some((pod) => matches(spec.podSelector.matchLabels, labelsOf(pod))))
      case 'HorizontalPodAutoscaler': return missing('scales nothing', pods.some((pod) => pod.metadata.name === spec.scaleTargetRef.name))
      case 'ServiceMonitor': return spec.endpoints.flatMap(({ port }: { port: string }) => missing(`finds no service with the port ${port}`, all.some((other) => other.kind === 'Service' && matches(spec.selector.matchLabels, other.metadata.labels) && other.spec.ports.some((each: { name: string }) => each.name === port))))
      case 'Ingress': return spec.rules.flatMap((rule: any) => rule.http.paths.flatMap(({ backend: { service } }: any) => missing(`there is no port ${service.port.name} at ${service.name}`, all.some((other) => other.kind === 'Service' && other.metadata.name === service.name && other.spec.ports.some((each: { name: string }) => each.name === service.port.name)))))
      default: return []
    }
  })
}

t.test('resources and patches of a kustomization are there, and nothing else is', (t) => {
  for (const folder of [BASE, ...OVERLAYS]) {
    const { resources = [], patches = [] } = kustomizationOf(folder)
    const named = [...resources, ...patches.flatMap(({ path }) => path ?? [])]
    t.same(named.filter((name) => !existsSync(join(folder, name))), [], `all are there: ${folder.slice(KUBERNETES.length)}`)
    t.same(globSync('*.yaml', { cwd: folder }).filter((name) => name !== 'kustomization.yaml' && !named.includes(name)), [], 'and none is forgotten')
  }
  t.end()
})

for (const [name, all] of [['base', resourcesOf(BASE)], ...OVERLAYS.map((folder) => [folder.split('/').at(-1), rendered(folder)])] as [string, Manifest[] | null][]) {
  t.test(`${name}: by the published types and schemas, and whole`, { skip: all === null ? 'NO KUBECTL: this overlay is read, but not rendered' : false }, async (t) => {
    const manifests = (all as Manifest[]).filter(({ kind }) => kind !== 'Kustomization')
    t.ok(manifests.length > 10)
    t.same(await schemaFaults(manifests), [])
    t.same(typeFaults(manifests), [])
    t.same(loose(manifests), [])
  })
}

t.test('the checks find what is wrong', async (t) => {
  const [deployment] = manifestsOf(join(BASE, 'relay.yaml')) as [Manifest]
  const wrong = structuredClone(deployment)
  wrong.spec.template.spec.containers[0].readynessProbe = {}
  t.match(typeFaults([wrong]), [/Deployment_uproar_relay_0: .*readynessProbe/])
  const other = structuredClone(deployment)
  delete other.spec.selector
  t.match(await schemaFaults([other]), [/^Deployment uproar-relay: /])
  const third = structuredClone(deployment)
  third.spec.selector.matchLabels = { app: 'else' }
  t.match(loose([third]), [/selector does not fit/])
})

t.test('each pod runs the program as it can be run', (t) => {
  const settings = new Map<string, string>(((kustomizationOf(BASE) as any).configMapGenerator[0].literals as string[]).map((line) => line.split(/=(.*)/s).slice(0, 2) as [string, string]))
  for (const pod of podsOf(resourcesOf(BASE))) {
    const { spec } = pod.spec.template
    const [container] = spec.containers
    t.ok(isOurs(container), pod.metadata.name)
    const env: { name: string, value?: string, valueFrom?: { secretKeyRef: { name: string, key: string } } }[] = container.env
    t.same([...settings.keys(), ...env.map(({ name }) => name)].filter((name) => !SETTING_NAMES.includes(name)), [], 'variables are settings')
    t.same(env.filter(({ valueFrom }) => valueFrom !== undefined && !(valueFrom.secretKeyRef.name === SECRET.name && SECRET.keys.includes(valueFrom.secretKeyRef.key))), [], 'secrets are by reference, and those that the README has made')
    const roles = env.find(({ name }) => name === 'ROLE')?.value?.split(',') ?? []
    t.same(roles.filter((role) => !ROLES.includes(role)), [], 'roles exist')
    t.ok(roles.includes('api'), 'with health and metrics')
    const values: Record<string, string> = { JWT_SECRET: 's'.repeat(32), API_KEYS: 'k'.repeat(24), REDIS_URL: 'redis://redis:6379', CLICKHOUSE_PASSWORD: 'p' }
    const config = loadConfig({ ...Object.fromEntries(settings), ...Object.fromEntries(env.map(({ name, value }) => [name, value ?? values[name]])) })
    const port = (name: string): number | undefined => container.ports.find((each: { name: string }) => each.name === name)?.containerPort
    t.equal(port('http'), config.port)
    if (roles.includes('gateway')) t.equal(port('sockets'), config.wsPort)
    const preStopS = container.lifecycle?.preStop.sleep.seconds ?? 0
    t.ok(spec.terminationGracePeriodSeconds >= preStopS + config.stopTimeoutS + 5, 'a drain has its time')
    t.match(spec.securityContext, { runAsNonRoot: true, runAsUser: 1000, seccompProfile: { type: 'RuntimeDefault' } })
    t.match(container.securityContext, { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } })
    t.ok(container.volumeMounts.some((mount: { mountPath: string }) => mount.mountPath === '/data'), 'what it writes has a place')
    t.ok(container.resources.limits.memory)
    for (const [probe, path] of [['startupProbe', '/healthz'], ['readinessProbe', '/readyz'], ['livenessProbe', '/healthz']] as const) t.match(container[probe].httpGet, { path, port: 'http' })
  }
  t.end()
})

t.test('what the autoscaler asks for is measured', (t) => {
  const names = new Metrics().registry.getMetricsAsArray().map(({ name }) => name)
  const autoscaler = resourcesOf(BASE).find(({ kind }) => kind === 'HorizontalPodAutoscaler') as Manifest
  const asked = autoscaler.spec.metrics.flatMap((metric: any) => metric.pods?.metric.name ?? []) as string[]
  t.ok(asked.length === 2)
  t.same(asked.filter((name) => !names.includes(name)), [])
  const adapter = parse(readFileSync(join(KUBERNETES, 'prometheus-adapter.yaml'), 'utf8'))
  t.same(asked.filter((name) => !adapter.rules.custom.some((rule: { seriesQuery: string }) => rule.seriesQuery.includes(name))), [], 'and prometheus-adapter serves it')
  t.end()
})

t.test('the object of the Prometheus Operator has the rules that a Prometheus loads, every one', (t) => {
  t.equal(readFileSync(RULE_OBJECT, 'utf8'), written(), 'as npm run rules writes it')
  const groups = readdirSync(RULES).sort().flatMap((name) => parse(readFileSync(join(RULES, name), 'utf8')).groups as { name: string }[])
  const objects = resourcesOf(BASE).filter(({ kind }) => kind === 'PrometheusRule')
  t.same(objects.flatMap(({ spec }) => spec.groups), groups)
  t.equal(new Set(groups.map(({ name }) => name)).size, groups.length, 'groups of one object have different names')
  const [service, monitor] = manifestsOf(join(BASE, 'service-monitor.yaml')) as [Manifest, Manifest]
  const labels = resourcesOf(BASE).find(({ metadata }) => metadata.name === service.metadata.name)?.metadata.labels
  const jobs = new Set([...JSON.stringify(groups).matchAll(/\bjob=\\"([^"\\]+)/g)].map((match) => match[1]))
  t.same([...jobs], [labels?.[monitor.spec.jobLabel]], 'and look for the job that the ServiceMonitor gives')
  t.end()
})

t.test('every dashboard is a ConfigMap that the sidecar of Grafana finds', (t) => {
  const { configMapGenerator, generatorOptions } = kustomizationOf(GRAFANA) as unknown as { configMapGenerator: { name: string, files: string[] }[], generatorOptions: unknown }
  const files = readdirSync(join(GRAFANA, 'dashboards')).sort()
  t.same(configMapGenerator.map(({ name, files }) => ({ name, files })).sort((one, other) => one.name < other.name ? -1 : 1), files.map((file) => ({ name: file.replace('.json', ''), files: [`dashboards/${file}`] })))
  t.same(generatorOptions, { labels: { grafana_dashboard: '1' }, disableNameSuffixHash: true })
  t.ok(kustomizationOf(OVERLAYS[0] as string).resources?.some((name) => join(OVERLAYS[0] as string, name) === GRAFANA), 'and production has them')
  for (const { metadata, data } of (rendered(GRAFANA) ?? [])) {
    t.equal(data?.[`${metadata.name}.json`], readFileSync(join(GRAFANA, 'dashboards', `${metadata.name}.json`), 'utf8'), `${metadata.name}, as kubectl renders it`)
    // An apply keeps it as JSON in an annotation, and there is room for 256 KiB of those.
    t.ok(JSON.stringify(data).length < 200_000, 'and no larger than an apply may be')
  }
  t.end()
})

t.test('overlays set what there is', (t) => {
  for (const folder of OVERLAYS) {
    const { configMapGenerator = [], secretGenerator = [] } = kustomizationOf(folder) as Record<string, { literals: string[] }[]>
    t.same([...configMapGenerator, ...secretGenerator].flatMap(({ literals }) => literals).map((line) => line.split('=')[0] as string).filter((name) => !SETTING_NAMES.includes(name)), [])
  }
  t.comment(hasKubectl ? 'rendered by kubectl' : 'kubectl is not there')
  t.end()
})

t.test('the Tiltfile names what there is', (t) => {
  const tilt = readFileSync(join(import.meta.dirname, 'Tiltfile'), 'utf8')
  const names = [...resourcesOf(BASE), ...resourcesOf(OVERLAYS[1] as string)].filter(({ kind }) => kind === 'Deployment').map(({ metadata }) => metadata.name)
  const resources = [...[...tilt.matchAll(/k8s_resource\('([\w-]+)'[,)]/g)].map((match) => match[1] as string), ...['relay', 'moderator', 'notifier'].map((role) => `uproar-${role}`), 'redis', 'kafka', 'clickhouse']
  t.same(resources.filter((name) => !names.includes(name)), [])
  for (const path of [...tilt.matchAll(/'((?:\.\.\/|kubernetes\/)[\w./-]+)'/g)].map((match) => match[1] as string)) t.ok(existsSync(join(import.meta.dirname, path)), path)
  t.end()
})
