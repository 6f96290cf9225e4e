// Ports for programs that start later, or again on the same one: outside of those that the system deals out, since one of
// those may be some client's before the program has it. (The sockets' library, too, lets a port be taken up at once after
// a kill only when it was asked for by number the first time.) Bound: none; it tries until one is free.

import { createServer } from 'node:net'

const FIRST = 15_000
const COUNT = 15_000

/** A port of the loopback that nobody has now; with `more`, one behind which so many are free too. */
export async function freePort (more = 0): Promise<number> {
  for (;;) {
    const port = FIRST + Math.floor(Math.random() * COUNT)
    const free = await Promise.all(Array.from({ length: more + 1 }, (_, n) => isFree(port + n)))
    if (free.every(Boolean)) return port
  }
}

async function isFree (port: number): Promise<boolean> {
  const server = createServer()
  const isListening = await new Promise<boolean>((resolve) => {
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => resolve(true))
  })
  await new Promise((resolve) => server.close(resolve))
  return isListening
}
