/**
 * Raw IP packets of the policy cases: one that asks a filter for admission, and the number in its payload by which it is
 * known again where it comes out.
 *
 * Left out: transport checksums and options, which no filter looks at.
 */
import { formatAddress, parseAddress } from '../../lib/base/address.ts';

/** Protocols that these packets may have; any other one gets its payload alone. */
export const ICMP = 1;
export const TCP = 6;
export const UDP = 17;
export const ICMPV6 = 58;
export const SCTP = 132;

/** One packet that is sent: who, where to, and what it wants. */
export interface ProbePacket {
  /** Number of the probe: 32 bits. */
  readonly id: number;
  readonly source: string;
  readonly destination: string;
  readonly protocol: number;
  /** 0 where there are none. */
  readonly port: number;
  /** An ICMP echo reply, which every filter lets in: sent behind others, it says that they have been judged. */
  readonly isReply?: boolean;
}

/** In front of the number. */
const MAGIC = 0x6d6f7465;
const PAYLOAD_BYTES = 8;
const TTL = 64;

/** The packet's bytes. Source ports differ, so that no flow of one probe is known when the next one comes. */
export function buildPacket(probe: ProbePacket): Uint8Array {
  const [source, destination] = [parseAddress(probe.source)!, parseAddress(probe.destination)!];
  const transport = transportOf(probe);
  const isV4 = source.length === 4;
  const out = Buffer.alloc((isV4 ? 20 : 40) + transport.length);
  if (isV4) {
    out[0] = 0x45;
    out.writeUInt16BE(out.length, 2);
    out.writeUInt16BE(probe.id & 0xffff, 4);
    out[8] = TTL;
    out[9] = probe.protocol;
    out.set(source, 12);
    out.set(destination, 16);
    out.writeUInt16BE(checksum(out.subarray(0, 20)), 10);
  } else {
    out[0] = 0x60;
    out.writeUInt16BE(transport.length, 4);
    out[6] = probe.protocol;
    out[7] = TTL;
    out.set(source, 8);
    out.set(destination, 24);
  }
  out.set(transport, isV4 ? 20 : 40);
  return out;
}

function transportOf({ id, protocol, port, isReply }: ProbePacket): Buffer {
  const payload = Buffer.alloc(PAYLOAD_BYTES);
  payload.writeUInt32BE(MAGIC);
  payload.writeUInt32BE(id, 4);
  const head = Buffer.alloc(protocol === TCP ? 20 : protocol === SCTP ? 12 : 8);
  if (protocol === TCP || protocol === UDP || protocol === SCTP) {
    head.writeUInt16BE(1024 + (id % 64_000), 0);
    head.writeUInt16BE(port, 2);
  }
  if (protocol === TCP) {
    head[12] = 0x50;
    head[13] = 0x02; // SYN
  }
  if (protocol === UDP) head.writeUInt16BE(head.length + payload.length, 4);
  if (protocol === ICMP || protocol === ICMPV6) {
    head[0] = protocol === ICMP ? (isReply === true ? 0 : 8) : isReply === true ? 129 : 128;
    head.writeUInt16BE(id & 0xffff, 4);
  }
  return Buffer.concat([head, payload]);
}

function checksum(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += bytes[i]! * 256 + bytes[i + 1]!;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** A packet that came out: the number of its probe and where it was addressed to. Undefined: none of ours. */
export function readPacket(bytes: Buffer): { id: number; destination: string } | undefined {
  const length = bytes.length;
  if (length < 28 || bytes.readUInt32BE(length - PAYLOAD_BYTES) !== MAGIC) return undefined;
  const isV4 = bytes[0]! >> 4 === 4;
  return {
    id: bytes.readUInt32BE(length - 4),
    destination: formatAddress(isV4 ? bytes.subarray(16, 20) : bytes.subarray(24, 40)),
  };
}
