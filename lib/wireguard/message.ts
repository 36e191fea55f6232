/**
 * The four messages of WireGuard (§5.4.2 to §5.4.7) as sizes and offsets; all integers are little-endian.
 *
 * Only the outer form is judged here: the type word with its three reserved zero bytes, and the length, which is exact
 * for all but transport data. What the fields mean is the business of handshake.ts, mac.ts and session.ts.
 */
import { readU32LE } from '../base/bytes.ts';
import { type DropReason, dropReason } from '../base/drop.ts';

/** Message types. */
export const TYPE_INITIATION = 1;
export const TYPE_RESPONSE = 2;
export const TYPE_COOKIE_REPLY = 3;
export const TYPE_DATA = 4;

/** Sender index, in initiation and response. */
export const SENDER_OFFSET = 4;
/** Bytes of a mac1, a mac2 or a cookie. */
export const MAC_BYTES = 16;

/** Initiation: type, sender, then the Noise message (ephemeral, static, timestamp), mac1, mac2. */
export const INITIATION_BYTES = 148;
export const INITIATION_NOISE_OFFSET = 8;
export const INITIATION_TIMESTAMP_OFFSET = 88;
export const INITIATION_MAC1_OFFSET = 116;

/** Response: type, sender, receiver, then the Noise message (ephemeral, tag), mac1, mac2. */
export const RESPONSE_BYTES = 92;
export const RESPONSE_RECEIVER_OFFSET = 8;
export const RESPONSE_NOISE_OFFSET = 12;
export const RESPONSE_MAC1_OFFSET = 60;

/** Cookie reply: type, receiver, nonce (24), sealed cookie (32). */
export const COOKIE_REPLY_BYTES = 64;
export const COOKIE_REPLY_RECEIVER_OFFSET = 4;
export const COOKIE_REPLY_NONCE_OFFSET = 8;
export const COOKIE_REPLY_COOKIE_OFFSET = 32;

/** Transport data: type, receiver, counter (8), then the sealed packet. */
export const DATA_RECEIVER_OFFSET = 4;
export const DATA_COUNTER_OFFSET = 8;
export const DATA_HEADER_BYTES = 16;
/** Bytes of an authentication tag. */
export const TAG_BYTES = 16;
/** Bytes that a datagram is longer than its padded packet; also the least length of transport data, a keepalive. */
export const DATA_OVERHEAD_BYTES = DATA_HEADER_BYTES + TAG_BYTES;

const TOO_SHORT = /* @__PURE__ */ dropReason('wg-too-short');
const UNKNOWN_TYPE = /* @__PURE__ */ dropReason('wg-unknown-type');
const BAD_LENGTH = /* @__PURE__ */ dropReason('wg-bad-length');

/** The type (1 to 4) of the datagram `buf[start, end)` if its form is right, else the reason to drop it. */
export function classify(buf: Uint8Array, start: number, end: number): number | DropReason {
  const length = end - start;
  if (length < 4) return TOO_SHORT; // CHECK: wg-datagram-too-short
  // The reserved bytes are part of the word: a stock peer drops a message in which they are not zero, and so do we.
  const type = readU32LE(buf, start);
  if (type === TYPE_DATA) {
    if (length < DATA_OVERHEAD_BYTES) return TOO_SHORT; // CHECK: wg-data-too-short
    return type;
  }
  if (type < TYPE_INITIATION || type > TYPE_DATA) return UNKNOWN_TYPE; // CHECK: wg-reserved-bytes
  const expected =
    type === TYPE_INITIATION ? INITIATION_BYTES : type === TYPE_RESPONSE ? RESPONSE_BYTES : COOKIE_REPLY_BYTES;
  if (length !== expected) return BAD_LENGTH; // CHECK: wg-exact-length
  return type;
}
