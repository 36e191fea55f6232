/** The rows of all peers. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { PeerTable } from '../../lib/wireguard/peer-table.ts';
import { at, repeated, seededRandom, seededWords } from './support.ts';

const test = suite('peer table');

function keys(count: number): Uint8Array[] {
  const random = seededRandom(9);
  return Array.from({ length: count }, () => {
    const key = new Uint8Array(32);
    random(key);
    return key;
  });
}

test('random additions and removals agree with a map, and ids stay', () => {
  const word = seededWords(13);
  const pool = keys(300);
  // Keys that differ in the last byte only must be told apart too.
  for (let i = 0; i < 20; i++) pool.push(Uint8Array.from({ length: 32 }, (_, at) => (at === 31 ? i : 1)));
  const table = new PeerTable(word());
  const ids = new Map<Uint8Array, number>();
  for (let step = 0; step < 5000; step++) {
    const key = pool[word() % pool.length]!;
    const id = ids.get(key);
    assert.is(table.find(key), id ?? -1);
    if (id === undefined) {
      const added = table.add(key);
      assert.not([...ids.values()].includes(added), 'an id in use is not given again');
      ids.set(key, added);
    } else if (word() % 2 === 0) {
      table.remove(id);
      ids.delete(key);
      assert.not(table.has(id));
    }
  }
  assert.is(table.size, ids.size);
  for (const [key, id] of ids) assert.equal(table.publicKey(id), key);
});

test('a row that is used again has nothing of the peer before', () => {
  const [first, second] = keys(2);
  const table = new PeerTable(1);
  const id = table.add(first!);
  table.setPresharedKey(id, repeated(5));
  table.setTimestamp(id, repeated(9, 12));
  table.setRoams(id, true);
  table.setKeepaliveMs(id, 25_000);
  table.endpoints[id] = at('192.0.2.1:5');
  table.addRxBytes(id, 1);
  table.addTxBytes(id, 2);
  table.setHandshakeUnixMs(id, 3);
  table.remove(id);
  assert.is(table.add(second!), id);
  assert.equal(table.presharedKey(id), repeated(0));
  assert.not(table.hasPresharedKey(id));
  assert.not(table.roams(id));
  assert.ok(table.isLaterTimestamp(id, repeated(1, 12)));
  assert.is(table.endpoints[id], undefined);
  assert.equal([table.keepaliveMs(id), table.rxBytes(id), table.txBytes(id), table.handshakeUnixMs(id)], [0, 0, 0, 0]);
});

test('columns survive growth', () => {
  const table = new PeerTable(1);
  const all = keys(1000);
  for (const [i, key] of all.entries()) {
    const id = table.add(key);
    table.setPresharedKey(id, repeated(i & 0xff));
    table.addRxBytes(id, i);
    table.setRoams(id, i % 2 === 0);
  }
  for (const [i, key] of all.entries()) {
    const id = table.find(key);
    assert.equal(table.presharedKey(id), repeated(i & 0xff));
    assert.is(table.rxBytes(id), i);
    assert.is(table.roams(id), i % 2 === 0);
  }
});

test('numbers that are no ids are known to be none', () => {
  const table = new PeerTable(1);
  for (const id of [-1, 0, 5, 1e9, 0.5, 1 / 45, Number.NaN]) assert.not(table.has(id));
});

test.run();
