/**
 * The header tables of HPACK (RFC 7541 §2.3, Appendix A): the static one, and the dynamic one of a decoder.
 *
 * Names and values are texts of one character per octet.
 */

/** A header field: name in lower case, value. */
export type Field = readonly [name: string, value: string];

/** How many entries the static table has. */
export const STATIC_FIELDS = 61;

/**
 * Entries 1 to 61, each a name, a space and a value in a line of its own: arrays would take 8 KB of a board's flash.
 */
const STATIC_TABLE =
  '\n:authority \n:method GET\n:method POST\n:path /\n:path /index.html\n:scheme http\n:scheme https\n:status 200\n' +
  ':status 204\n:status 206\n:status 304\n:status 400\n:status 404\n:status 500\naccept-charset \n' +
  'accept-encoding gzip, deflate\naccept-language \naccept-ranges \naccept \naccess-control-allow-origin \nage \n' +
  'allow \nauthorization \ncache-control \ncontent-disposition \ncontent-encoding \ncontent-language \n' +
  'content-length \ncontent-location \ncontent-range \ncontent-type \ncookie \ndate \netag \nexpect \nexpires \n' +
  'from \nhost \nif-match \nif-modified-since \nif-none-match \nif-range \nif-unmodified-since \nlast-modified \n' +
  'link \nlocation \nmax-forwards \nproxy-authenticate \nproxy-authorization \nrange \nreferer \nrefresh \n' +
  'retry-after \nserver \nset-cookie \nstrict-transport-security \ntransfer-encoding \nuser-agent \nvary \nvia \n' +
  'www-authenticate \n';

/** The entry of the static table at `index`, 1 to 61; undefined beyond. */
export function staticField(index: number): Field | undefined {
  if (index < 1 || index > STATIC_FIELDS) return undefined;
  let start = 1;
  for (let left = index; left > 1; left--) start = STATIC_TABLE.indexOf('\n', start) + 1;
  const space = STATIC_TABLE.indexOf(' ', start);
  return [STATIC_TABLE.slice(start, space), STATIC_TABLE.slice(space + 1, STATIC_TABLE.indexOf('\n', space))];
}

/** The first entry of the static table with this name and value, or with this name if `value` is undefined; 0: none. */
export function staticIndex(name: string, value: string | undefined): number {
  const end = STATIC_TABLE.indexOf(value === undefined ? `\n${name} ` : `\n${name} ${value}\n`);
  let index = end < 0 ? 0 : 1;
  for (let at = STATIC_TABLE.indexOf('\n'); at < end; at = STATIC_TABLE.indexOf('\n', at + 1)) index++;
  return index;
}

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
