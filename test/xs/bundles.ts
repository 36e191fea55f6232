/**
 * What runs on the XS engine: the neutral tests, one script per file, and the whole motes in memory.
 *
 * A script takes what the shell offers for itself, lays the bare realm (test/tools/realm.ts) and runs the tests; its
 * last word is the sentinel line with the result. On an engine without our shell (`--sdk`) `print` is all it needs.
 */
import { join } from 'node:path';
import type { Plugin } from 'esbuild';
import { publicMembers } from '../../targets/public-members.ts';
import { ROOT } from '../tools/files.ts';
import { STRIP, bundleTests, neutralTests, REALM_SETUP } from '../tools/realm.ts';

/** How much of the usual random testing is done again on the engine, which is a hundred times slower than Node. */
export const XS_SCALE = 0.02;

/** The line that only a script that ran to its end prints. */
export const SENTINEL = 'motenet on XS: ';

/** XS 13 cannot run a static initializer that makes an instance of a class with fields: `get ?: not initialized yet`. */
const SUPPORTED = Object.freeze({ 'class-static-field': false });

/** Tests of whole motes, of the driver and of what boards have around them: neutral too, with promises. */
const WHOLE_MOTES = Object.freeze([
  'test/driver.test.ts',
  'test/mote/mote.test.ts',
  'test/mote/tailnet.test.ts',
  'test/moddable/apps.test.ts',
  'test/moddable/parts.test.ts',
  'test/moddable/retained.test.ts',
  'test/moddable/tls.test.ts',
  'test/moddable/tunnel.test.ts',
  'test/moddable/up.test.ts',
]);

/** Why a test file does not run on the engine, by path or folder. Printed with each run. */
export const EXCLUDED: { readonly [path: string]: string } = Object.freeze({
  'test/coordinator/': 'no board is a coordinator: it is not in what is built for one',
  'test/policy/': 'no board reads policies: they are not in what is built for one',
  'test/derp/relay.test.ts': 'twenty seconds, and no board is a relay',
  'test/netstack/tcp-link.test.ts': 'minutes: long transfers over bad links',
});

const SLOW = 'it takes long on each engine';
/** Why a test file runs on the 32-bit engine only. */
export const ONLY_32: { readonly [path: string]: string } = Object.freeze({
  'test/control/map-decoder.test.ts': SLOW,
  'test/control/peer-record.test.ts': SLOW,
  'test/control/peer-slimmer.test.ts': SLOW,
  'test/crypto/noble.test.ts': SLOW,
  'test/crypto/tuned.test.ts': SLOW,
  'test/disco/disco-fuzz.test.ts': SLOW,
  'test/disco/disco-peers.test.ts': SLOW,
  'test/disco/disco-story.test.ts': SLOW,
  'test/filter/filter.test.ts': SLOW,
  'test/filter/rules.test.ts': SLOW,
  'test/netstack/reassembly.test.ts': SLOW,
  'test/netstack/stack-fuzz.test.ts': SLOW,
  'test/netstack/tcp-fuzz.test.ts': SLOW,
  'test/netstack/tcp-parts.test.ts': SLOW,
  'test/stun/responder.test.ts': SLOW,
  'test/wireguard/admission.test.ts': SLOW,
  'test/wireguard/allowed-ips.test.ts': SLOW,
});

/** Every test file that is meant for the engine. */
export function xsTests(): string[] {
  const excluded = Object.keys(EXCLUDED);
  return [...neutralTests(), ...WHOLE_MOTES].filter(file => !excluded.some(path => file.startsWith(path)));
}

/** Tests that are about the portable suite itself, or about what is built of it. */
const ABOUT_NOBLE = /^test\/(crypto|noise)\//;

/** The native suite in place of noble's, which would take most of the time: what is tested is what runs on it. */
const NATIVE_SUITE: Plugin = {
  name: 'native-suite',
  setup(builder) {
    builder.onResolve({ filter: /crypto\/noble\.ts$/ }, ({ path, resolveDir }) =>
      join(resolveDir, path) === join(ROOT, 'lib/crypto/noble.ts')
        ? { path: join(ROOT, 'test/xs/native-for-noble.ts') }
        : undefined,
    );
  },
};

/** Whether a test runs with the native suite in place of noble's. */
export function isOnNative(file: string): boolean {
  return !ABOUT_NOBLE.test(file);
}

/** The script for one test file; `hasNative`: the engine has the native functions. */
export async function xsScript(file: string, hasNative: boolean): Promise<string> {
  const plugins = hasNative && isOnNative(file) ? [NATIVE_SUITE] : [];
  const code = await bundleTests([file], { freezes: true, supported: SUPPORTED, plugins, transform: publicMembers });
  return [
    'const shell = globalThis.__shell ?? { print };',
    'delete globalThis.__shell;',
    'delete globalThis.print;',
    'globalThis.native = shell.native;',
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
