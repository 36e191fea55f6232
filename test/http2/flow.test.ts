import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { readU32BE } from '../../lib/base/bytes.ts';
import type { Http2Client } from '../../lib/http2/client.ts';
import {
  CANCEL,
  FLAG_END_STREAM,
  FLAG_PADDED,
  FRAME_DATA,
  FRAME_HEADERS,
  FRAME_RST_STREAM,
  FRAME_WINDOW_UPDATE,
} from '../../lib/http2/frame.ts';
import { HTTP2_LIMITS_SMALL } from '../../lib/http2/limits.ts';
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
  headers,
  hex,
  ok,
  resetsOf,
  settings,
  shortEvents,
  u32,
  update,
} from './support.ts';

const test = suite('http2 flow control');

/** `id+increment` of the window updates among the client's output. */
function updatesOf(client: Http2Client): string[] {
  return framesOf(drain(client))
    .filter(({ type }) => type === FRAME_WINDOW_UPDATE)
    .map(({ id, payload }) => `${id}+${readU32BE(payload, 0)}`);
}

/** `id:bytes` of the DATA frames among the client's output, `!` where the request ends. */
function sentOf(client: Http2Client): string[] {
  return framesOf(drain(client))
    .filter(({ type }) => type === FRAME_DATA)
    .map(({ id, flags, payload }) => `${id}:${payload.length}${(flags & FLAG_END_STREAM) !== 0 ? '!' : ''}`);
}

const POST = { ...GET, method: 'POST', endStream: false };
const WINDOWS = { windowBytes: 65_535, streamWindowBytes: 1000, initialStreamWindowBytes: 1000 };

test('a window comes back for what was consumed, not for what arrived, and only when half of it has gathered', () => {
  const client = begun(WINDOWS, 1);
  feed(client, ok(1), data(1, 600));
  assert.equal(shortEvents(client), ['headers 1 200', 'data 1 600']);
  assert.equal(updatesOf(client), []);
  client.consumed(0, 1, 499);
  assert.equal(updatesOf(client), []);
  client.consumed(0, 1, 1);
  assert.equal(updatesOf(client), ['1+500']);
  client.consumed(0, 1, 100);
  assert.equal(updatesOf(client), []);
});

test('a window that is used up comes back in whatever is consumed', () => {
  const client = begun(WINDOWS, 1);
  feed(client, ok(1), data(1, 1000));
  assert.equal(shortEvents(client), ['headers 1 200', 'data 1 1000']);
  client.consumed(0, 1, 10);
  assert.equal(updatesOf(client), ['1+10']);
  feed(client, data(1, 10));
  assert.equal(updatesOf(client), []);
});

test('padding is given back at once', () => {
  const client = begun(WINDOWS, 1);
  feed(client, ok(1));
  for (let i = 0; i < 4; i++) feed(client, frame(FRAME_DATA, FLAG_PADDED, 1, hex('c7'), new Uint8Array(199)));
  assert.equal(shortEvents(client), ['headers 1 200']);
  assert.equal(updatesOf(client), ['1+600']);
});

test('the connection’s window comes back too, also for streams that are over', () => {
  const client = begun({ windowBytes: 65_535 }, 4);
  feed(client, ok(1), data(1, 16_384), data(1, 16_000));
  assert.equal(shortEvents(client), ['headers 1 200', 'data 1 32384']);
  client.consumed(0, 1, 32_384);
  assert.equal(updatesOf(client), []);
  client.cancel(0, 3);
  feed(client, data(3, 384));
  assert.equal(updatesOf(client), ['0+32768']);
  feed(client, ok(5), data(5, 16_384), data(5, 16_384));
  assert.equal(updatesOf(client), []);
  client.cancel(0, 5);
  assert.equal(updatesOf(client), ['0+32768'], 'what a cancelled request had is free');
  feed(client, ok(7), data(7, 16_384), data(7, 16_384, true));
  assert.equal(updatesOf(client), []);
  assert.equal(shortEvents(client), ['headers 7 200', 'data 7 32768', 'end 7']);
  assert.equal(updatesOf(client), ['0+32768'], 'so is what an ended one had');
});

test('more may not be consumed than was lent', () => {
  const client = begun(WINDOWS, 1);
  feed(client, ok(1), data(1, 10));
  for (const bytes of [1, -1, Number.NaN])
    assert.throws(
      () => client.consumed(0, 1, bytes),
      (error: Error) => error instanceof RangeError,
    );
  eventsOf(client);
  client.consumed(0, 1, 10);
  assert.throws(
    () => client.consumed(0, 1, 1),
    (error: Error) => error instanceof RangeError,
  );
  client.consumed(0, 99, 1);
});

/** A server that knows its windows and sends as much as it may, in frames of `most`. */
class Flooder {
  readonly streams = new Map<number, number>();
  connection = 65_535;

  constructor(initial: number, ids: readonly number[]) {
    for (const id of ids) this.streams.set(id, initial);
  }

  hear(client: Http2Client): void {
    for (const { type, id, payload } of framesOf(drain(client))) {
      if (type !== FRAME_WINDOW_UPDATE) continue;
      const increment = readU32BE(payload, 0);
      if (id === 0) this.connection += increment;
      else this.streams.set(id, this.streams.get(id)! + increment);
    }
  }

  /** Sends one frame on a stream; returns its size. */
  say(client: Http2Client, id: number, most: number): number {
    const bytes = Math.min(this.streams.get(id)!, this.connection, most);
    if (bytes === 0) return 0;
    this.streams.set(id, this.streams.get(id)! - bytes);
    this.connection -= bytes;
    assert.is(feed(client, data(id, bytes)), bytes + 9);
    return bytes;
  }
}

test('on the small preset no more than 8 KB are ever unconsumed, whatever the caller reads', () => {
  for (let seed = 1; seed <= fuzzRounds(10); seed++) {
    const seeded = new Seeded(seed);
    const client = begun(HTTP2_LIMITS_SMALL, 4);
    const ids = [1, 3, 5, 7];
    const server = new Flooder(2048, ids);
    feed(client, ...ids.map(id => ok(id)));
    let unconsumed = 0;
    let most = 0;
    let total = 0;
    const lent = new Map(ids.map(id => [id, 0]));
    for (let round = 0; round < 600; round++) {
      const sent = server.say(client, ids[seeded.below(4)]!, 1 + seeded.below(3000));
      unconsumed += sent;
      total += sent;
      most = Math.max(most, unconsumed);
      if (seeded.below(3) === 0)
        for (const event of eventsOf(client))
          if (event.type === 'data') lent.set(event.id, lent.get(event.id)! + event.end - event.start);
      const id = ids[seeded.below(4)]!;
      const use = seeded.below(lent.get(id)! + 1);
      client.consumed(0, id, use);
      lent.set(id, lent.get(id)! - use);
      unconsumed -= use;
      server.hear(client);
      assert.ok(client.memoryBytes <= 12_000, `${client.memoryBytes}`);
    }
    assert.ok(most <= 8192, `${most}`);
    assert.ok(total > 65_535, 'beyond the first window');
  }
});

test('on the small preset one stream gets a larger window once the first surplus is used up', () => {
  const client = begun(HTTP2_LIMITS_SMALL, 1);
  const server = new Flooder(2048, [1]);
  feed(client, ok(1));
  let largest = 0;
  let total = 0;
  for (let round = 0; round < 200; round++) {
    let batch = 0;
    for (let sent = -1; sent !== 0; batch += sent) sent = server.say(client, 1, 1500);
    for (const event of eventsOf(client)) if (event.type === 'data') client.consumed(0, 1, event.end - event.start);
    server.hear(client);
    total += batch;
    largest = Math.max(largest, batch);
    if (total < 50_000) assert.ok(batch <= 2048);
  }
  assert.is(largest, 6144);
});

test('a body goes out within the windows of stream and connection and the frame size', () => {
  const client = begun();
  feed(client, settings([4, 20_000]));
  client.request(0, { ...GET, method: 'POST', body: new Uint8Array(50_000) });
  assert.equal(sentOf(client), ['1:16384', '1:3616']);
  feed(client, update(1, 1));
  assert.equal(sentOf(client), ['1:1']);
  feed(client, update(1, 100_000));
  assert.equal(sentOf(client), ['1:16384', '1:13615!']);
  client.request(0, { ...GET, method: 'POST', body: new Uint8Array(50_000) });
  feed(client, settings([4, 1_000_000]));
  assert.equal(sentOf(client), ['3:15535'], 'the connection has 65,535');
  feed(client, update(0, 1_000_000));
  assert.equal(sentOf(client), ['3:16384', '3:16384', '3:1697!']);
});

test('a smaller initial window makes windows negative, and they must rise above zero first', () => {
  const client = begun();
  client.request(0, { ...GET, method: 'POST', body: new Uint8Array(100_000) });
  drain(client);
  feed(client, update(0, 1_000_000), settings([4, 1000]), update(1, 64_535));
  assert.equal(sentOf(client), []);
  feed(client, update(1, 10));
  assert.equal(sentOf(client), ['1:10']);
  feed(client, settings([4, 2000]));
  assert.equal(sentOf(client), ['1:1000']);
});

test('bodies of several requests take turns', () => {
  const client = begun({ sendBufferBytes: 5000 });
  feed(client, settings([4, 1_000_000]), update(0, 1_000_000));
  for (let i = 0; i < 2; i++) client.request(0, { ...GET, method: 'POST', body: new Uint8Array(40_000) });
  const order = sentOf(client).map(text => text.split(':')[0]);
  assert.ok(order.indexOf('3') < 3 && order.lastIndexOf('1') > order.length - 4, order.join(' '));
});

test('a body that is continued takes what there is room for and says when there is more', () => {
  const client = begun({ sendBufferBytes: 4096 });
  const body = new Uint8Array(100_000);
  client.request(0, POST);
  assert.is(client.sendData(0, 1, body, 0, 10, false), 0, 'the head has not left');
  drain(client);
  assert.equal(shortEvents(client), ['writable 1']);
  assert.is(client.sendData(0, 1, body, 0, 100_000, true), 4087);
  assert.is(client.sendData(0, 1, body, 4087, 100_000, true), 0);
  assert.equal(shortEvents(client), []);
  assert.equal(sentOf(client), ['1:4087']);
  assert.equal(shortEvents(client), ['writable 1']);
  assert.is(client.sendData(0, 1, body, 0, 4000, false), 4000);
  drain(client);
  assert.equal(shortEvents(client), [], 'all was taken: nobody waits');
  assert.is(client.sendData(0, 1, body, 0, 0, true), 0);
  assert.equal(sentOf(client), ['1:0!']);
  assert.is(client.sendData(0, 1, body, 0, 1, false), -1);
  assert.is(client.sendData(0, 9, body, 0, 1, false), -1);
});

test('a continued body waits for the window, and may end without any', () => {
  const client = begun();
  feed(client, settings([4, 5]));
  client.request(0, { ...POST, body: new Uint8Array(3) });
  drain(client);
  assert.is(client.sendData(0, 1, new Uint8Array(9), 0, 9, false), 2);
  assert.equal(shortEvents(client), []);
  assert.equal(sentOf(client), ['1:2']);
  feed(client, update(1, 4));
  assert.equal(shortEvents(client), ['writable 1']);
  assert.is(client.sendData(0, 1, new Uint8Array(9), 2, 6, false), 4);
  assert.is(client.sendData(0, 1, new Uint8Array(9), 0, 0, true), 0);
  assert.equal(sentOf(client), ['1:4', '1:0!']);
});

test('a request without a body may be ended before its head has left', () => {
  const client = begun();
  client.request(0, POST);
  assert.is(client.sendData(0, 1, new Uint8Array(0), 0, 0, true), 0);
  const frames = framesOf(drain(client));
  assert.equal(
    frames.map(({ type, flags }) => [type, flags & FLAG_END_STREAM]),
    [[FRAME_HEADERS, FLAG_END_STREAM]],
  );
});

test('an answer before the request is complete leaves the request open', () => {
  const client = begun();
  client.request(0, POST);
  drain(client);
  feed(client, ok(1, true));
  assert.equal(shortEvents(client), ['headers 1 200', 'end 1']);
  assert.is(client.sendData(0, 1, new Uint8Array(5), 0, 5, true), 5);
  assert.equal(sentOf(client), ['1:5!']);
  assert.is(client.sendData(0, 1, new Uint8Array(5), 0, 5, true), -1);
  feed(client, frame(FRAME_RST_STREAM, 0, 1, u32(0)));
  assert.equal(shortEvents(client), []);
});

test('a request that the server starves of window ends in a clean error', () => {
  const client = begun();
  feed(client, settings([4, 100]));
  client.request(0, { ...GET, method: 'POST', body: new Uint8Array(500) });
  client.request(0, GET);
  client.request(0, POST);
  drain(client);
  assert.is(client.nextTimeout(), 30_000);
  assert.is(client.sendData(5000, 5, new Uint8Array(200), 0, 200, true), 100);
  const more = update(1, 50);
  client.handleBytes(10_000, more, 0, more.length);
  drain(client);
  assert.is(client.nextTimeout(), 35_000);
  client.handleTimeout(34_999);
  assert.equal(shortEvents(client), []);
  client.handleTimeout(35_000);
  assert.equal(shortEvents(client), [`reset 5 ${CANCEL}`]);
  client.handleTimeout(39_999);
  assert.equal(resetsOf(client), ['5:8']);
  client.handleTimeout(40_000);
  const [event] = eventsOf(client);
  assert.ok(event?.type === 'reset' && event.id === 1 && event.error.code === 'ERR_TIMED_OUT');
  assert.is(client.nextTimeout(), Infinity, 'a request that only waits for its response may wait');
  feed(client, headers(3, [[':status', '200']], true));
  assert.equal(shortEvents(client), ['headers 3 200', 'end 3']);
});

test('a request that never gets its turn ends as one that can be tried elsewhere', () => {
  const client = begun();
  feed(client, settings([3, 0]));
  client.request(1000, GET);
  drain(client);
  client.handleTimeout(31_000);
  assert.equal(shortEvents(client), [`reset 1 ${CANCEL} again`]);
  assert.equal(
    framesOf(drain(client)).filter(({ id }) => id === 1),
    [],
    'of which the server never heard',
  );
});

test.run();
