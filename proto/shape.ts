// Whether a frame's fields are what the table of frames says. Owns the sentence that names the field at fault; must not
// know what a field means (that a room name is valid, that a seq exists). Extra trailing elements are ignored, so that
// a newer peer may add fields.

import { FRAMES, type FieldType, type FrameShape } from './ops.ts'
import { isMap, isUint } from './values.ts'
import type { Frame } from './codec.ts'

interface FieldCheck {
  readonly name: string
  readonly type: FieldType
  readonly nil: boolean
}

interface FrameCheck {
  readonly name: string
  readonly from: 'client' | 'server'
  readonly fields: readonly FieldCheck[]
  /** Place of `rid` in the frame, 0 when it has none. */
  readonly ridAt: number
}

// Indexed by op, which is below 128: a look-up costs one bounds check.
const CHECKS: readonly (FrameCheck | undefined)[] = compile(FRAMES)

/** Null when the fields are as the table says, else a sentence that names the first field at fault. */
export function checkFrame (frame: Frame, from: 'client' | 'server' = 'client'): string | null {
  const check = CHECKS[frame[0]]
  if (check === undefined || check.from !== from) return `op ${frame[0]} is not one that a ${from} sends`
  const fields = check.fields
  for (let i = 0; i < fields.length; i++) {
    const field = fields[i] as FieldCheck
    const value = frame[i + 1]
    if (value === null || value === undefined ? !field.nil : !holds(field.type, value)) return fault(check, field, value)
  }
  return null
}

/**
 * The rid that an answer to this frame carries, or null. An op that is not known is taken to have its rid first, as all
 * requests of this version have.
 */
export function ridOf (frame: Frame): number | null {
  const check = CHECKS[frame[0]]
  const rid = check === undefined ? frame[1] : check.ridAt === 0 ? null : frame[check.ridAt]
  return isUint(rid) ? rid : null
}

function holds (type: FieldType, value: unknown): boolean {
  switch (type) {
    case 'str': return typeof value === 'string'
    case 'uint': return isUint(value)
    case 'bool': return typeof value === 'boolean'
    case 'map': return isMap(value)
    case 'array': return Array.isArray(value)
    case 'bin': return value instanceof Uint8Array
    case 'str|bin': return typeof value === 'string' || value instanceof Uint8Array
    case 'user': return Array.isArray(value) && typeof value[0] === 'string' && typeof value[1] === 'string' && isUint(value[2])
    case 'any': return true
  }
}

const WORDS: Readonly<Record<FieldType, string>> = {
  str: 'a string',
  uint: 'a whole number from 0 to 2^53-1',
  bool: 'true or false',
  map: 'a map',
  array: 'an array',
  bin: 'binary',
  'str|bin': 'a string or binary',
  user: 'a user [id, name, roles]',
  any: 'a value'
}

function fault (check: FrameCheck, field: FieldCheck, value: unknown): string {
  if (value === undefined) return `${check.name}: ${field.name} is missing`
  return `${check.name}: ${field.name} must be ${WORDS[field.type]}${field.nil ? ' or nil' : ''}`
}

function compile (frames: readonly FrameShape[]): (FrameCheck | undefined)[] {
  const checks = new Array<FrameCheck | undefined>(128).fill(undefined)
  for (const { op, name, from, fields } of frames) {
    checks[op] = {
      name,
      from,
      fields: fields.map((field) => ({ name: field.name, type: field.type, nil: field.nil === true })),
      ridAt: fields[0]?.name === 'rid' ? 1 : 0
    }
  }
  return checks
}
