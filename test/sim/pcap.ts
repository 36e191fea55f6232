/**
 * What happened on the links of a world, as a pcapng file (draft-ietf-opsawg-pcapng): raw IP, link type 101. A packet is
 * written whenever it enters a link; its comment names the link and direction, and says so if it is lost there. (One
 * interface for all links, because tcpdump refuses several of this type.) Streams are shown as TCP segments with
 * sequence numbers, but no handshakes or acknowledgements.
 */
import { type Endpoint, parseAddress } from '../../lib/base/address.ts';
import { foldChecksum, pseudoSum, sumBytes } from '../../lib/base/checksum.ts';
import { concatBytes, utf8Encode } from '../../lib/base/bytes.ts';

export const PROTOCOL_TCP = 6;
export const PROTOCOL_UDP = 17;

/** What is on a link. */
export interface WirePacket {
  readonly protocol: typeof PROTOCOL_TCP | typeof PROTOCOL_UDP;
  readonly source: Endpoint;
  readonly destination: Endpoint;
  readonly bytes: Uint8Array;
  /** Streams only. */
  readonly sequence?: number;
}

const LINKTYPE_RAW = 101;
/** Time stamps are in microseconds since 1970; the world begins here. */
const ORIGIN_MS = 1_700_000_000_000;

/** Length of a packet with its headers. */
export function wireBytes(packet: WirePacket): number {
  const ip = packet.source.address.includes(':') ? 40 : 20;
  return ip + (packet.protocol === PROTOCOL_UDP ? 8 : 20) + packet.bytes.length;
}

/** Collects packets; {@link PcapRecorder.file} makes a file of them. */
export class PcapRecorder {
  readonly #blocks: Uint8Array[] = [];
  packets = 0;

  /** A packet enters the link `name`. */
  record(nowMs: number, name: string, packet: WirePacket, isLost: boolean): void {
    const bytes = ipPacket(packet);
    const micros = (ORIGIN_MS + nowMs) * 1000;
    const head = words(0, Math.floor(micros / 0x1_0000_0000), micros >>> 0, bytes.length, bytes.length);
    const comment = option(1, utf8Encode(isLost ? `${name}, lost` : name));
    this.#blocks.push(block(6, concatBytes(head, pad(bytes), comment, words(0))));
    this.packets++;
  }

  /** The whole file. */
  file(): Uint8Array {
    const section = block(0x0a0d0d0a, words(0x1a2b3c4d, 1, 0xffff_ffff, 0xffff_ffff));
    const link = block(1, words(LINKTYPE_RAW, 0));
    const blocks = [section, link, ...this.#blocks];
    const out = new Uint8Array(blocks.reduce((sum, { length }) => sum + length, 0));
    let at = 0;
    for (const bytes of blocks) {
      out.set(bytes, at);
      at += bytes.length;
    }
    return out;
  }
}

/** The packet as raw IP: IPv4 with its header checksum, or IPv6. */
export function ipPacket(packet: WirePacket): Uint8Array {
  const source = parseAddress(packet.source.address)!;
  const destination = parseAddress(packet.destination.address)!;
  const transport = transportPacket(packet, source, destination);
  const out = new Uint8Array((source.length === 4 ? 20 : 40) + transport.length);
  const view = new DataView(out.buffer);
  if (source.length === 4) {
    out.set([0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, packet.protocol]);
    view.setUint16(2, out.length);
    out.set(source, 12);
    out.set(destination, 16);
    view.setUint16(10, foldChecksum(sumBytes(out, 0, 20)));
  } else {
    view.setUint32(0, 0x6000_0000);
    view.setUint16(4, transport.length);
    out.set([packet.protocol, 64], 6);
    out.set(source, 8);
    out.set(destination, 24);
  }
  out.set(transport, out.length - transport.length);
  return out;
}

function transportPacket(packet: WirePacket, source: Uint8Array, destination: Uint8Array): Uint8Array {
  const { protocol, bytes } = packet;
  const header = protocol === PROTOCOL_UDP ? 8 : 20;
  const out = new Uint8Array(header + bytes.length);
  const view = new DataView(out.buffer);
  view.setUint16(0, packet.source.port);
  view.setUint16(2, packet.destination.port);
  if (protocol === PROTOCOL_UDP) {
    view.setUint16(4, out.length);
  } else {
    view.setUint32(4, packet.sequence ?? 0);
    view.setUint16(12, 0x5018);
    view.setUint16(14, 0xffff);
  }
  out.set(bytes, header);
  const addresses = sumBytes(destination, 0, destination.length, sumBytes(source, 0, source.length));
  const sum = sumBytes(out, 0, out.length, pseudoSum(protocol, out.length, addresses));
  view.setUint16(protocol === PROTOCOL_UDP ? 6 : 16, foldChecksum(sum) || 0xffff);
  return out;
}

function block(type: number, body: Uint8Array): Uint8Array {
  return concatBytes(words(type, body.length + 12), body, words(body.length + 12));
}

function option(code: number, value: Uint8Array): Uint8Array {
  return concatBytes(words(code | (value.length << 16)), pad(value));
}

function pad(bytes: Uint8Array): Uint8Array {
  const out = new Uint8Array((bytes.length + 3) & ~3);
  out.set(bytes);
  return out;
}

/** Little-endian words. */
function words(...values: number[]): Uint8Array {
  const out = new DataView(new ArrayBuffer(4 * values.length));
  values.forEach((value, i) => out.setUint32(4 * i, value, true));
  return new Uint8Array(out.buffer);
}
