/** The streaming JSON reader against JSON.parse: what both accept, what it refuses, pieces, limits and skipping. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { utf8Encode } from '../../lib/base/bytes.ts';
import {
  JSON_BAD,
  JSON_KEY,
  JSON_MORE,
  JSON_NUMBER,
  JSON_OBJECT,
  JSON_OBJECT_END,
  JSON_STRING,
  JsonReader,
} from '../../lib/control/json-stream.ts';
import { Seeded } from '../crypto/support.ts';
import { randomValue, tokensOf, parsedValue, WIDE } from './json-support.ts';

const test = suite('json-stream');
const bytesOf = (text: string) => utf8Encode(text);

/** What JSON.parse says, undefined for a refusal. */
function parsed(text: string): { value: unknown } | undefined {
  try {
    return { value: JSON.parse(text) };
  } catch {
    return undefined;
  }
}

/** Text of bytes that are UTF-8; undefined otherwise. */
function textOf(bytes: Uint8Array): string | undefined {
  try {
    return decodeURIComponent(Array.from(bytes, byte => `%${byte.toString(16).padStart(2, '0')}`).join(''));
  } catch {
    return undefined;
  }
}

const GOOD = [
  '0', '-0', '1', '-1', '10', '0.5', '-0.0', '1e5', '1E+5', '1e-5', '0e0', '0E-0', '123456789012345678901234567890',
  '1.7976931348623157e308', '1e400', '-1e400', '5e-324', '1e-400', '9007199254740993', 'true', 'false', 'null', '""',
  '"a"', '"\\"\\\\\\/\\b\\f\\n\\r\\t"', '"\\u0041\\u00e4\\u20AC\\ud83d\\ude00"', '"\\ud800"', '"\\udc00\\ud800"',
  '"\\u0000"', '"\u007f"', '"\u2028"', '"äöü€😀"', '[]', '[ ]', '{}', '{ }', '[1]', '[1,2]', ' [ 1 , 2 ] ', '{"a":1}',
  '{"a":1,"a":2}', '{"":0}', '{"a":{"b":[{}]}}', '[[[[[]]]]]', '\t\r\n 1 \n', '[true,false,null]', '{"__proto__":1}',
  '[0]', '[-0]', '[1e1,2]', '{"a":0}', '[0 ]', '["\\u005c"]', '"\ufeff"',
]; // biome-ignore format: a table

const BAD = [
  '', ' ', '-', '+1', '01', '-01', '1.', '.5', '1.e1', '1e', '1e+', '1e1.5', '0x10', '1_0', 'NaN', 'Infinity', '--1',
  '1 2', 'tru', 'truth', 'True', 'nul', 'nulll', '"', '"a', '"\\"', '"\\x41"', '"\\u12"', '"\\u12g4"', '"\n"', '"\u0000"',
  '"\t"', "'a'", '[', ']', '[1', '[1,', '[1,]', '[,1]', '[1 2]', '[1}', '{', '}', '{"a"', '{"a":', '{"a":1', '{"a":1,',
  '{"a":1,}', '{a:1}', '{1:1}', '{"a" 1}', '{"a"::1}', '{"a":1]', '{,}', '[]]', '{}{}', '[] x', '// c\n1', '/**/1',
  '\ufeff1', '\u00a01', '\v1', '[1,,2]', '{"a":1,,"b":2}', '{"a","b"}', '{null:1}', '"\\u-123"', '"\\U0041"', '[-]',
  '[1e]', '[1.]', '-a', '1a', 'truefalse', '[tru]', '"\\', '"\\u', '[0x1]', '{"a":}',
]; // biome-ignore format: a table

test('what is JSON has the value that JSON.parse gives it', () => {
  for (const text of GOOD) assert.equal(parsedValue(bytesOf(text)), parsed(text), text);
  assert.is(Object.is(parsedValue(bytesOf('-0'))!.value, -0), true);
});

test('what is not JSON is refused, as JSON.parse does', () => {
  for (const text of BAD) {
    assert.is(parsed(text), undefined, text);
    assert.is(parsedValue(bytesOf(text)), undefined, JSON.stringify(text));
  }
});

test('whole and in pieces of any size, the tokens are the same', () => {
  for (const text of [...GOOD, ...BAD]) {
    const bytes = bytesOf(text);
    const whole = tokensOf(bytes);
    for (const size of [1, 2, 3, 7]) assert.equal(tokensOf(bytes, size), whole, text);
  }
});

test('bytes that are not UTF-8 are refused, every border of it', () => {
  const sequences = [
    [0x80], [0xbf], [0xc0, 0x80], [0xc1, 0xbf], [0xc2, 0x7f], [0xc2, 0xc0], [0xc2], [0xe0, 0x9f, 0xbf], [0xe1, 0x80],
    [0xe1, 0x80, 0xc0], [0xed, 0xa0, 0x80], [0xed, 0xbf, 0xbf], [0xf0, 0x8f, 0xbf, 0xbf], [0xf4, 0x90, 0x80, 0x80],
    [0xf5, 0x80, 0x80, 0x80], [0xff], [0xfe], [0xf1, 0x80, 0x80], [0xe2, 0x28, 0xa1], [0xf0, 0x9f, 0x98, 0x22],
  ]; // biome-ignore format: a table
  for (const sequence of sequences) {
    const bytes = Uint8Array.of(0x22, ...sequence, 0x22);
    assert.is(parsedValue(bytes), undefined, String(sequence));
    assert.is(parsedValue(bytes, 1), undefined, String(sequence));
  }
  for (const code of [0x80, 0x7ff, 0x800, 0xfff, 0x1000, 0xd7ff, 0xe000, 0xffff, 0x10000, 0x3ffff, 0x40000, 0x10ffff]) {
    const text = String.fromCodePoint(code);
    assert.equal(parsedValue(bytesOf(`"${text}"`), 1), { value: text });
  }
});

test('random documents have the value that JSON.parse gives them', () => {
  const seeded = new Seeded(42);
  for (let i = 0; i < 1500; i++) {
    const text = JSON.stringify(randomValue(seeded), null, seeded.below(3));
    assert.equal(parsedValue(bytesOf(text), 1 + seeded.below(9)), parsed(text), text);
  }
});

test('random documents with random damage: never accepted where JSON.parse refuses, and then with the same value', () => {
  const seeded = new Seeded(43);
  let accepted = 0;
  for (let i = 0; i < 4000; i++) {
    const bytes = bytesOf(JSON.stringify(randomValue(seeded, 3)));
    for (let n = 1 + seeded.below(2); n > 0 && bytes.length > 0; n--) {
      const alphabet = '"\\{}[],:0123456789-+.eEtrufalsn u\u0000';
      const at = seeded.below(bytes.length);
      const isAny = seeded.below(3) === 0;
      bytes[at] = isAny ? seeded.below(256) : alphabet.charCodeAt(seeded.below(alphabet.length));
    }
    const text = textOf(bytes);
    const expected = text === undefined ? undefined : parsed(text);
    const result = parsedValue(bytes, 1 + seeded.below(5));
    assert.equal(result, expected, String(text));
    if (result !== undefined) accepted++;
  }
  assert.ok(accepted > 200, `${accepted} accepted`);
});

test('random bytes either parse or are refused', () => {
  const seeded = new Seeded(44);
  for (let i = 0; i < 2000; i++) {
    const bytes = seeded.bytes(seeded.below(40));
    const text = textOf(bytes);
    assert.equal(parsedValue(bytes), text === undefined ? undefined : parsed(text));
  }
});

test('nesting up to the limit is read, one more is refused, also in what is skipped', () => {
  const limits = { depth: 5, textUnits: 10 };
  const nested = (depth: number) => bytesOf('['.repeat(depth) + ']'.repeat(depth));
  assert.ok(parsedValue(nested(5), 1, limits));
  assert.is(parsedValue(nested(6), 1, limits), undefined);
  const reader = new JsonReader(limits);
  const bytes = bytesOf(`{"a":${'['.repeat(5)}`);
  reader.write(bytes, 0, bytes.length);
  assert.is(reader.next(), JSON_OBJECT);
  assert.is(reader.next(), JSON_KEY);
  reader.skip();
  assert.is(reader.next(), JSON_BAD);
  assert.match(reader.problem!, 'deep');
  assert.is(reader.next(), JSON_BAD, 'bad stays bad');
});

test('of a text above the limit nothing remains, and reading goes on', () => {
  const bytes = bytesOf('{"abcd":"efgh","abcde":"fghij","n":12345,"m":1234}');
  const limits = { depth: 4, textUnits: 4 };
  const reader = new JsonReader(limits);
  reader.write(bytes, 0, bytes.length);
  const seen: unknown[] = [];
  for (let token = reader.next(); token !== JSON_MORE; token = reader.next()) {
    if (token === JSON_KEY || token === JSON_STRING) seen.push(reader.isTooLong ? undefined : reader.text);
    if (token === JSON_NUMBER) seen.push(reader.number);
  }
  assert.ok(reader.finish());
  assert.equal(seen, ['abcd', 'efgh', undefined, undefined, 'n', Number.NaN, 'm', 1234]);
  assert.is(reader.heldBytes, 12);
});

/** The names and values that come out when everything called "skip" is skipped. */
function withoutSkipped(text: string, size: number): unknown[] {
  const bytes = bytesOf(text);
  const reader = new JsonReader({ depth: 64, textUnits: 16 });
  const seen: unknown[] = [];
  for (let at = 0; at < bytes.length; at += size) {
    reader.write(bytes, at, Math.min(bytes.length, at + size));
    for (let token = reader.next(); token !== JSON_MORE; token = reader.next()) {
      if (token === JSON_BAD) return ['bad'];
      const value = token === JSON_KEY || token === JSON_STRING ? reader.text : token;
      if (token === JSON_KEY && value === 'skip') reader.skip();
      else seen.push(value);
    }
  }
  assert.ok(reader.finish());
  return seen;
}

test('what is skipped does not come out, whatever it is, and what follows does', () => {
  const seeded = new Seeded(45);
  for (let i = 0; i < 300; i++) {
    const value = JSON.stringify(randomValue(seeded));
    const text = `{"skip":${value},"a":{"skip": ${value} ,"b":null},"skip":${value}}`;
    for (const size of [text.length * 4, 1]) {
      assert.equal(withoutSkipped(text, size), [
        JSON_OBJECT,
        'a',
        JSON_OBJECT,
        'b',
        10,
        JSON_OBJECT_END,
        JSON_OBJECT_END,
      ]);
    }
  }
  assert.equal(withoutSkipped('{"skip":[1,{"a":2]}', 1), ['bad']);
  assert.equal(withoutSkipped('{"skip":"\\q"}', 1), ['bad']);
});

test('a container that has begun can be skipped to its end', () => {
  for (const text of ['[{"a":[1,[2]]},7]', '[[],7]', '[{},7]', '[["a",{"b":{}}],7]']) {
    const bytes = bytesOf(text);
    const reader = new JsonReader(WIDE);
    reader.write(bytes, 0, bytes.length);
    reader.next();
    reader.next();
    assert.is(reader.depth, 2);
    reader.skip();
    assert.is(reader.next(), JSON_NUMBER, text);
    assert.is(reader.number, 7);
  }
});

test('a long value that is skipped is not stored', () => {
  const reader = new JsonReader({ depth: 4, textUnits: 4 });
  const head = bytesOf('{"a":"');
  reader.write(head, 0, head.length);
  reader.next();
  reader.next();
  reader.skip();
  assert.is(reader.next(), JSON_MORE);
  const piece = new Uint8Array(1000).fill(0x78);
  for (let i = 0; i < 100; i++) {
    reader.write(piece, 0, piece.length);
    assert.is(reader.next(), JSON_MORE);
  }
  assert.not.ok(reader.isTooLong, 'nothing was kept, so nothing was too long');
  assert.is(reader.heldBytes, 12);
});

test('after a reset, a reader is new', () => {
  const reader = new JsonReader(WIDE);
  for (const text of ['{"a":[1,2', '"abc', '{"a":tru', '!', '[1]']) {
    reader.reset();
    const bytes = bytesOf(text);
    reader.write(bytes, 0, bytes.length);
    while (reader.next() > JSON_MORE);
  }
  assert.ok(reader.finish());
});

test.run();
