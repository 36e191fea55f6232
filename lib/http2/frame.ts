/**
 * HTTP/2 on the wire (RFC 9113 §4, §6, §7): frame types, flags, settings, error codes, and the frame header.
 *
 * All numbers are big-endian. A frame is 9 bytes of header and up to 2^24-1 bytes of payload; a receiver that has said
 * nothing else takes 16,384.
 */
import { writeU16BE, writeU32BE } from '../base/bytes.ts';

/** What a client sends before its first frame: `PRI * HTTP/2.0`, an empty line, `SM`, an empty line (RFC 9113 §3.4). */
export const CONNECTION_PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';

/** Size of a frame header: u24 length, u8 type, u8 flags, u31 stream id. */
export const FRAME_HEADER_BYTES = 9;
/** Largest payload that each side takes unless it says otherwise (SETTINGS_MAX_FRAME_SIZE). */
export const DEFAULT_FRAME_BYTES = 16_384;
/** Largest value that SETTINGS_MAX_FRAME_SIZE may have. */
export const MAX_FRAME_BYTES = 16_777_215;
/** Every window's size at the start, unless SETTINGS_INITIAL_WINDOW_SIZE changes those of streams. */
export const DEFAULT_WINDOW_BYTES = 65_535;
/** Largest size of a window, and largest stream id. */
export const MAX_31_BITS = 0x7fff_ffff;
/** Size of the dynamic header table unless SETTINGS_HEADER_TABLE_SIZE changes it. */
export const DEFAULT_TABLE_BYTES = 4096;

/** Frame types (RFC 9113 §6). */
export const FRAME_DATA = 0;
export const FRAME_HEADERS = 1;
export const FRAME_PRIORITY = 2;
export const FRAME_RST_STREAM = 3;
export const FRAME_SETTINGS = 4;
export const FRAME_PUSH_PROMISE = 5;
export const FRAME_PING = 6;
export const FRAME_GOAWAY = 7;
export const FRAME_WINDOW_UPDATE = 8;
export const FRAME_CONTINUATION = 9;

/** Flags; END_STREAM and ACK are the same bit in different frames. */
export const FLAG_END_STREAM = 0x01;
export const FLAG_ACK = 0x01;
export const FLAG_END_HEADERS = 0x04;
export const FLAG_PADDED = 0x08;
export const FLAG_PRIORITY = 0x20;

/** Settings (RFC 9113 §6.5.2). */
export const SETTINGS_HEADER_TABLE_SIZE = 1;
export const SETTINGS_ENABLE_PUSH = 2;
export const SETTINGS_MAX_CONCURRENT_STREAMS = 3;
export const SETTINGS_INITIAL_WINDOW_SIZE = 4;
export const SETTINGS_MAX_FRAME_SIZE = 5;
export const SETTINGS_MAX_HEADER_LIST_SIZE = 6;

/** Error codes (RFC 9113 §7). */
export const NO_ERROR = 0;
export const PROTOCOL_ERROR = 1;
export const INTERNAL_ERROR = 2;
export const FLOW_CONTROL_ERROR = 3;
export const SETTINGS_TIMEOUT = 4;
export const STREAM_CLOSED = 5;
export const FRAME_SIZE_ERROR = 6;
export const REFUSED_STREAM = 7;
export const CANCEL = 8;
export const COMPRESSION_ERROR = 9;
export const ENHANCE_YOUR_CALM = 11;

const CODE_NAMES = Object.freeze([
  'NO_ERROR',
  'PROTOCOL_ERROR',
  'INTERNAL_ERROR',
  'FLOW_CONTROL_ERROR',
  'SETTINGS_TIMEOUT',
  'STREAM_CLOSED',
  'FRAME_SIZE_ERROR',
  'REFUSED_STREAM',
  'CANCEL',
  'COMPRESSION_ERROR',
  'CONNECT_ERROR',
  'ENHANCE_YOUR_CALM',
  'INADEQUATE_SECURITY',
  'HTTP_1_1_REQUIRED',
]);

/** Name of an error code for people; the number where it has none. */
export function errorName(code: number): string {
  return CODE_NAMES[code] ?? `error ${code}`;
}

/** Writes a frame header at `at` and returns where the payload begins. */
export function writeFrameHeader(
  buf: Uint8Array,
  at: number,
  type: number,
  flags: number,
  id: number,
  payloadBytes: number,
): number {
  buf[at] = payloadBytes >>> 16;
  writeU16BE(buf, at + 1, payloadBytes);
  buf[at + 3] = type;
  buf[at + 4] = flags;
  writeU32BE(buf, at + 5, id);
  return at + FRAME_HEADER_BYTES;
}
