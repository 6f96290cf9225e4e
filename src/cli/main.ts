// The operator's command as a program; uproar.js is how it is started.

import { runCli } from './cli.ts'

const { stdout, stderr } = process
process.exitCode = await runCli(process.argv.slice(2), process.env, {
  isTty: stderr.isTTY,
  print: (text) => { stdout.write(text) },
  error: (text) => { stderr.write(text) }
})
