import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { toHex, utf8Decode, utf8Encode } from '../../lib/base/bytes.ts';
import { answerRelayRequest, type RelayAnswer, UpgradeReader, upgradeRequest } from '../../lib/derp/http.ts';
import { ramp, Seeded } from '../crypto/support.ts';

const test = suite('derp http');
const KEY = ramp(32);

function ask(target: string, headers: Record<string, string | string[]> = {}, method = 'GET'): RelayAnswer | undefined {
  return answerRelayRequest({ method, target, headers }, KEY);
}

test('the request has the known bytes', () => {
  assert.is(
    utf8Decode(upgradeRequest('relay.example:3340')),
    'GET /derp HTTP/1.1\r\nHost: relay.example:3340\r\nConnection: Upgrade\r\nUpgrade: DERP\r\nUser-Agent: motenet\r\n\r\n',
  );
});

test('a host or path that would add a header of its own throws', () => {
  for (const bad of ['', 'a b', 'a\r\nX: y', 'ä'])
    assert.throws(
      () => upgradeRequest(bad),
      (error: unknown) => error instanceof RangeError && error.message.includes('"host"'),
    );
  assert.throws(() => upgradeRequest('a', '/x HTTP/1.1\r\n'), /"path"/);
});

test('what the relay answers is what the client reads, in pieces of any size, and what follows is left alone', () => {
  const answer = ask('/derp', { upgrade: 'DERP', connection: 'Upgrade' });
  assert.is(answer?.type, 'derp');
  const head = (answer as { head: Uint8Array }).head;
  const stream = new Uint8Array(head.length + 3);
  stream.set(head);
  for (const piece of [1, 2, 7, 50, stream.length]) {
    const reader = new UpgradeReader(1024);
    let at = 0;
    while (reader.answer === undefined) {
      assert.ok(reader.read(stream, at, Math.min(stream.length, at + piece)));
      at = reader.offset;
    }
    assert.is(at, head.length);
    assert.equal([reader.answer.status, reader.answer.isUpgraded], [101, true]);
    assert.is(toHex(reader.answer.serverKey!), toHex(KEY));
  }
});

test('an answer without a key, with another protocol or another status is told apart', () => {
  const read = (text: string) => {
    const reader = new UpgradeReader(1024);
    return reader.read(utf8Encode(text), 0, text.length) ? reader.answer : undefined;
  };
  assert.equal(read('HTTP/1.1 101 OK\r\nupgrade: derp\r\n\r\n'), {
    status: 101,
    isUpgraded: true,
    serverKey: undefined,
  });
  assert.is(read('HTTP/1.1 101 OK\r\nUpgrade: h2c\r\n\r\n')?.isUpgraded, false);
  assert.is(read('HTTP/1.1 200 OK\r\nUpgrade: DERP\r\n\r\n')?.isUpgraded, false);
  assert.is(read('HTTP/1.1 426 Upgrade Required\r\n\r\n')?.status, 426);
  assert.is(read('HTTP/1.1 101 OK\r\nUpgrade: DERP\r\nDerp-Public-Key: 0011\r\n\r\n')?.serverKey, undefined);
  assert.is(read('SSH-2.0-x\r\n\r\n'), undefined);
});

test('a head above the limit is refused, not collected', () => {
  const reader = new UpgradeReader(200);
  assert.is(reader.read(new Uint8Array(200).fill(65), 0, 200), true);
  assert.is(reader.read(new Uint8Array(1).fill(65), 0, 1), false);
});

test('any bytes either parse or are refused, and whole and piecewise reading agree', () => {
  for (let seed = 1; seed < 600; seed++) {
    const seeded = new Seeded(seed);
    const text = [
      'HTTP/1.1 ',
      '101',
      '\r\n',
      '\r\n',
      '\r\n\r\n',
      'Upgrade: DERP',
      ':',
      ' ',
      '\r',
      '\n',
      'Derp-Public-Key: 00',
    ];
    let bytes = '';
    for (let i = 0; i < 12; i++) bytes += text[seeded.below(text.length)];
    const stream = utf8Encode(bytes);
    const whole = new UpgradeReader(80);
    const isWhole = whole.read(stream, 0, stream.length);
    const pieces = new UpgradeReader(80);
    let isRead = true;
    for (let at = 0; at < stream.length && isRead && pieces.answer === undefined; at++)
      isRead = pieces.read(stream, at, at + 1);
    assert.equal([isRead, pieces.answer, pieces.offset], [isWhole, whole.answer, whole.offset], `seed ${seed}`);
  }
});

test('a relay upgrades derp and websocket, and says so when neither was asked for', () => {
  assert.is(ask('/derp?x=1', { upgrade: 'derp' })?.type, 'derp');
  assert.is(ask('/derp', { upgrade: 'websocket', 'sec-websocket-protocol': 'x, derp' })?.type, 'websocket');
  assert.is(ask('/derp', { upgrade: 'WebSocket' })?.type, 'derp', 'the old form: raw frames under this name');
  const fast = ask('/derp', { upgrade: 'DERP', 'derp-fast-start': '1' });
  assert.is(fast?.type === 'derp' && fast.head.length, 0, 'a fast start has no HTTP answer');
  for (const bad of [ask('/derp'), ask('/derp', { upgrade: 'h2c' }), ask('/derp', { upgrade: 'derp' }, 'POST')])
    assert.is(bad?.type === 'response' && bad.status, 426);
});

test('probes are answered for reading only, other paths are not a relay’s', () => {
  for (const path of ['/derp/probe', '/derp/latency-check']) {
    const answer = ask(path, {}, 'HEAD');
    assert.ok(answer?.type === 'response' && answer.headers['Access-Control-Allow-Origin'] === '*');
    assert.is(answer.status, 200);
    const posted = ask(path, {}, 'POST');
    assert.is(posted?.type === 'response' && posted.status, 405);
  }
  for (const path of ['/', '/derper', '/key']) assert.is(ask(path), undefined);
});

test('a captive portal challenge is echoed when it is harmless', () => {
  const echoed = (challenge: string | string[]) => {
    const answer = ask('/generate_204', { 'x-tailscale-challenge': challenge });
    if (answer?.type !== 'response') throw new Error('expected a response');
    assert.is(answer.status, 204);
    return answer.headers['X-Tailscale-Response'];
  };
  assert.is(echoed('ts_derp.example:1'), 'response ts_derp.example:1');
  for (const bad of ['', '<b>', 'a b', 'a\r\nX: y', 'x'.repeat(65), ['a', 'b']]) assert.is(echoed(bad), undefined);
});

test.run();
