import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { readU16BE, readU32BE } from '../../lib/base/bytes.ts';
import { Slot } from '../../lib/base/slot.ts';
import { PathMtuTable } from '../../lib/netstack/path-mtu.ts';
import { SendQueue } from '../../lib/netstack/send-queue.ts';
import { counting, slowChecksum, udp, v4, v6 } from '../packet/build.ts';
import { seededRandom } from './helpers.ts';

const test = suite('netstack/send-queue');

function drain(queue: SendQueue, mtu: number, mtus = new PathMtuTable(mtu, 4)): Uint8Array[] {
  const slot = new Slot(65_575);
  const out: Uint8Array[] = [];
  while (queue.poll(0, slot, mtus)) out.push(slot.buf.slice(slot.start, slot.end));
  return out;
}

function push(queue: SendQueue, packet: Uint8Array): void {
  const at = queue.reserve(packet.length);
  assert.ok(at >= 0);
  queue.buf.set(packet, at);
  queue.commit();
}

const make = (seed = 1) => new SendQueue(1_000_000, 100, seededRandom(seed));

test('a packet that fits leaves as it is', () => {
  const queue = make();
  const packet = v4({ flags: 0x4000 }, udp({}, counting(1392)));
  push(queue, packet);
  assert.equal(drain(queue, 1420), [packet]);
  assert.is(queue.count, 0);
});

test('an IPv4 packet over the MTU leaves in fragments without DF that add up to it', () => {
  const queue = make();
  const payload = udp({}, counting(4000));
  push(queue, v4({ flags: 0x4000 }, payload));
  const fragments = drain(queue, 1420);
  assert.is(fragments.length, 3);
  let offset = 0;
  const id = readU16BE(fragments[0]!, 4);
  fragments.forEach((fragment, i) => {
    assert.ok(fragment.length <= 1420);
    assert.is(slowChecksum(fragment.slice(0, 20)), 0);
    assert.is(readU16BE(fragment, 2), fragment.length);
    assert.is(readU16BE(fragment, 4), id);
    const isLast = i === fragments.length - 1;
    assert.is(readU16BE(fragment, 6), (isLast ? 0 : 0x2000) | (offset / 8));
    if (!isLast) assert.is(fragment.length, 1420); // as large as can be, in units of 8
    assert.equal(fragment.slice(20), payload.slice(offset, offset + fragment.length - 20));
    offset += fragment.length - 20;
  });
  assert.is(offset, payload.length);
});

test('an IPv6 packet over the MTU leaves with fragment headers that add up to it', () => {
  const queue = make();
  const payload = udp({ src: 'fd00::2', dst: 'fd00::1' }, counting(4000));
  push(queue, v6({ next: 17 }, payload));
  const fragments = drain(queue, 1280);
  assert.is(fragments.length, 4);
  let offset = 0;
  const id = readU32BE(fragments[0]!, 44);
  fragments.forEach((fragment, i) => {
    assert.ok(fragment.length <= 1280);
    assert.is(readU16BE(fragment, 4), fragment.length - 40);
    assert.is(fragment[6], 44);
    assert.is(fragment[40], 17);
    assert.is(readU16BE(fragment, 42), offset | (i === fragments.length - 1 ? 0 : 1));
    assert.is(readU32BE(fragment, 44), id);
    assert.equal(fragment.slice(48), payload.slice(offset, offset + fragment.length - 48));
    offset += fragment.length - 48;
  });
  assert.is(offset, payload.length);
});

test('identifications are drawn anew for every packet', () => {
  const queue = make();
  const ids = new Set<number>();
  for (let i = 0; i < 50; i++) push(queue, v6({ next: 17 }, counting(1300)));
  for (const fragment of drain(queue, 1280)) ids.add(readU32BE(fragment, 44));
  assert.is(ids.size, 50);
});

test('one byte over the MTU makes two fragments', () => {
  const queue = make();
  push(queue, v4({}, counting(1401)));
  assert.equal(
    drain(queue, 1420).map(fragment => fragment.length),
    [1420, 21],
  );
});

test('the path MTU of the destination counts, not that of others', () => {
  const mtus = new PathMtuTable(1420, 4);
  mtus.lower(0, Uint8Array.of(10, 0, 0, 9), 0, 4, 600);
  const queue = make();
  push(queue, v4({ dst: '10.0.0.9' }, counting(1000)));
  push(queue, v4({ dst: '10.0.0.8' }, counting(1000)));
  assert.equal(
    drain(queue, 1420, mtus).map(fragment => fragment.length),
    [596, 444, 1020],
  );
});

test('a path that narrows while fragments leave gives smaller ones, and they still add up', () => {
  const mtus = new PathMtuTable(1420, 4);
  const queue = make();
  const slot = new Slot(1420);
  const payload = counting(4000);
  push(queue, v4({ dst: '10.0.0.9' }, payload));
  const got: number[] = [];
  while (queue.poll(0, slot, mtus)) {
    assert.is((readU16BE(slot.buf, slot.start + 6) & 0x1fff) * 8, got.length);
    got.push(...slot.buf.slice(slot.start + 20, slot.end));
    mtus.lower(0, Uint8Array.of(10, 0, 0, 9), 0, 4, 576);
  }
  assert.equal(Uint8Array.from(got), payload);
});

test('inside a packet means that some of its fragments left', () => {
  const queue = make();
  const slot = new Slot(1420);
  push(queue, v4({}, counting(1500)));
  assert.not.ok(queue.isInsidePacket);
  queue.poll(0, slot, new PathMtuTable(1420, 4));
  assert.ok(queue.isInsidePacket);
  queue.poll(0, slot, new PathMtuTable(1420, 4));
  assert.not.ok(queue.isInsidePacket);
});

test.run();
