/**
 * One local-remote address pair and the IP headers that go out for it (RFC 791 §3.1, RFC 8200 §3).
 *
 * A path is made once per connection or UDP flow; what never changes per packet (text forms, the addresses' part of
 * pseudo headers) is kept in it. Left out: IPv4 options, IPv6 extension headers, flow labels and traffic classes
 * (all zero), and path MTU discovery itself: whoever hears of a smaller MTU lowers {@link IpPath.mtu}.
 */
import { formatAddress } from '../base/address.ts';
import { concatBytes } from '../base/bytes.ts';
import { foldChecksum, sumBytes } from '../base/checksum.ts';

/** Hop limit (time to live) of everything that this stack sends (RFC 1700's recommended default). */
export const HOP_LIMIT = 64;

/** One local-remote address pair, made once per connection or flow. */
export class IpPath {
  /** Local and remote address one after the other, as in the header of what goes out: 8 or 32 bytes, a copy. */
  readonly addresses: Uint8Array;
  /** Running sum of both addresses, for pseudo headers (see `pseudoSum`). */
  readonly addressSum: number;
  /** Largest IP packet, header included, in bytes; lowered when ICMP says that a packet was too big. */
  mtu: number;

  /** Addresses are 4 or 16 bytes, both of one family (RangeError otherwise), and are copied. */
  constructor(local: Uint8Array, remote: Uint8Array, mtu: number) {
    if ((local.length !== 4 && local.length !== 16) || local.length !== remote.length)
      throw new RangeError(
        `"remote" expected an address of one family, got ${local.length} and ${remote.length} bytes`,
      );
    this.addresses = concatBytes(local, remote);
    this.addressSum = sumBytes(this.addresses, 0, this.addresses.length);
    this.mtu = mtu;
  }

  get family(): 4 | 6 {
    return this.addresses.length === 8 ? 4 : 6;
  }

  /** Bytes of the IP header in front of each payload. */
  get headerBytes(): 20 | 40 {
    return this.addresses.length === 8 ? 20 : 40;
  }

  /** A view of 4 or 16 bytes, made anew. */
  get local(): Uint8Array {
    return this.addresses.subarray(0, this.addresses.length >> 1);
  }

  /** A view of 4 or 16 bytes, made anew. */
  get remote(): Uint8Array {
    return this.addresses.subarray(this.addresses.length >> 1);
  }

  /** Canonical text of the local address. */
  get localText(): string {
    return formatAddress(this.local);
  }

  /** Canonical text of the remote address. */
  get remoteText(): string {
    return formatAddress(this.remote);
  }
}

/**
 * Writes the IP header of a packet from `path.local` to `path.remote` at `buf[start, start + path.headerBytes)`, for
 * `payloadBytes` after it (at most 65,515 for IPv4, 65,535 for IPv6; not checked). IPv4: DF set, identification 0 as
 * RFC 6864 §4.1 allows for atomic datagrams, checksum included. Hop limit 64.
 */
export function writeIpHeader(
  path: IpPath,
  protocol: number,
  buf: Uint8Array,
  start: number,
  payloadBytes: number,
): void {
  if (path.family === 4) {
    const total = 20 + payloadBytes;
    const checksum = foldChecksum(0x4500 + total + 0x4000 + ((HOP_LIMIT << 8) | protocol) + path.addressSum);
    buf[start] = 0x45;
    buf[start + 1] = 0;
    buf[start + 2] = total >>> 8;
    buf[start + 3] = total;
    buf[start + 4] = 0;
    buf[start + 5] = 0;
    buf[start + 6] = 0x40;
    buf[start + 7] = 0;
    buf[start + 8] = HOP_LIMIT;
    buf[start + 9] = protocol;
    buf[start + 10] = checksum >>> 8;
    buf[start + 11] = checksum;
    writeAddresses(path, buf, start + 12);
  } else {
    buf[start] = 0x60;
    buf[start + 1] = 0;
    buf[start + 2] = 0;
    buf[start + 3] = 0;
    buf[start + 4] = payloadBytes >>> 8;
    buf[start + 5] = payloadBytes;
    buf[start + 6] = protocol;
    buf[start + 7] = HOP_LIMIT;
    writeAddresses(path, buf, start + 8);
  }
}

function writeAddresses(path: IpPath, buf: Uint8Array, offset: number): void {
  const { addresses } = path;
  for (let i = 0; i < addresses.length; i++) buf[offset + i] = addresses[i]!;
}
