// What every page has alike, written once: the head of the document, the way to another room, the theme button, the dialog for a name. A page's
// index.html names them by a comment, `<!-- part NAME {…} -->`, and the build puts them there. Only for the build.

interface Head { readonly title: string, readonly description: string, readonly styles?: readonly string[], readonly script: string, readonly robots?: string }
interface SignIn { readonly note: string, readonly label: string, readonly roles: readonly string[], readonly button: string }

const PART = /^( *)<!-- part ([a-z-]+)(?: ({.*}))? -->$/gm
const ROLE_LABELS: Readonly<Record<string, string>> = { '': 'Viewer', subscriber: 'Subscriber', vip: 'VIP', moderator: 'Moderator', broadcaster: 'Broadcaster', admin: 'Admin' }

const PARTS: Readonly<Record<string, (options: never) => string>> = { head, 'room-switch': roomSwitch, 'theme-button': themeButton, 'sign-in': signIn }

/** The page with its parts in place. Throws when it names one that there is not. */
export function withParts (html: string): string {
  return html.replace(PART, (_, indent: string, name: string, options: string | undefined) => {
    const make = PARTS[name]
    if (make === undefined) throw new Error(`there is no part ${name}: src/web/page-parts.ts has them`)
    return make(JSON.parse(options ?? '{}') as never).trim().replace(/^(?=.)/gm, indent)
  })
}

function head ({ title, description, styles = [], script, robots }: Head): string {
  return `
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1, viewport-fit=cover, interactive-widget=resizes-content">
<meta name="color-scheme" content="dark light">
<meta name="theme-color" media="(prefers-color-scheme: dark)" content="#141219">
<meta name="theme-color" media="(prefers-color-scheme: light)" content="#ffffff">
<meta name="description" content="${description}">
<meta name="referrer" content="no-referrer">
${robots === undefined ? '' : `<meta name="robots" content="${robots}">\n`}<title>${title}</title>
<link rel="icon" href="/icon.svg" type="image/svg+xml">
${['/app.css', ...styles].map((href) => `<link rel="stylesheet" href="${href}">`).join('\n')}
<script type="module" src="${script}"></script>`
}

/** The way to the same page of another room. */
function roomSwitch ({ action }: { readonly action: string }): string {
  return `
<form class="room-switch" action="${action}" method="get" aria-label="Room">
  <label class="hidden" for="room">Room name</label>
  <span class="room-hash" aria-hidden="true">#</span>
  <input id="room" name="room" type="text" required maxlength="64" pattern="[A-Za-z0-9_.:\\-]{1,64}" title="1 to 64 letters, digits, _ . : -" autocomplete="off" autocapitalize="off" spellcheck="false" enterkeyhint="go">
  <button class="plain" type="submit" title="Open this room"><span data-icon="go"></span><span class="hidden">Open this room</span></button>
</form>`
}

/** The button of theme.ts and that of account.ts. */
function themeButton (): string {
  return `
<button class="plain" id="theme" type="button"></button>
<button class="account" id="account" type="button" hidden></button>`
}

/** The dialog of account.ts. */
function signIn ({ note, label, roles, button }: SignIn): string {
  return `
<dialog class="dialog" id="sign-in" aria-labelledby="sign-in-heading">
  <form method="dialog" id="sign-in-form">
    <h2 id="sign-in-heading">Choose a name</h2>
    <p class="dialog-note">This server runs without a key: anybody on this machine may use any ${note}. It is for development.</p>
    <label for="name">Name</label>
    <input id="name" type="text" required maxlength="64" autocomplete="nickname" spellcheck="false">
    <label for="role">${label}</label>
    <select id="role">
${roles.map((role) => `      <option value="${role}">${ROLE_LABELS[role] ?? role}</option>`).join('\n')}
    </select>
    <p class="dialog-error" id="sign-in-error" role="alert" hidden></p>
    <div class="dialog-end">
      <button class="quiet" id="sign-out" type="button" hidden>Read without a name</button>
      <button class="quiet" id="sign-in-cancel" type="button">Cancel</button>
      <button class="primary" type="submit">${button}</button>
    </div>
  </form>
</dialog>`
}
