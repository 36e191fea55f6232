/**
 * A peer of the netmap as bytes: everything that is kept of it in one record, since a microcontroller holds hundreds of
 * them. Layout:
 *
 *     varint length | varint flags | 32 node key | varint id | [32 disco key, or 8 tag of it] | [u32 key expiry]
 *     | [varint user] | varint home relay | name | addresses | [allowed IPs] | [endpoints] | [tags]
 *
 * A whole record takes about 105 bytes. A slim one, of about 65, lacks the endpoints and has a tag in place of the disco
 * key: enough to recognise the peer when it shows the key itself.
 *
 * Numbers are little endian; lists begin with their count; times are seconds since 1970. A name that ends in the
 * table's suffix is stored without it. An address of the tailnet's usual IPv6 prefix is stored without that prefix and the
 * zeros behind it; one that ends in the IPv4 address in front of it, behind zeros only, not at all: then the addresses are 4 bytes.
 */
import { type Endpoint, formatAddress, type Prefix, parseAddress } from '../base/address.ts';
import { copyBytes, equalBytes, equalRange, readU32LE, utf8Decode, utf8Encode } from '../base/bytes.ts';
import { DISCO_TAG_BYTES, type PeerSlimmer } from './peer-slimmer.ts';

/** A peer, as the application and the other machines see it. */
export interface NetmapPeer {
  readonly id: number;
  /** Fully qualified with the trailing dot, or empty. */
  readonly name: string;
  readonly user: number;
  readonly key: Uint8Array;
  readonly discoKey: Uint8Array | undefined;
  /** Of a slim record whose peer has a disco key: {@link PeerSlimmer.tag} of it in its place. */
  readonly discoTag: Uint8Array | undefined;
  readonly addresses: readonly Prefix[];
  readonly allowedIPs: readonly Prefix[];
  readonly endpoints: readonly Endpoint[];
  /** 0: unknown. */
  readonly homeRegion: number;
  /** Seconds since 1970; 0: never. */
  readonly keyExpiry: number;
  readonly isOnline: boolean | undefined;
  /** `tag:name`. */
  readonly tags: readonly string[];
  readonly isExpired: boolean;
  readonly isWireGuardOnly: boolean;
  readonly isJailed: boolean;
  readonly isUnsignedPeerApiOnly: boolean;
}

const KEY_BYTES = 32;
/** A length of three bytes is more than any limit allows. */
const MAX_LENGTH = 0x1f_ffff;

// The flags of most slim records fit into one byte.
const ONLINE_KNOWN = 1;
const ONLINE = 2;
const HAS_DISCO = 4;
const HAS_TAG = 8;
const HAS_SUFFIX = 16;
const HAS_PAIR = 32;
const HAS_EXPIRY = 64;
const HAS_ENDPOINTS = 128;
const HAS_USER = 256;
const HAS_ALLOWED = 512;
const HAS_TAGS = 1024;
const EXPIRED = 2048;
const JAILED = 4096;
const WIREGUARD_ONLY = 8192;
const UNSIGNED = 16_384;

/** fd7a:115c:a1e0::/48, from which tailnets have their IPv6 addresses. */
const TAILNET_V6 = Object.freeze([0xfd, 0x7a, 0x11, 0x5c, 0xa1, 0xe0]);
/** In place of a prefix length: an address of that prefix follows, as the number of zeros behind it and the rest. */
const SHORT_V6 = 255;
const SHORT_V6_BYTES = 10;
/**
 * In place of the count of addresses, with the zeros added: 4 bytes of IPv4 and the rest of one of that prefix follow. A
 * peer has far fewer addresses than that.
 */
const USUAL_ADDRESSES = 128;
/** Prefix lengths of IPv6 are stored with this added. */
const V6 = 64;

/** Everything of a name behind its first label, with the dot in front; empty without one. */
export function suffixOf(name: string): string {
  const dot = name.indexOf('.');
  return dot < 0 ? '' : name.slice(dot);
}

/**
 * Writes a peer into `out` from its start, slim where a slimmer is given; the bytes written, or 0 when it does not fit.
 * What is known by its tag only stays so.
 */
export function writePeer(out: Uint8Array, peer: NetmapPeer, suffix: string, slimmer?: PeerSlimmer): number {
  return new Writer(out).write(peer, suffix, slimmer);
}

class Writer {
  readonly #out: Uint8Array;
  /** Behind a length of one byte. */
  #at = 1;

  constructor(out: Uint8Array) {
    this.#out = out;
  }

  write(peer: NetmapPeer, suffix: string, slimmer: PeerSlimmer | undefined): number {
    const isShort = suffix !== '' && peer.name.endsWith(suffix);
    const hasAllowed = !samePrefixes(peer.addresses, peer.allowedIPs);
    const discoKey = slimmer === undefined ? peer.discoKey : undefined;
    const tag = peer.discoKey === undefined ? peer.discoTag : slimmer?.tag(peer.discoKey);
    const endpoints = slimmer === undefined ? peer.endpoints : [];
    let flags = peer.isOnline === undefined ? 0 : peer.isOnline ? ONLINE_KNOWN | ONLINE : ONLINE_KNOWN;
    if (peer.isExpired) flags |= EXPIRED;
    if (peer.isWireGuardOnly) flags |= WIREGUARD_ONLY;
    if (peer.isJailed) flags |= JAILED;
    if (peer.isUnsignedPeerApiOnly) flags |= UNSIGNED;
    if (discoKey !== undefined) flags |= HAS_DISCO;
    if (tag !== undefined) flags |= HAS_TAG;
    if (peer.keyExpiry > 0) flags |= HAS_EXPIRY;
    if (hasAllowed) flags |= HAS_ALLOWED;
    if (isShort) flags |= HAS_SUFFIX;
    if (peer.user > 0) flags |= HAS_USER;
    if (isPair(peer.addresses)) flags |= HAS_PAIR;
    if (endpoints.length > 0) flags |= HAS_ENDPOINTS;
    if (peer.tags.length > 0) flags |= HAS_TAGS;
    this.#varint(flags);
    this.#bytes(peer.key);
    this.#varint(peer.id);
    if (discoKey !== undefined) this.#bytes(discoKey);
    if (tag !== undefined) this.#bytes(tag);
    if (peer.keyExpiry > 0) this.#number(peer.keyExpiry, 4);
    if (peer.user > 0) this.#varint(peer.user);
    this.#varint(peer.homeRegion);
    this.#text(isShort ? peer.name.slice(0, -suffix.length) : peer.name);
    if ((flags & HAS_PAIR) !== 0) this.#bytes(peer.addresses[0]!.bytes);
    else this.#addresses(peer.addresses);
    if (hasAllowed) this.#prefixes(peer.allowedIPs);
    if (endpoints.length > 0) this.#varint(endpoints.length);
    for (const endpoint of endpoints) this.#endpoint(endpoint);
    if (peer.tags.length > 0) this.#varint(peer.tags.length);
    for (const tag of peer.tags) this.#text(tag.slice(4));
    return this.#finish();
  }

  /** Puts the length in front, for which a long record is moved. */
  #finish(): number {
    const out = this.#out;
    const end = this.#at;
    const more = end < 128 ? 0 : end + 1 < 16_384 ? 1 : 2;
    const length = end + more;
    if (length > Math.min(out.length, MAX_LENGTH)) return 0;
    if (more > 0) out.copyWithin(1 + more, 1, end);
    this.#at = 0;
    this.#varint(length);
    return length;
  }

  /** Beyond the end of `out` writes are lost and only counted. */
  #number(value: number, bytes: number): void {
    for (let i = 0; i < bytes; i++) {
      if (this.#at < this.#out.length) this.#out[this.#at] = value % 256;
      this.#at++;
      value = Math.floor(value / 256);
    }
  }

  #varint(value: number): void {
    for (; value >= 128; value = Math.floor(value / 128)) this.#number(128 + (value % 128), 1);
    this.#number(value, 1);
  }

  #bytes(bytes: Uint8Array): void {
    if (this.#at + bytes.length <= this.#out.length) copyBytes(this.#out, this.#at, bytes, 0, bytes.length);
    this.#at += bytes.length;
  }

  #text(text: string): void {
    const bytes = utf8Encode(text);
    this.#varint(bytes.length);
    this.#bytes(bytes);
  }

  /** One of each family, the usual case: both without what says so. */
  #addresses(addresses: readonly Prefix[]): void {
    const [v4, v6] = addresses;
    const isUsual = addresses.length === 2 && v4!.bytes.length === 4 && v4!.bits === 32 && isTailnetV6(v6!);
    if (!isUsual) return this.#prefixes(addresses);
    const zeros = zerosOf(v6!.bytes);
    this.#number(USUAL_ADDRESSES + zeros, 1);
    this.#bytes(v4!.bytes);
    this.#bytes(v6!.bytes.subarray(TAILNET_V6.length + zeros));
  }

  #prefixes(prefixes: readonly Prefix[]): void {
    this.#varint(prefixes.length);
    for (const prefix of prefixes) {
      const { bytes, bits } = prefix;
      if (isTailnetV6(prefix)) {
        const zeros = zerosOf(bytes);
        this.#number(SHORT_V6, 1);
        this.#number(zeros, 1);
        this.#bytes(bytes.subarray(TAILNET_V6.length + zeros));
      } else {
        this.#number(bytes.length === 4 ? bits : V6 + bits, 1);
        this.#bytes(bytes.subarray(0, Math.ceil(bits / 8)));
      }
    }
  }

  #endpoint(endpoint: Endpoint): void {
    const bytes = parseAddress(endpoint.address)!;
    this.#number(bytes.length, 1);
    this.#bytes(bytes);
    this.#number(endpoint.port, 2);
  }
}

function isTailnetV6({ bytes, bits }: Prefix): boolean {
  return bits === 128 && TAILNET_V6.every((byte, i) => bytes[i] === byte);
}

/** Zeros behind the prefix of an address of {@link TAILNET_V6}. */
function zerosOf(bytes: Uint8Array): number {
  let zeros = 0;
  while (zeros < SHORT_V6_BYTES && bytes[TAILNET_V6.length + zeros] === 0) zeros++;
  return zeros;
}

function samePrefixes(a: readonly Prefix[], b: readonly Prefix[]): boolean {
  if (a === b) return true;
  return (
    a.length === b.length && a.every((prefix, i) => prefix.bits === b[i]!.bits && equalBytes(prefix.bytes, b[i]!.bytes))
  );
}

/** Whether the addresses are one of IPv4 and the one of IPv6 that follows from it. */
function isPair(addresses: readonly Prefix[]): boolean {
  const [v4, v6] = addresses;
  if (addresses.length !== 2 || v4!.bits !== 32 || v4!.bytes.length !== 4 || v6!.bits !== 128) return false;
  return equalBytes(pairOf(v4!.bytes)[1]!.bytes, v6!.bytes);
}

function pairOf(v4: Uint8Array): Prefix[] {
  const v6 = new Uint8Array(16);
  v6.set(TAILNET_V6);
  v6.set(v4, 12);
  return [
    { bytes: v4, bits: 32 },
    { bytes: v6, bits: 128 },
  ];
}

/** Length of the record at `start`; 0: there is none. */
export function recordLength(buf: Uint8Array, start: number): number {
  return varintAt(buf, start);
}

/** Where the node key of the record at `start` is. */
export function recordKeyAt(buf: Uint8Array, start: number): number {
  return behindVarint(buf, behindVarint(buf, start));
}

/** Id of the record at `start`. */
export function recordId(buf: Uint8Array, start: number): number {
  return varintAt(buf, recordKeyAt(buf, start) + KEY_BYTES);
}

/** Whether the record at `start` has this disco key (32 bytes), or its tag; without a tag slim records are passed by. */
export function recordHasDiscoKey(buf: Uint8Array, start: number, key: Uint8Array, tag?: Uint8Array): boolean {
  const flags = buf[behindVarint(buf, start)]!;
  const shown = (flags & HAS_DISCO) !== 0 ? key : (flags & HAS_TAG) !== 0 ? tag : undefined;
  if (shown === undefined) return false;
  return equalRange(buf, behindVarint(buf, recordKeyAt(buf, start) + KEY_BYTES), shown, 0, shown.length);
}

/** Marks the peer as online or not. */
export function setRecordOnline(buf: Uint8Array, start: number, isOnline: boolean): void {
  const at = behindVarint(buf, start);
  buf[at]! &= ~(ONLINE | ONLINE_KNOWN);
  buf[at]! |= isOnline ? ONLINE | ONLINE_KNOWN : ONLINE_KNOWN;
}

function varintAt(buf: Uint8Array, at: number): number {
  let byte = buf[at++]!;
  let value = byte & 127;
  for (let scale = 128; byte >= 128; scale *= 128) {
    byte = buf[at++]!;
    value += (byte & 127) * scale;
  }
  return value;
}

function behindVarint(buf: Uint8Array, at: number): number {
  while (buf[at++]! >= 128);
  return at;
}

/** Reads the record at `start`. */
export function readPeer(buf: Uint8Array, start: number, suffix: string): NetmapPeer {
  return new Reader(buf, start).read(suffix);
}

/** The name of the record at `start`. */
export function recordName(buf: Uint8Array, start: number, suffix: string): string {
  return new Reader(buf, start).readName(suffix);
}

/**
 * Whether the last 4 bytes of an address or key, without zeros in front, stand anywhere in the record at `start`, as they
 * do where it has it.
 */
export function recordHasBytes(buf: Uint8Array, start: number, bytes: Uint8Array): boolean {
  let from = bytes.length - 4;
  while (from < bytes.length - 1 && bytes[from] === 0) from++;
  const length = bytes.length - from;
  const end = start + recordLength(buf, start) - length;
  for (let at = recordKeyAt(buf, start) + KEY_BYTES; at <= end; at++) {
    let same = 0;
    while (same < length && buf[at + same] === bytes[from + same]) same++;
    if (same === length) return true;
  }
  return false;
}

class Reader {
  readonly #buf: Uint8Array;
  #at: number;

  constructor(buf: Uint8Array, start: number) {
    this.#buf = buf;
    this.#at = behindVarint(buf, start);
  }

  read(suffix: string): NetmapPeer {
    const flags = this.#varint();
    const key = this.#bytes(KEY_BYTES);
    const id = this.#varint();
    const discoKey = (flags & HAS_DISCO) !== 0 ? this.#bytes(KEY_BYTES) : undefined;
    const discoTag = (flags & HAS_TAG) !== 0 ? this.#bytes(DISCO_TAG_BYTES) : undefined;
    const keyExpiry = (flags & HAS_EXPIRY) !== 0 ? readU32LE(this.#bytes(4), 0) : 0;
    const user = (flags & HAS_USER) !== 0 ? this.#varint() : 0;
    const homeRegion = this.#varint();
    const name = this.#text() + ((flags & HAS_SUFFIX) !== 0 ? suffix : '');
    const addresses = (flags & HAS_PAIR) !== 0 ? pairOf(this.#bytes(4)) : this.#addresses();
    const allowedIPs = (flags & HAS_ALLOWED) !== 0 ? this.#list(() => this.#prefix()) : addresses;
    const endpoints = (flags & HAS_ENDPOINTS) !== 0 ? this.#list(() => this.#endpoint()) : [];
    const tags = (flags & HAS_TAGS) !== 0 ? this.#list(() => `tag:${this.#text()}`) : [];
    return {
      id,
      name,
      user,
      key,
      discoKey,
      discoTag,
      addresses,
      allowedIPs,
      endpoints,
      homeRegion,
      keyExpiry,
      isOnline: (flags & ONLINE_KNOWN) !== 0 ? (flags & ONLINE) !== 0 : undefined,
      tags,
      isExpired: (flags & EXPIRED) !== 0,
      isWireGuardOnly: (flags & WIREGUARD_ONLY) !== 0,
      isJailed: (flags & JAILED) !== 0,
      isUnsignedPeerApiOnly: (flags & UNSIGNED) !== 0,
    };
  }

  readName(suffix: string): string {
    const buf = this.#buf;
    const flags = this.#varint();
    this.#at = behindVarint(buf, this.#at + KEY_BYTES);
    if ((flags & HAS_DISCO) !== 0) this.#at += KEY_BYTES;
    if ((flags & HAS_TAG) !== 0) this.#at += DISCO_TAG_BYTES;
    if ((flags & HAS_EXPIRY) !== 0) this.#at += 4;
    for (let left = (flags & HAS_USER) !== 0 ? 2 : 1; left > 0; left--) this.#at = behindVarint(buf, this.#at);
    return this.#text() + ((flags & HAS_SUFFIX) !== 0 ? suffix : '');
  }

  #bytes(length: number): Uint8Array {
    this.#at += length;
    return this.#buf.slice(this.#at - length, this.#at);
  }

  #varint(): number {
    const value = varintAt(this.#buf, this.#at);
    this.#at = behindVarint(this.#buf, this.#at);
    return value;
  }

  #text(): string {
    return utf8Decode(this.#bytes(this.#varint()));
  }

  #list<T>(one: () => T): T[] {
    return Array.from({ length: this.#varint() }, one);
  }

  #addresses(): Prefix[] {
    const head = this.#buf[this.#at]!;
    if (head < USUAL_ADDRESSES) return this.#list(() => this.#prefix());
    this.#at++;
    const v4 = this.#bytes(4);
    return [{ bytes: v4, bits: 32 }, this.#tailnetV6(head - USUAL_ADDRESSES)];
  }

  #tailnetV6(zeros: number): Prefix {
    const bytes = new Uint8Array(16);
    bytes.set(TAILNET_V6);
    bytes.set(this.#bytes(SHORT_V6_BYTES - zeros), TAILNET_V6.length + zeros);
    return { bytes, bits: 128 };
  }

  #prefix(): Prefix {
    const code = this.#buf[this.#at++]!;
    if (code === SHORT_V6) return this.#tailnetV6(this.#buf[this.#at++]!);
    const bits = code >= V6 ? code - V6 : code;
    const bytes = new Uint8Array(code >= V6 ? 16 : 4);
    bytes.set(this.#bytes(Math.ceil(bits / 8)));
    return { bytes, bits };
  }

  #endpoint(): Endpoint {
    const address = formatAddress(this.#bytes(this.#buf[this.#at++]!));
    const port = this.#bytes(2);
    return { address, port: port[0]! + 256 * port[1]! };
  }
}
