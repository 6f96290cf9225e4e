// A Kafka broker for tests and benches: a real one, alone (KRaft), with a small heap, on free loopback ports and in a
// folder of its own, ended and removed with the test. It can be stopped, killed, frozen and started again where it was.
// Its jars come from kafka/pom.xml (services.ts fetches them). Must not know what is tested. Every wait has a deadline.

import { execFile, type ChildProcess } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { spawnWithUs } from './children.ts'
import { freePort } from './ports.ts'
import type { Scope } from './redis.ts'
import { javaPath, kafkaPath } from './services.ts'

const FORMAT_MS = 60_000
const READY_MS = 60_000
const STOP_MS = 30_000
const WORDS_KEPT = 4000
const SETPRIV = '/usr/bin/setpriv'
/** 16 bytes in base64url; one for all, since no two of these brokers ever meet. */
const CLUSTER = 'dXByb2FyLWZvci10ZXN0cw'

export class KafkaServer {
  readonly port: number
  readonly dir: string
  readonly #controllerPort: number
  #child: ChildProcess | null = null
  #exit: Promise<void> = Promise.resolve()
  #words = ''

  /** Starts one and waits until it takes connections; it ends with the scope. Takes some ten seconds. */
  static async start (scope: Scope): Promise<KafkaServer> {
    const server = new KafkaServer(await freePort(), await freePort())
    scope.teardown(() => server.destroy())
    await server.#format()
    await server.launch()
    return server
  }

  constructor (port: number, controllerPort: number) {
    this.port = port
    this.#controllerPort = controllerPort
    this.dir = mkdtempSync(join(tmpdir(), 'uproar-kafka-'))
    writeFileSync(join(this.dir, 'server.properties'), this.#properties())
    writeFileSync(join(this.dir, 'log4j2.properties'), LOGGING)
  }

  /** What KAFKA_BROKERS is set to. */
  get broker (): string { return `127.0.0.1:${this.port}` }

  get pid (): number { return this.#child?.pid ?? 0 }

  /** Starts it, or starts it again on its port and folder. */
  async launch (): Promise<void> {
    const [program, args] = this.#command('kafka.Kafka', ['server.properties'])
    const child = spawnWithUs(program, args, { cwd: this.dir })
    this.#child = child
    this.#exit = new Promise((resolve) => child.once('exit', () => resolve()))
    for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk: Buffer) => { this.#words = (this.#words + chunk.toString()).slice(-WORDS_KEPT) })
    const end = performance.now() + READY_MS
    while (!await answers(this.port)) {
      if (child.exitCode !== null) throw new Error(`the Kafka broker ended with ${child.exitCode}:\n${this.#words}`)
      if (performance.now() > end) throw new Error(`the Kafka broker was not ready in ${READY_MS} ms:\n${this.#words}`)
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }

  /** SIGTERM, as an operator's restart does it; killed when it takes too long. */
  async stop (): Promise<void> {
    this.#child?.kill('SIGTERM')
    const timer = setTimeout(() => this.#child?.kill('SIGKILL'), STOP_MS)
    await this.#exit
    clearTimeout(timer)
  }

  /** SIGKILL: no word, no last flush. */
  async kill9 (): Promise<void> {
    this.#child?.kill('SIGKILL')
    await this.#exit
  }

  /** SIGSTOP: connections stay open and nothing answers. */
  freeze (): void { this.#child?.kill('SIGSTOP') }

  thaw (): void { this.#child?.kill('SIGCONT') }

  async destroy (): Promise<void> {
    await this.kill9()
    rmSync(this.dir, { recursive: true, force: true })
  }

  #format (): Promise<void> {
    const [program, args] = this.#command('kafka.tools.StorageTool', ['format', '--standalone', '-t', CLUSTER, '-c', 'server.properties'])
    return new Promise((resolve, reject) => {
      execFile(program, args, { cwd: this.dir, timeout: FORMAT_MS, killSignal: 'SIGKILL' }, (error, stdout, stderr) => {
        if (error === null) resolve()
        else reject(new Error(`the Kafka broker's folder could not be made:\n${stdout}${stderr}`, { cause: error }))
      })
    })
  }

  #command (main: string, words: readonly string[]): [program: string, args: string[]] {
    const java = javaPath()
    const jars = kafkaPath()
    if (java === null || jars === null) throw new Error('there is no Kafka')
    const options = ['-Xms64m', '-Xmx256m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', '-Dlog4j2.configurationFile=log4j2.properties', '-cp', join(jars, '*')]
    // Where the kernel can be asked to, a server dies with its test even when that is killed.
    if (!existsSync(SETPRIV)) return [java, [...options, main, ...words]]
    return [SETPRIV, ['--pdeathsig', 'KILL', '--', java, ...options, main, ...words]]
  }

  #properties (): string {
    const broker = `PLAINTEXT://${this.broker}`
    return [
      'process.roles=broker,controller', 'node.id=1', `controller.quorum.bootstrap.servers=127.0.0.1:${this.#controllerPort}`,
      `listeners=${broker},CONTROLLER://127.0.0.1:${this.#controllerPort}`, `advertised.listeners=${broker}`,
      'controller.listener.names=CONTROLLER', 'inter.broker.listener.name=PLAINTEXT', `log.dirs=${join(this.dir, 'data')}`,
      'num.partitions=4', 'auto.create.topics.enable=false', 'offsets.topic.replication.factor=1', 'offsets.topic.num.partitions=4',
      'transaction.state.log.replication.factor=1', 'transaction.state.log.min.isr=1', 'group.initial.rebalance.delay.ms=0',
      // Members of groups that die with a test are missed soon.
      'group.min.session.timeout.ms=1000', ''
    ].join('\n')
  }
}

const LOGGING = [
  'status = error', 'rootLogger.level = warn', 'rootLogger.appenderRef.console.ref = console', 'appender.console.type = Console', 'appender.console.name = console',
  'appender.console.layout.type = PatternLayout', 'appender.console.layout.pattern = %p %c{1}: %m%n', ''
].join('\n')

function answers (port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port, timeout: 1000 })
    const end = (isThere: boolean): void => {
      socket.destroy()
      resolve(isThere)
    }
    socket.once('connect', () => end(true)).once('error', () => end(false)).once('timeout', () => end(false))
  })
}
