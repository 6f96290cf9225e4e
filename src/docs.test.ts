// The README says what the code says: its tables are the ones that src/docs.ts writes, its commands exist, its links
// lead somewhere.

import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import t from 'tap'
import { README, written } from './docs.ts'
import { LEVELS } from './moderation/levels.ts'
import { ARGUMENTS, RANK, RANKS, type ActionName } from './moderation/moderation.ts'

const readme = readFileSync(README, 'utf8')
const root = dirname(README)

t.test('tables are as the code has them', (t) => {
  const stale = written(readme).split('\n').filter((line) => !readme.includes(line))
  t.same(stale, [], 'run `npm run docs`')
  t.equal(written(readme), readme, 'run `npm run docs`')
  t.end()
})

t.test('PROTOCOL.md has every action with its arguments and least role', (t) => {
  const text = readFileSync(join(root, 'proto/PROTOCOL.md'), 'utf8')
  const rows = [...text.slice(text.indexOf('<!-- table: actions -->')).split('\n\n')[0]?.matchAll(/^\| `(\w+)` \| (.+?) \| .+ \| (\w+) \|$/gm) ?? []].map(([, action, args, role]) => [action, args?.replaceAll('`', ''), role])
  const roles = new Map<number, string>([[RANK.other, 'everybody'], [RANK.moderator, 'moderator'], [RANK.broadcaster, 'broadcaster']])
  t.same(rows, Object.entries(ARGUMENTS).map(([action, needs]) => [
    action, Object.entries(needs).map(([name, need]) => need === 'must' ? name : `${name}?`).join(', ') || 'none', roles.get(RANKS[action as ActionName])
  ]))
  t.end()
})

t.test('the README has the table of levels', (t) => {
  const cell = (value: number, text = String(value)): string => Number.isFinite(value) && value > 0 ? text : ''
  const judged = { allow: '', hold: 'held', block: 'blocked', shadow: 'shown to the author alone' } as const
  const rows = LEVELS.map((row, level) => `| ${[
    level, judged[row.links], cell(row.capitalsShare, `${row.capitalsShare * 100} % of ${row.capitalsLetters}${level === 1 ? ' letters' : ''}`), cell(row.emotes), cell(row.row), cell(row.mentions),
    cell(row.ownRepeats), cell(row.roomRepeats, `${row.roomRepeats}: ${judged[row.crowd]}`)
  ].join(' | ')} |`.replaceAll('|  |', '| |').replaceAll('|  |', '| |'))
  t.same(rows.filter((row) => !readme.includes(row)), [], 'levels.ts has other numbers')
  t.end()
})

t.test('a README without its markers is refused', (t) => {
  t.throws(() => written('# Uproar'), { message: /needs <!-- settings -->/ })
  t.end()
})

t.test('commands and links of the README exist', (t) => {
  const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { scripts: Record<string, string> }
  const named = [...readme.matchAll(/npm run ([a-z]+)/g)].map((match) => match[1] as string)
  t.same(named.filter((name) => !(name in scripts)), [], 'scripts named in the README')
  const links = [...readme.matchAll(/\]\((?!https?:|#)([^)#]+)/g)].map((match) => match[1] as string)
  const files = [...readme.matchAll(/`((?:src|proto|bench|deploy|\.ci)\/[\w./-]*)`/g)].map((match) => match[1] as string)
  t.same([...links, ...files].filter((path) => !existsSync(join(root, path))), [], 'files named in the README')
  t.match(readme, 'npm ci && npm start')
  t.match(readme, 'npm ci && npm test')
  t.match(readFileSync(join(root, '.ci/run'), 'utf8'), /npm ci[\s\S]*\nif ! npm test 2>&1/, 'CI runs the README\'s test line')
  t.end()
})
