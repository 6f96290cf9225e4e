// Keys that stand on their own: a shared secret or a public key from a file. The kind of key pins the algorithms, so
// that a token cannot choose how it is checked. Keys are imported once; a raw secret would cost three times as much
// a token. Must not know claims. For keys behind an address see jwks.ts.

import { createPublicKey, createSecretKey, type KeyObject } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { CryptoKey } from 'jose'

/** Where the key of a token comes from. */
export interface KeySource {
  /** The only algorithms a token may name. */
  readonly algorithms: readonly string[]
  /** The key for a token's header; throws a JOSE error when there is none, AppError `unavailable` when it cannot be known now. */
  key (header: { readonly alg?: string, readonly kid?: string }): CryptoKey | Promise<CryptoKey>
}

const HASHES: ReadonlyMap<string, string> = new Map([['HS256', 'SHA-256'], ['HS384', 'SHA-384'], ['HS512', 'SHA-512']])

/** HS256, HS384 and HS512 by a shared secret. */
export function secretKeys (secret: Uint8Array): KeySource {
  const secretKey = createSecretKey(secret)
  const keys = new Map([...HASHES].map(([name, hash]) => [name, secretKey.toCryptoKey({ name: 'HMAC', hash }, false, ['verify'])]))
  return { algorithms: [...HASHES.keys()], key: ({ alg }) => keys.get(alg ?? '') as CryptoKey }
}

/** RS256, ES256 or EdDSA by a public key (or certificate) in PEM. Throws, with a sentence for operators, for any other. */
export function publicKeyFile (path: string): KeySource {
  const key = readPublicKey(path)
  switch (key.asymmetricKeyType) {
    case 'rsa':
      if ((key.asymmetricKeyDetails?.modulusLength ?? 0) < 2048) throw new Error('JWT_PUBLIC_KEY_FILE: an RSA key must have 2048 bits at least')
      return fixed(['RS256'], key.toCryptoKey({ name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' }, false, ['verify']))
    case 'ec':
      if (key.asymmetricKeyDetails?.namedCurve !== 'prime256v1') throw new Error('JWT_PUBLIC_KEY_FILE: an EC key must be of the curve P-256 (ES256)')
      return fixed(['ES256'], key.toCryptoKey({ name: 'ECDSA', namedCurve: 'P-256' }, false, ['verify']))
    case 'ed25519':
      // RFC 9864 names the same signature Ed25519.
      return fixed(['EdDSA', 'Ed25519'], key.toCryptoKey('Ed25519', false, ['verify']))
    default:
      throw new Error(`JWT_PUBLIC_KEY_FILE: must hold an RSA, P-256 or Ed25519 key, not ${key.asymmetricKeyType ?? 'this kind'}`)
  }
}

function readPublicKey (path: string): KeyObject {
  const pem = readFileSync(path, 'utf8')
  if (pem.includes('PRIVATE KEY')) throw new Error('JWT_PUBLIC_KEY_FILE: holds a private key; this server needs the public one only')
  try {
    return createPublicKey(pem)
  } catch (cause) {
    throw new Error('JWT_PUBLIC_KEY_FILE: must hold a public key in PEM', { cause })
  }
}

function fixed (algorithms: readonly string[], key: CryptoKey): KeySource {
  return { algorithms, key: () => key }
}
