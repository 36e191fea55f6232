/**
 * Windows, acknowledgments and buffers (RFC 9293 §3.8.6, RFC 1122 §4.2.3, RFC 7323 §2, RFC 896): nobody sends more
 * than the other side takes, nobody waits for nothing, and nobody's memory grows without bound.
 */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { accepted, modern, plain, Script, type ScriptOptions } from './tcp-script.ts';

const test = suite('tcp flow');

/** A receiver of at most 8000 bytes, whose window is not scaled. */
const SMALL: ScriptOptions = { limits: { initialWindowBytes: 8000, receiveBufferBytes: 8001 } };

test('no more is sent than the window takes', () => {
  const script = plain().run('< A 1 ack 1 win 2500', 'write 5000', '> A 1 len 1000', '> A 1001 len 1000', '> nothing');
  script.run('< A 1 ack 2001 win 3000', '> A 2001 len 1000', '> A 3001 len 1000', '> A 4001 len 1000', '> nothing');
});

test('a window that is taken back stops the sender', () => {
  plain().run(
    'write 500',
    '> A 1 len 500',
    '< A 1 ack 501 win 0',
    'write 500',
    '> nothing',
    '< A 1 ack 501 win 600',
    '> A 501 len 500',
  );
});

test('an older segment does not tell the window', () => {
  const script = plain().run(
    'write 2000',
    '> A 1 len 1000',
    '> A 1001 len 1000',
    '< A 1 ack 2001 win 5000',
    '< A 1 ack 1001 win 9',
  );
  assert.is(script.connection!.info().sendWindowBytes, 5000);
  script.run('< A 1 ack 2001 win 7000');
  assert.is(script.connection!.info().sendWindowBytes, 7000);
});

test('a shut window is probed with one octet after a timeout, then at doubled intervals up to a minute', () => {
  const script = plain().run('< A 1 ack 1 win 0', 'write 5000', '> nothing');
  script.run('+ 299', '> nothing', '+ 1', '> A 1 len 1', '< A 1 ack 1 win 0');
  for (let wait = 600; wait < 60_000; wait *= 2)
    script.run(`+ ${wait - 1}`, '> nothing', '+ 1', '> A 1 len 1', '< A 1 ack 1 win 0');
  script.run('+ 59999', '> nothing', '+ 1', '> A 1 len 1');
});

test('a shut window whose probes are answered is waited for without end', () => {
  const script = plain({ limits: { giveUpMs: 100_000 } }).run('< A 1 ack 1 win 0', 'write 10');
  for (let i = 0; i < 60; i++) {
    script.advance(60_000);
    for (const { seq } of script.pollAll()) script.run(`< A 1 ack ${seq} win 0`);
  }
  script.run('state ESTABLISHED');
});

test('a shut window whose probes are not answered ends the connection', () => {
  const script = plain({ limits: { giveUpMs: 100_000 } }).run('< A 1 ack 1 win 0', 'write 10');
  for (let i = 0; i < 20; i++) {
    script.advance(10_000);
    script.pollAll();
  }
  script.run('state CLOSED', 'error ERR_TIMED_OUT');
});

test('a window that shuts over data in flight does not end the connection while the peer answers', () => {
  const script = plain({ limits: { giveUpMs: 100_000 } }).run('write 10', '> A 1 len 10', '< A 1 ack 1 win 0');
  for (let i = 0; i < 60; i++) {
    script.advance(10_000);
    if (script.pollAll().length > 0) script.run('< A 1 ack 1 win 0');
  }
  script.run('state ESTABLISHED');
});

test('the octet of a probe that was taken counts as sent', () => {
  const script = plain().run(
    '< A 1 ack 1 win 0',
    'write 1500',
    '> nothing',
    '+ 300',
    '> A 1 len 1',
    '< A 1 ack 2 win 5000',
  );
  script.run('> A 2 len 1000', '> A 1002 len 499', '< A 1 ack 1501', '> nothing');
  assert.is(script.connection!.info().bytesInFlight, 0);
});

test('the octet of a probe that was refused is sent again with the rest', () => {
  const script = plain().run(
    '< A 1 ack 1 win 0',
    'write 1500',
    '> nothing',
    '+ 300',
    '> A 1 len 1',
    '< A 1 ack 1 win 5000',
  );
  script.run('> A 1 len 1000', '> A 1001 len 500', '< A 1 ack 1501', '> nothing', '+ 1000', '> nothing');
});

test('a window opened by a segment that brings data is used as well', () => {
  plain().run('< A 1 ack 1 win 0', 'write 500', '> nothing', '< A 1 ack 1 len 10 win 800', '> A 1 ack 11 len 500');
});

test('a small window is left alone until it is worth a segment', () => {
  // Half of the largest window seen, a full segment, or a fifth of a second, whatever comes first.
  const script = plain().run(
    '< A 1 ack 1 win 4000',
    'write 3000',
    '> A 1 len 1000',
    '> A 1001 len 1000',
    '> A 2001 len 1000',
  );
  script.run(
    '< A 1 ack 3001 win 300',
    'write 2000',
    '> nothing',
    '+ 199',
    '> nothing',
    '+ 1',
    '> A 3001 len 300',
    '> nothing',
  );
  script.run('< A 1 ack 3301 win 1000', '> A 3301 len 1000');
});

test('a window of half the largest is used although it is less than a segment', () => {
  const script = new Script({ hasSack: false }).connect();
  script.run(
    '> S 0',
    '< SA 0 ack 1 win 800 mss 1000',
    '> A 1',
    'write 2000',
    '> A 1 len 800',
    '< A 1 ack 801 win 400',
    '> A 801 len 400',
  );
});

test('small writes wait for the acknowledgment of the one before (Nagle)', () => {
  const script = plain().run(
    'write 10',
    '> A 1 len 10',
    'write 10',
    'write 10',
    '> nothing',
    '< A 1 ack 11',
    '> A 11 len 20',
  );
  script.run('> nothing');
});

test('full segments do not wait', () => {
  plain().run(
    'write 10',
    '> A 1 len 10',
    'write 1995',
    '> A 11 len 1000',
    '> nothing',
    '< A 1 ack 11',
    '> A 1011 len 995',
  );
});

test('a small segment after full ones leaves at once', () => {
  plain().run('write 2010', '> A 1 len 1000', '> A 1001 len 1000', '> A 2001 len 10', 'write 10', '> nothing');
});

test('without delay, small writes leave at once', () => {
  const script = plain().run('write 10', '> A 1 len 10', 'write 10', '> nothing', 'nodelay', '> A 11 len 10');
  script.run('write 10', '> A 21 len 10');
});

test('the end does not wait for Nagle', () => {
  plain().run('write 10', '> A 1 len 10', 'write 10', 'shutdown', '> FA 11 len 10');
});

test('the last segment of what was written carries PSH', () => {
  const script = plain().run('write 1500');
  assert.equal(
    script.pollAll().map(({ length, isPushed }) => [length, isPushed]),
    [
      [1000, false],
      [500, true],
    ],
  );
});

test('segments in flight are bounded however small they are', () => {
  const script = plain({ limits: { segmentsInFlight: 8 } }).run('nodelay');
  for (let i = 0; i < 12; i++) script.run('write 1', ...(i < 8 ? [`> A ${i + 1} len 1`] : ['> nothing']));
  script.run('< A 1 ack 9', '> A 9 len 4');
});

test('a batch of input is answered with one acknowledgment', () => {
  const script = plain();
  for (let i = 0; i < 20; i++) script.run(`< A ${1 + i * 1000} ack 1 len 1000`);
  script.run('> A 1 ack 20001', '> nothing');
});

test('an answer that carries data needs no acknowledgment beside it', () => {
  plain().run('< A 1 ack 1 len 1000', 'write 5', '> A 1 ack 1001 len 5', '> nothing', '+ 100', '> nothing');
});

/** A connection that has used its quick acknowledgments up. `next` is the peer's next sequence number. */
function settled(options: ScriptOptions = {}): { script: Script; next: number } {
  const script = plain(options);
  for (let i = 0; i < 16; i++)
    script.run(`< A ${1 + i * 1000} ack 1 len 1000`, `> A 1 ack ${1001 + i * 1000}`, `read 1000`);
  return { script, next: 16_001 };
}

test('the first segments are acknowledged one by one, so that the sender gets going', () => {
  settled();
});

test('later a single segment waits 40 ms for company', () => {
  const { script, next } = settled();
  script.run(
    `< A ${next} ack 1 len 1000`,
    '> nothing',
    '+ 39',
    '> nothing',
    '+ 1',
    `> A 1 ack ${next + 1000}`,
    '> nothing',
  );
});

test('every second full segment is acknowledged at once', () => {
  const { script, next } = settled();
  script.run(
    `< A ${next} ack 1 len 1000`,
    '> nothing',
    `< A ${next + 1000} ack 1 len 1000`,
    `> A 1 ack ${next + 2000}`,
  );
  script.run('+ 100', '> nothing');
});

test('a gap, and its filling, are acknowledged at once', () => {
  const { script, next } = settled();
  script.run(
    `< A ${next + 100} ack 1 len 100`,
    `> A 1 ack ${next}`,
    `< A ${next} ack 1 len 100`,
    `> A 1 ack ${next + 200}`,
  );
});

test('after a silence the first segments are acknowledged at once again', () => {
  const { script, next } = settled();
  script.run('+ 5000', `< A ${next} ack 1 len 1000`, `> A 1 ack ${next + 1000}`);
});

test('the window advertised shrinks as data waits, and the reader opens it again', () => {
  const script = plain(SMALL);
  for (let i = 0; i < 8; i++)
    script.run(`< A ${1 + i * 1000} ack 1 len 1000`, `> A 1 ack ${1001 + i * 1000} win ${7000 - i * 1000}`);
  script.run('read 1000', '> nothing', 'read 1000', '> A 1 ack 8001 win 2000');
});

test('a reader that takes a little at a time does not open the window in little steps', () => {
  const script = plain(SMALL);
  for (let i = 0; i < 8; i++) script.inject(`A ${1 + i * 1000} ack 1 len 1000`);
  script.pollAll();
  const windows: number[] = [];
  for (let i = 0; i < 80; i++) {
    script.run('read 100');
    for (const { window } of script.pollAll()) windows.push(window);
  }
  assert.ok(windows.length >= 1 && windows.length <= 4, `${windows.length} updates`);
  assert.ok(
    windows.every((window, i) => window - (windows[i - 1] ?? 0) >= 2000),
    windows.join(' '),
  );
});

test('the promised edge never moves left, whatever the reader and the network do', () => {
  for (const shift of [0, 2, 7]) {
    const receiveBufferBytes = 65_535 * 2 ** shift;
    const script = new Script({ hasSack: false, limits: { initialWindowBytes: 5001, receiveBufferBytes } });
    script.connect().run('> S 0', '< SA 0 ack 1 mss 1000 ws 3', '> A 1 ack 1');
    let next = 1;
    let edge = 1 + 5001;
    let unread = 0;
    let state = 12_345;
    for (let i = 0; i < 600; i++) {
      state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
      const length = Math.min(1 + ((state >>> 8) % 37), edge - next);
      if (length > 0) {
        script.inject(`A ${next} ack 1 len ${length}`);
        next += length;
        unread += length;
      }
      if (state >>> 30 === 0 && unread > 0) {
        const count = Math.min(unread, 1 + ((state >>> 10) % 900));
        script.run(`read ${count}`);
        unread -= count;
      }
      script.advance(40);
      for (const { ack, window } of script.pollAll()) {
        const right = ack + window * 2 ** shift;
        assert.ok(right > edge - 2 ** shift, `step ${i}: the edge fell from ${edge} to ${right}`);
        edge = Math.max(edge, right);
      }
      assert.is(script.connection!.receiveRing.readableBytes, unread, `step ${i}: everything promised was taken`);
    }
    assert.ok(next > 3000);
  }
});

test('the window grows with the reader, up to the limit', () => {
  const script = modern({ limits: { receiveBufferBytes: 262_144 } });
  const out = new Uint8Array(300_000);
  let next = 1;
  let largest = 0;
  for (let round = 0; round < 12; round++) {
    const { receiveWindowBytes } = script.connection!.info();
    for (let sent = 0; sent + 988 <= receiveWindowBytes; sent += 988) {
      script.inject(`A ${next} ack 1 len 988`);
      next += 988;
    }
    script.advance(10);
    script.connection!.read(script.nowMs, out, 0, out.length);
    script.advance(90);
    for (const { window } of script.pollAll()) largest = Math.max(largest, window * 8);
  }
  assert.ok(largest > 250_000 && largest <= 262_144, `${largest} bytes`);
});

test('the window does not grow for a reader who does not read', () => {
  const script = plain();
  for (let i = 0; i < 65; i++) script.inject(`A ${1 + i * 1000} ack 1 len 1000`);
  script.run('+ 1000');
  assert.is(script.connection!.receiveRing.readableBytes, 65_000);
  assert.is(script.connection!.info().receiveWindowBytes, 535);
  assert.is(script.pollAll().length, 1);
});

test('the window does not grow while memory is short', () => {
  const script = modern({ limits: { totalBufferBytes: 100_000 } });
  script.tcp.budget.take(80_000);
  let next = 1;
  for (let round = 0; round < 40; round++) {
    for (let i = 0; i < 8; i++, next += 988) script.inject(`A ${next} ack 1 len 988`);
    const out = new Uint8Array(10_000);
    script.connection!.read(script.nowMs, out, 0, out.length);
    script.advance(100);
    script.pollAll();
  }
  assert.is(script.connection!.rcvTarget, 65_535);
});

test('the send buffer takes what it may, and says when there is room again', () => {
  const script = plain({ limits: { initialSendBytes: 6000, sendBufferBytes: 6000 } });
  assert.is(script.connection!.writableBytes, 6000);
  script.run('write 9000 6000', 'write 1 0', 'ready none');
  assert.is(script.connection!.writableBytes, 0);
  for (let i = 0; i < 6; i++) script.run(`> A ${1 + i * 1000} len 1000`);
  script.run('< A 1 ack 1001', 'ready none', '< A 1 ack 2001', 'ready writable', 'write 9000 2000');
});

test('who never met the limit is not told of room', () => {
  plain().run('write 5000', '> A 1 len 1000', '< A 1 ack 1001', 'ready none');
});

test('the send buffer follows the congestion window up to its limit', () => {
  const script = plain({ limits: { initialSendBytes: 16_384, sendBufferBytes: 50_000 } });
  let acked = 1;
  for (let round = 0; round < 8; round++) {
    script.run(`write ${script.connection!.writableBytes}`);
    const packets = script.pollAll();
    acked += packets.reduce((sum, { length }) => sum + length, 0);
    script.run('+ 100', `< A 1 ack ${acked}`);
  }
  assert.is(script.connection!.sendLimit, 50_000);
});

test('an idle connection holds no buffers', () => {
  const script = accepted().run('write 20000', '< A 1 ack 1 len 900');
  for (const { seq, length } of script.pollAll()) script.run(`< A 901 ack ${seq + length}`);
  for (const { seq, length } of script.pollAll()) script.run(`< A 901 ack ${seq + length}`);
  script.run('read 900');
  assert.ok(script.connection!.info().ringBytes > 0);
  script.run('+ 10000');
  assert.is(script.connection!.info().ringBytes, 0);
  assert.is(script.tcp.budget.usedBytes, 0);
  assert.is(script.tcp.nextTimeout(), Infinity, 'and wakes nobody');
});

test('buffers that hold something are not given back', () => {
  const script = accepted().run('< A 1 ack 1 len 900', '+ 20000', 'read 900', '< A 1001 ack 1 len 50', '+ 20000');
  script.run('< A 901 ack 1 len 100', 'read 150');
});

test('all buffers together are bounded: rings stop growing, and what does not fit is dropped', () => {
  const limits = { totalBufferBytes: 30_000, ringBytes: 4096 };
  const script = plain({ limits });
  for (let i = 0; i < 60; i++) script.inject(`A ${1 + i * 1000} ack 1 len 1000`);
  assert.ok(script.tcp.budget.usedBytes <= 30_000);
  assert.ok(script.drops.get('tcp-limit') > 0);
  const kept = script.connection!.readableBytes;
  assert.ok(kept >= 16_000);
  script.run(`read ${kept}`, '+ 40');
  script.pollAll();
  script.inject(`A ${1 + kept} ack 1 len 1000`);
  assert.is(script.connection!.readableBytes, 1000);
});

test('a writer that meets the bound is told when there is room', () => {
  const script = plain({ limits: { totalBufferBytes: 10_000, ringBytes: 4096 } });
  script.tcp.budget.take(10_000);
  script.run('write 9000 4096', 'ready none');
  for (const { seq, length } of script.pollAll()) script.run(`< A 1 ack ${seq + length}`);
  for (const { seq, length } of script.pollAll()) script.run(`< A 1 ack ${seq + length}`);
  script.run('ready writable', 'write 100');
});

test('ready bits are told once until they are taken', () => {
  const script = plain();
  script.tcp.handleSegment(script.nowMs, script.build('A 1 ack 1 len 10'), 0, 4, 20, 70 - 20);
  const first = script.build('A 1 ack 1 len 10');
  script.tcp.handleSegment(script.nowMs, first, 0, 4, 20, first.length);
  const second = script.build('A 11 ack 1 len 10');
  script.tcp.handleSegment(script.nowMs, second, 0, 4, 20, second.length);
  assert.is(script.tcp.pollEvent(), script.connection);
  assert.is(script.tcp.pollEvent(), undefined);
  assert.is(script.connection!.takeReady(), 4);
  assert.is(script.connection!.takeReady(), 0);
});

test('connections take turns, a packet each', () => {
  const script = new Script({ hasSack: false });
  script.tcp.listen(80);
  const ports = [5001, 5002, 5003];
  const connections = ports.map(port => {
    script.inject(`S 0 mss 1000 from ${port}`);
    const reply = script.poll()!;
    script.inject(`A 1 ack ${reply.seq + 1} from ${port}`);
    return script.connection!;
  });
  for (const connection of connections) connection.write(script.nowMs, new Uint8Array(3000), 0, 3000);
  const order = script.pollAll().map(({ to }) => to);
  assert.is(order.length, 9);
  for (let i = 3; i < 9; i++) assert.is(order[i], order[i - 3], 'each waits for the two others');
  assert.is(new Set(order.slice(0, 3)).size, 3);
  for (const connection of connections) assert.is(connection.info().bytesInFlight, 3000);
});

test('a sender that idled starts from the initial window again', () => {
  const script = plain().run('write 10000');
  let acked = 1;
  for (let round = 0; round < 4; round++) {
    acked += script.pollAll().reduce((sum, { length }) => sum + length, 0);
    script.run('+ 100', `< A 1 ack ${acked}`, 'write 30000');
  }
  acked += script.pollAll().reduce((sum, { length }) => sum + length, 0);
  script.run('+ 100', `< A 1 ack ${acked}`);
  while (script.connection!.info().unsentBytes > 0) {
    acked += script.pollAll().reduce((sum, { length }) => sum + length, 0);
    script.run('+ 100', `< A 1 ack ${acked}`);
  }
  assert.ok(script.connection!.info().congestionWindowBytes > 20_000);
  script.run('+ 5000', 'write 30000');
  assert.is(script.pollAll().length, 10);
});

test('a window that was not used does not grow', () => {
  const script = plain();
  let acked = 1;
  for (let round = 0; round < 50; round++) {
    script.run('write 1000', `> A ${acked} len 1000`, '+ 100', `< A 1 ack ${acked + 1000}`);
    acked += 1000;
  }
  assert.is(script.connection!.info().congestionWindowBytes, 10_000);
});

test.run();
