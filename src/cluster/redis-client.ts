// What the cluster needs of a Redis connection: ioredis' client for one server and for a Cluster both have it. Deadlines
// and reconnecting are the connection's own (base/redis.ts).

export interface RedisClient {
  evalsha (hash: string, keys: number, ...args: (string | number)[]): Promise<unknown>
  eval (text: string, keys: number, ...args: (string | number)[]): Promise<unknown>
  hdel (key: string, field: string): Promise<unknown>
  publish (channel: string, message: Buffer): Promise<unknown>
}

export interface RedisSubscriber {
  subscribe (channel: string): Promise<unknown>
  unsubscribe (channel: string): Promise<unknown>
  on (event: 'messageBuffer', call: (channel: Buffer, message: Buffer) => void): unknown
}
