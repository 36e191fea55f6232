/** How connections end, and how silent ones are noticed (RFC 9293 §3.5, §3.6, §3.8.3, §3.8.4; RFC 1337, RFC 6191). */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { accepted, modern, plain, Script } from './tcp-script.ts';

const test = suite('tcp close');

test('this side closes first: FIN-WAIT-1, FIN-WAIT-2, TIME-WAIT', () => {
  plain().run(
    'shutdown',
    'state FIN-WAIT-1',
    '> FA 1 ack 1',
    '< A 1 ack 2',
    'state FIN-WAIT-2',
    'ready none',
    '< FA 1 ack 2',
    'state TIME-WAIT',
    '> A 2 ack 2',
    'ready ended closed',
    'error none',
  );
});

test('the peer closes first: CLOSE-WAIT, LAST-ACK, CLOSED', () => {
  const script = plain().run(
    '< FA 1 ack 1',
    'state CLOSE-WAIT',
    'ready ended',
    '> A 1 ack 2',
    'shutdown',
    'state LAST-ACK',
    '> FA 1 ack 2',
    '< A 2 ack 2',
    'state CLOSED',
    'ready closed',
    'error none',
    '> nothing',
  );
  assert.is(script.tcp.connectionCount, 0);
  assert.is(script.tcp.nextTimeout(), Infinity);
});

test('both close at once: CLOSING, TIME-WAIT', () => {
  plain().run(
    'shutdown',
    '> FA 1 ack 1',
    '< FA 1 ack 1',
    'state CLOSING',
    '> A 2 ack 2',
    '< A 2 ack 2',
    'state TIME-WAIT',
    'ready ended closed',
  );
});

test('a FIN that acknowledges ours leads from FIN-WAIT-1 straight to TIME-WAIT', () => {
  plain().run('shutdown', '> FA 1', '< FA 1 ack 2', 'state TIME-WAIT', '> A 2 ack 2');
});

test('FIN follows everything that was written', () => {
  const script = plain().run('write 2500', 'shutdown', '> A 1 len 1000', '> A 1001 len 1000', '> FA 2001 len 500');
  script.run('> nothing', '< A 1 ack 2501', 'state FIN-WAIT-1', '< A 1 ack 2502', 'state FIN-WAIT-2');
});

test('FIN waits for the window like a byte, and is the probe of a shut window', () => {
  const script = plain().run('< A 1 ack 1 win 100', 'write 100', 'shutdown', '> A 1 len 100', '< A 1 ack 101 win 0');
  script.run('> nothing', '+ 337', '> nothing', '+ 1', '> FA 101', '< A 1 ack 102 win 0', 'state FIN-WAIT-2');
});

test('after a half close data still comes in', () => {
  const script = plain().run('shutdown', '> FA 1', '< A 1 ack 2', '< A 1 ack 2 len 100', 'ready readable');
  script.run('read 100', '> A 2 ack 101', '< FA 101 ack 2', '> A 2 ack 102', 'state TIME-WAIT');
});

test("after the peer's half close data still goes out", () => {
  const script = plain().run('< FA 1 ack 1', '> A 1 ack 2', 'write 1500', '> A 1 len 1000', '> A 1001 len 500');
  script.run('< A 2 ack 1501', 'shutdown', '> FA 1501', '< A 2 ack 1502', 'state CLOSED');
});

test('a FIN that comes before missing data waits for it', () => {
  const script = plain().run('< FA 101 ack 1 len 50', '> A 1 ack 1', 'state ESTABLISHED', 'ready none');
  script.run('< A 1 ack 1 len 100', 'state CLOSE-WAIT', '> A 1 ack 152', 'read 150', 'ready readable ended');
});

test('a bare FIN that comes early waits as well', () => {
  plain().run(
    '< FA 101 ack 1',
    '> nothing',
    'state ESTABLISHED',
    '< A 1 ack 1 len 100',
    'state CLOSE-WAIT',
    '> A 1 ack 102',
  );
});

test('isEnded holds once everything has been read', () => {
  const script = plain().run('< FA 1 ack 1 len 10');
  assert.not(script.connection!.isEnded);
  script.run('read 10');
  assert.ok(script.connection!.isEnded);
});

test('what was received can be read after the connection is gone', () => {
  const script = plain().run(
    '< FA 1 ack 1 len 10',
    '> A',
    'shutdown',
    '> FA',
    '< A 12 ack 2',
    'state CLOSED',
    'read 10',
  );
  assert.is(script.connection!.info().ringBytes, 0);
  assert.is(script.tcp.budget.usedBytes, 0);
});

test('what was received before a reset can be read after it', () => {
  plain().run('< A 1 ack 1 len 10', '< R 11', 'state CLOSED', 'error ERR_CONNECTION_RESET', 'read 10', 'read 1 0');
});

test('nothing can be written after the end', () => {
  plain().run('shutdown', 'write 5 0', 'shutdown', '> FA 1', '> nothing');
  plain().run('< R 1', 'write 5 0');
  const script = plain().run('abort');
  assert.is(script.connection!.writableBytes, 0);
});

test('a lost FIN is sent again', () => {
  plain().run(
    'shutdown',
    '> FA 1',
    '+ 300',
    '> FA 1',
    '+ 600',
    '> FA 1',
    '< A 1 ack 2',
    'state FIN-WAIT-2',
    '> nothing',
  );
});

test('TIME-WAIT answers a repeated FIN and starts over', () => {
  const script = plain({ limits: { timeWaitMs: 60_000 } }).run('shutdown', '> FA', '< FA 1 ack 2', '> A 2 ack 2');
  script.run(
    '+ 59999',
    '< FA 1 ack 2',
    '> A 2 ack 2',
    '+ 59999',
    'state TIME-WAIT',
    '+ 1',
    'state CLOSED',
    'ready ended closed',
  );
  assert.is(script.tcp.connectionCount, 0);
  assert.is(script.tcp.timeWaitCount, 0);
  assert.is(script.tcp.nextTimeout(), Infinity);
});

test('TIME-WAIT ends after its time and not before', () => {
  const script = plain({ limits: { timeWaitMs: 1000 } }).run('shutdown', '> FA', '< FA 1 ack 2', '> A', '+ 999');
  script.run('state TIME-WAIT', '+ 1', 'state CLOSED', '> nothing');
});

test('a reset does not cut TIME-WAIT short', () => {
  plain().run(
    'shutdown',
    '> FA',
    '< FA 1 ack 2',
    '> A',
    '< R 2',
    'state TIME-WAIT',
    '> nothing',
    'drop tcp-bad-reset 1',
  );
});

test('TIME-WAIT is bounded: the oldest goes first', () => {
  const script = new Script({ limits: { timeWait: 3 } });
  script.tcp.listen(80);
  for (let port = 1; port <= 5; port++) {
    script.run(`< S 0 from ${port}`);
    const iss = script.tcp.connections()[Symbol.iterator]().next().value!;
    assert.ok(iss);
    const reply = script.poll()!;
    const at = reply.seq + 1;
    script.run(
      `< A 1 ack ${at} from ${port}`,
      'shutdown',
      '> FA',
      `< FA 1 ack ${at + 1} from ${port}`,
      '> A',
      'state TIME-WAIT',
    );
  }
  assert.is(script.tcp.timeWaitCount, 3);
  assert.is(script.tcp.connectionCount, 3);
  assert.equal([...script.tcp.connections()], []);
  for (const [port, flags] of [
    [2, 'R'],
    [3, 'A'],
    [5, 'A'],
  ] as const) {
    script.run(`< FA 1 ack 2 from ${port}`);
    assert.is(script.poll()!.flags, flags, `port ${port}`);
  }
});

test('a SYN that the listener does not take leaves TIME-WAIT as it is', () => {
  const script = new Script({ hasSack: false });
  const listener = script.tcp.listen(80);
  script.run('< S 0', '> SA 0', '< A 1 ack 1', 'shutdown', '> FA', '< FA 1 ack 2', '> A', 'state TIME-WAIT');
  listener.isPaused = true;
  script.run('< S 100000', '> nothing', 'drop tcp-backlog-full 1', 'state TIME-WAIT');
  listener.isPaused = false;
  script.run('< SF 100000', '> nothing', 'drop tcp-malformed 1', 'state TIME-WAIT', '< S 100000', '> SA');
  assert.is(script.tcp.timeWaitCount, 0);
});

test('waits end in the order in which they began or began anew, whichever ends early', () => {
  const script = new Script({ limits: { timeWaitMs: 1000 }, hasSack: false });
  script.tcp.listen(80);
  for (let port = 1; port <= 5; port++) {
    script.run(`< S 0 from ${port}`);
    const at = script.poll()!.seq + 1;
    script.run(`< A 1 ack ${at} from ${port}`, 'shutdown', '> FA', `< FA 1 ack ${at + 1} from ${port}`, '> A', '+ 1');
  }
  const end = script.tcp.nextTimeout();
  // The first and the third start over, a new connection takes the place of the fifth, then of the second.
  script.run('< FA 1 ack 1 from 1', '> A', '< FA 1 ack 1 from 3', '> A', '< S 100000 from 5', '> SA');
  assert.is(script.tcp.timeWaitCount, 4);
  assert.is(script.tcp.nextTimeout(), end + 1);
  script.run('< S 100000 from 2', '> SA');
  assert.is(script.tcp.nextTimeout(), end + 3);
  script.tcp.handleTimeout(end + 3);
  assert.is(script.tcp.timeWaitCount, 2);
  script.tcp.handleTimeout(end + 4);
  assert.is(script.tcp.timeWaitCount, 2);
  script.tcp.handleTimeout(end + 5);
  assert.is(script.tcp.timeWaitCount, 0);
});

/** A connection from the peer that this side closed first, in TIME-WAIT. */
function timeWait(): Script {
  return accepted().run('shutdown', '> FA 1', '< FA 1 ack 2', '> A 2 ack 2', 'state TIME-WAIT', '+ 50');
}

test('a SYN with a later timestamp takes the place of a connection in TIME-WAIT', () => {
  const script = timeWait();
  const old = script.connection!;
  script.run('< S -5000 mss 1000 sackOK ts now 0 ws 7');
  assert.is(old.state, 'CLOSED');
  const reply = script.poll()!;
  assert.is(reply.flags, 'SA');
  assert.ok(reply.seq > 2, 'ahead of the old connection');
  assert.is(script.tcp.timeWaitCount, 0);
});

test('a SYN beyond the old window takes the place as well, when there are no timestamps', () => {
  const script = new Script({ hasSack: false });
  script.tcp.listen(80);
  script.run('< S 0', '> SA 0', '< A 1 ack 1', 'shutdown', '> FA', '< FA 1 ack 2', '> A', 'state TIME-WAIT');
  const old = script.connection!;
  script.run('< S 1', '> A', 'state TIME-WAIT');
  script.run('< S 100000', '> SA');
  assert.is(old.state, 'CLOSED');
});

test('an old SYN does not disturb TIME-WAIT, it is answered with the last acknowledgment', () => {
  const script = timeWait();
  script.run('< S -5000 mss 1000 ts 1 0', '> A 2 ack 2', 'state TIME-WAIT');
});

test('TIME-WAIT answers data that came again at once, other strays only now and then', () => {
  const script = plain().run('< A 1 ack 1 len 10', '> A 1 ack 11', 'shutdown', '> FA', '< FA 11 ack 2', '> A 2 ack 12');
  for (let i = 0; i < 3; i++) script.run('< A 1 ack 2 len 10', '> A 2 ack 12');
  script.run('< A 500000 ack 2', '> A 2 ack 12', '< A 500000 ack 2', '> nothing', 'drop tcp-out-of-window 2');
  script.run('+ 250', '< A 12 ack 100', '> A 2 ack 12', 'drop tcp-bad-ack 1', '< A 12 ack 2', '> nothing');
  script.run('state TIME-WAIT', 'drop tcp-duplicate 3');
});

test('TIME-WAIT believes no segment with an old timestamp, and none without one', () => {
  const script = timeWait();
  script.run('< FA 1 ack 2 ts 1 0', '> A 2 ack 2', 'drop tcp-old-timestamp 1');
  script.run('< FA 1 ack 2 nots', '> nothing', 'drop tcp-old-timestamp 2');
  const end = script.tcp.nextTimeout();
  script.run('+ 1000', '< FA 1 ack 2', '> A 2 ack 2');
  assert.is(script.tcp.nextTimeout(), end + 1050, 'only the FIN of this connection starts the wait over');
});

test('a four-tuple in TIME-WAIT is taken, and nothing else is left of the connection', () => {
  const script = plain().run('shutdown', '> FA', '< FA 1 ack 2', '> A');
  const { path, localPort, remotePort } = script.connection!;
  assert.throws(() => script.tcp.connect(script.nowMs, path, remotePort, localPort), /no free local port/);
  assert.equal([...script.tcp.connections()], []);
  assert.is(script.tcp.connectionCount, 1);
  script.run('+ 60000');
  assert.is(script.tcp.connectionCount, 0);
  script.tcp.connect(script.nowMs, path, remotePort, localPort);
});

test('where nobody listens any more, TIME-WAIT stays', () => {
  const script = plain().run('shutdown', '> FA', '< FA 1 ack 2', '> A', '< S 1000', '> A 2 ack 2', 'state TIME-WAIT');
  script.run('drop tcp-unexpected-syn 1');
});

test('the new connection starts ahead of the old one, however much that one sent', () => {
  const script = accepted();
  const old = script.connection!;
  const jump = 2_000_000;
  for (let sent = 0; sent < jump; sent += 9000) {
    script.run('write 9000');
    script.pollAll();
    script.run(`< A 1 ack ${sent + 9001} win 65535`);
  }
  const end = script.written + 1;
  script.run('shutdown', `> FA ${end}`, `< FA 1 ack ${end + 1}`, '> A', 'state TIME-WAIT', '+ 1');
  script.run('< S 0 mss 1000 ts now 0');
  assert.is(script.poll()!.seq, end + 1 + 65_537);
  assert.is(old.state, 'CLOSED');
});

test('an abort sends a reset and forgets everything', () => {
  const script = plain().run('write 5000', '> A 1 len 1000', '< A 1 ack 1 len 10', 'abort', 'state CLOSED');
  script.run('error ERR_ABORTED', '> RA 1001 ack 11', '> nothing', 'read 1 0');
  assert.is(script.tcp.connectionCount, 0);
  assert.is(script.tcp.budget.usedBytes, 0);
  script.run('< A 11 ack 1001', '> R 1001');
});

test('an abort while connecting says nothing to the peer', () => {
  new Script().connect().run('> S 0', 'abort', '> nothing', 'state CLOSED');
});

test('an abort in TIME-WAIT sends nothing and does not cut it short', () => {
  const script = plain().run('shutdown', '> FA', '< FA 1 ack 2', '> A', 'abort', 'state TIME-WAIT', '> nothing');
  assert.is(script.tcp.timeWaitCount, 1);
  assert.is(script.connection!.state, 'CLOSED');
});

test('a second abort does nothing', () => {
  plain().run('abort', '> RA', 'abort', '> nothing');
});

test('a reset ends the connection in every synchronized state', () => {
  plain().run('< R 1', 'state CLOSED', 'error ERR_CONNECTION_RESET', 'ready closed', '> nothing');
  plain().run('shutdown', '> FA', '< R 1', 'state CLOSED', 'error ERR_CONNECTION_RESET');
  plain().run('shutdown', '> FA', '< A 1 ack 2', '< R 1', 'state CLOSED', 'error ERR_CONNECTION_RESET');
  plain().run('< FA 1 ack 1', '> A', '< R 2', 'state CLOSED', 'error ERR_CONNECTION_RESET');
  plain().run('< FA 1 ack 1', '> A', 'shutdown', '> FA', '< R 2', 'state CLOSED', 'error none');
  plain().run('shutdown', '> FA', '< FA 1 ack 1', '> A', 'state CLOSING', '< R 2', 'state CLOSED', 'error none');
});

test('a closed connection throws away what still comes, and acknowledges it', () => {
  const script = plain().run(
    '< A 1 ack 1 len 100',
    'close',
    '> FA 1 ack 101',
    '< A 101 ack 2 len 100',
    '+ 40',
    '> A 2 ack 201',
  );
  script.run('read 1 0', '< FA 201 ack 2', '> A 2 ack 202', 'state TIME-WAIT');
  assert.is(script.connection!.info().ringBytes, 0);
});

test('a closed connection does not wait for ever for a peer that never closes', () => {
  const script = plain({ limits: { finWaitMs: 60_000 } }).run('close', '> FA 1', '< A 1 ack 2', '+ 59999');
  script.run(
    'state FIN-WAIT-2',
    '< A 1 ack 2 len 1',
    '+ 40',
    '> A',
    '+ 59959',
    'state FIN-WAIT-2',
    '+ 1',
    '> RA 2 ack 2',
  );
  script.run('state CLOSED', 'error none');
  assert.is(script.tcp.connectionCount, 0);
});

test('a half-closed connection waits as long as its peer answers', () => {
  const script = plain().run('shutdown', '> FA 1', '< A 1 ack 2');
  for (let i = 0; i < 20; i++) script.run('+ 74999', '> nothing', '+ 1', '> A 1 ack 1', '< A 1 ack 2');
  script.run('state FIN-WAIT-2');
});

test('a half-closed connection whose peer has vanished ends', () => {
  const script = plain().run('shutdown', '> FA 1', '< A 1 ack 2', '+ 900000', 'state CLOSED', 'error ERR_TIMED_OUT');
  assert.is(script.tcp.connectionCount, 0);
});

test('keep-alive asks a silent peer, and an answer is enough', () => {
  const script = plain().run('keepalive 10000', '+ 9999', '> nothing', '+ 1', '> A 0 ack 1', '< A 1 ack 1');
  script.run('+ 9999', '> nothing', '+ 1', '> A 0 ack 1', 'state ESTABLISHED');
});

test('keep-alive gives up after nine unanswered probes', () => {
  const script = plain().run('keepalive 10000');
  for (let i = 0; i < 9; i++) script.run('+ 10000', '> A 0 ack 1', '> nothing');
  script.run('+ 9999', 'state ESTABLISHED', '+ 1', 'state CLOSED', 'error ERR_TIMED_OUT', 'ready closed');
  assert.is(script.tcp.nextTimeout(), Infinity);
});

test('keep-alive with a long interval probes every 75 seconds once it has begun', () => {
  plain().run('keepalive 7200000', '+ 7200000', '> A 0', '+ 74999', '> nothing', '+ 1', '> A 0');
});

test('keep-alive is off unless asked for, and can be switched off', () => {
  plain().run('+ 10000000', '> nothing', 'state ESTABLISHED');
  plain().run('keepalive 1000', 'keepalive 0', '+ 10000000', '> nothing', 'state ESTABLISHED');
  assert.throws(() => plain().connection!.setKeepAlive(0, -1), /"intervalMs" expected/);
  assert.throws(() => plain().connection!.setKeepAlive(0, Number.NaN), /"intervalMs" expected/);
});

test('any segment from the peer puts keep-alive off', () => {
  plain().run(
    'keepalive 10000',
    '+ 9000',
    '< A 1 ack 1 len 1',
    '+ 40',
    '> A',
    '+ 9959',
    '> nothing',
    '+ 1',
    '> A 0 ack 2',
  );
});

test("a peer's keep-alive is answered", () => {
  plain().run('+ 1000', '< A 0 ack 1', '> A 1 ack 1', '> nothing');
});

test('data that is never acknowledged ends the connection after the time given', () => {
  const script = plain({ limits: { giveUpMs: 100_000 } }).run('write 10', '> A 1 len 10', '+ 99000');
  script.run('state ESTABLISHED', '+ 61000', 'state CLOSED', 'error ERR_TIMED_OUT', 'ready closed');
  assert.is(script.tcp.connectionCount, 0);
});

test('progress starts the time over', () => {
  const script = plain({ limits: { giveUpMs: 100_000 } }).run('write 2000', '> A 1 len 1000', '> A 1001 len 1000');
  script.run('+ 90000', '< A 1 ack 1001', '+ 90000', 'state ESTABLISHED');
});

test('closing many connections leaves nothing behind', () => {
  for (const close of [modern, accepted]) {
    const script = close().run('write 10', '> A 1 len 10', '< FA 1 ack 11', '> A', 'shutdown', '> FA', '< A 2 ack 12');
    assert.is(script.tcp.connectionCount, 0);
    assert.is(script.tcp.budget.usedBytes, 0);
    assert.is(script.tcp.nextTimeout(), Infinity);
    script.run('> nothing');
  }
});

test.run();
