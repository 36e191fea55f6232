import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { fromHex, toHex } from '../../lib/base/bytes.ts';
import { sumBytes } from '../../lib/base/checksum.ts';
import { dropName } from '../../lib/base/drop.ts';
import { checkUdp, udpDestinationPort, udpSourcePort, writeUdpHeader } from '../../lib/packet/udp.ts';
import { counting, ip, join, udp, VECTORS } from './build.ts';

const test = suite('packet/udp');
const SUM4 = sumBytes(join(ip('10.0.0.2'), ip('10.0.0.1')), 0, 8);
const SUM6 = sumBytes(join(ip('fd00::2'), ip('fd00::1')), 0, 32);
const V6 = { src: 'fd00::2', dst: 'fd00::1' };

function verdict(datagram: Uint8Array, family: 4 | 6 = 4, end = datagram.length): number | string {
  const result = checkUdp(join([1, 2, 3], datagram, [9]), 3, 3 + end, family, family === 4 ? SUM4 : SUM6);
  return result < 0 ? dropName(result) : result;
}

test('datagrams of another program pass', () => {
  assert.is(verdict(fromHex(VECTORS.udp4)!.slice(20)), 13);
  assert.is(verdict(fromHex(VECTORS.udp6)!.slice(40), 6), 13);
  assert.is(verdict(fromHex(VECTORS.udpZeroSum4)!.slice(20)), 10);
});

test('all sizes pass with a good checksum, odd ones too', () => {
  for (const size of [0, 1, 2, 7, 159, 160, 161, 1400, 1401, 65507]) {
    assert.is(verdict(udp({}, counting(size))), size + 8);
    assert.is(verdict(udp(V6, counting(size)), 6), size + 8);
  }
});

test('a datagram that is cut off is malformed', () => {
  const datagram = udp({}, counting(4));
  for (let end = 0; end < 12; end++) assert.is(verdict(datagram, 4, end), 'udp-malformed');
});

test('a length below the header or beyond the packet is malformed', () => {
  for (const length of [0, 7, 13, 65535]) assert.is(verdict(udp({ length }, counting(4))), 'udp-malformed');
});

test('a length below the packet cuts the datagram', () => {
  assert.is(verdict(join(udp({}, counting(4)), [1, 2, 3])), 12);
});

test('a wrong checksum is noticed, whichever bit is wrong', () => {
  for (const family of [4, 6] as const) {
    const datagram = udp(family === 4 ? {} : V6, counting(6));
    for (let bit = 0; bit < datagram.length * 8; bit++) {
      const wrong = datagram.slice();
      wrong[bit >> 3]! ^= 0x80 >> (bit & 7);
      assert.type(verdict(wrong, family), 'string', `bit ${bit}`);
    }
  }
});

test('the checksum covers the addresses', () => {
  assert.is(verdict(udp({ src: '10.0.0.3' }, counting(4))), 'udp-checksum');
  assert.is(verdict(udp({ ...V6, src: 'fd00::3' }, counting(4)), 6), 'udp-checksum');
});

test('no checksum is fine in IPv4 and wrong in IPv6', () => {
  assert.is(verdict(udp({ checksum: 0 }, counting(4))), 12);
  assert.is(verdict(udp({ ...V6, checksum: 0 }, counting(4)), 6), 'udp-checksum');
});

test('a written header is what another program writes, and a sum of zero is sent as ffff', () => {
  for (const hex of [VECTORS.udp4, VECTORS.udpZeroSum4]) {
    const expected = fromHex(hex)!.slice(20);
    const buf = expected.slice();
    buf.fill(0xee, 0, 8);
    writeUdpHeader(buf, 0, buf.length, 5353, 53, SUM4);
    assert.is(toHex(buf), toHex(expected));
  }
});

test('ports are read from their places', () => {
  const datagram = udp({ from: 65535, to: 1 }, counting(0));
  assert.is(udpSourcePort(datagram, 0), 65535);
  assert.is(udpDestinationPort(datagram, 0), 1);
});

test.run();
