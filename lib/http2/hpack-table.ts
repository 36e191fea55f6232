/**
 * The header tables of HPACK (RFC 7541 §2.3, Appendix A): the static one, and the dynamic one of a decoder.
 *
 * Names and values are texts of one character per octet.
 */

/** A header field: name in lower case, value. */
export type Field = readonly [name: string, value: string];

/** Entries 1 to 61, at index 0 to 60. */
export const STATIC_TABLE: readonly Field[] = Object.freeze([
  [':authority', ''],
  [':method', 'GET'],
  [':method', 'POST'],
  [':path', '/'],
  [':path', '/index.html'],
  [':scheme', 'http'],
  [':scheme', 'https'],
  [':status', '200'],
  [':status', '204'],
  [':status', '206'],
  [':status', '304'],
  [':status', '400'],
  [':status', '404'],
  [':status', '500'],
  ['accept-charset', ''],
  ['accept-encoding', 'gzip, deflate'],
  ['accept-language', ''],
  ['accept-ranges', ''],
  ['accept', ''],
  ['access-control-allow-origin', ''],
  ['age', ''],
  ['allow', ''],
  ['authorization', ''],
  ['cache-control', ''],
  ['content-disposition', ''],
  ['content-encoding', ''],
  ['content-language', ''],
  ['content-length', ''],
  ['content-location', ''],
  ['content-range', ''],
  ['content-type', ''],
  ['cookie', ''],
  ['date', ''],
  ['etag', ''],
  ['expect', ''],
  ['expires', ''],
  ['from', ''],
  ['host', ''],
  ['if-match', ''],
  ['if-modified-since', ''],
  ['if-none-match', ''],
  ['if-range', ''],
  ['if-unmodified-since', ''],
  ['last-modified', ''],
  ['link', ''],
  ['location', ''],
  ['max-forwards', ''],
  ['proxy-authenticate', ''],
  ['proxy-authorization', ''],
  ['range', ''],
  ['referer', ''],
  ['refresh', ''],
  ['retry-after', ''],
  ['server', ''],
  ['set-cookie', ''],
  ['strict-transport-security', ''],
  ['transfer-encoding', ''],
  ['user-agent', ''],
  ['vary', ''],
  ['via', ''],
  ['www-authenticate', ''],
] as const);

/** What an entry counts beyond its octets (RFC 7541 §4.1). */
export const FIELD_OVERHEAD_BYTES = 32;

/** Size of a field as tables and limits count it. */
export function fieldBytes([name, value]: Field): number {
  return name.length + value.length + FIELD_OVERHEAD_BYTES;
}

/** The fields that were seen, newest first, up to a size in bytes. */
export class DynamicTable {
  readonly #fields: Field[] = []; // oldest first
  #bytes = 0;
  #maxBytes: number;

  /** `maxBytes` is the size at the start. */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** How many entries there are. */
  get length(): number {
    return this.#fields.length;
  }

  /** Their size; never more than the limit. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The entry at `index`, 0 being the newest; undefined beyond the last. */
  at(index: number): Field | undefined {
    return this.#fields[this.#fields.length - 1 - index];
  }

  /** Adds an entry; the oldest ones make room. One that is larger than the table empties it (RFC 7541 §4.4). */
  add(field: Field): void {
    const bytes = fieldBytes(field);
    this.#evict(this.#maxBytes - bytes);
    if (bytes > this.#maxBytes) return;
    this.#fields.push(field);
    this.#bytes += bytes;
  }

  /** Changes the size; the oldest entries go first. */
  resize(maxBytes: number): void {
    this.#maxBytes = maxBytes;
    this.#evict(maxBytes);
  }

  #evict(bytes: number): void {
    let gone = 0;
    while (gone < this.#fields.length && this.#bytes > bytes) this.#bytes -= fieldBytes(this.#fields[gone++]!);
    if (gone > 0) this.#fields.splice(0, gone);
  }
}
