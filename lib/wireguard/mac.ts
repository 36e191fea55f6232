/**
 * mac1, mac2 and cookies (WireGuard §5.4.4, §5.4.7).
 *
 * mac1 is keyed with the RECIPIENT's static public key and shows that the sender knows it. mac2 is keyed with a cookie
 * and shows that the sender can receive at the address and port from which it sends. A cookie is
 * `MAC(secret, address || port)` under a secret that is drawn anew every two minutes, so the side that is flooded
 * keeps no state. When a cookie is asked for is decided in admission.ts.
 */
import { type Endpoint, parseAddress } from '../base/address.ts';
import { equalBytes, equalRange, utf8Encode, writeU16BE, writeU32LE } from '../base/bytes.ts';
import type { CryptoSuite } from '../crypto/suite.ts';
import { COOKIE_REFRESH_TIME_MS } from './constants.ts';
import {
  COOKIE_REPLY_BYTES,
  COOKIE_REPLY_COOKIE_OFFSET,
  COOKIE_REPLY_NONCE_OFFSET,
  COOKIE_REPLY_RECEIVER_OFFSET,
  MAC_BYTES,
  TYPE_COOKIE_REPLY,
} from './message.ts';

const LABEL_MAC1 = 'mac1----';
const LABEL_COOKIE = 'cookie--';
/** Address (IPv4 mapped into IPv6) and port. */
const SOURCE_BYTES = 18;

/** `HASH("mac1----" || publicKey)`: the key of mac1 in messages to the owner of `publicKey`. */
export function mac1Key(suite: CryptoSuite, publicKey: Uint8Array): Uint8Array {
  return labelledKey(suite, LABEL_MAC1, publicKey);
}

/** `HASH("cookie--" || publicKey)`: the key of cookie replies from the owner of `publicKey`. */
export function cookieKey(suite: CryptoSuite, publicKey: Uint8Array): Uint8Array {
  return labelledKey(suite, LABEL_COOKIE, publicKey);
}

function labelledKey(suite: CryptoSuite, label: string, publicKey: Uint8Array): Uint8Array {
  const key = new Uint8Array(32);
  suite.hash(key, utf8Encode(label), publicKey);
  return key;
}

/**
 * Writes mac1 and mac2 of the message at `buf[start, ...)` whose mac1 is at `start + mac1Offset`.
 * Without `cookie` mac2 is all zero.
 */
export function writeMacs(
  suite: CryptoSuite,
  buf: Uint8Array,
  start: number,
  mac1Offset: number,
  recipient: Uint8Array,
  cookie: Uint8Array | undefined,
): void {
  const mac1 = buf.subarray(start + mac1Offset, start + mac1Offset + MAC_BYTES);
  const mac2 = buf.subarray(start + mac1Offset + MAC_BYTES, start + mac1Offset + 2 * MAC_BYTES);
  suite.mac(mac1, mac1Key(suite, recipient), buf, start, start + mac1Offset);
  if (cookie === undefined) mac2.fill(0);
  else suite.mac(mac2, cookie, buf, start, start + mac1Offset + MAC_BYTES);
}

/**
 * Opens the cookie reply at `buf[start, start + 64)` that answers a message with `mac1` to `responder`.
 * `undefined` when it was not made by somebody who saw that message.
 */
export function openCookieReply(
  suite: CryptoSuite,
  buf: Uint8Array,
  start: number,
  responder: Uint8Array,
  mac1: Uint8Array,
): Uint8Array | undefined {
  const cookie = new Uint8Array(MAC_BYTES);
  const nonce = buf.subarray(start + COOKIE_REPLY_NONCE_OFFSET, start + COOKIE_REPLY_COOKIE_OFFSET);
  const sealed = buf.subarray(start + COOKIE_REPLY_COOKIE_OFFSET, start + COOKIE_REPLY_BYTES);
  const isAuthentic = suite.xaeadOpen(cookie, cookieKey(suite, responder), nonce, mac1, sealed);
  return isAuthentic ? cookie : undefined;
}

/** The 16 address bytes (IPv4 mapped) and 2 port bytes of an endpoint; a zone does not count. */
export function sourceBytes(from: Endpoint): Uint8Array {
  const out = new Uint8Array(SOURCE_BYTES);
  const zone = from.address.indexOf('%');
  const address = parseAddress(zone < 0 ? from.address : from.address.slice(0, zone));
  if (address?.length === 4) {
    out[10] = 0xff;
    out[11] = 0xff;
  }
  if (address !== undefined) out.set(address, 16 - address.length);
  writeU16BE(out, 16, from.port);
  return out;
}

/** The receiving side: checks MACs of messages to one static key and makes its cookies. */
export class MacChecker {
  readonly #suite: CryptoSuite;
  readonly #random: (out: Uint8Array) => void;
  readonly #publicKey: Uint8Array;
  readonly #mac1Key: Uint8Array;
  /** Drawn with the first cookie: who is never flooded needs none. */
  #secret: Uint8Array | undefined = undefined;
  #secretUntilMs = Number.NEGATIVE_INFINITY;

  /** `publicKey` is not copied. */
  constructor(suite: CryptoSuite, random: (out: Uint8Array) => void, publicKey: Uint8Array) {
    this.#suite = suite;
    this.#random = random;
    this.#publicKey = publicKey;
    this.#mac1Key = mac1Key(suite, publicKey);
  }

  /** Whether mac1 at `start + mac1Offset` is right. */
  hasMac1(buf: Uint8Array, start: number, mac1Offset: number): boolean {
    const mac = new Uint8Array(MAC_BYTES);
    this.#suite.mac(mac, this.#mac1Key, buf, start, start + mac1Offset);
    return equalRange(mac, 0, buf, start + mac1Offset, MAC_BYTES);
  }

  /** Whether mac2, behind mac1, is right for a cookie that this side gave to `source` ({@link sourceBytes}). */
  hasMac2(nowMs: number, buf: Uint8Array, start: number, mac1Offset: number, source: Uint8Array): boolean {
    if (nowMs >= this.#secretUntilMs) return false; // CHECK: wg-cookie-age
    const end = start + mac1Offset + MAC_BYTES;
    const mac = new Uint8Array(MAC_BYTES);
    this.#suite.mac(mac, this.#cookie(source), buf, start, end);
    return equalBytes(mac, buf.subarray(end, end + MAC_BYTES));
  }

  /** Writes into `out` (64 bytes) the reply that gives `source` its cookie, for a message with `mac1` and `sender`. */
  writeCookieReply(nowMs: number, out: Uint8Array, sender: number, mac1: Uint8Array, source: Uint8Array): void {
    if (nowMs >= this.#secretUntilMs) {
      this.#secret ??= new Uint8Array(32);
      this.#random(this.#secret);
      this.#secretUntilMs = nowMs + COOKIE_REFRESH_TIME_MS;
    }
    const nonce = out.subarray(COOKIE_REPLY_NONCE_OFFSET, COOKIE_REPLY_COOKIE_OFFSET);
    this.#random(nonce);
    writeU32LE(out, 0, TYPE_COOKIE_REPLY);
    writeU32LE(out, COOKIE_REPLY_RECEIVER_OFFSET, sender);
    const sealed = out.subarray(COOKIE_REPLY_COOKIE_OFFSET, COOKIE_REPLY_BYTES);
    const key = cookieKey(this.#suite, this.#publicKey);
    this.#suite.xaeadSeal(sealed, key, nonce, mac1, this.#cookie(source));
  }

  /** Erases the secret behind all cookies. */
  wipe(): void {
    this.#secret?.fill(0);
    this.#secret = undefined;
    this.#secretUntilMs = Number.NEGATIVE_INFINITY;
  }

  #cookie(source: Uint8Array): Uint8Array {
    const cookie = new Uint8Array(MAC_BYTES);
    // INVARIANT: there is a secret before `#secretUntilMs`.
    this.#suite.mac(cookie, this.#secret!, source, 0, source.length);
    return cookie;
  }
}
