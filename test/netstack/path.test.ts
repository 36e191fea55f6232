import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { parseAddress } from '../../lib/base/address.ts';
import { toHex } from '../../lib/base/bytes.ts';
import { foldChecksum, sumBytes } from '../../lib/base/checksum.ts';
import { IpPath, writeIpHeader } from '../../lib/netstack/path.ts';

const test = suite('netstack/path');
const ip = (text: string) => parseAddress(text)!;

test('an IPv4 header has DF, identification 0, hop limit 64 and a checksum computed elsewhere', () => {
  const path = new IpPath(ip('192.168.0.1'), ip('192.168.0.199'), 1420);
  const buf = new Uint8Array(24).fill(0xee);
  writeIpHeader(path, 17, buf, 2, 95);
  // the textbook header: 115 bytes of UDP, checksum b861
  assert.is(toHex(buf), `eeee45000073000040004011b861c0a80001c0a800c7eeee`);
  assert.is(foldChecksum(sumBytes(buf, 2, 22)), 0);
});

test('an IPv6 header carries the payload length, next header and addresses', () => {
  const path = new IpPath(ip('fd00::1'), ip('fd00::2'), 1420);
  const buf = new Uint8Array(40);
  writeIpHeader(path, 6, buf, 0, 1380);
  assert.is(toHex(buf), `6000000005640640fd${'0'.repeat(29)}1fd${'0'.repeat(29)}2`);
});

test('a path copies its addresses and names them', () => {
  const local = ip('10.0.0.1');
  const path = new IpPath(local, ip('10.0.0.2'), 1420);
  local[3] = 9;
  assert.is(path.localText, '10.0.0.1');
  assert.is(path.remoteText, '10.0.0.2');
  assert.is(path.family, 4);
  assert.is(path.headerBytes, 20);
  assert.is(path.addressSum, sumBytes(Uint8Array.of(10, 0, 0, 1, 10, 0, 0, 2), 0, 8));
  assert.is(new IpPath(ip('::1'), ip('::2'), 1280).headerBytes, 40);
});

test('two families in one path are the caller’s mistake', () => {
  assert.throws(() => new IpPath(ip('10.0.0.1'), ip('::1'), 1420), RangeError);
  assert.throws(() => new IpPath(new Uint8Array(5), new Uint8Array(5), 1420), RangeError);
});

test.run();
