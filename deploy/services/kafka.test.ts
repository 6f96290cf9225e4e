// The broker that tests start: it takes connections, ends when told, and comes back where it was.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { KafkaServer } from './kafka.ts'
import { withoutKafka } from './services.ts'

t.test('a broker, stopped and started again', { skip: withoutKafka() }, async (t) => {
  const server = await KafkaServer.start(t)
  t.ok(existsSync(join(server.dir, 'data', 'meta.properties')), 'its folder is made')
  await server.stop()
  await server.launch()
  t.ok(server.pid > 0)
  await server.kill9()
  await t.rejects(fetch(`http://${server.broker}`), 'and is gone when killed')
})
