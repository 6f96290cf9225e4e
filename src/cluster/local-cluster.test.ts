// The cluster of one.

import { systemClock } from '../base/clock.ts'
import { clusterSuite } from './cluster.suite.ts'
import { createLocalCluster } from './local-cluster.ts'

clusterSuite('local', async (_scope, { self }) => createLocalCluster({ clock: systemClock, version: 'test', self }))
