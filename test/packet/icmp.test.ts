import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { fromHex, toHex } from '../../lib/base/bytes.ts';
import { sumBytes } from '../../lib/base/checksum.ts';
import { dropName } from '../../lib/base/drop.ts';
import { checkIcmp, icmpNextHopMtu, isIcmpError, writeIcmpChecksum } from '../../lib/packet/icmp.ts';
import { counting, icmp4, icmp6, ip, join, VECTORS } from './build.ts';

const test = suite('packet/icmp');
const SUM6 = sumBytes(join(ip('fd00::2'), ip('fd00::1')), 0, 32);

function verdict(message: Uint8Array, family: 4 | 6, end = message.length): number | string {
  const result = checkIcmp(join([1, 2, 3], message, [9]), 3, 3 + end, family, SUM6);
  return result < 0 ? dropName(result) : result;
}

test('messages of another program pass', () => {
  for (const hex of [VECTORS.echo4, VECTORS.echoReply4, VECTORS.portUnreachable4])
    assert.is(verdict(fromHex(hex)!.slice(20), 4), 0);
  for (const hex of [VECTORS.echo6, VECTORS.echoReply6, VECTORS.portUnreachable6])
    assert.is(verdict(fromHex(hex)!.slice(40), 6), 0);
});

test('a message below 8 bytes is malformed', () => {
  const message = icmp4(8, 0, 0, counting(0));
  for (let end = 0; end < 8; end++) assert.is(verdict(message, 4, end), 'icmp-malformed');
});

test('a wrong checksum is noticed, whichever bit is wrong', () => {
  for (const family of [4, 6] as const) {
    const message = family === 4 ? icmp4(8, 0, 7, counting(5)) : icmp6('fd00::2', 'fd00::1', 128, 0, 7, counting(5));
    assert.is(verdict(message, family), 0);
    for (let bit = 0; bit < message.length * 8; bit++) {
      const wrong = message.slice();
      wrong[bit >> 3]! ^= 0x80 >> (bit & 7);
      assert.is(verdict(wrong, family), 'icmp-checksum', `bit ${bit}`);
    }
  }
});

test('the checksum covers the addresses in ICMPv6 only', () => {
  assert.is(verdict(icmp6('fd00::3', 'fd00::1', 128, 0, 7, counting(5)), 6), 'icmp-checksum');
  assert.is(checkIcmp(icmp4(8, 0, 7, counting(5)), 0, 13, 4, 12345), 0);
});

test('a written checksum is what another program writes', () => {
  const v4 = fromHex(VECTORS.echo4)!.slice(20);
  const v6 = fromHex(VECTORS.echo6)!.slice(40);
  for (const [message, family] of [
    [v4, 4],
    [v6, 6],
  ] as const) {
    const buf = message.slice();
    buf.fill(0xee, 2, 4);
    writeIcmpChecksum(buf, 0, buf.length, family, SUM6);
    assert.is(toHex(buf), toHex(message));
  }
});

test('only echo messages and ICMPv6 information are no errors', () => {
  for (const type of [0, 8]) assert.not.ok(isIcmpError(4, type));
  for (const type of [3, 4, 5, 9, 10, 11, 12, 13, 30, 42, 255]) assert.ok(isIcmpError(4, type));
  for (const type of [128, 129, 135]) assert.not.ok(isIcmpError(6, type));
  for (const type of [0, 1, 2, 3, 4, 100, 127, 137]) assert.ok(isIcmpError(6, type));
});

test('the next hop’s MTU is read, and guessed below the packet where an old router names none', () => {
  assert.is(icmpNextHopMtu(icmp4(3, 4, 1300, counting(0)), 0, 4, 1400), 1300);
  assert.is(icmpNextHopMtu(icmp6('fd00::2', 'fd00::1', 2, 0, 0x12345, counting(0)), 0, 6, 1400), 0x12345);
  const old = icmp4(3, 4, 0, counting(0));
  assert.is(icmpNextHopMtu(old, 0, 4, 1420), 1006);
  assert.is(icmpNextHopMtu(old, 0, 4, 1006), 576);
  assert.is(icmpNextHopMtu(old, 0, 4, 65535), 32000);
  assert.is(icmpNextHopMtu(old, 0, 4, 100), 0);
});

test.run();
