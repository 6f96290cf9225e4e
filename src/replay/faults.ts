// What kept a connection from being made, in words for whoever runs the replay: the innermost cause, and for a
// certificate that is not trusted what to set.

const UNTRUSTED: ReadonlySet<string> = new Set(['DEPTH_ZERO_SELF_SIGNED_CERT', 'SELF_SIGNED_CERT_IN_CHAIN', 'UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY'])
const CAUSES_MAX = 8

/** The sentence for a failed connection or fetch. */
export function connectionFault (error: unknown): string {
  let inner = error as Error & { code?: string, errors?: unknown[] }
  // fetch hides the reason in causes, and where a name has several addresses in a list.
  for (let depth = 0; depth < CAUSES_MAX; depth++) {
    const next = inner.cause ?? inner.errors?.[0]
    if (!(next instanceof Error)) break
    inner = next
  }
  const { code = '', message } = inner
  return UNTRUSTED.has(code) ? `${message || code}: set NODE_EXTRA_CA_CERTS to the file of that certificate, or of its authority, to trust it` : message || code
}
