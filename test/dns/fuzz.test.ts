/** Any bytes: an answer that can be decoded, or none, in bounded work; and names read apart from lib. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { skipName } from '../../lib/dns/name.ts';
import { seededRandom } from '../netstack/helpers.ts';
import { join, u16 } from '../packet/build.ts';
import { fuzzRounds } from '../tools/scale.ts';
import { A, ANY, ask, askRaw, opt, PTR, query, SUFFIX, sampleTable, wire } from './support.ts';

const test = suite('dns/fuzz');

test('changed queries get an answer that can be decoded, or none', () => {
  const table = sampleTable();
  const random = seededRandom(1);
  const dice = new Uint8Array(12);
  const seeds = [
    query(`me.${SUFFIX}`, A, { extra: opt(1232) }),
    query('7.0.64.100.in-addr.arpa', PTR),
    query(`printer.${SUFFIX}`, ANY, {
      counts: [1, 0, 0, 2],
      extra: join(opt(512), [0xc0, 12], u16(1), u16(1), new Uint8Array(6)),
    }),
  ];
  const seen = new Set<number>();
  for (let i = 0; i < fuzzRounds(20_000); i++) {
    random(dice);
    let bytes = seeds[dice[0]! % seeds.length]!.slice();
    for (let j = 1; j <= dice[1]! % 4; j++) bytes[dice[j + 1]! % bytes.length] = dice[j + 4]!;
    if (dice[9]! < 40) bytes = bytes.subarray(0, dice[10]! % bytes.length);
    const answer = ask(table, bytes, dice[11]! % 2 === 0);
    if (answer === undefined) continue;
    seen.add(answer.rcode);
    assert.ok(answer.flags.includes('qr'));
    assert.is(answer.id, bytes[0]! * 256 + bytes[1]!);
  }
  for (const rcode of [0, 1, 3, 4, 5]) assert.ok(seen.has(rcode), `code ${rcode}`);
});

test('random bytes of any length up to the largest datagram do no harm', () => {
  const table = sampleTable();
  const random = seededRandom(2);
  for (let i = 0; i < fuzzRounds(300); i++) {
    const bytes = new Uint8Array(i % 10 === 0 ? 65_535 : 12 + ((i * 7) % 500));
    random(bytes);
    bytes[2]! &= 1;
    bytes.set([0, 1, 0, 0, 0, 0], 4);
    const raw = askRaw(table, bytes);
    assert.ok(raw.length <= 1232);
    if (raw.length > 0) assert.ok(raw[2]! >= 0x80);
  }
});

test('65,535 bytes of records are walked once', () => {
  const record = join(0, u16(1), u16(1), new Uint8Array(6));
  const count = Math.floor((65_535 - 200) / record.length);
  const records = new Uint8Array(count * record.length);
  for (let i = 0; i < count; i++) records.set(record, i * record.length);
  const asked = query(`me.${SUFFIX}`, A, { counts: [1, 0, 0, count], extra: records });
  assert.is(ask(sampleTable(), asked)!.rcode, 0);
  const more = query(`me.${SUFFIX}`, A, { counts: [1, 0, 0, 65_535], extra: records });
  assert.is(ask(sampleTable(), more)!.rcode, 1);
});

test('names behind the question are stepped over, never followed', () => {
  const buf = join(wire('a.b'), [0xc0, 0], 1, 97, [0xc0, 1], [0x40, 1]);
  assert.is(skipName(buf, 0, buf.length), 5);
  assert.is(skipName(buf, 5, buf.length), 7);
  assert.is(skipName(buf, 7, buf.length), 11);
  assert.is(skipName(buf, 11, buf.length), -1);
  assert.is(skipName(Uint8Array.of(0xc0), 0, 1), -1);
  assert.is(skipName(Uint8Array.of(1, 97), 0, 2), -1);
  assert.is(skipName(new Uint8Array(300).fill(1), 0, 300), -1);
});

test.run();
