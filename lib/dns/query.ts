/**
 * Reads a DNS query: header, the one question, and what EDNS says (RFC 1035 §4, RFC 6891, RFC 9619).
 *
 * The question's name must stand there plainly, as every client writes it: nothing that a pointer could point to comes
 * before it. Records behind the question are only stepped over; no name of theirs is followed.
 */
import { readU16BE } from '../base/bytes.ts';
import { readPlainName, skipName } from './name.ts';

/** Bytes of the header. */
export const HEADER_BYTES = 12;
/** Where the question's name stands. */
export const QUESTION_AT = HEADER_BYTES;
/** Bytes that a client takes over UDP when it says nothing (RFC 1035 §4.2.1). */
export const LEAST_UDP_BYTES = 512;

/** Response codes (RFC 1035 §4.1.1, RFC 6891 §9); BADVERS needs an OPT record to be said. */
export const RCODE_OK = 0;
export const RCODE_FORMAT = 1;
export const RCODE_NO_NAME = 3;
export const RCODE_NOT_IMPLEMENTED = 4;
export const RCODE_REFUSED = 5;
export const RCODE_BAD_VERSION = 16;

const FLAG_RESPONSE = 0x8000;
const OPCODE = 0x7800;
const TYPE_OPT = 41;
/** Type, class, time to live and length of a record. */
const RECORD_BYTES = 10;

/** What was asked. */
export interface DnsQuery {
  /** Anything but {@link RCODE_OK}: the answer has no more to say than this. */
  readonly rcode: number;
  /** Bytes of the question in the query, from {@link QUESTION_AT}; 0 when it cannot be repeated. */
  readonly questionBytes: number;
  /** The name in normal form. */
  readonly name: string;
  readonly type: number;
  readonly class: number;
  readonly hasEdns: boolean;
  /** What the client takes over UDP, at least {@link LEAST_UDP_BYTES}. */
  readonly udpBytes: number;
}

/** The query in `buf[start, end)`; undefined when it is no query at all and must not be answered. */
export function readQuery(buf: Uint8Array, start: number, end: number): DnsQuery | undefined {
  if (end - start < HEADER_BYTES) return undefined; // CHECK: dns-header
  const flags = readU16BE(buf, start + 2);
  // Answering answers would let two servers talk for ever.
  if ((flags & FLAG_RESPONSE) !== 0) return undefined; // CHECK: dns-response
  if ((flags & OPCODE) !== 0) return failed(RCODE_NOT_IMPLEMENTED);
  const isSingle = readU16BE(buf, start + 4) === 1;
  const isBare = readU16BE(buf, start + 6) === 0 && readU16BE(buf, start + 8) === 0;
  if (!isSingle || !isBare) return failed(RCODE_FORMAT); // CHECK: dns-counts
  const name = readPlainName(buf, start + QUESTION_AT, end);
  if (name === undefined || name.next + 4 > end) return failed(RCODE_FORMAT); // CHECK: dns-question
  const question = {
    questionBytes: name.next + 4 - start - QUESTION_AT,
    name: name.text,
    type: readU16BE(buf, name.next),
    class: readU16BE(buf, name.next + 2),
  };
  return { ...question, ...readEdns(buf, name.next + 4, end, readU16BE(buf, start + 10)) };
}

function failed(rcode: number): DnsQuery {
  return { rcode, questionBytes: 0, name: '', type: 0, class: 0, hasEdns: false, udpBytes: LEAST_UDP_BYTES };
}

/** Steps over `count` records and reads the OPT record among them. */
function readEdns(
  buf: Uint8Array,
  from: number,
  end: number,
  count: number,
): Pick<DnsQuery, 'rcode' | 'hasEdns' | 'udpBytes'> {
  const out = { rcode: RCODE_OK, hasEdns: false, udpBytes: LEAST_UDP_BYTES };
  const malformed = { ...out, rcode: RCODE_FORMAT };
  let at = from;
  for (let i = 0; i < count; i++) {
    const fixed = skipName(buf, at, end);
    if (fixed < 0 || fixed + RECORD_BYTES > end) return malformed; // CHECK: dns-record
    const next = fixed + RECORD_BYTES + readU16BE(buf, fixed + 8);
    if (next > end) return malformed; // CHECK: dns-record-length
    if (readU16BE(buf, fixed) === TYPE_OPT) {
      if (out.hasEdns || buf[at] !== 0) return malformed; // CHECK: dns-second-opt
      out.hasEdns = true;
      out.udpBytes = Math.max(LEAST_UDP_BYTES, readU16BE(buf, fixed + 2));
      if (buf[fixed + 5] !== 0) out.rcode = RCODE_BAD_VERSION;
    }
    at = next;
  }
  return out;
}
