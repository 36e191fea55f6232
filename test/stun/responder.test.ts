import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { BINDING_REQUEST_BYTES, parseBindingResponse, writeBindingRequest } from '../../lib/stun/message.ts';
import { StunResponder } from '../../lib/stun/responder.ts';
import { ramp, Seeded } from '../crypto/support.ts';

const test = suite('stun responder');

function responderOf(options = {}): StunResponder {
  return new StunResponder({ random: out => out.set(ramp(out.length, 9)), ...options });
}

function request(): Uint8Array {
  const out = new Uint8Array(BINDING_REQUEST_BYTES);
  writeBindingRequest(out, 0, ramp(12));
  return out;
}

function ask(responder: StunResponder, nowMs: number, address: string, bytes = request()): number {
  return responder.answer(nowMs, bytes, 0, bytes.length, { address, port: 777 }, new Uint8Array(44), 0);
}

test('a request is answered with where it came from, under its transaction id', () => {
  for (const address of ['192.0.2.9', '2001:db8::9']) {
    const responder = responderOf();
    const out = new Uint8Array(60);
    const bytes = request();
    const length = responder.answer(0, bytes, 0, bytes.length, { address, port: 777 }, out, 5);
    assert.equal(parseBindingResponse(out, 5, 5 + length), { idOffset: 13, address, port: 777 });
    assert.equal(out.slice(13, 25), ramp(12));
    assert.is(responder.answered, 1);
  }
});

test('the answer may be written over the request', () => {
  const buf = new Uint8Array(44);
  buf.set(request());
  const length = responderOf().answer(0, buf, 0, 40, { address: '2001:db8::9', port: 777 }, buf, 0);
  assert.equal(parseBindingResponse(buf, 0, length), { idOffset: 8, address: '2001:db8::9', port: 777 });
});

test('what is no request of a tailnet client is not answered, nor is an answer', () => {
  const responder = responderOf();
  const changed = request();
  changed[39]! ^= 1;
  const out = new Uint8Array(44);
  const response = out.slice(0, responderOf().answer(0, request(), 0, 40, { address: '192.0.2.9', port: 7 }, out, 0));
  for (const bytes of [changed, new Uint8Array(0), ramp(20), response, out])
    assert.is(ask(responder, 0, '192.0.2.9', bytes), 0);
  assert.is(ask(responder, 0, 'not an address'), 0);
  assert.equal([responder.answered, responder.malformed], [0, 6]);
});

test('a source gets so many answers at once and per second, and others are not touched by it', () => {
  const responder = responderOf({ perSecond: 10, burst: 5 });
  const answers = (nowMs: number, address: string, times: number) => {
    let count = 0;
    for (let i = 0; i < times; i++) if (ask(responder, nowMs, address) > 0) count++;
    return count;
  };
  assert.is(answers(1000, '192.0.2.1', 100), 5);
  assert.is(answers(1000, '192.0.2.2', 100), 5);
  assert.is(answers(1099, '192.0.2.1', 100), 0);
  assert.is(answers(1100, '192.0.2.1', 100), 1);
  assert.is(answers(2100, '192.0.2.1', 100), 5);
  assert.is(responder.rateLimited, 95 + 95 + 100 + 99 + 95);
});

test('an IPv6 network of /64 is one source', () => {
  const responder = responderOf({ burst: 3 });
  const addresses = ['2001:db8::1', '2001:db8::2', '2001:db8::ffff:1', '2001:db8:0:0:9::', '2001:db8:0:1::1'];
  assert.equal(
    addresses.map(address => ask(responder, 0, address) > 0),
    [true, true, true, false, true],
  );
});

test('an IPv4 source counts as one whichever form its address has', () => {
  const responder = responderOf({ burst: 2 });
  const forms = ['192.0.2.1', '::ffff:192.0.2.1', '192.0.2.1', '::ffff:192.0.2.2'];
  assert.equal(
    forms.map(address => ask(responder, 0, address)),
    [32, 32, 0, 32],
  );
});

test('however many forged sources, memory stays and a victim gets little more than its share', () => {
  const responder = responderOf({ sources: 64, perSecond: 1, burst: 4 });
  let hits = 0;
  const seeded = new Seeded(3);
  for (let i = 0; i < 20_000; i++) {
    const isVictim = i % 10 === 0;
    const address = isVictim ? '192.0.2.1' : `10.${seeded.below(256)}.${seeded.below(256)}.${seeded.below(256)}`;
    if (ask(responder, i / 100, address) > 0 && isVictim) hits++;
  }
  assert.is(hits, 4, 'its burst, and no more in 200 ms');
});

test('more sources than 1, and numbers that make sense, are demanded', () => {
  for (const name of ['sources', 'perSecond', 'burst']) {
    assert.throws(
      () => responderOf({ [name]: 0 }),
      (error: unknown) => error instanceof RangeError && error.message.includes(`"${name}"`),
    );
    responderOf({ [name]: 1 });
  }
});

test('a fresh responder answers at time zero and below', () => {
  assert.ok(ask(responderOf({ burst: 1 }), 0, '192.0.2.1') > 0);
  assert.ok(ask(responderOf({ burst: 1 }), -1000, '192.0.2.1') > 0);
});

test.run();
