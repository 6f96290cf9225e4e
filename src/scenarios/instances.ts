// Several real programs on one real Redis, for the stories of many instances: started together, each on ports of its own,
// ended with the test. Must not know what is tested.

import { RedisServer, type Scope } from '../../deploy/services/redis.ts'
import { freePort, OPEN_LIMITS, Program } from './harness.ts'

export interface Instances {
  readonly redis: RedisServer
  readonly programs: readonly Program[]
}

/** Starts Redis and `count` instances; each can be killed and launched again on its ports. */
export async function startInstances (scope: Scope, env: Readonly<Record<string, string>> = {}, count = 3): Promise<Instances> {
  const redis = await RedisServer.start(scope)
  const programs = await Promise.all(Array.from({ length: count }, async () =>
    Program.start(scope, { ...OPEN_LIMITS, REDIS_URL: redis.url, PORT: await freePort(), WS_PORT: await freePort(), ...env })))
  return { redis, programs }
}
