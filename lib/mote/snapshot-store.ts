/**
 * The snapshot of a tailnet's member in its store, in pieces of the size that small stores take. Each piece is: schema
 * byte, number of pieces, a checksum of the whole (32 bits, FNV-1a), bytes. Pieces of two snapshots, or damaged ones, are
 * no snapshot: nothing is lost by it but the quick start.
 *
 * Sessions of the tunnel are apart, in memory that forgets without power, and are removed as they are read: one that
 * went on twice would use its nonces twice.
 */
import { fnv1a } from '../base/checksum.ts';
import { concatBytes, equalBytes, readU32LE, writeU32LE } from '../base/bytes.ts';
import type { Store } from '../ports.ts';
import { SAVED_SESSION_BYTES } from '../wireguard/saved-session.ts';
import type { SavedSession } from '../wireguard/types.ts';

const SCHEMA = 1;
const HEAD_BYTES = 6;
const PIECE_BYTES = 1900 - HEAD_BYTES;
const MAX_PIECES = 4;
const SESSIONS_NAME = 'sessions';
/** A public key and a session. */
const KEPT_BYTES = 32 + SAVED_SESSION_BYTES;
const MAX_SESSIONS = Math.floor(1899 / KEPT_BYTES);

/** The largest snapshot. */
export const MAX_SNAPSHOT_BYTES = MAX_PIECES * PIECE_BYTES;

/** Stores a snapshot, unless it is stored already: memory of small devices wears out. Throws NetError `ERR_STORE`. */
export function saveSnapshot(store: Store, bytes: Uint8Array): void {
  if (bytes.length > MAX_SNAPSHOT_BYTES)
    throw new RangeError(`"bytes" expected at most ${MAX_SNAPSHOT_BYTES}, got ${bytes.length}`);
  const known = loadSnapshot(store);
  if (known !== undefined && equalBytes(known, bytes)) return;
  const pieces = Math.ceil(bytes.length / PIECE_BYTES);
  for (let i = 0; i < pieces; i++) {
    const head = new Uint8Array(HEAD_BYTES);
    head[0] = SCHEMA;
    head[1] = pieces;
    writeU32LE(head, 2, fnv1a(bytes, 0, bytes.length));
    store.save(nameOf(i), concatBytes(head, bytes.subarray(i * PIECE_BYTES, (i + 1) * PIECE_BYTES)));
  }
  for (let i = pieces; i < MAX_PIECES; i++) store.remove(nameOf(i));
}

/** The stored snapshot, or undefined. Throws NetError `ERR_STORE` when the store cannot be read. */
export function loadSnapshot(store: Store): Uint8Array | undefined {
  const pieces: Uint8Array[] = [];
  let count = 1;
  let sum = 0;
  for (let i = 0; i < count; i++) {
    const value = store.load(nameOf(i));
    if (value === undefined || value.length < HEAD_BYTES || value[0] !== SCHEMA) return undefined;
    if (i === 0) [count, sum] = [Math.min(value[1]!, MAX_PIECES), readU32LE(value, 2)];
    pieces.push(value.subarray(HEAD_BYTES));
  }
  const bytes = concatBytes(...pieces);
  return fnv1a(bytes, 0, bytes.length) === sum ? bytes : undefined;
}

/** Forgets the stored snapshot. */
export function removeSnapshot(store: Store): void {
  for (let i = 0; i < MAX_PIECES; i++) store.remove(nameOf(i));
}

/** Keeps sessions over sleep: as many as fit into one value. Throws NetError `ERR_STORE`. */
export function keepSessions(retained: Store, sessions: readonly SavedSession[]): void {
  const kept = sessions.slice(0, MAX_SESSIONS);
  const parts = kept.flatMap(({ publicKey, bytes }) => [publicKey, bytes]);
  const value = concatBytes(Uint8Array.of(SCHEMA), ...parts);
  for (const { bytes } of sessions) bytes.fill(0);
  try {
    retained.save(SESSIONS_NAME, value);
  } finally {
    value.fill(0);
  }
}

/** The sessions that were kept, which are there no more after this. Throws NetError `ERR_STORE`: then none may be used. */
export function takeSessions(retained: Store): readonly SavedSession[] {
  const value = retained.load(SESSIONS_NAME);
  if (value === undefined) return [];
  retained.remove(SESSIONS_NAME);
  const out: SavedSession[] = [];
  if (value[0] !== SCHEMA) return out;
  for (let at = 1; at + KEPT_BYTES <= value.length; at += KEPT_BYTES)
    out.push({ publicKey: value.slice(at, at + 32), bytes: value.slice(at + 32, at + KEPT_BYTES) });
  value.fill(0);
  return out;
}

function nameOf(piece: number): string {
  return `resume-${piece}`;
}
