import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { concatBytes, toHex } from '../../lib/base/bytes.ts';
import { HpackDecoder } from '../../lib/http2/hpack-decoder.ts';
import { encodeFields } from '../../lib/http2/hpack-encoder.ts';
import {
  DynamicTable,
  type Field,
  fieldBytes,
  STATIC_FIELDS,
  staticField,
  staticIndex,
} from '../../lib/http2/hpack-table.ts';
import { huffmanDecode } from '../../lib/http2/huffman.ts';
import { Seeded } from '../crypto/support.ts';
import { fuzzRounds } from '../tools/scale.ts';
import { hex } from './support.ts';

const test = suite('hpack');

/** `name: value` lines of a block. */
function lines(decoder: HpackDecoder, block: string): string[] | undefined {
  const bytes = hex(`ff${block}ff`);
  return decoder.decode(bytes, 1, bytes.length - 1)?.fields.map(([name, value]) => `${name}: ${value}`);
}

const table = (decoder: HpackDecoder) => decoder.tableFields.map(([name, value]) => `${name}: ${value}`);

const GET_LINES = [':method: GET', ':scheme: http', ':path: /', ':authority: www.example.com'];

test('single fields decode as in RFC 7541 C.2', () => {
  const decoder = new HpackDecoder(4096, 65536);
  assert.equal(lines(decoder, '400a637573746f6d2d6b65790d637573746f6d2d686561646572'), ['custom-key: custom-header']);
  assert.equal(table(decoder), ['custom-key: custom-header']);
  assert.is(decoder.tableBytes, 55);
  for (const [block, line] of [
    ['040c2f73616d706c652f70617468', ':path: /sample/path'],
    ['100870617373776f726406736563726574', 'password: secret'],
    ['82', ':method: GET'],
  ] as const) {
    const fresh = new HpackDecoder(4096, 65536);
    assert.equal(lines(fresh, block), [line]);
    assert.equal(table(fresh), []);
  }
});

/** RFC 7541 C.3 (plain) and C.4 (Huffman): three requests on one connection. */
const REQUESTS = {
  plain: [
    '828684410f7777772e6578616d706c652e636f6d',
    '828684be58086e6f2d6361636865',
    '828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565',
  ],
  huffman: [
    '828684418cf1e3c2e5f23a6ba0ab90f4ff',
    '828684be5886a8eb10649cbf',
    '828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf',
  ],
};

for (const form of ['plain', 'huffman'] as const)
  test(`three requests decode as in RFC 7541 C.3 and C.4, ${form}`, () => {
    const decoder = new HpackDecoder(4096, 65536);
    const [first, second, third] = REQUESTS[form];
    assert.equal(lines(decoder, first!), GET_LINES);
    assert.is(decoder.tableBytes, 57);
    assert.equal(lines(decoder, second!), [...GET_LINES, 'cache-control: no-cache']);
    assert.is(decoder.tableBytes, 110);
    const https = [':method: GET', ':scheme: https', ':path: /index.html', ':authority: www.example.com'];
    assert.equal(lines(decoder, third!), [...https, 'custom-key: custom-value']);
    assert.is(decoder.tableBytes, 164);
    const authority = ':authority: www.example.com';
    assert.equal(table(decoder), ['custom-key: custom-value', 'cache-control: no-cache', authority]);
  });

/** RFC 7541 C.5 (plain) and C.6 (Huffman): three responses, and a table of 256 bytes that has to evict. */
const RESPONSES = {
  plain: [
    '4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d54' +
      '6e1768747470733a2f2f7777772e6578616d706c652e636f6d',
    '4803333037c1c0bf',
    '88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a6970' +
      '7738666f6f3d4153444a4b48514b425a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b2076657273696f6e3d31',
  ],
  huffman: [
    '488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3',
    '4883640effc1c0bf',
    '88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab' +
      '77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007',
  ],
};

for (const form of ['plain', 'huffman'] as const)
  test(`three responses decode as in RFC 7541 C.5 and C.6, ${form}`, () => {
    const decoder = new HpackDecoder(256, 65536);
    const [first, second, third] = RESPONSES[form];
    const rest = ['cache-control: private', 'date: Mon, 21 Oct 2013 20:13:21 GMT', 'location: https://www.example.com'];
    assert.equal(lines(decoder, first!), [':status: 302', ...rest]);
    assert.is(decoder.tableBytes, 222);
    assert.equal(lines(decoder, second!), [':status: 307', ...rest]);
    assert.is(decoder.tableBytes, 222);
    assert.equal(table(decoder), [':status: 307', ...[...rest].reverse()]);
    const cookie = 'set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1';
    const date = 'date: Mon, 21 Oct 2013 20:13:22 GMT';
    assert.equal(lines(decoder, third!), [':status: 200', rest[0], date, rest[2], 'content-encoding: gzip', cookie]);
    assert.is(decoder.tableBytes, 215);
    assert.equal(table(decoder), [cookie, 'content-encoding: gzip', date]);
  });

/** Bits of the code of every octet and of EOS (RFC 7541 Appendix B), the first table of the two. */
const CODE_BITS = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28,
  28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
  13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6,
  5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23,
  22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22,
  23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26,
  20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27,
  27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27,
  27, 27, 27, 26, 30,
];

/** The code of each symbol as a text of bits, made from the lengths alone. */
function makeCodes(): string[] {
  const symbols = CODE_BITS.map((_, symbol) => symbol).sort((a, b) => CODE_BITS[a]! - CODE_BITS[b]! || a - b);
  const codes: string[] = [];
  let code = 0;
  let bits = 0;
  for (const symbol of symbols) {
    if (bits > 0) code = (code + 1) * 2 ** (CODE_BITS[symbol]! - bits);
    bits = CODE_BITS[symbol]!;
    codes[symbol] = code.toString(2).padStart(bits, '0');
  }
  return codes;
}

/** Bits, filled with ones to whole octets. */
function packBits(bits: string): Uint8Array {
  const octets = Math.ceil(bits.length / 8);
  const full = bits.padEnd(8 * octets, '1');
  return Uint8Array.from({ length: octets }, (_, i) => Number.parseInt(full.slice(8 * i, 8 * i + 8), 2));
}

const decodeBits = (bits: string) => {
  const bytes = packBits(bits);
  return huffmanDecode(bytes, 0, bytes.length);
};

test('every octet comes back from its Huffman code, alone and in random texts', () => {
  const codes = makeCodes();
  assert.is(codes[0x30], '00000');
  assert.is(codes[0], '1111111111000');
  assert.is(codes[10], '111111111111111111111111111100');
  for (let octet = 0; octet < 256; octet++) assert.is(decodeBits(codes[octet]!), String.fromCharCode(octet));
  const seeded = new Seeded(7);
  for (let round = 0; round < fuzzRounds(300); round++) {
    const octets = [...seeded.bytes(seeded.below(40))];
    assert.is(decodeBits(octets.map(octet => codes[octet]).join('')), String.fromCharCode(...octets));
  }
});

test('the end symbol is refused, and padding that is too long or not all ones', () => {
  const codes = makeCodes();
  const eos = codes[256]!;
  assert.is(decodeBits(eos), undefined);
  assert.is(decodeBits(codes[97]! + eos + codes[97]!), undefined);
  assert.is(decodeBits(codes[48]! + '111'), '0');
  assert.is(decodeBits(codes[48]! + '110'), undefined, 'a zero in the padding');
  assert.is(decodeBits(codes[48]! + '11111111111'), undefined, 'eleven bits of padding');
  assert.is(decodeBits('11111111'), undefined, 'eight bits of padding');
  assert.is(decodeBits(''), '');
});

test('integers read as in RFC 7541 C.1, and are refused when too large or cut short', () => {
  const decoder = new HpackDecoder(2000, 65536);
  assert.equal(lines(decoder, '3f9a0a'), [], 'a size update to 1337');
  assert.equal(lines(decoder, '2a'), [], 'to 10');
  for (const block of ['3f', '3f9a', '7f', 'ff', 'ff80', '0f', '00'])
    assert.is(lines(new HpackDecoder(2000, 65536), block), undefined, block);
  // 61 + 2^28 would wrap to a known index in careless arithmetic, as would zeros behind 32 bits.
  for (const block of ['ffffffffff0f', 'ff808080801000', 'ff80808080808080808000', 'ffc3ffffffffffffffff7f', '80'])
    assert.is(lines(new HpackDecoder(2000, 65536), block), undefined, block);
});

test('a number may have zeros in front of its end, within reason', () => {
  assert.equal(lines(new HpackDecoder(2000, 65536), '3f808000'), [], '31, in more bytes than it needs');
  assert.is(lines(new HpackDecoder(2000, 65536), '3f808080808000'), undefined);
});

test('indices without an entry are refused', () => {
  assert.equal(lines(new HpackDecoder(4096, 65536), 'bd'), ['www-authenticate: ']);
  for (const block of ['be', 'ff8001', '7e0161', '7fff000161', '0fff000161'])
    assert.is(lines(new HpackDecoder(4096, 65536), block), undefined, block);
});

test('texts that are cut short are refused, also inside a larger array', () => {
  const whole = '400a637573746f6d2d6b65790d637573746f6d2d686561646572';
  for (let bytes = 1; bytes < whole.length / 2; bytes++) {
    const padded = concatBytes(hex(whole), new Uint8Array(40));
    assert.not(new HpackDecoder(4096, 65536).decode(padded, 0, bytes), `${bytes} bytes`);
  }
});

test('a size update above the announced size, or behind a field, is refused', () => {
  assert.equal(lines(new HpackDecoder(256, 65536), '3fe10182'), [':method: GET']);
  assert.is(lines(new HpackDecoder(256, 65536), '3fe20182'), undefined, '257');
  assert.is(lines(new HpackDecoder(256, 65536), '8220'), undefined, 'behind a field');
  assert.equal(lines(new HpackDecoder(256, 65536), '203fe10182'), [':method: GET'], 'two in front');
});

test('a smaller size evicts, and a table of nothing keeps nothing', () => {
  const decoder = new HpackDecoder(256, 65536);
  lines(decoder, RESPONSES.plain[0]!);
  assert.equal(lines(decoder, '3f45'), []);
  assert.equal(table(decoder), ['location: https://www.example.com'], '63 of 100 bytes');
  const none = new HpackDecoder(0, 65536);
  assert.equal(lines(none, '400161016282'), ['a: b', ':method: GET']);
  assert.is(none.tableBytes, 0);
  assert.is(lines(none, 'be'), undefined);
});

test('an entry larger than the table empties it', () => {
  const dynamic = new DynamicTable(100);
  dynamic.add(['a', 'b']);
  dynamic.add(['c', 'd']);
  assert.is(dynamic.length, 2);
  dynamic.add(['e', 'f'.repeat(68)]);
  assert.equal([dynamic.length, dynamic.bytes], [0, 0]);
});

test('a list above the limit is counted and not kept, while the table goes on', () => {
  const decoder = new HpackDecoder(4096, 100);
  const block = encodeFields([['a', 'b'.repeat(66)]]);
  const small = decoder.decode(block, 0, block.length);
  assert.equal([small?.isTooLarge, small?.fields.length], [false, 1], '99 bytes');
  const bytes = hex('4001610162400163016440016501668282');
  const list = decoder.decode(bytes, 0, bytes.length);
  assert.equal(
    [list?.isTooLarge, list?.fields],
    [
      true,
      [
        ['a', 'b'],
        ['c', 'd'],
      ],
    ],
  );
  assert.is(decoder.tableFields.length, 3, 'the third is in the table although it is not in the list');
  assert.equal(lines(decoder, 'be'), ['e: f']);
});

test('what the encoder writes decodes to the same, without touching the table', () => {
  const fields: Field[] = [
    [':method', 'POST'],
    [':path', '/machine/map'],
    [':authority', 'unused'],
    ['authorization', 'Bearer x'],
    ['x-long', 'v'.repeat(5000)],
    ['x-octets', '\u00e9\u00ff'],
    ['empty', ''],
  ];
  const block = encodeFields(fields);
  const decoder = new HpackDecoder(4096, 65536);
  assert.equal(decoder.decode(block, 0, block.length)?.fields, fields);
  assert.is(decoder.tableBytes, 0);
  assert.is(toHex(encodeFields([staticField(2)!, staticField(7)!])), '8287');
});

test('the static table is read by number, and searched by name and value', () => {
  const all = Array.from({ length: STATIC_FIELDS }, (_, i) => staticField(i + 1)!);
  assert.equal(
    [all[0], all[1], all[15], all[60]],
    [
      [':authority', ''],
      [':method', 'GET'],
      ['accept-encoding', 'gzip, deflate'],
      ['www-authenticate', ''],
    ],
  );
  for (const [i, [name, value]] of all.entries()) {
    assert.is(staticIndex(name, value), i + 1, name);
    assert.is(staticIndex(name, undefined), all.findIndex(field => field[0] === name) + 1, name);
    assert.is(staticIndex(name, `${value}x`), 0);
  }
  assert.is(new Set(all.map(String)).size, 61);
  assert.equal([staticField(0), staticField(62), staticField(-1)], [undefined, undefined, undefined]);
  assert.equal([staticIndex('', ''), staticIndex('via', undefined), staticIndex('vi', undefined)], [0, 60, 0]);
});

test('secrets are literals that nobody may index', () => {
  assert.is(toHex(encodeFields([['authorization', 'a']])), '1f080161');
  assert.is(toHex(encodeFields([['cookie', 'a']])), '1f110161');
  assert.is(toHex(encodeFields([['accept', 'a']])), '0f040161', 'while others may');
});

test('random blocks never throw and never exceed the table or the list', () => {
  const seeded = new Seeded(11);
  const seeds = [...REQUESTS.plain, ...REQUESTS.huffman, ...RESPONSES.plain, ...RESPONSES.huffman].map(hex);
  const decoder = new HpackDecoder(256, 300);
  let right = 0;
  for (let round = 0; round < fuzzRounds(20_000); round++) {
    const block = seeds[seeded.below(seeds.length)]!.slice();
    if (seeded.below(4) === 0) block.set(seeded.bytes(block.length));
    for (let i = seeded.below(4); i > 0; i--) block[seeded.below(block.length)] = seeded.below(256);
    const list = decoder.decode(block, 0, seeded.below(block.length + 1));
    if (list !== undefined) right++;
    assert.ok(decoder.tableBytes <= 256);
    assert.ok((list?.fields ?? []).reduce((sum, field) => sum + fieldBytes(field), 0) <= 300);
  }
  assert.ok(right > 50, `${right} were right`);
});

test.run();
