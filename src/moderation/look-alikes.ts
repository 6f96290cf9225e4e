// Letters that stand for other letters, as tables: spellings of the same letter, signs and digits drawn as letters, and
// letters of other scripts that look Latin. Only data; letters.ts says when each table counts.

const pairs = (from: string, to: string): [string, string][] => [...from].map((letter, index) => [letter, [...to][index] as string])

/** Always the same letter: small capitals, strokes, ligatures. What Unicode normalisation folds by itself is not here. */
export const SPELLINGS: ReadonlyMap<string, string> = new Map([
  ...pairs('ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢ', 'abcdefghijklmnoprstuvwyz'),
  ...pairs('đðħıɨłøŧƀɓɗɖɡɠɦɩɫɱɲŋɵɔɛǝəɑɐʂʈʉʌʋʝƙƈƒƥƭƴƶȼɇɍɏς', 'ddhiilotbbddgghilmnnooeeeaastuavjkcfptyzceryσ'),
  ['ß', 'ss'], ['æ', 'ae'], ['œ', 'oe'], ['ĳ', 'ij']
])

/** Signs that serve as letters inside words. */
export const SIGNS: ReadonlyMap<string, string> = new Map(pairs('@$€£!¡', 'aselii'))

/** Digits that serve as letters inside words; 1 is i or l. */
export const DIGITS: ReadonlyMap<string, string> = new Map(pairs('03457', 'oeast'))

/** Letters of other scripts that look Latin: as they stand (capitals that differ from their small letter first), then in lower case. */
export const LOOK_ALIKES: ReadonlyMap<string, string> = new Map([
  ...pairs('ΗΝΡΥΧΜΒВНТМК', 'hnpyxmbbhtmk'),
  ...pairs('авекмнорстухіјѕԁԛԝһьүӏ', 'abekmhopctyxijsdqwhbyl'),
  ...pairs('αβγεηικμνορτυχωδζσ', 'abyenikuvoptuxwdzo'),
  ...pairs('օոսհցյզքԁ', 'onuhgjqpd')
])

const CIRCLED = 0x1f150
const SQUARED = 0x1f170
const FLAGS = 0x1f1e6

/** Letters in black circles and squares, which normalisation leaves as they are. */
export const ENCLOSED = /[\u{1F150}-\u{1F169}\u{1F170}-\u{1F189}]/gu
/** The letters that flags are made of. */
export const FLAG = /[\u{1F1E6}-\u{1F1FF}]/u

/** The letter in a black circle or square, or of a flag. */
export function enclosedLetter (sign: string): string {
  const code = sign.codePointAt(0) as number
  return String.fromCharCode(0x61 + code - (code >= FLAGS ? FLAGS : code >= SQUARED ? SQUARED : CIRCLED))
}
