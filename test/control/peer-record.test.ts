/** Peers as bytes: what goes in comes out, and how many bytes that is. Times as text. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { parsePrefix } from '../../lib/base/address.ts';
import { MAP_LIMITS_LARGE, MAP_LIMITS_SMALL } from '../../lib/control/map-limits.ts';
import {
  type NetmapPeer,
  readPeer,
  recordId,
  recordLength,
  suffixOf,
  writePeer,
} from '../../lib/control/peer-record.ts';
import { PeerTable } from '../../lib/control/peer-table.ts';
import { parseTimeMs } from '../../lib/control/time.ts';
import { Seeded } from '../crypto/support.ts';
import { keyBytes } from './map-support.ts';

const test = suite('peer-record');
const prefixes = (...texts: string[]) => texts.map(text => parsePrefix(text)!);

function randomPeer(seeded: Seeded, id: number): NetmapPeer {
  const addresses = prefixes(
    `100.64.${seeded.below(256)}.${seeded.below(256)}/32`,
    `fd7a:115c:a1e0::${seeded.below(999)}/128`,
  );
  const isBit = () => seeded.below(2) === 1;
  return {
    id,
    name: ['', 'a.net.', 'host.tail.mote.internal.', 'other.tail.mote.internal.'][seeded.below(4)]!,
    user: [0, 1, 127, 128, 2_147_455_555, Number.MAX_SAFE_INTEGER][seeded.below(6)]!,
    key: keyBytes(id),
    discoKey: isBit() ? keyBytes(id, 2) : undefined,
    discoTag: undefined,
    addresses,
    allowedIPs: isBit() ? addresses : prefixes('0.0.0.0/0', '::/0', '10.1.0.0/16', 'fd00:1::/32', 'fd7a:115c:a1e0::/48'),
    endpoints: isBit() ? [] : [{ address: '203.0.113.7', port: 65_535 }, { address: '2001:db8::1', port: 1 }],
    homeRegion: seeded.below(65_536),
    keyExpiry: isBit() ? 0 : 0xffff_ffff,
    isOnline: [undefined, true, false][seeded.below(3)],
    tags: isBit() ? [] : ['tag:web', 'tag:x-1'],
    isExpired: isBit(),
    isWireGuardOnly: isBit(),
    isJailed: isBit(),
    isUnsignedPeerApiOnly: isBit(),
  }; // biome-ignore format: a table
}

test('what is written is read again, at any place in a buffer', () => {
  const seeded = new Seeded(1);
  const suffix = '.tail.mote.internal.';
  for (let i = 0; i < 500; i++) {
    const peer = randomPeer(seeded, [1, 255, 2 ** 32 - 1, 2 ** 32, Number.MAX_SAFE_INTEGER][i % 5]!);
    const buf = new Uint8Array(700);
    const start = seeded.below(50);
    const length = writePeer(buf.subarray(start, start + 600), peer, suffix);
    assert.ok(length > 0);
    assert.is(recordLength(buf, start), length);
    assert.is(recordId(buf, start), peer.id);
    assert.equal(readPeer(buf, start, suffix), peer);
  }
});

test('a peer that does not fit is not written, one that just fits is', () => {
  const peer = randomPeer(new Seeded(2), 1);
  const length = writePeer(new Uint8Array(600), peer, '');
  assert.is(writePeer(new Uint8Array(length), peer, ''), length);
  assert.is(writePeer(new Uint8Array(length - 1), peer, ''), 0);
});

test('the suffix of a name is everything behind its first label', () => {
  assert.is(suffixOf('a.b.c.'), '.b.c.');
  assert.is(suffixOf('a'), '');
});

test('a table keeps ten thousand peers in any order, finds them, and needs at most 155 bytes for each', () => {
  const seeded = new Seeded(4);
  const table = new PeerTable(MAP_LIMITS_LARGE);
  const record = new Uint8Array(1000);
  const ids = Array.from({ length: 10_000 }, (_, i) => ((i * 7919) % 10_007) + 1);
  for (const id of ids) {
    const peer = {
      ...randomPeer(seeded, id), name: `host-${id}.tail.mote.internal.`, discoKey: keyBytes(id, 2), tags: [], user: 9_003_957_396_904_828,
      addresses: prefixes(`100.64.${id >> 8}.${id & 255}/32`, `fd7a:115c:a1e0::${id.toString(16)}/128`),
      endpoints: [{ address: '203.0.113.7', port: 41_641 }, { address: '192.168.1.9', port: 41_641 }], keyExpiry: 2e9,
    }; // biome-ignore format: a table
    const suffix = table.adoptSuffix(peer.name);
    writePeer(record, { ...peer, allowedIPs: peer.addresses }, suffix);
    assert.ok(table.put(record, 0));
  }
  assert.is(table.count, 10_000);
  assert.ok(table.heldBytes / 10_000 <= 155, `${table.heldBytes / 10_000} bytes for a peer`);
  for (let slot = 1; slot < table.count; slot++) assert.ok(table.idAt(slot - 1) < table.idAt(slot));
  assert.is(table.find(20_000), -1);
  assert.is(table.idAt(table.find(777)), 777);
  assert.is(table.idAt(table.findKey(keyBytes(4242))), 4242);
  assert.is(table.findKey(keyBytes(20_000)), -1);
  for (const id of ids.slice(0, 5000)) assert.ok(table.remove(id));
  assert.not.ok(table.remove(ids[0]!));
  table.compact();
  assert.is(table.count, 5000);
  assert.ok(table.heldBytes / 5000 <= 160);
  for (const id of ids.slice(5000)) assert.equal(table.peerAt(table.find(id)).key, keyBytes(id));
});

test('records of which a page holds few are found among as many bytes as a small table may have', () => {
  const table = new PeerTable(MAP_LIMITS_SMALL);
  const record = new Uint8Array(MAP_LIMITS_SMALL.recordBytes);
  // A long record and a short one, so that hardly more than half of a page is used.
  const put = (id: number, nameLength: number) => {
    const addresses = prefixes(`100.64.${id >> 8}.${id & 255}/32`);
    const name = 'x'.repeat(id % 2 === 0 ? 0 : nameLength);
    const peer = { ...randomPeer(new Seeded(id), id), name, tags: [], user: 0, endpoints: [], keyExpiry: 0, addresses };
    writePeer(record, { ...peer, discoKey: undefined, allowedIPs: addresses }, '');
    return table.put(record, 0);
  };
  let count = 0;
  while (put(count + 1, 970)) count++;
  assert.ok(table.liveBytes > 64_000, `${table.liveBytes} bytes`);
  for (let round = 0; round < 100; round++) {
    put(1 + ((round * 7) % count), 970 - 2 * (round % 5));
    for (let slot = 0; slot < table.count; slot++) assert.is(table.idAt(slot), slot + 1);
  }
  assert.is(table.count, count);
});

test('times agree with the calendar, and what is no time is refused', () => {
  const months = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
  let days = -731; // 1968-01-01
  for (let year = 1968; year < 2110; year++) {
    const isLeap = year % 4 === 0 && year !== 2100;
    for (let month = 1; month <= 12; month++) {
      for (let day = 1; day <= months[month - 1]! + (month === 2 && isLeap ? 1 : 0); day++) {
        const two = (value: number) => String(value).padStart(2, '0');
        const expected = year === 1970 && month === 1 && day === 1 ? 0 : days * 86_400_000;
        assert.is(parseTimeMs(`${year}-${two(month)}-${two(day)}T00:00:00Z`), expected);
        days++;
      }
    }
  }
  assert.is(parseTimeMs('2026-01-02T03:04:05.5Z'), 1_767_323_045_500);
  assert.is(parseTimeMs('2026-02-28T23:59:60Z'), 1_772_323_200_000);
  assert.is(parseTimeMs('2024-02-29T12:00:00.123456789+02:30'), 1_709_199_000_123);
  assert.is(parseTimeMs('2024-02-29T07:00:00.123-02:30'), 1_709_199_000_123);
  assert.is(parseTimeMs('0001-01-01T00:00:00Z'), 0);
  for (const text of ['', '2026', '2026-02-29T00:00:00Z', '2026-13-01T00:00:00Z', '2026-01-00T00:00:00Z', '2026-04-31T00:00:00Z',
    '2026-01-01T24:00:00Z', '2026-01-01T00:60:00Z', '2026-01-01 00:00:00Z', '2026-01-01T00:00:00', '2026-01-01T00:00:00+24:00', '1900-02-29T00:00:00Z'])
    assert.is(parseTimeMs(text), undefined, text); // biome-ignore format: a table
});

test.run();
