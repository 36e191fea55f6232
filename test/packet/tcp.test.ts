/** TCP headers and options. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { fromHex, toHex } from '../../lib/base/bytes.ts';
import {
  TCP_ACK,
  TCP_FIN,
  TCP_PSH,
  TCP_SYN,
  TcpSegment,
  tcpDestinationPort,
  tcpFlags,
  tcpHeaderBytes,
  tcpSourcePort,
  writeMss,
  writeSackHead,
  writeSackPermitted,
  writeTcpChecksum,
  writeTcpHeader,
  writeTimestamps,
  writeWindowShift,
} from '../../lib/packet/tcp.ts';
import { SeededRandom } from '../sim/link.ts';

const test = suite('packet/tcp');

/** A SYN as Linux sends it: MSS 1460, SACK permitted, timestamps, window scale 7. */
const SYN = fromHex(
  '9c4000500a0b0c0d00000000a002faf0123400000204 05b40402080a000f4240000000000103 0307'.replaceAll(' ', ''),
)!;

function parse(bytes: Uint8Array, start = 0, end = bytes.length): TcpSegment | undefined {
  const segment = new TcpSegment();
  return segment.parse(bytes, start, end) ? segment : undefined;
}

/** A header with these option bytes, padded with ends. */
function withOptions(flags: number, hex: string): Uint8Array {
  const options = fromHex(hex.replaceAll(' ', ''))!;
  const buf = new Uint8Array(20 + Math.ceil(options.length / 4) * 4);
  writeTcpHeader(buf, 0, 1, 2, 3, 4, buf.length, flags, 5);
  buf.set(options, 20);
  return buf;
}

test('a SYN of a stock system is read field by field', () => {
  const segment = parse(SYN)!;
  assert.is(segment.sourcePort, 40_000);
  assert.is(segment.destinationPort, 80);
  assert.is(segment.seq, 0x0a0b0c0d);
  assert.is(segment.ack, 0);
  assert.is(segment.flags, TCP_SYN);
  assert.is(segment.window, 64_240);
  assert.is(segment.mss, 1460);
  assert.is(segment.windowShift, 7);
  assert.ok(segment.isSackPermitted);
  assert.ok(segment.hasTimestamps);
  assert.is(segment.tsVal, 1_000_000);
  assert.is(segment.tsEcr, 0);
  assert.is(segment.sequenceLength, 1);
  assert.is(segment.dataStart, segment.dataEnd);
});

test('the accessors agree with the parser', () => {
  assert.is(tcpSourcePort(SYN, 0), 40_000);
  assert.is(tcpDestinationPort(SYN, 0), 80);
  assert.is(tcpFlags(SYN, 0), TCP_SYN);
  assert.is(tcpHeaderBytes(SYN, 0), 40);
});

test('sequence numbers beyond 2^31 are negative int32', () => {
  const buf = new Uint8Array(20);
  writeTcpHeader(buf, 0, 1, 2, 0xfffffff0, 0x80000000, 20, TCP_ACK, 5);
  const segment = parse(buf)!;
  assert.is(segment.seq, -16);
  assert.is(segment.ack, -0x80000000);
});

test('payload, SYN and FIN count as sequence space', () => {
  const buf = new Uint8Array(30);
  writeTcpHeader(buf, 0, 1, 2, 3, 4, 20, TCP_ACK | TCP_FIN | TCP_PSH, 5);
  const segment = parse(buf)!;
  assert.is(segment.sequenceLength, 11);
  assert.is(segment.dataStart, 20);
  assert.is(segment.dataEnd, 30);
});

test('a segment may lie anywhere in its buffer', () => {
  const buf = new Uint8Array(100);
  buf.set(SYN, 33);
  assert.is(parse(buf, 33, 73)!.mss, 1460);
});

test('a segment shorter than its header is refused at every length', () => {
  for (let length = 0; length < SYN.length; length++) assert.is(parse(SYN, 0, length), undefined, `${length} bytes`);
});

test('a header length below five words is refused', () => {
  for (let words = 0; words < 5; words++) {
    const buf = SYN.slice();
    buf[12] = words << 4;
    assert.is(parse(buf), undefined, `${words} words`);
  }
});

test('an option that runs past the header, or is shorter than its own head, is refused', () => {
  assert.is(parse(withOptions(TCP_ACK, '01 01 08 0a')), undefined);
  assert.is(parse(withOptions(TCP_ACK, '1e 00 00 00')), undefined);
  assert.is(parse(withOptions(TCP_ACK, '1e 01 00 00')), undefined);
  assert.is(parse(withOptions(TCP_ACK, '01 01 01 05')), undefined);
});

test('an unknown option is skipped, and what follows is read', () => {
  assert.is(parse(withOptions(TCP_SYN, 'fd 04 aa bb 02 04 05 b4'))!.mss, 1460);
});

test('what follows the end of options is not read', () => {
  assert.is(parse(withOptions(TCP_SYN, '00 00 00 00 02 04 05 b4'))!.mss, 0);
});

test('a known option of a wrong length is skipped', () => {
  const segment = parse(withOptions(TCP_SYN, '02 03 05 03 04 07 00 04 03 00 08 06 00 00 00 00'))!;
  assert.is(segment.mss, 0);
  assert.is(segment.windowShift, -1);
  assert.not(segment.isSackPermitted);
  assert.not(segment.hasTimestamps);
});

test('options of a SYN do not count elsewhere', () => {
  const segment = parse(withOptions(TCP_ACK, '02 04 05 b4 04 02 03 03 07 00'))!;
  assert.is(segment.mss, 0);
  assert.is(segment.windowShift, -1);
  assert.not(segment.isSackPermitted);
});

test('a window shift above 14 counts as 14', () => {
  assert.is(parse(withOptions(TCP_SYN, '03 03 ff 00'))!.windowShift, 14);
});

test('nothing of one segment is left when the next is parsed', () => {
  const segment = new TcpSegment();
  assert.ok(segment.parse(SYN, 0, SYN.length));
  const sack = withOptions(TCP_ACK, '05 0a 00000001 00000002 00 00');
  assert.ok(segment.parse(sack, 0, sack.length));
  assert.is(segment.sackCount, 1);
  assert.not(segment.hasTimestamps);
  const bare = new Uint8Array(20);
  writeTcpHeader(bare, 0, 1, 2, 3, 4, 20, TCP_SYN, 5);
  assert.ok(segment.parse(bare, 0, 20));
  assert.is(segment.sackCount, 0);
  assert.is(segment.mss, 0);
  assert.is(segment.windowShift, -1);
  assert.not(segment.isSackPermitted);
});

test('SACK blocks are read as pairs, up to four', () => {
  const blocks = '00000010 00000020 fffffff0 00000001 00000030 00000040 00000050 00000060';
  const segment = parse(withOptions(TCP_ACK, `01 01 05 22 ${blocks}`))!;
  assert.is(segment.sackCount, 4);
  const edges = Array.from({ length: 4 }, (_, i) => [segment.sackLeft(i), segment.sackRight(i)]);
  assert.equal(edges.flat(), [0x10, 0x20, -16, 1, 0x30, 0x40, 0x50, 0x60]);
});

test('a SACK option whose length is no whole number of blocks is skipped', () => {
  assert.is(parse(withOptions(TCP_ACK, '05 09 00000010 000000 00'))!.sackCount, 0);
  assert.is(parse(withOptions(TCP_ACK, '05 02 00 00'))!.sackCount, 0);
});

test('written options have the bytes of the RFCs', () => {
  const buf = new Uint8Array(28);
  let at = writeMss(buf, 0, 1380);
  at = writeSackPermitted(buf, at);
  at = writeTimestamps(buf, at, 0x01020304, -1);
  at = writeWindowShift(buf, at, 7);
  at = writeSackHead(buf, at, 2);
  assert.is(at, 28);
  assert.is(toHex(buf), '02040564' + '01010402' + '0101080a01020304ffffffff' + '01030307' + '01010512');
});

test('a written header is read back, with its checksum where it belongs', () => {
  const buf = new Uint8Array(32);
  writeTcpHeader(buf, 4, 65_535, 1, -2, 0x7fffffff, 20, 0x3f, 65_535);
  writeTcpChecksum(buf, 4, 0xbeef);
  assert.is(toHex(buf.subarray(4, 24)), 'ffff0001fffffffe7fffffff503fffffbeef0000');
});

test('any bytes parse or are refused, and what is parsed lies in the buffer', () => {
  const random = new SeededRandom(77);
  const segment = new TcpSegment();
  let parsed = 0;
  for (let i = 0; i < 20_000; i++) {
    const buf = new Uint8Array(random.below(80));
    random.fill(buf);
    if (buf.length > 12 && random.below(4) > 0) buf[12] = (5 + random.below(11)) << 4;
    const end = random.below(buf.length + 1);
    if (!segment.parse(buf, 0, end)) continue;
    parsed++;
    assert.ok(segment.dataStart >= 20 && segment.dataStart <= segment.dataEnd && segment.dataEnd === end);
    assert.ok(segment.sackCount <= 4);
  }
  assert.ok(parsed > 500);
});

test.run();
