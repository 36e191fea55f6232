/** What a client sends: the body of a `fetch`, whether it can be sent twice, and the fields that the client decides. */
import type { FetchClasses, FetchHeaders, FetchInit, FetchReader, FetchRequest, FetchUrl } from './fetch-types.ts';
import { BODY_CHUNKED } from './http-head.ts';
import { isHostText } from './http-syntax.ts';
import { type BodyStart, formatHead, startBody } from './http-write.ts';

/** Fields that belong to the connection, not to the caller. */
const CONNECTION_FIELDS = Object.freeze([
  'connection',
  'content-length',
  'host',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/** The content of a request. */
export interface OutgoingBody {
  /** Whether {@link start} may be called again, for a redirect or another try. */
  readonly isReplayable: boolean;
  /** Length in bytes where it is known. */
  readonly length: number | undefined;
  /** Begins to read it. */
  start(): Promise<BodyStart>;
}

/** One request, as it is sent to one place. */
export interface OutgoingRequest {
  readonly method: string;
  readonly url: FetchUrl;
  readonly headers: FetchHeaders;
  readonly body: OutgoingBody | undefined;
}

/**
 * The body of a request. Texts, bytes and form fields are kept, so that they can be sent again; a `Blob` is read again;
 * anything else is a stream, which can be sent once.
 */
export async function createBody(
  request: FetchRequest,
  init: FetchInit | undefined,
): Promise<OutgoingBody | undefined> {
  const source = init?.body;
  if (request.body === null) return undefined;
  if (isKept(source)) {
    // Bun leaves this to its own fetch.
    const isTyped = typeof source !== 'string' || request.headers.has('content-type');
    if (!isTyped) request.headers.set('content-type', 'text/plain;charset=UTF-8');
    const bytes = new Uint8Array(await request.arrayBuffer());
    return { isReplayable: true, length: bytes.length, start: async () => wholeBody(bytes) };
  }
  if (kindOf(source) === 'Blob' || kindOf(source) === 'File') {
    const blob = source as { size: number; stream(): { getReader(): FetchReader } };
    return { isReplayable: true, length: blob.size, start: () => startBody(blob.stream().getReader()) };
  }
  const stream = request.body;
  const declared = request.headers.get('content-length') ?? '';
  const length = /^[0-9]{1,15}$/.test(declared) ? Number(declared) : undefined;
  return { isReplayable: false, length, start: () => startBody(stream.getReader()) };
}

function isKept(source: unknown): boolean {
  const kind = kindOf(source);
  return kind === 'String' || kind === 'ArrayBuffer' || kind === 'URLSearchParams' || ArrayBuffer.isView(source);
}

/** `Blob`, `FormData`, …: not instanceof, because the core knows no runtime's classes. */
function kindOf(value: unknown): string {
  return Object.prototype.toString.call(value).slice(8, -1);
}

function wholeBody(bytes: Uint8Array): BodyStart {
  const reader: FetchReader = {
    read: async () => ({ done: true }),
    cancel: async () => undefined,
    releaseLock: () => undefined,
  };
  return { reader, pieces: [bytes], bytes: bytes.length, isWhole: true, pending: undefined };
}

/** The head of a request as bytes, and the framing of its body. Throws TypeError for a Host field that is not one. */
export function formatRequest(request: OutgoingRequest, start: BodyStart | undefined, userAgent: string | undefined) {
  const { method, url, headers, body } = request;
  const host = headers.get('host') ?? url.host;
  if (!isHostText(host)) throw new TypeError('"host" expected a host name or address, with a port or without');
  const fields: [string, string][] = [['host', host]];
  headers.forEach((value, name) => {
    if (!CONNECTION_FIELDS.includes(name)) fields.push([name, value]);
  });
  if (!headers.has('accept')) fields.push(['accept', '*/*']);
  // Content codings are not undone here, so none is asked for unless the caller does.
  if (!headers.has('accept-encoding')) fields.push(['accept-encoding', 'identity']);
  if (userAgent !== undefined && !headers.has('user-agent')) fields.push(['user-agent', userAgent]);
  const length = start?.isWhole === true ? start.bytes : body?.length;
  const framing = start === undefined ? 0 : (body?.length ?? length ?? BODY_CHUNKED);
  const needsLength = start !== undefined || method === 'POST' || method === 'PUT' || method === 'PATCH';
  if (framing === BODY_CHUNKED) fields.push(['transfer-encoding', 'chunked']);
  else if (needsLength) fields.push(['content-length', String(framing)]);
  const isLast = /\bclose\b/i.test(headers.get('connection') ?? '');
  if (isLast) fields.push(['connection', 'close']);
  return { bytes: formatHead(`${method} ${url.pathname}${url.search} HTTP/1.1`, fields), framing, isLast };
}

/** Fields that are meant for one origin. */
const SECRETS = Object.freeze(['authorization', 'proxy-authorization', 'cookie', 'host']);

/** Statuses that send the client elsewhere (RFC 9110 §15.4). */
const REDIRECTS = Object.freeze([301, 302, 303, 307, 308]);

/** Whether a response is a redirect that can be followed. */
export function isRedirect(status: number): boolean {
  return REDIRECTS.includes(status);
}

/**
 * The request that a redirect asks for (Fetch, "HTTP-redirect fetch"): 303, and 301 and 302 after POST, become a GET
 * without content; credentials do not go to another origin. Throws TypeError for content that cannot be sent twice.
 */
export function redirectRequest(
  request: OutgoingRequest,
  status: number,
  url: FetchUrl,
  classes: FetchClasses,
): OutgoingRequest {
  let { method, body } = request;
  const headers = new classes.Headers(request.headers);
  const isRewritten = status === 303 ? method !== 'GET' && method !== 'HEAD' : status < 303 && method === 'POST';
  if (isRewritten) {
    method = 'GET';
    body = undefined;
    for (const name of ['encoding', 'language', 'location', 'type', 'length']) headers.delete(`content-${name}`);
  }
  if (body !== undefined && !body.isReplayable)
    throw new TypeError(`"body" is a stream, which cannot be sent again after a redirect with ${status}`);
  const isElsewhere = url.origin !== request.url.origin;
  if (isElsewhere) for (const name of SECRETS) headers.delete(name); // CHECK: http-redirect-credentials
  return { method, url, headers, body };
}
