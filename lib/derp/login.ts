/**
 * How a client and a relay get to know each other: the payloads of ServerKey, ClientInfo and ServerInfo. ClientInfo and
 * ServerInfo are JSON in a NaCl box between the client's node key and the relay's key, so that opening one proves that
 * its sender holds the secret key.
 *
 * The proof has no challenge: who has seen a ClientInfo can send it again. TLS around it keeps others from seeing it.
 * Left out: the mesh key, by which relays of one region know each other.
 */
import { concatBytes, equalRange, utf8Decode, utf8Encode } from '../base/bytes.ts';
import type { CryptoSuite } from '../crypto/suite.ts';
import { FRAME_HEADER_BYTES, KEY_BYTES, writeFrameHeader } from './frame.ts';

/** "DERP" and a key emoji: how the ServerKey frame begins. */
export const DERP_MAGIC = Object.freeze([0x44, 0x45, 0x52, 0x50, 0xf0, 0x9f, 0x94, 0x91]);
const NONCE_BYTES = 24;
const TAG_BYTES = 16;

/** What a client says of itself. */
export interface ClientInfo {
  readonly version: number;
  /** The relay may ask it with pings. */
  readonly canAckPings: boolean;
  /** It only measures and is nobody's peer. */
  readonly isProber: boolean;
}

/** What a relay says of itself; 0: no limit. */
export interface ServerInfo {
  readonly version: number;
  /** What a client may send per second, on average and at once; it drops the rest itself. */
  readonly bytesPerSecond: number;
  readonly burstBytes: number;
}

/** The payload of a ServerKey frame. */
export function serverKeyPayload(publicKey: Uint8Array): Uint8Array {
  return concatBytes(Uint8Array.from(DERP_MAGIC), publicKey);
}

/** The key of a ServerKey payload, copied; bytes behind it are for later versions. Undefined for anything else. */
export function parseServerKey(buf: Uint8Array, start: number, end: number): Uint8Array | undefined {
  const keyAt = start + DERP_MAGIC.length;
  if (end - keyAt < KEY_BYTES || !DERP_MAGIC.every((byte, i) => buf[start + i] === byte)) return undefined;
  return buf.slice(keyAt, keyAt + KEY_BYTES);
}

/** A whole frame: `prefix` in clear, a random nonce, and `info` as JSON in a box with `key`. */
export function sealedFrame(
  suite: CryptoSuite,
  random: (out: Uint8Array) => void,
  type: number,
  prefix: Uint8Array,
  key: Uint8Array,
  info: object,
): Uint8Array {
  const json = utf8Encode(JSON.stringify(info));
  const length = prefix.length + NONCE_BYTES + json.length + TAG_BYTES;
  const out = new Uint8Array(FRAME_HEADER_BYTES + length);
  const at = writeFrameHeader(out, 0, type, length);
  out.set(prefix, at);
  const nonce = out.subarray(at + prefix.length, at + prefix.length + NONCE_BYTES);
  random(nonce);
  suite.boxSeal(out.subarray(at + prefix.length + NONCE_BYTES), key, nonce, json);
  return out;
}

/** The JSON object of `[start, end)`: nonce and box. Undefined when it does not open or is no object. */
export function openSealed(
  suite: CryptoSuite,
  key: Uint8Array,
  buf: Uint8Array,
  start: number,
  end: number,
): { readonly [name: string]: unknown } | undefined {
  const sealedAt = start + NONCE_BYTES;
  if (end - sealedAt < TAG_BYTES) return undefined;
  const out = new Uint8Array(end - sealedAt - TAG_BYTES);
  const isGenuine = suite.boxOpen(out, key, buf.subarray(start, sealedAt), buf.subarray(sealedAt, end));
  if (!isGenuine) return undefined;
  try {
    const value: unknown = JSON.parse(utf8Decode(out));
    return typeof value === 'object' && value !== null ? (value as { [name: string]: unknown }) : undefined;
  } catch {
    return undefined;
  }
}

/** ClientInfo as it stands on the wire. */
export function clientInfoFields(canAckPings: boolean): object {
  return { version: 2, CanAckPings: canAckPings };
}

/** Reads a ClientInfo object; undefined without a version. */
export function parseClientInfo(fields: { readonly [name: string]: unknown }): ClientInfo | undefined {
  const { version, CanAckPings, IsProber } = fields;
  if (typeof version !== 'number') return undefined;
  return { version, canAckPings: CanAckPings === true, isProber: IsProber === true };
}

/** Reads a ServerInfo object; numbers that are absent or make no sense are 0. */
export function parseServerInfo(fields: { readonly [name: string]: unknown }): ServerInfo {
  return {
    version: natural(fields['version']),
    bytesPerSecond: natural(fields['TokenBucketBytesPerSecond']),
    burstBytes: natural(fields['TokenBucketBytesBurst']),
  };
}

function natural(value: unknown): number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0 ? value : 0;
}

/** Whether `length` bytes at `a` and `b` agree (keys are public here: no care for time). */
export function isSameKey(a: Uint8Array, aOffset: number, b: Uint8Array, bOffset: number): boolean {
  return equalRange(a, aOffset, b, bOffset, KEY_BYTES);
}
