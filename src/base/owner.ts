// One process at a time may own a data directory. The claim is a Unix socket in it: the kernel says whether its owner
// lives, so a claim outlasts neither kill -9 nor a container, and no pid has to be guessed at. Whoever connects is told
// who the owner is. Owns `DIR/owner`; bound: one socket, one line of answer, one second of waiting.

import { closeSync, constants, openSync, renameSync, rmSync } from 'node:fs'
import { connect, createServer, type Server } from 'node:net'
import { hostname } from 'node:os'
import { join } from 'node:path'

const NAME = 'owner'
const ANSWER_MS_MAX = 1000
const ATTEMPTS_MAX = 5

export interface Claim {
  /** Gives the directory up. May be called twice. */
  release (): Promise<void>
}

/** Claims the directory, or throws an error that names it and its owner. */
export async function claim (dir: string): Promise<Claim> {
  const place = openPlace(dir)
  try {
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      const server = await listen(place.path(NAME))
      if (server !== null) return { release: () => release(server, place) }
      const owner = await ask(place.path(NAME))
      if (owner !== null) throw new Error(`the data directory ${dir} is in use by ${owner}; stop that, or set DATA_DIR to another directory`)
      moveAside(place)
    }
    throw new Error(`the data directory ${dir} could not be claimed: other processes are claiming it too`)
  } catch (error) {
    place.close()
    throw error
  }
}

interface Place { path (name: string): string, close (): void }

/** Names files in the directory by its open descriptor where that works: a socket's path may have 107 bytes at most. */
function openPlace (dir: string): Place {
  if (process.platform !== 'linux' || join(dir, NAME).length < 80) return { path: (name) => join(dir, name), close () {} }
  const descriptor = openSync(dir, constants.O_RDONLY | constants.O_DIRECTORY)
  let isOpen = true
  return {
    path: (name) => `/proc/self/fd/${descriptor}/${name}`,
    close () {
      if (isOpen) closeSync(descriptor)
      isOpen = false
    }
  }
}

/** Null when the name is taken, by a living owner or by what a dead one left. */
function listen (path: string): Promise<Server | null> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => {
      socket.on('error', () => socket.destroy())
      socket.end(`process ${process.pid} on ${hostname()}\n`)
    })
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(null)
      else reject(error)
    })
    server.listen({ path, exclusive: true }, () => resolve(server.unref()))
  })
}

/** The living owner in words, or null when nobody is behind the socket. */
function ask (path: string): Promise<string | null> {
  return new Promise((resolve, reject) => {
    let answer = ''
    const socket = connect(path)
    socket.setEncoding('utf8')
    socket.setTimeout(ANSWER_MS_MAX, () => {
      socket.destroy()
      resolve('another process, which does not answer')
    })
    socket.on('data', (text: string) => { answer = (answer + text).slice(0, 200) })
    socket.on('end', () => resolve(answer.trim() || 'another process'))
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED' || error.code === 'ENOENT') resolve(null)
      else if (error.code === 'EAGAIN' || error.code === 'ECONNRESET' || error.code === 'EPIPE') resolve('another process')
      else reject(error)
    })
  })
}

/** Takes a dead owner's socket away. Of two processes that do this at once one wins the rename; both try again. */
function moveAside (place: Place): void {
  const aside = place.path(`${NAME}.${process.pid}`)
  try {
    renameSync(place.path(NAME), aside)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
  rmSync(aside, { force: true })
}

function release (server: Server, place: Place): Promise<void> {
  return new Promise((resolve) => {
    // Closing unlinks the socket by the path it was bound to, so the descriptor in that path has to be open till then.
    server.close(() => {
      place.close()
      resolve()
    })
  })
}
