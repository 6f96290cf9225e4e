// One process at a time may own a data directory. A claim is a Unix socket in it, under a name of its own, and whoever
// connects is told who is behind it. The kernel says whether somebody is: a claim outlasts neither kill -9 nor a
// container, and no pid has to be guessed at.
//
//   listen on a socket ──▶ ask every other one in the directory ──┬─ nobody there ──▶ owner
//                               ▲  (the dead are swept away)      ├─ an owner, or a claimant of lesser name ──▶ refuse
//                               └──── wait a moment ◀─────────────┴─ only claimants of greater name
//
// Each listens before it looks, so of any two the one that looks later sees the other: there are never two owners.
// Bounds: one second for each answer, 100 rounds of waiting.

import { randomBytes } from 'node:crypto'
import { closeSync, constants, openSync, readdirSync, rmSync } from 'node:fs'
import { connect, createServer, type Server } from 'node:net'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { StartFault } from './errors.ts'

const NAME = /^owner-[0-9a-f]{16}$/
const ANSWER_MS_MAX = 1000
const ROUNDS_MAX = 100
const ROUND_MS = 20
/** A socket's path may have 107 bytes at most. */
const PATH_BYTES_MAX = 100

export interface Claim {
  /** Gives the directory up. May be called twice. */
  release (): Promise<void>
}

interface Other { readonly name: string, readonly who: string, readonly isOwner: boolean }

/** Claims the directory, or throws an error that names it and its owner. */
export async function claim (dir: string): Promise<Claim> {
  const name = `owner-${randomBytes(8).toString('hex')}`
  const place = openPlace(dir, name)
  let isOwner = false
  let server: Server | null = null
  const release = async (): Promise<void> => {
    // Closing unlinks the socket by the path it was bound to, so the descriptor in that path is closed after it.
    await new Promise((resolve) => server === null ? resolve(null) : server.close(resolve))
    place.close()
  }
  try {
    server = await listen(dir, place.path(name), () => `${isOwner ? 'owner' : 'claimant'} process ${process.pid} on ${hostname()}\n`)
    for (let round = 0; round < ROUNDS_MAX; round++) {
      const others = await findOthers(dir, place, name)
      const owner = others.find((other) => other.isOwner || other.name < name)
      if (owner !== undefined) throw new StartFault(`DATA_DIR: the data directory ${dir} is in use by ${owner.who}; stop that, or set DATA_DIR to another directory`)
      if (others.length === 0) {
        isOwner = true
        return { release }
      }
      await new Promise((resolve) => setTimeout(resolve, ROUND_MS))
    }
    throw new StartFault(`DATA_DIR: the data directory ${dir} could not be claimed: other processes keep claiming it`)
  } catch (error) {
    await release()
    throw error
  }
}

async function findOthers (dir: string, place: Place, own: string): Promise<Other[]> {
  const names = readdirSync(dir).filter((name) => NAME.test(name) && name !== own)
  const others = await Promise.all(names.map(async (name) => {
    const answer = await ask(place.path(name))
    if (answer === null) rmSync(place.path(name), { force: true })
    return answer === null ? null : { name, ...answer }
  }))
  return others.filter((other) => other !== null)
}

interface Place { path (name: string): string, close (): void }

/** Names files in the directory; by its open descriptor when their paths are too long for a socket. */
function openPlace (dir: string, longest: string): Place {
  if (process.platform !== 'linux' || Buffer.byteLength(join(dir, longest)) <= PATH_BYTES_MAX) return { path: (name) => join(dir, name), close () {} }
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

function listen (dir: string, path: string, answer: () => string): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => {
      socket.on('error', () => socket.destroy())
      socket.end(answer())
    })
    server.once('error', (error) => reject(new StartFault(`DATA_DIR: the data directory ${dir} cannot be claimed, which takes a socket in it, so a local file system: ${error.message}`, { cause: error })))
    server.listen({ path, exclusive: true }, () => resolve(server.unref()))
  })
}

/** Who is behind the socket, or null when nobody is. Who does not answer counts as an owner. */
function ask (path: string): Promise<{ who: string, isOwner: boolean } | null> {
  return new Promise((resolve, reject) => {
    let answer = ''
    const socket = connect(path)
    socket.setEncoding('utf8')
    socket.setTimeout(ANSWER_MS_MAX, () => {
      socket.destroy()
      resolve({ who: 'another process, which does not answer', isOwner: true })
    })
    socket.on('data', (text: string) => { answer = (answer + text).slice(0, 200) })
    socket.on('end', () => {
      const [, role, who = 'another process'] = /^(owner|claimant) (.+)\n$/.exec(answer) ?? []
      resolve({ who, isOwner: role !== 'claimant' })
    })
    socket.on('error', (error: NodeJS.ErrnoException) => {
      // Refused: its process is dead. Not there, or reset: it has just given up.
      if (error.code === 'ECONNREFUSED' || error.code === 'ENOENT' || error.code === 'ECONNRESET') resolve(null)
      else if (error.code === 'EAGAIN') resolve({ who: 'another process, which does not answer', isOwner: true })
      else reject(error)
    })
  })
}
