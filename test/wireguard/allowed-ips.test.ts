/** Cryptokey routing: the shared lists, and a random comparison with a slow list. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import {
  formatPrefix,
  maskBytes,
  parseAddress,
  type Prefix,
  parsePrefix,
  prefixContains,
} from '../../lib/base/address.ts';
import { AllowedIps } from '../../lib/wireguard/allowed-ips.ts';
import { NO_PEER } from '../../lib/wireguard/prefix-list.ts';
import { seededWords } from './support.ts';

const test = suite('allowed ips');
const PEERS = 'abcdefgh';

function insert(table: AllowedIps, text: string, peer: string): void {
  const slash = text.indexOf('/');
  // Host bits are kept: clearing them is the table's business.
  table.insert(
    { bytes: parseAddress(text.slice(0, slash))!, bits: Number(text.slice(slash + 1)) },
    PEERS.indexOf(peer),
  );
}

function lookup(table: AllowedIps, address: string): string | undefined {
  const bytes = parseAddress(address)!;
  const buf = new Uint8Array(40).fill(0xee);
  buf.set(bytes, 3);
  return PEERS[bytes.length === 4 ? table.lookupV4(buf, 3) : table.lookupV6(buf, 3)];
}

test('the shared IPv4 list holds', () => {
  const table = new AllowedIps(1);
  insert(table, '192.168.4.0/24', 'a');
  insert(table, '192.168.4.4/32', 'b');
  insert(table, '192.168.0.0/16', 'c');
  insert(table, '192.95.5.64/27', 'd');
  insert(table, '192.95.5.65/27', 'c');
  insert(table, '0.0.0.0/0', 'e');
  insert(table, '64.15.112.0/20', 'g');
  insert(table, '64.15.123.211/25', 'h');
  insert(table, '10.0.0.0/25', 'a');
  insert(table, '10.0.0.128/25', 'b');
  insert(table, '10.1.0.0/30', 'a');
  insert(table, '10.1.0.4/30', 'b');
  insert(table, '10.1.0.8/29', 'c');
  insert(table, '10.1.0.16/29', 'd');
  const expected: [string, string][] = [
    ['192.168.4.20', 'a'],
    ['192.168.4.0', 'a'],
    ['192.168.4.4', 'b'],
    ['192.168.200.182', 'c'],
    ['192.95.5.68', 'c'],
    ['192.95.5.96', 'e'],
    ['64.15.116.26', 'g'],
    ['64.15.127.3', 'g'],
    ['64.15.123.1', 'g'],
    ['64.15.123.128', 'h'],
    ['64.15.123.129', 'h'],
    ['10.0.0.52', 'a'],
    ['10.0.0.220', 'b'],
    ['10.1.0.2', 'a'],
    ['10.1.0.6', 'b'],
    ['10.1.0.10', 'c'],
    ['10.1.0.20', 'd'],
  ];
  for (const [address, peer] of expected) assert.is(lookup(table, address), peer, address);
  const late = ['1.0.0.0', '64.0.0.0', '128.0.0.0', '192.0.0.0', '255.0.0.0'];
  for (const address of late) insert(table, `${address}/32`, 'a');
  for (const address of late) assert.is(lookup(table, address), 'a');
  table.removePeer(PEERS.indexOf('a'));
  for (const address of late) assert.is(lookup(table, address), 'e');
  assert.is(lookup(table, '192.168.4.20'), 'c');
});

test('the shared IPv6 list holds', () => {
  const table = new AllowedIps(1);
  insert(table, '2607:5300:6000:6b00::c05f:543/128', 'd');
  insert(table, '2607:5300:6000:6b00::/64', 'c');
  insert(table, '::/0', 'e');
  insert(table, '::/0', 'f');
  insert(table, '2404:6800::/32', 'g');
  insert(table, '2404:6800:4004:800:dead:beef:dead:beef/64', 'h');
  insert(table, '2404:6800:4004:800:dead:beef:dead:beef/128', 'a');
  insert(table, '2444:6800:40e4:800:deae:beef:def:beef/128', 'c');
  insert(table, '2444:6800:f0e4:800:eeae:beef::/98', 'b');
  const expected: [string, string][] = [
    ['2607:5300:6000:6b00::c05f:543', 'd'],
    ['2607:5300:6000:6b00:0:0:c02e:1ee', 'c'],
    ['2607:5300:6000:6b01::', 'f'],
    ['2404:6800:4004:806::1006', 'g'],
    ['2404:6800:4004:806:0:1234:0:5678', 'g'],
    ['2404:67ff:4004:806:0:1234:0:5678', 'f'],
    ['2404:6801:4004:806:0:1234:0:5678', 'f'],
    ['2404:6800:4004:800:0:1234:0:5678', 'h'],
    ['2404:6800:4004:800::', 'h'],
    ['2404:6800:4004:800:1010:1010:1010:1010', 'h'],
    ['2404:6800:4004:800:dead:beef:dead:beef', 'a'],
    ['2444:6800:f0e4:800:eeae:beef:3fff:ffff', 'b'],
    ['2444:6800:f0e4:800:eeae:beef:4000:0', 'f'],
  ];
  for (const [address, peer] of expected) assert.is(lookup(table, address), peer, address);
});

test('a whole-family prefix of one family says nothing about the other', () => {
  const table = new AllowedIps(1);
  insert(table, '0.0.0.0/0', 'a');
  assert.is(lookup(table, '::'), undefined);
  insert(table, '::/0', 'b');
  assert.is(lookup(table, '255.255.255.255'), 'a');
  assert.is(lookup(table, 'ffff::'), 'b');
});

test('inserting a prefix for another peer moves it, in the list of each peer too', () => {
  const table = new AllowedIps(1);
  for (const text of ['10.0.0.0/8', '10.1.0.0/16', '10.2.0.0/16']) insert(table, text, 'a');
  insert(table, '10.1.2.3/16', 'b');
  assert.is(lookup(table, '10.1.0.1'), 'b');
  assert.equal(table.list(0).map(formatPrefix), ['10.0.0.0/8', '10.2.0.0/16']);
  assert.equal(table.list(1).map(formatPrefix), ['10.1.0.0/16']);
  insert(table, '10.1.0.0/16', 'b');
  assert.equal(table.list(1).length, 1);
  assert.is(table.size, 3);
  table.removePeer(1);
  assert.is(lookup(table, '10.1.0.1'), 'a');
  assert.equal(table.list(1), []);
});

test('the list of a peer has IPv4 first and keeps the order of insertion', () => {
  const table = new AllowedIps(1);
  for (const text of ['fd00::1/128', '10.0.0.2/32', '10.0.0.1/32', 'fd00::/64']) insert(table, text, 'c');
  assert.equal(table.list(2).map(formatPrefix), ['10.0.0.2/32', '10.0.0.1/32', 'fd00::1/128', 'fd00::/64']);
  assert.equal(table.list(7), []);
});

test('order, moves and lookups are the same when a list becomes a table, and when that is empty again', () => {
  const table = new AllowedIps(3);
  for (let round = 0; round < 3; round++) {
    for (let i = 0; i < 40; i++) {
      insert(table, `10.0.${i}.0/24`, 'a');
      insert(table, `fd00::${i}/128`, 'a');
      if (i % 3 === 0) insert(table, `10.0.${i}.0/24`, 'b');
      const kept = Array.from({ length: i + 1 }, (_, n) => n);
      const v4 = (isMoved: boolean) => kept.filter(n => (n % 3 === 0) === isMoved).map(n => `10.0.${n}.0/24`);
      const v6 = kept.map(n => (n === 0 ? 'fd00::/128' : `fd00::${n}/128`));
      assert.equal(table.list(0).map(formatPrefix), [...v4(false), ...v6]);
      assert.equal(table.list(1).map(formatPrefix), v4(true));
      assert.is(lookup(table, `10.0.${i}.9`), i % 3 === 0 ? 'b' : 'a');
      assert.is(lookup(table, `fd00::${i}`), 'a');
      assert.is(lookup(table, '10.1.0.0'), undefined);
      assert.is(lookup(table, 'fd00:1::'), undefined);
    }
    table.removePeer(0);
    assert.is(lookup(table, '10.0.1.1'), undefined);
    assert.is(lookup(table, '10.0.39.1'), 'b');
    table.removePeer(1);
    assert.is(table.size, 0);
    assert.is(lookup(table, '10.0.39.1'), undefined);
  }
});

test('an impossible prefix is refused', () => {
  const table = new AllowedIps(1);
  for (const [length, bits] of [
    [4, 33],
    [4, -1],
    [4, 1.5],
    [16, 129],
    [5, 8],
    [0, 0],
  ] as const)
    assert.throws(() => table.insert({ bytes: new Uint8Array(length), bits }, 0), RangeError);
  assert.is(table.size, 0);
});

/** The slow list: a longest match by looking at every prefix. */
class SlowList {
  readonly entries = new Map<string, { prefix: Prefix; peer: number }>();

  insert(prefix: Prefix, peer: number): void {
    const masked = { bytes: maskBytes(prefix.bytes, prefix.bits), bits: prefix.bits };
    this.entries.set(formatPrefix(masked), { prefix: masked, peer });
  }

  removePeer(peer: number): void {
    for (const [text, entry] of this.entries) if (entry.peer === peer) this.entries.delete(text);
  }

  lookup(address: Uint8Array): number {
    let best = -1;
    let owner = NO_PEER;
    for (const { prefix, peer } of this.entries.values()) {
      if (prefix.bytes.length !== address.length || prefix.bits <= best || !prefixContains(prefix, address)) continue;
      best = prefix.bits;
      owner = peer;
    }
    return owner;
  }
}

for (const length of [4, 16]) {
  test(`random prefixes, lookups and removals of ${length}-byte addresses agree with a slow list`, () => {
    const word = seededWords(length);
    const table = new AllowedIps(word());
    const slow = new SlowList();
    // Few distinct bytes, so that prefixes nest and lookups hit.
    const address = () => Uint8Array.from({ length }, () => [0, 1, 128, 255][word() & 3]!);
    for (let step = 0; step < 3000; step++) {
      if (word() % 40 === 0) {
        const peer = word() % 50;
        table.removePeer(peer);
        slow.removePeer(peer);
      } else if (word() % 3 === 0) {
        const prefix = { bytes: address(), bits: word() % (length * 8 + 1) };
        const peer = word() % 50;
        table.insert(prefix, peer);
        slow.insert(prefix, peer);
      }
      const bytes = address();
      const found = length === 4 ? table.lookupV4(bytes, 0) : table.lookupV6(bytes, 0);
      assert.is(found, slow.lookup(bytes), `step ${step}`);
    }
    assert.is(table.size, slow.entries.size);
    for (let peer = 0; peer < 50; peer++) {
      const expected = [...slow.entries].filter(([, entry]) => entry.peer === peer).map(([text]) => text);
      assert.equal(table.list(peer).map(formatPrefix).sort(), expected.sort());
    }
  });
}

test('ten thousand peers are found, and gone when they are removed', () => {
  const table = new AllowedIps(77);
  const text = (i: number) => `100.64.${i >> 8}.${i & 255}/32`;
  for (let i = 0; i < 10_000; i++) table.insert(parsePrefix(text(i))!, i);
  const wrong = (i: number) => table.lookupV4(parsePrefix(text(i))!.bytes, 0) !== i;
  for (let i = 0; i < 10_000; i++) if (wrong(i)) assert.unreachable(text(i));
  for (let i = 0; i < 10_000; i += 2) table.removePeer(i);
  assert.is(table.size, 5000);
  for (let i = 0; i < 10_000; i++) assert.is(wrong(i), i % 2 === 0);
});

test.run();
