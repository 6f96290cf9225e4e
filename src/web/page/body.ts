// What a user wrote, as nodes: text, links, mentions. Text only ever becomes text nodes, never markup.
// Must not know rows. One pass over the text; the patterns cannot backtrack beyond one word.

/** A piece of a body. `me`: the mention is of the reader. */
export type Piece =
  | { readonly sort: 'text', readonly text: string }
  | { readonly sort: 'link', readonly text: string, readonly href: string }
  | { readonly sort: 'mention', readonly text: string, readonly me: boolean }

const LINK_CHARACTERS_MAX = 2048
// A word that may be a link or a mention begins at the start or after a space or an opening bracket.
const WORD = /https?:\/\/[^\s<>"'`]+|@[^\s@]{1,64}/giu
const BEFORE = /[\s([{<"'“‘¿¡,;:.!?—-]/u
const TRAILING = /[.,;:!?'"”’)\]}>…]+$/u
const JUMBO = /^(?:(?:\p{RI}{2}|\p{Extended_Pictographic}\p{EMod}?\uFE0F?(?:\u200D\p{Extended_Pictographic}\p{EMod}?\uFE0F?)*)\s*){1,3}$/u

/** Splits a body into its pieces. `me`: the reader's name, in any case, or null. */
export function pieces (text: string, me: string | null): Piece[] {
  const found: Piece[] = []
  const own = me === null ? null : `@${me}`.toLocaleLowerCase()
  let from = 0
  for (const match of text.matchAll(WORD)) {
    const at = match.index
    if (at < from || (at > 0 && !BEFORE.test(text[at - 1] as string))) continue
    const piece = match[0].startsWith('@') ? mention(text, at, match[0], own) : link(match[0])
    if (piece === null) continue
    if (at > from) found.push({ sort: 'text', text: text.slice(from, at) })
    found.push(piece)
    from = at + piece.text.length
  }
  if (from < text.length) found.push({ sort: 'text', text: text.slice(from) })
  return found
}

/** Whether a body is one to three emoji and nothing else: those are shown larger. */
export function isJumbo (text: string): boolean {
  return text.length <= 48 && JUMBO.test(text)
}

/** Replaces what a node holds by the pieces of a body. */
export function fillBody (node: HTMLElement, parts: readonly Piece[]): void {
  node.replaceChildren(...parts.map(nodeOf))
}

function mention (text: string, at: number, word: string, own: string | null): Piece | null {
  // The reader's own name may hold spaces: it is looked for whole, and ends where no letter or digit follows.
  if (own !== null && text.slice(at, at + own.length).toLocaleLowerCase() === own && !/[\p{L}\p{N}]/u.test(text.charAt(at + own.length))) {
    return { sort: 'mention', text: text.slice(at, at + own.length), me: true }
  }
  const name = word.replace(TRAILING, '')
  return name.length > 1 ? { sort: 'mention', text: name, me: false } : null
}

function link (word: string): Piece | null {
  const text = balanced(word)
  if (text.length > LINK_CHARACTERS_MAX || !URL.canParse(text)) return null
  const url = new URL(text)
  // A name and password before the host is how links lie about where they lead.
  if ((url.protocol !== 'http:' && url.protocol !== 'https:') || url.username !== '' || url.password !== '') return null
  return { sort: 'link', text, href: url.href }
}

// Punctuation at the end belongs to the sentence, but a closing bracket that was opened in the link is the link's.
function balanced (word: string): string {
  const end = TRAILING.exec(word)
  if (end === null) return word
  const bare = word.slice(0, end.index)
  return end[0].startsWith(')') && bare.includes('(') && !bare.includes(')') ? `${bare})` : bare
}

function nodeOf (piece: Piece): Node {
  if (piece.sort === 'text') return document.createTextNode(piece.text)
  if (piece.sort === 'mention') {
    const node = document.createElement('span')
    node.className = piece.me ? 'mention is-me' : 'mention'
    node.textContent = piece.text
    return node
  }
  const node = document.createElement('a')
  node.href = piece.href
  node.rel = 'noopener noreferrer nofollow ugc'
  node.target = '_blank'
  node.textContent = piece.text
  return node
}
