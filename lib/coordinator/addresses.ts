/**
 * Addresses of devices: one of 100.64.0.0/10 (RFC 6598), drawn at random, and one of fd7a:115c:a1e0::/48 that follows
 * from it. Drawn and not counted, so that an address says nothing about when a device joined or how many there are; and
 * never given twice, so that what somebody allowed an address of a device that is gone does not pass to another.
 */
import { formatAddress, parseAddress } from '../base/address.ts';
import { readU32BE } from '../base/bytes.ts';

const BASE = 0x64_40_00_00;
const SIZE = 1 << 22;
/** Half of the range may be taken, so this many draws fail once in 2^64 times. */
const DRAWS = 64;

/** Parts of the range that mean something to clients, first and last address: the services' own, ChromeOS's, the ends. */
const EXCLUDED: readonly (readonly [number, number])[] = Object.freeze([
  [0x64_40_00_00, 0x64_40_00_00],
  [0x64_64_64_00, 0x64_64_64_ff],
  [0x64_73_5c_00, 0x64_73_5d_ff],
  [0x64_7f_ff_ff, 0x64_7f_ff_ff],
] as const);

/** A pair of addresses that is not taken, by its IPv4 text; undefined when every draw hit a taken one. */
export function drawAddresses(
  taken: ReadonlySet<string>,
  random: (out: Uint8Array) => void,
): readonly [string, string] | undefined {
  const bytes = new Uint8Array(4);
  for (let i = 0; i < DRAWS; i++) {
    random(bytes);
    const value = BASE + (readU32BE(bytes, 0) % SIZE); // 2^22 divides 2^32: every address is as likely
    if (EXCLUDED.some(([first, last]) => value >= first && value <= last)) continue;
    const v4 = formatAddress(Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value));
    if (!taken.has(v4)) return [v4, v6Of(v4)];
  }
  return undefined;
}

/** The IPv6 address that goes with an IPv4 address: its last 32 bits are that address. */
export function v6Of(v4: string): string {
  const bytes = new Uint8Array(16);
  bytes.set([0xfd, 0x7a, 0x11, 0x5c, 0xa1, 0xe0]);
  bytes.set(parseAddress(v4)!, 12);
  return formatAddress(bytes);
}
