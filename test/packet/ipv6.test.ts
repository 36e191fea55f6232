import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { fromHex, toHex } from '../../lib/base/bytes.ts';
import { dropName, dropReason } from '../../lib/base/drop.ts';
import { Packet } from '../../lib/packet/classify.ts';
import {
  checkIpv6Header,
  isBogusIpv6Source,
  MAX_EXTENSION_BYTES,
  MAX_EXTENSION_HEADERS,
  MAX_OPTIONS,
  skipExtensions,
  walkIpv6Headers,
  writeFragmentHeader,
  writeIpv6Header,
} from '../../lib/packet/ipv6.ts';
import { counting, extension, fragmentHeader, ip, join, v6, VECTORS } from './build.ts';

const test = suite('packet/ipv6');
const HOP = 0;
const ROUTING = 43;
const FRAGMENT = 44;
const DESTINATION = 60;
const NONE = 59;
const UDP = 17;
const data = counting(24);

function verdict(packet: Uint8Array, end = packet.length): number | string {
  const result = checkIpv6Header(join([1, 2, 3], packet, [9, 9]), 3, 3 + end);
  return result < 0 ? dropName(result) : result;
}

/** Walks a packet that starts at offset 3 of its buffer; offsets in the result are relative to the packet. */
function walk(packet: Uint8Array) {
  const out = new Packet();
  const reason = walkIpv6Headers(join([1, 2, 3], packet, [9, 9]), 3, 3 + packet.length, out);
  return {
    reason: reason < 0 ? dropName(reason) : reason,
    protocol: out.protocol,
    payload: out.payload - 3,
    nextHeaderAt: out.nextHeaderAt - 3,
    problem: out.problemCode < 0 ? undefined : [out.problemCode, out.problemAt - 3],
    fragment: out.isFragment ? [out.fragmentOffset, out.hasMoreFragments, out.fragmentId] : undefined,
    fragmentHeader: out.fragmentHeader === 0 ? undefined : out.fragmentHeader - 3,
  };
}

test('a good fixed header gives the whole length, and bytes behind it are padding', () => {
  assert.is(verdict(fromHex(VECTORS.udp6)!), 53);
  assert.is(verdict(v6({}, new Uint8Array(0))), 40);
  assert.is(verdict(v6({ length: 4 }, data)), 44);
});

test('a fixed header that is cut off is malformed, at every length', () => {
  for (let end = 0; end < 40; end++) assert.is(verdict(v6({}, new Uint8Array(0)), end), 'ip-malformed');
});

test('another version is malformed', () => {
  for (const version of [0, 4, 5, 7, 15]) assert.is(verdict(v6({ version }, data)), 'ip-malformed');
});

test('a payload length beyond the buffer is malformed', () => {
  assert.is(verdict(v6({ length: 25 }, data)), 'ip-malformed');
  assert.is(verdict(v6({ length: 65535 }, data)), 'ip-malformed');
});

test('without extension headers the payload follows at once', () => {
  const got = walk(v6({ next: UDP }, data));
  assert.is(got.reason, 0);
  assert.is(got.protocol, UDP);
  assert.is(got.payload, 40);
  assert.is(got.nextHeaderAt, 6);
});

test('hop-by-hop, destination and spent routing headers are skipped', () => {
  const chain = join(
    extension(DESTINATION, [5, 2, 0, 0]), // router alert
    extension(ROUTING, [1, 0]),
    extension(UDP, [4, 0, 0, 0, 0, 0]), // type 4, no segment left
    data,
  );
  const got = walk(v6({ next: HOP }, chain));
  assert.is(got.reason, 0);
  assert.is(got.protocol, UDP);
  assert.is(got.payload, 64);
  assert.is(got.nextHeaderAt, 56);
});

test('a header that is no extension header ends the walk, known or not', () => {
  for (const next of [NONE, 50, 51, 99, 135, 139, 253, 255, 4, 41]) {
    const got = walk(v6({ next: DESTINATION }, join(extension(next, [1, 0]), data)));
    assert.is(got.reason, 0, `${next}`);
    assert.is(got.protocol, next);
    assert.is(got.nextHeaderAt, 40);
  }
});

test('hop-by-hop options anywhere but first are a parameter problem', () => {
  const got = walk(v6({ next: DESTINATION }, join(extension(HOP, [1, 0]), extension(UDP, [1, 0]), data)));
  assert.is(got.reason, 'ip-options');
  assert.equal(got.problem, [1, 40]);
});

test('routing type 0 is dropped, segments left or not', () => {
  for (const segments of [0, 1, 23]) {
    const got = walk(v6({ next: ROUTING }, join(extension(UDP, [0, segments]), data)));
    assert.is(got.reason, 'ip-options');
    assert.equal(got.problem, [0, 42]);
  }
});

test('any routing type with segments left is dropped and reported', () => {
  const got = walk(v6({ next: ROUTING }, join(extension(UDP, [4, 1]), data)));
  assert.is(got.reason, 'ip-options');
  assert.equal(got.problem, [0, 42]);
});

test('an extension header that is cut off is malformed, at every length', () => {
  const chain = join(extension(UDP, [1, 12, ...new Array(12).fill(0)]));
  for (let length = 0; length < 16; length++)
    assert.is(walk(v6({ next: DESTINATION }, chain.slice(0, length))).reason, 'ip-malformed', `${length}`);
  assert.is(walk(v6({ next: DESTINATION }, chain)).reason, 0);
});

test('an extension header that is not there at all is malformed, also where the buffer ends', () => {
  const out = new Packet();
  for (const next of [HOP, ROUTING, FRAGMENT, DESTINATION]) {
    const packet = v6({ next }, new Uint8Array(0));
    assert.is(walkIpv6Headers(packet, 0, 40, out), dropReason('ip-malformed'), `${next}`);
  }
});

test('the upper-layer header is found by lengths alone, within bounds', () => {
  const chain = join(extension(ROUTING, [0x80, 0]), extension(FRAGMENT, [0, 9]), fragmentHeader(58, 0, true, 1), data);
  const packet = v6({ next: DESTINATION }, chain);
  assert.equal(skipExtensions(packet, 0, packet.length), { protocolAt: 56, at: 64 });
  assert.equal(skipExtensions(v6({ next: 58 }, data), 0, 64), { protocolAt: 6, at: 40 });
  const cut = join(extension(DESTINATION, [1, 0]), [58, 200, 0, 0, 0, 0, 0, 0]);
  assert.ok(skipExtensions(v6({ next: DESTINATION }, cut), 0, 56).at > 56);
  const endless = join(...Array.from({ length: 40 }, () => extension(DESTINATION, [1, 0])));
  assert.is(skipExtensions(v6({ next: DESTINATION }, endless), 0, 360).at, 40 + 8 * MAX_EXTENSION_HEADERS);
});

test('unknown options do what their two high bits say', () => {
  const option = (type: number) => walk(v6({ next: DESTINATION }, join(extension(UDP, [1, 0, type, 2, 0, 0]), data)));
  assert.is(option(0x1e).reason, 0);
  const silent = option(0x5e);
  assert.is(silent.reason, 'ip-options');
  assert.is(silent.problem, undefined);
  for (const type of [0x9e, 0xde, 0xc2 /* jumbo payload */]) {
    const loud = option(type);
    assert.is(loud.reason, 'ip-options');
    assert.equal(loud.problem, [2, 44]);
  }
});

test('an option beyond its header is malformed', () => {
  for (const options of [
    [0x1e, 5, 0, 0, 0, 0],
    [0, 0, 0, 0, 0, 0x1e],
    [1, 255, 0, 0, 0, 0],
  ])
    assert.is(walk(v6({ next: DESTINATION }, join(UDP, 0, options, data))).reason, 'ip-malformed');
});

test('the chain is bounded: headers, options, bytes', () => {
  const headers = (count: number) => {
    const chain = Array.from({ length: count }, (_, i) => extension(i === count - 1 ? UDP : DESTINATION, [1, 0]));
    return walk(v6({ next: DESTINATION }, join(...chain, data))).reason;
  };
  assert.is(headers(MAX_EXTENSION_HEADERS), 0);
  assert.is(headers(MAX_EXTENSION_HEADERS + 1), 'ip-options');
  const options = (count: number) => {
    const list = Array.from({ length: count }, () => [0x1e, 0]).flat();
    return walk(v6({ next: DESTINATION }, join(extension(UDP, list), data))).reason;
  };
  assert.is(options(MAX_OPTIONS), 0);
  assert.is(options(MAX_OPTIONS + 1), 'ip-options');
  const bytes = (count: number) => {
    const length = count - 4;
    const body = [1, Math.min(length, 255), ...new Array(Math.min(length, 255)).fill(0)];
    if (length > 255) body.push(1, length - 257, ...new Array(length - 257).fill(0));
    const header = extension(UDP, body);
    assert.is(header.length, count);
    return walk(v6({ next: DESTINATION }, join(header, data))).reason;
  };
  assert.is(bytes(MAX_EXTENSION_BYTES), 0);
  assert.is(bytes(MAX_EXTENSION_BYTES + 8), 'ip-options');
});

test('a first fragment is walked through to its protocol, a later one is not', () => {
  const first = walk(
    v6({ next: FRAGMENT }, join(fragmentHeader(DESTINATION, 0, true, 0xdeadbeef), extension(UDP, [1, 0]), data)),
  );
  assert.is(first.reason, 0);
  assert.equal(first.fragment, [0, true, 0xdeadbeef]);
  assert.is(first.fragmentHeader, 40);
  assert.is(first.protocol, UDP);
  assert.is(first.payload, 56);
  const later = walk(v6({ next: FRAGMENT }, join(fragmentHeader(DESTINATION, 1232, false, 7), data)));
  assert.equal(later.fragment, [1232, false, 7]);
  assert.is(later.protocol, DESTINATION);
  assert.is(later.payload, 48);
});

test('an atomic fragment is no fragment', () => {
  const got = walk(v6({ next: FRAGMENT }, join(fragmentHeader(UDP, 0, false, 7), data)));
  assert.is(got.reason, 0);
  assert.is(got.fragment, undefined);
  assert.is(got.fragmentHeader, 40);
  assert.is(got.payload, 48);
  assert.is(got.protocol, UDP);
});

test('a second fragment header is malformed', () => {
  const chain = join(fragmentHeader(FRAGMENT, 0, false, 7), fragmentHeader(UDP, 0, true, 8), data);
  assert.is(walk(v6({ next: FRAGMENT }, chain)).reason, 'ip-malformed');
});

test('a fragment that is not a multiple of 8 bytes is reported, unless it is the last', () => {
  const got = walk(v6({ next: FRAGMENT }, join(fragmentHeader(UDP, 0, true, 7), counting(21))));
  assert.is(got.reason, 'ip-malformed');
  assert.equal(got.problem, [0, 4]);
  assert.is(walk(v6({ next: FRAGMENT }, join(fragmentHeader(UDP, 8, false, 7), counting(21)))).reason, 0);
});

test('a fragment that would end beyond 65,535 bytes is reported', () => {
  const at = (offset: number, length: number) =>
    walk(v6({ next: FRAGMENT }, join(fragmentHeader(UDP, offset, false, 7), counting(length))));
  assert.is(at(65528, 7).reason, 0);
  const got = at(65528, 8);
  assert.is(got.reason, 'ip-malformed');
  assert.equal(got.problem, [0, 42]);
});

test('sources that no single host has are bogus, and their neighbours are not', () => {
  for (const text of ['::', '::1', '::2', '::10.0.0.1', '::ffff:10.0.0.1', '::ffff:0:0', 'ff02::1', 'ff0e::1'])
    assert.ok(isBogusIpv6Source(ip(text), 0), text);
  for (const text of [
    'fd00::1',
    'fe80::1',
    '2001:db8::1',
    '64:ff9b::10.0.0.1',
    '0:1::',
    '::fffe:0:1',
    '::1:0:0',
    '100::1',
    '::ffff:0:0:1',
  ])
    assert.not.ok(isBogusIpv6Source(ip(text), 0), text);
  assert.ok(isBogusIpv6Source(join([1, 2], ip('::1')), 2));
});

test('written headers are what another program writes', () => {
  const buf = new Uint8Array(42).fill(0xee);
  writeIpv6Header(buf, 1, 13, 17, 64, join(9, ip('fd00::2')), 1, ip('fd00::1'), 0);
  assert.is(toHex(buf), `ee${VECTORS.udp6.slice(0, 80)}ee`);
  const fragment = new Uint8Array(10).fill(0xee);
  writeFragmentHeader(fragment, 1, 17, 1232, true, 0xdeadbeef);
  assert.is(toHex(fragment), 'ee110004d1deadbeefee');
});

test.run();
