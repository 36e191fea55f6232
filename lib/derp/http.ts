/**
 * The HTTP/1.1 around a relay connection (RFC 9110 §7.8, RFC 9112): the client's upgrade request and the reading of its
 * answer, and what a relay answers to a request that the target's HTTP server has already parsed.
 *
 * Left out: everything else of HTTP, and the WebSocket variant's framing, which is the target's library's business.
 */
import { fromHex, toHex, utf8Decode, utf8Encode } from '../base/bytes.ts';

/** Version of the relay protocol that both sides announce. */
export const DERP_VERSION = 2;

/** The bytes of an upgrade request. `host` goes into the Host header; throws RangeError where it or `path` has blanks. */
export function upgradeRequest(host: string, path = '/derp'): Uint8Array {
  expectVisible('host', host);
  expectVisible('path', path);
  return utf8Encode(
    `GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: DERP\r\nUser-Agent: motenet\r\n\r\n`,
  );
}

function expectVisible(name: string, text: string): void {
  const message = `"${name}" expected visible ASCII, got ${JSON.stringify(text)}`;
  if (!/^[\x21-\x7e]+$/.test(text)) throw new RangeError(message); // CHECK: derp-request-split
}

/** What the answer to an upgrade request says. */
export interface UpgradeAnswer {
  readonly status: number;
  /** Status 101 and an upgrade to DERP: frames follow. */
  readonly isUpgraded: boolean;
  /** The relay's key, when it names one in a header. */
  readonly serverKey: Uint8Array | undefined;
}

/** Collects the head of an HTTP answer from pieces of any size; bytes behind it stay where they are. */
export class UpgradeReader {
  /** The answer, once its head is complete. */
  answer: UpgradeAnswer | undefined = undefined;
  /** Where {@link read} stopped: the first byte behind the head. */
  offset = 0;
  readonly #head: Uint8Array;
  #length = 0;

  /** A head above `limitBytes` is refused. */
  constructor(limitBytes: number) {
    this.#head = new Uint8Array(limitBytes);
  }

  /** Goes on with `buf[start, end)`. False when this is not an HTTP answer, or its head is too large. */
  read(buf: Uint8Array, start: number, end: number): boolean {
    for (let at = start; at < end; ) {
      if (this.#length === this.#head.length) return false; // CHECK: derp-head-limit
      this.#head[this.#length++] = buf[at++]!;
      this.offset = at;
      if (!this.#isComplete()) continue;
      this.answer = parseHead(utf8Decode(this.#head, 0, this.#length));
      return this.answer !== undefined;
    }
    return true;
  }

  #isComplete(): boolean {
    const { length } = this;
    const head = this.#head;
    return length >= 4 && head[length - 1] === 10 && head[length - 2] === 13 && head[length - 3] === 10;
  }

  /** Bytes of the head so far. */
  get length(): number {
    return this.#length;
  }
}

function parseHead(text: string): UpgradeAnswer | undefined {
  const [first = '', ...lines] = text.split('\r\n');
  const match = /^HTTP\/1\.[01] ([1-5][0-9][0-9])(?: |$)/.exec(first);
  if (match === null) return undefined;
  const headers = new Map<string, string>();
  for (const line of lines) {
    const colon = line.indexOf(':');
    if (colon > 0) headers.set(line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim());
  }
  const status = Number(match[1]);
  const key = fromHex(headers.get('derp-public-key') ?? '');
  return {
    status,
    isUpgraded: status === 101 && headers.get('upgrade')?.toLowerCase() === 'derp',
    serverKey: key?.length === 32 ? key : undefined,
  };
}

/** A request as a target's HTTP server hands it over; header names in lower case. */
export interface RelayRequest {
  readonly method: string;
  /** Request target: path and query. */
  readonly target: string;
  readonly headers: { readonly [name: string]: string | readonly string[] | undefined };
}

/** What the target does with a request. */
export type RelayAnswer =
  /** Send the bytes (none for a fast start), then open a connection of the relay on the raw stream. */
  | { readonly type: 'derp'; readonly head: Uint8Array }
  /** Accept the WebSocket with subprotocol `derp`, no compression; binary messages carry the stream, borders mean nothing. */
  | { readonly type: 'websocket' }
  /** Answer so. */
  | {
      readonly type: 'response';
      readonly status: number;
      readonly headers: Readonly<Record<string, string>>;
      readonly body: string;
    };

const NO_CACHE = 'no-cache, no-store, must-revalidate, no-transform, max-age=0';

/**
 * What a relay with this public key answers to a request; undefined for a path that is not a relay's. HEAD is answered
 * as GET, the target leaves the body away.
 */
export function answerRelayRequest(request: RelayRequest, publicKey: Uint8Array): RelayAnswer | undefined {
  const path = request.target.split('?', 1)[0];
  const isRead = request.method === 'GET' || request.method === 'HEAD';
  if (path === '/derp') return answerUpgrade(request, publicKey);
  if (path === '/derp/probe' || path === '/derp/latency-check')
    return isRead ? respond(200, { 'Access-Control-Allow-Origin': '*' }) : respond(405, { Allow: 'GET, HEAD' });
  if (path !== '/generate_204') return undefined;
  const headers: Record<string, string> = { 'Cache-Control': NO_CACHE };
  const challenge = headerOf(request, 'x-tailscale-challenge');
  // Nothing is echoed but what cannot be markup or a header of its own.
  if (/^[A-Za-z0-9.:_-]{1,64}$/.test(challenge)) headers['X-Tailscale-Response'] = `response ${challenge}`;
  return respond(204, headers);
}

function answerUpgrade(request: RelayRequest, publicKey: Uint8Array): RelayAnswer {
  const upgrade = headerOf(request, 'upgrade').toLowerCase();
  const protocols = headerOf(request, 'sec-websocket-protocol').split(',');
  if (upgrade === 'websocket' && protocols.some(name => name.trim() === 'derp')) return { type: 'websocket' };
  if (request.method !== 'GET' || (upgrade !== 'derp' && upgrade !== 'websocket'))
    return respond(426, { Upgrade: 'DERP', Connection: 'Upgrade' }, 'this address speaks DERP: upgrade required\n');
  if (headerOf(request, 'derp-fast-start') === '1') return { type: 'derp', head: new Uint8Array(0) };
  const head =
    'HTTP/1.1 101 Switching Protocols\r\nUpgrade: DERP\r\nConnection: Upgrade\r\n' +
    `Derp-Version: ${DERP_VERSION}\r\nDerp-Public-Key: ${toHex(publicKey)}\r\n\r\n`;
  return { type: 'derp', head: utf8Encode(head) };
}

function respond(status: number, headers: Readonly<Record<string, string>>, body = ''): RelayAnswer {
  return { type: 'response', status, headers, body };
}

function headerOf(request: RelayRequest, name: string): string {
  const value = request.headers[name];
  return typeof value === 'string' ? value : (value?.join(', ') ?? '');
}
