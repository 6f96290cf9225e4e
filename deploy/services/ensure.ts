// The command before a test run: gets the services that tests need, says plainly what it could not get and what to do.
// Only CI fails here; elsewhere the tests concerned are skipped, loudly.

import { ensure, isCi } from './services.ts'

const missing = await ensure((line) => console.log(`services: ${line}`))
for (const service of missing) {
  console.error(`services: WITHOUT ${service.name.toUpperCase()}: ${service.neededBy} ${isCi() ? 'cannot run' : 'will be SKIPPED'}; ${service.remedy}`)
}
if (missing.length > 0 && isCi()) process.exitCode = 1
