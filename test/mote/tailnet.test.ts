/** Whole tailnets in memory: real motes, a real coordinator and a real relay, on a virtual clock. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { utf8Decode, utf8Encode } from '../../lib/base/bytes.ts';
import { createNobleSuite } from '../../lib/crypto/noble.ts';
import { ALL_PARTS } from '../../lib/device/parts.ts';
import type { MoteEvent } from '../../lib/mote/events.ts';
import { Mote } from '../../lib/mote/mote.ts';
import type { TailnetMoteOptions } from '../../lib/mote/tailnet-options.ts';
import { MemoryCoordinator } from '../sim/memory-coordinator.ts';
import { MemoryNetwork, MemoryStore } from '../sim/memory-host.ts';

const test = suite('tailnet');
const crypto = createNobleSuite();

/** A network, a coordinator, and motes by name. */
class World {
  readonly network = new MemoryNetwork();
  readonly coordinator = new MemoryCoordinator(this.network, '192.0.2.1');
  readonly events = new Map<string, MoteEvent[]>();
  #next = 10;

  /** Starts to join; the promise settles as the network's time passes. */
  join(name: string, o: Partial<TailnetMoteOptions> = {}): Promise<Mote> {
    const events: MoteEvent[] = [];
    this.events.set(name, events);
    const number = this.#next++;
    return Mote.up(
      this.network.host(`192.0.2.${number}`, number),
      crypto,
      { control: this.coordinator.url, name, onEvent: event => events.push(event), ...o },
      ALL_PARTS,
    );
  }

  /** Joins with a key of its own. */
  async member(name: string, o: Partial<TailnetMoteOptions> = {}): Promise<Mote> {
    return this.network.until(this.join(name, { authKey: this.coordinator.authKey(), ...o }), 20_000);
  }

  async until<T>(promise: Promise<T>, limitMs = 60_000): Promise<T> {
    return this.network.until(promise, limitMs);
  }

  types(name: string): string[] {
    return this.events.get(name)!.map(event => event.type);
  }
}

function bare(mote: Mote, family = 4): string {
  return mote.addresses.find(text => text.includes(':') === (family === 6))!.split('/')[0]!;
}

async function failure(promise: Promise<unknown>): Promise<{ code?: string; message: string }> {
  return promise.then(
    () => ({ message: 'no failure' }),
    (error: { code?: string; message: string }) => error,
  );
}

/** Echoes every connection on a port; returns what the connections said of their peers. */
async function echo(mote: Mote, port: number): Promise<unknown[]> {
  const peers: unknown[] = [];
  const listener = await mote.listen(port);
  void (async () => {
    for await (const connection of listener) {
      peers.push(connection.peer?.name);
      void (async () => {
        for (let got = await connection.read(); got !== undefined; got = await connection.read())
          await connection.write(got);
        await connection.end();
      })().catch(() => undefined);
    }
  })();
  return peers;
}

async function exchange(from: Mote, host: string, port: number, text: string): Promise<string> {
  const connection = await from.dial(host, port);
  await connection.write(utf8Encode(text));
  await connection.end();
  let got = '';
  for (let bytes = await connection.read(); bytes !== undefined; bytes = await connection.read())
    got += utf8Decode(bytes);
  return got;
}

test('two motes join with auth keys and talk by name, short and full, over both families', async () => {
  const world = new World();
  const alice = await world.member('alice');
  const bob = await world.member('bob');
  const peers = await echo(alice, 7);
  assert.is(await world.until(exchange(bob, 'alice', 7, 'short')), 'short');
  assert.is(await world.until(exchange(bob, 'alice.default.mote.internal', 7, 'full')), 'full');
  assert.is(await world.until(exchange(bob, bare(alice), 7, 'v4')), 'v4');
  assert.is(await world.until(exchange(bob, bare(alice, 6), 7, 'v6')), 'v6');
  assert.equal(peers, Array(4).fill('bob.default.mote.internal'));
  assert.ok((await world.until(bob.ping('alice'))) < 50);
  await alice.close();
  await bob.close();
});

test('a first packet does not wait for a second try, even if the news of its sender come later', async () => {
  const world = new World();
  const alice = await world.member('alice');
  await echo(alice, 7);
  const bob = await world.member('bob');
  const begun = world.network.nowMs;
  assert.is(await world.until(exchange(bob, bare(alice), 7, 'hello')), 'hello');
  assert.ok(world.network.nowMs - begun < 2000, `it took ${world.network.nowMs - begun} ms`);
});

test('a direct path takes over from the relay, and status, ping and events say so', async () => {
  const world = new World();
  const alice = await world.member('alice');
  const bob = await world.member('bob');
  await echo(alice, 7);
  assert.is(await world.until(exchange(bob, 'alice', 7, 'hello')), 'hello');
  await world.network.advance(1000);
  assert.is(await world.until(exchange(bob, 'alice', 7, 'again')), 'again');
  await world.network.advance(1000);
  const [peer] = bob.status().tailnet!.peers;
  assert.is(peer!.path, 'direct');
  assert.match(peer!.endpoint!, /^192\.0\.2\.10:/);
  const pong = await world.until(bob.pingPath('alice'));
  assert.is(pong.path, 'direct');
  assert.ok(world.types('bob').includes('path'));
  // Datagrams are lost from now on: the relay carries on.
  world.network.fate = () => ({ isDropped: true, delayMs: 1 });
  const begun = world.network.nowMs;
  assert.is(await world.until(exchange(bob, 'alice', 7, 'still')), 'still');
  assert.ok(world.network.nowMs - begun < 10_000, `it took ${world.network.nowMs - begun} ms`);
  assert.is((await world.until(bob.pingPath('alice'))).path, 'relay');
});

test('datagrams pass both ways, and replies come back', async () => {
  const world = new World();
  const alice = await world.member('alice');
  const bob = await world.member('bob');
  const server = await alice.udp(53_000);
  const client = await bob.udp();
  client.send(utf8Encode('question'), { address: bare(alice), port: 53_000 });
  const question = await world.until(server.receive());
  assert.is(utf8Decode(question!.data), 'question');
  assert.is(question!.from.address, bare(bob));
  server.send(utf8Encode('answer'), question!.from);
  assert.is(utf8Decode((await world.until(client.receive()))!.data), 'answer');
});

test('whois gives device, user, tags and key; nobody is undefined, nonsense throws', async () => {
  const world = new World();
  const alice = await world.member('alice');
  const bob = await world.member('bob', { authKey: world.coordinator.authKey({ tags: ['tag:web'] }) });
  await world.network.advance(500);
  const who = alice.whois(bare(bob))!;
  assert.is(who.name, 'bob.default.mote.internal');
  assert.is(who.publicKey, bob.publicKey);
  assert.equal(who.tags, ['tag:web']);
  assert.equal(who.addresses, [bare(bob), bare(bob, 6)]);
  assert.is(bob.whois(bare(alice))!.user?.loginName, 'owner');
  assert.is(alice.whois('100.64.255.254'), undefined);
  assert.throws(() => alice.whois('bob'), /expected an IP address/);
});

test('the resolver of the tailnet answers inside, and nobody else reaches it', async () => {
  const world = new World();
  const alice = await world.member('alice');
  const bob = await world.member('bob');
  await world.until(bob.ping('alice'));
  const socket = await bob.udp();
  socket.send(queryFor('alice'), { address: '100.100.100.100', port: 53 });
  const answer = (await world.until(socket.receive()))!;
  assert.is(answer.from.address, '100.100.100.100');
  assert.equal([...answer.data.slice(-4)], bare(alice).split('.').map(Number));
});

test('an unknown name, a foreign address and a closed port fail at once, each in its way', async () => {
  const world = new World();
  const alice = await world.member('alice');
  const bob = await world.member('bob');
  assert.is((await failure(bob.dial('carol', 80))).code, 'ERR_NAME_NOT_FOUND');
  assert.is((await failure(world.until(bob.dial('100.99.99.99', 80)))).code, 'ERR_UNREACHABLE');
  assert.is((await failure(world.until(bob.dial('alice', 80)))).code, 'ERR_CONNECTION_REFUSED');
  assert.throws(() => bob.addPeer({ publicKey: alice.publicKey, allowedIPs: ['10.0.0.0/8'] }), /in a tailnet/);
});

test('a spent key is refused with the coordinator’s words, and its text is in no error', async () => {
  const world = new World();
  const authKey = world.coordinator.authKey();
  await world.until(world.join('alice', { authKey }));
  const error = await failure(world.until(world.join('bob', { authKey })));
  assert.is(error.code, 'ERR_LOGIN');
  assert.match(error.message, /refuses this device/);
  assert.not.match(error.message, authKey.slice(10, 20));
});

test('a mote that comes back with its store is the same device, without a key', async () => {
  const world = new World();
  const store = new MemoryStore();
  const alice = await world.member('alice', { store });
  const bob = await world.member('bob');
  const { addresses, publicKey } = alice;
  await alice.close();
  await world.network.advance(15_000);
  const again = await world.until(world.join('alice', { store }));
  assert.equal(again.addresses, addresses);
  assert.is(again.publicKey, publicKey);
  await echo(again, 7);
  assert.is(await world.until(exchange(bob, 'alice', 7, 'again')), 'again');
});

test('without a key a person logs the device in at the page of the event', async () => {
  const world = new World();
  const joining = world.join('alice');
  await world.network.advance(1000);
  const event = world.events.get('alice')!.find(({ type }) => type === 'auth-url') as { url: string } | undefined;
  const id = event!.url.split('/').at(-1)!;
  assert.ok(event!.url.startsWith(`${world.coordinator.url}/register/`));
  world.coordinator.command({ type: 'device-approve', tailnet: 'default', device: id });
  const alice = await world.until(joining);
  assert.is(alice.status().tailnet?.state, 'running');
});

test('in a tailnet that demands approval a device sees nobody and is seen by nobody until it has it', async () => {
  const world = new World();
  const alice = await world.member('alice');
  world.coordinator.command({ type: 'tailnet-update', tailnet: 'default', requiresApproval: true });
  const joining = world.join('bob', { authKey: world.coordinator.authKey() });
  let isUp = false;
  void joining.then(() => {
    isUp = true;
  });
  await world.network.advance(5000);
  assert.is(isUp, false);
  assert.ok(world.events.get('bob')!.some(event => event.type === 'state' && event.state === 'needs-approval'));
  assert.is(alice.status().tailnet!.peers.length, 0);
  world.coordinator.command({ type: 'device-approve', tailnet: 'default', device: 'bob' });
  const bob = await world.until(joining);
  await echo(alice, 7);
  assert.is(await world.until(exchange(bob, 'alice', 7, 'in')), 'in');
});

test('a device that is removed is no peer any more: its connections end, and it cannot come back with its old key', async () => {
  const world = new World();
  const alice = await world.member('alice');
  const bob = await world.member('bob');
  await echo(alice, 7);
  assert.is(await world.until(exchange(bob, 'alice', 7, 'before')), 'before');
  const accepted = await alice.listen(8);
  const open = await world.until(bob.dial('alice', 8));
  const other = (await world.until(accepted.accept()))!;
  world.coordinator.command({ type: 'device-remove', tailnet: 'default', device: 'bob' });
  await world.network.advance(2000);
  assert.is((await failure(world.until(other.read(), 1))).code, 'ERR_UNREACHABLE', 'it does not wait for a timeout');
  open.abort();
  assert.is(alice.status().tailnet!.peers.length, 0);
  assert.equal(alice.status().peers, []);
  const error = await failure(world.until(bob.dial(bare(alice), 7, { timeoutMs: 8000 })));
  assert.ok(['ERR_TIMED_OUT', 'ERR_UNREACHABLE'].includes(error.code!), error.message);
});

test('logout ends the membership and forgets the node key', async () => {
  const world = new World();
  const store = new MemoryStore();
  const alice = await world.member('alice');
  const bob = await world.member('bob', { store });
  await world.network.advance(500);
  assert.is(alice.status().tailnet!.peers.length, 1);
  await world.until(bob.logout());
  assert.is(store.load('node-key'), undefined);
  await world.network.advance(1000);
  assert.is(alice.status().tailnet!.peers.length, 0);
});

test('an ephemeral device is gone from the network soon after it left', async () => {
  const world = new World();
  const alice = await world.member('alice');
  const bob = await world.member('bob', { authKey: world.coordinator.authKey({ isEphemeral: true }) });
  await world.network.advance(500);
  assert.is(alice.status().tailnet!.peers.length, 1);
  await bob.close();
  await world.network.advance(2_400_000);
  assert.is(alice.status().tailnet!.peers.length, 0);
});

test('while the coordinator is dead motes go on talking, and when it is back a new one joins', async () => {
  const world = new World();
  const alice = await world.member('alice');
  const bob = await world.member('bob');
  await echo(alice, 7);
  assert.is(await world.until(exchange(bob, 'alice', 7, 'one')), 'one');
  const open = await world.until(bob.dial('alice', 7));
  world.coordinator.kill();
  await world.network.advance(5000);
  world.coordinator.restart();
  await world.until(open.write(utf8Encode('two')));
  assert.is(utf8Decode((await world.until(open.read(), 120_000))!), 'two');
  const carol = await world.member('carol');
  assert.is(await world.until(exchange(carol, 'alice', 7, 'three'), 120_000), 'three');
});

test('nothing leaves the coordinator before it is durable', async () => {
  const world = new World();
  const authKey = world.coordinator.authKey();
  world.coordinator.isStoring = false;
  let isUp = false;
  void world.join('alice', { authKey }).then(() => {
    isUp = true;
  });
  await world.network.advance(3000);
  assert.is(isUp, false);
  assert.not.ok(world.types('alice').includes('netmap'));
});

test('a node key is renewed before it expires, without a person, and connections go on', async () => {
  const world = new World();
  world.coordinator.command({ type: 'tailnet-update', tailnet: 'default', keyLifeMs: 3_600_000 });
  const store = new MemoryStore();
  const alice = await world.member('alice', { store });
  const bob = await world.member('bob', { store: new MemoryStore() });
  await echo(alice, 7);
  const open = await world.until(bob.dial('alice', 7));
  const before = alice.publicKey;
  const stored = store.load('node-key');
  await world.network.advance(3_500_000);
  assert.ok(world.types('alice').includes('key-changed'), world.types('alice').join(' '));
  assert.is.not(alice.publicKey, before);
  assert.not.equal(store.load('node-key'), stored);
  await world.until(open.write(utf8Encode('still')));
  assert.is(utf8Decode((await world.until(open.read(), 120_000))!), 'still');
  assert.is(alice.status().tailnet!.state, 'running');
});

test('two tailnets on one coordinator know nothing of each other', async () => {
  const world = new World();
  world.coordinator.command({ type: 'tailnet-create', tailnet: 'other' });
  const alice = await world.member('alice');
  const mallory = await world.member('mallory', { authKey: world.coordinator.authKey({ tailnet: 'other' }) });
  await echo(alice, 7);
  await world.network.advance(1000);
  assert.is(mallory.status().tailnet!.peers.length, 0);
  assert.is(mallory.status().tailnet!.name, 'mallory.other.mote.internal');
  assert.is((await failure(mallory.dial('alice', 7))).code, 'ERR_NAME_NOT_FOUND');
  assert.is((await failure(world.until(mallory.dial(bare(alice), 7)))).code, 'ERR_UNREACHABLE');
});

test('joining can be given up', async () => {
  const world = new World();
  const listeners: (() => void)[] = [];
  const signal = {
    aborted: false,
    addEventListener: (_type: 'abort', listener: () => void) => listeners.push(listener),
    removeEventListener: () => undefined,
  };
  const joining = failure(world.join('alice', { signal }));
  await world.network.advance(1000);
  for (const listener of listeners) listener();
  assert.is((await world.until(joining)).code, 'ERR_ABORTED');
});

test('a coordinator that is not there is reported, and found when it is there', async () => {
  const world = new World();
  const authKey = world.coordinator.authKey();
  world.coordinator.kill();
  const joining = world.join('alice', { authKey });
  await world.network.advance(3000);
  const error = world.events.get('alice')!.find(({ type }) => type === 'error') as { code: string } | undefined;
  assert.is(error?.code, 'ERR_CONNECTION_REFUSED');
  world.coordinator.restart();
  assert.is((await world.until(joining, 120_000)).status().tailnet!.state, 'running');
});

test('no private key and no auth key is in what is sent, stored at the coordinator, logged or shown', async () => {
  const world = new World();
  const authKey = world.coordinator.authKey();
  const store = new MemoryStore();
  const alice = await world.until(world.join('alice', { authKey, store }));
  const bob = await world.member('bob');
  await world.until(bob.ping('alice'));
  const shown = JSON.stringify([alice.status(), bob.status(), [...world.events.values()], world.coordinator.log]);
  const kept = JSON.stringify(world.coordinator.commits);
  assert.not.match(shown + kept, authKey);
  assert.not.match(shown + kept, authKey.split('-').at(-1)!);
  for (const name of ['machine-key', 'node-key']) {
    const secret = store.load(name)!.slice(1);
    assert.is(
      world.coordinator.sentBytes.some(bytes => includes(bytes, secret)),
      false,
      name,
    );
    assert.not.match(shown + kept, hex(secret));
  }
});

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, byte => byte.toString(16).padStart(2, '0')).join('');
}

function includes(bytes: Uint8Array, part: Uint8Array): boolean {
  for (let at = 0; at + part.length <= bytes.length; at++)
    if (part.every((byte, i) => bytes[at + i] === byte)) return true;
  return false;
}

/** An A query for a name of the default tailnet. */
function queryFor(name: string): Uint8Array {
  const labels = [name, 'default', 'mote', 'internal'];
  const question = labels.flatMap(label => [label.length, ...utf8Encode(label)]);
  return Uint8Array.from([0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...question, 0, 0, 1, 0, 1]);
}

test.run();
