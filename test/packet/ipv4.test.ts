import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { fromHex, toHex } from '../../lib/base/bytes.ts';
import { dropName } from '../../lib/base/drop.ts';
import { checkIpv4Header, isBogusIpv4Source, writeIpv4Header } from '../../lib/packet/ipv4.ts';
import { seededRandom } from '../netstack/helpers.ts';
import { counting, ip, join, v4, VECTORS } from './build.ts';

const test = suite('packet/ipv4');
const payload = counting(16);

/** The verdict as a header length or a reason's name; the packet lies in the middle of a larger buffer. */
function verdict(packet: Uint8Array, end = packet.length): number | string {
  const result = checkIpv4Header(join([1, 2, 3], packet, [4, 5, 6, 7]), 3, 3 + end);
  return result < 0 ? dropName(result) : result;
}

test('good headers pass, with and without options', () => {
  assert.is(verdict(fromHex(VECTORS.udp4)!), 20);
  assert.is(verdict(v4({}, payload)), 20);
  assert.is(verdict(v4({ options: [1, 1, 1, 0] }, payload)), 24);
  assert.is(verdict(v4({ options: [7, 7, 4, 0, 0, 0, 0, 0] }, payload)), 28); // record route
  assert.is(verdict(v4({ options: [148, 4, 0, 0] }, payload)), 24); // router alert
  assert.is(verdict(v4({ options: [...new Array(40).fill(1)] }, payload)), 60);
  assert.is(verdict(v4({}, new Uint8Array(0))), 20);
});

test('a header that is cut off is malformed, at every length', () => {
  const packet = v4({}, new Uint8Array(0));
  for (let end = 0; end < 20; end++) assert.is(verdict(packet, end), 'ip-malformed');
});

test('another version or a header length below 20 is malformed', () => {
  for (const version of [0, 3, 5, 6, 15]) assert.is(verdict(v4({ version }, payload)), 'ip-malformed');
  for (const ihl of [0, 1, 4]) assert.is(verdict(v4({ ihl }, payload)), 'ip-malformed');
});

test('a header length beyond the packet is malformed', () => {
  assert.is(verdict(v4({ ihl: 15 }, payload)), 'ip-malformed');
});

test('the total length must cover the header and lie within the buffer', () => {
  assert.is(verdict(v4({ total: 19 }, payload)), 'ip-malformed');
  assert.is(verdict(v4({ total: 37 }, payload)), 'ip-malformed');
  assert.is(verdict(v4({ total: 65535 }, payload)), 'ip-malformed');
  assert.is(verdict(v4({ total: 20 }, payload)), 20); // the rest is padding
  assert.is(verdict(v4({ total: 23, options: [1, 1, 1, 1] }, payload)), 'ip-malformed');
});

test('a wrong header checksum is noticed, whichever bit is wrong', () => {
  const packet = v4({ options: [1, 1, 1, 1] }, payload);
  for (let bit = 8; bit < 24 * 8; bit++) {
    const wrong = packet.slice();
    wrong[bit >> 3]! ^= 0x80 >> (bit & 7);
    assert.type(verdict(wrong), 'string', `bit ${bit}`);
  }
  assert.is(verdict(v4({ checksum: 0 }, payload)), 'ip-checksum');
});

test('source routes are dropped, loose and strict, also behind other options', () => {
  assert.is(verdict(v4({ options: [131, 7, 4, 10, 0, 0, 9, 0] }, payload)), 'ip-options');
  assert.is(verdict(v4({ options: [137, 7, 4, 10, 0, 0, 9, 0] }, payload)), 'ip-options');
  assert.is(verdict(v4({ options: [1, 148, 4, 0, 0, 131, 3, 4] }, payload)), 'ip-options');
  assert.is(verdict(v4({ options: [0, 131, 3, 4] }, payload)), 24); // behind the end of the list: no option any more
});

test('options whose length does not fit are malformed', () => {
  assert.is(verdict(v4({ options: [7, 0, 0, 0] }, payload)), 'ip-malformed');
  assert.is(verdict(v4({ options: [7, 1, 0, 0] }, payload)), 'ip-malformed');
  assert.is(verdict(v4({ options: [7, 5, 0, 0] }, payload)), 'ip-malformed');
  assert.is(verdict(v4({ options: [1, 1, 1, 7] }, payload)), 'ip-malformed');
});

test('any time to live is taken: a destination must not drop for it', () => {
  for (const ttl of [0, 1, 255]) assert.is(verdict(v4({ ttl }, payload)), 20);
});

test('sources that no single host has are bogus, and their neighbours are not', () => {
  for (const text of [
    '0.0.0.0',
    '0.1.2.3',
    '127.0.0.1',
    '127.255.255.255',
    '224.0.0.1',
    '239.255.255.255',
    '240.0.0.1',
    '255.255.255.255',
  ])
    assert.ok(isBogusIpv4Source(ip(text), 0), text);
  for (const text of [
    '1.0.0.0',
    '10.0.0.1',
    '100.64.0.1',
    '126.255.255.255',
    '128.0.0.1',
    '169.254.1.1',
    '192.168.1.1',
    '223.255.255.255',
  ])
    assert.not.ok(isBogusIpv4Source(ip(text), 0), text);
  assert.ok(isBogusIpv4Source(join([10, 10], ip('127.0.0.1')), 2));
});

test('a written header is what another program writes', () => {
  const buf = new Uint8Array(24).fill(0xee);
  writeIpv4Header(buf, 2, 33, 0, 0x4000, 64, 17, join(9, ip('10.0.0.2')), 1, ip('10.0.0.1'), 0);
  assert.is(toHex(buf), `eeee${VECTORS.udp4.slice(0, 40)}eeee`);
});

test('a written header is accepted, whatever its fields', () => {
  const random = seededRandom(2);
  const draw = new Uint8Array(16);
  const buf = new Uint8Array(65535);
  for (let i = 0; i < 500; i++) {
    random(draw);
    const total = 20 + (((draw[0]! << 8) | draw[1]!) % 65516);
    writeIpv4Header(buf, 0, total, (draw[2]! << 8) | draw[3]!, draw[4]! << 8, draw[5]!, draw[6]!, draw, 8, draw, 12);
    assert.is(checkIpv4Header(buf, 0, total), 20);
  }
});

test.run();
