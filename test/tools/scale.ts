/**
 * How long the random tests run. Neutral: also used in the bare realm and on runtimes without environment variables.
 */

/**
 * The number of rounds for a test that usually does `usual`. `MOTENET_FUZZ=1000000` (or `globalThis.__scale = 10`)
 * multiplies every test by ten: the number is what a test with the usual 100,000 rounds does. At least 1.
 */
export function fuzzRounds(usual: number): number {
  return Math.max(1, Math.round(usual * scale()));
}

function scale(): number {
  const globals = globalThis as { __scale?: number; process?: { env?: { [name: string]: string | undefined } } };
  if (globals.__scale !== undefined) return globals.__scale;
  const wanted = Number(globals.process?.env?.['MOTENET_FUZZ'] ?? '');
  return wanted > 0 ? wanted / 100_000 : 1;
}
