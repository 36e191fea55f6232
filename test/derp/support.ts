/** Helpers of the relay tests: keys, frames, and streams taken apart. */
import { concatBytes, toHex, utf8Encode } from '../../lib/base/bytes.ts';
import { SecretKey } from '../../lib/crypto/keys.ts';
import { createNobleSuite } from '../../lib/crypto/noble.ts';
import { FrameDecoder, writeFrameHeader } from '../../lib/derp/frame.ts';
import { Seeded } from '../crypto/support.ts';

/** The suite of all relay tests. */
export const noble = createNobleSuite();

/** A secret of 32 times `byte`. */
export function secretOf(byte: number): SecretKey {
  return SecretKey.fromBytes(new Uint8Array(32).fill(byte));
}

const PUBLIC_KEYS = new Map<number, Uint8Array>();

/** The public key of {@link secretOf}. */
export function publicOf(byte: number): Uint8Array {
  const known = PUBLIC_KEYS.get(byte);
  if (known !== undefined) return known.slice();
  const out = new Uint8Array(32);
  noble.publicKey(out, new Uint8Array(32).fill(byte));
  PUBLIC_KEYS.set(byte, out);
  return out.slice();
}

/** A box key between two secrets' owners. */
export function boxKeyOf(secret: number, other: number): Uint8Array {
  const out = new Uint8Array(32);
  noble.boxKey(out, new Uint8Array(32).fill(secret), publicOf(other));
  return out;
}

/** Reproducible random bytes. */
export function seededRandom(seed: number): (out: Uint8Array) => void {
  const seeded = new Seeded(seed);
  return out => out.set(seeded.bytes(out.length));
}

/** A whole frame. */
export function frame(type: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const payload = concatBytes(...parts);
  const out = new Uint8Array(5 + payload.length);
  out.set(payload, writeFrameHeader(out, 0, type, payload.length));
  return out;
}

/** A frame taken apart. */
export interface Frame {
  readonly type: number;
  readonly payload: Uint8Array;
}

/** All frames of a stream. */
export function framesOf(stream: Uint8Array): Frame[] {
  const decoder = new FrameDecoder(1_000_000);
  const frames: Frame[] = [];
  for (let at = 0; ; at = decoder.offset) {
    const type = decoder.decode(stream, at, stream.length);
    if (type < 0) return frames;
    frames.push({ type, payload: decoder.payload.slice(decoder.payloadStart, decoder.payloadEnd) });
  }
}

/** `type:hex` of frames, for comparison. */
export function describeFrames(frames: readonly Frame[]): string[] {
  return frames.map(({ type, payload }) => `${type}:${toHex(payload)}`);
}

/** UTF-8 bytes. */
export const utf8 = utf8Encode;

/** Everything that a machine has to say, in pulls of `room` bytes. */
export function drain(poll: (out: Uint8Array, start: number, end: number) => number, room = 4096): Uint8Array {
  const parts: Uint8Array[] = [];
  const out = new Uint8Array(room + 2);
  for (;;) {
    const length = poll(out, 1, 1 + room);
    if (length === 0) return concatBytes(...parts);
    parts.push(out.slice(1, 1 + length));
  }
}
