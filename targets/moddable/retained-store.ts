/**
 * A store in memory that survives deep sleep and is lost with the power, for secrets that must not be in flash.
 *
 *     "mret" | u32 checksum of what follows (FNV-1a) | u16 bytes of the entries
 *     | entries: u8 length of the name, the name, u16 length of the value, the value
 *
 * Numbers are big endian. Anything else in that memory, as after power has come, is an empty store.
 */
import {
  concatBytes,
  readU16BE,
  readU32BE,
  utf8Decode,
  utf8Encode,
  writeU16BE,
  writeU32BE,
} from '../../lib/base/bytes.ts';
import { fnv1a } from '../../lib/base/checksum.ts';
import { NetError } from '../../lib/base/errors.ts';
import type { Store } from '../../lib/ports.ts';

/** Bytes of the memory: retained.c has as many. */
export const RETAINED_BYTES = 2048;

const MAGIC = 0x6d72_6574;
const HEAD_BYTES = 10;

/** The memory: `read` fills an array from its beginning, `write` replaces its beginning. */
export interface RetainedMemory {
  read(out: Uint8Array): void;
  write(bytes: Uint8Array): void;
}

/** A store of at most 2,038 bytes with all names; what does not fit is refused with NetError `ERR_STORE`. */
export function retainedStore(memory: RetainedMemory): Store {
  const change = (apply: (entries: Map<string, Uint8Array>) => void) => {
    const entries = readEntries(memory);
    apply(entries);
    writeEntries(memory, entries);
    for (const value of entries.values()) value.fill(0);
  };
  return Object.freeze({
    load: (name: string) => readEntries(memory).get(name),
    save: (name: string, value: Uint8Array) => change(entries => entries.set(name, value.slice())),
    remove: (name: string) => change(entries => entries.delete(name)),
  });
}

function readEntries(memory: RetainedMemory): Map<string, Uint8Array> {
  const bytes = new Uint8Array(RETAINED_BYTES);
  memory.read(bytes);
  const entries = new Map<string, Uint8Array>();
  const end = HEAD_BYTES + readU16BE(bytes, 8);
  const isOurs = readU32BE(bytes, 0) === MAGIC && end <= RETAINED_BYTES;
  if (!isOurs || readU32BE(bytes, 4) !== fnv1a(bytes, 8, end)) return entries;
  for (let at = HEAD_BYTES; at < end; ) {
    const nameEnd = at + 1 + bytes[at]!;
    const valueEnd = nameEnd + 2 + readU16BE(bytes, nameEnd);
    entries.set(utf8Decode(bytes, at + 1, nameEnd), bytes.slice(nameEnd + 2, valueEnd));
    at = valueEnd;
  }
  bytes.fill(0);
  return entries;
}

/** The whole memory is written: what a value was before is nowhere any more. */
function writeEntries(memory: RetainedMemory, entries: ReadonlyMap<string, Uint8Array>): void {
  const parts = [...entries].flatMap(([text, value]) => {
    const name = utf8Encode(text);
    const length = new Uint8Array(2);
    writeU16BE(length, 0, value.length);
    return [Uint8Array.of(name.length), name, length, value];
  });
  const packed = concatBytes(...parts);
  if (HEAD_BYTES + packed.length > RETAINED_BYTES)
    throw new NetError('ERR_STORE', `the memory that survives sleep has ${RETAINED_BYTES} bytes, which is too few`);
  const bytes = new Uint8Array(RETAINED_BYTES);
  writeU32BE(bytes, 0, MAGIC);
  writeU16BE(bytes, 8, packed.length);
  bytes.set(packed, HEAD_BYTES);
  writeU32BE(bytes, 4, fnv1a(bytes, 8, HEAD_BYTES + packed.length));
  memory.write(bytes);
  packed.fill(0);
  bytes.fill(0);
}
