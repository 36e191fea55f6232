/** DNS over TCP: lengths in front, any pieces, several queries, clients that break the rules. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { DnsStream, MAX_STREAM_QUERY_BYTES } from '../../lib/dns/stream.ts';
import { join, u16 } from '../packet/build.ts';
import { A, decode, opt, query, SUFFIX, sampleTable } from './support.ts';

const test = suite('dns/stream');
const framed = (bytes: Uint8Array) => join(u16(bytes.length), bytes);

/** Feeds all bytes in pieces, takes answers in pieces; the whole output. */
function run(stream: DnsStream, input: Uint8Array, piece: number, room: number): Uint8Array {
  const out: number[] = [];
  const buf = new Uint8Array(room + 4);
  for (let at = 0; at < input.length && !stream.isBroken; ) {
    at += stream.handleBytes(input, at, Math.min(input.length, at + piece));
    for (let bytes = stream.pollBytes(buf, 2, 2 + room); bytes > 0; bytes = stream.pollBytes(buf, 2, 2 + room))
      out.push(...buf.subarray(2, 2 + bytes));
  }
  return Uint8Array.from(out);
}

/** Messages of a stream of answers. */
function messages(bytes: Uint8Array) {
  const out = [];
  for (let at = 0; at < bytes.length; ) {
    const length = bytes[at]! * 256 + bytes[at + 1]!;
    out.push(decode(bytes.slice(at + 2, at + 2 + length)));
    at += 2 + length;
  }
  return out;
}

test('queries are answered in order, in whatever pieces they come and go', () => {
  const names = [`me.${SUFFIX}`, `nobody.${SUFFIX}`, 'example.com', `printer.${SUFFIX}`];
  const input = join(...names.map((name, i) => framed(query(name, A, { id: i, extra: opt(1232) }))));
  const whole = run(new DnsStream(sampleTable()), input, 1000, 1000);
  assert.equal(
    messages(whole).map(({ id, rcode }) => [id, rcode]),
    [
      [0, 0],
      [1, 3],
      [2, 5],
      [3, 0],
    ],
  );
  for (const [piece, room] of [
    [1, 1],
    [2, 7],
    [3, 1000],
    [50, 3],
  ])
    assert.equal(run(new DnsStream(sampleTable()), input, piece!, room!), whole);
});

test('while an answer waits no more bytes are taken', () => {
  const stream = new DnsStream(sampleTable());
  const one = framed(query(`me.${SUFFIX}`, A));
  assert.is(stream.handleBytes(join(one, one), 0, 2 * one.length), one.length);
  assert.is(stream.handleBytes(one, 0, one.length), 0);
  const out = new Uint8Array(1000);
  const length = stream.pollBytes(out, 0, 1000);
  assert.ok(length > one.length);
  assert.is(stream.pollBytes(out, 0, 1000), 0);
  assert.is(stream.handleBytes(one, 0, one.length), one.length);
});

test('a query of any size that is allowed is taken', () => {
  const stream = new DnsStream(sampleTable());
  const padding = new Uint8Array(MAX_STREAM_QUERY_BYTES - query(`me.${SUFFIX}`, A).length - 11);
  const large = query(`me.${SUFFIX}`, A, { extra: opt(1232, 0, padding) });
  assert.is(large.length, MAX_STREAM_QUERY_BYTES);
  assert.is(messages(run(stream, framed(large), 100, 100))[0]!.answers.length, 1);
  assert.not.ok(stream.isBroken);
});

test('a length that no query has breaks the connection before more is kept', () => {
  for (const length of [0, 1, 11, MAX_STREAM_QUERY_BYTES + 1, 65_535]) {
    const stream = new DnsStream(sampleTable());
    stream.handleBytes(join(u16(length), 9), 0, 3);
    assert.ok(stream.isBroken, `${length}`);
    assert.is(stream.handleBytes(new Uint8Array(50), 0, 50), 0);
    assert.is(stream.pollBytes(new Uint8Array(50), 0, 50), 0);
  }
});

test('a response breaks the connection', () => {
  const stream = new DnsStream(sampleTable());
  run(stream, framed(query(`me.${SUFFIX}`, A, { flags: 0x8100 })), 100, 100);
  assert.ok(stream.isBroken);
});

test.run();
