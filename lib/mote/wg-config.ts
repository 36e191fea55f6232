/**
 * The configuration file of `wg` and `wg-quick` (wg(8) and wg-quick(8), "CONFIGURATION FILE FORMAT"), as a pure parser.
 *
 * The result has the shape of the options that bring a mote up. Stricter than `wg`, because a file that nobody looks at
 * again should not hide a mistake: an unknown key, a key given twice, a peer given twice and an address that is not one
 * are errors. Every error is one line that says where, what was expected and what came; it never shows key material.
 * Left out: lists with `+` and `-`, service names as ports, and whatever needs root (see {@link WgConfig.ignored}).
 */
import {
  canonicalAddress,
  formatAddress,
  parseAddress,
  parseDecimal,
  parsePort,
  parsePrefix,
} from '../base/address.ts';
import { formatPrefix } from '../base/address.ts';
import { fromBase64, isAllZero } from '../base/bytes.ts';

/** Largest text that is parsed, in characters (about 20,000 peers). */
export const WG_CONFIG_LIMIT = 4_194_304;

/** What is wrong with a file. `message` is one line of printable text without key material. */
export class WgConfigError extends Error {
  /** Line in the file, counted from 1; 0 when the fault is the file as a whole. */
  readonly line: number;
  /** The fault without the line number. */
  readonly detail: string;

  constructor(line: number, detail: string) {
    super(line > 0 ? `line ${line}: ${detail}` : detail);
    this.name = 'WgConfigError';
    this.line = line;
    this.detail = detail;
  }
}

/** One `[Peer]` section. */
export interface WgConfigPeer {
  /** 32 bytes as base64. */
  readonly publicKey: string;
  /** 32 bytes as base64; absent also when the file has an all-zero key, which means none. */
  readonly presharedKey?: string;
  /** `host:port`; the host is a canonical address (IPv6 in brackets) or a name as it was written. */
  readonly endpoint?: string;
  /** Canonical prefixes with the host bits cleared; may be empty. */
  readonly allowedIPs: string[];
  /** 0 when off. */
  readonly persistentKeepaliveMs: number;
}

/** A line that is valid and has no effect here. */
export interface WgConfigIgnored {
  readonly line: number;
  readonly key: string;
  /** Why, for people. */
  readonly why: string;
}

/** A parsed file. Give it to `up` as it is. */
export interface WgConfig {
  /** 32 bytes as base64. */
  readonly privateKey: string;
  /** The mote's addresses inside the tunnel with their prefix length, host bits kept: `10.0.0.2/24`. At least one. */
  readonly addresses: string[];
  /** 1 to 65535; absent: the system chooses. */
  readonly listenPort?: number;
  /** Largest packet inside the tunnel in bytes; absent: the default. */
  readonly mtu?: number;
  /** Addresses of name servers. */
  readonly dns: string[];
  /** Domains in which short names are searched, as `DNS` may list them. */
  readonly dnsSearch: string[];
  readonly peers: WgConfigPeer[];
  readonly ignored: WgConfigIgnored[];
}

const INTERFACE_KEYS = /* @__PURE__ */ Object.freeze([
  'PrivateKey',
  'Address',
  'ListenPort',
  'MTU',
  'DNS',
  'FwMark',
  'Table',
  'PreUp',
  'PostUp',
  'PreDown',
  'PostDown',
  'SaveConfig',
]);
const PEER_KEYS = /* @__PURE__ */ Object.freeze([
  'PublicKey',
  'PresharedKey',
  'AllowedIPs',
  'Endpoint',
  'PersistentKeepalive',
]);
/** Keys that may stand several times in a section, their values adding up. */
const REPEATABLE_KEYS = /* @__PURE__ */ Object.freeze([
  'Address',
  'DNS',
  'AllowedIPs',
  'PreUp',
  'PostUp',
  'PreDown',
  'PostDown',
]);
const NOT_RUN = 'commands are not run';
const IGNORED_KEYS: Readonly<Record<string, string>> = /* @__PURE__ */ Object.freeze({
  FwMark: 'needs root: packets are not marked',
  Table: 'needs root: the routes of the system stay as they are',
  PreUp: NOT_RUN,
  PostUp: NOT_RUN,
  PreDown: NOT_RUN,
  PostDown: NOT_RUN,
  SaveConfig: 'the file is never written',
});

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
interface Draft {
  /** Line of the section's header. */
  readonly line: number;
  /** Line of each key that was seen. */
  readonly seen: Map<string, number>;
}
interface InterfaceDraft extends Draft, Mutable<Omit<WgConfig, 'peers' | 'ignored'>> {}
interface PeerDraft extends Draft, Mutable<Omit<WgConfigPeer, 'allowedIPs'>> {
  readonly allowed: Set<string>;
}

/**
 * Parses the text of a file. Throws {@link WgConfigError} for the first fault and nothing else, in time linear in the
 * length of the text.
 */
export function parseWgConfig(text: string): WgConfig {
  if (text.length > WG_CONFIG_LIMIT)
    throw new WgConfigError(0, `expected at most ${WG_CONFIG_LIMIT} characters, got ${text.length}`);
  const parser = new Parser();
  const lines = text.replace(/^\ufeff/, '').split(/\r\n|\n|\r/);
  for (let i = 0; i < lines.length; i++) parser.line(i + 1, lines[i]!);
  return parser.finish();
}

/** Reads line by line; one per file. */
class Parser {
  #interface: InterfaceDraft | undefined;
  readonly #peers: PeerDraft[] = [];
  readonly #ignored: WgConfigIgnored[] = [];
  /** Line of each public key and owner of each allowed prefix. */
  readonly #keyLines = new Map<string, number>();
  readonly #owners = new Map<string, { peer: PeerDraft; line: number }>();
  #section: 'none' | 'interface' | 'peer' = 'none';

  line(line: number, raw: string): void {
    const hash = raw.indexOf('#');
    const text = (hash < 0 ? raw : raw.slice(0, hash)).trim();
    if (text === '') return;
    if (text.startsWith('[')) this.#header(line, text);
    else this.#entry(line, text);
  }

  #entry(line: number, text: string): void {
    const equals = text.indexOf('=');
    if (equals < 0) fail(line, `expected "Key = value", a [section] or a comment after #, got ${show(text)}`);
    const name = text.slice(0, equals).replace(/\s+/g, '');
    const value = text.slice(equals + 1).trim();
    if (this.#section === 'none')
      fail(line, `expected [Interface] or [Peer] before the first key, got ${showKey(name)}`);
    const known = this.#section === 'interface' ? INTERFACE_KEYS : PEER_KEYS;
    const key = known.find(candidate => candidate.toLowerCase() === name.toLowerCase());
    if (key === undefined) fail(line, unknownKey(name, this.#section));
    const why = IGNORED_KEYS[key];
    if (why !== undefined) this.#ignored.push({ line, key, why });
    const draft = this.#section === 'interface' ? this.#interface! : this.#peers[this.#peers.length - 1]!;
    const earlier = draft.seen.get(key);
    if (earlier !== undefined && !REPEATABLE_KEYS.includes(key))
      fail(line, `${key} is given twice, first on line ${earlier}: keep one`);
    draft.seen.set(key, line);
    if (why !== undefined) return;
    if (value === '') fail(line, `${key} expected a value, got nothing`);
    const compact = value.replace(/\s+/g, '');
    if (this.#section === 'interface') this.#interfaceKey(line, key, compact);
    else this.#peerKey(line, key, compact);
  }

  #header(line: number, text: string): void {
    const name = text.toLowerCase().replace(/\s+/g, '');
    if (name === '[interface]') {
      if (this.#interface !== undefined)
        fail(
          line,
          `a second [Interface], the first is on line ${this.#interface.line}: a file describes one interface`,
        );
      this.#section = 'interface';
      this.#interface = { line, seen: new Map(), privateKey: '', addresses: [], dns: [], dnsSearch: [] };
    } else if (name === '[peer]') {
      this.#section = 'peer';
      this.#peers.push({ line, seen: new Map(), publicKey: '', persistentKeepaliveMs: 0, allowed: new Set() });
    } else fail(line, `expected the section [Interface] or [Peer], got ${show(text)}`);
  }

  #interfaceKey(line: number, key: string, value: string): void {
    const draft = this.#interface!;
    if (key === 'PrivateKey') draft.privateKey = keyText(line, key, value);
    else if (key === 'Address') for (const item of items(line, key, value)) draft.addresses.push(address(line, item));
    else if (key === 'ListenPort') draft.listenPort = listenPort(line, value);
    else if (key === 'MTU') draft.mtu = mtu(line, value);
    else for (const item of items(line, key, value)) nameServer(line, item, draft);
  }

  #peerKey(line: number, key: string, value: string): void {
    const draft = this.#peers[this.#peers.length - 1]!;
    if (key === 'PublicKey') {
      draft.publicKey = keyText(line, key, value);
      const earlier = this.#keyLines.get(draft.publicKey);
      if (earlier !== undefined) fail(line, `the peer with this PublicKey is already on line ${earlier}: keep one`);
      this.#keyLines.set(draft.publicKey, line);
    } else if (key === 'PresharedKey') {
      const text = keyText(line, key, value, true);
      if (text !== '') draft.presharedKey = text;
    } else if (key === 'AllowedIPs') for (const item of items(line, key, value)) this.#allow(line, draft, item);
    else if (key === 'Endpoint') draft.endpoint = endpoint(line, value);
    else draft.persistentKeepaliveMs = keepalive(line, value) * 1000;
  }

  /** A prefix belongs to one peer; the later one gets it, as with `wg`, and the loss is told. */
  #allow(line: number, peer: PeerDraft, item: string): void {
    const prefix = parsePrefix(item);
    if (prefix === undefined)
      fail(line, `AllowedIPs expected a prefix such as 10.0.0.0/24 or fd00::/64, got ${show(item)}`);
    const text = formatPrefix(prefix);
    const owner = this.#owners.get(text);
    if (owner?.peer === peer) return;
    if (owner !== undefined) {
      owner.peer.allowed.delete(text);
      const why = `${text} also stands on line ${line}: the later peer gets it`;
      this.#ignored.push({ line: owner.line, key: 'AllowedIPs', why });
    }
    this.#owners.set(text, { peer, line });
    peer.allowed.add(text);
  }

  finish(): WgConfig {
    const draft = this.#interface;
    if (draft === undefined)
      throw new WgConfigError(0, 'no [Interface] section: expected a wg-quick configuration file');
    if (draft.privateKey === '') fail(draft.line, '[Interface] has no PrivateKey: `motenet genkey` makes one');
    if (draft.addresses.length === 0)
      fail(draft.line, '[Interface] has no Address: add the address inside the tunnel, such as Address = 10.0.0.2/24');
    const hasV6 = draft.addresses.some(text => text.includes(':'));
    if (draft.mtu !== undefined && hasV6 && draft.mtu < 1280)
      fail(draft.seen.get('MTU')!, `MTU expected at least 1280 because of the IPv6 Address, got ${draft.mtu}`);
    for (const peer of this.#peers)
      if (peer.publicKey === '')
        fail(peer.line, '[Peer] has no PublicKey: `motenet pubkey` makes it from the private key');
    const { line: _line, seen: _seen, ...rest } = draft;
    const peers = this.#peers.map(({ line: _line, seen: _seen, allowed, ...peer }) => ({
      ...peer,
      allowedIPs: [...allowed],
    }));
    const ignored = this.#ignored.sort((a, b) => a.line - b.line);
    return { ...rest, peers, ignored };
  }
}

function fail(line: number, detail: string): never {
  throw new WgConfigError(line, detail);
}

/** The items of a comma-separated list; an empty item is an error, as it is for `wg`. */
function items(line: number, key: string, value: string): string[] {
  const list = value.split(',');
  if (list.includes('')) fail(line, `${key} expected a value between commas, got nothing`);
  return list;
}

/** A key of 32 bytes, never all zero; where zero means "none", the empty text for it. */
function keyText(line: number, key: string, value: string, zeroIsNone = false): string {
  if (value.length !== 44)
    fail(line, `${key} expected 44 characters of base64 (32 bytes), got ${value.length} characters`);
  const bytes = fromBase64(value);
  if (bytes === undefined || bytes.length !== 32)
    fail(line, `${key} expected base64 of 32 bytes, got 44 characters that are not (a copying mistake?)`);
  if (!isAllZero(bytes)) return value;
  return zeroIsNone ? '' : fail(line, `${key} expected a key, got 32 zero bytes`);
}

function address(line: number, item: string): string {
  const prefix = parsePrefix(item);
  const bytes = parseAddress(item.split('/', 1)[0]!);
  if (prefix === undefined || bytes === undefined)
    fail(line, `Address expected an address such as 10.0.0.2/24 or fd00::2/64, got ${show(item)}`);
  return `${formatAddress(bytes)}/${prefix.bits}`;
}

function listenPort(line: number, value: string): number {
  const port = parsePort(value);
  if (port !== undefined) return port;
  const hint = value === '0' ? ' (leave the line out and the system chooses)' : '';
  fail(line, `ListenPort expected 1 to 65535, got ${show(value)}${hint}`);
}

function mtu(line: number, value: string): number {
  const bytes = parseDecimal(value, 65535);
  if (bytes === undefined || bytes < 576) fail(line, `MTU expected 576 to 65535 bytes, got ${show(value)}`);
  return bytes;
}

function nameServer(line: number, item: string, draft: { dns: string[]; dnsSearch: string[] }): void {
  const text = canonicalAddress(item);
  if (text !== undefined && !text.includes('%')) draft.dns.push(text);
  else if (isName(item)) draft.dnsSearch.push(item);
  else fail(line, `DNS expected an address such as 10.0.0.1 or a search domain, got ${show(item)}`);
}

function endpoint(line: number, value: string): string {
  const example = 'expected an address or name with a port, such as 203.0.113.5:51820 or [2001:db8::1]:51820';
  const colon = value.lastIndexOf(':');
  const isBareV6 = !value.includes(']') && parseAddress(value.split('%', 1)[0]!) !== undefined && value.includes(':');
  if (colon < 0 || value.endsWith(']') || isBareV6) fail(line, `Endpoint has no port: ${example}, got ${show(value)}`);
  const port = parsePort(value.slice(colon + 1));
  if (port === undefined) fail(line, `Endpoint expected a port of 1 to 65535, got ${show(value.slice(colon + 1))}`);
  const host = value.slice(0, colon);
  if (host.startsWith('[') && host.endsWith(']')) {
    const inner = canonicalAddress(host.slice(1, -1));
    if (inner?.includes(':')) return `[${inner}]:${port}`;
  } else if (parseAddress(host)?.length === 4 || isName(host)) return `${host}:${port}`;
  fail(line, `Endpoint ${example}, got ${show(value)}`);
}

function keepalive(line: number, value: string): number {
  if (value.toLowerCase() === 'off') return 0;
  const seconds = parseDecimal(value, 65535);
  if (seconds === undefined) fail(line, `PersistentKeepalive expected off or 0 to 65535 seconds, got ${show(value)}`);
  return seconds;
}

/** A host or domain name (RFC 1123 §2.1, and `_`), which an all-numeric last label is not. */
function isName(text: string): boolean {
  if (text.length > 253) return false;
  const labels = text.replace(/\.$/, '').split('.');
  if (/^[0-9]+$/.test(labels[labels.length - 1]!)) return false;
  return labels.every(label => /^[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$/.test(label));
}

/** Quotes input for a message: printable, short, and without anything that might be a key. */
function show(text: string): string {
  if (/[A-Za-z0-9+/]{24}/.test(text)) return `${text.length} characters (not shown: they may hold a key)`;
  const cut = text.length > 60 ? `${text.slice(0, 60)}…` : text;
  return `"${cut.replace(/[^\x20-\x7e…]/g, '?')}"`;
}

/** Quotes the name of a key, unless it may be a piece of key material. */
function showKey(name: string): string {
  return /^[A-Za-z]{1,23}$/.test(name) ? `"${name}"` : `a key of ${name.length} characters`;
}

function unknownKey(name: string, section: 'interface' | 'peer'): string {
  const [own, other] = section === 'interface' ? [INTERFACE_KEYS, PEER_KEYS] : [PEER_KEYS, INTERFACE_KEYS];
  const title = section === 'interface' ? '[Interface]' : '[Peer]';
  const misplaced = other.find(key => key.toLowerCase() === name.toLowerCase());
  if (misplaced !== undefined)
    return `${misplaced} belongs under ${section === 'interface' ? '[Peer]' : '[Interface]'}, not under ${title}`;
  const near = nearestWord(name, own);
  const hint = near === undefined ? `known are ${own.join(', ')}` : `did you mean ${near}?`;
  return `unknown key ${showKey(name)} under ${title}: ${hint}`;
}

/** The known word with the fewest single-letter changes, when these are at most a third of it; for "did you mean". */
export function nearestWord(name: string, known: readonly string[]): string | undefined {
  if (name.length > 24) return undefined;
  let best: string | undefined;
  let least = Infinity;
  for (const key of known) {
    const distance = editDistance(name.toLowerCase(), key.toLowerCase());
    if (distance >= least || distance > Math.ceil(key.length / 3)) continue;
    best = key;
    least = distance;
  }
  return best;
}

/** Levenshtein's distance. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1;
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + cost));
    }
    row = next;
  }
  return row[b.length]!;
}
