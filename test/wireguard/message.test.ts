/** The outer form of datagrams. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { classify } from '../../lib/wireguard/message.ts';
import { reason } from './support.ts';

const test = suite('message form');

/** A datagram of `length` bytes that starts with `head`, somewhere inside a larger buffer. */
function judge(length: number, ...head: number[]): number | string {
  const buf = new Uint8Array(length + 20).fill(0xee);
  buf.fill(0, 10, 10 + length);
  for (let i = 0; i < Math.min(length, head.length); i++) buf[10 + i] = head[i]!;
  const result = classify(buf, 10, 10 + length);
  return reason(result) ?? result;
}

test('each message is known by its type and its exact length', () => {
  assert.is(judge(148, 1), 1);
  assert.is(judge(92, 2), 2);
  assert.is(judge(64, 3), 3);
  assert.is(judge(32, 4), 4);
  assert.is(judge(33, 4), 4);
  assert.is(judge(65_507, 4), 4);
});

test('a handshake message of any other length is dropped, one byte too many included', () => {
  for (const [type, length] of [
    [1, 148],
    [2, 92],
    [3, 64],
  ] as const) {
    for (const wrong of [4, 32, length - 1, length + 1, 2 * length, 1500])
      assert.is(judge(wrong, type), 'wg-bad-length');
  }
});

test('data shorter than a keepalive and datagrams without a type word are too short', () => {
  for (const length of [4, 16, 31]) assert.is(judge(length, 4), 'wg-too-short');
  for (const length of [0, 1, 2, 3]) assert.is(judge(length, 1), 'wg-too-short');
});

test('a reserved byte that is not zero makes any message unknown', () => {
  for (const [type, length] of [
    [1, 148],
    [2, 92],
    [3, 64],
    [4, 96],
  ] as const) {
    for (let at = 1; at <= 3; at++) {
      const head = [type, 0, 0, 0];
      head[at] = 1;
      assert.is(judge(length, ...head), 'wg-unknown-type');
      head[at] = 0x80;
      assert.is(judge(length, ...head), 'wg-unknown-type');
    }
  }
});

test('other types are unknown', () => {
  for (const type of [0, 5, 6, 0x80, 0xff]) assert.is(judge(148, type), 'wg-unknown-type');
});

test.run();
