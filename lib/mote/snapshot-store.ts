/**
 * The snapshot of a tailnet's member in its store, in pieces of the size that small stores take. Each piece is: schema
 * byte, number of pieces, a checksum of the whole (32 bits, FNV-1a), bytes. Pieces of two snapshots, or damaged ones, are
 * no snapshot: nothing is lost by it but the quick start.
 */
import { concatBytes, equalBytes, readU32LE, writeU32LE } from '../base/bytes.ts';
import type { Store } from '../ports.ts';

const SCHEMA = 1;
const HEAD_BYTES = 6;
const PIECE_BYTES = 1900 - HEAD_BYTES;
const MAX_PIECES = 4;

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
    writeU32LE(head, 2, checksum(bytes));
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
  return checksum(bytes) === sum ? bytes : undefined;
}

/** Forgets the stored snapshot. */
export function removeSnapshot(store: Store): void {
  for (let i = 0; i < MAX_PIECES; i++) store.remove(nameOf(i));
}

function nameOf(piece: number): string {
  return `resume-${piece}`;
}

function checksum(bytes: Uint8Array): number {
  let sum = 0x811c_9dc5;
  for (const byte of bytes) sum = Math.imul(sum ^ byte, 0x0100_0193);
  return sum >>> 0;
}
