/** Answers byte by byte and by meaning: what exists, what does not, what is not ours, what does not fit. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { toHex } from '../../lib/base/bytes.ts';
import { answerQuery } from '../../lib/dns/answer.ts';
import { NAME_LIMITS_LARGE } from '../../lib/dns/limits.ts';
import { join, u16 } from '../packet/build.ts';
import {
  A,
  AAAA,
  ANY,
  AXFR,
  ask,
  askRaw,
  decode,
  NS,
  OPT,
  opt,
  PTR,
  query,
  SOA,
  SUFFIX,
  sampleTable,
  TXT,
  wire,
} from './support.ts';

const test = suite('dns/answer');
const [OK, FORMAT, NO_NAME, NOT_IMPLEMENTED, REFUSED] = [0, 1, 3, 4, 5];
const OWN = ['qr', 'aa', 'rd', 'ra'];

/** Code, texts of the answers, and whose SOA came along. */
function meaning(name: string, type: number, table = sampleTable()) {
  const { rcode, answers, authority } = ask(table, query(name, type))!;
  return [rcode, answers.map(({ data }) => data).join(' '), authority.map(({ name: zone }) => zone).join(' ')];
}

test('a query for an address has these bytes, and its answer those', () => {
  const asked = query(`printer.${SUFFIX}`, A);
  const question = '077072696e74657204686f6d65046d6f746508696e7465726e616c00';
  assert.is(toHex(asked), `123401000001000000000000${question}00010001`);
  // Header, the question, a pointer to it, A, IN, 5 seconds, four bytes.
  assert.is(
    toHex(askRaw(sampleTable(), asked)),
    `123485800001000100000000${question}00010001c00c00010001000000050004` + '64400007',
  );
});

test('a denial has the SOA of the zone, by pointers into the question', () => {
  const table = sampleTable();
  const raw = askRaw(table, query(`nobody.${SUFFIX}`, A, { flags: 0 }));
  const question = '066e6f626f647904686f6d65046d6f746508696e7465726e616c00';
  const soa = `c0130006${'0001'}0000000a${'0018'}c013c013${table.serial.toString(16).padStart(8, '0')}${'0000000a'.repeat(4)}`;
  assert.is(toHex(raw), `123484030001000000010000${question}00010001${soa}`);
});

test('a pointer record has its name plainly', () => {
  const raw = askRaw(sampleTable(), query('7.0.64.100.in-addr.arpa', PTR));
  assert.ok(toHex(raw).endsWith('c00c000c00010000000500' + '1c' + toHex(wire(`printer.${SUFFIX}`))));
});

test('names of devices resolve in both families, whatever their case', () => {
  assert.equal(meaning(`printer.${SUFFIX}`, A), [OK, '100.64.0.7', '']);
  assert.equal(meaning(`PRINTER.Home.MOTE.internal`, A), [OK, '100.64.0.7', '']);
  assert.equal(meaning(`printer.${SUFFIX}`, AAAA), [OK, 'fd7a115ca1e000000000000000000007', '']);
  assert.equal(meaning(`me.${SUFFIX}`, A), [OK, '100.64.0.1', '']);
  assert.equal(meaning('guest.other.example', A), [OK, '100.64.0.8', ''], 'a device of another tailnet');
  assert.equal(meaning(`printer.${SUFFIX}`, ANY), [OK, '100.64.0.7 fd7a115ca1e000000000000000000007', '']);
});

test('the question comes back as it was written, and the id', () => {
  const answer = ask(sampleTable(), query(`PrInTeR.${SUFFIX}`, A, { id: 0xbeef }))!;
  assert.is(answer.question, `PrInTeR.${SUFFIX} 1 1`);
  assert.is(answer.answers[0]!.name, `PrInTeR.${SUFFIX}`);
  assert.is(answer.id, 0xbeef);
  assert.equal(answer.flags, OWN);
  assert.is(answer.answers[0]!.ttl, 5);
});

test('recursion is available to whom it is desired', () => {
  assert.equal(ask(sampleTable(), query(`me.${SUFFIX}`, A, { flags: 0 }))!.flags, ['qr', 'aa']);
});

test('a name that exists without the type is no error', () => {
  for (const type of [TXT, NS, SOA, PTR, 9999]) assert.equal(meaning(`printer.${SUFFIX}`, type), [OK, '', SUFFIX]);
  assert.equal(meaning('guest.other.example', AAAA), [OK, '', ''], 'no zone of ours, no SOA');
  assert.equal(meaning(SUFFIX, A), [OK, '', SUFFIX]);
});

test('the zone itself has a SOA', () => {
  const { answers, authority, rcode } = ask(sampleTable(), query(SUFFIX, SOA))!;
  assert.is(rcode, OK);
  assert.is(answers[0]!.name, SUFFIX);
  assert.ok(answers[0]!.data.startsWith(`${SUFFIX} ${SUFFIX} `));
  assert.equal(authority, []);
});

test('a name inside the zone that nobody has does not exist', () => {
  assert.equal(meaning(`nobody.${SUFFIX}`, A), [NO_NAME, '', SUFFIX]);
  assert.equal(meaning(`x.printer.${SUFFIX}`, A), [NO_NAME, '', SUFFIX]);
  assert.equal(meaning('some.onion', A), [NO_NAME, '', 'onion']);
});

test('a name outside is refused at once', () => {
  for (const name of [
    'example.com',
    'other.example',
    `x${SUFFIX}`,
    'mote.internal',
    'com',
    '',
    'nobody.other.example',
  ]) {
    const answer = ask(sampleTable(), query(name, A))!;
    assert.is(answer.rcode, REFUSED, name);
    assert.equal(answer.flags, ['qr', 'rd', 'ra']);
    assert.is(answer.question, `${name} 1 1`);
  }
});

test('a route without resolvers is a zone of its own, one with resolvers is not', () => {
  const table = sampleTable({
    Routes: { 'lab.example': null, 'far.example': [{ Addr: '1.1.1.1' }], 'LOUD.example.': [] },
  });
  assert.equal(meaning('x.lab.example', A, table), [NO_NAME, '', 'lab.example']);
  assert.equal(meaning('x.loud.example', A, table), [NO_NAME, '', 'loud.example']);
  assert.equal(meaning('x.far.example', A, table), [REFUSED, '', '']);
});

test('addresses of the tailnet have names, others are refused', () => {
  const ip6 = '0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.e.1.a.c.5.1.1.a.7.d.f.ip6.arpa';
  assert.equal(meaning('7.0.64.100.in-addr.arpa', PTR), [OK, `printer.${SUFFIX}`, '']);
  assert.equal(meaning(`7${ip6.slice(1)}`, PTR), [OK, `printer.${SUFFIX}`, '']);
  assert.equal(meaning(`7${ip6.slice(1)}`.toUpperCase(), PTR), [OK, `printer.${SUFFIX}`, '']);
  assert.equal(meaning('7.0.64.100.in-addr.arpa', ANY), [OK, `printer.${SUFFIX}`, '']);
  assert.equal(meaning('7.0.64.100.in-addr.arpa', A), [OK, '', '64.100.in-addr.arpa']);
  assert.equal(meaning('9.0.64.100.in-addr.arpa', PTR), [NO_NAME, '', '64.100.in-addr.arpa']);
  assert.equal(meaning('0.127.100.in-addr.arpa', PTR), [OK, '', '127.100.in-addr.arpa'], 'others may lie below');
  assert.equal(meaning('9.0.128.100.in-addr.arpa', PTR), [REFUSED, '', '']);
  assert.equal(meaning('9.0.63.100.in-addr.arpa', PTR), [REFUSED, '', '']);
  assert.equal(meaning('1.0.0.127.in-addr.arpa', PTR), [REFUSED, '', '']);
  assert.equal(meaning('1.7.0.64.100.in-addr.arpa', PTR), [NO_NAME, '', '64.100.in-addr.arpa']);
  assert.equal(meaning('07.0.64.100.in-addr.arpa', PTR), [NO_NAME, '', '64.100.in-addr.arpa']);
  assert.equal(meaning('b._dns-sd._udp.0.0.64.100.in-addr.arpa', PTR), [NO_NAME, '', '64.100.in-addr.arpa']);
  assert.equal(meaning(`8${ip6.slice(1)}`, PTR), [NO_NAME, '', '0.e.1.a.c.5.1.1.a.7.d.f.ip6.arpa']);
  assert.equal(meaning('g.ip6.arpa', PTR), [REFUSED, '', '']);
});

test('extra records have addresses, and reverse names where no device has the address', () => {
  const table = sampleTable({
    ExtraRecords: [
      { Name: 'db.corp.example', Value: '10.0.0.5' },
      { Name: 'DB.corp.example.', Type: 'A', Value: '10.0.0.6' },
      { Name: 'db.corp.example', Type: 'AAAA', Value: 'fd00::5' },
      { Name: `printer.${SUFFIX}`, Type: '', Value: '10.0.0.9' },
      { Name: 'txt.corp.example', Type: 'TXT', Value: '10.0.0.7' },
      { Name: 'alias.corp.example', Value: '100.64.0.7' },
      { Name: 'bad', Value: 'x' },
      { Name: 'b d', Value: '10.0.0.1' },
    ],
  });
  assert.equal(meaning('db.corp.example', A, table), [OK, '10.0.0.5 10.0.0.6', '']);
  assert.equal(meaning('db.corp.example', AAAA, table)[1], 'fd000000000000000000000000000005');
  assert.equal(meaning(`printer.${SUFFIX}`, A, table), [OK, '100.64.0.7 10.0.0.9', '']);
  assert.equal(meaning('txt.corp.example', A, table), [REFUSED, '', '']);
  assert.equal(meaning('5.0.0.10.in-addr.arpa', PTR, table), [OK, 'db.corp.example', '']);
  assert.equal(meaning('7.0.64.100.in-addr.arpa', PTR, table), [OK, `printer.${SUFFIX}`, '']);
  assert.is(table.malformed, 2);
});

test('a name above others exists, though it has nothing itself', () => {
  const table = sampleTable({ ExtraRecords: [{ Name: `deep.under.${SUFFIX}`, Value: '10.0.0.5' }] });
  assert.equal(meaning(`under.${SUFFIX}`, A, table), [OK, '', SUFFIX]);
  table.configure(SUFFIX, {});
  assert.equal(meaning(`under.${SUFFIX}`, A, table), [NO_NAME, '', SUFFIX]);
});

test('zone transfers are not implemented, other classes refused', () => {
  assert.equal(meaning(SUFFIX, AXFR)[0], NOT_IMPLEMENTED);
  assert.equal(meaning('example.com', AXFR)[0], REFUSED);
  assert.is(ask(sampleTable(), query(`me.${SUFFIX}`, A, { clas: 3 }))!.rcode, REFUSED);
  assert.is(ask(sampleTable(), query(`me.${SUFFIX}`, A, { clas: 255 }))!.rcode, OK);
});

test('what is no query is not answered', () => {
  const table = sampleTable();
  assert.is(ask(table, query(`me.${SUFFIX}`, A, { flags: 0x8100 })), undefined, 'a response');
  const whole = query(`me.${SUFFIX}`, A);
  for (let length = 0; length < 12; length++) assert.is(ask(table, whole.subarray(0, length)), undefined);
});

test('operations other than a query are not implemented', () => {
  for (const operation of [1, 2, 4, 5, 15]) {
    const answer = decode(askRaw(sampleTable(), query(`me.${SUFFIX}`, A, { flags: operation << 11 })));
    assert.is(answer.rcode, NOT_IMPLEMENTED);
    assert.is(answer.question, '');
  }
});

test('a query must have one question and no answers', () => {
  const counts = [
    [0, 0, 0, 0],
    [2, 0, 0, 0],
    [65_535, 0, 0, 0],
    [1, 1, 0, 0],
    [1, 0, 1, 0],
    [1, 65_535, 65_535, 65_535],
  ];
  for (const count of counts) {
    const answer = ask(sampleTable(), query(`me.${SUFFIX}`, A, { counts: count }))!;
    assert.is(answer.rcode, FORMAT, `${count}`);
    assert.is(answer.question, '');
  }
});

test('a query that is cut off anywhere is a format error', () => {
  const whole = query(`me.${SUFFIX}`, A, { extra: opt(1232) });
  for (let length = 12; length < whole.length; length++)
    assert.is(ask(sampleTable(), whole.subarray(0, length))!.rcode, FORMAT, `${length} bytes`);
  assert.is(ask(sampleTable(), whole)!.rcode, OK);
});

test('a name with pointers is a format error: loops, itself, forward, into the header', () => {
  const names = [
    [0xc0, 12],
    [0xc0, 0],
    [0xc0, 200],
    [2, 109, 101, 0xc0, 12],
    [2, 109, 101, 0xc0, 15],
    [0x40, 0],
    [0x80, 0],
    [0xff, 0xff],
  ];
  for (const name of names) assert.is(ask(sampleTable(), query(Uint8Array.from(name), A))!.rcode, FORMAT, `${name}`);
});

test('a label has at most 63 bytes', () => {
  const label = (length: number) => join(length, new Uint8Array(length).fill(97), 0);
  assert.is(ask(sampleTable(), query(label(63), A))!.rcode, REFUSED);
  for (const length of [64, 128, 191, 192]) assert.is(ask(sampleTable(), query(label(length), A))!.rcode, FORMAT);
});

test('a record that says to be longer than the query is a format error', () => {
  const record = opt(1232, 0, new Uint8Array(4));
  assert.is(ask(sampleTable(), query(`me.${SUFFIX}`, A, { extra: record }))!.rcode, OK);
  for (let cut = 1; cut < record.length; cut++)
    assert.is(ask(sampleTable(), query(`me.${SUFFIX}`, A, { extra: record.subarray(0, -cut) }))!.rcode, FORMAT);
});

test('a name has at most 255 bytes on the wire', () => {
  const name = (last: number) => `${'a'.repeat(63)}.${'b'.repeat(63)}.${'c'.repeat(63)}.${'d'.repeat(last)}`;
  assert.is(ask(sampleTable(), query(name(61), A))!.rcode, REFUSED);
  assert.is(ask(sampleTable(), query(name(62), A))!.rcode, FORMAT);
  assert.is(ask(sampleTable(), query(`${'a.'.repeat(127)}`, A))!.rcode, REFUSED);
  assert.is(ask(sampleTable(), query(`${'a.'.repeat(128)}`, A))!.rcode, FORMAT);
});

test('a dot inside a label separates nothing', () => {
  const label = (text: string) =>
    join(
      text.length,
      Uint8Array.from(text, char => char.charCodeAt(0)),
    );
  const zone = wire(SUFFIX);
  const rcode = (...parts: (Uint8Array | number | number[])[]) => ask(sampleTable(), query(join(...parts), A))!.rcode;
  assert.is(rcode(label('me'), zone), OK);
  assert.is(rcode(label(`me.${SUFFIX}`), 0), REFUSED);
  assert.is(rcode(label('x.me'), zone), NO_NAME);
  assert.is(rcode(label('me\u0000'), zone), NO_NAME);
  assert.is(rcode(label('me\\046'), zone), NO_NAME);
});

test('EDNS is answered with EDNS, and only then', () => {
  const plain = ask(sampleTable(), query(`me.${SUFFIX}`, A))!;
  assert.equal(plain.extra, []);
  const answer = ask(sampleTable(), query(`me.${SUFFIX}`, A, { extra: opt(4096, 0, Uint8Array.of(0, 10, 0, 1, 9)) }))!;
  assert.equal(answer.extra, [{ name: '', type: OPT, clas: 1232, ttl: 0, data: '' }]);
  assert.is(answer.answers.length, 1);
});

test('an EDNS version that is not known is said so', () => {
  const answer = ask(sampleTable(), query(`me.${SUFFIX}`, A, { extra: opt(4096, 1) }))!;
  assert.is(answer.rcode, 0);
  assert.is(answer.extra[0]!.ttl, 0x0100_0000, 'the upper bits of code 16');
  assert.equal(answer.answers, []);
});

test('a second OPT record, or one with a name, is a format error', () => {
  const two = query(`me.${SUFFIX}`, A, { counts: [1, 0, 0, 2], extra: join(opt(512), opt(512)) });
  assert.is(ask(sampleTable(), two)!.rcode, FORMAT);
  const named = query(`me.${SUFFIX}`, A, { extra: join(wire('x'), opt(512).subarray(1)) });
  assert.is(ask(sampleTable(), named)!.rcode, FORMAT);
});

test('other records behind the question are stepped over', () => {
  const tsig = join(wire('key.example'), u16(250), u16(255), [0, 0, 0, 0], u16(3), [1, 2, 3]);
  const pointed = join([0xc0, 12], u16(16), u16(1), [0, 0, 0, 0], u16(0));
  const asked = query(`me.${SUFFIX}`, A, { counts: [1, 0, 0, 3], extra: join(tsig, opt(512), pointed) });
  assert.is(ask(sampleTable(), asked)!.answers.length, 1);
});

const MANY = Array.from({ length: 64 }, (_, i) => ({ Name: 'many.corp.example', Value: `10.0.0.${i + 1}` }));

test('what does not fit is left out, and TCP has it all', () => {
  const table = sampleTable({ ExtraRecords: MANY }, NAME_LIMITS_LARGE);
  const name = 'many.corp.example';
  const small = ask(table, query(name, A))!;
  assert.equal([small.flags.includes('tc'), small.answers.length, small.rcode], [true, 0, OK]);
  const edns = ask(table, query(name, A, { extra: opt(1100) }))!;
  assert.equal([edns.flags.includes('tc'), edns.answers.length], [false, 64]);
  assert.equal([...new Set(edns.answers.map(({ data }) => data))].length, 64);
  assert.is(ask(table, query(name, A), true)!.answers.length, 64);
  const tiny = ask(table, query(name, A, { extra: opt(0) }))!;
  assert.ok(tiny.flags.includes('tc'), 'no client takes less than 512 bytes');
});

test('an answer over UDP is never larger than 1232 bytes, and at 512 bytes not one too large', () => {
  const sizes = [28, 29, 30, 31, 32].map(count => {
    const table = sampleTable({ ExtraRecords: MANY.slice(0, count) }, NAME_LIMITS_LARGE);
    return askRaw(table, query('many.corp.example', A)).length;
  });
  assert.equal(sizes, [12 + 23 + 28 * 16, 12 + 23 + 29 * 16, 35, 35, 35]);
  const six = MANY.map(({ Name }, i) => ({ Name, Value: `fd00::${i + 1}` }));
  const table = sampleTable({ ExtraRecords: six }, NAME_LIMITS_LARGE);
  const cut = ask(table, query('many.corp.example', AAAA, { extra: opt(65_535) }))!;
  assert.ok(cut.flags.includes('tc'));
  assert.is(ask(table, query('many.corp.example', AAAA), true)!.answers.length, 64);
});

test('a buffer that is too small gets what it takes, or nothing', () => {
  const asked = query(`me.${SUFFIX}`, A, { extra: opt(1232) });
  const lengths = [0, 11, 12, 49, asked.length - 1, asked.length, asked.length + 15, asked.length + 16].map(room => {
    const out = new Uint8Array(room);
    return answerQuery(sampleTable(), asked, 0, asked.length, out);
  });
  assert.equal(lengths, [0, 0, 0, 0, 0, asked.length, asked.length, asked.length + 16]);
});

test.run();
