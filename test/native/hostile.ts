/**
 * Calls every native function with arguments that no suite would pass: `hostile.ts ADDON CALLS`. Run in a process of its
 * own by binding.test.ts, with AddressSanitizer loaded, since a fault may take the process with it.
 *
 * Of each call it demands: a TypeError or a RangeError, or a result of the kind that the function has; no byte outside
 * of the views that it got is changed, and none at all where it throws. Prints how many calls ended in which way.
 */
import { Seeded } from '../crypto/support.ts';
import { loadNative } from './addon.ts';

const MARGIN = 24;
const SIZES = Object.freeze([0, 1, 11, 12, 13, 15, 16, 17, 23, 24, 25, 31, 32, 33, 48, 63, 64, 65, 100, 116]);

const [path, calls] = process.argv.slice(2);
const native = await loadNative(path!);
const functions = Object.entries(native) as [string, (...args: unknown[]) => unknown][];
const seeded = new Seeded(91);

/** A view in the middle of a larger buffer, and the buffer. */
interface Placed {
  readonly view: ArrayBufferView;
  readonly whole: Uint8Array;
}

function place(size: number): Placed {
  const whole = seeded.bytes(size + 2 * MARGIN);
  const buffer = whole.buffer as ArrayBuffer;
  const kind = seeded.below(12);
  if (kind === 0) return { view: new DataView(buffer, MARGIN, size), whole };
  if (kind === 1) return { view: new Int8Array(buffer, MARGIN, size), whole };
  return { view: new Uint8Array(buffer, MARGIN, size), whole };
}

function detached(): Uint8Array {
  const bytes = new Uint8Array(32);
  structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
  return bytes;
}

/** Asked for as a number or for its length, it would change the buffers of the call. */
const trap = {
  get length() {
    throw new Error('the getter ran');
  },
  valueOf() {
    throw new Error('valueOf ran');
  },
};

const ODD: readonly (() => unknown)[] = [
  () => undefined,
  () => null,
  () => true,
  () => 'text',
  () => 7n,
  () => Symbol('s'),
  () => [1, 2, 3],
  () => trap,
  () => new Proxy(new Uint8Array(32), {}),
  () => detached(),
  () => new Uint16Array(16),
  () => new Float64Array(4),
  () => () => 1,
  () => new ArrayBuffer(0),
  () => new ArrayBuffer(32),
];

const NUMBERS: readonly number[] = [
  0,
  1,
  16,
  32,
  48,
  64,
  100,
  -1,
  -16,
  0.5,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  Number.NEGATIVE_INFINITY,
  2 ** 31 - 1,
  2 ** 31,
  2 ** 32 - 16,
  2 ** 32,
  2 ** 32 + 16,
  2 ** 53 - 1,
  2 ** 53,
  2 ** 63,
  1e300,
  -(2 ** 31),
  -0,
];

/** Sizes that a function accepts, by its name, so that many calls get past the first check. */
const FITTING: { readonly [name: string]: readonly (number | 'n')[] } = {
  hash: [32, 48, 64],
  hmac: [32, 32, 48, 16],
  mac: [16, 32, 100, 'n', 'n'],
  dh: [32, 32, 32],
  publicKey: [32, 32],
  aeadSeal: [64, 32, 12, 13, 48],
  aeadOpen: [48, 32, 12, 13, 64],
  xaeadSeal: [64, 32, 24, 13, 48],
  xaeadOpen: [48, 32, 24, 13, 64],
  boxKey: [32, 32, 32],
  boxSeal: [64, 32, 24, 48],
  boxOpen: [48, 32, 24, 64],
  packetSeal: [64, 'n', 100, 'n', 'n'],
  packetOpen: [64, 'n', 100, 'n', 'n'],
  ed25519PublicKey: [32, 32],
  ed25519Sign: [64, 32, 48],
  ed25519Verify: [32, 48, 64],
};

function argument(fitting: number | 'n' | undefined, placed: Placed[]): unknown {
  const chance = seeded.below(20);
  if (chance === 0) return ODD[seeded.below(ODD.length)]!();
  if (fitting === 'n' || chance === 1) return NUMBERS[seeded.below(NUMBERS.length)];
  if (chance === 2 && placed.length > 0) {
    // The same memory again, shifted: outputs over inputs.
    const { whole } = placed[seeded.below(placed.length)]!;
    const size = Math.min(fitting ?? 0, whole.length - 2 * MARGIN);
    const shift = MARGIN + seeded.below(whole.length - 2 * MARGIN - size + 1);
    return new Uint8Array(whole.buffer as ArrayBuffer, shift, size);
  }
  const made = place(chance < 5 || fitting === undefined ? SIZES[seeded.below(SIZES.length)]! : fitting);
  placed.push(made);
  return made.view;
}

const counts = { returned: 0, TypeError: 0, RangeError: 0 };

function callOnce(name: string, action: (...args: unknown[]) => unknown): void {
  const placed: Placed[] = [];
  const wanted = FITTING[name];
  if (wanted === undefined) throw new Error(`${name} has no row in FITTING`);
  const args = wanted.map(size => argument(size, placed));
  if (seeded.below(25) === 0) args.length = seeded.below(args.length + 1);
  if (seeded.below(25) === 0) args.push(argument(undefined, placed), trap);
  const before = placed.map(({ whole }) => whole.slice());
  let hasThrown = false;
  try {
    const result = action(...args);
    if (result !== undefined && typeof result !== 'boolean') throw new Error(`${name} returned ${String(result)}`);
    counts.returned++;
  } catch (error) {
    if (error instanceof TypeError) counts.TypeError++;
    else if (error instanceof RangeError) counts.RangeError++;
    else throw error;
    hasThrown = true;
  }
  placed.forEach(({ whole }, i) => {
    const inside = hasThrown ? 0 : whole.length - 2 * MARGIN;
    for (let at = 0; at < whole.length; at++) {
      const isOurs = at >= MARGIN && at < MARGIN + inside;
      if (!isOurs && whole[at] !== before[i]![at])
        throw new Error(`${name} changed byte ${at - MARGIN} of argument ${i}`);
    }
  });
}

// The slow ones less often: what matters is what happens before they compute.
const SLOW = /^(dh|publicKey|boxKey|ed25519)/;
for (let i = 0; i < Number(calls); i++) {
  const [name, action] = functions[seeded.below(functions.length)]!;
  if (!SLOW.test(name) || i % 4 === 0) callOnce(name, action);
}
console.log(JSON.stringify(counts));
