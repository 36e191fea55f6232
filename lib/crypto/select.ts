/** Which crypto suite a mote uses: the first candidate that proves itself on known vectors, else the portable one. */
import { createNobleSuite } from './noble.ts';
import { provesItself } from './proof.ts';
import type { CryptoSuite } from './suite.ts';

/**
 * Runs the candidates in order and returns the first suite that {@link provesItself}; without one the portable suite.
 * Throws only if that fails too: then the engine itself computes wrongly, and going on would leak.
 */
export function selectSuite(candidates: ReadonlyArray<() => CryptoSuite | undefined>): CryptoSuite {
  for (const create of [...candidates, createNobleSuite]) {
    const suite = attempt(create);
    if (suite !== undefined && provesItself(suite)) return suite;
  }
  throw new Error('no crypto suite computes its known vectors correctly on this runtime');
}

function attempt<T>(action: () => T): T | undefined {
  try {
    return action();
  } catch {
    return undefined;
  }
}
