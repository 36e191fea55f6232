/** What a stranger who can send packets, but not see ours, cannot do (RFC 5961, RFC 5927, RFC 7323 §5). */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { ErrorCode } from '../../lib/base/errors.ts';
import type { QuotedSegment } from '../../lib/netstack/tcp.ts';
import { accepted, modern, plain, Script } from './tcp-script.ts';

const test = suite('tcp checks');

test('a segment with a wrong checksum is dropped, whichever bit is wrong', () => {
  const script = plain();
  const good = script.build('A 1 ack 1 len 50');
  for (let bit = 20 * 8; bit < good.length * 8; bit += 7) {
    const bad = good.slice();
    bad[bit >> 3]! ^= 1 << (bit & 7);
    assert.ok(script.deliver(bad) < 0, `bit ${bit}`);
  }
  assert.is(script.connection!.readableBytes, 0);
  assert.ok(script.drops.get('tcp-checksum') > 50);
  assert.is(script.deliver(good), 0);
});

test('a segment whose addresses were changed is dropped', () => {
  const script = plain();
  script.tcp.listen(80);
  const packet = script.build('S 0 from 999');
  packet[15]! ^= 1;
  script.deliver(packet);
  script.run('drop tcp-checksum 1', '> nothing');
});

test('a reset counts only with exactly the next sequence number', () => {
  const script = plain();
  for (const seq of [2, 100, 65_535, 65_536]) script.run(`< R ${seq}`, 'state ESTABLISHED', '> A 1 ack 1', '+ 250');
  script.run('drop tcp-bad-reset 4', '< R 1', 'state CLOSED');
});

test('a reset outside the window is dropped without an answer', () => {
  const script = plain();
  for (const seq of [0, -1, -70_000, 65_537, 1_000_000]) script.run(`< R ${seq}`, '> nothing', 'state ESTABLISHED');
  script.run('drop tcp-bad-reset 5');
});

test('a peer that lost its state gets through with the reset that our challenge provokes', () => {
  plain().run('write 1000', '> A 1 len 1000', '< S 40000', '> A 1001 ack 1', '< R 1', 'state CLOSED');
});

test('a SYN does not end a connection, it is challenged', () => {
  const script = plain();
  for (const seq of [1, 500, 65_000]) script.run(`< S ${seq}`, '> A 1 ack 1', 'state ESTABLISHED', '+ 250');
  script.run('drop tcp-unexpected-syn 3');
});

test('a SYN-ACK that comes again is answered with the ACK that was lost', () => {
  plain().run('+ 1000', '< SA 0 ack 1 mss 1000', '> A 1 ack 1', 'state ESTABLISHED');
});

test('challenges are rationed per connection', () => {
  const script = plain().run('< R 100', '> A 1 ack 1');
  for (let i = 0; i < 50; i++) script.run('< R 100', '< S 200', '< A 1 ack 70000', '> nothing', '+ 4');
  script.run('+ 50', '< R 100', '> A 1 ack 1', '< R 100', '> nothing');
});

test('bare segments outside the window are answered, but not in a storm', () => {
  const script = plain().run('< A 70000 ack 1', '> A 1 ack 1', 'drop tcp-out-of-window 1');
  for (let i = 0; i < 50; i++) script.run('< A 70000 ack 1', '< A -5 ack 1', '> nothing');
});

test('two machines whose sequence numbers disagree do not answer each other for ever', () => {
  const one = plain();
  const other = plain();
  // Each takes the other's answer for a segment outside its window.
  let answers = 0;
  one.run('< A 70000 ack 1');
  for (let i = 0; i < 100; i++) {
    answers += one.pollAll().length + other.pollAll().length;
    one.run('< A 70000 ack 1', '+ 1');
    other.run('< A -70000 ack 1', '+ 1');
  }
  assert.ok(answers <= 4, `${answers} answers in 100 ms`);
});

test('a segment without ACK is dropped', () => {
  plain().run('< P 1 len 10', 'ready none', 'drop tcp-malformed 1', '> nothing');
});

test('data before and beyond the window is not taken', () => {
  const script = plain();
  for (const seq of [-100, 65_537, 65_600, 1_000_000, -2_000_000]) script.run(`< A ${seq} ack 1 len 50`, 'ready none');
  assert.is(script.connection!.readableBytes, 0);
});

test('data that reaches over the window is cut at its edge', () => {
  const script = plain({ limits: { initialWindowBytes: 1000, receiveBufferBytes: 1001 } });
  script.run('< A 501 ack 1 len 700', '< A 1 ack 1 len 500', 'read 1001 1000');
});

test('data in a shut window is dropped and answered', () => {
  const script = plain({ limits: { initialWindowBytes: 1000, receiveBufferBytes: 1001 } });
  script.run('< A 1 ack 1 len 1000', '> A 1 ack 1001 win 0', '< A 1001 ack 1 len 1', '> A 1 ack 1001 win 0');
  script.run('read 2000 1000', '> A 1 ack 1001 win 1000');
});

test('data beyond a FIN is refused', () => {
  const script = plain().run('< FA 101 ack 1', '< A 1 ack 1 len 200', 'drop tcp-malformed 1', 'ready none');
  script.run('< A 1 ack 1 len 100', 'state CLOSE-WAIT', 'read 300 100', '> A 1 ack 102');
});

test('a second FIN elsewhere changes nothing', () => {
  plain().run('< FA 101 ack 1', '< FA 51 ack 1', '< A 1 ack 1 len 100', 'state CLOSE-WAIT', 'read 300 100');
});

test('data after the end of the stream is refused', () => {
  const script = plain().run('< FA 1 ack 1', '> A 1 ack 2', '< A 2 ack 1 len 10', 'drop tcp-bad-state 1');
  script.run('ready ended', 'read 1 0');
});

test('an acknowledgment of what was never sent is dropped and challenged', () => {
  const script = plain().run('write 1000', '> A 1 len 1000', '< A 1 ack 1002 len 5', '> A 1001 ack 1');
  script.run('ready none', 'drop tcp-bad-ack 1', '< A 1 ack 1001', '> nothing');
});

test('an acknowledgment from before the last window is dropped and challenged', () => {
  const script = new Script({ hasSack: false }).connect().run('> S 0', '< SA 0 ack 1 win 1000 mss 1000', '> A 1');
  for (let at = 1; at < 4000; at += 1000)
    script.run('write 1000', `> A ${at} len 1000`, `< A 1 ack ${at + 1000} win 1000`);
  script.run('< A 1 ack 3000 len 5', 'ready connected', '> A 4001 ack 1', 'drop tcp-bad-ack 1');
  script.run('< A 1 ack 3001 len 5', 'ready readable');
});

test('an old acknowledgment inside the window is no news, but its data is', () => {
  const script = plain().run('write 1000', '> A 1 len 1000', '< A 1 ack 1001', '< A 1 ack 1 len 10', 'ready readable');
  assert.is(script.connection!.info().bytesInFlight, 0);
});

test('a segment with an old timestamp is dropped and answered (PAWS)', () => {
  const script = modern().run('+ 1000', '< A 1 ack 1 len 10', 'ready readable', '+ 40', '> A 1 ack 11', '+ 300');
  script.run('< A 11 ack 1 len 10 ts 1000 last', 'ready none', 'drop tcp-old-timestamp 1', '> A 1 ack 11');
  script.run('< A 11 ack 1 len 10', 'ready readable');
});

test('data that comes late with an old timestamp is reported as a duplicate', () => {
  const script = modern().run('+ 100', '< A 1 ack 1 len 10', '> A 1 ack 11', '< A 1 ack 1 len 10 ts 1000 last');
  script.run('> A 1 ack 11 sack 1-11', 'drop tcp-old-timestamp 1');
});

test('data from far before the window is acknowledged, but not named to the sender', () => {
  const script = modern().run('+ 100', '< A 1 ack 1 len 10', '> A 1 ack 11', '< A -2000000 ack 1 len 10');
  script.run('> A 1 ack 11 nosack', '< A -2000000 ack 1 len 10 ts 1000 last', '> A 1 ack 11 nosack');
});

test('an old timestamp does not let an old acknowledgment in', () => {
  const script = modern().run('write 100', '> A 1 len 100', '+ 10', '< A 1 ack 101 ts 1000 last');
  assert.is(script.connection!.info().bytesInFlight, 100);
  script.run('drop tcp-old-timestamp 1');
});

test('a reset with an old timestamp still counts if it is exact', () => {
  modern().run('< R 1 ts 1000 last', 'state CLOSED');
  modern().run('< R 1 nots', 'state CLOSED');
});

test('where timestamps were agreed on, a segment without them is dropped', () => {
  modern().run('< A 1 ack 1 len 10 nots', 'ready none', 'drop tcp-old-timestamp 1', '> nothing');
});

test('a restarted peer that knows no timestamps is challenged, so that it can reset', () => {
  modern().run('< S 30000 nots', '> A 1 ack 1', '< R 1 nots', 'state CLOSED');
});

test('after 24 quiet days timestamps are not compared', () => {
  modern().run('+ 2073600000', '< A 1 ack 1 len 10 ts 1 last', 'ready readable');
});

test('a timestamp is remembered only from the segment that is due', () => {
  // The early segment's timestamp must not be remembered, or the late one would be refused as old.
  const script = modern().run('+ 100', '< A 11 ack 1 len 10 ts 8000000 last', '> A 1 ack 1');
  script.run('< A 1 ack 1 len 10', 'ready readable', 'read 20', 'drop tcp-old-timestamp 0');
});

test('SACK blocks of what was never sent, or that are inside out, mark nothing', () => {
  const script = modern().run('write 3000', '> A 1 len 988', '> A 989 len 988', '> A 1977 len 988');
  for (const block of ['989-5000', '1977-989', '5000-6000', '-500-989', '989-989'])
    script.run(`< A 1 ack 1 sack ${block}`);
  assert.is(script.connection!.info().bytesInFlight, 2964);
  assert.is(script.connection!.board.sackedBytes, 0);
  script.run('< A 1 ack 1 sack 989-1977');
  assert.is(script.connection!.board.sackedBytes, 988);
});

/** An ICMP error's quote of our segment at a relative sequence number. */
function quote(script: Script, seq: number): { buf: Uint8Array; quoted: QuotedSegment } {
  const buf = new Uint8Array(28);
  buf.set([0x45], 0);
  buf.set(script.us, 12);
  buf.set(script.peer, 16);
  const absolute = script.absolute(seq);
  buf.set([script.localPort >> 8, script.localPort, script.remotePort >> 8, script.remotePort], 20);
  buf.set([absolute >>> 24, absolute >>> 16, absolute >>> 8, absolute], 24);
  return { buf, quoted: { family: 4 as const, start: 0, payload: 20, end: 28 } };
}

function unreachable(script: Script, seq: number, code?: ErrorCode): number {
  const { buf, quoted } = quote(script, seq);
  return script.tcp.handleUnreachable(script.nowMs, buf, quoted, code);
}

test('an ICMP error counts only for a sequence number that is in flight', () => {
  const script = new Script({ mtu: 1040 }).connect().run('> S 0');
  for (const seq of [1, -1, 50_000]) assert.ok(unreachable(script, seq) < 0);
  const { buf, quoted } = quote(script, 1);
  assert.ok(script.tcp.handleTooBig(script.nowMs, buf, quoted, 600) < 0);
  script.run('state SYN-SENT', 'drop tcp-icmp-mismatch 4');
  assert.is(script.connection!.path.mtu, 1040);
  assert.is(unreachable(script, 0), 0);
  script.collect();
  script.run('state CLOSED', 'error ERR_UNREACHABLE', 'ready closed');
});

test('an ICMP error about another connection, or too short a quote, counts for nothing', () => {
  const script = new Script().connect().run('> S 0');
  const { buf, quoted } = quote(script, 0);
  assert.ok(script.tcp.handleUnreachable(script.nowMs, buf, { ...quoted, end: 27 }) < 0);
  buf[19]! ^= 1;
  assert.ok(script.tcp.handleUnreachable(script.nowMs, buf, quoted) < 0);
  script.run('state SYN-SENT', 'drop tcp-icmp-mismatch 2');
});

test('a closed port reported by ICMP refuses a connection that is being opened', () => {
  const script = new Script().connect().run('> S 0');
  unreachable(script, 0, 'ERR_CONNECTION_REFUSED');
  script.run('state CLOSED', 'error ERR_CONNECTION_REFUSED');
});

test('an established connection survives ICMP errors, and names them if it ends for lack of answers', () => {
  const script = plain({ limits: { giveUpMs: 100_000 } }).run('write 10', '> A 1 len 10');
  assert.is(unreachable(script, 1), 0);
  script.run('state ESTABLISHED', '+ 300', '> A 1 len 10', '+ 200000', 'state CLOSED', 'error ERR_UNREACHABLE');
});

test('an acknowledgment after an ICMP error clears its name', () => {
  const script = plain({ limits: { giveUpMs: 100_000 } }).run('write 10', '> A 1 len 10');
  unreachable(script, 1);
  script.run('< A 1 ack 11', 'write 10', '> A 11 len 10', '+ 300000', 'state CLOSED', 'error ERR_TIMED_OUT');
});

test('a segment for one connection never reaches another', () => {
  const script = accepted();
  script.run('< A 1 ack 1 len 10 from 5001', 'ready none', '> R', 'drop tcp-no-connection 1');
  script.run('< A 1 ack 1 len 10 to 81', 'ready none', '> R', 'drop tcp-no-connection 2');
});

test.run();
