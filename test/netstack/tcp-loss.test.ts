/**
 * How lost segments are found and sent again: RFC 6298 (timer), RFC 5681 and 6582 (without SACK), RFC 2018, 2883,
 * 6675 and 8985 (with SACK), RFC 6937 (rate in recovery), RFC 3522 and 4015 (mistakes taken back).
 */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { accepted, modern, plain, Script } from './tcp-script.ts';

const test = suite('tcp loss');

/** Ten segments of 1000 in flight, without SACK: 1, 1001, … 9001. */
function tenPlain(): Script {
  const script = plain().run('write 10000');
  for (let i = 0; i < 10; i++) script.run(`> A ${1 + i * 1000} len 1000`);
  return script.run('> nothing', '+ 100');
}

/** Ten segments of 988 in flight, with SACK and timestamps; the round trip was measured as 100 ms. */
function tenModern(): Script {
  const script = modern().run('write 9880');
  for (let i = 0; i < 10; i++) script.run(`> A ${at(i)} len 988`);
  return script.run('> nothing', '+ 100');
}

/** Sequence number of segment `i` of 988 bytes. */
function at(i: number): number {
  return 1 + i * 988;
}

test('an unanswered segment is sent again when the timer runs out, and not before', () => {
  plain().run('write 100', '> A 1 len 100', '+ 299', '> nothing', '+ 1', '> A 1 len 100', '> nothing');
});

test('the timer doubles with each timeout, up to a minute', () => {
  const script = plain().run('write 100', '> A 1 len 100');
  for (let wait = 300; wait < 60_000; wait *= 2) script.run(`+ ${wait - 1}`, '> nothing', '+ 1', '> A 1 len 100');
  script.run('+ 59999', '> nothing', '+ 1', '> A 1 len 100');
});

test('an acknowledgment of new data starts the timer over', () => {
  const script = plain().run('write 2000', '> A 1 len 1000', '> A 1001 len 1000', '+ 100', '< A 1 ack 1001');
  // Two samples of 100 ms: 100 + max(200, 4 * 37.5).
  script.run('+ 299', '> nothing', '+ 1', '> A 1001 len 1000');
});

test('an acknowledgment of retransmitted data is no measurement, and ends the backoff', () => {
  const script = plain().run('write 100', '> A 1 len 100', '+ 300', '> A 1 len 100', '+ 50', '< A 1 ack 101');
  assert.is(script.connection!.info().rttMs, 100);
  assert.is(script.connection!.info().rtoMs, 300);
});

test('with timestamps retransmitted data is measured by the echo', () => {
  const script = new Script({ hasSack: false }).connect();
  script.run(
    '> S 0',
    '+ 100',
    '< SA 0 ack 1 mss 1000 ts now last',
    '> A 1',
    'write 100',
    '> A 1 len 100',
    '+ 300',
    '> A 1 len 100',
    '+ 60',
  );
  script.run('< A 1 ack 101');
  assert.is(script.connection!.info().rttMs, 95, '100 + (60 - 100) / 8');
});

test('after a timeout the window is one segment, and slow start goes on to 0.7 of the old one', () => {
  const script = tenPlain().run('+ 200', '> A 1 len 1000', '> nothing', '+ 100', '< A 1 ack 1001');
  script.run('> A 1001 len 1000', '> A 2001 len 1000', '> nothing', '+ 100', '< A 1 ack 3001');
  assert.is(script.pollAll().length, 4);
  assert.is(script.connection!.info().slowStartThresholdBytes, 7000);
});

test('everything in flight is sent again after a timeout, in order, and nothing twice', () => {
  const script = tenPlain().run('+ 200');
  const sent: number[] = [];
  for (let una = 1; una < 10_001; ) {
    const packets = script.pollAll();
    assert.ok(packets.length > 0);
    for (const { seq, length } of packets) {
      assert.is(seq, sent.length * 1000 + 1);
      assert.is(length, 1000);
      sent.push(seq);
    }
    una = sent.length * 1000 + 1;
    script.run('+ 50', `< A 1 ack ${una}`);
  }
  assert.is(sent.length, 10);
});

test('a second timeout does not lower the threshold again', () => {
  const script = tenPlain().run('+ 200', '> A 1 len 1000', '+ 600', '> A 1 len 1000');
  assert.is(script.connection!.info().slowStartThresholdBytes, 7000);
});

test('without SACK, two duplicate acknowledgments release one new segment each', () => {
  const script = tenPlain().run('write 5000', '< A 1 ack 1', '> A 10001 len 1000', '> nothing');
  script.run('< A 1 ack 1', '> A 11001 len 1000', '> nothing');
});

test('without SACK, the third duplicate acknowledgment has the first segment sent again at once', () => {
  const script = tenPlain().run(
    '< A 1 ack 1',
    '< A 1 ack 1',
    '> nothing',
    '< A 1 ack 1',
    '> A 1 len 1000',
    '> nothing',
  );
  assert.is(script.connection!.info().retransmits, 1);
  assert.is(script.connection!.info().timeouts, 0);
});

test('without SACK, a partial acknowledgment has the next hole sent again', () => {
  const script = tenPlain().run('< A 1 ack 1', '< A 1 ack 1', '< A 1 ack 1', '> A 1 len 1000', '+ 100');
  script.run('< A 1 ack 4001', '> A 4001 len 1000', '+ 100', '< A 1 ack 10001');
  const { congestionWindowBytes } = script.connection!.info();
  assert.ok(congestionWindowBytes >= 7000 && congestionWindowBytes < 7500, `${congestionWindowBytes} bytes`);
  assert.is(script.connection!.info().retransmits, 2);
});

test('duplicates are counted only when nothing else is in the segment', () => {
  const script = tenPlain();
  script.run('< A 1 ack 1 win 65000', '< A 1 ack 1 win 64000', '< A 1 ack 1 win 63000', '< A 1 ack 1 win 62000');
  script.run('> nothing', '< A 1 ack 1 len 10 win 62000', '< A 11 ack 1 len 10 win 62000', '> A', '> nothing');
  assert.is(script.connection!.info().retransmits, 0);
});

test('duplicates of what a timeout sent again start no recovery', () => {
  const script = tenPlain().run('+ 200', '> A 1 len 1000', '< A 1 ack 1', '< A 1 ack 1', '< A 1 ack 1', '< A 1 ack 1');
  script.run('> nothing');
});

test('with SACK, a hole that three segments passed is sent again at once', () => {
  const script = tenModern().run(
    `< A 1 ack 1 sack ${at(1)}-${at(2)}`,
    '> nothing',
    `< A 1 ack 1 sack ${at(1)}-${at(3)}`,
  );
  script.run('> nothing', `< A 1 ack 1 sack ${at(1)}-${at(4)}`, '> A 1 len 988', '> nothing');
  assert.is(script.connection!.info().timeouts, 0);
});

test('with SACK, each hole is sent again once, and nothing that arrived is', () => {
  const script = tenModern();
  script.run(`< A 1 ack 1 sack ${at(9)}-${at(10)} ${at(5)}-${at(7)} ${at(1)}-${at(3)}`);
  const again: number[] = [];
  for (let round = 0; round < 10 && again.length < 5; round++) {
    for (const { seq } of script.pollAll()) again.push(seq);
    // Each answer tells of one more arrival: the holes come back one by one.
    script.run('+ 10', `< A 1 ack ${again.length >= 1 ? at(3) : 1} sack ${at(9)}-${at(10)} ${at(5)}-${at(7)}`);
  }
  assert.equal([...new Set(again)].length, again.length, 'none twice');
  assert.ok(again.every(seq => [at(0), at(3), at(4), at(7), at(8)].includes(seq)));
  assert.is(again[0], 1);
});

test('SACK blocks that a reordered acknowledgment repeats do no harm', () => {
  const script = tenModern().run(
    `< A 1 ack ${at(4)} sack ${at(5)}-${at(6)}`,
    `< A 1 ack ${at(4)} sack ${at(1)}-${at(3)}`,
  );
  assert.is(script.connection!.board.sackedBytes, 988);
  script.run(`< A 1 ack ${at(10)}`);
  assert.is(script.connection!.info().bytesInFlight, 0);
  assert.is(script.connection!.board.sackedBytes, 0);
});

test('one segment overtaken by another is given a quarter of a round trip', () => {
  const script = tenModern().run(`< A 1 ack 1 sack ${at(1)}-${at(2)}`, '+ 24', '> nothing', '+ 1', '> A 1 len 988');
  assert.is(script.connection!.info().retransmits, 1);
});

test('a segment that comes late within that time is not sent again, and the window stays', () => {
  const script = tenModern().run(
    `< A 1 ack 1 sack ${at(1)}-${at(2)}`,
    '+ 20',
    `< A 1 ack ${at(2)}`,
    '+ 30',
    '> nothing',
  );
  assert.is(script.connection!.info().retransmits, 0);
  assert.is(script.connection!.info().slowStartThresholdBytes, Infinity);
});

test('once reordering was seen, three passing segments are no proof of loss', () => {
  const script = tenModern().run(`< A 1 ack 1 sack ${at(1)}-${at(2)}`, '+ 1', `< A 1 ack ${at(2)}`, '> nothing');
  script.run(`< A 1 ack ${at(2)} sack ${at(3)}-${at(8)}`, '> nothing', '+ 40', `> A ${at(2)} len 988`);
});

test('a retransmission that is lost as well is noticed without a timeout', () => {
  const script = tenModern().run(`< A 1 ack 1 sack ${at(1)}-${at(4)}`, '> A 1 len 988', 'write 3952');
  // The answers to the other six let new data out after the retransmission.
  script.run(`< A 1 ack 1 sack ${at(1)}-${at(10)}`);
  const news = script.pollAll();
  assert.ok(news.length >= 3);
  script.run('+ 100', `< A 1 ack 1 sack ${at(10)}-${at(10 + news.length)} ${at(1)}-${at(10)}`, '> A 1 len 988');
  assert.is(script.connection!.info().timeouts, 0);
});

test('the last segments, if lost, are probed for after two round trips', () => {
  const script = modern().run('write 1976', '> A 1 len 988', `> A ${at(1)} len 988`, '+ 100', `< A 1 ack ${at(1)}`);
  // One segment is left: two round trips, and the time that a peer may delay its answer by; bounded by the timer.
  script.run('+ 299', '> nothing', '+ 1', `> A ${at(1)} len 988`);
});

test('a tail of several segments is probed for before the timer, by its last one', () => {
  const script = tenModern().run(
    `< A 1 ack ${at(7)}`,
    '+ 201',
    '> nothing',
    '+ 1',
    `> A ${at(9)} len 988`,
    '> nothing',
  );
  assert.is(script.connection!.info().timeouts, 0);
  // The answer shows the holes before it; their repair is paced by arrivals.
  script.run('+ 100', `< A 1 ack ${at(7)} sack ${at(9)}-${at(10)}`, `+ 0`);
  script.run('+ 25', `> A ${at(7)} len 988`, '> nothing', '+ 100', `< A 1 ack ${at(8)} sack ${at(9)}-${at(10)}`);
  script.run(`> A ${at(8)} len 988`, '+ 100', `< A 1 ack ${at(10)}`);
  assert.is(script.connection!.info().timeouts, 0);
});

test('a probe carries new data when there is some', () => {
  tenModern().run('write 988', '> nothing', '+ 102', `> A ${at(10)} len 988`, '> nothing');
});

test('only one probe is out at a time', () => {
  const script = tenModern().run('+ 102', `> A ${at(9)} len 988`, '+ 299', '> nothing', '+ 1', '> A 1 len 988');
  assert.is(script.connection!.info().timeouts, 1);
});

test('a probe that repaired a loss costs one reduction', () => {
  const script = tenModern().run('+ 102', `> A ${at(9)} len 988`, '+ 100', `< A 1 ack ${at(9)}`);
  assert.is(script.connection!.info().slowStartThresholdBytes, Infinity);
  script.run('write 988', `> A ${at(10)} len 988`, '+ 1', `< A 1 ack ${at(11)}`);
  assert.ok(script.connection!.info().slowStartThresholdBytes < Infinity);
});

test('a probe that was not needed costs nothing', () => {
  const script = tenModern().run('+ 102', `> A ${at(9)} len 988`, '+ 10', `< A 1 ack ${at(10)}`);
  script.run(`< A 1 ack ${at(10)} sack ${at(9)}-${at(10)}`);
  assert.is(script.connection!.info().slowStartThresholdBytes, Infinity);
});

test('without SACK there are no probes', () => {
  tenPlain().run('+ 199', '> nothing', '+ 1', '> A 1 len 1000');
});

test('the first timeout after a silence does not wait for a delayed acknowledgment in vain', () => {
  // 100 ms round trip and 200 ms floor: the timer is never below 300 ms, so that a delay of 200 ms fits in.
  const script = plain().run('write 10', '> A 1 len 10', '+ 299', '< A 1 ack 11', '+ 1000', '> nothing');
  assert.is(script.connection!.info().timeouts, 0);
});

test('the rate in recovery follows the arrivals, and ends at 0.7 of the window', () => {
  const script = tenModern().run('write 20000', `< A 1 ack 1 sack ${at(1)}-${at(4)}`);
  let sent = script.pollAll().length;
  for (let i = 5; i <= 10; i++) {
    script.run('+ 1', `< A 1 ack 1 sack ${at(1)}-${at(i)}`);
    const now = script.pollAll().length;
    assert.ok(now <= 2, `${now} segments for one arrival`);
    sent += now;
  }
  script.run('+ 100', `< A 1 ack ${at(10)}`);
  const { congestionWindowBytes } = script.connection!.info();
  // 0.7 * 9880, and what one more arrival adds to it.
  assert.ok(congestionWindowBytes >= 6916 && congestionWindowBytes < 7050, `${congestionWindowBytes} bytes`);
  assert.ok(sent >= 5 && sent <= 7, `${sent} segments while nine arrived`);
});

test('a recovery that was a mistake is taken back by the echoed timestamp', () => {
  const script = tenModern().run(`< A 1 ack 1 sack ${at(1)}-${at(4)}`, '> A 1 len 988');
  const before = script.lastTsVal;
  // The first segment arrives after all: the answer echoes its first copy.
  script.run('+ 5', `< A 1 ack ${at(4)} ts now ${before - 100}`);
  assert.is(script.connection!.info().undone, 1);
  assert.ok(script.connection!.info().congestionWindowBytes >= 9880);
  assert.is(script.connection!.info().slowStartThresholdBytes, Infinity);
});

test('a recovery that was none is not taken back', () => {
  const script = tenModern().run(`< A 1 ack 1 sack ${at(1)}-${at(4)}`, '> A 1 len 988', '+ 100', `< A 1 ack ${at(4)}`);
  assert.is(script.connection!.info().undone, 0);
});

test('a timeout that was a mistake is taken back, and what was not sent again is not', () => {
  const script = tenModern().run('+ 102', `> A ${at(9)} len 988`, '+ 300', '> A 1 len 988');
  const before = script.lastTsVal;
  script.run('+ 1', `< A 1 ack ${at(5)} ts now ${before - 502}`);
  assert.is(script.connection!.info().undone, 1);
  assert.ok(script.connection!.info().congestionWindowBytes >= 9880);
  script.run('> nothing', `< A 1 ack ${at(10)}`, '> nothing');
  assert.is(script.connection!.info().retransmits, 2);
});

test('a recovery is taken back when every retransmission is reported as a duplicate', () => {
  const script = tenModern().run(`< A 1 ack 1 sack ${at(1)}-${at(4)}`, '> A 1 len 988', '+ 100', `< A 1 ack ${at(10)}`);
  script.run(`< A 1 ack ${at(10)} sack 1-${at(1)}`);
  assert.is(script.connection!.info().undone, 1);
});

test('a duplicate report about something else takes nothing back', () => {
  const script = tenModern().run(`< A 1 ack 1 sack ${at(1)}-${at(4)}`, '> A 1 len 988', '+ 100', `< A 1 ack ${at(10)}`);
  script.run(`< A 1 ack ${at(10)} sack ${at(10) - 5000000}-${at(10) - 4999000}`);
  assert.is(script.connection!.info().undone, 0);
});

test('a receiver that throws away what it reported gets it again after the timeout', () => {
  const script = tenModern().run(`< A 1 ack 1 sack ${at(1)}-${at(10)}`, '> A 1 len 988', '+ 100');
  // It acknowledges the first only, and says nothing of the rest any more: it has dropped them.
  script.run(`< A 1 ack ${at(1)}`);
  assert.is(script.connection!.board.sackedBytes, 9 * 988);
  script.advance(1000);
  const first = script.pollAll();
  assert.is(first[0]!.seq, at(1));
  script.run(`< A 1 ack ${at(1 + first.length)}`);
  let una = 1 + first.length;
  for (let i = 0; i < 10 && una < 10; i++) {
    script.advance(50);
    una += script.pollAll().length;
    script.run(`< A 1 ack ${at(una)}`);
  }
  assert.is(script.connection!.info().bytesInFlight, 0);
});

test('a gap is reported at once, the latest block first', () => {
  const script = modern().run('< A 101 ack 1 len 100', '> A 1 ack 1 sack 101-201', '< A 301 ack 1 len 100');
  script.run('> A 1 ack 1 sack 301-401 101-201', '< A 501 ack 1 len 100', '> A 1 ack 1 sack 501-601 301-401 101-201');
  script.run(
    '< A 201 ack 1 len 100',
    '> A 1 ack 1 sack 101-401 501-601',
    '< A 1 ack 1 len 100',
    '> A 1 ack 401 sack 501-601',
  );
  script.run('< A 401 ack 1 len 100', '> A 1 ack 601 nosack', 'read 600');
});

test('three blocks fit beside the timestamps, the oldest are left out', () => {
  const script = modern();
  for (let i = 0; i < 5; i++) script.inject(`A ${101 + 200 * i} ack 1 len 100`);
  script.run('> A 1 ack 1 sack 901-1001 701-801 501-601');
});

test('without timestamps four blocks fit', () => {
  const script = new Script().connect();
  script.run('> S 0', '< SA 0 ack 1 mss 1000 sackOK', '> A 1');
  for (let i = 0; i < 5; i++) script.inject(`A ${101 + 200 * i} ack 1 len 100`);
  script.run('> A 1 ack 1 sack 901-1001 701-801 501-601 301-401');
});

test('a duplicate is reported once, before the other blocks (DSACK)', () => {
  const script = modern().run(
    '< A 1 ack 1 len 100',
    '> A 1 ack 101 nosack',
    '< A 301 ack 1 len 100',
    '> A 1 sack 301-401',
  );
  script.run(
    '< A 1 ack 1 len 100',
    '> A 1 ack 101 sack 1-101 301-401',
    '< A 301 ack 1 len 100',
    '> A 1 ack 101 sack 301-401 301-401',
  );
  script.run('< A 501 ack 1 len 10', '> A 1 ack 101 sack 501-511 301-401');
});

test('a segment that overlaps what is there brings its new part', () => {
  modern().run('< A 1 ack 1 len 100', '> A', '< A 51 ack 1 len 100', '> A 1 ack 151 sack 51-101', 'read 150');
});

test('a peer that did not offer SACK gets none', () => {
  plain({ hasSack: true }).run('< A 101 ack 1 len 100', '> A 1 ack 1 nosack');
});

test('data segments carry SACK blocks as well, and stay within the MTU', () => {
  const script = accepted().run('< A 101 ack 1 len 100', '> A 1 ack 1 sack 101-201', 'write 2000');
  script.run('> A 1 len 968 sack 101-201', '> A 969 len 968 sack 101-201');
});

test('a retransmission leaves out the blocks that do not fit', () => {
  const script = tenModern();
  script.run('< A 101 ack 1 len 100', '> A 9881 len 0 sack 101-201', '+ 500');
  for (const { packetBytes } of script.pollAll()) assert.ok(packetBytes <= 1040);
});

test('gaps are bounded: a segment that would open one more is dropped', () => {
  const script = modern({ limits: { outOfOrderRanges: 4 } });
  for (let i = 0; i < 6; i++) script.inject(`A ${101 + 200 * i} ack 1 len 100`);
  script.run('drop tcp-limit 2', '< A 201 ack 1 len 100', '< A 1 ack 1 len 100', 'read 1000 400');
});

test.run();
