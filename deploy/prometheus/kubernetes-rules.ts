// The rules as an object of the Prometheus Operator: `npm run rules` writes deploy/kubernetes/base/prometheus-rule.yaml from
// the very files that a Prometheus without an operator loads (rules/), and a test compares. Must not know what they say.

import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse, stringify } from 'yaml'

const RULES = join(import.meta.dirname, 'rules')

/** Where the object stands. */
export const FILE = join(import.meta.dirname, '../kubernetes/base/prometheus-rule.yaml')

const HEAD = '# Written by `npm run rules` from deploy/prometheus/rules: change those.\n'

/** The text of the object's file: one object with every group of every file. */
export function written (): string {
  const groups = readdirSync(RULES).sort().flatMap((name) => (parse(readFileSync(join(RULES, name), 'utf8')) as { groups: unknown[] }).groups)
  const object = { apiVersion: 'monitoring.coreos.com/v1', kind: 'PrometheusRule', metadata: { name: 'uproar' }, spec: { groups } }
  return HEAD + stringify(object, { lineWidth: 0 })
}

if (process.argv[1] === import.meta.filename && process.argv.includes('--write')) writeFileSync(FILE, written())
