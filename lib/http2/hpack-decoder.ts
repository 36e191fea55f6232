/**
 * HPACK decoding (RFC 7541): one whole header block at a time, since blocks are bounded before they get here.
 *
 * A block is either right to the last bit or an error, after which the connection cannot go on: both sides' tables no
 * longer agree. A list that is too large is no error of the block: the rest is read for the table's sake and not kept.
 * Left out: insisting on a size update after a smaller table was announced (RFC 9113 §4.3.1). A server that uses no
 * table has no reason to speak of it; one that overlooked the announcement fails at its first dynamic index.
 */
import { huffmanDecode } from './huffman.ts';
import { DynamicTable, type Field, fieldBytes, STATIC_FIELDS, staticField } from './hpack-table.ts';

/** Integers beyond this are refused; more than any block, table or index here can need. */
const MAX_INTEGER = 0x0fff_ffff;

/** What a block says. */
export interface HeaderList {
  /** The fields, in order. */
  readonly fields: readonly Field[];
  /** Whether the block had more than the list may hold; {@link fields} is then incomplete. */
  readonly isTooLarge: boolean;
}

/** The decoder of one connection: between blocks it holds the dynamic table, if the other side may use one. */
export class HpackDecoder {
  readonly #table: DynamicTable | undefined;
  readonly #tableLimit: number;
  readonly #listBytes: number;

  /** `tableBytes` as announced to the other side; `listBytes` as fields are counted (32 bytes each beyond their text). */
  constructor(tableBytes: number, listBytes: number) {
    this.#table = tableBytes > 0 ? new DynamicTable(tableBytes) : undefined;
    this.#tableLimit = tableBytes;
    this.#listBytes = listBytes;
  }

  /** Entries of the dynamic table, newest first. */
  get tableFields(): readonly Field[] {
    return Array.from({ length: this.#table?.length ?? 0 }, (_, index) => this.#table!.at(index)!);
  }

  /** Size of the dynamic table now. */
  get tableBytes(): number {
    return this.#table?.bytes ?? 0;
  }

  /** Reads `buf[start, end)`, a whole block. Undefined for an error (COMPRESSION_ERROR). */
  decode(buf: Uint8Array, start: number, end: number): HeaderList | undefined {
    const reader = new BlockReader(this.#table, this.#tableLimit, this.#listBytes, buf, start, end);
    return reader.read() ? reader : undefined;
  }
}

/** Reads one block. */
class BlockReader {
  readonly fields: Field[] = [];
  isTooLarge = false;
  readonly #table: DynamicTable | undefined;
  readonly #tableLimit: number;
  readonly #listBytes: number;
  readonly #buf: Uint8Array;
  #at: number;
  readonly #end: number;
  #listed = 0;

  constructor(
    table: DynamicTable | undefined,
    tableLimit: number,
    listBytes: number,
    buf: Uint8Array,
    start: number,
    end: number,
  ) {
    this.#table = table;
    this.#tableLimit = tableLimit;
    this.#listBytes = listBytes;
    this.#buf = buf;
    this.#at = start;
    this.#end = end;
  }

  /** False for an error. */
  read(): boolean {
    let isFirst = true;
    while (this.#at < this.#end) {
      const isUpdate = (this.#buf[this.#at]! & 0xe0) === 0x20;
      if (isUpdate && !isFirst) return false; // CHECK: hpack-late-size-update
      if (!(isUpdate ? this.#readSizeUpdate() : this.#readField())) return false;
      isFirst = isUpdate;
    }
    return true;
  }

  #readSizeUpdate(): boolean {
    const bytes = this.#readInteger(5);
    if (bytes < 0) return false;
    if (bytes > this.#tableLimit) return false; // CHECK: hpack-size-update-limit
    this.#table?.resize(bytes);
    return true;
  }

  #readField(): boolean {
    const lead = this.#buf[this.#at]!;
    if (lead >= 0x80) {
      const field = this.#entry(this.#readInteger(7));
      if (field === undefined) return false;
      this.#list(field);
      return true;
    }
    const isIndexed = lead >= 0x40;
    const index = this.#readInteger(isIndexed ? 6 : 4);
    if (index < 0) return false;
    const name = index === 0 ? this.#readText() : this.#entry(index)?.[0];
    if (name === undefined) return false;
    const value = this.#readText();
    if (value === undefined) return false;
    const field: Field = [name, value];
    this.#list(field);
    if (isIndexed) this.#table?.add(field);
    return true;
  }

  #list(field: Field): void {
    this.#listed += fieldBytes(field);
    if (this.#listed > this.#listBytes) this.isTooLarge = true; // CHECK: hpack-list-limit
    if (!this.isTooLarge) this.fields.push(field);
  }

  /** The entry of an index from 1; undefined where there is none. */
  #entry(index: number): Field | undefined {
    return index <= STATIC_FIELDS ? staticField(index) : this.#table?.at(index - 1 - STATIC_FIELDS);
  }

  /** An integer with a prefix of `bits` bits (RFC 7541 §5.1); -1 when it is cut short or too large. */
  #readInteger(bits: number): number {
    const mask = (1 << bits) - 1;
    let value = this.#buf[this.#at++]! & mask;
    if (value < mask) return value;
    for (let factor = 1; this.#at < this.#end; factor *= 128) {
      const byte = this.#buf[this.#at++]!;
      value += (byte & 0x7f) * factor;
      if (value > MAX_INTEGER || factor > MAX_INTEGER) return -1; // CHECK: hpack-integer-overflow
      if (byte < 0x80) return value;
    }
    return -1;
  }

  /** A string literal (RFC 7541 §5.2); undefined when it is cut short or its code is wrong. */
  #readText(): string | undefined {
    if (this.#at >= this.#end) return undefined;
    const isHuffman = this.#buf[this.#at]! >= 0x80;
    const length = this.#readInteger(7);
    if (length < 0) return undefined;
    const from = this.#at;
    if (length > this.#end - from) return undefined; // CHECK: hpack-string-length
    this.#at = from + length;
    return isHuffman ? huffmanDecode(this.#buf, from, this.#at) : octetText(this.#buf, from, this.#at);
  }
}

function octetText(buf: Uint8Array, start: number, end: number): string {
  let text = '';
  for (let at = start; at < end; at++) text += String.fromCharCode(buf[at]!);
  return text;
}
