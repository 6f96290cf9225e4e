// The container's health: exits 0 when this machine's own server answers /healthz within 3 s, by the same settings as the
// server reads. The certificate is not checked: it names the public host, and this call goes to loopback.

const isTls = (process.env.TLS_CERT_FILE ?? '') !== ''
if (isTls) process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0'

try {
  const answer = await fetch(`${isTls ? 'https' : 'http'}://127.0.0.1:${process.env.PORT ?? '8080'}/healthz`, { signal: AbortSignal.timeout(3000) })
  if (!answer.ok) throw new Error(`/healthz answered ${answer.status}`)
} catch (error) {
  console.error(`not healthy: ${(error as Error).message}`)
  process.exitCode = 1
}
