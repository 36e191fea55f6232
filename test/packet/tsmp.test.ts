/** TSMP messages: pings and their answers, rejections, advertisements. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { parseAddress } from '../../lib/base/address.ts';
import { toHex } from '../../lib/base/bytes.ts';
import { Slot } from '../../lib/base/slot.ts';
import { classify, Packet } from '../../lib/packet/classify.ts';
import {
  answerTsmpPing,
  PROTOCOL_TSMP,
  REJECT_NO_RULE,
  readTsmpDiscoKey,
  readTsmpPong,
  readTsmpReject,
  TSMP_REJECT,
  tsmpType,
  writeTsmpPing,
  writeTsmpReject,
} from '../../lib/packet/tsmp.ts';
import { counting, fragmentHeader, join, u16, udp, v4, v6 } from './build.ts';

const test = suite('packet/tsmp');
const PING = 0x70;
const DATA = [1, 2, 3, 4, 5, 6, 7, 8];
const PAIRS: readonly [string, string][] = [
  ['100.64.0.2', '100.64.0.1'],
  ['fd7a::2', 'fd7a::1'],
];

function message(src: string, dst: string, payload: Uint8Array, protocol = PROTOCOL_TSMP): [Packet, Uint8Array] {
  const bytes = src.includes(':') ? v6({ src, dst, next: protocol }, payload) : v4({ src, dst, protocol }, payload);
  return [read(join([7, 7], bytes), 2), join([7, 7], bytes)];
}

function read(buf: Uint8Array, start: number, end = buf.length): Packet {
  const packet = new Packet();
  assert.is(classify(buf, start, end, packet), 0);
  return packet;
}

/** What was written, as a packet of its own. */
function written(slot: Slot): [Packet, Uint8Array] {
  const buf = slot.buf.slice(slot.start, slot.end);
  return [read(buf, 0), buf];
}

const addressesOf = (packet: Packet, buf: Uint8Array) =>
  [packet.source, packet.destination].map(at => toHex(buf.subarray(at, at + packet.addressBytes)));

test('a ping is answered to where it came from, with its data and the port', () => {
  for (const [src, dst] of PAIRS) {
    const [packet, buf] = message(src, dst, join(PING, DATA));
    const slot = new Slot(100);
    const length = answerTsmpPing(packet, buf, slot, 0xabcd);
    const [reply, bytes] = written(slot);
    assert.is(length, bytes.length);
    assert.is(reply.protocol, PROTOCOL_TSMP);
    assert.equal(addressesOf(reply, bytes), [toHex(parseAddress(dst)!), toHex(parseAddress(src)!)]);
    assert.is(toHex(bytes.subarray(reply.payload)), '6f0102030405060708abcd');
    assert.equal(readTsmpPong(reply, bytes), { data: Uint8Array.from(DATA), peerApiPort: 0xabcd });
  }
});

test('a ping that we write is one that we answer', () => {
  for (const [src, dst] of PAIRS) {
    const slot = new Slot(100);
    const length = writeTsmpPing(slot, parseAddress(src)!, parseAddress(dst)!, Uint8Array.from(DATA));
    const [ping, bytes] = written(slot);
    assert.is(length, bytes.length);
    const out = new Slot(100);
    assert.ok(answerTsmpPing(ping, bytes, out) > 0);
    assert.equal(readTsmpPong(...written(out)), { data: Uint8Array.from(DATA), peerApiPort: 0 });
  }
  assert.throws(() => writeTsmpPing(new Slot(99), new Uint8Array(4), new Uint8Array(4), new Uint8Array(7)), /"data"/);
});

test('the bytes of an answer are those that tailscaled writes, but for the id', () => {
  const [packet, buf] = message('100.64.0.2', '100.64.0.1', join(PING, DATA));
  const slot = new Slot(100);
  answerTsmpPing(packet, buf, slot, 1);
  const [reply] = written(slot);
  const hex = toHex(slot.buf.subarray(slot.start, slot.end));
  assert.is(hex.slice(0, 20), '4500001f000000004063');
  assert.is(hex.slice(24), '64400001644000026f01020304050607080001');
  assert.is(reply.end, 31);
});

test('what is not a whole ping is not answered', () => {
  const [src, dst] = PAIRS[0]!;
  const slot = new Slot(100);
  const answer = (payload: Uint8Array, protocol = PROTOCOL_TSMP) =>
    answerTsmpPing(...message(src, dst, payload, protocol), slot);
  assert.is(answer(join(PING, DATA.slice(1))), 0);
  assert.is(answer(join(0x6f, DATA)), 0);
  assert.is(answer(join(0, DATA)), 0);
  assert.is(answer(new Uint8Array(0)), 0);
  assert.is(answer(join(PING, DATA), 98), 0);
  assert.ok(answer(join(PING, DATA, new Uint8Array(50))) > 0, 'more bytes do no harm');
  const bytes = v4({ src, dst, protocol: PROTOCOL_TSMP, flags: 0x2000 }, join(PING, DATA, new Uint8Array(7)));
  assert.is(answerTsmpPing(read(bytes, 0), bytes, slot), 0, 'a fragment');
  const six = v6(
    { src: 'fd7a::2', dst: 'fd7a::1', next: 44 },
    join(fragmentHeader(PROTOCOL_TSMP, 0, true, 1), PING, DATA, new Uint8Array(7)),
  );
  assert.is(answerTsmpPing(read(six, 0), six, slot), 0, 'a fragment');
});

test('bytes behind the packet are no part of its message', () => {
  const bytes = v4({ src: '100.64.0.2', dst: '100.64.0.1', protocol: PROTOCOL_TSMP }, join(PING, DATA.slice(2)));
  const buf = join(bytes, DATA);
  assert.is(tsmpType(read(buf, 0), buf), 0);
});

test('a rejection has the ports as the rejected packet had them, and is understood', () => {
  for (const [src, dst] of PAIRS) {
    const [packet, buf] = message(src, dst, udp({ src, dst, from: 1234, to: 80 }, new Uint8Array(4)), 17);
    const slot = new Slot(100);
    assert.ok(writeTsmpReject(packet, buf, slot, REJECT_NO_RULE) > 0);
    const [reject, bytes] = written(slot);
    assert.is(toHex(bytes.subarray(reject.payload)), '211141' + '04d2' + '0050');
    assert.equal(addressesOf(reject, bytes), [toHex(parseAddress(dst)!), toHex(parseAddress(src)!)]);
    assert.equal(readTsmpReject(reject, bytes), {
      protocol: 17,
      reason: REJECT_NO_RULE,
      localPort: 1234,
      remotePort: 80,
      isTentative: false,
    });
  }
});

test('a packet without ports is not rejected', () => {
  const [packet, buf] = message('100.64.0.2', '100.64.0.1', new Uint8Array(8), 1);
  assert.is(writeTsmpReject(packet, buf, new Slot(100), REJECT_NO_RULE), 0);
});

test('the flag of a rejection says that its sender is not sure', () => {
  const [src, dst] = PAIRS[1]!;
  const reject = (...flags: number[]) =>
    readTsmpReject(...message(src, dst, join(TSMP_REJECT, 6, 0x57, u16(9), u16(80), flags)))?.isTentative;
  assert.is(reject(), false);
  assert.is(reject(0), false);
  assert.is(reject(1), true);
  assert.is(reject(2), false);
  assert.is(reject(3, 9, 9), true);
  assert.is(readTsmpReject(...message(src, dst, join(TSMP_REJECT, 6, 0x57, u16(9), [0]))), undefined);
  assert.is(readTsmpReject(...message(src, dst, join(0x22, 6, 0x57, u16(9), u16(80)))), undefined);
});

test('a pong without a port has none, one with half a port neither', () => {
  const [src, dst] = PAIRS[0]!;
  const port = (...rest: number[]) => readTsmpPong(...message(src, dst, join(0x6f, DATA, rest)))?.peerApiPort;
  assert.is(port(), 0);
  assert.is(port(1), 0);
  assert.is(port(1, 2), 258);
  assert.is(readTsmpPong(...message(src, dst, join(0x6f, DATA.slice(1)))), undefined);
});

test('an advertisement is 32 bytes of key, as a copy', () => {
  const [src, dst] = PAIRS[0]!;
  const key = counting(32, 5);
  const [packet, buf] = message(src, dst, join(0x61, key));
  const read = readTsmpDiscoKey(packet, buf)!;
  buf.fill(0);
  assert.equal(read, key);
  assert.is(readTsmpDiscoKey(...message(src, dst, join(0x61, key.subarray(1)))), undefined);
  assert.is(readTsmpDiscoKey(...message(src, dst, join(0x62, key))), undefined);
});

test.run();
