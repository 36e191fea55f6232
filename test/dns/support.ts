/** Queries, a plain decoder of answers and a table to ask: what tests of DNS share. Neutral, written apart from lib. */
import { parseAddress, parsePrefix } from '../../lib/base/address.ts';
import { toHex } from '../../lib/base/bytes.ts';
import { answerQuery } from '../../lib/dns/answer.ts';
import { NAME_LIMITS_SMALL, type NameLimits } from '../../lib/dns/limits.ts';
import { type DnsSettings, NameTable } from '../../lib/dns/name-table.ts';
import { join, u16, u32 } from '../packet/build.ts';

export const SUFFIX = 'home.mote.internal';
export const [A, NS, SOA, PTR, TXT, AAAA, OPT, AXFR, ANY] = [1, 2, 6, 12, 16, 28, 41, 252, 255];

/** Bytes of a name; labels by dots. */
export function wire(name: string): Uint8Array {
  const labels = name.split('.').filter(label => label !== '');
  return join(
    ...labels.map(label =>
      join(
        label.length,
        Uint8Array.from(label, char => char.charCodeAt(0)),
      ),
    ),
    0,
  );
}

/** An OPT record. */
export function opt(udpBytes: number, version = 0, data: Uint8Array = new Uint8Array(0)): Uint8Array {
  return join(0, u16(OPT), u16(udpBytes), [0, version, 0, 0], u16(data.length), data);
}

/** A query with recursion desired. */
export function query(name: string | Uint8Array, type: number, options: QueryOptions = {}): Uint8Array {
  const { id = 0x1234, flags = 0x0100, counts = [1, 0, 0, options.extra === undefined ? 0 : 1], clas = 1 } = options;
  const question = join(typeof name === 'string' ? wire(name) : name, u16(type), u16(clas));
  return join(u16(id), u16(flags), ...counts.map(u16), question, options.extra ?? new Uint8Array(0));
}

interface QueryOptions {
  readonly id?: number;
  readonly flags?: number;
  readonly counts?: readonly number[];
  readonly clas?: number;
  /** Records behind the question. */
  readonly extra?: Uint8Array;
}

/** One record of an answer. */
export interface Record {
  readonly name: string;
  readonly type: number;
  readonly clas: number;
  readonly ttl: number;
  /** An address, a name, or hex. */
  readonly data: string;
}

/** An answer, decoded. */
export interface Answer {
  readonly id: number;
  readonly flags: string[];
  readonly rcode: number;
  readonly question: string;
  readonly answers: Record[];
  readonly authority: Record[];
  readonly extra: Record[];
}

/** Decodes a whole message; throws for anything that is not as it should be, bytes that are left over included. */
export function decode(bytes: Uint8Array): Answer {
  let at = 12;
  const word = (offset: number) => bytes[offset]! * 256 + bytes[offset + 1]!;
  const name = (from: number): [string, number] => {
    const labels: string[] = [];
    let next = -1;
    let limit = from;
    for (let i = from; ; ) {
      const length = bytes[i]!;
      if (length === undefined) throw new Error('a name goes beyond the end');
      if (length === 0) return [labels.join('.'), next < 0 ? i + 1 : next];
      if (length >= 0xc0) {
        if (next < 0) next = i + 2;
        i = (length & 63) * 256 + bytes[i + 1]!;
        if (i >= limit) throw new Error('a pointer does not point back');
        limit = i;
      } else {
        labels.push(String.fromCharCode(...bytes.subarray(i + 1, i + 1 + length)));
        i += 1 + length;
      }
    }
  };
  const record = (): Record => {
    const [owner, fixed] = name(at);
    const [type, clas, bytesOf] = [word(fixed), word(fixed + 2), word(fixed + 8)];
    const data = fixed + 10;
    at = data + bytesOf;
    if (at > bytes.length) throw new Error('a record goes beyond the end');
    let text = toHex(bytes.subarray(data, at));
    if (type === A) text = [...bytes.subarray(data, at)].join('.');
    if (type === PTR) text = name(data)[0];
    if (type === SOA) {
      const [primary, second] = name(data);
      const [mailbox, rest] = name(second);
      text = `${primary} ${mailbox} ${toHex(bytes.subarray(rest, at))}`;
    }
    return { name: owner, type, clas, ttl: word(fixed + 4) * 65_536 + word(fixed + 6), data: text };
  };
  const records = (count: number) => Array.from({ length: count }, record);
  let question = '';
  if (word(4) > 0) {
    const [asked, fixed] = name(at);
    question = `${asked} ${word(fixed)} ${word(fixed + 2)}`;
    at = fixed + 4;
  }
  const [answers, authority, extra] = [records(word(6)), records(word(8)), records(word(10))];
  if (at !== bytes.length) throw new Error(`${bytes.length - at} bytes are left over`);
  const bits: [string, number][] = [
    ['qr', 0x8000],
    ['aa', 0x400],
    ['tc', 0x200],
    ['rd', 0x100],
    ['ra', 0x80],
  ];
  const flags = bits.filter(([, bit]) => (word(2) & bit) !== 0).map(([text]) => text);
  return { id: word(0), flags, rcode: word(2) & 15, question, answers, authority, extra };
}

/** A table with two devices, some records, and this device. */
export function sampleTable(settings: DnsSettings = {}, limits: NameLimits = NAME_LIMITS_SMALL): NameTable {
  const table = new NameTable(limits);
  table.configure(SUFFIX, { Domains: [SUFFIX, 'corp.example'], Routes: { [SUFFIX]: [] }, ...settings });
  table.setHost(0, `me.${SUFFIX}.`, prefixesOf('100.64.0.1', 'fd7a:115c:a1e0::1'));
  table.setHost(7, `Printer.${SUFFIX}.`, prefixesOf('fd7a:115c:a1e0::7', '100.64.0.7'));
  table.setHost(8, 'guest.other.example.', prefixesOf('100.64.0.8'));
  return table;
}

/** Prefixes of texts. */
export function prefixesOf(...texts: string[]) {
  return texts.map(text => parsePrefix(text)!);
}

/** Bytes of an address text. */
export function address(text: string): Uint8Array {
  return parseAddress(text)!;
}

/** Asks a table; undefined for no answer. The query lies inside a larger buffer. */
export function ask(table: NameTable, bytes: Uint8Array, isTcp = false): Answer | undefined {
  const raw = askRaw(table, bytes, isTcp);
  return raw.length === 0 ? undefined : decode(raw);
}

/** Asks a table; the bytes of the answer. */
export function askRaw(table: NameTable, bytes: Uint8Array, isTcp = false): Uint8Array {
  const buf = join([0xff, 0xff, 0xff], bytes, [0xff, 0xff]);
  const out = new Uint8Array(5000).fill(0xee);
  return out.slice(0, answerQuery(table, buf, 3, 3 + bytes.length, out, isTcp));
}

/** Four bytes, for what stands in a SOA. */
export const word32 = u32;
