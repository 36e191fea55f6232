/**
 * Randomness on a microcontroller: the chip's generator through a native function, or none at all.
 *
 * `Math.random` is never used: on an ESP32 it gives 31 bits of the hardware generator, elsewhere a `rand()` that
 * anybody can continue. The generator of an ESP32 is a true one only while its radio is on (ESP-IDF, "Random Number
 * Generation"): a mote starts when the device has an address, so it is.
 */
import type { Random } from '../../lib/ports.ts';

/** From this length on, bytes that are all the same mean a generator that does not run. */
const STUCK_BYTES = 16;

/**
 * A {@link Random} over a native function that fills the array it is given. Without one, and when the generator is
 * stuck, every call throws: no key is ever made of less.
 */
export function createRandom(fill: ((out: Uint8Array) => void) | undefined): Random {
  return out => {
    if (fill === undefined) throw new Error('this host has no random generator: add motenet’s native module to it');
    fill(out);
    if (out.length >= STUCK_BYTES && isStuck(out)) throw new Error('the random generator is stuck'); // CHECK: random-stuck
  };
}

function isStuck(bytes: Uint8Array): boolean {
  return bytes.every(byte => byte === bytes[0]);
}
