/**
 * The few pages that people see: a login that waits for an approval, where the administration is, and whether the server
 * is well. No scripts, no resources from elsewhere; everything that came from outside is escaped.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';

/** No page needs more than its own style; nobody may frame it, and it tells other sites nothing. */
const HEADERS: Readonly<Record<string, string>> = Object.freeze({
  'Content-Type': 'text/html; charset=utf-8',
  'Content-Security-Policy': "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'",
  'X-Content-Type-Options': 'nosniff',
  'Referrer-Policy': 'no-referrer',
  'Cache-Control': 'no-store',
});

const STYLE =
  ':root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:40rem;margin:4rem auto;padding:0 1rem}' +
  'code,pre{font:14px/1.5 ui-monospace,monospace;background:#8881;border-radius:4px;padding:.1em .3em}' +
  'pre{padding:.8em;overflow-x:auto}';

/** Text that can stand anywhere in HTML. */
export function escapeHtml(text: string): string {
  const names: Readonly<Record<string, string>> = { '&': 'amp', '<': 'lt', '>': 'gt', '"': 'quot', "'": '#39' };
  return text.replaceAll(/[&<>"']/g, character => `&${names[character]};`);
}

function page(title: string, body: string): string {
  return (
    `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>${escapeHtml(title)}</title>` +
    `<meta name="viewport" content="width=device-width"><style>${STYLE}</style></head><body>${body}</body></html>\n`
  );
}

/** What a device's user sees at the address that the device shows: how its login is approved. `id` is any text. */
export function registerPage(id: string): string {
  const isKnownForm = /^[A-Za-z0-9_-]{8,64}$/.test(id);
  if (!isKnownForm) return page('Not a login', '<h1>Not a login</h1><p>The address is not complete.</p>');
  const command = `motenet devices approve ${id}`;
  return page(
    'Approve a device',
    '<h1>Approve a device</h1><p>A device asks to join a network. An administrator lets it in on the machine of the ' +
      `coordinator:</p><pre>${escapeHtml(command)}</pre><p>Add <code>--tailnet NAME</code> for a network other than ` +
      '<code>default</code>, and <code>--user NAME</code> for an owner other than its first user. Approve only a device ' +
      'that you are looking at right now: whoever sent you this link may be its owner. The request ends after 15 ' +
      'minutes; the device carries on by itself once it is let in.</p>',
  );
}

/** What there is to say about the administration. */
export function adminPage(): string {
  return page(
    'Administration',
    '<h1>Administration</h1><p>This coordinator is administered from the command line, on its own machine:</p>' +
      '<pre>motenet keys create\nmotenet devices list\nmotenet --help</pre><p>From another machine with a token ' +
      '(<code>motenet tokens create</code>): <code>motenet devices list --admin URL --token TOKEN</code>. Programs use ' +
      '<code>POST /api/v1/command</code>.</p>',
  );
}

/** Answers with a page. */
export function sendPage(request: IncomingMessage, response: ServerResponse, status: number, html: string): void {
  response.writeHead(status, { ...HEADERS, 'Content-Length': Buffer.byteLength(html) });
  response.end(request.method === 'HEAD' ? undefined : html);
}

/** Answers with a short text. */
export function sendText(
  response: ServerResponse,
  status: number,
  text: string,
  headers: Readonly<Record<string, string>> = {},
): void {
  const type = { 'Content-Type': 'text/plain; charset=utf-8', 'X-Content-Type-Options': 'nosniff' };
  response.writeHead(status, { ...type, 'Content-Length': Buffer.byteLength(text), ...headers }).end(text);
}
