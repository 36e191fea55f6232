/**
 * The stack's own addresses: what is local, and which one a packet leaves from (RFC 1122 §3.3.4, RFC 6724 §5).
 *
 * Source selection is rule 1 (the destination itself), rule 2 reduced to link-local or not, and rule 8 (longest
 * matching prefix); other rules speak of things that a tunnel does not have. Left out: multicast groups, anycast,
 * and broadcast, which cryptokey routing could not carry anyway.
 */
import { formatAddress, type Prefix } from '../base/address.ts';
import { concatBytes, equalRange, NO_BYTES } from '../base/bytes.ts';
import { NetError } from '../base/errors.ts';
import { isBogusIpv4Source } from '../packet/ipv4.ts';
import { isBogusIpv6Source } from '../packet/ipv6.ts';

/** An entry: bytes of the address, prefix length, whether it is a service's, room for an address. */
const ENTRY_BYTES = 19;
const ENTRY_BITS = 1;
const ENTRY_IS_SERVICE = 2;
const ENTRY_ADDRESS = 3;

/** Addresses with their prefix lengths, host bits kept: {@link ENTRY_BYTES} bytes each. */
export class Addresses {
  readonly #limit: number;
  /** Entries one after the other, in the order of their addition; {@link select} gives offsets in here. */
  bytes: Uint8Array = NO_BYTES;

  /** `limit` is the number of addresses; one more throws. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** All addresses in the order of their addition. */
  get list(): readonly Prefix[] {
    const { bytes } = this;
    const list: Prefix[] = [];
    for (let at = 0; at < bytes.length; at += ENTRY_BYTES) {
      const start = at + ENTRY_ADDRESS;
      list.push({ bytes: bytes.slice(start, start + bytes[at]!), bits: bytes[at + ENTRY_BITS]! });
    }
    return list;
  }

  /**
   * Adds an address, or changes the prefix length of one that is there. Throws RangeError for bytes or bits that are
   * no host's address (multicast, loopback, IPv4-mapped …), NetError `ERR_LIMIT` when there are too many. Nothing is
   * sent from a service's address but answers to what was sent to it.
   */
  add(address: Prefix, isService = false): void {
    const { bytes, bits } = address;
    if ((bytes.length !== 4 && bytes.length !== 16) || !(bits >= 0 && bits <= bytes.length * 8))
      throw new RangeError(`"address" expected 4 or 16 bytes and a prefix length, got ${bytes.length} and ${bits}`);
    if (!isHostAddress(bytes)) throw new RangeError(`"address" expected a host's address, got ${formatAddress(bytes)}`);
    const found = this.#find(bytes, 0, bytes.length);
    const end = this.bytes.length;
    if (found < 0 && end >= this.#limit * ENTRY_BYTES)
      throw new NetError('ERR_LIMIT', `no more than ${this.#limit} addresses`);
    if (found < 0) this.bytes = concatBytes(this.bytes, new Uint8Array(ENTRY_BYTES));
    const at = found < 0 ? end : found;
    this.bytes[at] = bytes.length;
    this.bytes[at + ENTRY_BITS] = bits;
    this.bytes[at + ENTRY_IS_SERVICE] = isService ? 1 : 0;
    this.bytes.set(bytes, at + ENTRY_ADDRESS);
  }

  /** Removes an address; false when it was not there. */
  remove(bytes: Uint8Array): boolean {
    const at = this.#find(bytes, 0, bytes.length);
    if (at < 0) return false;
    this.bytes = concatBytes(this.bytes.subarray(0, at), this.bytes.subarray(at + ENTRY_BYTES));
    return true;
  }

  /** Whether the address of `length` bytes (4 or 16) at `offset` is one of ours. */
  has(buf: Uint8Array, offset: number, length: number): boolean {
    return this.#find(buf, offset, length) >= 0;
  }

  /** Whether the 4 bytes at `offset` are the broadcast address of a subnet that one of our addresses is in. */
  isSubnetBroadcast(buf: Uint8Array, offset: number): boolean {
    const { bytes } = this;
    for (let at = 0; at < bytes.length; at += ENTRY_BYTES) {
      const bits = bytes[at + ENTRY_BITS]!;
      if (bytes[at] !== 4 || bits > 30) continue;
      let isBroadcast = true;
      for (let i = 0; i < 4 && isBroadcast; i++) {
        const hostMask = bits >= (i + 1) * 8 ? 0 : bits <= i * 8 ? 0xff : 0xff >> (bits - i * 8);
        isBroadcast = buf[offset + i] === (bytes[at + ENTRY_ADDRESS + i]! | hostMask);
      }
      if (isBroadcast) return true;
    }
    return false;
  }

  /**
   * Where in {@link bytes} the own address stands to talk to `remote` (4 or 16 bytes) from; -1 when there is none of
   * its family.
   */
  select(remote: Uint8Array): number {
    const { bytes } = this;
    let best = -1;
    let bestScore = -1;
    for (let at = 0; at < bytes.length; at += ENTRY_BYTES) {
      if (bytes[at] !== remote.length) continue;
      const address = at + ENTRY_ADDRESS;
      const common = commonBits(bytes, address, remote);
      if (common === remote.length * 8) return address;
      if (bytes[at + ENTRY_IS_SERVICE] === 1) continue;
      const hasSameScope = isLinkLocal(bytes, address, remote.length) === isLinkLocal(remote, 0, remote.length);
      const score = Math.min(common, bytes[at + ENTRY_BITS]!) + (hasSameScope ? 1000 : 0);
      if (score > bestScore) {
        best = address;
        bestScore = score;
      }
    }
    return best;
  }

  /** A copy of what {@link select} finds; undefined when there is none. */
  selectCopy(remote: Uint8Array): Uint8Array | undefined {
    const at = this.select(remote);
    return at < 0 ? undefined : this.bytes.slice(at, at + remote.length);
  }

  /** Offset of the entry. */
  #find(buf: Uint8Array, offset: number, length: number): number {
    const { bytes } = this;
    for (let at = 0; at < bytes.length; at += ENTRY_BYTES)
      if (bytes[at] === length && equalRange(bytes, at + ENTRY_ADDRESS, buf, offset, length)) return at;
    return -1;
  }
}

/** Whether 4 or 16 bytes are an address that a single host outside can have: what this stack talks to and from. */
export function isHostAddress(bytes: Uint8Array): boolean {
  return bytes.length === 4 ? !isBogusIpv4Source(bytes, 0) : !isBogusIpv6Source(bytes, 0);
}

/** How many bits the address at `offset` has in common with `other` from the first on. */
function commonBits(buf: Uint8Array, offset: number, other: Uint8Array): number {
  for (let i = 0; i < other.length; i++) {
    const difference = buf[offset + i]! ^ other[i]!;
    if (difference !== 0) return i * 8 + Math.clz32(difference) - 24;
  }
  return other.length * 8;
}

function isLinkLocal(buf: Uint8Array, offset: number, length: number): boolean {
  const first = buf[offset]!;
  const second = buf[offset + 1]!;
  return length === 4 ? first === 169 && second === 254 : first === 0xfe && (second & 0xc0) === 0x80;
}
