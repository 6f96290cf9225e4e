// `npm run replay`: the replay's command line as a program.

import { runCommand } from './command.ts'

const { stdout, stderr } = process
process.exitCode = await runCommand(process.argv.slice(2), process.env, {
  isTty: stderr.isTTY,
  print: (text) => { stdout.write(text) },
  error: (text) => { stderr.write(text) }
})
