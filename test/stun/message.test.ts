import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { fromHex, toHex } from '../../lib/base/bytes.ts';
import {
  BINDING_REQUEST_BYTES,
  BINDING_RESPONSE_MAX_BYTES,
  isStun,
  parseBindingRequest,
  parseBindingResponse,
  writeBindingRequest,
  writeBindingResponse,
} from '../../lib/stun/message.ts';

const test = suite('stun message');

const ID = Uint8Array.from({ length: 12 }, (_, i) => i + 1);
const REQUEST = '000100142112a4420102030405060708090a0b0c802200087461696c6e6f646580280004b32c370f';

function request(): Uint8Array {
  const out = new Uint8Array(BINDING_REQUEST_BYTES);
  writeBindingRequest(out, 0, ID);
  return out;
}

/** Seeded numbers below 256, so that a failure replays. */
function bytesFrom(seed: number, length: number): Uint8Array {
  let state = seed >>> 0;
  return Uint8Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >>> 24;
  });
}

test('a request has the known bytes', () => {
  assert.is(toHex(request()), REQUEST);
});

test('a request is accepted by its own parser and its transaction id found', () => {
  const padded = new Uint8Array(60);
  padded.set(request(), 7);
  assert.is(parseBindingRequest(padded, 7, 47), 15);
});

test('a request with any bit flipped is not answered', () => {
  for (let bit = 0; bit < BINDING_REQUEST_BYTES * 8; bit++) {
    const flipped = request();
    flipped[bit >> 3]! ^= 1 << (bit & 7);
    assert.is(parseBindingRequest(flipped, 0, 40), -1, `bit ${bit}`);
  }
});

test('a request that is cut short or has bytes behind it is not answered', () => {
  const longer = new Uint8Array(44);
  longer.set(request());
  for (let end = 0; end < 44; end++) if (end !== 40) assert.is(parseBindingRequest(longer, 0, end), -1, `${end}`);
});

test('a response carries an IPv4 and an IPv6 address back', () => {
  for (const [address, length] of [
    ['72.69.33.45', 32],
    ['2602:d1:b4cf:c100:38b2:31ff:feef:96f6', 44],
  ] as const) {
    const out = new Uint8Array(BINDING_RESPONSE_MAX_BYTES);
    assert.is(writeBindingResponse(out, 0, request(), 8, address, 59028), length);
    const got = parseBindingResponse(out, 0, length);
    assert.equal(got, { idOffset: 8, address, port: 59028 });
    assert.equal(out.slice(8, 20), ID);
  }
});

test('a response of a foreign server is read', () => {
  const bytes = fromHex('0101000c2112a4422360b11e3ec68ffa93e08007002000080001c7866957856f')!;
  assert.equal(parseBindingResponse(bytes, 0, bytes.length), { idOffset: 8, address: '72.69.33.45', port: 59028 });
});

test('an IPv4 address in IPv6 form, as a stock relay on a socket for both families sends it, is read as IPv4', () => {
  const bytes = fromHex('010100182112a4424f06e21ce9508afc70d5ec500020001400028bec2112a4424f06e21ce95075030fd5ec51')!;
  assert.equal(parseBindingResponse(bytes, 0, bytes.length), { idOffset: 8, address: '127.0.0.1', port: 43774 });
});

test('a mapped address is answered as the IPv4 address that it is', () => {
  const out = new Uint8Array(BINDING_RESPONSE_MAX_BYTES);
  assert.is(writeBindingResponse(out, 0, request(), 8, '::ffff:192.0.2.9', 5), 32);
  assert.is(parseBindingResponse(out, 0, 32)?.address, '192.0.2.9');
  for (const near of ['::fffe:192.0.2.9', '1::ffff:192.0.2.9'])
    assert.is(writeBindingResponse(out, 0, request(), 8, near, 5), 44, near);
});

test('the plain address counts only where no masked one is there', () => {
  const head = '2112a4420102030405060708090a0b0c';
  const plain = '000100080001e69401020304';
  const masked = '002000080001c7866957856f';
  const alone = fromHex(`0101000c${head}${plain}`)!;
  assert.is(parseBindingResponse(alone, 0, alone.length)?.address, '1.2.3.4');
  const both = fromHex(`01010018${head}${plain}${masked}`)!;
  assert.is(parseBindingResponse(both, 0, both.length)?.address, '72.69.33.45');
  const old = fromHex(`0101000c${head}8${masked.slice(1)}`)!;
  assert.is(parseBindingResponse(old, 0, old.length)?.address, '72.69.33.45');
});

test('a request is not a response and a response is not a request', () => {
  const out = new Uint8Array(44);
  const length = writeBindingResponse(out, 0, request(), 8, '1.2.3.4', 5);
  assert.is(parseBindingRequest(out, 0, length), -1);
  assert.is(parseBindingResponse(request(), 0, 40), undefined);
});

test('a WireGuard message is not taken for STUN', () => {
  for (const type of [1, 2, 3, 4]) {
    const message = new Uint8Array(148);
    message[0] = type;
    assert.not(isStun(message, 0, message.length));
  }
});

test('any bytes either parse or are refused, without a throw', () => {
  for (let seed = 0; seed < 5000; seed++) {
    const bytes = bytesFrom(seed, seed % 90);
    if (seed % 2 === 0 && bytes.length >= 20) bytes.set(fromHex('0101')!, 0);
    if (seed % 2 === 0 && bytes.length >= 20) bytes.set(fromHex('2112a442')!, 4);
    if (bytes.length >= 4) bytes.set([0, Math.max(0, bytes.length - 20)], 2);
    parseBindingResponse(bytes, 0, bytes.length);
    parseBindingRequest(bytes, 0, bytes.length);
  }
});

test.run();
