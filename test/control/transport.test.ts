/** Both ends of ts2021: the bytes of the handshake and of records, pieces of any size, and whatever does not fit. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { concatBytes, toHex, utf8Decode, utf8Encode } from '../../lib/base/bytes.ts';
import { RECORD_BYTES, RECORD_PLAIN_BYTES } from '../../lib/control/record-stream.ts';
import type { ControlResponder, ControlResponderEvent } from '../../lib/control/responder.ts';
import { answerControlRequest } from '../../lib/control/upgrade.ts';
import { hex, Seeded } from '../crypto/support.ts';
import {
  connect,
  feed,
  makeClient,
  makeServer,
  noble,
  plainOf,
  publicOf,
  secretOf,
  sent,
  upgradeOf,
} from './support.ts';

const test = suite('transport');
const INITIATION =
  '00910100600faa684ed28867b97f4a6a2dee5df8ce974e76b7018e3f22a1c4cf2678570f2061d2949213e755bc180b5d5dbbd8c50a' +
  '2a1beb69f8940d24cab4606a34cd5d417919c6f9474000703def54c272c14b2560acd658eb99aaf547a8893b9fd52502';
const RESPONSE =
  '020030ff2ee45601ec1b67310c7790404585ae697331eee1c1f8cf2419731c1fff3e6b8d49996f4858df908612ea5208c39084';
const HELLO = utf8Encode('hello');

function drain(end: ControlResponder): ControlResponderEvent[] {
  const events: ControlResponderEvent[] = [];
  for (let event = end.pollEvent(); event; event = end.pollEvent()) events.push(event);
  return events;
}

function say(from: { handlePlain(nowMs: number, buf: Uint8Array, start: number, end: number): number }, text: string) {
  const bytes = utf8Encode(text);
  assert.is(from.handlePlain(0, bytes, 0, bytes.length), bytes.length);
}

test('handshake and records are right byte for byte', () => {
  const client = makeClient();
  const request = sent(client);
  assert.match(utf8Decode(request), /^POST \/ts2021 HTTP\/1\.1\r\nHost: control\.test\r\n/);
  const { initiation, head } = upgradeOf(request);
  assert.is(toHex(initiation), INITIATION);
  const server = makeServer({ initiation });
  const response = sent(server);
  assert.is(toHex(response), RESPONSE);
  feed(client, concatBytes(head, response));
  assert.ok(client.isEstablished);
  assert.equal(drain(server), [{ type: 'established', machineKey: publicOf(0x11), version: 145 }]);

  say(client, 'hello');
  const first = sent(client);
  assert.is(toHex(first), '0400153eb7c70f517b459ce906fe831d0a1cc7d9d8bf3725');
  say(client, 'hello');
  const second = sent(client);
  assert.is(toHex(second), '04001506247a9f9b8d4f68a2fe2e148d0b8612cfd0d21146');
  assert.is(utf8Decode(feed(server, concatBytes(first, second)).plain), 'hellohello');
  say(server, 'world');
  const back = sent(server);
  assert.is(toHex(back), '0400158e61318d0317e6dc26969582d51ff70119aac792d4');
  assert.is(utf8Decode(feed(client, back).plain), 'world');
});

test('a server reads the initiation as the first bytes of the stream as well, in pieces, with records behind it', () => {
  const client = connect().client;
  say(client, 'hello');
  const stream = concatBytes(hex(INITIATION), sent(client));
  for (const size of [stream.length, 1, 7, 100, 102]) {
    const server = makeServer();
    const { plain, result } = feed(server, stream, size);
    assert.is(result, 0);
    assert.is(utf8Decode(plain), 'hello', `pieces of ${size}`);
    assert.is(toHex(sent(server, size)), RESPONSE);
  }
});

test('whole and byte by byte, an answer with everything behind it gives the same', () => {
  const text = 'x'.repeat(5000);
  const { server, handshake } = connect();
  say(server, text);
  const stream = concatBytes(handshake, sent(server));
  const seeded = new Seeded(7);
  for (const size of [stream.length, 1, 2, 51, 4096, 1 + seeded.below(300)]) {
    const client = makeClient();
    sent(client);
    const { plain, result } = feed(client, stream, size);
    assert.is(result, 0);
    assert.is(utf8Decode(plain), text, `pieces of ${size}`);
    assert.is(client.error, undefined);
  }
});

test('a long text leaves in records of at most 4096 bytes, however it is fetched', () => {
  const text = 'y'.repeat(10_000);
  const whole = connect().client;
  say(whole, text);
  const stream = sent(whole, 20_000);
  assert.is(stream[0], 4);
  assert.is(stream[1]! * 256 + stream[2]!, RECORD_BYTES - 3);
  assert.is(stream.length, 10_000 + 3 * (RECORD_BYTES - RECORD_PLAIN_BYTES));
  for (const room of [3, 100, 1024, 20_000]) {
    const pieces = connect();
    say(pieces.client, text);
    assert.is(utf8Decode(feed(pieces.server, sent(pieces.client, room)).plain), text, `room ${room}`);
  }
});

test('what is said before the handshake is over leaves after it', () => {
  const client = makeClient();
  say(client, 'hello');
  const { head, initiation } = upgradeOf(sent(client));
  const server = makeServer({ initiation });
  feed(client, concatBytes(head, sent(server)));
  assert.is(toHex(sent(client)), '0400153eb7c70f517b459ce906fe831d0a1cc7d9d8bf3725');
});

test('an empty record is legal and says nothing', () => {
  const { client, server } = connect();
  const empty = new Uint8Array(16);
  const key = hex('d9811dd6a320dc8484bb37ea989640c99f99a8582f50b829e347bd75da510717');
  const suiteOf = noble;
  suiteOf.aeadSeal(empty, key, new Uint8Array(12), new Uint8Array(0), new Uint8Array(0));
  assert.is(feed(server, Uint8Array.of(4, 0, 16, ...empty)).result, 0);
  say(client, 'hello');
  sent(client); // counter 0, which the empty record has used
  say(client, 'hello');
  assert.is(utf8Decode(feed(server, sent(client)).plain), 'hello');
});

test('any changed byte of a record kills the stream for good, and nothing more comes out', () => {
  const length = 24;
  for (let i = 0; i < length; i++) {
    const { client, server } = connect();
    say(client, 'hello');
    const record = sent(client);
    record[i]! ^= 1;
    let { result, plain } = feed(server, record);
    // A length that became longer waits for more, which then does not open.
    if (result === 0) ({ result, plain } = feed(server, new Uint8Array(5000)));
    assert.is(result, -1, `byte ${i}`);
    assert.is(plain.length, 0);
    assert.ok(server.error);
    assert.is(drain(server).at(-1)?.type, 'closed');
    say(client, 'hello');
    const next = sent(client);
    assert.is(server.handleBytes(0, next, 0, next.length), -1, 'dead stays dead');
    assert.is(server.handlePlain(0, HELLO, 0, 5), 0);
    assert.is(sent(server).length, 0);
    assert.is(plainOf(server).length, 0);
    assert.equal(drain(server), []);
  }
});

test('a record that comes twice, too early or from the other side does not open', () => {
  const records = (() => {
    const { client, server } = connect();
    const parts = [];
    for (const from of [client, client, server]) {
      say(from, 'hello');
      parts.push(sent(from));
    }
    return parts;
  })();
  assert.is(feed(connect().server, concatBytes(records[0]!, records[0]!)).result, -1);
  assert.is(feed(connect().server, records[1]!).result, -1);
  assert.is(feed(connect().server, records[2]!).result, -1);
});

test('a header of a record is refused before the rest is awaited', () => {
  for (const [header, text] of [
    ['030016', 'not a record'],
    ['040ffe', 'too long'],
    ['04000f', 'without a tag'],
  ] as const) {
    const { server } = connect();
    assert.is(feed(server, hex(header)).result, -1);
    assert.match(server.error!.message, text);
  }
  assert.is(feed(connect().server, hex('040ffd')).result, 0);
});

test('back-pressure: a server takes what it has room for, both ways', () => {
  const limits = { receiveBytes: 8192, sendBytes: 4096 };
  const { client, server } = connect({}, limits);
  const big = new Uint8Array(20_000);
  assert.is(server.handlePlain(0, big, 0, big.length), limits.sendBytes);
  assert.is(server.handlePlain(0, big, 0, 1), 0);
  assert.is(server.sendRoom, 0);
  assert.is(client.handlePlain(0, big, 0, big.length), big.length);
  const wire = sent(client);
  let at = 0;
  while (server.receiveRoom > 0) {
    const end = Math.min(wire.length, at + server.receiveRoom);
    assert.is(server.handleBytes(0, wire, at, end), 0);
    at = end;
  }
  assert.throws(() => server.handleBytes(0, wire, at, at + 1), /expected at most 0 bytes/);
  let received = plainOf(server).length;
  assert.ok(received <= limits.receiveBytes);
  received += feed(server, wire.subarray(at)).plain.length;
  assert.is(received, big.length);
});

test('a client holds nothing of its own between records', () => {
  const { client, server } = connect();
  assert.is(client.heldBytes, 0);
  say(client, 'hello');
  say(server, 'hello');
  const record = sent(server);
  feed(client, record.subarray(0, 10));
  assert.is(client.heldBytes, 21);
  feed(client, record.subarray(10));
  assert.is(sent(client, 1).length, 24);
  assert.is(client.heldBytes, 0);
});

test('an early payload in front of the stream is read over, whole or byte by byte', () => {
  const json = utf8Encode('{"nodeKeyChallenge":"chalpub:00"}');
  const early = concatBytes(hex('ffffff5453'), Uint8Array.of(0, 0, 0, json.length), json);
  for (const size of [10_000, 1]) {
    const { client, server } = connect();
    for (const part of [early.subarray(0, 5), early.subarray(5, 20), concatBytes(early.subarray(20), HELLO)]) {
      server.handlePlain(0, part, 0, part.length);
      const { plain } = feed(client, sent(server), size);
      assert.is(utf8Decode(plain), part.length > 20 ? 'hello' : '');
    }
  }
});

test('bytes that only begin like an early payload are the stream', () => {
  for (const text of ['ff', 'ffffff54', 'ffffff5452000000000000']) {
    const { client, server } = connect();
    const bytes = hex(text);
    server.handlePlain(0, bytes, 0, bytes.length);
    const { plain } = feed(client, sent(server), 1);
    const isPrefix = bytes.length < 5;
    assert.is(toHex(plain), isPrefix ? '' : text, 'a prefix waits');
    say(server, 'hello');
    if (isPrefix) assert.is(toHex(feed(client, sent(server)).plain), text + toHex(HELLO));
  }
});

test('an early payload above the limit ends the connection before it is awaited', () => {
  const { client, server } = connect({}, { earlyBytes: 100 });
  const header = hex('ffffff545300000065');
  server.handlePlain(0, header, 0, 9);
  assert.is(feed(client, sent(server)).result, -1);
  assert.is(client.error?.code, 'ERR_LIMIT');
  const fits = connect({}, { earlyBytes: 101 });
  fits.server.handlePlain(0, header, 0, 9);
  assert.is(feed(fits.client, sent(fits.server)).result, 0);
});

test('answers that are not an upgrade are refused', () => {
  const heads: readonly (readonly [string, string, string])[] = [
    ['HTTP/1.1 404 Not Found\r\n\r\n', 'ERR_CONNECTION_REFUSED', 'answered 404'],
    ['HTTP/1.1 200 OK\r\nUpgrade: tailscale-control-protocol\r\n\r\n', 'ERR_CONNECTION_REFUSED', 'answered 200'],
    ['HTTP/1.1 101 X\r\n\r\n', 'ERR_CONNECTION_REFUSED', 'answered 101'],
    ['HTTP/1.1 101 X\r\nUpgrade: websocket\r\n\r\n', 'ERR_CONNECTION_REFUSED', 'answered 101'],
    [
      'HTTP/1.1 101 X\r\nUpgrade: tailscale-control-protocol\r\nUpgrade: websocket\r\n\r\n',
      'ERR_CONNECTION_REFUSED',
      'answered 101',
    ],
    ['HTTP/2 101 X\r\n\r\n', 'ERR_PROTOCOL', 'HTTP'],
    ['HTTP/1.1 101 X\r\n folded: x\r\nUpgrade: tailscale-control-protocol\r\n\r\n', 'ERR_PROTOCOL', 'HTTP'],
    ['HTTP/1.1 101 X\r\nA: b\nUpgrade: tailscale-control-protocol\r\n\r\n', 'ERR_PROTOCOL', 'HTTP'],
    ['HTTP/1.1 101 X\r\nA: \0\r\nUpgrade: tailscale-control-protocol\r\n\r\n', 'ERR_PROTOCOL', 'HTTP'],
    ['SSH-2.0-OpenSSH\r\n\r\n', 'ERR_PROTOCOL', 'HTTP'],
    ['\x16\x03\x01', '', ''],
  ];
  for (const [head, code, text] of heads) {
    for (const size of [1000, 1]) {
      const client = makeClient();
      sent(client);
      const behind = hex(RESPONSE);
      const { result } = feed(client, concatBytes(utf8Encode(head), behind), size);
      if (code === '') continue;
      assert.is(result, -1, head);
      assert.is(client.error?.code, code, head);
      assert.match(client.error!.message, text);
    }
  }
});

test('a control character in the head is refused at once', () => {
  const client = makeClient();
  assert.is(feed(client, Uint8Array.of(0x16, 3, 1)).result, -1);
});

test('a head above the limit is refused, one of just the limit is not', () => {
  const head = 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: tailscale-control-protocol\r\n';
  for (const [extra, isFine] of [
    [0, true],
    [1, false],
  ] as const) {
    const padding = 'x'.repeat(500 - head.length - 7 + extra);
    const client = makeClient({ limits: { headBytes: 500 } });
    const { result } = feed(client, concatBytes(utf8Encode(`${head}X: ${padding}\r\n\r\n`), hex(RESPONSE)));
    assert.is(result, isFine ? 0 : -1);
    assert.is(client.isEstablished, isFine);
  }
});

test('a refusal of the server is shown without what is not printable', () => {
  const { head } = upgradeOf(sent(makeClient()));
  const refuse = (text: string) => {
    const bytes = utf8Encode(text);
    const client = makeClient();
    const message = concatBytes(Uint8Array.of(3, bytes.length >> 8, bytes.length), bytes);
    assert.is(feed(client, concatBytes(head, message), 1).result, -1);
    assert.is(client.error?.code, 'ERR_CONNECTION_REFUSED');
    return client.error!.message;
  };
  assert.match(refuse('too old\x1b[2J'), /refused the handshake: too old\?\[2J$/);
  assert.match(refuse(''), /does not say why/);
  assert.ok(refuse('z'.repeat(60_000)).length < 400);
});

test('an answer to the handshake that is something else ends it', () => {
  const { head } = upgradeOf(sent(makeClient()));
  for (const header of ['010030', '02002f', '020031', '040030']) {
    const client = makeClient();
    assert.is(feed(client, concatBytes(head, hex(header))).result, -1, header);
    assert.match(client.error!.message, 'ts2021');
  }
});

test('any changed byte of the response, or another server, ends it', () => {
  const { head } = upgradeOf(sent(makeClient()));
  for (let i = 3; i < 51; i++) {
    const response = hex(RESPONSE);
    response[i]! ^= 0x40;
    const client = makeClient();
    assert.is(feed(client, concatBytes(head, response)).result, -1, `byte ${i}`);
    assert.not.ok(client.isEstablished);
    assert.match(client.error!.message, 'does not have the key');
  }
});

test('a server key of low order gives a transport that is dead from the start', () => {
  const client = makeClient({ serverKey: new Uint8Array(32) });
  assert.is(client.error?.code, 'ERR_PROTOCOL');
  assert.is(sent(client).length, 0);
});

test('the responder tells a client why it is refused, and ends', () => {
  const refusal = (initiation: Uint8Array, minVersion = 1) => {
    const server = makeServer({ initiation, minVersion });
    assert.is(server.error?.code, 'ERR_PROTOCOL');
    assert.is(server.machineKey, undefined);
    const message = sent(server);
    assert.is(message[0], 3);
    assert.is(message[1]! * 256 + message[2]!, message.length - 3);
    assert.is(server.handleBytes(0, HELLO, 0, 5), -1);
    return utf8Decode(message, 3);
  };
  const initiation = hex(INITIATION);
  const with_ = (offset: number, value: number) => initiation.map((byte, i) => (i === offset ? value : byte));
  assert.is(refusal(initiation, 146), 'client too old: version 145, needed 146');
  assert.match(refusal(with_(2, 4)), 'not an initiation');
  assert.match(refusal(with_(4, 95)), 'not an initiation');
  assert.match(refusal(with_(1, 0x90)), 'does not fit', 'the version is in the prologue');
  for (let i = 5; i < 101; i += 7) assert.match(refusal(with_(i, initiation[i]! ^ 1)), 'does not fit');
  assert.is(makeServer({ initiation, minVersion: 145 }).error, undefined);
});

test('the handshake must be over in time, on both sides', () => {
  for (const end of [makeClient(), makeServer()]) {
    assert.is(end.nextTimeout(), 10_000);
    end.handleTimeout(9_999);
    assert.is(end.error, undefined);
    end.handleTimeout(10_000);
    assert.is(end.error?.code, 'ERR_TIMED_OUT');
    assert.is(end.nextTimeout(), Number.POSITIVE_INFINITY);
  }
  const { client, server } = connect();
  for (const end of [client, server]) {
    end.handleTimeout(1e9);
    assert.is(end.error, undefined);
    assert.is(end.nextTimeout(), Number.POSITIVE_INFINITY);
  }
});

test('an end between records leaves what has arrived; an end elsewhere is an error', () => {
  const { client, server } = connect();
  say(server, 'hello');
  say(client, 'hello');
  const [down, up] = [sent(server), sent(client)];
  for (const [end, bytes] of [
    [client, down],
    [server, up],
  ] as const) {
    drain(server);
    assert.is(end.handleBytes(0, bytes, 0, bytes.length), 0);
    end.handleEnd(0);
    end.handleEnd(0);
    assert.is(end.error, undefined);
    assert.equal(drain(server), end === server ? [{ type: 'ended' }] : []);
    assert.is(utf8Decode(plainOf(end)), 'hello');
    assert.is(end.handleBytes(0, bytes, 0, bytes.length), -1);
  }
  const cut = connect();
  for (const [end, bytes] of [
    [cut.client, down],
    [cut.server, up],
  ] as const) {
    assert.is(end.handleBytes(0, bytes, 0, bytes.length - 1), 0);
    end.handleEnd(0);
    assert.is(end.error?.code, 'ERR_CONNECTION_RESET');
  }
  const [client2, server2] = [makeClient(), makeServer()];
  for (const end of [client2, server2]) {
    end.handleEnd(0);
    assert.is(end.error?.code, 'ERR_CONNECTION_RESET');
  }
});

test('a closed end says and takes nothing', () => {
  const { client, server } = connect();
  for (const end of [client, server]) {
    say(end, 'hello');
    drain(server);
    end.close();
    end.close();
    assert.equal(drain(server), end === server ? [{ type: 'closed', error: undefined }] : []);
    assert.is(sent(end).length, 0);
    assert.is(end.handleBytes(0, HELLO, 0, 5), -1);
  }
});

test('arguments that cannot be right throw', () => {
  assert.throws(() => makeClient({ version: 0 }), RangeError);
  assert.throws(() => makeClient({ version: 65_536 }), RangeError);
  assert.throws(() => makeClient({ serverKey: new Uint8Array(31) }), /"serverKey" expected 32 bytes, got 31/);
  assert.throws(() => makeClient({ host: 'a\r\nX: y' }), /visible ASCII/);
  assert.throws(() => makeClient({ path: '/a b' }), /visible ASCII/);
  assert.throws(() => makeServer({ limits: { receiveBytes: 4095 } }), RangeError);
  assert.throws(() => makeServer({ initiation: new Uint8Array(100) }), RangeError);
});

test('requests for an upgrade are judged by header', () => {
  const headers = {
    upgrade: 'tailscale-control-protocol',
    'x-tailscale-handshake': 'AA==',
  };
  const status = (method: string, more: object) => {
    const answer = answerControlRequest({ method, headers: { ...headers, ...more } });
    return answer.type === 'upgrade' ? 101 : answer.status;
  };
  assert.is(status('POST', {}), 400);
  assert.is(status('PUT', {}), 405);
  const good = upgradeOf(sent(makeClient()));
  assert.is(good.initiation.length, 101);
  assert.is(status('POST', { upgrade: 'websocket' }), 400);
  assert.is(status('POST', { upgrade: undefined }), 400);
  assert.is(status('POST', { 'x-tailscale-handshake': undefined }), 400);
  assert.is(status('POST', { 'x-tailscale-handshake': '!' }), 400);
});

test('neither end shows its keys', () => {
  const { client, server } = connect({ machineKey: secretOf(0x11) });
  assert.not.match(JSON.stringify([client, server]), /17,17|51,51/);
});

test.run();
