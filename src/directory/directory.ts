// The directory of rooms: which rooms there are, of what kind, made by whom. Settings are not here: they are the fold of
// a room's STATE entries and belong to the log. Members, sanctions and inboxes will join this face. Engines are held to
// `directory.suite.ts`.

export const ROOM_KINDS = ['stream', 'group', 'direct'] as const
export type RoomKind = (typeof ROOM_KINDS)[number]

export interface RoomRecord {
  readonly room: string
  readonly kind: RoomKind
  /** Unix milliseconds. */
  readonly createdAt: number
  /** User id, or null when it was made on demand. */
  readonly createdBy: string | null
}

export interface RoomList {
  /** In ascending order of name (by code unit). */
  readonly rooms: readonly RoomRecord[]
  /** True when there are more after the last. */
  readonly more: boolean
}

export interface Directory {
  /** The room's record, or null. */
  get (room: string): Promise<RoomRecord | null>
  /** Makes the room unless there is one; durable before it resolves. Of two at once, one creates and both get that record. */
  create (record: RoomRecord): Promise<{ readonly record: RoomRecord, readonly created: boolean }>
  /** Writes another name over who made the room, if it is still `from`; false when it is not. Durable before it resolves. */
  attribute (room: string, from: string, to: string): Promise<boolean>
  /** Removes the record; false when there was none. Durable before it resolves. */
  remove (room: string): Promise<boolean>
  /** Rooms whose names start with `prefix`, after the name `after`; `limit` 1 to 1,000. */
  list (query: { readonly prefix?: string, readonly after?: string, readonly limit: number }): Promise<RoomList>
}
