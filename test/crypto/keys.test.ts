/** Secret keys do not print, can be wiped, and have WireGuard's text form. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { toBase64, toHex } from '../../lib/base/bytes.ts';
import { parseKey, SecretKey } from '../../lib/crypto/keys.ts';
import { ramp } from './support.ts';

const test = suite('keys');
const TEXT = 'AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=';

test('a secret key prints as [redacted] in every way that a runtime prints', () => {
  const key = SecretKey.fromBytes(ramp(32));
  assert.is(String(key), '[redacted]');
  assert.is(`${key}`, '[redacted]');
  assert.is(key + '', '[redacted]');
  assert.is(key.toString(), '[redacted]');
  assert.is([key].join(), '[redacted]');
  assert.is(JSON.stringify({ key }), '{"key":"[redacted]"}');
  const printers = key as unknown as { [name: symbol]: (() => string) | undefined };
  assert.is(printers[Symbol.for('nodejs.util.inspect.custom')]!(), '[redacted]');
  assert.is(printers[Symbol.for('Deno.customInspect')]!(), '[redacted]');
});

test('nothing that lists a key’s properties finds the bytes', () => {
  const key = SecretKey.fromBytes(ramp(32));
  assert.equal(Reflect.ownKeys(key), []);
  assert.equal({ ...key }, {});
  assert.equal(Object.entries(key), []);
});

test('a key is a copy of the bytes that it came from', () => {
  const bytes = ramp(32);
  const key = SecretKey.fromBytes(bytes);
  bytes.fill(0);
  assert.is(toHex(key.bytes), toHex(ramp(32)));
});

test('base64 goes in and out', () => {
  assert.is(SecretKey.fromBytes(ramp(32)).toBase64(), TEXT);
  assert.is(toHex(SecretKey.fromBase64(TEXT).bytes), toHex(ramp(32)));
});

test('text that is no key throws a RangeError that says what was expected and does not repeat the text', () => {
  for (const text of ['', TEXT.slice(1), `${TEXT}\n`, TEXT.replace('=', ''), TEXT.replace('A', '*'), toHex(ramp(32))]) {
    try {
      SecretKey.fromBase64(text);
      assert.unreachable();
    } catch (error) {
      assert.instance(error, RangeError);
      const { message } = error as Error;
      assert.match(message, `"privateKey" expected 44 characters of base64`);
      assert.match(message, `got ${text.length} characters`);
      assert.ok(text === '' || !message.includes(text));
    }
  }
  assert.throws(() => SecretKey.fromBytes(ramp(31)), /"privateKey" expected 32 bytes, got 31/);
});

test('a generated key takes its bytes from the given randomness and is clamped', () => {
  let asked = 0;
  const key = SecretKey.generate(out => {
    asked += out.length;
    out.fill(0xff);
  });
  assert.is(asked, 32);
  assert.is(toHex(key.bytes), `f8${'ff'.repeat(30)}7f`);
  assert.is(toHex(SecretKey.generate(out => void out.fill(0)).bytes), `${'00'.repeat(31)}40`);
});

test('wiping erases the bytes and ends the key', () => {
  const key = SecretKey.fromBytes(ramp(32));
  const { bytes } = key;
  key.wipe();
  assert.is(toHex(bytes), '00'.repeat(32));
  assert.throws(() => key.bytes, /wiped/);
  assert.throws(() => key.toBase64(), /wiped/);
  assert.is(String(key), '[redacted]');
  key.wipe();
});

test('a public or preshared key is parsed from canonical base64 of 32 bytes only', () => {
  assert.is(toHex(parseKey(TEXT)!), toHex(ramp(32)));
  assert.is(parseKey(toBase64(ramp(31))), undefined);
  assert.is(parseKey(toBase64(ramp(33))), undefined);
  assert.is(parseKey(''), undefined);
  assert.is(parseKey(` ${TEXT}`), undefined);
  assert.is(parseKey(TEXT.replace('Hh8=', 'Hh9=')), undefined, 'stray bits in the last character');
  assert.is(parseKey(TEXT.replace('=', 'A')), undefined);
});

test.run();
