/**
 * TCP segments: header fields and options as bytes (RFC 9293 §3.1 and §3.2, RFC 7323 §2 and §3, RFC 2018 §2 and §3).
 *
 * Reading goes through one reusable {@link TcpSegment}, so that the data path makes no object per packet. Sequence
 * numbers are int32: they wrap as the protocol's own arithmetic does, and stay small integers in every engine.
 * Left out: the urgent pointer's meaning (data is delivered in line), ECN bits, TCP-AO and MD5, fast open.
 */
import { readU16BE, readU32BE, writeU16BE, writeU32BE } from '../base/bytes.ts';

/** Bytes of a header without options. */
export const TCP_HEADER_BYTES = 20;
/** IP protocol number of TCP. */
export const PROTOCOL_TCP = 6;

/** Header flag: the sender has no more data. */
export const TCP_FIN = 1;
/** Header flag: sequence numbers start here. */
export const TCP_SYN = 2;
/** Header flag: the connection is refused or gone. */
export const TCP_RST = 4;
/** Header flag: hand the data on at once. */
export const TCP_PSH = 8;
/** Header flag: the acknowledgment field counts. */
export const TCP_ACK = 16;

const OPTION_END = 0;
const OPTION_NOP = 1;
const OPTION_MSS = 2;
const OPTION_WINDOW_SCALE = 3;
const OPTION_SACK_PERMITTED = 4;
const OPTION_SACK = 5;
const OPTION_TIMESTAMPS = 8;

/** Bytes of the timestamps option with its two pads. */
export const TIMESTAMPS_BYTES = 12;
/** NOP, NOP, kind 8, length 10: how everybody writes the timestamps option, compared as one word. */
const TIMESTAMPS_WORD = 0x0101080a;

/** Source port of the segment at `start`. The caller has checked that four bytes are there. */
export function tcpSourcePort(buf: Uint8Array, start: number): number {
  return readU16BE(buf, start);
}

/** Destination port of the segment at `start`. The caller has checked that four bytes are there. */
export function tcpDestinationPort(buf: Uint8Array, start: number): number {
  return readU16BE(buf, start + 2);
}

/** Flags byte of the segment at `start`. The caller has checked that 20 bytes are there. */
export function tcpFlags(buf: Uint8Array, start: number): number {
  return buf[start + 13];
}

/** Bytes of header and options of the segment at `start` (0 to 60, unchecked). */
export function tcpHeaderBytes(buf: Uint8Array, start: number): number {
  return (buf[start + 12] >> 4) * 4;
}

/** One parsed segment; an instance is reused for every packet, so nobody keeps it. */
export class TcpSegment {
  sourcePort = 0;
  destinationPort = 0;
  /** Sequence number of the first byte (or of SYN), int32. */
  seq = 0;
  /** Acknowledgment number, int32; counts only with {@link TCP_ACK}. */
  ack = 0;
  flags = 0;
  /** Window field as it came, 0 to 65535, not scaled. */
  window = 0;
  /** Where the payload lies in the parsed buffer. */
  dataStart = 0;
  dataEnd = 0;
  hasTimestamps = false;
  /** Sender's clock and echoed clock, int32. */
  tsVal = 0;
  tsEcr = 0;
  /** From a SYN: largest segment that the sender takes, 0 when absent. */
  mss = 0;
  /** From a SYN: window shift 0 to 14, -1 when absent. */
  windowShift = -1;
  /** From a SYN. */
  isSackPermitted = false;
  /** Blocks of a SACK option: see {@link sackLeft} and {@link sackRight}. */
  sackCount = 0;
  #sackBuf: Uint8Array | undefined = undefined;
  #sackAt = 0;

  /**
   * Reads `buf[start, end)`. False when it is shorter than its header, or an option runs past the header or has a
   * length below 2 (RFC 9293 MUST-7). Unknown options are skipped. The checksum is not looked at.
   */
  parse(buf: Uint8Array, start: number, end: number): boolean {
    if (end - start < TCP_HEADER_BYTES) return false;
    const headerEnd = start + tcpHeaderBytes(buf, start);
    if (headerEnd < start + TCP_HEADER_BYTES || headerEnd > end) return false;
    this.sourcePort = readU16BE(buf, start);
    this.destinationPort = readU16BE(buf, start + 2);
    this.seq = readU32BE(buf, start + 4) | 0;
    this.ack = readU32BE(buf, start + 8) | 0;
    this.flags = buf[start + 13];
    this.window = readU16BE(buf, start + 14);
    this.dataStart = headerEnd;
    this.dataEnd = end;
    this.hasTimestamps = false;
    this.sackCount = 0;
    const options = start + TCP_HEADER_BYTES;
    if ((this.flags & TCP_SYN) === 0) {
      if (options === headerEnd) return true;
      if (headerEnd - options === TIMESTAMPS_BYTES && readU32BE(buf, options) === TIMESTAMPS_WORD) {
        this.#readTimestamps(buf, options + 4);
        return true;
      }
    }
    this.mss = 0;
    this.windowShift = -1;
    this.isSackPermitted = false;
    return this.#parseOptions(buf, options, headerEnd);
  }

  /** Bytes of sequence space: payload, SYN and FIN. */
  get sequenceLength(): number {
    return this.dataEnd - this.dataStart + ((this.flags >> 1) & 1) + (this.flags & 1);
  }

  /** First sequence number of SACK block `i`, int32, read where it stands in the parsed buffer. */
  sackLeft(i: number): number {
    return readU32BE(this.#sackBuf!, this.#sackAt + 8 * i) | 0;
  }

  /** One past the last sequence number of SACK block `i`. */
  sackRight(i: number): number {
    return readU32BE(this.#sackBuf!, this.#sackAt + 8 * i + 4) | 0;
  }

  #parseOptions(buf: Uint8Array, from: number, end: number): boolean {
    let at = from;
    while (at < end) {
      const kind = buf[at];
      if (kind === OPTION_END) return true;
      if (kind === OPTION_NOP) {
        at++;
        continue;
      }
      const length = at + 1 < end ? buf[at + 1] : 0;
      if (length < 2 || at + length > end) return false;
      this.#readOption(buf, kind, at + 2, length - 2);
      at += length;
    }
    return true;
  }

  /** Takes an option in; one of a length that its kind does not have is skipped like an unknown one. */
  #readOption(buf: Uint8Array, kind: number, at: number, length: number): void {
    const isSyn = (this.flags & TCP_SYN) !== 0;
    if (kind === OPTION_TIMESTAMPS && length === 8) this.#readTimestamps(buf, at);
    else if (kind === OPTION_SACK && length >= 8 && length <= 32 && length % 8 === 0) this.#readSack(buf, at, length);
    else if (kind === OPTION_MSS && length === 2 && isSyn) this.mss = readU16BE(buf, at);
    else if (kind === OPTION_WINDOW_SCALE && length === 1 && isSyn) this.windowShift = Math.min(buf[at], 14);
    else if (kind === OPTION_SACK_PERMITTED && length === 0 && isSyn) this.isSackPermitted = true;
  }

  #readTimestamps(buf: Uint8Array, at: number): void {
    this.hasTimestamps = true;
    this.tsVal = readU32BE(buf, at) | 0;
    this.tsEcr = readU32BE(buf, at + 4) | 0;
  }

  #readSack(buf: Uint8Array, at: number, length: number): void {
    this.sackCount = length >> 3;
    this.#sackBuf = buf;
    this.#sackAt = at;
  }
}

/**
 * Writes the 20 fixed bytes at `start`; `headerBytes` includes the options (a multiple of 4). Checksum and urgent
 * pointer are zero: the checksum is put in with {@link writeTcpChecksum} once everything else stands.
 */
export function writeTcpHeader(
  buf: Uint8Array,
  start: number,
  sourcePort: number,
  destinationPort: number,
  seq: number,
  ack: number,
  headerBytes: number,
  flags: number,
  window: number,
): void {
  writeU16BE(buf, start, sourcePort);
  writeU16BE(buf, start + 2, destinationPort);
  writeU32BE(buf, start + 4, seq);
  writeU32BE(buf, start + 8, ack);
  buf[start + 12] = headerBytes << 2;
  buf[start + 13] = flags;
  writeU16BE(buf, start + 14, window);
  writeU32BE(buf, start + 16, 0);
}

/** Puts a finished checksum (0 to 65535) into the header at `start`. */
export function writeTcpChecksum(buf: Uint8Array, start: number, checksum: number): void {
  writeU16BE(buf, start + 16, checksum);
}

/** Writes the timestamps option with two pads in front: {@link TIMESTAMPS_BYTES} at `at`. Returns where it ends. */
export function writeTimestamps(buf: Uint8Array, at: number, tsVal: number, tsEcr: number): number {
  writeU32BE(buf, at, TIMESTAMPS_WORD);
  writeU32BE(buf, at + 4, tsVal);
  writeU32BE(buf, at + 8, tsEcr);
  return at + TIMESTAMPS_BYTES;
}

/** Writes the MSS option (4 bytes) of a SYN. Returns where it ends. */
export function writeMss(buf: Uint8Array, at: number, mss: number): number {
  writeU16BE(buf, at, (OPTION_MSS << 8) | 4);
  writeU16BE(buf, at + 2, mss);
  return at + 4;
}

/** Writes a pad and the window scale option (4 bytes together) of a SYN. Returns where it ends. */
export function writeWindowShift(buf: Uint8Array, at: number, shift: number): number {
  writeU32BE(buf, at, (OPTION_NOP << 24) | (OPTION_WINDOW_SCALE << 16) | (3 << 8) | shift);
  return at + 4;
}

/** Writes two pads and the SACK-permitted option (4 bytes together) of a SYN. Returns where it ends. */
export function writeSackPermitted(buf: Uint8Array, at: number): number {
  writeU32BE(buf, at, (OPTION_NOP << 24) | (OPTION_NOP << 16) | (OPTION_SACK_PERMITTED << 8) | 2);
  return at + 4;
}

/** Writes two pads and the head of a SACK option for `count` blocks (1 to 4); the 8-byte blocks follow by the caller. */
export function writeSackHead(buf: Uint8Array, at: number, count: number): number {
  writeU32BE(buf, at, (OPTION_NOP << 24) | (OPTION_NOP << 16) | (OPTION_SACK << 8) | (2 + 8 * count));
  return at + 4;
}
