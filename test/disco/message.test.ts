import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { concatBytes, toHex } from '../../lib/base/bytes.ts';
import {
  looksLikeDisco,
  parseDiscoMessage,
  writeCall,
  writeDiscoHeader,
  writePing,
  writePong,
} from '../../lib/disco/message.ts';
import { hex, ramp, Seeded } from '../crypto/support.ts';
import { at, noble, publicOf, secretOf } from './support.ts';

const test = suite('disco message');

const ID = ramp(12, 1);

function written(write: (out: Uint8Array) => number): string {
  const out = new Uint8Array(700).fill(0xaa);
  return toHex(out.slice(0, write(out)));
}

function parsed(text: string, max = 100) {
  const bytes = concatBytes(Uint8Array.of(9, 9), hex(text), Uint8Array.of(1, 2, 3));
  return parseDiscoMessage(bytes, 2, bytes.length - 3, max);
}

// data-plane.md section 10: what a stock program and two other box implementations agree on.
test('a ping has the bytes of the vector, and the vector opens', () => {
  const packet = hex(
    '5453f09f92ac7b4e909bbe7ffe44c465a220037d608ee35897d31ef972f07f74892cb0f73f13' +
      '000102030405060708090a0b0c0d0e0f1011121314151617' +
      '0379216e85609b47e1d2198899dddfbc5a8c18945d97ffce3da53ca6da5d09b7a20c26534c0c1019dbe97e1550395116df47dbc9a704f0a5990f974c383e',
  );
  const boxKey = new Uint8Array(32);
  noble.boxKey(boxKey, secretOf(0x11).bytes, publicOf(0x22));
  assert.is(toHex(boxKey), '8abe7c8ae6800b76d4f5986b04b77f6e9b4f332403c90df02428336e8bd9b525');
  const plain = new Uint8Array(46);
  assert.is(writePing(plain, 0, ID, publicOf(0x33)), 46);
  const out = new Uint8Array(124);
  writeDiscoHeader(out, 0, publicOf(0x11), ramp(24));
  noble.boxSeal(out.subarray(62), boxKey, ramp(24), plain);
  assert.is(toHex(out), toHex(packet));
  assert.ok(noble.boxOpen(plain, boxKey, packet.subarray(38, 62), packet.subarray(62)));
  assert.equal(parseDiscoMessage(plain, 0, 46, 1), { type: 'ping', id: ID, nodeKey: publicOf(0x33) });
});

test('pongs have the bytes that other programs write', () => {
  const v4 = '02000102030405060708090a0b0c00000000000000000000ffff0203040504d2';
  assert.is(
    written(out => writePong(out, 0, ID, at('2.3.4.5:1234'))),
    v4,
  );
  assert.equal(parsed(v4), { type: 'pong', id: ID, observed: { address: '2.3.4.5', port: 1234 } });
  const v6 = '02000102030405060708090a0b0cfed00000000000000000000000000012' + '1a0a';
  assert.is(
    written(out => writePong(out, 0, ID, at('[fed0::12]:6666'))),
    v6,
  );
  assert.equal(parsed(v6), { type: 'pong', id: ID, observed: { address: 'fed0::12', port: 6666 } });
});

test('calls have the bytes that other programs write', () => {
  assert.is(
    written(out => writeCall(out, 0, [])),
    '0300',
  );
  assert.equal(parsed('0300'), { type: 'call', endpoints: [] });
  const two = '0300' + '00000000000000000000ffff01020304' + '0237' + '20010000000000000000000000003456' + '0315';
  const endpoints = [at('1.2.3.4:567'), at('[2001::3456]:789')];
  assert.is(
    written(out => writeCall(out, 0, endpoints)),
    two,
  );
  assert.equal(parsed(two), { type: 'call', endpoints });
});

test('the zone of an address is not written, and what is no address is written as zeros', () => {
  const zeros = '00'.repeat(16);
  assert.is(
    written(out => writeCall(out, 0, [{ address: 'fe80::1%eth0', port: 1 }])),
    `0300fe80${'00'.repeat(13)}010001`,
  );
  assert.is(
    written(out => writeCall(out, 0, [{ address: 'nonsense', port: 1 }])),
    `0300${zeros}0001`,
  );
});

test('a ping may have no node key, padding, and a later version', () => {
  assert.equal(parsed('0100' + toHex(ID)), { type: 'ping', id: ID, nodeKey: undefined });
  assert.equal(parsed('0100' + toHex(ID) + '00'.repeat(31)), { type: 'ping', id: ID, nodeKey: undefined });
  const key = toHex(publicOf(0x33));
  assert.equal(parsed('0105' + toHex(ID) + key + '00'.repeat(500)), { type: 'ping', id: ID, nodeKey: publicOf(0x33) });
});

test('a call of another version, or of a length that does not fit, has no addresses', () => {
  const one = '00000000000000000000ffff010203040237';
  assert.equal(parsed('0301' + one), { type: 'call', endpoints: [] });
  assert.equal(parsed('0300' + one + '00'), { type: 'call', endpoints: [] });
  assert.equal(parsed('0300' + one.slice(2)), { type: 'call', endpoints: [] });
  assert.equal(parsed('0300' + one), { type: 'call', endpoints: [at('1.2.3.4:567')] });
});

test('no more addresses of a call are read than asked for, and none with port 0', () => {
  const one = '00000000000000000000ffff01020304';
  assert.equal(parsed('0300' + `${one}0000` + `${one}0001` + `${one}0002`, 1), {
    type: 'call',
    endpoints: [at('1.2.3.4:1')],
  });
});

test('what is too short is nothing', () => {
  assert.is(parsed(''), undefined);
  for (const type of ['01', '02', '03', '04']) assert.is(parsed(type), undefined, type);
  assert.is(parsed('0100' + '11'.repeat(11)), undefined);
  assert.is(parsed('0200' + '11'.repeat(29)), undefined);
  assert.is(parsed('0200' + '11'.repeat(30))?.type, 'pong');
});

test('kinds that are not spoken here are told apart from what is broken', () => {
  for (const type of [0, 4, 5, 6, 7, 8, 9, 10, 255])
    assert.equal(parsed(type.toString(16).padStart(2, '0') + '00'), { type: 'other' });
});

test('the magic and 62 bytes look like path discovery', () => {
  const buf = new Uint8Array(80);
  writeDiscoHeader(buf, 5, publicOf(1), ramp(24));
  assert.ok(looksLikeDisco(buf, 5, 67));
  assert.not(looksLikeDisco(buf, 5, 66));
  assert.not(looksLikeDisco(buf, 4, 67));
  for (let i = 5; i < 11; i++) {
    buf[i]! ^= 1;
    assert.not(looksLikeDisco(buf, 5, 67), `byte ${i - 5}`);
    buf[i]! ^= 1;
  }
});

test('any bytes parse to something or nothing', () => {
  const seeded = new Seeded(99);
  const counts = new Map<string, number>();
  for (let i = 0; i < 5000; i++) {
    const bytes = seeded.bytes(seeded.below(80));
    if (bytes.length > 1) bytes[0] = seeded.below(5);
    if (seeded.below(2) === 0 && bytes.length > 2) bytes[1] = 0;
    const message = parseDiscoMessage(bytes, 0, bytes.length, 3);
    if (message?.type === 'call') assert.ok(message.endpoints.length <= 3);
    counts.set(message?.type ?? 'nothing', (counts.get(message?.type ?? 'nothing') ?? 0) + 1);
  }
  assert.equal([...counts.keys()].sort(), ['call', 'nothing', 'other', 'ping', 'pong']);
});

test.run();
