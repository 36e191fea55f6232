/**
 * IP addresses, prefixes and endpoints as text and bytes (RFC 4291 §2.2, RFC 5952, RFC 4632).
 *
 * Text is the canonical form of RFC 5952, so equal addresses have equal texts and can be map keys.
 * A zone (`fe80::1%eth0`) is accepted in endpoints only, where it is kept as it came.
 * Octal, hex or short IPv4 forms (`10.1`, `010.0.0.1`) are refused: they have bitten too many parsers.
 */

/** A UDP or TCP address outside or inside the tunnel. Compare with {@link sameEndpoint}. */
export interface Endpoint {
  /** Canonical address text, without brackets. */
  readonly address: string;
  /** 1 to 65535. */
  readonly port: number;
}

/** A CIDR prefix; host bits of `bytes` are zero. */
export interface Prefix {
  /** 4 bytes for IPv4, 16 for IPv6. */
  readonly bytes: Uint8Array;
  /** Prefix length: 0 to 32 or 0 to 128. */
  readonly bits: number;
}

/** Whether two endpoints are the same address and port. */
export function sameEndpoint(a: Endpoint | undefined, b: Endpoint | undefined): boolean {
  return a === b || (a !== undefined && b !== undefined && a.port === b.port && a.address === b.address);
}

/** `1.2.3.4:51820` or `[fd00::1]:51820`. */
export function formatEndpoint(endpoint: Endpoint): string {
  const { address, port } = endpoint;
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

/** Parses `1.2.3.4:5` or `[::1]:5` with a port of 1 to 65535; `undefined` for anything else (names included). */
export function parseEndpoint(text: string): Endpoint | undefined {
  const split = splitHostPort(text);
  if (split === undefined) return undefined;
  const address = canonicalAddress(split.host);
  return address === undefined ? undefined : { address, port: split.port };
}

/** Splits `host:port` or `[v6]:port`; the host may be a name. `undefined` when there is no valid port (1 to 65535). */
export function splitHostPort(text: string): { host: string; port: number } | undefined {
  const colon = text.lastIndexOf(':');
  if (colon <= 0) return undefined;
  let host = text.slice(0, colon);
  const isBracketed = host.startsWith('[') && host.endsWith(']');
  if (isBracketed) host = host.slice(1, -1);
  if (host.includes(':') !== isBracketed) return undefined;
  const port = parsePort(text.slice(colon + 1));
  return port === undefined || host === '' ? undefined : { host, port };
}

/** A decimal port of 1 to 65535 without sign, blanks or leading zero; otherwise `undefined`. */
export function parsePort(text: string): number | undefined {
  const port = parseDecimal(text, 65535);
  return port === 0 ? undefined : port;
}

/** A decimal number of 0 to `max` without sign, blanks or leading zero; otherwise `undefined`. */
export function parseDecimal(text: string, max: number): number | undefined {
  if (!/^(0|[1-9][0-9]{0,14})$/.test(text)) return undefined;
  const value = Number(text);
  return value <= max ? value : undefined;
}

/** Canonical text of an IPv4 or IPv6 address (RFC 5952), a zone kept; `undefined` when it is not one. */
export function canonicalAddress(text: string): string | undefined {
  const percent = text.indexOf('%');
  if (percent >= 0) {
    const zone = text.slice(percent + 1);
    const bytes = parseAddress(text.slice(0, percent));
    if (bytes === undefined || bytes.length !== 16 || !/^[A-Za-z0-9_.-]{1,32}$/.test(zone)) return undefined;
    return `${formatAddress(bytes)}%${zone}`;
  }
  const bytes = parseAddress(text);
  return bytes === undefined ? undefined : formatAddress(bytes);
}

/** Bytes (4 or 16) of an address text without a zone; `undefined` when it is not one. */
export function parseAddress(text: string): Uint8Array | undefined {
  return text.includes(':') ? parseV6(text) : parseV4(text);
}

function parseV4(text: string): Uint8Array | undefined {
  const parts = text.split('.');
  if (parts.length !== 4) return undefined;
  const out = new Uint8Array(4);
  for (let i = 0; i < 4; i++) {
    const value = parseDecimal(parts[i]!, 255);
    if (value === undefined) return undefined;
    out[i] = value;
  }
  return out;
}

function parseV6(text: string): Uint8Array | undefined {
  if (text.length > 45) return undefined;
  const gap = text.indexOf('::');
  const head = parseGroups(gap < 0 ? text : text.slice(0, gap), gap < 0);
  const tail = gap < 0 ? [] : parseGroups(text.slice(gap + 2), true);
  if (head === undefined || tail === undefined) return undefined;
  const length = head.length + tail.length;
  if (gap < 0 ? length !== 16 : length > 14) return undefined;
  const out = new Uint8Array(16);
  out.set(head, 0);
  out.set(tail, 16 - tail.length);
  return out;
}

function parseGroups(text: string, mayEndInV4: boolean): number[] | undefined {
  if (text === '') return [];
  const groups = text.split(':');
  const out: number[] = [];
  for (let i = 0; i < groups.length; i++) {
    const group = groups[i]!;
    if (group.includes('.')) {
      const v4 = mayEndInV4 && i === groups.length - 1 ? parseV4(group) : undefined;
      if (v4 === undefined) return undefined;
      out.push(...v4);
    } else {
      if (!/^[0-9a-fA-F]{1,4}$/.test(group)) return undefined;
      const value = Number.parseInt(group, 16);
      out.push(value >> 8, value & 255);
    }
  }
  return out;
}

/** Canonical text of 4 or 16 address bytes at `offset` (RFC 5952; IPv4-mapped as `::ffff:1.2.3.4`). */
export function formatAddress(bytes: Uint8Array, offset = 0, length = bytes.length - offset): string {
  if (length === 4) return `${bytes[offset]}.${bytes[offset + 1]}.${bytes[offset + 2]}.${bytes[offset + 3]}`;
  if (length !== 16) throw new RangeError(`"bytes" expected 4 or 16 address bytes, got ${length}`);
  const groups: number[] = [];
  for (let i = 0; i < 16; i += 2) groups.push((bytes[offset + i]! << 8) | bytes[offset + i + 1]!);
  const isMapped = groups.every((group, i) => (i < 5 ? group === 0 : i > 5 || group === 0xffff));
  if (isMapped) return `::ffff:${formatAddress(bytes, offset + 12, 4)}`;
  const run = longestZeroRun(groups);
  const text = (from: number, to: number) =>
    groups
      .slice(from, to)
      .map(group => group.toString(16))
      .join(':');
  return run.length < 2 ? text(0, 8) : `${text(0, run.start)}::${text(run.start + run.length, 8)}`;
}

function longestZeroRun(groups: readonly number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  for (let start = 0; start < groups.length; start++) {
    let length = 0;
    while (start + length < groups.length && groups[start + length] === 0) length++;
    if (length > best.length) best = { start, length };
  }
  return best;
}

/** Parses `10.0.0.0/8`, `fd00::/8`, or an address alone (its whole length); host bits are masked. Else `undefined`. */
export function parsePrefix(text: string): Prefix | undefined {
  const slash = text.indexOf('/');
  const bytes = parseAddress(slash < 0 ? text : text.slice(0, slash));
  if (bytes === undefined) return undefined;
  const bits = slash < 0 ? bytes.length * 8 : parseDecimal(text.slice(slash + 1), bytes.length * 8);
  return bits === undefined ? undefined : { bytes: maskBytes(bytes, bits), bits };
}

/** `10.0.0.0/8`. */
export function formatPrefix(prefix: Prefix): string {
  return `${formatAddress(prefix.bytes)}/${prefix.bits}`;
}

/** A copy of address bytes with all but the first `bits` bits cleared. */
export function maskBytes(bytes: Uint8Array, bits: number): Uint8Array {
  const out = bytes.slice();
  for (let i = 0; i < out.length; i++) {
    const keep = bits - i * 8;
    if (keep < 8) out[i]! &= keep <= 0 ? 0 : 0xff << (8 - keep);
  }
  return out;
}

/** Whether the address bytes at `offset` (of the prefix's family) lie in the prefix. */
export function prefixContains(prefix: Prefix, bytes: Uint8Array, offset = 0): boolean {
  const whole = prefix.bits >> 3;
  for (let i = 0; i < whole; i++) if (prefix.bytes[i] !== bytes[offset + i]) return false;
  const rest = prefix.bits & 7;
  return rest === 0 || ((prefix.bytes[whole]! ^ bytes[offset + whole]!) & (0xff << (8 - rest)) & 0xff) === 0;
}

/**
 * What limits per source count as one source: an IPv4 address (also in its IPv6 form, RFC 4291 §2.5.5.2), or the /64
 * network of an IPv6 address (RFC 4291 §2.5.4), out of which one machine can have as many addresses as it likes. Text
 * that is no address (a zone is cut off) stands for itself.
 */
export function sourceOf(address: string): string {
  const bytes = parseAddress(address.replace(/%.*$/, ''));
  if (bytes === undefined) return address;
  if (bytes.length === 4) return formatAddress(bytes);
  const isMapped = bytes[10] === 0xff && bytes[11] === 0xff && bytes.subarray(0, 10).every(byte => byte === 0);
  return isMapped ? formatAddress(bytes, 12) : formatPrefix({ bytes: maskBytes(bytes, 64), bits: 64 });
}
