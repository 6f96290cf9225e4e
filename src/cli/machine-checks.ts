// What this machine gives: Node, open files, what the kernel holds for sockets, memory, the place of the data. Limits are
// read where Linux shows them; elsewhere a check that cannot be made says so.

import { accessSync, constants, existsSync, readFileSync, statfsSync, statSync } from 'node:fs'
import { availableParallelism, freemem } from 'node:os'
import { dirname, resolve } from 'node:path'
import type { Check, Finding } from './doctor.ts'

const MB = 1_048_576
/** What a process holds open beside its viewers: files of the store, engines, listeners, HTTP. */
const FILES_BESIDE = 500
const VIEWERS_FEW = 5000
const SOMAXCONN_MIN = 1024
/** A viewer who does not read may cost the kernel that much. */
const WMEM_MAX = 1 * MB
/** The program by itself, and for each viewer (measured: 2.3 KB, and the kernel's 5 KB or so). */
const BASE_BYTES = 200 * MB
const VIEWER_BYTES = 8 * 1024
const DISK_FAIL_BYTES = 256 * MB
const DISK_WARN_BYTES = 4096 * MB

const node: Check = () => {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  const isFit = major === 22 && minor >= 18
  return [isFit ? { level: 'ok', about: 'node', says: process.version } : { level: 'fail', about: 'node', says: `${process.version}: 22.18 or a later 22 is needed`, remedy: 'npm ci brings one along: node_modules/.bin/node' }]
}

const openFiles: Check = ({ config, pid }) => {
  const line = /^Max open files\s+(\S+)\s+(\S+)/m.exec(text(`/proc/${pid}/limits`))
  if (line === null) return [unseen('open files', pid === 'self' ? 'ulimit -n tells' : `is there a process ${pid}, and of this user?`)]
  const soft = line[1] === 'unlimited' ? Infinity : Number(line[1])
  const fit = soft - FILES_BESIDE
  const { connectionsMax } = config
  const about = 'open files'
  if (connectionsMax > 0 && fit < connectionsMax) return [{ level: 'fail', about, says: `${soft}, but CONNECTIONS_MAX is ${connectionsMax}: viewers would be refused for want of files`, remedy: `LimitNOFILE=${connectionsMax + FILES_BESIDE} in the unit, or ulimit -n, or CONNECTIONS_MAX=${Math.max(0, fit)}` }]
  const says = `${soft}: about ${fit.toLocaleString('en-GB')} viewers for each process`
  return [fit < VIEWERS_FEW ? { level: 'warn', about, says, remedy: 'LimitNOFILE= in the unit, or ulimit -n' } : { level: 'ok', about, says: `${says}${connectionsMax === 0 ? '' : `; CONNECTIONS_MAX is ${connectionsMax.toLocaleString('en-GB')}`}` }]
}

const sockets: Check = () => {
  const backlog = Number(text('/proc/sys/net/core/somaxconn'))
  const wmem = Number(text('/proc/sys/net/ipv4/tcp_wmem').trim().split(/\s+/)[2])
  if (!(backlog > 0)) return [unseen('sockets', 'sysctl net.core.somaxconn net.ipv4.tcp_wmem')]
  return [
    backlog < SOMAXCONN_MIN ? { level: 'warn', about: 'somaxconn', says: `${backlog} handshakes may wait: a crowd that comes at once is refused`, remedy: `sysctl -w net.core.somaxconn=4096` } : { level: 'ok', about: 'somaxconn', says: `${backlog}` },
    wmem > WMEM_MAX ? { level: 'warn', about: 'tcp_wmem', says: `the kernel may hold ${Math.round(wmem / MB)} MB for each viewer who does not read`, remedy: 'sysctl -w net.ipv4.tcp_wmem="4096 16384 262144"' } : { level: 'ok', about: 'tcp_wmem', says: `at most ${Math.round(wmem / 1024)} KB for each viewer` }
  ]
}

const memory: Check = ({ config }) => {
  const limit = process.constrainedMemory()
  const bytes = limit > 0 && limit < 2 ** 50 ? limit : freemem() + (process.memoryUsage.rss())
  const needed = config.workers * BASE_BYTES + config.connectionsMax * VIEWER_BYTES
  const says = `${Math.round(bytes / MB)} MB ${limit > 0 && limit < 2 ** 50 ? 'is the limit' : 'are free'}; ${Math.round(needed / MB)} are needed for ${config.workers} process${config.workers === 1 ? '' : 'es'}${config.connectionsMax > 0 ? ` and ${config.connectionsMax} viewers` : ''}`
  return [bytes < needed ? { level: 'warn', about: 'memory', says, remedy: 'more of it, or a smaller CONNECTIONS_MAX' } : { level: 'ok', about: 'memory', says }]
}

const cores: Check = ({ config }) => {
  const count = availableParallelism()
  const says = `${count} core${count === 1 ? '' : 's'} for ${config.workers} process${config.workers === 1 ? '' : 'es'}`
  return [config.workers > count ? { level: 'warn', about: 'cores', says, remedy: `WORKERS=${count} or fewer` } : { level: 'ok', about: 'cores', says: `${says}${config.redisUrl !== null && config.workers < count - 1 ? ' (WORKERS can use the others)' : ''}` }]
}

const user: Check = () => process.getuid?.() === 0 ? [{ level: 'warn', about: 'user', says: 'this is root', remedy: 'the server needs no rights: run it as a user of its own' }] : [{ level: 'ok', about: 'user', says: `not root` }]

const dataDir: Check = ({ config }) => {
  if (config.redisUrl !== null) return []
  const folder = resolve(config.dataDir)
  const place = nearest(folder)
  const found: Finding[] = []
  try {
    accessSync(place, constants.W_OK | constants.X_OK)
    const { mode } = statSync(place)
    const isOpen = place === folder && (mode & 0o007) !== 0
    found.push(isOpen ? { level: 'warn', about: 'DATA_DIR', says: `${folder} can be read by every user of this machine`, remedy: `chmod o-rwx ${folder}` } : { level: 'ok', about: 'DATA_DIR', says: place === folder ? folder : `${folder} will be made` })
  } catch {
    found.push({ level: 'fail', about: 'DATA_DIR', says: `${place} may not be written by this user`, remedy: `chown it, or set DATA_DIR to a folder that may` })
  }
  const { bavail, bsize } = statfsSync(place)
  const free = bavail * bsize
  const says = `${(free / 1024 / MB).toFixed(1)} GB free`
  found.push(free < DISK_FAIL_BYTES ? { level: 'fail', about: 'disk', says, remedy: 'a full disk refuses every message: make room' } : free < DISK_WARN_BYTES ? { level: 'warn', about: 'disk', says, remedy: 'make room, or keep less: RETENTION_HOURS, RETENTION_MB_MAX' } : { level: 'ok', about: 'disk', says })
  return found
}

/** The folder, or the nearest above it that is there. */
function nearest (folder: string): string {
  return existsSync(folder) || dirname(folder) === folder ? folder : nearest(dirname(folder))
}

function unseen (about: string, remedy: string): Finding {
  return { level: 'warn', about, says: 'cannot be seen here', remedy }
}

function text (path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

export const machineChecks: readonly Check[] = [node, cores, memory, openFiles, sockets, user, dataDir]
