#!/usr/bin/env node
// `uproar`: the operator's command as a program. It is started by whatever node comes first, so it takes `npx uproar`, `npm
// run uproar --` or the image, which bring Node 22 along.

import { runCli } from './cli.ts'

const { stdout, stderr } = process
process.exitCode = await runCli(process.argv.slice(2), process.env, {
  isTty: stderr.isTTY,
  print: (text) => { stdout.write(text) },
  error: (text) => { stderr.write(text) }
})
