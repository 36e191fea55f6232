/** Helpers of the map tests: messages, peers, and a decoder that is fed in pieces. */
import { toHex, utf8Encode, writeU32LE } from '../../lib/base/bytes.ts';
import { MapDecoder, type MapEvent } from '../../lib/control/map-decoder.ts';
import { MAP_LIMITS_SMALL, type MapLimits } from '../../lib/control/map-limits.ts';
import type { NetmapPeer } from '../../lib/control/peer-record.ts';

/** Small, but keeping what the small preset does without. */
export const TEST_LIMITS: MapLimits = { ...MAP_LIMITS_SMALL, isLean: false, users: 64, endpoints: 8 };

/** The time of all map tests. */
export const NOW_MS = 1_700_000_000_000;

/** 32 bytes that tell one key from another. */
export function keyBytes(id: number, kind = 1): Uint8Array {
  const key = new Uint8Array(32).fill(kind);
  writeU32LE(key, 4, id * 2_654_435_761);
  writeU32LE(key, 0, id);
  return key;
}

/** A text key. */
export function keyText(id: number, prefix = 'nodekey'): string {
  return `${prefix}:${toHex(keyBytes(id, prefix === 'nodekey' ? 1 : 2))}`;
}

/** A peer as a coordinator sends it. */
export function node(id: number, more: object = {}): { readonly [field: string]: unknown } {
  const [high, low] = [(id >> 8) & 255, id & 255];
  return {
    ID: id,
    StableID: `n${id}CNTRL`,
    Name: `host-${String(id).padStart(5, '0')}.tail1234.mote.internal.`,
    User: 9_003_957_396_904_828,
    Key: keyText(id),
    KeyExpiry: '2027-01-01T00:00:00Z',
    DiscoKey: keyText(id, 'discokey'),
    Addresses: [
      `100.64.${high}.${low}/32`,
      `fd7a:115c:a1e0::${high.toString(16)}${low.toString(16).padStart(2, '0')}/128`,
    ],
    AllowedIPs: [
      `100.64.${high}.${low}/32`,
      `fd7a:115c:a1e0::${high.toString(16)}${low.toString(16).padStart(2, '0')}/128`,
    ],
    Endpoints: [`203.0.113.${low}:41641`, `192.168.1.${low}:41641`],
    HomeDERP: 901,
    Hostinfo: { OS: 'linux', Hostname: `host-${id}`, Services: [{ Proto: 'peerapi4', Port: 1234 }] },
    Created: '2026-01-01T00:00:00.123456Z',
    Cap: 113,
    Online: true,
    ...more,
  };
}

/** This device as a coordinator sends it. */
export function self(more: object = {}): object {
  return {
    ...node(1_000_000, {
      StableID: 'self',
      Name: 'me.tail1234.mote.internal.',
      Key: keyText(1_000_000),
      MachineAuthorized: true,
    }),
    CapMap: { 'https://tailscale.com/cap/ssh': null, 'tailnet-display-name': ['x'] },
    ...more,
  };
}

/** Messages of the map stream, one after another. */
export function frames(...messages: readonly (object | string)[]): Uint8Array {
  const parts: Uint8Array[] = messages.map(message =>
    utf8Encode(typeof message === 'string' ? message : JSON.stringify(message)),
  );
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length + 4, 0));
  let at = 0;
  for (const part of parts) {
    writeU32LE(out, at, part.length);
    out.set(part, at + 4);
    at += part.length + 4;
  }
  return out;
}

/** Feeds bytes in pieces of `size`; returns the last result. */
export function feedMap(decoder: MapDecoder, bytes: Uint8Array, size = bytes.length): number {
  let result = 0;
  for (let at = 0; at < bytes.length && result === 0; at += size) {
    const piece = bytes.slice(at, at + size);
    result = decoder.handleBytes(piece, 0, piece.length);
    piece.fill(0x22);
  }
  return result;
}

/** A decoder that has read these messages. */
export function decoderWith(messages: readonly (object | string)[], limits: Partial<MapLimits> = {}): MapDecoder {
  const decoder = new MapDecoder({ ...TEST_LIMITS, ...limits });
  const result = feedMap(decoder, frames(...messages));
  if (result !== 0) throw decoder.error;
  return decoder;
}

/** All peers of a decoder's netmap. */
export function peersOf(decoder: MapDecoder): NetmapPeer[] {
  const { peers } = decoder.netmap;
  return Array.from({ length: peers.count }, (_, slot) => peers.peerAt(slot));
}

/** Ids of all peers. */
export function idsOf(decoder: MapDecoder): number[] {
  return peersOf(decoder).map(({ id }) => id);
}

/** Everything that a netmap says, for comparison. */
export function snapshot(decoder: MapDecoder): unknown {
  const { netmap } = decoder;
  const { self, regions, dns, domain, users, health, filterRules } = netmap;
  return JSON.stringify([
    peersOf(decoder),
    self,
    regions.ids().map(id => regions.get(id)),
    dns,
    domain,
    [...users],
    health,
    filterRules,
  ]);
}

/** All events. */
export function eventsOf(decoder: MapDecoder): MapEvent[] {
  const out: MapEvent[] = [];
  for (let event = decoder.pollEvent(); event !== undefined; event = decoder.pollEvent()) out.push(event);
  return out;
}
