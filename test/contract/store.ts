/**
 * What every `Store` promises.
 */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Store } from '../../lib/ports.ts';

/** How the tests get at stores. */
export interface StoreMaker {
  /** A fresh, empty store. */
  create(): Store;
  /** The same store as another process would open it; left out where nothing outlives the object. */
  reopen?(): Store;
  /** Removes what {@link create} left. */
  clean?(): void;
}

/** Tests of a store. */
export function storeContract(name: string, maker: StoreMaker): void {
  const test = suite(`${name}: store`);
  test.after.each(() => maker.clean?.());

  test('what was saved is loaded, byte for byte', () => {
    const store = maker.create();
    const every = Uint8Array.from({ length: 256 }, (_, i) => i);
    store.save('key', every);
    assert.equal(store.load('key'), every);
    assert.is(Object.getPrototypeOf(store.load('key')), Uint8Array.prototype);
  });

  test('what was never saved is undefined', () => {
    assert.is(maker.create().load('nothing'), undefined);
  });

  test('a value is replaced, also by a shorter and by an empty one', () => {
    const store = maker.create();
    store.save('a', Uint8Array.of(1, 2, 3));
    store.save('a', Uint8Array.of(4));
    assert.equal(store.load('a'), Uint8Array.of(4));
    store.save('a', new Uint8Array(0));
    assert.equal(store.load('a'), new Uint8Array(0));
  });

  test('names do not mix', () => {
    const store = maker.create();
    store.save('a', Uint8Array.of(1));
    store.save('a-1', Uint8Array.of(2));
    assert.equal([store.load('a'), store.load('a-1')], [Uint8Array.of(1), Uint8Array.of(2)]);
  });

  test('a removed value is gone, and removing what is not there is fine', () => {
    const store = maker.create();
    store.save('a', Uint8Array.of(1));
    store.remove('a');
    store.remove('a');
    assert.is(store.load('a'), undefined);
  });

  test('neither side keeps a hand on the stored bytes', () => {
    const store = maker.create();
    const value = Uint8Array.of(1, 2);
    store.save('a', value);
    value.fill(9);
    store.load('a')!.fill(8);
    assert.equal(store.load('a'), Uint8Array.of(1, 2));
  });

  test('1,900 bytes fit, 1,901 throw RangeError and leave the old value', () => {
    const store = maker.create();
    store.save('fifteen-letters', new Uint8Array(1900).fill(7));
    assert.throws(
      () => store.save('fifteen-letters', new Uint8Array(1901)),
      (e: Error) => e instanceof RangeError,
    );
    assert.equal(store.load('fifteen-letters'), new Uint8Array(1900).fill(7));
  });

  test('a name that is too long or could leave the directory throws RangeError', () => {
    const store = maker.create();
    for (const bad of ['', 'sixteen-letters-', '../a', 'a/b', 'A', 'a.b', 'a\0']) {
      const isRange = (e: Error) => e instanceof RangeError;
      assert.throws(() => store.save(bad, Uint8Array.of(1)), isRange);
      assert.throws(() => store.load(bad), isRange);
      assert.throws(() => store.remove(bad), isRange);
    }
  });

  if (maker.reopen !== undefined)
    test('what was saved outlives the store object', () => {
      maker.create().save('a', Uint8Array.of(5));
      assert.equal(maker.reopen!().load('a'), Uint8Array.of(5));
    });

  test.run();
}
