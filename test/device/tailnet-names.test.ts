/** Names of a netmap: with an index of their own and without one they are the same. Neutral. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { formatAddress, parseAddress } from '../../lib/base/address.ts';
import { MapDecoder } from '../../lib/control/map-decoder.ts';
import { TailnetNames } from '../../lib/device/tailnet-names.ts';
import { NAME_LIMITS_SMALL } from '../../lib/dns/limits.ts';
import { reverseName } from '../../lib/dns/name.ts';
import { frames, self } from '../control/map-support.ts';
import { A, decode, PTR, query } from '../dns/support.ts';

const test = suite('tailnet-names');
const ME = '100.64.66.64';

function peer(id: number, name: string, address = `100.64.1.${id}`): object {
  return {
    ID: id,
    StableID: `n${id}`,
    Name: name,
    User: 1,
    Key: `nodekey:${id.toString(16).padStart(2, '0').repeat(32)}`,
    Addresses: [`${address}/32`],
    AllowedIPs: [`${address}/32`],
  };
}

/** One netmap, and its names in both ways. */
class World {
  readonly #decoder = new MapDecoder();
  readonly #names = [true, false].map(
    isIndexed => new TailnetNames(this.#decoder.netmap, NAME_LIMITS_SMALL, isIndexed),
  );

  constructor(message: object) {
    this.#decoder.startStream();
    this.send(message);
  }

  send(message: object): void {
    const bytes = frames(message);
    if (this.#decoder.handleBytes(bytes, 0, bytes.length) < 0) throw this.#decoder.error!;
    const event = this.#decoder.pollEvent();
    if (event?.type !== 'netmap') throw new Error('no netmap');
    for (const names of this.#names) names.handleChanges(event.changes);
  }

  #same<T>(read: (names: TailnetNames) => T): T {
    const [first, second] = this.#names.map(read);
    assert.equal(second, first);
    return first!;
  }

  /** The addresses of a name, as both have them. */
  resolve(name: string): string {
    return this.#same(names => (names.resolve(name) ?? []).map(bytes => formatAddress(bytes)).join(' '));
  }

  /** The result code and the answers to a question. */
  ask(name: string, type: number): string {
    return this.#same(names => {
      const out = new Uint8Array(512);
      const bytes = query(name, type);
      const answer = decode(out.slice(0, names.answer(bytes, 0, bytes.length, out)));
      return `${answer.rcode} ${JSON.stringify(answer.answers)}`;
    });
  }
}

test('this device and its peers have their names both ways', () => {
  const world = new World({ Node: self(), Peers: [peer(1, 'one.tail1234.mote.internal.'), peer(2, '')] });
  assert.match(world.resolve('me'), /^100\.64\.66\.64\b/);
  assert.is(world.resolve('one'), '100.64.1.1');
  assert.is(world.resolve('two'), '');
  for (const [address, name] of [
    [ME, 'me.tail1234.mote.internal'],
    ['100.64.1.1', 'one.tail1234.mote.internal'],
  ])
    assert.match(world.ask(reverseName(parseAddress(address!)!), PTR), name!);
  assert.match(world.ask('tail1234.mote.internal', A), /^0 /, 'what others lie below');
  assert.match(world.ask('nobody.tail1234.mote.internal', A), /^3 /);
});

test('nobody takes the name or an address of this device', () => {
  const world = new World({
    Node: self(),
    Peers: [peer(1, 'me.tail1234.mote.internal.'), peer(2, 'thief.tail1234.mote.internal.', ME)],
  });
  assert.match(world.resolve('me'), /^100\.64\.66\.64\b/);
  assert.match(world.ask(reverseName(parseAddress(ME)!), PTR), 'me.tail1234.mote.internal');
});

test('names follow changes of peers and of this device', () => {
  const world = new World({ Node: self(), Peers: [peer(1, 'one.tail1234.mote.internal.')] });
  world.send({ PeersChanged: [peer(1, 'uno.tail1234.mote.internal.')] });
  assert.equal([world.resolve('one'), world.resolve('uno')], ['', '100.64.1.1']);
  world.send({ PeersRemoved: [1] });
  assert.is(world.resolve('uno'), '');
  world.send({ Node: { ...self(), Name: 'renamed.tail1234.mote.internal.' } });
  assert.equal([world.resolve('me'), world.resolve('renamed').split(' ')[0]], ['', ME]);
});

test.run();
