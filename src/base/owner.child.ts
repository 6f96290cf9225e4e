// Opens the store in DIR, says so, and holds it until it is killed: `node owner.child.ts DIR`.

import { openStore } from './store.ts'

await openStore(process.argv[2] ?? '')
process.stdout.write('open\n')
setInterval(() => {}, 60_000)
