import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { concatBytes, toHex, utf8Encode } from '../../lib/base/bytes.ts';
import { Http2Client } from '../../lib/http2/client.ts';
import { headerOf } from '../../lib/http2/fields.ts';
import {
  FLAG_ACK,
  FLAG_END_HEADERS,
  FLAG_END_STREAM,
  FLAG_PADDED,
  FLAG_PRIORITY,
  FRAME_CONTINUATION,
  FRAME_DATA,
  FRAME_HEADERS,
  FRAME_PING,
  FRAME_PRIORITY,
  FRAME_RST_STREAM,
  FRAME_SETTINGS,
  NO_ERROR,
  PROTOCOL_ERROR,
  REFUSED_STREAM,
} from '../../lib/http2/frame.ts';
import { HpackDecoder } from '../../lib/http2/hpack-decoder.ts';
import { encodeFields } from '../../lib/http2/hpack-encoder.ts';
import { HTTP2_LIMITS_LARGE, HTTP2_LIMITS_SMALL } from '../../lib/http2/limits.ts';
import {
  begun,
  data,
  drain,
  eventsOf,
  feed,
  frame,
  framesOf,
  GET,
  goaway,
  goawayCode,
  headers,
  hex,
  ok,
  resetsOf,
  settings,
  settingsAck,
  shortEvents,
  u32,
  update,
} from './support.ts';

const test = suite('http2 client');

test('it speaks first: preface, settings, and for a large window an update', () => {
  const large = drain(new Http2Client({ nowMs: 0 }));
  assert.is(toHex(large.subarray(0, 24)), '505249202a20485454502f322e300d0a0d0a534d0d0a0d0a');
  assert.is(
    toHex(large.subarray(24)),
    '000012040000000000 000200000000 000400100000 000600010000 00000408000000000000 3f0001'.replaceAll(' ', ''),
  );
  const small = drain(new Http2Client({ nowMs: 0, limits: HTTP2_LIMITS_SMALL }));
  assert.is(
    toHex(small.subarray(24)),
    '000018040000000000 000200000000 000100000000 000400000800 000600000800'.replaceAll(' ', ''),
  );
});

test('a request says at first that it uses no table, and again when the server changes the size', () => {
  const client = begun();
  assert.is(client.request(0, GET), 1);
  assert.is(client.request(0, { ...GET, method: 'POST', body: utf8Encode('hi') }), 3);
  const [first, second, body] = framesOf(drain(client));
  assert.equal([first!.type, first!.flags, first!.id], [FRAME_HEADERS, FLAG_END_HEADERS | FLAG_END_STREAM, 1]);
  assert.is(toHex(first!.payload), `2082870106${toHex(utf8Encode('unused'))}84`);
  assert.equal([second!.flags, toHex(second!.payload.subarray(0, 2))], [FLAG_END_HEADERS, '8387']);
  assert.equal([body!.type, body!.flags, body!.id], [FRAME_DATA, FLAG_END_STREAM, 3]);
  feed(client, settings([1, 100]));
  client.request(0, GET);
  const third = framesOf(drain(client)).find(({ type }) => type === FRAME_HEADERS);
  assert.is(third!.payload[0], 0x20);
});

test('a response comes as its head, its data, its trailers and its end', () => {
  const client = begun({}, 1);
  const fields = [
    [':status', '203'],
    ['content-type', 'text/plain'],
    ['x-a', '1'],
    ['x-a', '2'],
  ] as const;
  feed(client, headers(1, fields), data(1, utf8Encode('hello ')), data(1, utf8Encode('world')));
  feed(client, headers(1, [['checksum', '7']], true));
  const [head, body, trailers, end, ...rest] = eventsOf(client);
  assert.equal(head, { type: 'headers', id: 1, status: 203, headers: fields.slice(1) });
  assert.ok(body?.type === 'data' && toHex(body.buf.slice(body.start, body.end)) === toHex(utf8Encode('hello world')));
  assert.equal(
    [trailers, end],
    [
      { type: 'trailers', id: 1, headers: [['checksum', '7']] },
      { type: 'end', id: 1 },
    ],
  );
  assert.equal(rest, []);
  assert.is(headerOf(fields, 'x-a'), '1');
  assert.is(headerOf(fields, 'x-b'), undefined);
});

test('several responses are taken in turns, and an ended one makes room', () => {
  const client = begun({ streams: 2, queuedRequests: 1 }, 2);
  assert.is(client.request(0, GET), 5);
  assert.is(client.request(0, GET), -1, 'full');
  assert.not(client.canRequest);
  assert.equal(framesOf(drain(client)), [], 'the third waits');
  feed(client, ok(3), data(3, 10), ok(1), data(3, 10, true), data(1, 5));
  assert.equal(shortEvents(client), ['headers 3 200', 'headers 1 200', 'data 3 20', 'data 1 5', 'end 3']);
  assert.equal(
    framesOf(drain(client)).map(({ id }) => id),
    [5],
  );
  assert.ok(client.canRequest);
});

test('the server may allow fewer streams than we do, at any time', () => {
  const client = begun();
  feed(client, settings([3, 1]));
  for (let i = 0; i < 3; i++) client.request(0, GET);
  const sent = () =>
    framesOf(drain(client))
      .filter(({ type }) => type === FRAME_HEADERS)
      .map(({ id }) => id);
  assert.equal(sent(), [1]);
  feed(client, settings([3, 0]), ok(1, true));
  assert.equal(shortEvents(client), ['headers 1 200', 'end 1']);
  assert.equal(sent(), []);
  feed(client, settings([3, 2]));
  assert.equal(sent(), [3, 5]);
});

test('padding and priority are left away, in data and in fields', () => {
  const client = begun({}, 1);
  const block = encodeFields([[':status', '200']]);
  const padding = new Uint8Array(7);
  const flags = FLAG_END_HEADERS | FLAG_PADDED | FLAG_PRIORITY;
  feed(client, frame(FRAME_HEADERS, flags, 1, hex('07'), u32(1), hex('10'), block, padding));
  feed(client, frame(FRAME_DATA, FLAG_PADDED, 1, hex('07'), utf8Encode('abc'), padding));
  feed(client, frame(FRAME_DATA, FLAG_PADDED | FLAG_END_STREAM, 1, hex('00')));
  assert.equal(shortEvents(client), ['headers 1 200', 'data 1 3', 'end 1']);
  feed(client, frame(FRAME_PRIORITY, 0, 1, new Uint8Array(5)), frame(FRAME_PRIORITY, 0, 99, new Uint8Array(5)));
  assert.is(client.error, undefined);
});

test('a header block may come in pieces', () => {
  const client = begun({}, 1);
  const block = encodeFields([
    [':status', '200'],
    ['x-long', 'y'.repeat(300)],
  ]);
  feed(client, frame(FRAME_HEADERS, FLAG_END_STREAM, 1, block.subarray(0, 100)));
  feed(client, frame(FRAME_CONTINUATION, 0, 1, block.subarray(100, 200)), frame(FRAME_CONTINUATION, 0, 1));
  assert.equal(shortEvents(client), []);
  feed(client, frame(FRAME_CONTINUATION, FLAG_END_HEADERS, 1, block.subarray(200)));
  assert.equal(shortEvents(client), ['headers 1 200', 'end 1']);
});

test('a long request head goes out in pieces of the frame size', () => {
  const client = begun();
  client.request(0, { ...GET, headers: [['x-long', 'y'.repeat(40_000)]] });
  const frames = framesOf(drain(client));
  assert.equal(
    frames.map(({ type, flags, payload }) => [type, flags, payload.length]),
    [
      [FRAME_HEADERS, FLAG_END_STREAM, 16_384],
      [FRAME_CONTINUATION, 0, 16_384],
      [FRAME_CONTINUATION, FLAG_END_HEADERS, frames[2]!.payload.length],
    ],
  );
  const decoder = new HpackDecoder(0, 100_000);
  const block = concatBytes(...frames.map(({ payload }) => payload));
  assert.is(decoder.decode(block, 0, block.length)?.fields.at(-1)?.[1].length, 40_000);
});

test('interim responses are passed over', () => {
  const client = begun({}, 1);
  feed(
    client,
    headers(1, [
      [':status', '103'],
      ['link', 'x'],
    ]),
    headers(1, [[':status', '100']]),
    ok(1, true),
  );
  assert.equal(shortEvents(client), ['headers 1 200', 'end 1']);
});

test('a ping is answered with its own bytes; an answer is not', () => {
  const client = begun();
  feed(client, frame(FRAME_PING, 0, 0, hex('0102030405060708')), frame(FRAME_PING, FLAG_ACK, 0, new Uint8Array(8)));
  const [pong, ...rest] = framesOf(drain(client));
  assert.equal([pong!.type, pong!.flags, toHex(pong!.payload), rest], [FRAME_PING, FLAG_ACK, '0102030405060708', []]);
});

test('settings are acknowledged; unknown settings, frames and flags are ignored', () => {
  const client = begun({}, 1);
  feed(client, settings([0x99, 5], [8, 1]), frame(0xfa, 0xff, 1, new Uint8Array(20)), frame(0x10, 0, 0));
  feed(client, frame(FRAME_HEADERS, FLAG_END_HEADERS | 0x80, 1, encodeFields([[':status', '200']])));
  assert.equal(shortEvents(client), ['headers 1 200']);
  const frames = framesOf(drain(client));
  assert.equal(
    frames.map(({ type, flags, payload }) => [type, flags, payload.length]),
    [[FRAME_SETTINGS, FLAG_ACK, 0]],
  );
});

test('a server that resets a request is told apart from one that refuses it', () => {
  const client = begun({}, 2);
  feed(client, frame(FRAME_RST_STREAM, 0, 1, u32(2)), frame(FRAME_RST_STREAM, 0, 3, u32(REFUSED_STREAM)));
  const events = eventsOf(client);
  assert.equal(
    events.map(event => event.type === 'reset' && [event.id, event.code, event.isRetryable, event.error.code]),
    [
      [1, 2, false, 'ERR_CONNECTION_RESET'],
      [3, REFUSED_STREAM, true, 'ERR_CONNECTION_RESET'],
    ],
  );
  assert.equal(resetsOf(client), [], 'a reset is not answered with a reset');
  feed(client, ok(1), data(3, 5), update(1, 5));
  assert.equal(shortEvents(client), [], 'what is still on its way is skipped');
});

test('a complete response stays one when the server then resets the request', () => {
  const client = begun();
  client.request(0, { ...GET, method: 'POST', endStream: false });
  drain(client);
  feed(client, ok(1), data(1, 5, true), frame(FRAME_RST_STREAM, 0, 1, u32(NO_ERROR)));
  assert.equal(shortEvents(client), ['headers 1 200', 'data 1 5', 'end 1']);
  assert.is(client.sendData(0, 1, new Uint8Array(5), 0, 5, false), -1);
});

test('a cancelled request tells the server and says nothing more', () => {
  const client = begun({ streams: 2 }, 2);
  client.request(0, GET);
  feed(client, ok(1), data(1, 50));
  client.cancel(0, 1);
  client.cancel(0, 1);
  client.cancel(0, 77);
  assert.equal(
    framesOf(drain(client)).map(({ type, id }) => [type, id]),
    [
      [FRAME_RST_STREAM, 1],
      [FRAME_HEADERS, 5],
    ],
  );
  feed(client, data(1, 50), headers(1, [['late', '1']], true), ok(5, true));
  assert.equal(shortEvents(client), ['headers 5 200', 'end 5']);
});

test('a request that is cancelled behind its complete response says nothing either', () => {
  const client = begun({}, 1);
  feed(client, ok(1), data(1, 5, true));
  client.cancel(0, 1);
  assert.equal(shortEvents(client), []);
  assert.equal(resetsOf(client), [], 'the server is done with it');
});

test('a request that is cancelled before it left never leaves', () => {
  const client = begun({ streams: 1 }, 1);
  client.request(0, GET);
  client.request(0, GET);
  client.cancel(0, 3);
  feed(client, ok(1, true));
  assert.equal(shortEvents(client), ['headers 1 200', 'end 1']);
  assert.equal(
    framesOf(drain(client)).map(({ type, id }) => [type, id]),
    [[FRAME_HEADERS, 5]],
  );
});

test('a goodbye ends what the server has not begun, as retryable, and lets the rest finish', () => {
  const client = begun({ streams: 3 }, 3);
  client.request(0, GET);
  feed(client, ok(1), goaway(1, 0), data(1, 5, true));
  assert.is(client.request(0, GET), -1);
  const expected = ['goaway 1 0', 'headers 1 200', 'reset 3 7 again', 'reset 5 7 again', 'reset 7 7 again'];
  assert.equal(shortEvents(client), [...expected, 'data 1 5', 'end 1', 'closed ERR_CLOSED']);
  assert.is(goawayCode(client), NO_ERROR);
});

test('a goodbye in two steps keeps what is under way until the second', () => {
  const client = begun({}, 2);
  feed(client, goaway(0x7fff_ffff));
  assert.equal(shortEvents(client), ['goaway 2147483647 0']);
  feed(client, goaway(1), goaway(3));
  assert.equal(shortEvents(client), ['goaway 1 0', 'reset 3 7 again'], 'the last id never rises');
  client.handleEnd();
  assert.equal(shortEvents(client), ['closed ERR_CLOSED']);
});

test('the end of the stream ends everything, after what is complete', () => {
  const client = begun({}, 2);
  feed(client, ok(1), data(1, 3, true));
  client.handleEnd();
  assert.equal(shortEvents(client), ['headers 1 200', 'data 1 3', 'end 1', 'closed ERR_CONNECTION_RESET']);
  assert.is(feed(client, settings()), -1);
  assert.is(client.request(0, GET), -1);
  assert.is(client.nextTimeout(), Infinity);
  assert.equal(drain(client), new Uint8Array(0));
});

test('closing says goodbye and gives everything up', () => {
  const client = begun({}, 1);
  feed(client, ok(1), data(1, 3));
  client.close();
  client.close();
  assert.equal(shortEvents(client), ['closed ERR_CLOSED']);
  assert.is(goawayCode(client), NO_ERROR);
  client.consumed(0, 1, 3);
  client.cancel(0, 1);
  assert.is(client.memoryBytes, 0);
});

test('a HEAD request and a 304 may announce a length that does not come', () => {
  const client = begun();
  client.request(0, { ...GET, method: 'HEAD' });
  client.request(0, GET);
  drain(client);
  feed(
    client,
    headers(
      1,
      [
        [':status', '200'],
        ['content-length', '500'],
      ],
      true,
    ),
  );
  feed(
    client,
    headers(
      3,
      [
        [':status', '304'],
        ['content-length', '500'],
      ],
      true,
    ),
  );
  assert.equal(shortEvents(client), ['headers 1 200', 'headers 3 304', 'end 1', 'end 3']);
});

test('the settings must come and be acknowledged in time', () => {
  const silent = new Http2Client({ nowMs: 1000 });
  assert.is(silent.nextTimeout(), 11_000);
  silent.handleTimeout(10_999);
  assert.is(silent.error, undefined);
  silent.handleTimeout(11_000);
  assert.is(silent.error?.code, 'ERR_TIMED_OUT');
  const half = new Http2Client({ nowMs: 0 });
  feed(half, settings());
  half.handleTimeout(10_000);
  assert.is(half.error?.code, 'ERR_TIMED_OUT', 'settings without an acknowledgment');
  const fine = new Http2Client({ nowMs: 0 });
  feed(fine, settings(), settingsAck());
  assert.is(fine.nextTimeout(), Infinity);
});

test('a silent server is pinged, and given up when it stays silent', () => {
  const client = new Http2Client({ nowMs: 0, keepAliveMs: 20_000 });
  feed(client, settings(), settingsAck());
  drain(client);
  assert.is(client.nextTimeout(), 20_000);
  client.handleTimeout(19_999);
  assert.equal(framesOf(drain(client)), []);
  client.handleTimeout(20_000);
  client.handleTimeout(20_001);
  assert.equal(
    framesOf(drain(client)).map(({ type, flags }) => [type, flags]),
    [[FRAME_PING, 0]],
  );
  const pong = frame(FRAME_PING, FLAG_ACK, 0, new Uint8Array(8));
  client.handleBytes(21_000, pong, 0, pong.length);
  assert.is(client.nextTimeout(), 41_000);
  client.handleTimeout(41_000);
  assert.is(client.nextTimeout(), 56_000);
  client.handleTimeout(55_999);
  assert.is(client.error, undefined);
  client.handleTimeout(56_000);
  assert.is(client.error?.code, 'ERR_TIMED_OUT');
  assert.is(goawayCode(client), NO_ERROR);
});

test('what cannot stand in a request is the caller’s mistake', () => {
  const client = begun(HTTP2_LIMITS_SMALL);
  const bad = [
    { ...GET, method: 'GE T' },
    { ...GET, method: 'CONNECT' },
    { ...GET, path: 'x' },
    { ...GET, path: '/a b' },
    { ...GET, path: '/\u00e9' },
    { ...GET, authority: '' },
    { ...GET, authority: 'a\r\nb: c' },
    ...[
      ['A', 'b'],
      ['a b', 'c'],
      ['', 'c'],
      [':status', '1'],
      ['a', 'b\nc'],
      ['a', ' b'],
      ['a', '\u0100'],
      ['connection', 'x'],
      ['te', 'gzip'],
    ].map(field => ({ ...GET, headers: [field as [string, string]] })),
  ];
  for (const request of bad)
    assert.throws(
      () => client.request(0, request),
      (error: Error) => error instanceof TypeError,
    );
  const large = { ...GET, headers: [['a', 'b'.repeat(2048)] as const] };
  assert.throws(
    () => client.request(0, large),
    (error: Error) => error instanceof RangeError,
  );
  assert.throws(
    () => new Http2Client({ nowMs: 0, limits: { ...HTTP2_LIMITS_LARGE, windowBytes: 2 ** 31 } }),
    (error: Error) => error instanceof RangeError,
  );
  assert.is(client.request(0, { ...GET, path: '*', method: 'OPTIONS', headers: [['te', 'trailers']] }), 1);
});

/** Everything that a scripted server says in a long conversation. */
function conversation(): Uint8Array {
  const block = encodeFields([
    [':status', '200'],
    ['x-long', 'y'.repeat(90)],
  ]);
  return concatBytes(
    settings([4, 100_000], [5, 20_000]),
    settingsAck(),
    update(0, 70_000),
    frame(FRAME_HEADERS, FLAG_PADDED, 1, hex('03'), block.subarray(0, 40), new Uint8Array(3)),
    frame(FRAME_CONTINUATION, FLAG_END_HEADERS, 1, block.subarray(40)),
    frame(FRAME_DATA, FLAG_PADDED, 1, hex('20'), new Uint8Array(700).fill(3), new Uint8Array(32)),
    frame(FRAME_PING, 0, 0, hex('0102030405060708')),
    headers(3, [
      [':status', '404'],
      ['content-length', '3'],
    ]),
    data(3, 3, true),
    frame(0xee, 1, 3, new Uint8Array(33)),
    data(1, 1300),
    update(1, 9),
    headers(5, [[':status', '100']]),
    headers(5, [
      [':status', '200'],
      ['bad name', 'x'],
    ]),
    data(5, 44),
    frame(FRAME_RST_STREAM, 0, 7, u32(5)),
    headers(1, [['t', 'u']], true),
    goaway(7, 2),
  );
}

test('fed whole, byte by byte or in any pieces, the client says and does the same', () => {
  const bytes = conversation();
  const results = new Map<string, number>();
  for (const piece of [1, 2, 3, 7, 64, 1000, bytes.length]) {
    const client = new Http2Client({ nowMs: 0, limits: HTTP2_LIMITS_SMALL });
    for (let i = 0; i < 4; i++) client.request(0, { ...GET, body: new Uint8Array(1000) });
    const before = drain(client);
    for (let at = 0; at < bytes.length; at += piece) {
      const end = Math.min(bytes.length, at + piece);
      assert.is(client.handleBytes(0, bytes, at, end), end - at);
    }
    const events = eventsOf(client).map(event =>
      event.type === 'data' ? `${event.id} ${toHex(event.buf.slice(event.start, event.end))}` : JSON.stringify(event),
    );
    results.set(`${toHex(before)} ${toHex(drain(client))} ${events.join('\n')}`, piece);
    assert.is(events.length, 11);
  }
  assert.is(results.size, 1);
});

test('fed in pieces and read after each, the bodies are the same', () => {
  const bytes = conversation();
  for (const piece of [1, 5, 100]) {
    const client = new Http2Client({ nowMs: 0, limits: HTTP2_LIMITS_SMALL });
    for (let i = 0; i < 4; i++) client.request(0, GET);
    drain(client);
    let received = 0;
    const types: string[] = [];
    for (let at = 0; at < bytes.length; at += piece) {
      client.handleBytes(0, bytes, at, Math.min(bytes.length, at + piece));
      for (let event = client.pollEvent(); event !== undefined; event = client.pollEvent()) {
        if (event.type !== 'data') types.push(event.type);
        else {
          received += event.end - event.start;
          client.consumed(0, event.id, event.end - event.start);
        }
      }
    }
    assert.is(received, 700 + 3 + 1300);
    assert.equal(types.sort(), ['closed', 'end', 'end', 'goaway', 'headers', 'headers', 'reset', 'reset', 'trailers']);
  }
});

test('a small header table of the server’s own choice is used when it is announced', () => {
  const client = begun({ headerTableBytes: 4096 }, 2);
  feed(client, frame(FRAME_HEADERS, FLAG_END_HEADERS | FLAG_END_STREAM, 1, hex('88400161016240016301 64')));
  feed(client, frame(FRAME_HEADERS, FLAG_END_HEADERS | FLAG_END_STREAM, 3, hex('88bfbe')));
  const second = eventsOf(client).find(event => event.type === 'headers' && event.id === 3);
  assert.ok(
    second?.type === 'headers' &&
      toHex(encodeFields(second.headers)) ===
        toHex(
          encodeFields([
            ['a', 'b'],
            ['c', 'd'],
          ]),
        ),
  );
  const none = begun({ headerTableBytes: 0 }, 2);
  feed(none, frame(FRAME_HEADERS, FLAG_END_HEADERS | FLAG_END_STREAM, 1, hex('884001610162')));
  assert.is(feed(none, frame(FRAME_HEADERS, FLAG_END_HEADERS, 3, hex('88be'))), -1);
  assert.is(none.error?.code, 'ERR_PROTOCOL');
  assert.is(PROTOCOL_ERROR, 1);
});

test.run();
