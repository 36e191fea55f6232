import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { concatBytes, utf8Encode } from '../../lib/base/bytes.ts';
import { Http2Client } from '../../lib/http2/client.ts';
import {
  COMPRESSION_ERROR,
  ENHANCE_YOUR_CALM,
  FLAG_ACK,
  FLAG_END_HEADERS,
  FLAG_PADDED,
  FLOW_CONTROL_ERROR,
  FRAME_CONTINUATION,
  FRAME_DATA,
  FRAME_GOAWAY,
  FRAME_HEADERS,
  FRAME_PING,
  FRAME_PRIORITY,
  FRAME_PUSH_PROMISE,
  FRAME_RST_STREAM,
  FRAME_SETTINGS,
  FRAME_SIZE_ERROR,
  FRAME_WINDOW_UPDATE,
  PROTOCOL_ERROR,
  STREAM_CLOSED,
} from '../../lib/http2/frame.ts';
import { encodeFields } from '../../lib/http2/hpack-encoder.ts';
import { type Field, fieldBytes } from '../../lib/http2/hpack-table.ts';
import { HTTP2_LIMITS_LARGE, HTTP2_LIMITS_SMALL } from '../../lib/http2/limits.ts';
import { Seeded } from '../crypto/support.ts';
import { fuzzRounds } from '../tools/scale.ts';
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

const test = suite('http2 rules');

const STATUS: Field = ['content-type', 'x'];
const HUGE = 0x7fff_ffff;
const block = encodeFields([[':status', '200']]);

/** What a server may not do to the connection, with two requests (1 and 3) under way, and the code it is told. */
const CONNECTION_RULES: readonly (readonly [name: string, code: number, ...frames: Uint8Array[]])[] = [
  ['a frame above 16,384 bytes', FRAME_SIZE_ERROR, ok(1), frame(0xee, 0, 1, new Uint8Array(16_385))],
  ['settings of 5 bytes', FRAME_SIZE_ERROR, frame(FRAME_SETTINGS, 0, 0, new Uint8Array(5))],
  ['an acknowledgment with settings', FRAME_SIZE_ERROR, frame(FRAME_SETTINGS, FLAG_ACK, 0, new Uint8Array(6))],
  ['settings on a stream', PROTOCOL_ERROR, frame(FRAME_SETTINGS, 0, 1)],
  ['a second acknowledgment', PROTOCOL_ERROR, settingsAck()],
  ['push switched on', PROTOCOL_ERROR, settings([2, 1])],
  ['an initial window of 2 GB', FLOW_CONTROL_ERROR, settings([4, HUGE + 1])],
  ['an initial window that makes one of 2 GB', FLOW_CONTROL_ERROR, update(1, HUGE - 65_535), settings([4, 65_536])],
  ['a frame size below the least', PROTOCOL_ERROR, settings([5, 16_383])],
  ['a frame size above the most', PROTOCOL_ERROR, settings([5, 16_777_216])],
  ['a push', PROTOCOL_ERROR, frame(FRAME_PUSH_PROMISE, FLAG_END_HEADERS, 1, u32(2), block)],
  ['a ping of 7 bytes', FRAME_SIZE_ERROR, frame(FRAME_PING, 0, 0, new Uint8Array(7))],
  ['a ping on a stream', PROTOCOL_ERROR, frame(FRAME_PING, 0, 1, new Uint8Array(8))],
  ['a goodbye of 7 bytes', FRAME_SIZE_ERROR, frame(FRAME_GOAWAY, 0, 0, new Uint8Array(7))],
  ['a goodbye on a stream', PROTOCOL_ERROR, frame(FRAME_GOAWAY, 0, 1, u32(1, 0))],
  ['a reset of 3 bytes', FRAME_SIZE_ERROR, frame(FRAME_RST_STREAM, 0, 1, new Uint8Array(3))],
  ['a reset of the connection', PROTOCOL_ERROR, frame(FRAME_RST_STREAM, 0, 0, u32(8))],
  ['a reset of an idle stream', PROTOCOL_ERROR, frame(FRAME_RST_STREAM, 0, 5, u32(8))],
  ['a priority of 4 bytes', FRAME_SIZE_ERROR, frame(FRAME_PRIORITY, 0, 1, u32(1))],
  ['a priority of the connection', PROTOCOL_ERROR, frame(FRAME_PRIORITY, 0, 0, new Uint8Array(5))],
  ['an update of 5 bytes', FRAME_SIZE_ERROR, frame(FRAME_WINDOW_UPDATE, 0, 0, new Uint8Array(5).fill(1))],
  ['an update of nothing', PROTOCOL_ERROR, update(0, 0)],
  ['an update of nothing, the reserved bit aside', PROTOCOL_ERROR, update(0, 0x8000_0000)],
  ['an update beyond 2 GB', FLOW_CONTROL_ERROR, update(0, HUGE - 65_534)],
  ['an update of an idle stream', PROTOCOL_ERROR, update(5, 1)],
  ['data on the connection', PROTOCOL_ERROR, data(0, 1)],
  ['data on an idle stream', PROTOCOL_ERROR, data(5, 1)],
  ['data on a stream of the server', PROTOCOL_ERROR, data(2, 1)],
  ['data that is padded and empty', FRAME_SIZE_ERROR, ok(1), frame(FRAME_DATA, FLAG_PADDED, 1)],
  ['data with more padding than frame', PROTOCOL_ERROR, ok(1), frame(FRAME_DATA, FLAG_PADDED, 1, hex('0201'))],
  ['data that is all padding and one more', PROTOCOL_ERROR, ok(1), frame(FRAME_DATA, FLAG_PADDED, 1, hex('01'))],
  ['fields on the connection', PROTOCOL_ERROR, headers(0, [[':status', '200']])],
  ['fields on an idle stream', PROTOCOL_ERROR, headers(5, [[':status', '200']])],
  ['fields on a stream of the server', PROTOCOL_ERROR, headers(2, [[':status', '200']])],
  ['fields with more padding than frame', PROTOCOL_ERROR, frame(FRAME_HEADERS, 12, 1, hex('0388'))],
  ['fields with a priority that is cut short', PROTOCOL_ERROR, frame(FRAME_HEADERS, 36, 1, hex('8888'))],
  ['fields that are padded and empty', PROTOCOL_ERROR, frame(FRAME_HEADERS, 12, 1)],
  ['fields that do not decode', COMPRESSION_ERROR, frame(FRAME_HEADERS, 4, 1, hex('88be'))],
  [
    'fields of an unknown request that do not decode',
    COMPRESSION_ERROR,
    goaway(0),
    frame(FRAME_HEADERS, 4, 3, hex('80')),
  ],
  ['a continuation of nothing', PROTOCOL_ERROR, frame(FRAME_CONTINUATION, FLAG_END_HEADERS, 1, block)],
  ['a continuation after the end', PROTOCOL_ERROR, ok(1), frame(FRAME_CONTINUATION, FLAG_END_HEADERS, 1, block)],
  [
    'a ping within a block',
    PROTOCOL_ERROR,
    frame(FRAME_HEADERS, 0, 1, block),
    frame(FRAME_PING, 0, 0, new Uint8Array(8)),
  ],
  ['an unknown frame within a block', PROTOCOL_ERROR, frame(FRAME_HEADERS, 0, 1, block), frame(0xee, 0, 1)],
  ['another stream within a block', PROTOCOL_ERROR, frame(FRAME_HEADERS, 0, 1, block), frame(FRAME_CONTINUATION, 4, 3)],
  ['a header block above the limit', ENHANCE_YOUR_CALM, frame(FRAME_HEADERS, 4, 1, new Uint8Array(2049).fill(0x88))],
  [
    'continuations above the limit in bytes',
    ENHANCE_YOUR_CALM,
    frame(FRAME_HEADERS, 0, 1, new Uint8Array(2000).fill(0x88)),
    frame(FRAME_CONTINUATION, 0, 1, new Uint8Array(49).fill(0x88)),
  ],
  [
    'continuations above the limit in number',
    ENHANCE_YOUR_CALM,
    frame(FRAME_HEADERS, 0, 1, block),
    ...Array.from({ length: 5 }, () => frame(FRAME_CONTINUATION, 0, 1)),
  ],
];

for (const [name, code, ...frames] of CONNECTION_RULES)
  test(`the connection ends at ${name}`, () => {
    for (const isWhole of [true, false]) {
      const client = begun({ ...HTTP2_LIMITS_SMALL, headerTableBytes: 4096 }, 2);
      const bytes = concatBytes(...frames);
      if (isWhole) assert.is(client.handleBytes(0, bytes, 0, bytes.length), -1);
      else for (let at = 0; at < bytes.length; at++) client.handleBytes(0, bytes, at, at + 1);
      assert.is(client.error?.code, 'ERR_PROTOCOL');
      assert.match(client.error!.message, 'the server broke HTTP/2: ');
      assert.is(goawayCode(client), code);
      assert.is(shortEvents(client).at(-1), 'closed ERR_PROTOCOL');
    }
  });

test('the connection ends when the server does not begin with settings', () => {
  for (const first of [frame(FRAME_PING, 0, 0, new Uint8Array(8)), settingsAck(), utf8Encode('HTTP/1.1 400 Bad')]) {
    const client = new Http2Client({ nowMs: 0 });
    assert.is(feed(client, first), -1);
    assert.is(goawayCode(client), PROTOCOL_ERROR);
  }
});

test('an initial window of 2 GB ends the connection also while no request is under way', () => {
  const client = begun();
  feed(client, settings([4, HUGE]));
  assert.is(client.error, undefined);
  feed(client, settings([4, HUGE + 1]));
  assert.is(goawayCode(client), FLOW_CONTROL_ERROR);
});

test('the connection ends at more data than its window, whatever the streams allow', () => {
  const client = begun({ windowBytes: 65_535 }, 1);
  feed(client, ok(1));
  for (let i = 0; i < 4; i++) feed(client, data(1, i < 3 ? 16_384 : 16_383));
  assert.is(client.error, undefined);
  feed(client, data(1, 1));
  assert.is(goawayCode(client), FLOW_CONTROL_ERROR);
});

/** What ends a request only: with streams 1 and 3 under way, it is done to 1. */
const STREAM_RULES: readonly (readonly [name: string, code: number, ...frames: Uint8Array[]])[] = [
  ['data before its response', PROTOCOL_ERROR, data(1, 1)],
  ['more data than its window', FLOW_CONTROL_ERROR, ok(1), data(1, 2049)],
  ['an update of nothing', PROTOCOL_ERROR, update(1, 0)],
  ['an update beyond 2 GB', FLOW_CONTROL_ERROR, update(1, HUGE - 65_534)],
  ['a response without a status', PROTOCOL_ERROR, headers(1, [STATUS])],
  ['an empty block', PROTOCOL_ERROR, headers(1, [])],
  ['a status that is not first', PROTOCOL_ERROR, headers(1, [STATUS, [':status', '200']])],
  [
    'two statuses',
    PROTOCOL_ERROR,
    headers(1, [
      [':status', '200'],
      [':status', '200'],
    ]),
  ],
  [
    'an unknown pseudo field',
    PROTOCOL_ERROR,
    headers(1, [
      [':status', '200'],
      [':path', '/'],
    ]),
  ],
  ['a status of four digits', PROTOCOL_ERROR, headers(1, [[':status', '2000']])],
  ['a status below 100', PROTOCOL_ERROR, headers(1, [[':status', '099']])],
  ['a switch of protocols', PROTOCOL_ERROR, headers(1, [[':status', '101']])],
  ['an interim response that ends', PROTOCOL_ERROR, headers(1, [[':status', '103']], true)],
  [
    'a name in upper case',
    PROTOCOL_ERROR,
    headers(1, [
      [':status', '200'],
      ['X-a', '1'],
    ]),
  ],
  [
    'a name with a space',
    PROTOCOL_ERROR,
    headers(1, [
      [':status', '200'],
      ['x a', '1'],
    ]),
  ],
  [
    'an empty name',
    PROTOCOL_ERROR,
    headers(1, [
      [':status', '200'],
      ['', '1'],
    ]),
  ],
  [
    'a value with a line feed',
    PROTOCOL_ERROR,
    headers(1, [
      [':status', '200'],
      ['x-a', 'a\nb'],
    ]),
  ],
  [
    'a value with a NUL',
    PROTOCOL_ERROR,
    headers(1, [
      [':status', '200'],
      ['x-a', 'a\0b'],
    ]),
  ],
  [
    'a value with space around it',
    PROTOCOL_ERROR,
    headers(1, [
      [':status', '200'],
      ['x-a', 'b '],
    ]),
  ],
  [
    'a field of HTTP/1.1',
    PROTOCOL_ERROR,
    headers(1, [
      [':status', '200'],
      ['transfer-encoding', 'chunked'],
    ]),
  ],
  [
    'a length that is no number',
    PROTOCOL_ERROR,
    headers(1, [
      [':status', '200'],
      ['content-length', '1a'],
    ]),
  ],
  [
    'two lengths',
    PROTOCOL_ERROR,
    headers(1, [
      [':status', '200'],
      ['content-length', '1'],
      ['content-length', '2'],
    ]),
  ],
  [
    'a body that is too long',
    PROTOCOL_ERROR,
    headers(1, [
      [':status', '200'],
      ['content-length', '5'],
    ]),
    data(1, 6),
  ],
  [
    'a body that is too short',
    PROTOCOL_ERROR,
    headers(1, [
      [':status', '200'],
      ['content-length', '5'],
    ]),
    data(1, 4, true),
  ],
  ['a body of a 204', PROTOCOL_ERROR, headers(1, [[':status', '204']]), data(1, 1)],
  ['a second response', PROTOCOL_ERROR, ok(1), ok(1)],
  ['trailers with a status', PROTOCOL_ERROR, ok(1), ok(1, true)],
  ['trailers with a bad field', PROTOCOL_ERROR, ok(1), headers(1, [['A', '']], true)],
  [
    'a list of fields above the limit',
    ENHANCE_YOUR_CALM,
    frame(FRAME_HEADERS, 4, 1, hex('88'), new Uint8Array(110).fill(0x90)),
  ],
];

for (const [name, code, ...frames] of STREAM_RULES)
  test(`a request, and no other, ends at ${name}`, () => {
    for (const isWhole of [true, false]) {
      const client = begun({ ...HTTP2_LIMITS_SMALL }, 2);
      const bytes = concatBytes(...frames, ok(3, true));
      if (isWhole) client.handleBytes(0, bytes, 0, bytes.length);
      else for (let at = 0; at < bytes.length; at++) client.handleBytes(0, bytes, at, at + 1);
      assert.equal(resetsOf(client), [`1:${code}`]);
      const events = shortEvents(client).filter(event => event !== 'headers 1 200' && event !== 'headers 1 204');
      assert.equal(events, [`reset 1 ${code}`, 'headers 3 200', 'end 3']);
      assert.is(client.error, undefined);
    }
  });

test('a request that is still being sent ends at data or fields behind its response’s end', () => {
  for (const late of [data(1, 1), headers(1, [['x', 'y']], true)]) {
    const client = begun();
    client.request(0, { ...GET, method: 'POST', endStream: false });
    drain(client);
    feed(client, ok(1, true), late);
    assert.equal(resetsOf(client), [`1:${STREAM_CLOSED}`]);
    assert.equal(shortEvents(client), [`reset 1 ${STREAM_CLOSED}`]);
  }
});

test('the exact length is right', () => {
  const client = begun(HTTP2_LIMITS_SMALL, 1);
  feed(
    client,
    headers(1, [
      [':status', '200'],
      ['content-length', '5'],
    ]),
    data(1, 2),
    data(1, 3),
    data(1, 0, true),
  );
  assert.equal(shortEvents(client), ['headers 1 200', 'data 1 5', 'end 1']);
});

test('a header bomb costs neither memory nor the connection', () => {
  const client = begun({ ...HTTP2_LIMITS_LARGE }, 2);
  const entry = encodeFields([['x-bomb', 'b'.repeat(4000)]]);
  entry[0] = 0x40; // to be kept in the table
  const bomb = new Uint8Array(16_000).fill(0xbe);
  feed(client, frame(FRAME_HEADERS, FLAG_END_HEADERS, 1, hex('88'), entry));
  feed(client, frame(FRAME_HEADERS, FLAG_END_HEADERS, 3, hex('88'), bomb));
  const [first, second] = eventsOf(client);
  assert.ok(first?.type === 'headers' && fieldBytes(first.headers[0]!) === 4038);
  assert.ok(second?.type === 'reset' && second.error.code === 'ERR_LIMIT', '64 MB of fields');
  assert.is(client.error, undefined);
});

/** Feeds one kind of frame again and again, at one time; returns after how many the connection ended. */
function floodOf(client: Http2Client, bytes: Uint8Array, most: number): number {
  for (let count = 1; count <= most; count++) {
    if (feed(client, bytes) < 0) return count;
    drain(client);
    eventsOf(client);
  }
  return Infinity;
}

const FLOODS: readonly (readonly [string, Uint8Array])[] = [
  ['pings', frame(FRAME_PING, 0, 0, new Uint8Array(8))],
  ['answers to pings', frame(FRAME_PING, FLAG_ACK, 0, new Uint8Array(8))],
  ['settings', settings()],
  ['empty data', data(1, 0)],
  ['empty data of nobody', data(3, 0)],
  ['data that is only padding', frame(FRAME_DATA, FLAG_PADDED, 1, hex('0100'))],
  ['priorities', frame(FRAME_PRIORITY, 0, 1, new Uint8Array(5))],
  ['resets of what is over', frame(FRAME_RST_STREAM, 0, 3, u32(8))],
  ['unknown frames', frame(0xee, 0, 0)],
  ['interim responses', headers(5, [[':status', '103']])],
  ['fields of nobody', headers(3, [[':status', '200']])],
  ['goodbyes', goaway(0x7fff_ffff)],
];

for (const [name, bytes] of FLOODS)
  test(`a flood of ${name} ends the connection, a trickle does not`, () => {
    const make = () => {
      const client = begun(HTTP2_LIMITS_SMALL, 3);
      feed(client, ok(1));
      client.cancel(0, 3);
      return client;
    };
    const flooded = make();
    const count = floodOf(flooded, bytes, 60);
    assert.ok(count > 40 && count <= 51, `${count}`);
    assert.is(flooded.error?.code, 'ERR_PROTOCOL');
    const trickled = make();
    for (let i = 1; i <= 200; i++) {
      assert.ok(trickled.handleBytes(i * 200, bytes, 0, bytes.length) > 0, `${i}`);
      drain(trickled);
    }
  });

test('a server that asks for answers and never takes them is left', () => {
  const client = begun({ ...HTTP2_LIMITS_SMALL, idleFrames: 10_000 });
  const ping = frame(FRAME_PING, 0, 0, new Uint8Array(8));
  let count = 0;
  while (feed(client, ping) > 0 && count < 1000) count++;
  assert.ok(count > 100 && count < 300, `${count}`);
  assert.ok(client.memoryBytes < 12_000);
  assert.is(goawayCode(client), ENHANCE_YOUR_CALM);
});

test('the small preset holds little in the face of a server that uses every limit', () => {
  const client = begun(HTTP2_LIMITS_SMALL, 4);
  feed(client, ...[1, 3, 5, 7].map(id => concatBytes(ok(id), data(id, 2048))));
  for (let i = 0; i < 4; i++) client.request(0, { ...GET, headers: [['x', 'y'.repeat(1900)]] });
  for (let i = 0; i < 40; i++) feed(client, frame(FRAME_PING, 0, 0, new Uint8Array(8)));
  feed(client, frame(FRAME_HEADERS, 0, 7, new Uint8Array(2048).fill(0x88)));
  const ofRequests = 4 * 1915;
  assert.ok(client.memoryBytes <= 8192 + 2048 + 2048 + ofRequests, `${client.memoryBytes}`);
  assert.is(client.error, undefined);
});

/** A conversation with every kind of frame, from which the random tests start. */
const CONVERSATION = [
  settings([3, 10], [4, 3000]),
  settingsAck(),
  update(0, 1000),
  ok(1),
  data(1, 500),
  frame(FRAME_DATA, FLAG_PADDED, 1, hex('03'), new Uint8Array(30)),
  frame(FRAME_HEADERS, 0, 3, block),
  frame(FRAME_CONTINUATION, FLAG_END_HEADERS, 3, encodeFields([STATUS])),
  frame(FRAME_PING, 0, 0, new Uint8Array(8)),
  data(3, 100, true),
  frame(FRAME_RST_STREAM, 0, 5, u32(8)),
  update(7, 100),
  headers(1, [['a', 'b']], true),
  headers(7, [
    [':status', '200'],
    ['content-length', '10'],
  ]),
  data(7, 10, true),
  goaway(7),
];

test('random and changed frames never throw, and memory stays bounded', () => {
  const seeded = new Seeded(99);
  let alive = 0;
  for (let round = 0; round < fuzzRounds(1500); round++) {
    const client = new Http2Client({ nowMs: 0, limits: HTTP2_LIMITS_SMALL });
    for (let i = 0; i < 4; i++) client.request(0, { ...GET, body: new Uint8Array(100), endStream: i !== 2 });
    drain(client);
    const frames: Uint8Array[] = CONVERSATION.map(bytes => bytes.slice());
    for (let i = seeded.below(4); i > 0; i--) {
      const at = 2 + seeded.below(frames.length - 2);
      const how = seeded.below(4);
      if (how === 0) frames.splice(at, 1);
      else if (how === 1) frames.splice(at, 0, frames[2 + seeded.below(frames.length - 2)]!);
      else if (how === 2) frames[at]![seeded.below(frames[at]!.length)] = seeded.below(256);
      else frames[at] = frame(seeded.below(11), seeded.below(256), seeded.below(9), seeded.bytes(seeded.below(40)));
    }
    const bytes = concatBytes(...frames);
    for (let at = 0; at < bytes.length; ) {
      const end = Math.min(bytes.length, at + 1 + seeded.below(200));
      client.handleBytes(at, bytes, at, end);
      at = end;
      for (const event of eventsOf(client))
        if (event.type === 'data') client.consumed(at, event.id, event.end - event.start);
      client.sendData(at, 5, bytes, 0, 50, false);
      if (seeded.below(20) === 0) client.handleTimeout(client.nextTimeout() === Infinity ? at : at + seeded.below(100));
      framesOf(drain(client));
      assert.ok(client.memoryBytes < 12_000);
    }
    if (client.error?.code !== 'ERR_PROTOCOL') alive++;
  }
  assert.ok(alive > 0, 'some are harmless');
});

test.run();
