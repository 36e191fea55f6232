/**
 * What runs on the XS engine: the neutral tests, one script per file, and the whole motes in memory.
 *
 * A script takes what the shell offers for itself, lays the bare realm (test/tools/realm.ts) and runs the tests; its
 * last word is the sentinel line with the result. On an engine without our shell (`--sdk`) `print` is all it needs.
 */
import { STRIP, bundleTests, neutralTests, REALM_SETUP } from '../tools/realm.ts';

/** How much of the usual random testing is done again on the engine, which is a hundred times slower than Node. */
export const XS_SCALE = 0.02;

/** The line that only a script that ran to its end prints. */
export const SENTINEL = 'motenet on XS: ';

/** XS 13 cannot run a static initializer that makes an instance of a class with fields: `get ?: not initialized yet`. */
const SUPPORTED = Object.freeze({ 'class-static-field': false });

/** Tests of whole motes, of the driver and of the simulated hosts: neutral too, with promises. */
const WHOLE_MOTES = Object.freeze([
  'test/driver.test.ts',
  'test/mote/mote.test.ts',
  'test/mote/tailnet.test.ts',
  'test/mote/wg-config.test.ts',
  'test/sim/memory-host.test.ts',
  'test/sim/memory-streams.test.ts',
]);

/** Why a test file does not run on the engine, by path. Printed with each run. */
export const EXCLUDED: { readonly [path: string]: string } = Object.freeze({
  'test/policy/parse.test.ts': 'slow',
  'test/netstack/tcp-link.test.ts': 'slow',
});

/** Every test file that is meant for the engine. */
export function xsTests(): string[] {
  return [...neutralTests(), ...WHOLE_MOTES].filter(file => EXCLUDED[file] === undefined);
}

/** The script for one test file. */
export async function xsScript(file: string): Promise<string> {
  const code = await bundleTests([file], { freezes: true, supported: SUPPORTED });
  return [
    'const shell = globalThis.__shell ?? { print };',
    'delete globalThis.__shell;',
    'delete globalThis.print;',
    REALM_SETUP,
    `globalThis.__scale = ${XS_SCALE};`,
    STRIP,
    DONE,
    // The engine looks constants up faster than globals.
    `(() => { "use strict"; ${code} })();`,
    'globalThis.__run();',
  ].join('\n');
}

const DONE = `
  globalThis.__done = result => {
    const isResult = 'passed' in result;
    const whole = isResult ? { ...result, changed: __changedTables() } : { failure: String(result.stack ?? result) };
    shell.print('${SENTINEL}' + JSON.stringify(whole));
  };
`;
