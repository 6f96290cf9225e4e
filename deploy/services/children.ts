// Programs that this one starts and that must not outlive it, however it ends. One listener for all of them.

import { spawn, type ChildProcess, type ChildProcessByStdio, type SpawnOptions } from 'node:child_process'
import { existsSync } from 'node:fs'
import type { Readable } from 'node:stream'

type Options = Pick<SpawnOptions, 'cwd' | 'env' | 'detached'>

const SETPRIV = '/usr/bin/setpriv'
const running = new Set<ChildProcess>()

/**
 * Starts a program that is killed when this process exits and, where the kernel can be asked to, also gets `atDeath` when
 * this process is itself killed. What it says is to be read from both of its outputs.
 */
export function spawnWithUs (program: string, args: readonly string[], { cwd, env, detached = false }: Options = {}, atDeath: 'KILL' | 'TERM' = 'KILL'): ChildProcessByStdio<null, Readable, Readable> {
  const [command, ...words] = [...existsSync(SETPRIV) ? [SETPRIV, '--pdeathsig', atDeath, '--'] : [], program, ...args] as [string, ...string[]]
  const child = spawn(command, words, { cwd, env, detached, stdio: ['ignore', 'pipe', 'pipe'] })
  if (running.size === 0) process.once('exit', endAll)
  running.add(child)
  child.once('exit', () => {
    running.delete(child)
    if (running.size === 0) process.off('exit', endAll)
  })
  return child
}

function endAll (): void {
  for (const child of running) child.kill('SIGKILL')
}
