/** SOCKS5 as a machine: greetings, requests, replies and datagrams byte by byte (RFC 1928), and any bytes at all. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { fromHex, toHex, utf8Decode, utf8Encode } from '../../lib/base/bytes.ts';
import {
  parseSocksDatagram,
  SOCKS_REPLY,
  type SocksEvent,
  SocksMachine,
  writeSocksDatagram,
} from '../../targets/cli/socks-machine.ts';

const test = suite('cli socks machine');

const HELLO = '050100';
const REST = 'aabb';
const CONNECT_V4 = '050100010a00000102bc';
const NAME = toHex(utf8Encode('Db.Internal'));

interface Outcome {
  readonly sent: string;
  readonly events: SocksEvent[];
  readonly rest: string;
}

function outcome(machine: SocksMachine): Outcome {
  let sent = '';
  for (let out = machine.pollTransmit(); out !== undefined; out = machine.pollTransmit()) sent += toHex(out);
  const events: SocksEvent[] = [];
  for (let event = machine.pollEvent(); event !== undefined; event = machine.pollEvent()) events.push(event);
  return { sent, events, rest: toHex(machine.takeRest()) };
}

function feed(hex: string): { machine: SocksMachine } & Outcome {
  const machine = new SocksMachine();
  machine.handleData(fromHex(hex)!);
  return { machine, ...outcome(machine) };
}

test('a greeting with "no authentication" among its methods is accepted', () => {
  for (const hello of ['050100', '0502' + '0200', '0503' + '000102']) assert.is(feed(hello).sent, '0500');
});

test('a greeting that offers only passwords is refused with the next step', () => {
  const { sent, events } = feed('05020102');
  assert.is(sent, '05ff');
  assert.equal(events, [
    { type: 'failed', why: 'the client offers no method without a password: set it to "no authentication"' },
  ]);
});

test('a greeting without any method is refused', () => {
  assert.is(feed('0500').sent, '05ff');
});

test('CONNECT takes an IPv4 address, an IPv6 address or a name, and what follows is kept', () => {
  const request = (hex: string) => feed(`${HELLO}${hex}${REST}`);
  const v4 = request(CONNECT_V4);
  assert.equal(v4.events, [{ type: 'request', command: 'connect', host: '10.0.0.1', port: 700 }]);
  assert.is(v4.rest, REST);
  const v6 = request('05010004fd0000000000000000000000000000010050');
  assert.equal(v6.events, [{ type: 'request', command: 'connect', host: 'fd00::1', port: 80 }]);
  assert.is(v6.rest, REST);
  const name = request(`050100030b${NAME}0050`);
  assert.equal(name.events, [{ type: 'request', command: 'connect', host: 'db.internal', port: 80 }]);
  assert.is(name.rest, REST);
});

test('an address that was sent as a name is an address', () => {
  const { events } = feed(`${HELLO}0501000309${toHex(utf8Encode('FD00:0::9'))}0050`);
  assert.equal(events, [{ type: 'request', command: 'connect', host: 'fd00::9', port: 80 }]);
});

test('UDP ASSOCIATE may name port 0, CONNECT may not', () => {
  assert.equal(feed(`${HELLO}05030001000000000000`).events, [
    { type: 'request', command: 'associate', host: '0.0.0.0', port: 0 },
  ]);
  const refused = feed(`${HELLO}050100010a0000010000`);
  assert.is(refused.sent, '0500' + '05010001000000000000');
  assert.equal(refused.events, [{ type: 'failed', why: 'port 0' }]);
});

test('what is not supported is refused with its own code', () => {
  assert.is(feed(`${HELLO}050200010a00000102bc`).sent, '0500' + '05070001000000000000', 'BIND');
  assert.is(feed(`${HELLO}050100020a00000102bc`).sent, '0500' + '05080001000000000000', 'address type 2');
  assert.is(feed(`${HELLO}040100010a00000102bc`).sent, '0500' + '05010001000000000000', 'version 4');
  assert.is(feed(`${HELLO}05010003000050`).sent, '0500' + '05040001000000000000', 'an empty name');
  assert.is(feed(`${HELLO}05010003020a410050`).sent, '0500' + '05040001000000000000', 'a name with a line end');
});

test('a reply carries the code and the bound address', () => {
  const { machine } = feed(`${HELLO}${CONNECT_V4}`);
  machine.reply(SOCKS_REPLY.succeeded, { address: '10.0.0.2', port: 0x1234 });
  assert.is(outcome(machine).sent, '050000010a0000021234');
  const other = feed(`${HELLO}${CONNECT_V4}`).machine;
  other.reply(SOCKS_REPLY.succeeded, { address: 'fd00::2', port: 80 });
  assert.is(outcome(other).sent, '05000004fd0000000000000000000000000000020050');
  const refused = feed(`${HELLO}${CONNECT_V4}`).machine;
  refused.reply(SOCKS_REPLY.hostUnreachable);
  assert.is(outcome(refused).sent, '05040001000000000000');
  assert.throws(() => refused.reply(SOCKS_REPLY.succeeded), 'bug');
});

test('clients that speak SOCKS4 or HTTP are answered in their own language', () => {
  assert.is(feed('0401005007070707').sent, '005b000000000000');
  for (const text of ['GET / HTTP/1.1\r\n', 'CONNECT 10.0.0.1:80 HTTP/1.1\r\n']) {
    const { sent, events } = feed(toHex(utf8Encode(text)));
    const answer = utf8Decode(fromHex(sent)!);
    assert.match(answer, /^HTTP\/1\.1 400 Bad Request\r\n/);
    const [head, body] = answer.split('\r\n\r\n');
    assert.is(Number(/Content-Length: (\d+)/.exec(head!)![1]), body!.length);
    assert.equal(events, [{ type: 'failed', why: 'the client speaks HTTP: set it to a SOCKS5 proxy' }]);
  }
  assert.equal(feed('16030100').sent, '');
});

test('nothing is read after a failure', () => {
  const { machine } = feed('0401');
  machine.handleData(fromHex(`${HELLO}${CONNECT_V4}`)!);
  assert.equal(outcome(machine), { sent: '', events: [], rest: '' });
});

test('a datagram of a client names where to, and where its data begin', () => {
  assert.equal(parseSocksDatagram(fromHex('000000010a0000010035ffff')!), { host: '10.0.0.1', port: 53, start: 10 });
  assert.equal(parseSocksDatagram(fromHex(`000000030b${NAME}0035`)!), { host: 'db.internal', port: 53, start: 18 });
});

test('datagrams with a fragment number, a reserved bit, port 0 or a short header are dropped', () => {
  const good = '000000010a0000010035';
  assert.ok(parseSocksDatagram(fromHex(good)!));
  assert.is(parseSocksDatagram(fromHex(good.replace(/^000000/, '000001'))!), undefined);
  assert.is(parseSocksDatagram(fromHex(good.replace(/^000000/, '010000'))!), undefined);
  assert.is(parseSocksDatagram(fromHex(good.replace(/^000000/, '000100'))!), undefined);
  assert.is(parseSocksDatagram(fromHex(good.replace(/35$/, '00'))!), undefined);
  for (let bytes = 0; bytes < 10; bytes++) assert.is(parseSocksDatagram(fromHex(good)!.subarray(0, bytes)), undefined);
});

test('a datagram for a client parses back to what it was made of', () => {
  for (const address of ['10.0.0.9', 'fd00::9']) {
    const bytes = writeSocksDatagram({ address, port: 5353 }, utf8Encode('data'));
    const parsed = parseSocksDatagram(bytes)!;
    assert.equal({ host: parsed.host, port: parsed.port }, { host: address, port: 5353 });
    assert.is(utf8Decode(bytes, parsed.start), 'data');
  }
});

/** A seeded stream of numbers below `n`. */
function seeded(seed: number): (n: number) => number {
  let state = seed >>> 0;
  return n => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 0x1_0000_0000) * n);
  };
}

test('any bytes give at most one event, and whole and piecewise feeding agree', () => {
  const next = seeded(1928);
  const seeds = [HELLO, CONNECT_V4, `050100030b${NAME}0050`, '05010004fd0000000000000000000000000000010050', '05ff'];
  let requests = 0;
  for (let round = 0; round < 20_000; round++) {
    let hex = next(4) === 0 ? '' : HELLO;
    for (let i = next(4); i > 0; i--)
      hex += next(2) === 0 ? seeds[next(seeds.length)]! : toHex(Uint8Array.of(next(256)));
    const bytes = fromHex(hex)!;
    for (let i = next(3); i > 0 && bytes.length > 0; i--) bytes[next(bytes.length)] = next(256);
    const whole = new SocksMachine();
    whole.handleData(bytes);
    const expected = outcome(whole);
    assert.ok(expected.events.length <= 1);
    requests += expected.events[0]?.type === 'request' ? 1 : 0;
    const pieces = new SocksMachine();
    let sent = '';
    let events: SocksEvent[] = [];
    let used = 0;
    while (used < bytes.length && events.length === 0) {
      const size = Math.min(1 + next(5), bytes.length - used);
      pieces.handleData(bytes.subarray(used, used + size));
      used += size;
      for (let out = pieces.pollTransmit(); out !== undefined; out = pieces.pollTransmit()) sent += toHex(out);
      for (let event = pieces.pollEvent(); event !== undefined; event = pieces.pollEvent()) events = [...events, event];
    }
    assert.is(sent, expected.sent);
    assert.equal(events, expected.events);
    if (events[0]?.type === 'request')
      assert.is(toHex(pieces.takeRest()) + toHex(bytes.subarray(used)), expected.rest, 'the bytes behind the request');
  }
  assert.ok(requests > 1000, `only ${requests} requests`);
});

test('any datagram either parses within its bounds or is dropped', () => {
  const next = seeded(7);
  for (let round = 0; round < 20_000; round++) {
    const bytes = Uint8Array.from({ length: next(30) }, () => next(256));
    if (next(3) > 0) bytes.set([0, 0, 0, [1, 3, 4, 2][next(4)]!].slice(0, bytes.length));
    const parsed = parseSocksDatagram(bytes);
    if (parsed === undefined) continue;
    assert.ok(parsed.start <= bytes.length && parsed.port > 0 && parsed.host !== '');
  }
});

test.run();
