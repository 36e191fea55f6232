/** The store in memory that survives sleep: what it holds, and what chance or a lack of room makes of it. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { RETAINED_BYTES, type RetainedMemory, retainedStore } from '../../targets/moddable/retained-store.ts';
import { seededRandom } from '../sim/memory-host.ts';

const test = suite('retained memory');

class Memory implements RetainedMemory {
  readonly bytes = new Uint8Array(RETAINED_BYTES);

  read(out: Uint8Array): void {
    out.set(this.bytes.subarray(0, out.length));
  }

  write(bytes: Uint8Array): void {
    this.bytes.set(bytes);
  }
}

test('what was saved is there after sleep, and what was removed is nowhere in the memory', () => {
  const memory = new Memory();
  const store = retainedStore(memory);
  store.save('sessions', Uint8Array.of(77, 78, 79, 80));
  store.save('other', new Uint8Array(0));
  store.save('sessions', Uint8Array.of(81, 82, 83));
  const woken = retainedStore(memory);
  assert.equal(woken.load('sessions'), Uint8Array.of(81, 82, 83));
  assert.equal(woken.load('other'), new Uint8Array(0));
  assert.is(woken.load('nothing'), undefined);
  woken.remove('sessions');
  assert.is(store.load('sessions'), undefined);
  assert.not.ok(memory.bytes.some((byte, i) => byte === 81 && memory.bytes[i + 1] === 82));
  assert.equal(store.load('other'), new Uint8Array(0));
});

test('what power leaves in the memory by chance is an empty store', () => {
  const memory = new Memory();
  for (let seed = 1; seed <= 20; seed++) {
    seededRandom(seed)(memory.bytes);
    assert.is(retainedStore(memory).load('sessions'), undefined);
  }
  retainedStore(memory).save('sessions', Uint8Array.of(1, 2, 3));
  for (let at = 0; at < 40; at++) {
    const spoiled = new Memory();
    spoiled.bytes.set(memory.bytes);
    spoiled.bytes[at]! ^= 0x10;
    const found = retainedStore(spoiled).load('sessions');
    assert.ok(found === undefined || at >= 10 + 1 + 8 + 2 + 3, `byte ${at}`);
  }
});

test('a value of the largest size fits, and what does not is refused with what is there kept', () => {
  const memory = new Memory();
  const store = retainedStore(memory);
  store.save('sessions', new Uint8Array(1900).fill(5));
  assert.throws(() => store.save('more', new Uint8Array(200)), /too few/);
  assert.equal(store.load('sessions'), new Uint8Array(1900).fill(5));
});

test.run();
