/** Frames of the map stream: lengths, Zstandard frames of stored blocks, pieces of any size. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { fromHex, readU32LE, toHex } from '../../lib/base/bytes.ts';
import { encodeText } from '../../lib/coordinator/map-text.ts';
import { MapFrame } from '../../lib/coordinator/zstd-frame.ts';
import { unzstd } from './map-support.ts';

const test = suite('map frames');

/** The frame of `content`, taken in pieces of `most` bytes, with the content given in pieces of `part` bytes. */
function framed(content: Uint8Array, isZstd: boolean, most: number, part: number): Uint8Array {
  const frame = new MapFrame();
  const out: number[] = [];
  const piece = new Uint8Array(most);
  frame.begin(content.length, isZstd);
  for (let at = 0; !frame.isDone; ) {
    const to = Math.min(at + part, content.length);
    const length = frame.write(piece, 0, most, content, at, to);
    at += frame.taken;
    for (let i = 0; i < length; i++) out.push(piece[i]!);
  }
  return Uint8Array.from(out);
}

function someBytes(length: number): Uint8Array {
  const out = new Uint8Array(length);
  for (let i = 0; i < length; i++) out[i] = (i * 7919) >> 5;
  return out;
}

test('a plain message is its length, little endian, and its content', () => {
  const frame = framed(encodeText('{}'), false, 1, 1);
  assert.is(toHex(frame), '020000007b7d');
});

test('a Zstandard frame of one block is what the decoders of others take', () => {
  const frame = framed(encodeText('{"KeepAlive":true}'), true, 5, 3);
  const expected = fromHex('1b00000028b52ffd20129100007b224b656570416c697665223a747275657d')!;
  assert.is(toHex(frame), toHex(expected));
});

test('content of every size around the forms of a Zstandard frame comes back', () => {
  const sizes = [1, 18, 254, 255, 256, 257, 65_791, 65_792, 65_793, 131_071, 131_072, 131_073, 262_144, 300_000];
  for (const size of sizes) {
    const content = someBytes(size);
    const frame = framed(content, true, 65_536, 10_000);
    assert.is(readU32LE(frame, 0), frame.length - 4, `length of ${size}`);
    assert.equal(unzstd(frame.subarray(4)), content, `content of ${size}`);
  }
});

test('the pieces make no difference', () => {
  for (const isZstd of [true, false]) {
    const content = someBytes(131_072 + 40);
    const whole = toHex(framed(content, isZstd, 1 << 20, 1 << 20));
    for (const [most, part] of [
      [1, 1 << 20],
      [7, 13],
      [4096, 1],
      [131_073, 131_071],
    ] as const)
      assert.is(toHex(framed(content, isZstd, most, part)), whole, `${most} and ${part}`);
  }
});

test('one frame follows another', () => {
  const frame = new MapFrame();
  const out = new Uint8Array(64);
  for (const text of ['{"a":1}', '{"b":22}']) {
    const content = encodeText(text);
    frame.begin(content.length, true);
    const length = frame.write(out, 0, out.length, content, 0, content.length);
    assert.ok(frame.isDone);
    assert.equal(unzstd(out.subarray(4, length)), content);
  }
});

test.run();
