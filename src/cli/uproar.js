#!/usr/bin/env node
// What `npx uproar` and the image start: plain JavaScript, so that a Node that is too old, or the package of the client,
// which has this file but not the program, can say so.

import { existsSync } from 'node:fs'

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
if (!existsSync(new URL('main.ts', import.meta.url))) refuse('this package is the client alone; the operator\'s commands run in a clone of the server or in its image')
else if (major < 22 || (major === 22 && minor < 18)) refuse(`this is Node ${process.versions.node}, and 22.18 is needed; in a clone: npx uproar`)
else await import('./main.ts')

function refuse (why) {
  process.stderr.write(`uproar: ${why}\n`)
  process.exitCode = 1
}
