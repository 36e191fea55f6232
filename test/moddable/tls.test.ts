import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { concatBytes, toBase64, toHex } from '../../lib/base/bytes.ts';
import type { StreamTlsOptions } from '../../lib/ports.ts';
import { parsePin, subjectPublicKeyInfo } from '../../targets/moddable/certificate.ts';
import { createModdableHost, type ModdableHostOptions } from '../../targets/moddable/host.ts';
import { type Pins, TlsWatch } from '../../targets/moddable/tls-watch.ts';
import { pattern, StreamProbe } from '../contract/streams.ts';
import { eventually, pause } from '../contract/wait.ts';
import { MemoryIo } from './memory-io.ts';
import {
  certificates,
  DONE,
  digest,
  handshake,
  hello,
  keyExchange,
  LEAF,
  message,
  PlainTls,
  record,
  SEALED,
  tls,
  usual,
} from './tls-support.ts';

const test = suite('TLS on Moddable');
const PINNED: Pins = { certificate: digest(LEAF) };

/** What a watcher thinks of a server's bytes, given in pieces of some size. */
function watch(bytes: Uint8Array, pieceBytes = bytes.length, pins: Pins = PINNED): TlsWatch {
  const watcher = new TlsWatch(pins, digest);
  for (let at = 0; at < bytes.length; at += pieceBytes) watcher.received(bytes.slice(at, at + pieceBytes));
  watcher.sent(SEALED);
  return watcher;
}

test('the usual handshake with the pinned certificate is settled, in whatever pieces it comes', () => {
  for (const pieceBytes of [1, 2, 7, 100, 100_000]) assert.ok(watch(handshake(...usual()), pieceBytes).isSettled);
});

test('several messages in one record, a status and a request for a certificate are fine', () => {
  const [first, ...rest] = usual();
  const one = concatBytes(record(22, concatBytes(first!, ...rest)), SEALED);
  assert.ok(watch(one).isSettled);
  const more = [hello(0xc02f, 0), certificates(LEAF, LEAF), message(22, new Uint8Array(9)), keyExchange(5, 1, 256)];
  assert.ok(watch(handshake(...more, message(13, new Uint8Array(4)), DONE)).isSettled);
});

test('it is settled only when both sides have sealed, and stays unsettled without the last message', () => {
  const whole = handshake(...usual());
  const watcher = new TlsWatch(PINNED, digest);
  watcher.received(whole);
  assert.not(watcher.isSettled);
  watcher.sent(record(22, new Uint8Array(3)));
  assert.not(watcher.isSettled);
  watcher.sent(SEALED);
  assert.ok(watcher.isSettled);
  for (let end = 0; end < whole.length; end++) {
    const part = watch(whole.slice(0, end));
    assert.not(part.isSettled);
    assert.is(part.problem, undefined);
  }
});

test('what follows the change of ciphers is not looked at', () => {
  assert.ok(watch(concatBytes(handshake(...usual()), record(21, Uint8Array.of(1, 0)), LEAF)).isSettled);
});

test('another certificate than the pinned one is refused, also behind the pinned one', () => {
  const other = LEAF.slice();
  other[100]! ^= 1;
  assert.match(watch(handshake(...usual(other))).problem!, /not the one that is pinned/);
  assert.match(watch(handshake(hello(0xc02b), certificates(other, LEAF), keyExchange(), DONE)).problem!, /pinned/);
  const twice = [hello(0xc02b), certificates(LEAF), certificates(other), keyExchange(), DONE];
  assert.match(watch(handshake(...twice)).problem!, /out of order/);
});

test('a key exchange that is not signed is refused: anonymous, no hash, a weak one, no signature', () => {
  const unsigned = [keyExchange(4, 0), keyExchange(0, 1), keyExchange(2, 1), keyExchange(1, 3), keyExchange(4, 3, 0)];
  for (const one of [...unsigned, keyExchange(4, 3, 71, 1), message(12, new Uint8Array(3))]) {
    const { problem, isSettled } = watch(handshake(hello(0xc02b), certificates(LEAF), one, DONE));
    assert.is(problem, 'its key exchange is not signed');
    assert.not(isSettled);
  }
});

test('a suite without ECDHE is refused', () => {
  for (const suite of [0x002f, 0x003c, 0x0067, 0x009e, 0x0000])
    assert.match(watch(handshake(hello(suite), certificates(LEAF), keyExchange(), DONE)).problem!, /ECDHE/);
  assert.match(watch(handshake(message(2, new Uint8Array(20)))).problem!, /ECDHE/);
});

test('messages out of order, twice or left out are refused', () => {
  const [first, second, third, last] = usual() as [Uint8Array, Uint8Array, Uint8Array, Uint8Array];
  const wrong = [
    [second, third, last],
    [first, third, last],
    [first, second, last],
    [first, first, second, third, last],
    [first, second, third, third, last],
    [first, second, third, last, second],
    [first, second, third, message(20, new Uint8Array(12)), last],
    [first, second, third, message(0, new Uint8Array(0)), last],
  ];
  for (const messages of wrong) assert.match(watch(handshake(...messages)).problem!, /out of order/);
});

test('a change of ciphers before its time is refused', () => {
  const all = usual();
  for (let count = 0; count < all.length; count++)
    assert.match(watch(handshake(...all.slice(0, count))).problem!, /cut short/);
});

test('an alert, data or anything else in clear text is refused', () => {
  const [first] = usual();
  for (const type of [21, 23, 24, 0, 255]) {
    const bytes = concatBytes(record(22, first!), record(type, Uint8Array.of(1, 0)), handshake(...usual().slice(1)));
    assert.match(watch(bytes).problem!, /something else/);
  }
});

test('a message that does not end with its record, and a record without an end, are refused', () => {
  const [first, ...rest] = usual();
  const half = concatBytes(record(22, first!.slice(0, 20)), record(22, first!.slice(20)), handshake(...rest));
  assert.match(watch(half).problem!, /does not end/);
  assert.match(watch(record(22, first!.slice(0, 3))).problem!, /does not end/);
  assert.match(watch(Uint8Array.of(22, 3, 3, 0x40, 1)).problem!, /length/);
  assert.match(watch(Uint8Array.of(22, 3, 3, 0, 0)).problem!, /length/);
});

test('random bytes never throw', () => {
  const bytes = new Uint8Array(600);
  let state = 1;
  for (let round = 0; round < 300; round++) {
    for (let i = 0; i < bytes.length; i++) bytes[i] = (state = (state * 48_271) % 0x7fff_ffff) >> 8;
    const base = handshake(...usual());
    for (let hit = 0; hit < 3; hit++) base[bytes[hit]! % base.length] = bytes[hit + 3]!;
    watch(base, 1 + (bytes[9]! % 64));
    watch(bytes);
    subjectPublicKeyInfo(bytes);
  }
});

/** DER: a tag and its contents. */
function der(tag: number, ...contents: readonly Uint8Array[]): Uint8Array {
  const all = concatBytes(...contents);
  const { length } = all;
  const size = length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 255];
  return concatBytes(Uint8Array.of(tag, ...size), all);
}

const KEY = der(0x30, der(0x30, new Uint8Array(19)), der(3, new Uint8Array(66).fill(4)));
const FIELDS = [der(2, new Uint8Array(20)), ...[10, 200, 30, 300].map(bytes => der(0x30, new Uint8Array(bytes)))];

test('the public key is found in certificates with and without a version, and in nothing else', () => {
  const tail = [der(0x30, new Uint8Array(10)), der(3, new Uint8Array(71))];
  const withVersion = der(0x30, der(0x30, der(0xa0, der(2, Uint8Array.of(2))), ...FIELDS, KEY), ...tail);
  assert.equal(subjectPublicKeyInfo(withVersion), KEY);
  assert.equal(subjectPublicKeyInfo(der(0x30, der(0x30, ...FIELDS, KEY), ...tail)), KEY);
  assert.is(subjectPublicKeyInfo(der(0x30, der(0x30, ...FIELDS), ...tail)), undefined);
  assert.is(subjectPublicKeyInfo(der(0x30, der(0x30, ...FIELDS, der(4, KEY)), ...tail)), undefined);
  for (let end = 0; end < withVersion.length; end += 3)
    assert.is(subjectPublicKeyInfo(withVersion.slice(0, end)), undefined);
});

test('a pinned public key is accepted in any certificate, another one is not', () => {
  const certificate = (serial: number) => der(0x30, der(0x30, der(2, Uint8Array.of(serial)), ...FIELDS.slice(1), KEY));
  const pins: Pins = { publicKeys: [digest(LEAF), digest(KEY)] };
  for (const serial of [1, 2]) assert.ok(watch(handshake(...usual(certificate(serial))), 50, pins).isSettled);
  for (const publicKeys of [[digest(LEAF)], []])
    assert.match(watch(handshake(...usual(certificate(1))), 50, { publicKeys }).problem!, /public key/);
  assert.match(watch(handshake(...usual(LEAF)), 50, pins).problem!, /public key/);
});

test('a pin is read as curl has it, or as hex', () => {
  const bytes = digest(LEAF);
  assert.equal(parsePin(`sha256//${toBase64(bytes)}`, 'x'), bytes);
  assert.equal(parsePin(toHex(bytes), 'x'), bytes);
  for (const text of ['', 'sha256//', toBase64(bytes), toHex(bytes).slice(2), `sha256//${toBase64(bytes.slice(1))}`])
    assert.throws(() => parsePin(text, 'net.test'), /"pins" expected sha256\/\/BASE64 .* net.test/);
});

const PIN = digest(LEAF);

/** Connects to a server of the tests that sends some bytes first. */
async function connect(bytes: Uint8Array, options: StreamTlsOptions, more: ModdableHostOptions = {}) {
  const network = new MemoryIo();
  const got: number[] = [];
  const { port } = network.listen(end => {
    end.write(bytes);
    got.push(end.received);
  });
  const host = createModdableHost(network.io({ tls }), more);
  const probe = new StreamProbe();
  probe.stream = host.openStream({ host: '127.0.0.1', port, tls: options, timeoutMs: 2000 }, probe);
  await eventually(() => probe.calls.length > 0);
  return probe;
}

test('a stream is open when the handshake is settled, and carries bytes', async () => {
  const bytes = concatBytes(handshake(...usual()));
  const probe = await connect(bytes, { serverName: 'relay.test', pin: PIN });
  assert.equal(probe.calls, ['opened']);
  assert.is(probe.stream!.write(pattern(0, 50), 0, 50), 50);
  const { host, secure } = PlainTls.seen.at(-1)!;
  assert.equal([host, secure], ['relay.test', { cache: false, verify: false }]);
  probe.stream!.close();
});

test('a stream fails with ERR_TLS when the watcher objects, also when TLSSocket is content', async () => {
  const other = handshake(...usual(LEAF.slice(1)));
  const alert = concatBytes(record(22, hello(0xc02b)), record(21, Uint8Array.of(1, 0)));
  const thrown = concatBytes(record(22, hello(0xc02b)), record(99, Uint8Array.of(0)));
  for (const [bytes, why] of [
    [other, /pinned/],
    [alert, /something else/],
    [thrown, /something else|bad signature/],
  ] as const) {
    const probe = await connect(bytes, { serverName: 'relay.test', pin: PIN });
    assert.equal(probe.calls, ['failed']);
    assert.is(probe.failure!.code, 'ERR_TLS');
    assert.match(probe.failure!.message, why);
    assert.match(probe.failure!.message, /relay\.test/);
  }
});

test('a server without a pin is refused before anything is sent, unless the application trusts Moddable', async () => {
  const before = PlainTls.seen.length;
  const probe = await connect(handshake(...usual()), { serverName: 'relay.test' });
  assert.equal(probe.calls, ['failed']);
  assert.is(probe.failure!.code, 'ERR_TLS');
  assert.match(probe.failure!.message, /"pins"/);
  assert.is(PlainTls.seen.length, before);
  const trusting = await connect(handshake(...usual()), { serverName: 'relay.test' }, { trustsModdable: true });
  assert.equal(trusting.calls, ['opened']);
  assert.equal(PlainTls.seen.at(-1)!.secure, { cache: false });
  trusting.stream!.close();
  const unsigned = handshake(hello(0xc02b), certificates(LEAF), keyExchange(4, 0), DONE);
  const forged = await connect(unsigned, { serverName: 'relay.test' }, { trustsModdable: true });
  assert.equal(forged.calls, ['failed']);
});

test('a pin of the host is that of the public key', async () => {
  const leaf = der(0x30, der(0x30, ...FIELDS, KEY));
  const pins = { 'net.test': [`sha256//${toBase64(PIN)}`, `sha256//${toBase64(digest(KEY))}`] };
  const probe = await connect(handshake(...usual(leaf)), { serverName: 'net.test' }, { pins });
  assert.equal(probe.calls, ['opened']);
  probe.stream!.close();
  const wrong = await connect(handshake(...usual(LEAF)), { serverName: 'net.test' }, { pins });
  assert.match(wrong.failure!.message, /public key/);
  assert.throws(() => createModdableHost(new MemoryIo().io(), { pins: { x: 'short' } }), /"pins"/);
});

test('a host without TLS says so', async () => {
  const host = createModdableHost(new MemoryIo().io());
  const probe = new StreamProbe();
  probe.stream = host.openStream({ host: '127.0.0.1', port: 9, tls: { serverName: 'x', pin: PIN } }, probe);
  await eventually(() => probe.failure !== undefined);
  assert.is(probe.failure!.code, 'ERR_TLS');
  assert.throws(
    () => host.openStream({ host: 'x', port: 9, tls: { serverName: 'x', pin: PIN.slice(1) } }, probe),
    /"pin" expected 32 bytes/,
  );
});

test('a server that keeps silent, and a stream that is closed during the handshake, are given up', async () => {
  const probe = await connect(record(22, hello(0xc02b)), { serverName: 'x', pin: PIN });
  assert.is(probe.failure!.code, 'ERR_TIMED_OUT');
  const host = createModdableHost(new MemoryIo().io({ tls }));
  const closed = new StreamProbe();
  closed.stream = host.openStream({ host: '127.0.0.1', port: 9, tls: { serverName: 'x', pin: PIN } }, closed);
  closed.stream.close();
  await pause(30);
  assert.equal(closed.calls, []);
});

test.run();
