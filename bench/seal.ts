/**
 * How fast the crypto suites are: packets sealed and opened per second, and X25519 operations per second, on one core.
 *
 * Every figure is the best of a few short rounds: on a shared machine the other rounds measure the neighbours.
 */
import { createNobleSuite } from '../lib/crypto/noble.ts';
import type { CryptoSuite } from '../lib/crypto/suite.ts';
import { createWasmSuite } from '../lib/crypto/wasm.ts';

/** Operations per second of one suite. */
export interface SuiteFigures {
  /** Packets of 0, 64 and 1420 bytes sealed in place, in memory that the suite lends where it does. */
  readonly sealPerSec: { readonly [bytes: string]: number };
  /** The same packets opened. */
  readonly openPerSec: { readonly [bytes: string]: number };
  readonly dhPerSec: number;
  readonly publicKeyPerSec: number;
  readonly hmacPerSec: number;
}

/** What {@link bench} gives; `wasm` is missing where it cannot run. */
export interface SealFigures {
  /** Full packets of 1420 bytes. */
  readonly nobleSealPerSec: number;
  readonly wasmSealPerSec: number;
  /** The same of the wasm suite in ordinary memory, which it has to copy. */
  readonly wasmSealCopiedPerSec: number;
  readonly nobleDhPerSec: number;
  readonly wasmDhPerSec: number;
  readonly noble: SuiteFigures;
  readonly wasm: SuiteFigures | undefined;
}

const ROUNDS = 4;
const ROUND_MS = 20;
const SIZES = Object.freeze([0, 64, 1420]);

/** Measures both suites in about two seconds; prints nothing. */
export async function bench(): Promise<SealFigures> {
  const portable = createNobleSuite();
  const fast = createWasmSuite();
  const noble = measureSuite(portable);
  const wasm = fast === undefined ? undefined : measureSuite(fast);
  return {
    nobleSealPerSec: noble.sealPerSec['1420']!,
    wasmSealPerSec: wasm?.sealPerSec['1420'] ?? 0,
    wasmSealCopiedPerSec: fast === undefined ? 0 : measureSeal(fast, new Uint8Array(2048), 1420),
    nobleDhPerSec: noble.dhPerSec,
    wasmDhPerSec: wasm?.dhPerSec ?? 0,
    noble,
    wasm,
  };
}

function measureSuite(suite: CryptoSuite): SuiteFigures {
  const buf = suite.allocate?.(2048) ?? new Uint8Array(2048);
  const [out, secret] = [new Uint8Array(32), new Uint8Array(32).fill(3)];
  const point = new Uint8Array(32);
  suite.publicKey(point, secret);
  const bySize = (measure: (suite: CryptoSuite, buf: Uint8Array, bytes: number) => number) =>
    Object.fromEntries(SIZES.map(bytes => [bytes, measure(suite, buf, bytes)]));
  return {
    sealPerSec: bySize(measureSeal),
    openPerSec: bySize(measureOpen),
    dhPerSec: perSecond(() => void suite.dh(out, secret, point)),
    publicKeyPerSec: perSecond(() => suite.publicKey(out, secret)),
    hmacPerSec: perSecond(() => suite.hmac(out, secret, point)),
  };
}

function measureSeal(suite: CryptoSuite, buf: Uint8Array, bytes: number): number {
  const cipher = suite.createCipher(new Uint8Array(32).fill(7));
  let counter = 0;
  return perSecond(() => cipher.seal(counter++, buf, 32, 32 + bytes));
}

/** Opening changes the packet, so each turn begins with a copy of a sealed one (some tens of nanoseconds). */
function measureOpen(suite: CryptoSuite, buf: Uint8Array, bytes: number): number {
  const cipher = suite.createCipher(new Uint8Array(32).fill(7));
  cipher.seal(1, buf, 32, 32 + bytes);
  const sealed = buf.slice(32, 48 + bytes);
  return perSecond(() => {
    buf.set(sealed, 32);
    if (!cipher.open(1, buf, 32, 48 + bytes)) throw new Error('bug: a sealed packet does not open');
  });
}

/** Calls per second: the best of {@link ROUNDS} rounds of {@link ROUND_MS}, after one to warm up. */
function perSecond(action: () => void): number {
  let best = 0;
  for (let round = 0; round <= ROUNDS; round++) {
    const start = performance.now();
    let calls = 0;
    let elapsed = 0;
    while (elapsed < ROUND_MS) {
      for (let i = 0; i < 16; i++) action();
      calls += 16;
      elapsed = performance.now() - start;
    }
    if (round > 0) best = Math.max(best, (calls / elapsed) * 1000);
  }
  return Math.round(best);
}
