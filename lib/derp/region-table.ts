/**
 * The regions of a relay map as bytes, all in one buffer: a coordinator may name 28 regions with relays of five texts
 * each, of which a device uses one or two. A region is made into an object when somebody asks for it. Layout:
 *
 *     region: u16 bytes behind this | u16 id | flags | code | name | count of nodes | nodes
 *     node:   flags | name | host name | [certificate name] | [IPv4] | [IPv6] | [u16 STUN port] | [u16 DERP port]
 *
 * Numbers are little endian; a text is its length and its bytes, of which there are 255 at most; an address in canonical
 * form is its length, plus 128, and its bytes. A relay with two addresses takes about 50 bytes.
 */
import { formatAddress, parseAddress } from '../base/address.ts';
import { copyBytes, NO_BYTES, utf8Decode, utf8Encode } from '../base/bytes.ts';
import type { WireDerpNode, WireDerpRegion } from './map.ts';

/** Longest text in bytes; a region with a longer one is not taken. */
const MAX_TEXT = 255;
/** Added to the length of an address in bytes, where that of its text would be: texts of addresses are shorter. */
const IS_PACKED = 128;
const MAX_NODES = 255;
const HEAD_BYTES = 5;
/** The buffer grows by this, until {@link RegionTable.compact}. */
const GROWTH_BYTES = 1024;

// Flags of a region.
const AVOID = 1;
const NO_HOME = 2;
const RELAYS = 4;

// Flags of a node.
const STUN_ONLY = 1;
const NO_STUN = 2;
const HAS_STUN_PORT = 4;
const HAS_DERP_PORT = 8;
const HAS_CERT = 16;
const HAS_V4 = 32;
const HAS_V6 = 64;

/** Relay regions by id, of which each is there once. */
export class RegionTable {
  #buf: Uint8Array = NO_BYTES;
  #end = 0;
  #size = 0;

  /** A table with these regions. */
  static of(...regions: readonly WireDerpRegion[]): RegionTable {
    const table = new RegionTable();
    for (const region of regions) table.put(region);
    table.compact();
    return table;
  }

  /** How many regions there are. */
  get size(): number {
    return this.#size;
  }

  /** Bytes of memory that the regions take. */
  get heldBytes(): number {
    return this.#buf.length;
  }

  /** The ids of all regions, the first that was put in first. */
  ids(): number[] {
    const ids: number[] = [];
    for (let at = 0; at < this.#end; at = this.#next(at)) ids.push(this.#u16(at + 2));
    return ids;
  }

  /** Whether there is a region with this id. */
  has(id: number): boolean {
    return this.#find(id) >= 0;
  }

  /** Whether a region's relays are to be used only where there are no others. False for one that is not there. */
  isAvoided(id: number): boolean {
    return (this.#flags(id) & AVOID) !== 0;
  }

  /** Whether a region may be measured, and be home if it relays. False for one that is not there. */
  isMeasured(id: number): boolean {
    const at = this.#find(id);
    return at >= 0 && (this.#buf[at + 4]! & NO_HOME) === 0;
  }

  /** Whether a region can be home: it may be, and has a relay that does more than STUN. */
  canBeHome(id: number): boolean {
    return (this.#flags(id) & (NO_HOME | RELAYS)) === RELAYS;
  }

  /** The short name of a region, or undefined. */
  codeOf(id: number): string | undefined {
    const at = this.#find(id);
    return at < 0 ? undefined : this.#text(at + HEAD_BYTES);
  }

  /** A region as an object of its own, whose fields are those that are not empty; undefined: it is not there. */
  get(id: number): WireDerpRegion | undefined {
    const at = this.#find(id);
    return at < 0 ? undefined : this.#read(at);
  }

  /** Whether a relay of any region has this host name. */
  hasHost(name: string): boolean {
    for (let at = 0; at < this.#end; at = this.#next(at))
      if (this.#read(at).Nodes.some(({ HostName }) => HostName === name)) return true;
    return false;
  }

  /** Adds a region, in the place of the one with its id. False, and without that one: a text or a number does not fit. */
  put(region: WireDerpRegion): boolean {
    this.#remove(region.RegionID);
    const bytes = new RegionWriter().write(region);
    if (bytes === undefined) return false;
    this.#reserve(bytes.length);
    for (let i = 0; i < bytes.length; i++) this.#buf[this.#end + i] = bytes[i]!;
    this.#end += bytes.length;
    this.#size++;
    return true;
  }

  /** Gives back memory that no region needs. */
  compact(): void {
    if (this.#buf.length > this.#end) this.#buf = this.#buf.slice(0, this.#end);
  }

  #u16(at: number): number {
    return this.#buf[at]! | (this.#buf[at + 1]! << 8);
  }

  #next(at: number): number {
    return at + 2 + this.#u16(at);
  }

  /** Where a region begins, or -1. */
  #find(id: number): number {
    for (let at = 0; at < this.#end; at = this.#next(at)) if (this.#u16(at + 2) === id) return at;
    return -1;
  }

  #flags(id: number): number {
    const at = this.#find(id);
    return at < 0 ? 0 : this.#buf[at + 4]!;
  }

  #remove(id: number): void {
    const at = this.#find(id);
    if (at < 0) return;
    const next = this.#next(at);
    this.#buf.copyWithin(at, next, this.#end);
    this.#end -= next - at;
    this.#size--;
  }

  #reserve(length: number): void {
    const needed = this.#end + length;
    if (needed <= this.#buf.length) return;
    const grown = new Uint8Array(Math.max(needed, this.#buf.length + GROWTH_BYTES));
    copyBytes(grown, 0, this.#buf, 0, this.#end);
    this.#buf = grown;
  }

  #text(at: number): string {
    return utf8Decode(this.#buf, at + 1, at + 1 + this.#buf[at]!);
  }

  #read(start: number): WireDerpRegion {
    const buf = this.#buf;
    const id = this.#u16(start + 2);
    const flags = buf[start + 4]!;
    let at = start + HEAD_BYTES;
    const code = this.#text(at);
    at += 1 + buf[at]!;
    const name = this.#text(at);
    at += 1 + buf[at]!;
    const nodes: WireDerpNode[] = [];
    const reader = new NodeReader(buf, at + 1);
    for (let count = buf[at]!; count > 0; count--) nodes.push(reader.read(id));
    return {
      RegionID: id,
      RegionCode: code,
      RegionName: name,
      ...((flags & AVOID) !== 0 && { Avoid: true }),
      ...((flags & NO_HOME) !== 0 && { NoMeasureNoHome: true }),
      Nodes: nodes,
    };
  }
}

/** Reads the nodes of one region. */
class NodeReader {
  readonly #buf: Uint8Array;
  #at: number;

  constructor(buf: Uint8Array, at: number) {
    this.#buf = buf;
    this.#at = at;
  }

  read(region: number): WireDerpNode {
    const flags = this.#buf[this.#at++]!;
    const has = (flag: number) => (flags & flag) !== 0;
    // INVARIANT: in the order in which they were written.
    return {
      Name: this.#text(),
      RegionID: region,
      HostName: this.#text(),
      ...(has(HAS_CERT) && { CertName: this.#text() }),
      ...(has(HAS_V4) && { IPv4: this.#address() }),
      ...(has(HAS_V6) && { IPv6: this.#address() }),
      ...(has(NO_STUN) && { STUNPort: -1 }),
      ...(has(HAS_STUN_PORT) && { STUNPort: this.#port() }),
      ...(has(STUN_ONLY) && { STUNOnly: true }),
      ...(has(HAS_DERP_PORT) && { DERPPort: this.#port() }),
    };
  }

  #text(): string {
    const start = this.#at + 1;
    this.#at = start + this.#buf[this.#at]!;
    return utf8Decode(this.#buf, start, this.#at);
  }

  #address(): string {
    const length = this.#buf[this.#at]! - IS_PACKED;
    if (length !== 4 && length !== 16) return this.#text();
    const start = this.#at + 1;
    this.#at = start + length;
    return formatAddress(this.#buf.slice(start, this.#at));
  }

  #port(): number {
    const port = this.#buf[this.#at]! | (this.#buf[this.#at + 1]! << 8);
    this.#at += 2;
    return port;
  }
}

/** Writes one region. */
class RegionWriter {
  readonly #out: number[] = [];
  #isFine = true;

  /** Undefined: it does not fit. */
  write(region: WireDerpRegion): readonly number[] | undefined {
    const { RegionID, RegionCode, RegionName, Nodes } = region;
    const flags =
      (region.Avoid === true ? AVOID : 0) |
      (region.NoMeasureNoHome === true ? NO_HOME : 0) |
      (Nodes.some(({ STUNOnly }) => STUNOnly !== true) ? RELAYS : 0);
    this.#u16(0);
    this.#u16(RegionID);
    this.#out.push(flags);
    this.#text(RegionCode);
    this.#text(RegionName);
    this.#out.push(Nodes.length);
    for (const node of Nodes) this.#node(node);
    const length = this.#out.length - 2;
    this.#out[0] = length & 0xff;
    this.#out[1] = length >> 8;
    const fits = this.#isFine && Nodes.length <= MAX_NODES && length <= 0xffff;
    if (!fits) return undefined; // CHECK: region-fits
    return this.#out;
  }

  #node(node: WireDerpNode): void {
    const { CertName = '', IPv4 = '', IPv6 = '', STUNPort = 0, DERPPort = 0 } = node;
    this.#out.push(
      (node.STUNOnly === true ? STUN_ONLY : 0) |
        (STUNPort === -1 ? NO_STUN : 0) |
        (STUNPort > 0 ? HAS_STUN_PORT : 0) |
        (DERPPort > 0 ? HAS_DERP_PORT : 0) |
        (CertName !== '' ? HAS_CERT : 0) |
        (IPv4 !== '' ? HAS_V4 : 0) |
        (IPv6 !== '' ? HAS_V6 : 0),
    );
    this.#text(node.Name);
    this.#text(node.HostName);
    if (CertName !== '') this.#text(CertName);
    if (IPv4 !== '') this.#address(IPv4);
    if (IPv6 !== '') this.#address(IPv6);
    if (STUNPort > 0) this.#u16(STUNPort);
    if (DERPPort > 0) this.#u16(DERPPort);
  }

  #u16(value: number): void {
    if (!Number.isInteger(value) || value < 0 || value > 0xffff) this.#isFine = false;
    this.#out.push(value & 0xff, (value >> 8) & 0xff);
  }

  #text(text: string, most = MAX_TEXT): void {
    const bytes = utf8Encode(text);
    if (bytes.length > most) this.#isFine = false;
    this.#out.push(bytes.length & 0xff);
    for (const byte of bytes) this.#out.push(byte);
  }

  /** What is no address in canonical form stays as it is: `none`, or one that nobody can use. */
  #address(text: string): void {
    const bytes = parseAddress(text);
    if (bytes === undefined || formatAddress(bytes) !== text) return this.#text(text, IS_PACKED - 1);
    this.#out.push(IS_PACKED + bytes.length);
    for (const byte of bytes) this.#out.push(byte);
  }
}
