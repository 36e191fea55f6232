/** Paths that turn out to be narrower (RFC 1191, RFC 8201, RFC 5927 §7). */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { modern, plain, Script } from './tcp-script.ts';
import { Transfer, World } from './tcp-world.ts';

const test = suite('tcp mtu');

/** Has a router report that it takes `mtu` bytes only, quoting our segment at a relative sequence number. */
function tooBig(script: Script, seq: number, mtu: number): number {
  const buf = new Uint8Array(60);
  const isV4 = script.family === 4;
  const start = isV4 ? 20 : 40;
  buf.set([isV4 ? 0x45 : 0x60], 0);
  buf.set(script.us, isV4 ? 12 : 8);
  buf.set(script.peer, isV4 ? 16 : 24);
  const absolute = script.absolute(seq);
  buf.set([script.localPort >> 8, script.localPort, script.remotePort >> 8, script.remotePort], start);
  buf.set([absolute >>> 24, absolute >>> 16, absolute >>> 8, absolute], start + 4);
  const quoted = { family: script.family, start: 0, payload: start, end: start + 8 };
  return script.tcp.handleTooBig(script.nowMs, buf, quoted, mtu);
}

test('what was too big is cut and sent again at once', () => {
  const script = plain({ mtu: 1040 }).run('write 2500', '> A 1 len 1000', '> A 1001 len 1000', '> A 2001 len 500');
  assert.is(tooBig(script, 1, 640), 0);
  script.run('> A 1 len 600', '> A 601 len 400', '> A 1001 len 600', '> A 1601 len 400', '> nothing');
  script.run('< A 1 ack 2501', '> nothing');
  assert.is(script.connection!.info().bytesInFlight, 0);
});

test('a narrower path is no sign of congestion', () => {
  const script = plain({ mtu: 1040 }).run('write 2000', '> A 1 len 1000', '> A 1001 len 1000');
  tooBig(script, 1, 640);
  script.pollAll();
  script.run('+ 100', '< A 1 ack 2001');
  assert.is(script.connection!.info().congestionWindowBytes, 10_000);
  assert.is(script.connection!.info().slowStartThresholdBytes, Infinity);
});

test('new data is cut to the new size', () => {
  const script = plain({ mtu: 1040 }).run('write 100', '> A 1 len 100');
  tooBig(script, 1, 640);
  script.run('< A 1 ack 101', 'write 1300', '> A 101 len 600', '> A 701 len 600', '> A 1301 len 100');
});

test('a path never gets wider by such a report, and never narrower than what all paths take', () => {
  const script = plain({ mtu: 1040 }).run('write 100', '> A 1 len 100');
  assert.is(tooBig(script, 1, 1500), 0);
  assert.is(script.connection!.path.mtu, 1040);
  assert.is(tooBig(script, 1, 68), 0);
  assert.is(script.connection!.path.mtu, 576);
  const six = plain({ mtu: 1400, family: 6 }).run('write 100', '> A 1 len 100');
  tooBig(six, 1, 600);
  assert.is(six.connection!.path.mtu, 1280);
});

test('with SACK, what had arrived is not sent again', () => {
  const script = modern({ mtu: 1040 }).run('write 2964', '> A 1 len 988', '> A 989 len 988', '> A 1977 len 988');
  script.run('< A 1 ack 1 sack 989-1977');
  tooBig(script, 1, 640);
  const sent = script.pollAll().map(({ seq, length }) => `${seq}+${length}`);
  assert.equal(sent, ['1+588', '589+400', '1977+588', '2565+400']);
  script.run('< A 1 ack 2965', '> nothing');
});

test('retransmissions that are lost after the cut are found again', () => {
  const script = modern({ mtu: 1040 }).run('write 3952');
  script.pollAll();
  script.run('+ 100');
  tooBig(script, 1, 640);
  assert.is(script.pollAll().length, 8);
  // Of the eight parts, the second is lost.
  script.run('+ 100', '< A 1 ack 589 sack 989-3953', '> A 589 len 400', '< A 1 ack 3953', '> nothing');
});

test('a FIN survives the cut', () => {
  const script = plain({ mtu: 1040 }).run('write 1000', 'shutdown', '> FA 1 len 1000');
  tooBig(script, 1, 640);
  script.run('> A 1 len 600', '> FA 601 len 400', '< A 1 ack 1002', 'state FIN-WAIT-2');
});

test('a report while connecting lowers what the SYN offers', () => {
  const script = new Script({ mtu: 1040 }).connect().run('> S 0 mss 1000');
  tooBig(script, 0, 640);
  script.run('+ 1000', '> S 0 mss 600');
});

test('a transfer over a link that narrows half way is intact and keeps its pace', () => {
  const world = new World({ seed: 5, link: { delayMs: 10 } });
  const { near, far } = world.open();
  const transfer = new Transfer(near, far, 2_000_000);
  let reports = 0;
  world.up.filter = packet => {
    if (world.nowMs < 1100 || packet.length <= 900) return false;
    // The router's answer comes back at once; it quotes the header that it dropped.
    reports++;
    world.client.tcp.handleTooBig(world.nowMs, packet, { family: 4, start: 0, payload: 20, end: 28 }, 900);
    return true;
  };
  world.onStep = now => transfer.pump(now);
  const started = world.nowMs;
  assert.ok(
    world.run(() => transfer.isDone),
    'it ends',
  );
  assert.ok(transfer.isIntact);
  assert.ok(reports > 0);
  assert.is(near.path.mtu, 900);
  assert.ok(transfer.finishedMs - started < 500, `${transfer.finishedMs - started} ms`);
});

test.run();
