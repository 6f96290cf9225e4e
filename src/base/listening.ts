// Why an address could not be listened on, as a fault that an operator can mend: which setting, what is wrong, what to do.

import { createServer } from 'node:net'
import { StartFault } from './errors.ts'

export interface Place {
  readonly host: string
  readonly port: number
  /** The setting that the port comes from. */
  readonly setting: 'PORT' | 'WS_PORT' | 'WORKER_PORT_BASE'
}

/** The fault for an error of listen(); errors of another kind come back as they are. */
export function listenFault (error: unknown, { host, port, setting }: Place): Error {
  switch ((error as { code?: unknown }).code) {
    case 'EADDRINUSE': return new StartFault(`${setting}: port ${port} on ${host} is taken by another program; end that, or set ${setting} to another port${setting === 'WORKER_PORT_BASE' ? '' : ' (0 picks a free one)'}`)
    case 'EACCES': return new StartFault(`${setting}: this user may not listen on port ${port}; set ${setting} to a port above 1023`)
    case 'EADDRNOTAVAIL': return new StartFault(`HOST: ${host} is no address of this machine; set HOST to one that is, such as 127.0.0.1, or 0.0.0.0 for all`)
    case 'ENOTFOUND':
    case 'EAI_AGAIN': return new StartFault(`HOST: the name ${host} has no address that can be found; set HOST to an address, such as 127.0.0.1`)
    default: return error instanceof Error ? error : new Error(String(error))
  }
}

/** For a listener that does not say why it failed: tries the same place, and tells what comes of it. */
export function whyNotListening (place: Place): Promise<Error> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', (error) => resolve(listenFault(error, place)))
    server.listen({ host: place.host, port: place.port, exclusive: true }, () => {
      server.close(() => resolve(new StartFault(`${place.setting}: cannot listen on ${place.host} port ${place.port}; try again, or set another`)))
    })
  })
}
