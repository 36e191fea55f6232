import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { concatBytes, fromHex, toHex } from '../../lib/base/bytes.ts';
import {
  FRAME_PING,
  FRAME_RECV_PACKET,
  FRAME_SEND_PACKET,
  FRAME_SERVER_KEY,
  FrameDecoder,
  writeFrameHeader,
} from '../../lib/derp/frame.ts';
import { MemoryBudget } from '../../lib/derp/memory-budget.ts';

const test = suite('derp frame');

function frame(type: number, payload: Uint8Array): Uint8Array {
  const out = new Uint8Array(5 + payload.length);
  out.set(payload, writeFrameHeader(out, 0, type, payload.length));
  return out;
}

/** Feeds a stream in pieces of one size; gives `type:hex` of each frame. */
function decodeAll(stream: Uint8Array, pieceBytes: number, limit: number): { frames: string[]; skipped: number } {
  const decoder = new FrameDecoder(limit);
  const frames: string[] = [];
  for (let start = 0; start < stream.length; start += pieceBytes) {
    const end = Math.min(stream.length, start + pieceBytes);
    for (let at = start; ; at = decoder.offset) {
      const type = decoder.decode(stream, at, end);
      if (type < 0) break;
      frames.push(`${type}:${toHex(decoder.payload.slice(decoder.payloadStart, decoder.payloadEnd))}`);
    }
    assert.is(decoder.offset, end, 'all input is used');
  }
  return { frames, skipped: decoder.skipped };
}

test('a server key frame has the known bytes', () => {
  const key = '38ab664bd86f77d7e66bdd9ae0792913a94fd8b33a1260027e4b46c1f4884c67';
  const bytes = fromHex(`0100000028${'4445525' + '0f09f9491'}${key}`)!;
  assert.equal(decodeAll(bytes, bytes.length, 100).frames, [`${FRAME_SERVER_KEY}:44455250f09f9491${key}`]);
});

test('frames come out alike whether fed whole, byte by byte or in any pieces', () => {
  const stream = concatBytes(
    frame(FRAME_PING, fromHex('0102030405060708')!),
    frame(6, new Uint8Array(0)),
    frame(FRAME_RECV_PACKET, new Uint8Array(300).fill(7)),
    frame(99, new Uint8Array(1)),
    frame(6, new Uint8Array(0)),
  );
  const whole = decodeAll(stream, stream.length, 1000);
  assert.is(whole.frames.length, 5);
  for (let piece = 1; piece < 320; piece++) assert.equal(decodeAll(stream, piece, 1000), whole, `pieces of ${piece}`);
});

test('a frame above the limit is skipped as it streams and the next one is found', () => {
  const stream = concatBytes(
    frame(FRAME_RECV_PACKET, new Uint8Array(5000)),
    frame(FRAME_RECV_PACKET, new Uint8Array(101)),
    frame(FRAME_PING, fromHex('0102030405060708')!),
  );
  for (const piece of [1, 7, 100, stream.length])
    assert.equal(decodeAll(stream, piece, 100), { frames: [`${FRAME_PING}:0102030405060708`], skipped: 2 });
});

test('a packet above the limit is told apart from other frames above it', () => {
  const decoder = new FrameDecoder(100);
  const stream = concatBytes(frame(99, new Uint8Array(101)), frame(FRAME_SEND_PACKET, new Uint8Array(101)));
  assert.is(decoder.decode(stream, 0, stream.length), -1);
  assert.equal([decoder.skipped, decoder.oversizedPackets], [2, 1]);
});

test('a frame that claims four gigabytes costs no memory', () => {
  const decoder = new FrameDecoder(65_600);
  const head = fromHex('05ffffffff')!;
  assert.is(decoder.decode(head, 0, 5), -1);
  const piece = new Uint8Array(65_536);
  for (let i = 0; i < 100; i++) assert.is(decoder.decode(piece, 0, piece.length), -1);
  assert.is(decoder.skipped, 1);
  assert.is(decoder.payload, undefined);
});

test('a frame in pieces costs what has arrived of it, out of the budget, and gives it back', () => {
  const budget = new MemoryBudget(50_000);
  const decoder = new FrameDecoder(65_600, budget);
  const stream = frame(FRAME_RECV_PACKET, new Uint8Array(40_000).fill(9));
  assert.is(decoder.decode(stream, 0, 1005), -1);
  assert.is(budget.usedBytes, 0);
  assert.is(decoder.decode(stream, 1005, 6005), -1);
  assert.is(budget.usedBytes, 6000);
  assert.is(decoder.decode(stream, 6005, stream.length), FRAME_RECV_PACKET);
  assert.is(decoder.payloadEnd - decoder.payloadStart, 40_000);
  assert.is(budget.usedBytes, 40_000);
  assert.is(decoder.decode(stream, 0, 1), -1);
  assert.is(budget.usedBytes, 0);
});

test('a frame for which there is no memory is skipped and the next one is found', () => {
  const decoder = new FrameDecoder(65_600, new MemoryBudget(10_000));
  const large = frame(FRAME_SEND_PACKET, new Uint8Array(40_000));
  const stream = concatBytes(large, frame(FRAME_PING, fromHex('0102030405060708')!));
  const seen: number[] = [];
  for (let at = 0; at < stream.length; at += 500) {
    const end = Math.min(stream.length, at + 500);
    for (let next = at; ; next = decoder.offset) {
      const type = decoder.decode(stream, next, end);
      if (type < 0) break;
      seen.push(type);
    }
  }
  assert.equal(seen, [FRAME_PING]);
  assert.equal([decoder.skipped, decoder.oversizedPackets], [1, 0]);
});

test.run();
