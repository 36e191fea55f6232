import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { HEADROOM_BYTES, Slot, TAILROOM_BYTES } from '../../lib/base/slot.ts';

const test = suite('base/slot');

test('a slot has room for its packet, the header in front and the tag behind', () => {
  const slot = new Slot(1420);
  assert.is(slot.buf.length, HEADROOM_BYTES + 1420 + TAILROOM_BYTES);
  assert.is(slot.start, HEADROOM_BYTES);
  assert.is(slot.end, HEADROOM_BYTES);
  assert.ok(HEADROOM_BYTES >= 16 && TAILROOM_BYTES >= 15 + 16);
});

test('resetting empties it and forgets the destination, not the bytes', () => {
  const slot = new Slot(10);
  slot.start = 16;
  slot.end = 40;
  slot.to = { address: '10.0.0.1', port: 1 };
  slot.buf[20] = 7;
  slot.reset();
  assert.is(slot.start, HEADROOM_BYTES);
  assert.is(slot.end, HEADROOM_BYTES);
  assert.is(slot.to, undefined);
  assert.is(slot.buf[20], 7);
});

test('memory that is given is used when it is large enough, else refused', () => {
  const buf = new Uint8Array(HEADROOM_BYTES + 10 + TAILROOM_BYTES);
  assert.is(new Slot(10, buf).buf, buf);
  assert.throws(() => new Slot(11, buf), /expected at least 75 bytes, got 74/);
});

test.run();
