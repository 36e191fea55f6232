import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import * as bytes from '../../lib/base/bytes.ts';
import { seededRandom } from '../netstack/helpers.ts';

const test = suite('base/bytes');

const of = Uint8Array.of.bind(Uint8Array);
const U32_EDGES = [0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x1_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff];

test('big-endian reads put the first byte highest and never come out negative', () => {
  const buf = of(0xee, 0x80, 0x01, 0xff, 0xfe, 0xee);
  assert.is(bytes.readU16BE(buf, 1), 0x8001);
  assert.is(bytes.readU32BE(buf, 1), 0x8001_fffe);
  assert.is(bytes.readU32LE(buf, 1), 0xfeff_0180);
});

test('what is written is read back, at any offset, and the neighbours stay', () => {
  for (const value of U32_EDGES) {
    for (const offset of [0, 1, 2, 3]) {
      const buf = new Uint8Array(9).fill(0xaa);
      bytes.writeU32BE(buf, offset, value);
      assert.is(bytes.readU32BE(buf, offset), value);
      bytes.writeU32LE(buf, offset, value);
      assert.is(bytes.readU32LE(buf, offset), value);
      for (let i = 0; i < 9; i++) if (i < offset || i >= offset + 4) assert.is(buf[i], 0xaa);
      bytes.writeU16BE(buf, offset, value);
      assert.is(bytes.readU16BE(buf, offset), value % 0x1_0000);
    }
  }
});

test('64-bit writes keep every bit of numbers up to 2^53 - 1', () => {
  const buf = new Uint8Array(8);
  for (const [value, hex] of [
    [0, '0000000000000000'],
    [1, '0000000000000001'],
    [0xffff_ffff, '00000000ffffffff'],
    [0x1_0000_0000, '0000000100000000'],
    [0x1_8000_0001, '0000000180000001'],
    [Number.MAX_SAFE_INTEGER, '001fffffffffffff'],
  ] as const) {
    bytes.writeU64BE(buf, 0, value);
    assert.is(bytes.toHex(buf), hex);
    bytes.writeU64LE(buf, 0, value);
    assert.is(bytes.toHex(buf.slice().reverse()), hex);
  }
});

test('equal bytes are equal, and a difference in any bit of any byte is seen', () => {
  const a = of(1, 2, 3, 4, 5);
  assert.ok(bytes.equalBytes(a, a.slice()));
  assert.ok(bytes.equalBytes(of(), of()));
  assert.not.ok(bytes.equalBytes(a, a.slice(1)));
  for (let i = 0; i < 5; i++) {
    for (let bit = 0; bit < 8; bit++) {
      const b = a.slice();
      b[i]! ^= 1 << bit;
      assert.not.ok(bytes.equalBytes(a, b));
    }
  }
});

test('ranges are compared at their own offsets', () => {
  assert.ok(bytes.equalRange(of(9, 1, 2, 3), 1, of(1, 2, 3, 9), 0, 3));
  assert.not.ok(bytes.equalRange(of(9, 1, 2, 3), 0, of(1, 2, 3, 9), 0, 3));
  assert.ok(bytes.equalRange(of(1), 0, of(2), 0, 0));
});

test('all zero means every byte', () => {
  assert.ok(bytes.isAllZero(new Uint8Array(33)));
  assert.ok(bytes.isAllZero(of()));
  for (let i = 0; i < 33; i++) {
    const buf = new Uint8Array(33);
    buf[i] = 0x80;
    assert.not.ok(bytes.isAllZero(buf));
  }
});

test('copying within one buffer is a memmove, in both directions', () => {
  const forward = of(1, 2, 3, 4, 5);
  bytes.copyBytes(forward, 1, forward, 0, 4);
  assert.equal([...forward], [1, 1, 2, 3, 4]);
  const back = of(1, 2, 3, 4, 5);
  bytes.copyBytes(back, 0, back, 1, 5);
  assert.equal([...back], [2, 3, 4, 5, 5]);
  const whole = new Uint8Array(3);
  bytes.copyBytes(whole, 1, of(7, 8), 0, 2);
  assert.equal([...whole], [0, 7, 8]);
});

test('concatenation makes a new array', () => {
  const part = of(1, 2);
  const joined = bytes.concatBytes(part, of(), of(3));
  part[0] = 9;
  assert.equal([...joined], [1, 2, 3]);
  assert.is(bytes.concatBytes().length, 0);
});

test('hex goes there and back, and reads both cases', () => {
  const all = Uint8Array.from({ length: 256 }, (_, i) => i);
  assert.equal(bytes.fromHex(bytes.toHex(all)), all);
  assert.is(bytes.toHex(of(0, 0xab, 0x0f)), '00ab0f');
  assert.equal(bytes.fromHex('AbCdEf'), of(0xab, 0xcd, 0xef));
  assert.equal(bytes.fromHex(''), of());
});

test('what is not hex is undefined', () => {
  for (const text of ['a', 'abc', '0g', 'g0', ' 0', '0x', '+1', '00 1', 'é0', '/0', ':0', '@0', '`0', 'G0'])
    assert.is(bytes.fromHex(text), undefined, text);
});

test('the base64 vectors of RFC 4648 §10 hold both ways', () => {
  for (const [text, encoded] of [
    ['', ''],
    ['f', 'Zg=='],
    ['fo', 'Zm8='],
    ['foo', 'Zm9v'],
    ['foob', 'Zm9vYg=='],
    ['fooba', 'Zm9vYmE='],
    ['foobar', 'Zm9vYmFy'],
  ] as const) {
    assert.is(bytes.toBase64(bytes.utf8Encode(text)), encoded);
    assert.equal(bytes.fromBase64(encoded), bytes.utf8Encode(text));
  }
});

test('base64 uses the whole alphabet', () => {
  assert.is(bytes.toBase64(of(0xfb, 0xff, 0xbf)), '+/+/');
  const random = seededRandom(3);
  for (let length = 0; length < 100; length++) {
    const buf = new Uint8Array(length);
    random(buf);
    assert.equal(bytes.fromBase64(bytes.toBase64(buf)), buf);
  }
});

test('base64 that is not canonical is undefined: padding, stray bits, foreign characters', () => {
  for (const text of [
    'Z',
    'Zg',
    'Zg=',
    '====',
    '=Zg=',
    'Z===',
    'Zh==',
    'Zm9=',
    'Zg==Zg==',
    'Zm 8',
    'Zm8-',
    'Zm_8',
    'Zm8=\n',
  ])
    assert.is(bytes.fromBase64(text), undefined, text);
});

test('UTF-8 encodes one to four bytes per character', () => {
  assert.is(bytes.toHex(bytes.utf8Encode('A\u00e4\u20ac\u{1f600}')), '41c3a4e282acf09f9880');
  assert.is(
    bytes.toHex(bytes.utf8Encode('\u007f\u0080\u07ff\u0800\uffff\u{10000}\u{10ffff}')),
    '7fc280dfbfe0a080efbfbff0908080f48fbfbf',
  );
});

test('an unpaired surrogate is encoded as the replacement character', () => {
  assert.is(bytes.toHex(bytes.utf8Encode('\ud800x\udc00')), 'efbfbd78efbfbd');
});

test('UTF-8 decodes what it encodes', () => {
  const text = 'A\u0000\u007f\u0080\u07ff\u0800\ud7ff\ue000\uffff\u{10000}\u{10ffff}';
  assert.is(bytes.utf8Decode(bytes.utf8Encode(text)), text);
  assert.is(bytes.utf8Decode(of(0x61, 0x62, 0x63, 0x64), 1, 3), 'bc');
});

test('every malformed UTF-8 byte becomes a replacement character, and what follows is still read', () => {
  for (const [hex, text] of [
    ['80', '\ufffd'],
    ['ff41', '\ufffdA'],
    ['c0af', '\ufffd\ufffd'], // overlong slash
    ['c1bf', '\ufffd\ufffd'],
    ['e080af', '\ufffd\ufffd\ufffd'], // overlong
    ['f08080af', '\ufffd\ufffd\ufffd\ufffd'], // overlong
    ['eda080', '\ufffd\ufffd\ufffd'], // surrogate
    ['f4908080', '\ufffd\ufffd\ufffd\ufffd'], // beyond 10ffff
    ['f5808080', '\ufffd\ufffd\ufffd\ufffd'],
    ['e282', '\ufffd\ufffd'], // cut off
    ['e28241', '\ufffd\ufffdA'],
    ['c3', '\ufffd'],
  ] as const)
    assert.is(bytes.utf8Decode(bytes.fromHex(hex)!), text, hex);
});

test('any bytes decode without a throw, and encoding the result decodes to itself', () => {
  const random = seededRandom(4);
  for (let i = 0; i < 2000; i++) {
    const buf = new Uint8Array(i % 23);
    random(buf);
    const text = bytes.utf8Decode(buf);
    assert.is(bytes.utf8Decode(bytes.utf8Encode(text)), text);
  }
});

test.run();
