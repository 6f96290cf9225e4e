// The face of moderation: what rooms, ingest and the API use of it. The screen has a face of its own (screen.ts).

export { decide, holdRefusal, textOf, type Actor, type Decision, type Effect, type Facts, type RemoveTarget } from './actions.ts'
export { Audit, type AuditQuery, type AuditRow, type Source } from './audit.ts'
export { type Guard, guardOf, heldPatch, type HeldMessage, type Note, type Sanction, type SanctionKind, type UnbanRequest } from './guard.ts'
export { gist, isEmotesOnly } from './habits.ts'
export { ALLOWED, judge, type Verdict } from './judge.ts'
export { LEVEL_MAX, REPEAT_MS } from './levels.ts'
export { rankOf, RANK, RANKS, mayAct, type ActionName } from './ranks.ts'
export { Repeats, type Repeat } from './repeats.ts'
export { ARGUMENTS, parseAction, type Request } from './requests.ts'
