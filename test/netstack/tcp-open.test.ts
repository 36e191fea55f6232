/** How connections begin (RFC 9293 §3.5, §3.10.7.2, §3.10.7.3). */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { NetError } from '../../lib/base/errors.ts';
import { IpPath } from '../../lib/netstack/path.ts';
import { accepted, modern, plain, Script } from './tcp-script.ts';
import { CLIENT, Host, SERVER, World } from './tcp-world.ts';

const test = suite('tcp open');

/** A machine that listens, with a scripted peer. */
function listening(options: ConstructorParameters<typeof Script>[0] = {}, backlog?: number): Script {
  const script = new Script(options);
  script.tcp.listen(script.localPort, backlog === undefined ? {} : { backlog });
  return script;
}

test('an active open sends a SYN with all options', () => {
  const script = new Script().connect();
  const syn = script.poll()!;
  assert.is(syn.flags, 'S');
  assert.is(syn.mss, 1000);
  assert.is(syn.ws, 7);
  assert.is(syn.window, 65_535);
  assert.ok(syn.sackOK);
  assert.is.not(syn.ts, 'no');
  script.run('> nothing', 'state SYN-SENT');
});

test('a build without SACK does not offer it', () => {
  assert.not(new Script({ hasSack: false }).connect().poll()!.sackOK);
});

test('the MSS offered is the MTU without the headers of the family', () => {
  assert.is(new Script({ mtu: 1420 }).connect().poll()!.mss, 1380);
  assert.is(new Script({ mtu: 1420, family: 6 }).connect().poll()!.mss, 1360);
});

test('a SYN-ACK is answered with an ACK and establishes', () => {
  modern().run('state ESTABLISHED', '> nothing');
});

test('a passive open answers with SYN-ACK and is announced when the ACK arrives', () => {
  listening().run(
    '< S 0 mss 1000 sackOK ts 1 0 ws 7',
    '> SA 0 ack 1 mss 1000 ws 7 sackOK',
    '> nothing',
    '< A 1 ack 1',
    'ready accepted',
    'state ESTABLISHED',
    '> nothing',
  );
});

test('a SYN-ACK offers only what the SYN offered', () => {
  const script = listening();
  script.run('< S 0 mss 1000');
  const reply = script.poll()!;
  assert.is(reply.ws, -1);
  assert.is(reply.ts, 'no');
  assert.not(reply.sackOK);
});

test('IPv6 works the same', () => {
  accepted({ family: 6, mtu: 1280 }).run('write 100', '> A 1 ack 1 len 100', '< A 1 ack 101', '> nothing');
});

test('a window of a SYN is not scaled, one of any other segment is', () => {
  const script = new Script().connect();
  script.run('> S 0', '< SA 0 ack 1 win 1000 mss 1000 ws 7', '> A 1');
  assert.is(script.connection!.info().sendWindowBytes, 1000);
  script.run('< A 1 ack 1 win 1000');
  assert.is(script.connection!.info().sendWindowBytes, 128_000);
});

test('without the option on both sides no window is scaled', () => {
  const script = plain();
  script.run('< A 1 ack 1 win 1000');
  assert.is(script.connection!.info().sendWindowBytes, 1000);
});

test('a peer that names no MSS gets 536 bytes at most over IPv4 and 1220 over IPv6', () => {
  for (const [family, mss] of [
    [4, 536],
    [6, 1220],
  ] as const) {
    const script = new Script({ family, mtu: 1420, hasSack: false }).connect();
    script.run('> S 0', '< SA 0 ack 1', '> A 1', 'write 2000', `> A 1 len ${mss}`);
  }
});

test('a peer cannot push the segment size below 48 bytes', () => {
  const script = new Script({ hasSack: false }).connect();
  script.run('> S 0', '< SA 0 ack 1 mss 1', '> A 1', 'write 100', '> A 1 len 48');
});

test('a lost SYN is sent again after 1, 3 and 7 seconds', () => {
  const script = new Script().connect();
  script.run('> S 0', '+ 999', '> nothing', '+ 1', '> S 0', '+ 1999', '> nothing', '+ 1', '> S 0', '+ 3999');
  script.run('> nothing', '+ 1', '> S 0', '< SA 0 ack 1 mss 1000', '> A 1', 'state ESTABLISHED');
});

test('an unanswered SYN gives up after three minutes', () => {
  const script = new Script().connect();
  script.run(
    '> S 0',
    '+ 182999',
    'state SYN-SENT',
    'ready none',
    '+ 1',
    'state CLOSED',
    'ready closed',
    'error ERR_TIMED_OUT',
  );
  assert.is(script.tcp.connectionCount, 0);
  assert.is(script.tcp.nextTimeout(), Infinity);
});

test('after a lost SYN the first timeout is three seconds', () => {
  const script = new Script({ hasSack: false }).connect();
  script.run('> S 0', '+ 1000', '> S 0', '+ 100', '< SA 0 ack 1 mss 1000', '> A 1', 'write 10', '> A 1 len 10');
  script.run('+ 2999', '> nothing', '+ 1', '> A 1 len 10');
});

test('with timestamps a lost SYN does not keep the handshake from being measured', () => {
  const script = new Script({ hasSack: false }).connect();
  script.run('> S 0', '+ 1000', '> S 0', '+ 100', '< SA 0 ack 1 mss 1000 ts now last', '> A 1');
  assert.is(script.connection!.info().rttMs, 100);
});

test('after two lost SYNs the sender starts with one segment', () => {
  const script = new Script().connect();
  script.run('> S 0', '+ 1000', '> S 0', '+ 2000', '> S 0', '< SA 0 ack 1 mss 1000', '> A 1', 'write 3000');
  script.run('> A 1 len 1000', '> nothing');
});

test('an open without loss starts with ten segments', () => {
  const script = plain().run('write 12000');
  assert.is(script.pollAll().length, 10);
});

test('a reset that acknowledges the SYN refuses the connection', () => {
  const script = new Script().connect().run('> S 0', '< RA 0 ack 1');
  script.run('state CLOSED', 'error ERR_CONNECTION_REFUSED', 'ready closed', '> nothing');
  assert.is(script.tcp.connectionCount, 0);
});

test('a reset without acknowledgment does not refuse the connection', () => {
  new Script().connect().run('> S 0', '< R 0', 'state SYN-SENT', 'drop tcp-bad-reset 1', '> nothing');
});

test('a reset with a wrong acknowledgment does not refuse the connection, and is not answered', () => {
  const script = new Script().connect().run('> S 0');
  for (const ack of [0, 2, -5, 70_000]) script.run(`< RA 0 ack ${ack}`, 'state SYN-SENT', '> nothing');
});

test('a SYN-ACK with a wrong acknowledgment is refused with a reset, and the open goes on', () => {
  const script = new Script().connect();
  script.run('> S 0', '< SA 0 ack 2', '> R 2', '< SA 0 ack 0', '> R 0', 'state SYN-SENT', 'drop tcp-bad-ack 2');
  script.run('< SA 0 ack 1', '> A 1', 'state ESTABLISHED');
});

test('a segment without SYN does not establish', () => {
  new Script().connect().run('> S 0', '< A 1 ack 1', 'state SYN-SENT', 'drop tcp-bad-state 1', '> nothing');
});

test('both sides may open at once', () => {
  new Script()
    .connect()
    .run(
      '> S 0',
      '< S 0 mss 1000 sackOK ts 5 0 ws 7',
      'state SYN-RECEIVED',
      '> SA 0 ack 1 sackOK',
      '< SA 0 ack 1 ts 6 last mss 1000 ws 7',
      'state ESTABLISHED',
      'ready connected',
      '> A 1 ack 1',
    );
});

test('in a simultaneous open a plain ACK establishes as well', () => {
  new Script()
    .connect()
    .run('> S 0', '< S 0 mss 1000', '> SA 0 ack 1', '< A 1 ack 1', 'state ESTABLISHED', 'ready connected');
});

test('a reset in a simultaneous open refuses the connection', () => {
  new Script().connect().run('> S 0', '< S 0', '> SA 0', '< R 1', 'state CLOSED', 'error ERR_CONNECTION_REFUSED');
});

test('two machines that open towards each other end up with one connection', () => {
  const world = new World({ link: { delayMs: 10 } });
  const near = world.client.tcp.connect(world.nowMs, world.client.pathTo(SERVER), 2000, 1000);
  const far = world.server.tcp.connect(world.nowMs, world.server.pathTo(CLIENT), 1000, 2000);
  world.runFor(100);
  assert.is(near.state, 'ESTABLISHED');
  assert.is(far.state, 'ESTABLISHED');
  near.write(world.nowMs, Uint8Array.of(1, 2, 3), 0, 3);
  world.runFor(100);
  assert.is(far.readableBytes, 3);
});

test('a repeated SYN is answered with the same SYN-ACK', () => {
  const script = listening().run('< S 0 mss 1000', '> SA 0 ack 1', '< S 0 mss 1000', '> SA 0 ack 1', '> nothing');
  assert.is(script.tcp.halfOpenCount, 1);
});

test('a SYN-ACK is sent again after 1, 3, 7, 15 and 31 seconds, then the half-open connection is forgotten', () => {
  const script = listening().run('< S 0 mss 1000', '> SA 0 ack 1');
  for (const wait of [1000, 2000, 4000, 8000, 16_000])
    script.run(`+ ${wait - 1}`, '> nothing', '+ 1', '> SA 0 ack 1', '> nothing');
  script.run('+ 31999');
  assert.is(script.tcp.halfOpenCount, 1);
  script.run('+ 1', '> nothing');
  assert.is(script.tcp.halfOpenCount, 0);
  assert.is(script.tcp.connectionCount, 0);
  assert.is(script.connection, undefined, 'nobody was told');
});

test('a reset forgets a half-open connection without a word', () => {
  const script = listening().run('< S 0', '> SA 0', '< R 1', '> nothing');
  assert.is(script.tcp.connectionCount, 0);
  assert.is(script.connection, undefined);
});

test('an acknowledgment of a SYN-ACK that was never sent is refused with a reset', () => {
  const script = listening().run('< S 0', '> SA 0', '< A 1 ack 2', '> R 2', 'drop tcp-bad-ack 1');
  assert.is(script.tcp.halfOpenCount, 1);
  script.run('< A 1 ack 1', 'state ESTABLISHED');
});

test('the acknowledgment of the SYN-ACK may bring data and FIN', () => {
  const script = listening().run('< S 0', '> SA 0', '< FA 1 ack 1 len 10', 'state CLOSE-WAIT');
  script.run('ready accepted readable ended', 'read 10', '> A 1 ack 12');
});

test('data of a SYN is not taken, but asked for again', () => {
  listening().run('< S 0 len 10', '> SA 0 ack 1', '< A 1 ack 1 len 10', '> A 1 ack 11', 'read 10');
});

test('a SYN with FIN opens nothing', () => {
  const script = listening().run('< SF 0', '> nothing', 'drop tcp-malformed 1');
  assert.is(script.tcp.connectionCount, 0);
});

test('what was written before the connection is established leaves when it is', () => {
  const script = new Script().connect().run('write 10', '> S 0', '> nothing', '< SA 0 ack 1', '> A 1 ack 1 len 10');
  script.run('> nothing', 'ready connected');
});

test('an end before the connection is established follows what was written', () => {
  const script = new Script().connect().run('write 10', 'shutdown', '> S 0', '< SA 0 ack 1');
  script.run('state FIN-WAIT-1', '> FA 1 ack 1 len 10');
});

test('closing while connecting forgets the connection', () => {
  const script = new Script().connect().run('> S 0', 'close', 'state CLOSED', 'error ERR_ABORTED', '> nothing');
  script.run('< SA 0 ack 1', '> R 1');
  assert.is(script.tcp.connectionCount, 0);
});

test('a segment for a port where nobody listens is refused', () => {
  const script = new Script();
  script.run('< S 0 len 5 to 81', '> RA 0 ack 6', '< A 7 ack 9 to 81', '> R', '< R 0 to 81', '> nothing');
  script.run('drop tcp-no-connection 3');
});

test('an ACK for a listener is refused, a reset is ignored', () => {
  listening().run('< A 7 ack 9', '> R', '< R 7', '< RA 7 ack 1', '> nothing', 'drop tcp-no-connection 3');
});

test('the refusal of a SYN has sequence number zero, and that of an ACK the number it asked for', () => {
  const script = new Script();
  script.inject('S 0');
  const refusal = script.poll()!;
  assert.is(refusal.seq, 0, 'absolute, for nothing was learned yet');
  assert.is(refusal.ack, 1);
});

test('resets that wait to be sent are bounded', () => {
  const script = new Script({ limits: { replies: 3 } });
  for (let i = 0; i < 5; i++) script.inject('S 0');
  assert.is(script.pollAll().length, 3);
  script.run('drop tcp-limit 2');
});

test('a listener on one address does not take segments for another', () => {
  const script = new Script();
  script.tcp.listen(80, { address: Uint8Array.of(10, 0, 0, 9) });
  script.run('< S 0', '> RA 0');
  script.tcp.listen(80, { address: script.us });
  script.run('< S 0', '> SA 0');
});

test('a listener on the exact address comes before one on all', () => {
  const script = new Script();
  const any = script.tcp.listen(80);
  const exact = script.tcp.listen(80, { address: script.us });
  script.run('< S 0', '> SA 0', '< A 1 ack 1');
  assert.is(script.connection!.listener, exact);
  assert.is.not(script.connection!.listener, any);
});

test('a port is listened on once per address', () => {
  const script = new Script();
  script.tcp.listen(80);
  assert.throws(
    () => script.tcp.listen(80),
    (error: unknown) => error instanceof NetError && error.code === 'ERR_ADDRESS_IN_USE',
  );
  const one = script.tcp.listen(80, { address: script.us });
  assert.throws(() => script.tcp.listen(80, { address: script.us.slice() }), /has a listener/);
  one.close();
  script.tcp.listen(80, { address: script.us });
});

test('port 0 listens on a free port of the upper half', () => {
  const script = new Script();
  const ports = new Set(Array.from({ length: 50 }, () => script.tcp.listen(0).port));
  assert.is(ports.size, 50);
  for (const port of ports) assert.ok(port >= 32_768 && port <= 65_535);
});

test('ports that are none are a mistake of the caller', () => {
  const script = new Script();
  const path = new IpPath(script.us, script.peer, 1000);
  for (const port of [-1, 65_536, 1.5, Number.NaN]) {
    assert.throws(() => script.tcp.listen(port), /"port" expected/);
    assert.throws(() => script.tcp.connect(0, path, port), /"remotePort" expected/);
    assert.throws(() => script.tcp.connect(0, path, 80, port), /"localPort" expected/);
  }
  assert.throws(() => script.tcp.connect(0, path, 0), /"remotePort" expected/);
});

test('a closed listener refuses, resets what is half open, and leaves what it accepted', () => {
  const script = new Script();
  const listener = script.tcp.listen(80);
  script.run('< S 0', '> SA 0', '< A 1 ack 1', '< S 0 from 5001', '> SA');
  listener.close();
  listener.close();
  script.run('> RA', '< S 0 from 5002', '> RA', 'state ESTABLISHED', 'write 5', '> A 1 len 5');
});

test('a full backlog of half-open connections drops the oldest', () => {
  const script = listening({}, 3);
  for (let port = 5000; port < 5010; port++) script.run(`< S 0 from ${port}`, '> SA');
  assert.is(script.tcp.halfOpenCount, 3);
  script.run('drop tcp-backlog-full 7', '< A 1 ack 1 from 5009');
  assert.is(script.connection, undefined, 'its acknowledgment is of another sequence number');
});

test('half-open connections are bounded over all listeners', () => {
  const script = new Script({ limits: { halfOpen: 4, backlog: 100 } });
  for (let port = 80; port < 90; port++) script.tcp.listen(port);
  for (let port = 80; port < 90; port++) script.run(`< S 0 to ${port}`, '> SA');
  assert.is(script.tcp.halfOpenCount, 4);
  assert.is(script.tcp.connectionCount, 4);
});

test('a client gets through a flood of SYNs if it answers before its place is needed', () => {
  const world = new World({ link: { delayMs: 5 }, server: { limits: { halfOpen: 64, backlog: 64 } } });
  world.server.tcp.listen(80);
  const flood = new Script({ mtu: 1040 });
  flood.connect();
  const near = world.connect(80);
  // 5,000 SYNs per second against 64 places: a place lasts 12.8 ms, the client's round trip is 10 ms.
  for (let i = 0; i < 200 && near.state !== 'ESTABLISHED'; i++) {
    world.runFor(0.2);
    const packet = flood.build(`S 0 from ${10_000 + i}`);
    packet.set([10, 0, 0, 77], 12);
    rechecksum(packet);
    world.server.receive(world.nowMs, packet);
    world.server.drainTransmits(world.nowMs, world.down);
  }
  world.runFor(50);
  assert.is(world.server.accepted.length, 1);
  assert.ok(world.server.tcp.halfOpenCount <= 64);
});

test('connections that nobody polled for fill the backlog, and then SYNs are dropped', () => {
  const host = new Host(0, SERVER);
  host.tcp.listen(80, { backlog: 2 });
  const clients = new Host(0, CLIENT, { seed: 9 });
  const connections = Array.from({ length: 2 }, () => clients.tcp.connect(0, clients.pathTo(SERVER), 80));
  const exchange = (now: number) => {
    for (const [from, to] of [
      [clients, host],
      [host, clients],
      [clients, host],
    ] as const) {
      for (from.slot.reset(); from.tcp.pollTransmit(now, from.slot); from.slot.reset())
        to.receive(now, from.slot.buf.slice(from.slot.start, from.slot.end));
    }
  };
  exchange(0);
  for (const { state } of connections) assert.is(state, 'ESTABLISHED');
  const late = clients.tcp.connect(0, clients.pathTo(SERVER), 80);
  exchange(0);
  assert.is(late.state, 'SYN-SENT');
  assert.is(host.drops.get('tcp-backlog-full') > 0, true);
  host.drainEvents(0);
  clients.tcp.handleTimeout(1000);
  exchange(1000);
  assert.is(late.state, 'ESTABLISHED');
});

test('a paused listener drops SYNs without an answer', () => {
  const script = new Script();
  const listener = script.tcp.listen(80);
  listener.isPaused = true;
  script.run('< S 0', '> nothing', 'drop tcp-backlog-full 1');
  listener.isPaused = false;
  script.run('< S 0', '> SA 0');
});

test('connections are bounded, and opening one more says so', () => {
  const script = new Script({ limits: { connections: 3 } });
  script.tcp.listen(80);
  const path = new IpPath(script.us, script.peer, 1000);
  for (let port = 1; port <= 3; port++) script.tcp.connect(script.nowMs, path, port);
  assert.throws(
    () => script.tcp.connect(script.nowMs, path, 4),
    (error: unknown) => error instanceof NetError && error.code === 'ERR_LIMIT',
  );
  script.pollAll();
  script.run('< S 0', '> nothing', 'drop tcp-limit 1');
  assert.is(script.tcp.connectionCount, 3);
});

test('a four-tuple is used once', () => {
  const script = new Script().connect();
  const path = new IpPath(script.us, script.peer, 1000);
  const again = () => script.tcp.connect(script.nowMs, path, script.remotePort, script.localPort);
  assert.throws(again, (error: unknown) => error instanceof NetError && error.code === 'ERR_ADDRESS_IN_USE');
  script.tcp.connect(script.nowMs, path, script.remotePort + 1, script.localPort);
});

test('ephemeral ports differ per connection, stay in the upper half, and miss listeners', () => {
  const script = new Script();
  const path = new IpPath(script.us, script.peer, 1000);
  const ports = new Set<number>();
  for (let i = 0; i < 300; i++) ports.add(script.tcp.connect(script.nowMs, path, 80).localPort);
  assert.is(ports.size, 300);
  for (const port of ports) assert.ok(port >= 32_768);
});

test('ephemeral ports towards one destination say nothing about those towards another', () => {
  const differences = new Set<number>();
  for (let seed = 1; seed <= 20; seed++) {
    const script = new Script({ seed });
    const first = script.tcp.connect(0, new IpPath(script.us, script.peer, 1000), 80).localPort;
    const second = script.tcp.connect(0, new IpPath(script.us, Uint8Array.of(10, 0, 0, 3), 1000), 80).localPort;
    differences.add(second - first);
  }
  assert.ok(differences.size >= 18, `${differences.size} different distances in 20 machines`);
});

test('initial sequence numbers depend on the connection and on a secret, and rise with time', () => {
  const isn = (seed: number, port: number, nowMs: number) => {
    const script = new Script({ seed, startMs: nowMs, remotePort: port });
    return script.connect().connection!.iss;
  };
  assert.is(isn(1, 80, 0), isn(1, 80, 0), 'the same inputs give the same number');
  assert.is((isn(1, 80, 1000) - isn(1, 80, 0)) | 0, 250_000, 'a clock of four microseconds');
  const byPort = new Set(Array.from({ length: 64 }, (_, i) => isn(1, 80 + i, 0) >>> 24));
  assert.ok(byPort.size > 40, 'neighbouring ports are far apart');
  const bySecret = new Set(Array.from({ length: 64 }, (_, i) => isn(i + 1, 80, 0) >>> 24));
  assert.ok(bySecret.size > 40, 'other machines are far apart');
  const steps = new Set(Array.from({ length: 16 }, (_, i) => (isn(1, 81 + i, 0) - isn(1, 80 + i, 0)) | 0));
  assert.is(steps.size, 16, 'the distance between ports is no constant');
});

test('timestamps of different connections have different offsets', () => {
  const script = new Script();
  const path = new IpPath(script.us, script.peer, 1000);
  const offsets = new Set(Array.from({ length: 32 }, (_, i) => script.tcp.connect(0, path, i + 1).tsOffset >>> 24));
  assert.ok(offsets.size > 20);
});

test('a generator that fails lets no machine come into being', () => {
  const random = () => {
    throw new Error('no entropy');
  };
  assert.throws(() => new Host(0, CLIENT, { random }), /no entropy/);
});

/** Puts right checksums into a packet whose addresses were changed. */
function rechecksum(packet: Uint8Array): void {
  let sum = 6 + packet.length - 20;
  packet[36] = packet[37] = 0;
  for (let i = 12; i < packet.length; i += 2) sum += (packet[i]! << 8) | (packet[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  packet[36] = (~sum >> 8) & 0xff;
  packet[37] = ~sum & 0xff;
}

test.run();
