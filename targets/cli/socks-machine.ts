/**
 * The SOCKS5 server side as a machine (RFC 1928): the greeting, the request and the reply of a connection, and the
 * header of a UDP datagram. No authentication (RFC 1929 and GSS-API are left out), no BIND, no fragments: those are
 * answered as the RFC says. Clients that speak SOCKS4 or HTTP by mistake get an answer in their own language.
 */
import { canonicalAddress, type Endpoint, formatAddress, parseAddress } from '../../lib/base/address.ts';
import { concatBytes, readU16BE, utf8Encode, writeU16BE } from '../../lib/base/bytes.ts';

/** Reply codes (RFC 1928 §6). */
export const SOCKS_REPLY = /* @__PURE__ */ Object.freeze({
  succeeded: 0,
  generalFailure: 1,
  notAllowed: 2,
  networkUnreachable: 3,
  hostUnreachable: 4,
  connectionRefused: 5,
  ttlExpired: 6,
  commandNotSupported: 7,
  addressTypeNotSupported: 8,
});

const VERSION = 5;
const NO_AUTHENTICATION = 0;
const NO_ACCEPTABLE_METHOD = 0xff;
const COMMAND_CONNECT = 1;
const COMMAND_ASSOCIATE = 3;
const TYPE_IPV4 = 1;
const TYPE_NAME = 3;
const TYPE_IPV6 = 4;
const NO_BYTES = new Uint8Array(0);

/** What a client wants. */
export interface SocksRequest {
  readonly type: 'request';
  readonly command: 'connect' | 'associate';
  /** A canonical address, or a name in lower case. */
  readonly host: string;
  /** 0 only for `associate`. */
  readonly port: number;
}

/** What {@link SocksMachine.pollEvent} gives. After `failed` the answer, if any, is sent and the connection closed. */
export type SocksEvent = SocksRequest | { readonly type: 'failed'; readonly why: string };

/**
 * One connection of a client, up to the reply. Any bytes give at most one event; whole and piecewise feeding agree.
 * Holds at most 262 bytes (the longest request) and what came in the same piece; feed nothing after an event.
 */
export class SocksMachine {
  #state: 'greeting' | 'request' | 'answering' | 'done' = 'greeting';
  #buffer: Uint8Array = NO_BYTES;
  readonly #transmits: Uint8Array[] = [];
  readonly #events: SocksEvent[] = [];

  /** Bytes from the client; copied. Those behind the request are kept for {@link takeRest}. */
  handleData(data: Uint8Array): void {
    if (this.#state === 'done') return;
    this.#buffer = concatBytes(this.#buffer, data);
    if (this.#state === 'greeting') this.#greeting();
    if (this.#state === 'request') this.#request();
  }

  /** The next bytes for the client. */
  pollTransmit(): Uint8Array | undefined {
    return this.#transmits.shift();
  }

  /** The next event. */
  pollEvent(): SocksEvent | undefined {
    return this.#events.shift();
  }

  /** Answers the request: with {@link SOCKS_REPLY} `succeeded` and the address in use, or with why not. */
  reply(code: number, bound?: Endpoint): void {
    if (this.#state !== 'answering') throw new Error('bug: a SOCKS reply without a request');
    this.#state = 'done';
    this.#transmits.push(replyBytes(code, bound));
  }

  /** What the client sent behind its request, for the connection that it asked for. Once. */
  takeRest(): Uint8Array {
    const rest = this.#buffer;
    this.#buffer = NO_BYTES;
    return rest;
  }

  #greeting(): void {
    const buf = this.#buffer;
    if (buf.length > 0 && buf[0] !== VERSION) this.#foreign(buf[0]!);
    else if (buf.length >= 2 && buf.length >= 2 + buf[1]!) this.#chooseMethod(2 + buf[1]!);
  }

  #chooseMethod(end: number): void {
    if (this.#buffer.subarray(2, end).includes(NO_AUTHENTICATION)) {
      this.#transmits.push(Uint8Array.of(VERSION, NO_AUTHENTICATION));
      this.#buffer = this.#buffer.slice(end);
      this.#state = 'request';
    } else {
      const why = 'the client offers no method without a password: set it to "no authentication"';
      this.#fail(why, Uint8Array.of(VERSION, NO_ACCEPTABLE_METHOD));
    }
  }

  #request(): void {
    const buf = this.#buffer;
    if (buf.length > 0 && buf[0] !== VERSION)
      this.#refuse(SOCKS_REPLY.generalFailure, `a request of version ${buf[0]}`);
    else if (buf.length > 1 && buf[1] !== COMMAND_CONNECT && buf[1] !== COMMAND_ASSOCIATE)
      this.#refuse(SOCKS_REPLY.commandNotSupported, `command ${buf[1]} is not supported`);
    else if (buf.length >= 4) this.#target(buf[1] === COMMAND_CONNECT ? 'connect' : 'associate');
  }

  #target(command: 'connect' | 'associate'): void {
    const buf = this.#buffer;
    const size = addressSize(buf, 3);
    if (size === undefined)
      this.#refuse(SOCKS_REPLY.addressTypeNotSupported, `address type ${buf[3]} is not supported`);
    else if (size > 1 && buf.length >= 3 + size) {
      const to = readTarget(buf, 3);
      if (to === undefined) this.#refuse(SOCKS_REPLY.hostUnreachable, 'a name that is not one');
      else if (to.port === 0 && command === 'connect') this.#refuse(SOCKS_REPLY.generalFailure, 'port 0');
      else {
        this.#buffer = buf.slice(3 + size);
        this.#state = 'answering';
        this.#events.push({ type: 'request', command, host: to.address, port: to.port });
      }
    }
  }

  #refuse(code: number, why: string): void {
    this.#fail(why, replyBytes(code));
  }

  #foreign(first: number): void {
    if (first === 4) this.#fail('the client speaks SOCKS4: set it to SOCKS5', Uint8Array.of(0, 0x5b, 0, 0, 0, 0, 0, 0));
    else if (first >= 65 && first <= 90)
      this.#fail('the client speaks HTTP: set it to a SOCKS5 proxy', utf8Encode(httpAnswer()));
    else this.#fail(`the client does not speak SOCKS5 (first byte ${first})`);
  }

  #fail(why: string, answer?: Uint8Array): void {
    this.#state = 'done';
    this.#buffer = NO_BYTES;
    if (answer !== undefined) this.#transmits.push(answer);
    this.#events.push({ type: 'failed', why });
  }
}

function httpAnswer(): string {
  const body = 'This port speaks SOCKS5, not HTTP: set the client to a SOCKS5 proxy.\n';
  const head = ['HTTP/1.1 400 Bad Request', 'Connection: close', 'Content-Type: text/plain'];
  return [...head, `Content-Length: ${body.length}`, '', body].join('\r\n');
}

/** A UDP datagram of a client (RFC 1928 §7): where to, and where its data begin. */
export interface SocksDatagram {
  /** A canonical address, or a name in lower case. */
  readonly host: string;
  readonly port: number;
  /** Offset of the data. */
  readonly start: number;
}

/** Reads the header of a client's datagram; undefined for a fragment, a bad header or port 0. */
export function parseSocksDatagram(buf: Uint8Array): SocksDatagram | undefined {
  if (buf.length < 4 || buf[0] !== 0 || buf[1] !== 0) return undefined;
  if (buf[2] !== 0) return undefined; // CHECK: socks-udp-fragment
  const size = addressSize(buf, 3);
  if (size === undefined || size === 1 || buf.length < 3 + size) return undefined;
  const to = readTarget(buf, 3);
  return to === undefined || to.port === 0 ? undefined : { host: to.address, port: to.port, start: 3 + size };
}

/** A datagram for a client: header and data. */
export function writeSocksDatagram(from: Endpoint, data: Uint8Array): Uint8Array {
  return concatBytes(Uint8Array.of(0, 0, 0), addressBytes(from), data);
}

/** Bytes of type, address and port at `at`; 1 while the length of a name is not there; undefined: unknown type. */
function addressSize(buf: Uint8Array, at: number): number | undefined {
  if (buf[at] === TYPE_IPV4) return 7;
  if (buf[at] === TYPE_IPV6) return 19;
  if (buf[at] === TYPE_NAME) return buf.length > at + 1 ? 4 + buf[at + 1]! : 1;
  return undefined;
}

function readTarget(buf: Uint8Array, at: number): Endpoint | undefined {
  if (buf[at] === TYPE_IPV4) return { address: formatAddress(buf, at + 1, 4), port: readU16BE(buf, at + 5) };
  if (buf[at] === TYPE_IPV6) return { address: formatAddress(buf, at + 1, 16), port: readU16BE(buf, at + 17) };
  const end = at + 2 + buf[at + 1]!;
  let name = '';
  for (let i = at + 2; i < end; i++) name += String.fromCharCode(buf[i]!);
  if (!/^[\x21-\x7e]+$/.test(name)) return undefined;
  return { address: canonicalAddress(name) ?? name.toLowerCase(), port: readU16BE(buf, end) };
}

function addressBytes(endpoint: Endpoint): Uint8Array {
  const bytes = parseAddress(endpoint.address) ?? new Uint8Array(4);
  const out = new Uint8Array(bytes.length + 3);
  out[0] = bytes.length === 4 ? TYPE_IPV4 : TYPE_IPV6;
  out.set(bytes, 1);
  writeU16BE(out, bytes.length + 1, endpoint.port);
  return out;
}

function replyBytes(code: number, bound: Endpoint = { address: '0.0.0.0', port: 0 }): Uint8Array {
  return concatBytes(Uint8Array.of(VERSION, code, 0), addressBytes(bound));
}
