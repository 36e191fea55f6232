/**
 * Builders of packets for tests, written apart from lib: slow, with objects, and able to build nonsense.
 */
import { parseAddress } from '../../lib/base/address.ts';

/** Bytes of an address text. */
export function ip(text: string): Uint8Array {
  const bytes = parseAddress(text);
  if (bytes === undefined) throw new Error(`not an address: ${text}`);
  return bytes;
}

/** Joins byte arrays and numbers (one byte each). */
export function join(...parts: (Uint8Array | number | number[])[]): Uint8Array {
  let length = 0;
  for (const part of parts) length += typeof part === 'number' ? 1 : part.length;
  const out = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    if (typeof part === 'number') out[at++] = part;
    else {
      out.set(part, at);
      at += part.length;
    }
  }
  return out;
}

/** Two big-endian bytes. */
export const u16 = (value: number): number[] => [(value >>> 8) & 255, value & 255];
/** Four big-endian bytes. */
export const u32 = (value: number): number[] => [...u16(value >>> 16), ...u16(value & 0xffff)];
/** `length` bytes that count up from `first`. */
export const counting = (length: number, first = 0): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => first + i + (i >> 8));

/** RFC 1071 in its plainest form. */
export function slowChecksum(...parts: Uint8Array[]): number {
  const all = join(...parts);
  let sum = 0;
  for (let i = 0; i < all.length; i += 2) {
    sum += all[i]! * 256 + (all[i + 1] ?? 0);
    if (sum > 0xffff) sum -= 0xffff;
  }
  return 0xffff - sum;
}

/** Fields of an IPv4 header; what is absent is what a sane host would send. */
export interface V4 {
  src?: string;
  dst?: string;
  protocol?: number;
  id?: number;
  /** Word of flags and offset. */
  flags?: number;
  ttl?: number;
  options?: number[];
  version?: number;
  /** Header length in words. */
  ihl?: number;
  total?: number;
  checksum?: number;
}

/** An IPv4 packet. */
export function v4(fields: V4, payload: Uint8Array): Uint8Array {
  const options = fields.options ?? [];
  const ihl = fields.ihl ?? 5 + options.length / 4;
  const header = (checksum: number) =>
    join(
      ((fields.version ?? 4) << 4) | ihl,
      0,
      u16(fields.total ?? 20 + options.length + payload.length),
      u16(fields.id ?? 0),
      u16(fields.flags ?? 0),
      fields.ttl ?? 64,
      fields.protocol ?? 17,
      u16(checksum),
      ip(fields.src ?? '10.0.0.2'),
      ip(fields.dst ?? '10.0.0.1'),
      options,
    );
  return join(header(fields.checksum ?? slowChecksum(header(0))), payload);
}

/** Fields of an IPv6 header. */
export interface V6 {
  src?: string;
  dst?: string;
  next?: number;
  version?: number;
  length?: number;
}

/** An IPv6 packet; `payload` includes extension headers. */
export function v6(fields: V6, payload: Uint8Array): Uint8Array {
  return join(
    (fields.version ?? 6) << 4,
    [0, 0, 0],
    u16(fields.length ?? payload.length),
    fields.next ?? 17,
    64,
    ip(fields.src ?? 'fd00::2'),
    ip(fields.dst ?? 'fd00::1'),
    payload,
  );
}

/** An IPv6 extension header with options or routing data; padded to 8 bytes by PadN unless it fits. */
export function extension(next: number, data: number[]): Uint8Array {
  const raw = [...data];
  const missing = (8 - ((raw.length + 2) % 8)) % 8;
  if (missing === 1) raw.push(0);
  else if (missing > 1) raw.push(1, missing - 2, ...new Array<number>(missing - 2).fill(0));
  return join(next, (raw.length + 2) / 8 - 1, raw);
}

/** An IPv6 fragment header; `offset` in bytes. */
export function fragmentHeader(next: number, offset: number, more: boolean, id: number): Uint8Array {
  return join(next, 0, u16(offset | (more ? 1 : 0)), u32(id));
}

function pseudo(src: string, dst: string, protocol: number, length: number): Uint8Array {
  return join(ip(src), ip(dst), u32(length), u32(protocol));
}

/** A UDP datagram with a good checksum unless told. */
export function udp(
  ports: { src?: string; dst?: string; from?: number; to?: number; length?: number; checksum?: number },
  payload: Uint8Array,
): Uint8Array {
  const { src = '10.0.0.2', dst = '10.0.0.1', from = 5353, to = 53 } = ports;
  const length = ports.length ?? 8 + payload.length;
  const head = join(u16(from), u16(to), u16(length), [0, 0]);
  const checksum = ports.checksum ?? (slowChecksum(pseudo(src, dst, 17, length), head, payload) || 0xffff);
  return join(head.slice(0, 6), u16(checksum), payload);
}

/** An ICMP (IPv4) message. */
export function icmp4(type: number, code: number, word: number, body: Uint8Array): Uint8Array {
  const message = join(type, code, [0, 0], u32(word), body);
  return join(type, code, u16(slowChecksum(message)), u32(word), body);
}

/** An ICMPv6 message. */
export function icmp6(
  src: string,
  dst: string,
  type: number,
  code: number,
  word: number,
  body: Uint8Array,
): Uint8Array {
  const message = join(type, code, [0, 0], u32(word), body);
  return join(type, code, u16(slowChecksum(pseudo(src, dst, 58, message.length), message)), u32(word), body);
}

/** Packets computed by another program (plain Python, no library), by name. */
export const VECTORS = Object.freeze({
  udp4: '4500002100004000401126ca0a0000020a00000114e90035000d92e168656c6c6f',
  udp6: '60000000000d1140fd000000000000000000000000000002fd00000000000000000000000000000114e90035000dacdf68656c6c6f',
  echo4: '4500002000004000400126db0a0000020a000001080006fa1234000170696e67',
  echoReply4: '4500002000004000400126db0a0000010a00000200000efa1234000170696e67',
  echo6: '60000000000d3a40fd000000000000000000000000000002fd000000000000000000000000000001800073ad1234000170696e6721',
  echoReply6:
    '60000000000d3a40fd000000000000000000000000000001fd000000000000000000000000000002810072ad1234000170696e6721',
  portUnreachable4:
    '4500003d00004000400126be0a0000010a0000020303111e000000004500002100004000401126ca0a0000020a00000114e90035000d92e168656c6c6f',
  portUnreachable6:
    '60000000003d3a40fd000000000000000000000000000001fd000000000000000000000000000002010493500000000060000000000d1140fd000000000000000000000000000002fd00000000000000000000000000000114e90035000dacdf68656c6c6f',
  /** A UDP datagram whose checksum computes to zero and is sent as ffff. */
  udpZeroSum4: '4500001e00004000401126cd0a0000020a00000114e90035000affffd6b9',
});
