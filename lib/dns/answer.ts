/**
 * Answers DNS queries from a table of names, as 100.100.100.100 does on every member: A, AAAA and PTR of the tailnet.
 *
 * Inside its zones an absent name is NXDOMAIN, a name without the type NOERROR with the zone's SOA (RFC 2308); outside
 * it is REFUSED at once, so that a resolver asks elsewhere. Answers live 5 seconds and denials 10, since the table is
 * here and changes without notice. Owner names are pointers to the question, everything else stands plainly.
 * Left out: forwarding, DNSSEC, zone transfers, other records.
 */
import { writeU16BE, writeU32BE } from '../base/bytes.ts';
import { parseReverseName, wireNameBytes, writeName } from './name.ts';
import type { NameTable } from './name-table.ts';
import {
  type DnsQuery,
  HEADER_BYTES,
  QUESTION_AT,
  RCODE_NO_NAME,
  RCODE_NOT_IMPLEMENTED,
  RCODE_OK,
  RCODE_REFUSED,
  readQuery,
} from './query.ts';

/** No answer is larger over UDP: what fits into a packet of 1280 bytes in every case. */
export const MAX_UDP_BYTES = 1232;
/** No answer is larger than this, over TCP neither. */
export const MAX_ANSWER_BYTES = 4096;
/** Seconds that a positive answer may be kept. */
export const ANSWER_TTL_S = 5;
/** Seconds that a negative answer may be kept. */
export const DENIAL_TTL_S = 10;

const TYPE_A = 1;
const TYPE_SOA = 6;
const TYPE_PTR = 12;
const TYPE_AAAA = 28;
const TYPE_OPT = 41;
const TYPE_IXFR = 251;
const TYPE_AXFR = 252;
const TYPE_ANY = 255;
const CLASS_IN = 1;
const CLASS_ANY = 255;

const OPT_BYTES = 11;
/** Pointer, type, class, time to live, length. */
const RECORD_BYTES = 12;
const SOA_BYTES = RECORD_BYTES + 24;
const FLAG_RESPONSE = 0x80;
const FLAG_AUTHORITATIVE = 4;
const FLAG_TRUNCATED = 2;
const FLAG_RECURSION_DESIRED = 1;
const FLAG_RECURSION_AVAILABLE = 0x80;

/** What is said about a question. */
interface Verdict {
  readonly rcode: number;
  readonly addresses: readonly Uint8Array[];
  readonly pointer: string | undefined;
  /** The zone whose SOA comes along. */
  readonly zone: string | undefined;
  /** The SOA is the answer itself. */
  readonly isSoaAsked: boolean;
}

/**
 * Answers the query in `buf[start, end)` into `out` from its start. Returns the answer's length in bytes, or 0 when
 * there is none: for what is no query, or when `out` does not even take a refusal. What does not fit (over UDP: 512
 * bytes, or what EDNS says up to {@link MAX_UDP_BYTES}) is left out with the mark that TCP has more.
 */
export function answerQuery(
  table: NameTable,
  buf: Uint8Array,
  start: number,
  end: number,
  out: Uint8Array,
  isTcp = false,
): number {
  const query = readQuery(buf, start, end);
  if (query === undefined) return 0;
  const most = Math.min(out.length, isTcp ? MAX_ANSWER_BYTES : Math.min(query.udpBytes, MAX_UDP_BYTES));
  const tail = query.hasEdns ? OPT_BYTES : 0;
  if (HEADER_BYTES + query.questionBytes + tail > most) return 0; // CHECK: dns-out-room
  const verdict = judge(table, query);
  const isTruncated = HEADER_BYTES + query.questionBytes + bodyBytes(verdict) + tail > most;
  writeHeader(buf, start, out, query, verdict, isTruncated);
  let at = HEADER_BYTES + query.questionBytes;
  for (let i = QUESTION_AT; i < at; i++) out[i] = buf[start + i]!;
  if (!isTruncated) at = writeBody(out, at, table, query, verdict);
  return query.hasEdns ? writeOpt(out, at, query.rcode >> 4) : at;
}

function judge(table: NameTable, query: DnsQuery): Verdict {
  const { name, type } = query;
  const none = { addresses: [], pointer: undefined, zone: undefined, isSoaAsked: false };
  if (query.rcode !== RCODE_OK) return { ...none, rcode: query.rcode };
  if (query.class !== CLASS_IN && query.class !== CLASS_ANY) return { ...none, rcode: RCODE_REFUSED };
  const zone = table.zoneOf(name);
  const reverse = parseReverseName(name);
  const pointer = reverse?.address === undefined ? undefined : table.reverse(reverse.address);
  const found = table.find(name);
  const isThere = found !== undefined || pointer !== undefined;
  if (zone === undefined && !isThere) return { ...none, rcode: RCODE_REFUSED }; // CHECK: dns-foreign-name
  if (type === TYPE_AXFR || type === TYPE_IXFR) return { ...none, rcode: RCODE_NOT_IMPLEMENTED };
  // A beginning of addresses always counts as a name: others lie below it.
  const isBetween = reverse !== undefined && reverse.address === undefined;
  if (!isThere && !isBetween && !table.exists(name)) return { ...none, rcode: RCODE_NO_NAME, zone };
  const wanted = (found ?? []).filter(address => {
    return type === TYPE_ANY || type === (address.length === 4 ? TYPE_A : TYPE_AAAA);
  });
  const isPointed = pointer !== undefined && (type === TYPE_PTR || type === TYPE_ANY);
  if (wanted.length > 0 || isPointed)
    return { ...none, rcode: RCODE_OK, addresses: wanted, pointer: isPointed ? pointer : undefined };
  return { ...none, rcode: RCODE_OK, zone, isSoaAsked: name === zone && type === TYPE_SOA };
}

function bodyBytes({ addresses, pointer, zone }: Verdict): number {
  const records = addresses.reduce((sum, address) => sum + RECORD_BYTES + address.length, 0);
  const name = pointer === undefined ? 0 : RECORD_BYTES + wireNameBytes(pointer);
  return records + name + (zone === undefined ? 0 : SOA_BYTES);
}

function writeHeader(
  buf: Uint8Array,
  start: number,
  out: Uint8Array,
  query: DnsQuery,
  verdict: Verdict,
  isTruncated: boolean,
): void {
  const { rcode, addresses, pointer, zone, isSoaAsked } = verdict;
  const asked = buf[start + 2]!;
  const desired = asked & FLAG_RECURSION_DESIRED;
  const isOwn = zone !== undefined || addresses.length > 0 || pointer !== undefined;
  const answers = isTruncated ? 0 : addresses.length + (pointer === undefined ? 0 : 1) + (isSoaAsked ? 1 : 0);
  out[0] = buf[start]!;
  out[1] = buf[start + 1]!;
  // The operation is repeated too.
  out[2] = FLAG_RESPONSE | (asked & 0x78) | desired;
  if (isOwn) out[2]! |= FLAG_AUTHORITATIVE;
  if (isTruncated) out[2]! |= FLAG_TRUNCATED;
  out[3] = (desired !== 0 ? FLAG_RECURSION_AVAILABLE : 0) | (rcode & 15);
  writeU16BE(out, 4, query.questionBytes > 0 ? 1 : 0);
  writeU16BE(out, 6, answers);
  writeU16BE(out, 8, zone !== undefined && !isSoaAsked && !isTruncated ? 1 : 0);
  writeU16BE(out, 10, query.hasEdns ? 1 : 0);
}

function writeBody(out: Uint8Array, from: number, table: NameTable, query: DnsQuery, verdict: Verdict): number {
  let at = from;
  for (const address of verdict.addresses) {
    const type = address.length === 4 ? TYPE_A : TYPE_AAAA;
    at = writeRecord(out, at, QUESTION_AT, type, ANSWER_TTL_S, address.length);
    out.set(address, at);
    at += address.length;
  }
  if (verdict.pointer !== undefined) {
    at = writeRecord(out, at, QUESTION_AT, TYPE_PTR, ANSWER_TTL_S, wireNameBytes(verdict.pointer));
    at = writeName(out, at, verdict.pointer);
  }
  return verdict.zone === undefined ? at : writeSoa(out, at, table, query, verdict.zone);
}

function writeRecord(out: Uint8Array, at: number, owner: number, type: number, ttl: number, bytes: number): number {
  writeU16BE(out, at, 0xc000 | owner);
  writeU16BE(out, at + 2, type);
  writeU16BE(out, at + 4, CLASS_IN);
  writeU32BE(out, at + 6, ttl);
  writeU16BE(out, at + 10, bytes);
  return at + RECORD_BYTES;
}

/** The zone is the end of the question's name, so all its names are pointers into that. */
function writeSoa(out: Uint8Array, from: number, table: NameTable, query: DnsQuery, zone: string): number {
  const nameBytes = query.questionBytes - 4;
  const zoneAt = QUESTION_AT + nameBytes - wireNameBytes(zone);
  const at = writeRecord(out, from, zoneAt, TYPE_SOA, DENIAL_TTL_S, SOA_BYTES - RECORD_BYTES);
  writeU16BE(out, at, 0xc000 | zoneAt);
  writeU16BE(out, at + 2, 0xc000 | zoneAt);
  writeU32BE(out, at + 4, table.serial);
  for (let i = 8; i < 24; i += 4) writeU32BE(out, at + i, DENIAL_TTL_S);
  return at + 24;
}

function writeOpt(out: Uint8Array, at: number, highRcode: number): number {
  out.fill(0, at, at + OPT_BYTES);
  writeU16BE(out, at + 1, TYPE_OPT);
  writeU16BE(out, at + 3, MAX_UDP_BYTES);
  out[at + 5] = highRcode;
  return at + OPT_BYTES;
}
