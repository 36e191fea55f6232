/**
 * The HTTP/1.1 around a control connection (RFC 9110 §7.8, RFC 9112): the client's upgrade request, the strict reading
 * of its answer, and what a coordinator answers to a request that the target's HTTP server has already parsed.
 *
 * Left out: everything else of HTTP; GET /key, which is an ordinary request of the target; the WebSocket variant.
 */
import { copyBytes, fromBase64, NO_BYTES, toBase64, utf8Encode } from '../base/bytes.ts';

/** The value of the Upgrade header. */
export const UPGRADE_PROTOCOL = 'tailscale-control-protocol';
const HANDSHAKE_HEADER = 'X-Tailscale-Handshake';
/** The initiation: version, type, length, Noise's first message. */
export const INITIATION_BYTES = 101;
/** Memory for a head is taken in pieces of this size. */
const GROW_BYTES = 256;

/** The bytes of an upgrade request. RangeError where `host` or `path` has anything but visible ASCII. */
export function upgradeRequest(host: string, path: string, initiation: Uint8Array): Uint8Array {
  expectVisible('host', host);
  expectVisible('path', path);
  return utf8Encode(
    `POST ${path} HTTP/1.1\r\nHost: ${host}\r\nUpgrade: ${UPGRADE_PROTOCOL}\r\nConnection: upgrade\r\n` +
      `${HANDSHAKE_HEADER}: ${toBase64(initiation)}\r\nContent-Length: 0\r\n\r\n`,
  );
}

function expectVisible(name: string, text: string): void {
  const message = `"${name}" expected visible ASCII, got ${JSON.stringify(text)}`;
  if (!/^[\x21-\x7e]+$/.test(text)) throw new RangeError(message); // CHECK: ts2021-request-split
}

/** Collects the head of an HTTP answer from pieces of any size; bytes behind it stay where they are. */
export class HeadReader {
  /** Status of the answer, once its head is complete. */
  status = 0;
  /** Status 101 and an upgrade to the control protocol. */
  isUpgraded = false;
  /** Where {@link read} stopped: the first byte behind the head. */
  offset = 0;
  readonly #limitBytes: number;
  #head = NO_BYTES;
  #length = 0;

  /** A head above `limitBytes` is refused. */
  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  /** Goes on with `buf[start, end)`: true when the head is complete, undefined for more, false when it is not good. */
  read(buf: Uint8Array, start: number, end: number): boolean | undefined {
    for (let at = start; at < end; ) {
      if (this.#length >= this.#limitBytes) return false; // CHECK: ts2021-head-limit
      const byte = buf[at++]!;
      if (byte > 0x7e || (byte < 0x20 && byte !== 9 && byte !== 10 && byte !== 13)) return false; // CHECK: ts2021-head-text
      if (this.#length === this.#head.length) this.#grow();
      this.#head[this.#length++] = byte;
      this.offset = at;
      if (byte === 10 && this.#isComplete()) return this.#parse();
    }
    return undefined;
  }

  #grow(): void {
    const larger = new Uint8Array(this.#length + GROW_BYTES);
    copyBytes(larger, 0, this.#head, 0, this.#length);
    this.#head = larger;
  }

  #isComplete(): boolean {
    const head = this.#head;
    const length = this.#length;
    return length >= 4 && head[length - 2] === 13 && head[length - 3] === 10 && head[length - 4] === 13;
  }

  #parse(): boolean {
    const text = String.fromCharCode(...this.#head.subarray(0, this.#length - 4));
    this.#head = NO_BYTES;
    const [first = '', ...lines] = text.split('\r\n');
    const match = /^HTTP\/1\.1 ([1-5][0-9][0-9])(?: |$)/.exec(first);
    if (match === null || /[\r\n]/.test(first)) return false;
    const upgrades: string[] = [];
    for (const line of lines) {
      const field = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n]*)$/.exec(line);
      if (field === null) return false; // CHECK: ts2021-head-field
      if (field[1]!.toLowerCase() === 'upgrade') upgrades.push(field[2]!.trimEnd());
    }
    this.status = Number(match[1]);
    this.isUpgraded = this.status === 101 && upgrades.length === 1 && upgrades[0] === UPGRADE_PROTOCOL;
    return true;
  }
}

/** A request as a target's HTTP server hands it over; header names in lower case. */
export interface ControlRequest {
  readonly method: string;
  readonly headers: { readonly [name: string]: string | readonly string[] | undefined };
}

/** What the target does with a request for /ts2021. */
export type ControlAnswer =
  /** Send `head`, then open a ControlResponder with `initiation` on the raw stream; bytes behind the request are its. */
  | { readonly type: 'upgrade'; readonly head: Uint8Array; readonly initiation: Uint8Array }
  /** Answer so. */
  | { readonly type: 'response'; readonly status: number; readonly body: string };

/** What a coordinator answers to a request for /ts2021. */
export function answerControlRequest(request: ControlRequest): ControlAnswer {
  const refuse = (status: number, body: string): ControlAnswer => ({ type: 'response', status, body });
  if (request.method !== 'POST' && request.method !== 'GET') return refuse(405, 'method not allowed\n');
  if (request.headers['upgrade'] !== UPGRADE_PROTOCOL) return refuse(400, 'missing or unknown upgrade\n');
  const handshake = request.headers[HANDSHAKE_HEADER.toLowerCase()];
  if (typeof handshake !== 'string') return refuse(400, `missing ${HANDSHAKE_HEADER} header\n`);
  const initiation = fromBase64(handshake);
  if (initiation?.length !== INITIATION_BYTES) return refuse(400, `invalid ${HANDSHAKE_HEADER} header\n`);
  const head = `HTTP/1.1 101 Switching Protocols\r\nUpgrade: ${UPGRADE_PROTOCOL}\r\nConnection: upgrade\r\n\r\n`;
  return { type: 'upgrade', head: utf8Encode(head), initiation };
}
