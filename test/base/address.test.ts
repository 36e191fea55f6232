import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import * as address from '../../lib/base/address.ts';
import { fromHex, toHex } from '../../lib/base/bytes.ts';
import { seededRandom } from '../netstack/helpers.ts';

const test = suite('base/address');

test('IPv4 texts parse to their bytes', () => {
  assert.equal(address.parseAddress('1.2.3.4'), Uint8Array.of(1, 2, 3, 4));
  assert.equal(address.parseAddress('0.0.0.0'), new Uint8Array(4));
  assert.equal(address.parseAddress('255.255.255.255'), new Uint8Array(4).fill(255));
});

test('IPv4 in octal, hex, short, signed or padded form is refused', () => {
  for (const text of [
    '10.1',
    '010.0.0.1',
    '0x10.0.0.1',
    '1.2.3',
    '1.2.3.4.5',
    '256.0.0.1',
    '1.2.3.-4',
    ' 1.2.3.4',
    '1.2.3.4 ',
    '1..2.3',
    '',
    '.',
    '1.2.3.',
    '+1.2.3.4',
    '1e1.2.3.4',
    '١.2.3.4',
    '16909060',
  ])
    assert.is(address.parseAddress(text), undefined, text);
});

test('IPv6 texts parse to their bytes', () => {
  for (const [text, hex] of [
    ['::', '00000000000000000000000000000000'],
    ['::1', '00000000000000000000000000000001'],
    ['1::', '00010000000000000000000000000000'],
    ['2001:DB8::8:800:200C:417A', '20010db80000000000080800200c417a'],
    ['1:2:3:4:5:6:7:8', '00010002000300040005000600070008'],
    ['1:2:3:4:5:6:7::', '00010002000300040005000600070000'],
    ['::2:3:4:5:6:7:8', '00000002000300040005000600070008'],
    ['::ffff:129.144.52.38', '00000000000000000000ffff81903426'],
    ['64:ff9b::1.2.3.4', '0064ff9b000000000000000001020304'],
    ['1:2:3:4:5:6:1.2.3.4', '00010002000300040005000601020304'],
  ] as const)
    assert.is(toHex(address.parseAddress(text)!), hex, text);
});

test('broken IPv6 texts are refused', () => {
  for (const text of [
    ':',
    ':::',
    '1::2::3',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '1:2:3:4:5:6:7:8::',
    '::1:2:3:4:5:6:7:8',
    '12345::',
    'g::',
    ':1::',
    '1:',
    '::1:',
    '1.2.3.4::',
    '::1.2.3',
    '::1.2.3.4:5',
    '::1.2.3.4.5',
    '::01.2.3.4',
    'fe80::1%eth0',
    '[::1]',
    ' ::1',
    '::1/64',
    '1:2:3:4:5:6:7:1.2.3.4',
    `${'0'.repeat(40)}::1`,
  ])
    assert.is(address.parseAddress(text), undefined, text);
});

test('the examples of RFC 5952 come out in its form', () => {
  for (const [text, canonical] of [
    ['2001:0db8::0001', '2001:db8::1'],
    ['2001:db8:0:0:0:0:2:1', '2001:db8::2:1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'],
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['2001:DB8::A', '2001:db8::a'],
    ['0:0:0:0:0:0:0:0', '::'],
    ['1:0:0:0:0:0:0:0', '1::'],
    ['0:0:0:0:0:0:0:1', '::1'],
    ['0:1:0:1:0:1:0:1', '0:1:0:1:0:1:0:1'],
    ['::ffff:c0a8:1', '::ffff:192.168.0.1'],
    ['::fffe:c0a8:1', '::fffe:c0a8:1'],
    ['192.168.0.1', '192.168.0.1'],
  ] as const)
    assert.is(address.canonicalAddress(text), canonical, text);
});

test('a zone is kept with an IPv6 address and refused with anything else', () => {
  assert.is(address.canonicalAddress('FE80:0::1%eth0'), 'fe80::1%eth0');
  for (const text of ['1.2.3.4%eth0', 'fe80::1%', 'fe80::1%a b', 'fe80::1%a%b', `fe80::1%${'x'.repeat(33)}`, '%eth0'])
    assert.is(address.canonicalAddress(text), undefined, text);
});

test('formatting and parsing agree for random addresses with runs of zeros', () => {
  const random = seededRandom(11);
  for (let i = 0; i < 5000; i++) {
    const bytes = new Uint8Array(i % 3 === 0 ? 4 : 16);
    random(bytes);
    const mask = new Uint8Array(2);
    random(mask);
    if (bytes.length === 16) for (let g = 0; g < 8; g++) if ((mask[0]! >> g) & 1) bytes.fill(0, 2 * g, 2 * g + 2);
    const text = address.formatAddress(bytes);
    assert.equal(address.parseAddress(text), bytes, text);
    assert.is(address.canonicalAddress(text), text);
    assert.not.match(text, /::.*::/);
  }
});

test('any text parses or is undefined, without a throw', () => {
  const random = seededRandom(12);
  const letters = '0123456789abcdefg:.:.::%/[]- ';
  const draw = new Uint8Array(24);
  for (let i = 0; i < 20_000; i++) {
    random(draw);
    let text = '';
    for (let j = 0; j < draw[0]! % 24; j++) text += letters[draw[j]! % letters.length];
    for (const parse of [
      address.parseAddress,
      address.canonicalAddress,
      address.parseEndpoint,
      address.parsePrefix,
      address.splitHostPort,
      address.parsePort,
    ])
      parse(text);
    const parsed = address.parseAddress(text);
    if (parsed !== undefined) assert.equal(address.parseAddress(address.formatAddress(parsed)), parsed, text);
  }
});

test('an address is formatted at its offset', () => {
  const buf = fromHex('ffff0a000001fd00000000000000000000000000000100')!;
  assert.is(address.formatAddress(buf, 2, 4), '10.0.0.1');
  assert.is(address.formatAddress(buf, 6, 16), 'fd00::1');
  assert.throws(() => address.formatAddress(buf, 0, 5), RangeError);
});

test('ports are decimal numbers from 1 to 65535 and nothing else', () => {
  assert.is(address.parsePort('1'), 1);
  assert.is(address.parsePort('65535'), 65535);
  for (const text of ['0', '65536', '00', '080', '-1', '+1', '1.0', '1e3', ' 1', '1 ', '', '99999999999999999999'])
    assert.is(address.parsePort(text), undefined, text);
  assert.is(address.parseDecimal('0', 5), 0);
  assert.is(address.parseDecimal('5', 5), 5);
  assert.is(address.parseDecimal('6', 5), undefined);
});

test('host and port are split, names included', () => {
  assert.equal(address.splitHostPort('example.org:80'), { host: 'example.org', port: 80 });
  assert.equal(address.splitHostPort('[fd00::1]:80'), { host: 'fd00::1', port: 80 });
  for (const text of [
    'example.org',
    'example.org:',
    ':80',
    '[]:80',
    'fd00::1:80',
    '[fd00::1]',
    '[fd00::1]80',
    '[fd00::1:80',
    'a:0',
    'a:65536',
    '[1.2.3.4]:80',
    '[name]:80',
  ])
    assert.is(address.splitHostPort(text), undefined, text);
});

test('endpoints parse, print and compare', () => {
  assert.equal(address.parseEndpoint('1.2.3.4:5'), { address: '1.2.3.4', port: 5 });
  assert.equal(address.parseEndpoint('[FD00:0::1]:5'), { address: 'fd00::1', port: 5 });
  assert.equal(address.parseEndpoint('[fe80::1%eth0]:5'), { address: 'fe80::1%eth0', port: 5 });
  assert.is(address.parseEndpoint('example.org:5'), undefined);
  assert.is(address.formatEndpoint({ address: '1.2.3.4', port: 5 }), '1.2.3.4:5');
  assert.is(address.formatEndpoint({ address: 'fd00::1', port: 5 }), '[fd00::1]:5');
  const a = { address: 'fd00::1', port: 5 };
  assert.ok(address.sameEndpoint(a, { ...a }));
  assert.ok(address.sameEndpoint(undefined, undefined));
  assert.not.ok(address.sameEndpoint(a, undefined));
  assert.not.ok(address.sameEndpoint(undefined, a));
  assert.not.ok(address.sameEndpoint(a, { ...a, port: 6 }));
  assert.not.ok(address.sameEndpoint(a, { ...a, address: 'fd00::2' }));
});

test('prefixes mask their host bits and print', () => {
  for (const [text, formatted] of [
    ['10.1.2.3/8', '10.0.0.0/8'],
    ['10.1.2.3/32', '10.1.2.3/32'],
    ['10.1.2.3', '10.1.2.3/32'],
    ['255.255.255.255/9', '255.128.0.0/9'],
    ['1.2.3.4/0', '0.0.0.0/0'],
    ['fd00:1:2::1/33', 'fd00:1::/33'],
    ['fd00::1', 'fd00::1/128'],
    ['::/0', '::/0'],
  ] as const)
    assert.is(address.formatPrefix(address.parsePrefix(text)!), formatted, text);
  for (const text of [
    '10.0.0.0/33',
    '::/129',
    '10.0.0.0/',
    '10.0.0.0/-1',
    '10.0.0.0/08',
    '10.0.0.0/8/8',
    '/8',
    'x/8',
    'fe80::1%eth0/64',
  ])
    assert.is(address.parsePrefix(text), undefined, text);
});

test('a prefix contains exactly the addresses that agree in its bits', () => {
  const random = seededRandom(13);
  for (let i = 0; i < 3000; i++) {
    const size = i % 2 === 0 ? 4 : 16;
    const bytes = new Uint8Array(size);
    random(bytes);
    const bits = (bytes[0]! * 7 + i) % (size * 8 + 1);
    const prefix = { bytes: address.maskBytes(bytes, bits), bits };
    assert.ok(address.prefixContains(prefix, bytes));
    const shifted = new Uint8Array(size + 3);
    shifted.set(bytes, 3);
    assert.ok(address.prefixContains(prefix, shifted, 3));
    for (const bit of [bits - 1, bits]) {
      if (bit < 0 || bit >= size * 8) continue;
      const other = bytes.slice();
      other[bit >> 3]! ^= 0x80 >> (bit & 7);
      assert.is(address.prefixContains(prefix, other), bit >= bits, `${bits} ${bit}`);
    }
  }
});

test('masking copies', () => {
  const bytes = Uint8Array.of(255, 255, 255, 255);
  assert.equal(address.maskBytes(bytes, 12), Uint8Array.of(255, 240, 0, 0));
  assert.equal(bytes, Uint8Array.of(255, 255, 255, 255));
});

test.run();
