/** The capture file of a world, read back by rules of its own. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { utf8Encode } from '../../lib/base/bytes.ts';
import { ipPacket, PcapRecorder, PROTOCOL_TCP, PROTOCOL_UDP, wireBytes } from './pcap.ts';

const test = suite('pcap');
const UDP = {
  protocol: PROTOCOL_UDP,
  source: { address: '192.0.2.1', port: 1000 },
  destination: { address: '198.51.100.1', port: 2000 },
  bytes: utf8Encode('hello'),
} as const;
const UDP6 = {
  ...UDP,
  source: { address: '2001:db8::1', port: 1000 },
  destination: { address: '2001:db8::2', port: 2000 },
} as const;

/** The one's complement sum over 16-bit words: 0xffff over anything that carries its right checksum. */
function sum(...parts: Uint8Array[]): number {
  let total = 0;
  for (const part of parts) for (let i = 0; i < part.length; i += 2) total += part[i]! * 256 + (part[i + 1] ?? 0);
  while (total > 0xffff) total = (total & 0xffff) + (total >>> 16);
  return total;
}

test('packets are raw IP with right checksums', () => {
  for (const packet of [UDP, { ...UDP, protocol: PROTOCOL_TCP, sequence: 77 } as const]) {
    const bytes = ipPacket(packet);
    assert.is(bytes.length, wireBytes(packet));
    assert.is(sum(bytes.slice(0, 20)), 0xffff);
    const transport = bytes.slice(20);
    assert.is(sum(bytes.slice(12, 20), Uint8Array.of(0, packet.protocol, 0, transport.length), transport), 0xffff);
    assert.equal([...bytes.slice(-5)], [...utf8Encode('hello')]);
  }
  const bytes = ipPacket(UDP6);
  assert.is(bytes.length, wireBytes(UDP6));
  assert.is(bytes[0]! >> 4, 6);
  assert.is(sum(bytes.slice(8, 40), Uint8Array.of(0, 17, 0, 13), bytes.slice(40)), 0xffff);
});

test('the file has one interface and a block per packet, with time, link and loss', () => {
  const recorder = new PcapRecorder();
  recorder.record(1000.25, 'a up', UDP, false);
  recorder.record(1001, 'b down', UDP, true);
  const file = recorder.file();
  const view = new DataView(file.buffer);
  const blocks: { type: number; at: number; length: number }[] = [];
  for (let at = 0; at < file.length; ) {
    const length = view.getUint32(at + 4, true);
    assert.is(length % 4, 0);
    assert.is(view.getUint32(at + length - 4, true), length, 'the length stands at both ends');
    blocks.push({ type: view.getUint32(at, true), at, length });
    at += length;
  }
  assert.equal(
    blocks.map(({ type }) => type),
    [0x0a0d0d0a, 1, 6, 6],
  );
  assert.is(view.getUint16(blocks[1]!.at + 8, true), 101, 'raw IP');
  const text = new TextDecoder().decode(file);
  for (const word of ['a up', 'b down, lost']) assert.is(text.split(word).length, 2, word);
  const [first, second] = [blocks[2]!.at, blocks[3]!.at];
  const micros = (at: number) => view.getUint32(at + 12, true) * 2 ** 32 + view.getUint32(at + 16, true);
  assert.is(micros(first), 1_700_000_001_000_250);
  assert.is(micros(second) - micros(first), 750);
  assert.is(view.getUint32(first + 20, true), 33);
});

test.run();
