/**
 * A session as bytes, so that a device that sleeps for seconds need not begin with a handshake when it wakes.
 *
 *     u8 version | u8 initiator | u32 local index | u32 remote index | u64 created, ms since 1970
 *     | u64 next counter to send | u64 greatest counter received | 32 send key | 32 receive key
 *
 * INVARIANT: a saved session goes on in one place and at most once, or nonces would repeat: who saves it ends it, and who
 * restores it has removed it from where it was kept before. The bytes are secret; they belong into memory that a loss of
 * power clears, not into flash, which forgets nothing.
 */
import { readU32LE, writeU32LE, writeU64LE } from '../base/bytes.ts';
import type { CryptoSuite } from '../crypto/suite.ts';
import { REKEY_AFTER_TIME_MS } from './constants.ts';
import { Session, type SessionLimits } from './session.ts';

/** Length of a saved session. */
export const SAVED_SESSION_BYTES = 98;

const VERSION = 1;
const KEYS_AT = 34;

/** What a restored session needs besides its bytes. */
export interface RestoreOptions {
  readonly peerId: number;
  readonly limits: SessionLimits;
}

/** Writes a session; undefined for one that was not made to be saved, or that is to be renewed anyway. */
export function saveSession(session: Session, nowMs: number, unixMs: number): Uint8Array | undefined {
  const { keys } = session;
  const ageMs = nowMs - session.createdMs;
  if (keys === undefined || session.isWiped || ageMs >= REKEY_AFTER_TIME_MS) return undefined;
  const out = new Uint8Array(SAVED_SESSION_BYTES);
  out[0] = VERSION;
  out[1] = session.isInitiator ? 1 : 0;
  writeU32LE(out, 2, session.localIndex);
  writeU32LE(out, 6, session.remoteIndex);
  writeU64LE(out, 10, Math.max(0, Math.floor(unixMs - ageMs)));
  writeU64LE(out, 18, session.sendCounter);
  writeU64LE(out, 26, session.receiveCounter);
  out.set(keys, KEYS_AT);
  return out;
}

/**
 * The session of {@link saveSession}, which can be saved again; undefined for bytes that are none, and for one that is
 * too old or, by a wall clock that went back, from the future.
 */
export function restoreSession(
  suite: CryptoSuite,
  bytes: Uint8Array,
  nowMs: number,
  unixMs: number,
  o: RestoreOptions,
): Session | undefined {
  if (bytes.length !== SAVED_SESSION_BYTES || bytes[0] !== VERSION) return undefined;
  const ageMs = unixMs - readNumber(bytes, 10);
  if (ageMs < 0) return undefined; // CHECK: wg-saved-future
  if (ageMs >= REKEY_AFTER_TIME_MS) return undefined; // CHECK: wg-saved-age
  const session = new Session(suite, {
    ...o,
    localIndex: readU32LE(bytes, 2),
    remoteIndex: readU32LE(bytes, 6),
    isInitiator: bytes[1] === 1,
    createdMs: nowMs - ageMs,
    sendKey: bytes.subarray(KEYS_AT, KEYS_AT + 32),
    receiveKey: bytes.subarray(KEYS_AT + 32),
    isSavable: true,
  });
  session.goOn(readNumber(bytes, 18), readNumber(bytes, 26));
  return session;
}

function readNumber(bytes: Uint8Array, at: number): number {
  return readU32LE(bytes, at + 4) * 2 ** 32 + readU32LE(bytes, at);
}
