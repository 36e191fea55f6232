/**
 * The stack's own addresses: what is local, and which one a packet leaves from (RFC 1122 §3.3.4, RFC 6724 §5).
 *
 * Source selection is rule 1 (the destination itself), rule 2 reduced to link-local or not, and rule 8 (longest
 * matching prefix); other rules speak of things that a tunnel does not have. Left out: multicast groups, anycast,
 * and broadcast, which cryptokey routing could not carry anyway.
 */
import { formatAddress, type Prefix } from '../base/address.ts';
import { equalRange } from '../base/bytes.ts';
import { NetError } from '../base/errors.ts';
import { isBogusIpv4Source } from '../packet/ipv4.ts';
import { isBogusIpv6Source } from '../packet/ipv6.ts';

/** Addresses with their prefix lengths, host bits kept. */
export class Addresses {
  readonly #limit: number;
  readonly #list: Prefix[] = [];
  /** Those that nothing leaves from, but answers. */
  readonly #services = new Set<Prefix>();

  /** `limit` is the number of addresses; one more throws. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** All addresses in the order of their addition. */
  get list(): readonly Prefix[] {
    return this.#list;
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
    const at = this.#find(bytes, 0, bytes.length);
    if (at < 0 && this.#list.length >= this.#limit)
      throw new NetError('ERR_LIMIT', `no more than ${this.#limit} addresses`);
    const entry = { bytes: bytes.slice(), bits };
    if (at >= 0) this.#services.delete(this.#list[at]!);
    if (isService) this.#services.add(entry);
    this.#list[at < 0 ? this.#list.length : at] = entry;
  }

  /** Removes an address; false when it was not there. */
  remove(bytes: Uint8Array): boolean {
    const at = this.#find(bytes, 0, bytes.length);
    if (at < 0) return false;
    this.#services.delete(this.#list[at]!);
    this.#list.splice(at, 1);
    return true;
  }

  /** Whether the address of `length` bytes (4 or 16) at `offset` is one of ours. */
  has(buf: Uint8Array, offset: number, length: number): boolean {
    return this.#find(buf, offset, length) >= 0;
  }

  /** Whether the 4 bytes at `offset` are the broadcast address of a subnet that one of our addresses is in. */
  isSubnetBroadcast(buf: Uint8Array, offset: number): boolean {
    for (const { bytes, bits } of this.#list) {
      if (bytes.length !== 4 || bits > 30) continue;
      let isBroadcast = true;
      for (let i = 0; i < 4 && isBroadcast; i++) {
        const hostMask = bits >= (i + 1) * 8 ? 0 : bits <= i * 8 ? 0xff : 0xff >> (bits - i * 8);
        isBroadcast = buf[offset + i] === (bytes[i]! | hostMask);
      }
      if (isBroadcast) return true;
    }
    return false;
  }

  /** The own address to talk to `remote` (4 or 16 bytes) from, or undefined when there is none of its family. */
  select(remote: Uint8Array): Uint8Array | undefined {
    let best: Uint8Array | undefined;
    let bestScore = -1;
    for (const entry of this.#list) {
      const { bytes, bits } = entry;
      if (bytes.length !== remote.length) continue;
      const common = commonBits(bytes, remote);
      if (common === bytes.length * 8) return bytes;
      if (this.#services.has(entry)) continue;
      const hasSameScope = isLinkLocal(bytes) === isLinkLocal(remote);
      const score = Math.min(common, bits) + (hasSameScope ? 1000 : 0);
      if (score > bestScore) {
        best = bytes;
        bestScore = score;
      }
    }
    return best;
  }

  #find(buf: Uint8Array, offset: number, length: number): number {
    for (let i = 0; i < this.#list.length; i++) {
      const { bytes } = this.#list[i]!;
      if (bytes.length === length && equalRange(bytes, 0, buf, offset, length)) return i;
    }
    return -1;
  }
}

/** Whether 4 or 16 bytes are an address that a single host outside can have: what this stack talks to and from. */
export function isHostAddress(bytes: Uint8Array): boolean {
  return bytes.length === 4 ? !isBogusIpv4Source(bytes, 0) : !isBogusIpv6Source(bytes, 0);
}

function commonBits(a: Uint8Array, b: Uint8Array): number {
  for (let i = 0; i < a.length; i++) {
    const difference = a[i]! ^ b[i]!;
    if (difference !== 0) return i * 8 + Math.clz32(difference) - 24;
  }
  return a.length * 8;
}

function isLinkLocal(bytes: Uint8Array): boolean {
  if (bytes.length === 4) return bytes[0] === 169 && bytes[1] === 254;
  return bytes[0] === 0xfe && (bytes[1]! & 0xc0) === 0x80;
}
