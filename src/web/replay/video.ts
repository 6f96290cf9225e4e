// A video elsewhere that drives the replay: the page that holds us in its frame tells where its player is, by postMessage
//
//   { uproar: 'time', seconds, playing, rate }       ─▶ us, whenever one of them changed and now and then
//   { uproar: 'ready' }                              ◀─ once we listen
//
// Only the holding page is listened to, and all it can do is move the time. Anything else that comes is passed over.

/** Where the video is. */
export interface VideoTime {
  /** Milliseconds from its start. */
  readonly position: number
  readonly isPlaying: boolean
  readonly rate: number
}

const RATE_MAX = 16

/** Listens to the page that holds this one, if there is one. */
export function followVideo (told: (time: VideoTime) => void): void {
  if (window.parent === window) return
  addEventListener('message', (event) => {
    if (event.source !== window.parent) return
    const time = read(event.data)
    if (time !== null) told(time)
  })
  // Which page that is we cannot know before it speaks; that we are here is no secret.
  window.parent.postMessage({ uproar: 'ready' }, '*')
}

function read (data: unknown): VideoTime | null {
  if (typeof data !== 'object' || data === null) return null
  const { uproar, seconds, playing = true, rate = 1 } = data as Record<string, unknown>
  if (uproar !== 'time' || typeof seconds !== 'number' || !Number.isFinite(seconds) || typeof playing !== 'boolean' || typeof rate !== 'number' || !(rate > 0)) return null
  return { position: Math.max(0, seconds * 1000), isPlaying: playing, rate: Math.min(rate, RATE_MAX) }
}
