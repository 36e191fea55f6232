import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { parsePrefix } from '../../lib/base/address.ts';
import { fromBase64, utf8Decode, utf8Encode, writeU16BE } from '../../lib/base/bytes.ts';
import { foldChecksum, sumBytes } from '../../lib/base/checksum.ts';
import { NetError } from '../../lib/base/errors.ts';
import { Slot } from '../../lib/base/slot.ts';
import { SecretKey } from '../../lib/crypto/keys.ts';
import { createNobleSuite } from '../../lib/crypto/noble.ts';
import { ALL_PARTS } from '../../lib/device/parts.ts';
import type { MoteEvent } from '../../lib/mote/events.ts';
import { Mote } from '../../lib/mote/mote.ts';
import type { MoteOptions, PeerOptions, WireGuardMoteOptions } from '../../lib/mote/options.ts';
import { Tunnel } from '../../lib/wireguard/tunnel.ts';
import { MemoryNetwork, MemoryStore, seededRandom } from '../sim/memory-host.ts';

const test = suite('mote');
const crypto = createNobleSuite();

function key(seed: number): { secret: SecretKey; text: string } {
  const secret = SecretKey.generate(seededRandom(seed));
  const out = new Uint8Array(32);
  crypto.publicKey(out, secret.bytes);
  return { secret, text: base64(out) };
}

function base64(bytes: Uint8Array): string {
  return SecretKey.fromBytes(bytes).toBase64();
}

interface PairOptions {
  readonly alice?: Partial<WireGuardMoteOptions>;
  readonly bob?: Partial<WireGuardMoteOptions>;
  readonly bobAsPeer?: Partial<PeerOptions>;
}

/** Alice (10.0.0.1, fd00::1) knows where Bob (10.0.0.2, fd00::2) is; Bob learns where Alice is. */
async function pair(network: MemoryNetwork, options: PairOptions = {}): Promise<{ alice: Mote; bob: Mote }> {
  const alice = key(1);
  const bob = key(2);
  return {
    alice: await Mote.up(
      network.host('192.0.2.1', 11),
      crypto,
      {
        privateKey: alice.secret,
        addresses: ['10.0.0.1/24', 'fd00::1/64'],
        listenPort: 1111,
        peers: [
          {
            publicKey: bob.text,
            endpoint: '192.0.2.2:2222',
            allowedIPs: ['10.0.0.2/32', 'fd00::2/128'],
            ...options.bobAsPeer,
          },
        ],
        ...options.alice,
      },
      ALL_PARTS,
    ),
    bob: await Mote.up(
      network.host('192.0.2.2', 22),
      crypto,
      {
        privateKey: bob.secret,
        addresses: ['10.0.0.2/24', 'fd00::2/64'],
        listenPort: 2222,
        peers: [{ publicKey: alice.text, allowedIPs: ['10.0.0.1/32', 'fd00::1/128'] }],
        ...options.bob,
      },
      ALL_PARTS,
    ),
  };
}

async function echo(mote: Mote, port: number): Promise<void> {
  for await (const connection of await mote.listen(port))
    void (async () => {
      for (let got = await connection.read(); got !== undefined; got = await connection.read())
        await connection.write(got);
      await connection.end();
    })().catch(() => undefined);
}

async function rejection(promise: Promise<unknown>): Promise<NetError> {
  try {
    await promise;
  } catch (error) {
    assert.instance(error, NetError);
    return error as NetError;
  }
  throw new Error('expected a rejection');
}

for (const [family, address] of [
  ['IPv4', '10.0.0.2'],
  ['IPv6', 'fd00::2'],
] as const) {
  test(`a stream is echoed through the tunnel over ${family}`, async () => {
    const network = new MemoryNetwork();
    const { alice, bob } = await pair(network);
    void echo(bob, 7);
    const connection = await network.until(alice.dial(address, 7));
    assert.equal(connection.remote, { address, port: 7 });
    const sent = new Uint8Array(100_000).map((_, i) => i * 7);
    void connection.write(sent).then(() => connection.end());
    const got: number[] = [];
    await network.until(
      (async () => {
        for (let piece = await connection.read(); piece !== undefined; piece = await connection.read())
          got.push(...piece);
      })(),
    );
    assert.is(got.length, sent.length);
    assert.ok(got.every((byte, i) => byte === sent[i]));
    await network.until(connection.closed);
    assert.is(connection.error, undefined);
    await network.advance(300_000);
    assert.is(alice.status().connections, 0);
    assert.is(bob.status().connections, 0);
    await alice.close();
    await bob.close();
  });

  test(`datagrams are echoed through the tunnel over ${family}, also larger than the MTU`, async () => {
    const network = new MemoryNetwork();
    const { alice, bob } = await pair(network);
    const service = await bob.udp(9);
    void (async () => {
      for await (const { data, from } of service) service.send(data, from);
    })();
    const client = await alice.udp();
    for (const length of [0, 1, 1000, 5000]) {
      const data = new Uint8Array(length).map((_, i) => i);
      assert.ok(client.send(data, { address, port: 9 }));
      const got = await network.until(client.receive());
      assert.equal(got, { data, from: { address, port: 9 } });
    }
    await alice.close();
    await bob.close();
  });

  test(`a ping over ${family} tells the round-trip time`, async () => {
    const network = new MemoryNetwork();
    const { alice, bob } = await pair(network);
    await network.until(alice.ping(address));
    const ms = await network.until(alice.ping(address, { payloadBytes: 3000 }));
    assert.is(ms, 2);
    await alice.close();
    await bob.close();
  });
}

test('a port where nobody listens refuses, and says so at once', async () => {
  const network = new MemoryNetwork();
  const { alice } = await pair(network);
  const startMs = network.nowMs;
  const error = await rejection(network.until(alice.dial('10.0.0.2', 81)));
  assert.is(error.code, 'ERR_CONNECTION_REFUSED');
  assert.ok(network.nowMs - startMs < 1000);
});

test('an address that no peer carries is unreachable, and says so at once', async () => {
  const network = new MemoryNetwork();
  const { alice } = await pair(network);
  const startMs = network.nowMs;
  assert.is((await rejection(network.until(alice.dial('10.0.0.77', 80)))).code, 'ERR_UNREACHABLE');
  assert.ok(network.nowMs - startMs < 1000);
});

test('a peer that never answers ends the dial after its timeout', async () => {
  const network = new MemoryNetwork();
  const { alice, bob } = await pair(network);
  await bob.close();
  const startMs = network.nowMs;
  const error = await rejection(network.until(alice.dial('10.0.0.2', 80, { timeoutMs: 5000 })));
  assert.is(error.code, 'ERR_TIMED_OUT');
  assert.is(network.nowMs - startMs, 5000);
});

test('a dial can be aborted before and while it runs', async () => {
  const network = new MemoryNetwork();
  const { alice } = await pair(network);
  const listeners = new Set<() => void>();
  const signal = {
    aborted: false,
    addEventListener: (_: 'abort', run: () => void) => void listeners.add(run),
    removeEventListener: (_: 'abort', run: () => void) => void listeners.delete(run),
  };
  const dial = alice.dial('10.0.0.2', 80, { signal });
  for (const run of listeners) run();
  assert.is((await rejection(dial)).code, 'ERR_ABORTED');
  assert.is(listeners.size, 0);
  signal.aborted = true;
  assert.is((await rejection(alice.dial('10.0.0.2', 80, { signal }))).code, 'ERR_ABORTED');
});

test('a name of the hosts option is dialled, another is not found', async () => {
  const network = new MemoryNetwork();
  const { alice, bob } = await pair(network, { alice: { hosts: { Bob: '10.0.0.2' } } });
  void echo(bob, 7);
  const connection = await network.until(alice.dial('bob', 7));
  assert.is(connection.remote.address, '10.0.0.2');
  assert.is((await rejection(alice.dial('carol', 7))).code, 'ERR_NAME_NOT_FOUND');
});

test('a writer waits while the reader does not read, and memory stays bounded', async () => {
  const network = new MemoryNetwork();
  const { alice, bob } = await pair(network);
  const listener = await bob.listen(7);
  const connection = await network.until(alice.dial('10.0.0.2', 7));
  const accepted = (await network.until(listener.accept()))!;
  let written = 0;
  let isFailed = false;
  const piece = new Uint8Array(1 << 18);
  void (async () => {
    for (; written < 64; written++) await connection.write(piece);
    await connection.end();
  })().catch(() => {
    isFailed = true;
  });
  await network.advance(20_000);
  const stuckAt = written;
  assert.ok(stuckAt < 64, `${stuckAt} pieces were taken although nobody reads`);
  await network.advance(60_000);
  assert.is(written, stuckAt);
  let total = 0;
  await network.until(
    (async () => {
      for (let got = await accepted.read(); got !== undefined; got = await accepted.read()) total += got.length;
    })(),
  );
  assert.is(total, 64 * piece.length);
  assert.not(isFailed);
});

test('a half-closed connection still receives', async () => {
  const network = new MemoryNetwork();
  const { alice, bob } = await pair(network);
  const listener = await bob.listen(7);
  const connection = await network.until(alice.dial('10.0.0.2', 7));
  const accepted = (await network.until(listener.accept()))!;
  await connection.end();
  assert.is(await network.until(accepted.read()), undefined);
  await accepted.write(utf8Encode('still here'));
  assert.is(utf8Decode((await network.until(connection.read()))!), 'still here');
  assert.is((await rejection(connection.write(new Uint8Array(1)))).code, 'ERR_CLOSED');
});

test('a reset reaches reads and writes of the other side', async () => {
  const network = new MemoryNetwork();
  const { alice, bob } = await pair(network);
  const listener = await bob.listen(7);
  const connection = await network.until(alice.dial('10.0.0.2', 7));
  const accepted = (await network.until(listener.accept()))!;
  const reading = accepted.read();
  connection.abort();
  assert.is((await rejection(network.until(reading))).code, 'ERR_CONNECTION_RESET');
  assert.is((await rejection(accepted.write(new Uint8Array(1)))).code, 'ERR_CONNECTION_RESET');
  assert.is((await rejection(connection.read())).code, 'ERR_ABORTED');
});

test('a closed connection that the other side never closes is let go', async () => {
  const network = new MemoryNetwork();
  const { alice, bob } = await pair(network);
  await bob.listen(7);
  const connection = await network.until(alice.dial('10.0.0.2', 7));
  const startMs = network.nowMs;
  await network.until(connection.close());
  assert.ok(network.nowMs - startMs <= 60_000);
  assert.is(alice.status().connections, 0);
});

test('who asks later than a connection has gone hears of it all the same, and it counts no more at once', async () => {
  const network = new MemoryNetwork();
  const { alice, bob } = await pair(network);
  await bob.listen(7);
  const connection = await network.until(alice.dial('10.0.0.2', 7));
  assert.is(alice.status().connections, 1);
  connection.abort();
  assert.is(alice.status().connections, 0);
  await network.until(connection.closed);
  assert.is(connection.closed, connection.closed);
});

test('more waiting connections than the backlog are reset', async () => {
  const network = new MemoryNetwork();
  const { alice, bob } = await pair(network);
  await bob.listen(7, { backlog: 3 });
  const dials = await network.until(Promise.allSettled(Array.from({ length: 8 }, () => alice.dial('10.0.0.2', 7))));
  await network.advance(1000);
  assert.is(dials.length, 8);
  assert.ok(bob.status().connections <= 3);
});

test('two listeners cannot share a port', async () => {
  const network = new MemoryNetwork();
  const { bob } = await pair(network);
  const listener = await bob.listen(7);
  assert.is((await rejection(bob.listen(7))).code, 'ERR_ADDRESS_IN_USE');
  listener.close();
  (await bob.listen(7)).close();
});

test('a mistake in the options throws before anything is opened, without key material', async () => {
  const network = new MemoryNetwork();
  const good: WireGuardMoteOptions = { privateKey: key(1).secret, addresses: ['10.0.0.1/24'] };
  const secretText = key(3).secret.toBase64().slice(0, 43);
  const wrong: [Partial<WireGuardMoteOptions>, RegExp][] = [
    [{ addresses: [] }, /"addresses" expected at least one/],
    [{ addresses: ['10.0.0.1/33'] }, /"addresses" expected an address/],
    [{ addresses: ['fd00::1'], mtu: 1000 }, /"mtu" expected an integer of 1280/],
    [{ listenPort: 70_000 }, /"listenPort" expected an integer of 0 to 65535/],
    [{ privateKey: secretText }, /expected/],
    [{ peers: [{ publicKey: secretText, allowedIPs: [] }] }, /"publicKey" expected the base64 of 32 bytes/],
    [{ peers: [{ publicKey: key(2).text, allowedIPs: ['10.0.0.0/99'] }] }, /"allowedIPs" expected prefixes/],
    [{ peers: [{ publicKey: key(2).text, allowedIPs: [], endpoint: 'bob' }] }, /"endpoint" expected host:port/],
    [{ hosts: { bob: 'nowhere' } }, /"hosts" expected an address/],
  ];
  for (const [change, expected] of wrong) {
    let message = '';
    try {
      await Mote.up(network.host('192.0.2.9', 9), crypto, { ...good, ...change });
    } catch (error) {
      message = (error as Error).message;
    }
    assert.match(message, expected);
    assert.not.match(message, secretText.slice(0, 20));
  }
});

test('a port that is taken outside is said to be taken', async () => {
  const network = new MemoryNetwork();
  await pair(network);
  const again = Mote.up(network.host('192.0.2.1', 5), crypto, {
    privateKey: key(5).secret,
    addresses: ['10.0.0.5/24'],
    listenPort: 1111,
  });
  assert.is((await rejection(again)).code, 'ERR_ADDRESS_IN_USE');
});

test('the name of an endpoint is resolved, tried again when it fails, and resolved anew when the peer is silent', async () => {
  const network = new MemoryNetwork();
  const events: MoteEvent[] = [];
  const names: Record<string, readonly string[]> = {};
  const host = network.host('192.0.2.1', 11, names);
  const { bob } = await pair(network);
  const carol = await Mote.up(host, crypto, {
    onEvent: event => events.push(event),
    privateKey: key(3).secret,
    addresses: ['10.0.0.3/24'],
    peers: [{ publicKey: key(2).text, endpoint: 'bob.example:2222', allowedIPs: ['10.0.0.2/32'] }],
  });
  bob.addPeer({ publicKey: key(3).text, allowedIPs: ['10.0.0.3/32'] });
  await network.advance(1000);
  assert.ok(events.some(event => event.type === 'error' && event.code === 'ERR_NAME_NOT_FOUND'));
  names['bob.example'] = ['192.0.2.99'];
  await network.advance(10_000);
  const ping = carol.ping('10.0.0.2', { timeoutMs: 200_000 });
  assert.is(carol.status().peers[0]!.endpoint, '192.0.2.99:2222');
  names['bob.example'] = ['192.0.2.2'];
  await network.advance(120_000);
  assert.ok(events.some(event => event.type === 'gave-up'));
  assert.is(carol.status().peers[0]!.endpoint, '192.0.2.2:2222');
  void ping.catch(() => undefined);
  await network.until(carol.ping('10.0.0.2'));
});

test('peers are added, changed and removed while running', async () => {
  const network = new MemoryNetwork();
  const { alice, bob } = await pair(network);
  await network.until(alice.ping('10.0.0.2'));
  alice.removePeer(key(2).text);
  assert.is((await rejection(network.until(alice.ping('10.0.0.2')))).code, 'ERR_UNREACHABLE');
  // A second initiation within 20 ms would be dropped as a flood.
  await network.advance(1000);
  alice.addPeer({ publicKey: key(2).text, allowedIPs: ['10.0.0.2/32'] });
  alice.updatePeer(key(2).text, { endpoint: '192.0.2.2:2222', persistentKeepaliveMs: 25_000 });
  await network.until(alice.ping('10.0.0.2'));
  assert.is(alice.status().peers[0]!.persistentKeepaliveMs, 25_000);
  assert.throws(
    () => alice.addPeer({ publicKey: key(2).text, allowedIPs: [] }),
    (error: Error) => error instanceof RangeError,
  );
  assert.throws(
    () => alice.removePeer(key(9).text),
    (error: Error) => error instanceof RangeError,
  );
  await bob.close();
});

test('the handshake clock is saved before the first initiation leaves, and a reboot into 1970 still connects', async () => {
  const network = new MemoryNetwork();
  const store = new MemoryStore();
  const order: string[] = [];
  network.fate = bytes => {
    if (bytes[0] === 1) order.push(store.saved.length > 0 ? 'after the save' : 'before the save');
    return { isDropped: false, delayMs: 1 };
  };
  const { alice, bob } = await pair(network, { alice: { store } });
  await network.until(alice.ping('10.0.0.2'));
  assert.equal(order, ['after the save']);
  await alice.close();
  network.unixOffsetMs = -1_700_000_000_000;
  const again = await pair(network, { alice: { store }, bob: { listenPort: 2223 } });
  await again.bob.close();
  await network.advance(1000);
  await network.until(again.alice.ping('10.0.0.2'));
  await bob.close();
});

test('a handshake clock that is damaged in the store is named, with what to do', async () => {
  for (const value of [new Uint8Array(0), new Uint8Array(12), new Uint8Array(13), new Uint8Array(13).fill(0x40)]) {
    const store = new MemoryStore();
    store.save('tai64n', value);
    const error = await rejection(pair(new MemoryNetwork(), { alice: { store } }));
    assert.is(error.code, 'ERR_STORE');
    assert.match(error.message, /"tai64n" in the store is damaged: remove it/);
  }
});

test('a store that does not save is reported, and the network goes on', async () => {
  const network = new MemoryNetwork();
  const store = new MemoryStore();
  store.save = () => {
    throw new NetError('ERR_STORE', 'the disk is full');
  };
  const { alice } = await pair(network, { alice: { store } });
  const events: MoteEvent[] = [];
  alice.on(event => events.push(event));
  await network.until(alice.ping('10.0.0.2'));
  assert.ok(events.some(event => event.type === 'error' && event.code === 'ERR_STORE'));
});

test('a closed mote refuses every call, closes what was open and falls silent', async () => {
  const network = new MemoryNetwork();
  const { alice, bob } = await pair(network);
  const listener = await alice.listen(7);
  const accepting = listener.accept();
  const socket = await alice.udp();
  const receiving = socket.receive();
  await bob.listen(9);
  const connection = await network.until(alice.dial('10.0.0.2', 9));
  await alice.close();
  await alice.close();
  assert.is(await accepting, undefined);
  assert.is(await receiving, undefined);
  await connection.closed;
  for (const call of [alice.dial('10.0.0.2', 9), alice.listen(8), alice.udp(), alice.ping('10.0.0.2')])
    assert.is((await rejection(call)).code, 'ERR_CLOSED');
  await network.advance(1000);
  await bob.close();
  const { sent } = network;
  await network.advance(600_000);
  assert.is(network.sent, sent);
});

test('status is plain data that survives JSON', async () => {
  const network = new MemoryNetwork();
  const { alice, bob } = await pair(network);
  await network.until(alice.ping('10.0.0.2'));
  const status = alice.status();
  assert.equal(JSON.parse(JSON.stringify(status)), JSON.parse(JSON.stringify(status)));
  const peer = status.peers[0]!;
  assert.is(peer.publicKey, key(2).text);
  assert.ok(peer.rxBytes > 0 && peer.txBytes > 0 && peer.lastHandshakeUnixMs! > 1_600_000_000_000);
  assert.is(bob.status().peers[0]!.endpoint, '192.0.2.1:1111');
  assert.not.match(JSON.stringify(status), key(1).secret.toBase64());
});

test('web streams carry the bytes, the end and back-pressure', async () => {
  if ((globalThis as { ReadableStream?: unknown }).ReadableStream === undefined) return;
  const network = new MemoryNetwork();
  const { alice, bob } = await pair(network);
  const listener = await bob.listen(7);
  const connection = await network.until(alice.dial('10.0.0.2', 7));
  const accepted = (await network.until(listener.accept()))!;
  void accepted.readable.pipeTo(accepted.writable);
  const writer = connection.writable.getWriter();
  void writer.write(utf8Encode('through two streams')).then(() => writer.close());
  let text = '';
  const reader = connection.readable.getReader();
  await network.until(
    (async () => {
      for (let got = await reader.read(); !got.done; got = await reader.read()) text += utf8Decode(got.value);
    })(),
  );
  assert.is(text, 'through two streams');
});

test('a handler is served and fetched through the tunnel', async () => {
  if ((globalThis as { Response?: unknown }).Response === undefined) return;
  const network = new MemoryNetwork();
  const { alice, bob } = await pair(network, { alice: { hosts: { bob: '10.0.0.2' } } });
  const server = await bob.serve(
    async (request, info) => new Response(`${request.method} ${await request.text()} from ${info.remote.address}`),
    { port: 8080 },
  );
  const response = await network.until(alice.fetch('http://bob:8080/x', { method: 'POST', body: 'hello' }));
  assert.is(response.status, 200);
  assert.is(await network.until(response.text()), 'POST hello from 10.0.0.1');
  const again = await network.until(alice.fetch('http://[fd00::2]:8080/'));
  assert.is(await network.until(again.text()), 'GET  from fd00::1');
  await network.until(server.close());
  const error = await rejection(network.until(alice.fetch('http://bob:8080/')));
  assert.is(error.code, 'ERR_CONNECTION_REFUSED');
});

test('a watcher that throws stops neither the mote nor other watchers, and the runtime hears of it', async () => {
  const network = new MemoryNetwork();
  const { alice } = await pair(network);
  const seen: string[] = [];
  alice.on(() => {
    throw new Error('a mistake of the application');
  });
  alice.on(event => void seen.push(event.type));
  const ping = alice.ping('10.0.0.2');
  const heard = await network.until(ping).catch((error: Error) => error.message);
  assert.is(heard, 'a mistake of the application');
  assert.ok((await network.until(ping)) >= 0);
  assert.equal(seen, ['handshake']);
});

test('a peer may be removed while its events wait to be told', async () => {
  const network = new MemoryNetwork();
  const { alice, bob } = await pair(network);
  const seen: string[] = [];
  bob.on(event => void seen.push(event.type));
  const ping = alice.ping('10.0.0.2', { timeoutMs: 1000 });
  let isRemoved = false;
  // In the millisecond in which the initiation arrives, between its arrival and what the driver does about it.
  const timer = network.host('192.0.2.9', 9).createTimer(() => {
    bob.removePeer(key(1).text);
    isRemoved = true;
  });
  await network.advance(0);
  timer.arm(network.nowMs + 1);
  await rejection(network.until(ping));
  assert.ok(isRemoved);
  assert.equal(seen, []);
  assert.equal(bob.status().peers, []);
});

test('a mote may be closed by its own watcher', async () => {
  const network = new MemoryNetwork();
  const { alice, bob } = await pair(network);
  bob.on(() => void bob.close());
  const dial = alice.dial('10.0.0.2', 7, { timeoutMs: 1000 });
  await rejection(network.until(dial));
  await alice.close();
  const { sent } = network;
  await network.advance(600_000);
  assert.is(network.sent, sent);
});

test('a ping that waits when the mote is closed, or that cannot leave, is rejected', async () => {
  const network = new MemoryNetwork();
  const { alice } = await pair(network, { alice: { addresses: ['10.0.0.1/24'] } });
  const ping = alice.ping('10.0.0.2');
  assert.is((await rejection(alice.ping('fd00::2'))).code, 'ERR_ADDRESS_UNAVAILABLE');
  await alice.close();
  assert.is((await rejection(network.until(ping))).code, 'ERR_CLOSED');
});

test('a name that resolves, or does not, after the mote was closed changes nothing', async () => {
  for (const isFound of [true, false]) {
    const network = new MemoryNetwork();
    let calls = 0;
    let settle = () => {};
    const seen: string[] = [];
    const host = {
      ...network.host('192.0.2.1', 11),
      resolve: () => {
        calls++;
        return new Promise<readonly string[]>((resolve, reject) => {
          settle = () => (isFound ? resolve(['192.0.2.2']) : reject(new NetError('ERR_NAME_NOT_FOUND', 'no')));
        });
      },
    };
    const mote = await Mote.up(host, crypto, {
      privateKey: key(1).secret,
      addresses: ['10.0.0.1/24'],
      peers: [{ publicKey: key(2).text, endpoint: 'bob.example:1', allowedIPs: [] }],
      onEvent: event => void seen.push(event.type),
    });
    await mote.close();
    settle();
    await network.advance(600_000);
    assert.is(calls, 1);
    assert.equal(seen, []);
  }
});

test('data that is no Uint8Array is refused before it reaches the connection', async () => {
  const network = new MemoryNetwork();
  const { alice, bob } = await pair(network);
  const listener = await bob.listen(7);
  const connection = await network.until(alice.dial('10.0.0.2', 7));
  const accepted = (await network.until(listener.accept()))!;
  const socket = await alice.udp();
  const wrong = ['text', undefined, null, [1], new ArrayBuffer(8), new Uint16Array(2), { length: 5 }, 5];
  for (const data of wrong as never[]) {
    assert.throws(() => connection.write(data), /"data" expected a Uint8Array/);
    assert.throws(() => socket.send(data, { address: '10.0.0.2', port: 9 }), /"data" expected a Uint8Array/);
  }
  await connection.write(Uint8Array.of(7));
  assert.equal(await network.until(accepted.read()), Uint8Array.of(7));
});

test('a datagram to port 0, from which some come that want no answer, is dropped', async () => {
  const network = new MemoryNetwork();
  const { alice } = await pair(network);
  const socket = await alice.udp();
  assert.is(socket.send(Uint8Array.of(1), { address: '10.0.0.2', port: 0 }), false);
});

test('a peer is changed wholly or not at all', async () => {
  const network = new MemoryNetwork();
  const { alice } = await pair(network);
  const changes = { allowedIPs: ['10.9.0.0/16'], endpoint: 'no port' };
  assert.throws(() => alice.updatePeer(key(2).text, changes), /"endpoint" expected host:port/);
  assert.equal(alice.status().peers[0]!.allowedIPs, ['10.0.0.2/32', 'fd00::2/128']);
});

test('wrong types are named at once, and leave nothing behind', async () => {
  const network = new MemoryNetwork();
  const up = async (changes: object) => {
    const options = { privateKey: key(1).secret, addresses: ['10.0.0.1/24'], ...changes } as MoteOptions;
    const error = await Mote.up(network.host('192.0.2.1', 11), crypto, options).catch((cause: Error) => cause);
    return `${(error as Error).name}: ${(error as Error).message}`;
  };
  assert.match(await up({ privateKey: undefined }), /^TypeError: "privateKey" expected/);
  assert.match(await up({ peers: [null] }), /^TypeError: "peers" expected objects, got null/);
  assert.match(await up({ hosts: { a: 5 } }), /^RangeError: "hosts" expected/);
  assert.match(await up({ onEvent: 5 }), /^TypeError: "onEvent" expected a function/);
  const { alice } = await pair(network);
  assert.throws(() => alice.on(undefined as never), /"watcher" expected a function/);
  for (const options of [{ signal: {} }, { timeoutMs: Number.NaN }, { timeoutMs: -1 }, { timeoutMs: '5' }]) {
    const error = await alice.dial('10.0.0.2', 7, options as never).catch((cause: Error) => cause);
    assert.match((error as Error).message, /"signal\.|"timeoutMs" expected/);
  }
  const error = await alice.ping('10.0.0.2', { timeoutMs: Number.NaN }).catch((cause: Error) => cause);
  assert.match((error as Error).message, /"timeoutMs" expected/);
  assert.is(alice.status().connections, 0);
});

test('a private key that came as text is erased when the mote closes, one that is lent is not', async () => {
  for (const isText of [true, false]) {
    const network = new MemoryNetwork();
    const { secret } = key(1);
    const copies: Uint8Array[] = [];
    const watching = Object.assign(createNobleSuite(), {
      publicKey: (out: Uint8Array, bytes: Uint8Array) => {
        copies.push(bytes);
        crypto.publicKey(out, bytes);
      },
    });
    const privateKey = isText ? secret.toBase64() : secret;
    const mote = await Mote.up(network.host('192.0.2.1', 11), watching, { privateKey, addresses: ['10.0.0.1/24'] });
    assert.equal(copies[0], secret.bytes);
    await mote.close();
    assert.is(
      copies[0]!.every(byte => byte === 0),
      isText,
    );
  }
});

/** An ICMP unreachable of 10.0.0.`from` to 10.0.0.2, about an echo request (id 0) to 10.0.0.`about`. */
function unreachable(from: number, about: number, sequence: number): Uint8Array {
  const out = new Uint8Array(56);
  const ip = (at: number, source: number, destination: number, bytes: number) => {
    out.set([0x45, 0, 0, bytes, 0, 0, 0, 0, 64, 1, 0, 0, 10, 0, 0, source, 10, 0, 0, destination], at);
    writeU16BE(out, at + 10, foldChecksum(sumBytes(out, at, at + 20)));
  };
  ip(28, 2, about, 28);
  out.set([8, 0, 0, 0, 0, 0, 0, sequence], 48);
  out.set([3, 1], 20);
  writeU16BE(out, 22, foldChecksum(sumBytes(out, 20, 56)));
  ip(0, from, 2, 56);
  return out;
}

test('a peer is not believed about packets that went to another peer', async () => {
  const network = new MemoryNetwork();
  const mallory = key(3);
  const { bob } = await pair(network);
  bob.addPeer({ publicKey: mallory.text, allowedIPs: ['10.0.0.3/32', '10.0.0.4/32'], endpoint: '192.0.2.3:3333' });
  bob.updatePeer(key(1).text, { endpoint: '192.0.2.77:7' });
  for (const [about, code] of [
    [1, 'ERR_TIMED_OUT'],
    [4, 'ERR_UNREACHABLE'],
  ] as const) {
    const tunnel = new Tunnel({
      nowMs: network.nowMs,
      unixMs: 1_700_000_000_000 + network.nowMs,
      random: seededRandom(about),
      suite: crypto,
      privateKey: mallory.secret,
    });
    const publicKey = fromBase64(bob.publicKey)!;
    const endpoint = { address: '192.0.2.2', port: 2222 };
    tunnel.addPeer(network.nowMs, { publicKey, endpoint, allowedIPs: [parsePrefix('10.0.0.0/24')!] });
    const slot = new Slot(2048);
    const flush = () => {
      while (tunnel.pollTransmit(network.nowMs, slot)) socket.send(slot.buf, slot.start, slot.end, endpoint);
    };
    const socket = await network.host('192.0.2.3', 33).openDatagrams(
      { port: 3333 },
      {
        failed: () => undefined,
        datagram: (buf, start, end, from) => {
          tunnel.decapsulate(network.nowMs, buf, start, end, from);
          flush();
        },
      },
    );
    const ping = bob.ping(`10.0.0.${about}`, { timeoutMs: 1000 });
    // No luck is needed: the numbers of pings count up from 1.
    const forged = unreachable(3, about, about === 1 ? 1 : 2);
    slot.reset();
    slot.buf.set(forged, slot.start);
    slot.end = slot.start + forged.length;
    tunnel.encapsulate(network.nowMs, slot);
    flush();
    assert.is((await rejection(network.until(ping))).code, code);
    socket.close();
  }
});

test.run();
