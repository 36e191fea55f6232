import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { utf8Decode, utf8Encode } from '../../lib/base/bytes.ts';
import { NetError } from '../../lib/base/errors.ts';
import { KeyFetch } from '../../lib/device/key-fetch.ts';
import { Streams } from '../../lib/device/streams.ts';

const test = suite('key-fetch');
const REQUEST = { host: 'control.test', port: 443, tls: { serverName: 'control.test' } };

function begin(): { fetch: KeyFetch; streams: Streams; id: number } {
  const streams = new Streams();
  const fetch = new KeyFetch(1000, streams, REQUEST, 'control.test', '/prefix');
  const command = streams.pollCommand();
  assert.equal(command, { type: 'open', id: 1, request: REQUEST });
  return { fetch, streams, id: 1 };
}

function give(fetch: KeyFetch, text: string, size = text.length): void {
  const bytes = utf8Encode(text);
  for (let at = 0; at < bytes.length; at += size) fetch.handleBytes(1000, bytes, at, Math.min(bytes.length, at + size));
}

test('the request is HTTP/1.0 for the coordinator’s own path, also when it leaves in pieces', () => {
  const { fetch } = begin();
  const out = new Uint8Array(7);
  let text = '';
  for (let count = fetch.pollBytes(0, out, 0, 7); count > 0; count = fetch.pollBytes(0, out, 0, 7))
    text += utf8Decode(out, 0, count);
  assert.match(text, /^GET \/prefix\/key\?v=113 HTTP\/1\.0\r\nHost: control\.test\r\n/);
  assert.ok(text.endsWith('\r\n\r\n'));
});

test('an answer is whole when its announced length is there, or when the stream ends', () => {
  for (const size of [1, 1000]) {
    const announced = begin();
    give(announced.fetch, 'HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nkey!and more', size);
    assert.is(utf8Decode(announced.fetch.body!), 'key!');
    assert.equal(announced.streams.pollCommand(), { type: 'close', id: 1 });
    const ended = begin();
    give(ended.fetch, 'HTTP/1.0 200 OK\r\n\r\nkey', size);
    assert.is(ended.fetch.isDone, false);
    ended.fetch.handleEnd(1000);
    assert.is(utf8Decode(ended.fetch.body!), 'key');
  }
});

test('another status, something that is not HTTP, and too much are refused with the host’s name', () => {
  const cases: [string, RegExp][] = [
    [
      'HTTP/1.1 302 Found\r\nLocation: http://elsewhere/\r\n\r\n',
      /control\.test answers GET \/key with HTTP status 302/,
    ],
    ['SSH-2.0-server\r\n\r\n', /did not answer in HTTP/],
    ['HTTP/2 200 OK\r\n\r\n', /did not answer in HTTP/],
    [`HTTP/1.1 200 OK\r\nX: ${'x'.repeat(70_000)}\r\n\r\n`, /sent too much/],
  ];
  for (const [answer, expected] of cases) {
    const { fetch } = begin();
    give(fetch, answer, 5000);
    assert.is(fetch.isDone, true);
    assert.is(fetch.body, undefined);
    assert.match(fetch.error!.message, expected);
  }
});

test('a stream that ends in the head, fails, or says nothing for fifteen seconds is an error', () => {
  const ended = begin();
  give(ended.fetch, 'HTTP/1.1 200 OK\r\n');
  ended.fetch.handleEnd(1000);
  assert.match(ended.fetch.error!.message, /did not answer in HTTP/);
  const failed = begin();
  failed.fetch.handleFailed(1000, new NetError('ERR_TLS', 'not trusted'));
  assert.is(failed.fetch.error!.code, 'ERR_TLS');
  const silent = begin();
  assert.is(silent.fetch.nextTimeout(), 16_000);
  silent.fetch.handleTimeout(15_999);
  assert.is(silent.fetch.isDone, false);
  silent.fetch.handleTimeout(16_000);
  assert.is(silent.fetch.error!.code, 'ERR_TIMED_OUT');
});

test.run();
