/**
 * The bare realm: runs the neutral tests where there is nothing but the language, as on a microcontroller's engine.
 *
 * lib and its neutral tests are bundled (esbuild refuses `node:` imports for a neutral platform) and run in a context
 * without Node's globals, without Intl, WebAssembly, Atomics, WeakRef, eval, and with clocks and `Math.random` that
 * throw. Every module of lib is deep-frozen as soon as it has loaded, because there modules lie in flash; typed arrays,
 * which cannot be frozen, are compared with their first contents at the end.
 */
import { readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { createContext, Script } from 'node:vm';
import { build, type Plugin } from 'esbuild';
import { SyntaxKind } from 'typescript/unstable/ast';
import { parseFolders, type Source } from '../checks/source.ts';
import { findFiles, ROOT } from './files.ts';
import type { FileResult } from './uvu-queue.ts';

/** How much of the usual random testing is done again in the realm. */
const REALM_SCALE = 0.1;

/** Folders of lib whose tests need promises of a driver or a runtime's globals. */
const NOT_NEUTRAL = new Set(['mote']);

/** The tests that mirror the pure folders of lib. */
export function neutralTests(): string[] {
  const folders = new Set(findFiles('lib', ['.ts']).filter(path => path.split('/').length > 2));
  const names = new Set([...folders].map(path => path.split('/')[1]!).filter(name => !NOT_NEUTRAL.has(name)));
  return [...names]
    .flatMap(name => findFiles(`test/${name}`, ['.test.ts']))
    .filter(path => !path.endsWith('.slow.test.ts'));
}

/** What {@link bundleTests} takes. */
interface BundleOptions {
  /** Freeze the modules of lib as they load. */
  readonly freezes: boolean;
  /** Count the tests instead of running them. */
  readonly onlyCounts?: boolean;
  /** What the engine that it is for cannot run as written, in esbuild's terms. */
  readonly supported?: { readonly [feature: string]: boolean };
  /** A change to the text of each module of lib. */
  readonly transform?: (text: string) => string;
  /** Plugins that come before the usual ones. */
  readonly plugins?: readonly Plugin[];
  /** Texts of files that are not on disk, by path. */
  readonly extra?: { readonly [path: string]: string };
}

/** Bundles test files for the realm; the code calls `__done(result)` at the end. */
export async function bundleTests(files: readonly string[], options: BundleOptions): Promise<string> {
  const queue = JSON.stringify(join(ROOT, 'test/tools/uvu-queue.ts'));
  const imports = files.map(file => `await import(${JSON.stringify(`${ROOT}/${file}`)});`).join('\n');
  const result = await build({
    stdin: {
      contents: `import { runQueued } from ${queue};
        globalThis.__run = () => runQueued(async () => { ${imports} }).then(globalThis.__done, globalThis.__done);`,
      resolveDir: ROOT,
    },
    bundle: true,
    write: false,
    format: 'iife',
    platform: 'neutral',
    target: 'es2022',
    mainFields: ['module', 'main'],
    logLevel: 'silent',
    keepNames: true,
    ...(options.supported === undefined ? {} : { supported: options.supported }),
    plugins: [
      ...(options.plugins ?? []),
      extraFiles(options.extra ?? {}),
      quietUvu(options.onlyCounts ?? false),
      ...(options.freezes ? [freezer(options.extra, options.transform)] : []),
    ],
  });
  return result.outputFiles[0]!.text;
}

function extraFiles(extra: { readonly [path: string]: string }): Plugin {
  return {
    name: 'extra',
    setup(builder) {
      if (Object.keys(extra).length === 0) return;
      builder.onResolve({ filter: /\.ts$/ }, ({ path, resolveDir }) => {
        const absolute = join(path.startsWith('/') ? '' : resolveDir, path);
        return relative(ROOT, absolute) in extra ? { path: absolute, namespace: 'file' } : undefined;
      });
      builder.onLoad({ filter: /\.ts$/ }, ({ path }) => {
        const contents = extra[relative(ROOT, path)];
        return contents === undefined || path.includes('/lib/') ? undefined : { contents, loader: 'ts' };
      });
    },
  };
}

/** uvu without its console and clocks, or one that only counts. */
function quietUvu(onlyCounts: boolean): Plugin {
  return {
    name: 'uvu',
    setup(builder) {
      builder.onLoad({ filter: /uvu\/dist\/index\.mjs$/ }, ({ path }) => {
        const text = readFileSync(path, 'utf8').replace('let write = console.log', 'let write = () => {}');
        return { contents: onlyCounts ? COUNTING_UVU : text, loader: 'js' };
      });
      builder.onLoad({ filter: /uvu\/diff\/index\.mjs$/ }, () => ({ contents: NO_DIFF, loader: 'js' }));
    },
  };
}

/** uvu's differences need a clock and are of use on a screen only. */
const NO_DIFF = 'export const compare = (a, b) => "expected " + b + ", got " + a, lines = compare, chars = compare;';

const COUNTING_UVU = `
export const suite = () => {
  let count = 0, skipped = 0;
  const test = () => { count++; };
  const nothing = () => {};
  test.before = Object.assign(nothing, { each: nothing });
  test.after = Object.assign(() => {}, { each: nothing });
  test.only = test;
  test.skip = () => { skipped++; };
  test.run = () => {
    const [total, left] = [count, skipped];
    globalThis.UVU_QUEUE[0].push(async () => [true, total, left, total]);
    count = skipped = 0;
  };
  return test;
};
export const test = suite();
`;

/** A module as it was read, and what it has at its top level. */
interface ModuleNames {
  readonly text: string;
  readonly names: readonly string[];
}

let found: ReadonlyMap<string, ModuleNames> | undefined;

/** What each module of lib has at its top level, read once: parsing all of lib takes seconds. */
function libNames(): ReadonlyMap<string, ModuleNames> {
  found ??= new Map(parseFolders('lib').map(read => [read.path, { text: read.text, names: topLevelNames(read) }]));
  return found;
}

/** Appends to every module of lib the order to freeze what it has at its top level. */
function freezer(extra: { readonly [path: string]: string } = {}, transform = (text: string) => text): Plugin {
  const names = libNames();
  return {
    name: 'freezer',
    setup(builder) {
      builder.onLoad({ filter: /\/lib\/.*\.ts$/ }, ({ path }) => {
        const name = relative(ROOT, path);
        const source = extra[name] ?? readFileSync(path, 'utf8');
        const text = transform(source);
        const known = names.get(name);
        // A module that is not the one that was read, by way of a test or of somebody who edits it meanwhile.
        const list = known !== undefined && known.text === source ? known.names : topLevelNamesOfText(text);
        return { contents: `${text}\n;globalThis.__freeze(${JSON.stringify(name)}, [${list}]);`, loader: 'ts' };
      });
    },
  };
}

function topLevelNamesOfText(text: string): string[] {
  return [...text.matchAll(/^(?:export )?(?:const|function|class) (\w+)/gm)].map(found => found[1]!);
}

function topLevelNames(source: Source): string[] {
  return source.tree.statements.flatMap(statement => {
    const { name, declarationList } = statement as unknown as {
      name?: { text: string };
      declarationList?: { declarations: readonly { name: { text?: string } }[] };
    };
    const isValue = [SyntaxKind.FunctionDeclaration, SyntaxKind.ClassDeclaration].includes(statement.kind);
    if (isValue) return name === undefined ? [] : [name.text];
    return declarationList?.declarations.flatMap(({ name: { text } }) => text ?? []) ?? [];
  });
}

/** What {@link runInRealm} leaves of the language: nothing optional, all but WebAssembly, or everything. */
export type Bareness = 'bare' | 'no-wasm' | 'full';

/** Runs a bundle in a fresh realm without any global of a runtime. */
export async function runInRealm(code: string, bareness: Bareness = 'bare'): Promise<FileResult> {
  const isBare = bareness === 'bare';
  const context = createContext(Object.create(null) as object, isBare ? { codeGeneration: NO_CODE } : {});
  new Script(REALM_SETUP).runInContext(context);
  if (bareness === 'no-wasm') new Script('delete globalThis.WebAssembly').runInContext(context);
  if (isBare) new Script(STRIP).runInContext(context);
  const names = new Script('Object.getOwnPropertyNames(globalThis)').runInContext(context) as string[];
  const own = names.filter(name => /^[A-Z]/.test(name) && !name.includes('_')).join(', ');
  // Each look at a global of a context is slow, so the bundle gets those of the language as constants.
  const wrapped = `(() => { "use strict"; const { ${own} } = globalThis; ${code} })()`;
  new Script(wrapped, { filename: 'bundle.js' }).runInContext(context);
  const done = new Promise<FileResult | Error>(resolve => {
    (context as { __done?: unknown }).__done = resolve;
  });
  (context as { __run?: () => void }).__run!();
  const result = await done;
  if (!('passed' in result)) throw result;
  const changed = new Script('__changedTables()').runInContext(context) as string[];
  if (changed.length === 0) return result;
  return {
    ...result,
    failed: result.failed + 1,
    report: `${result.report}\n  tables were written to: ${changed.join(', ')}\n`,
  };
}

const NO_CODE = { strings: false, wasm: false };

/** Takes away what a small engine does not have, and makes throw what a machine must not use. */
export const STRIP = `
  const throwing = what => function () { throw new Error(what + ' is not there on every runtime'); };
  for (const name of ['Intl', 'WebAssembly', 'Atomics', 'SharedArrayBuffer', 'WeakRef', 'FinalizationRegistry', 'eval', 'console', 'escape', 'unescape'])
    delete globalThis[name];
  globalThis.Date = throwing('Date');
  globalThis.Date.now = throwing('Date.now');
  Math.random = throwing('Math.random');
`;

/** Runs within the realm before anything else; `__scale` is how much of the random testing is done. */
export const REALM_SETUP = `
  globalThis.__scale = ${REALM_SCALE};
  globalThis.UVU_DEFER = 1;
  globalThis.UVU_QUEUE = [[]];
  globalThis.UVU_INDEX = 0;
  const tables = [];
  const seen = new Set([Object.prototype, Function.prototype, Array.prototype]);
  const freeze = (value, where) => {
    if ((typeof value !== 'object' && typeof value !== 'function') || value === null || seen.has(value)) return;
    seen.add(value);
    if (ArrayBuffer.isView(value)) {
      tables.push({ where, value, first: value.slice() });
      // What lies in flash is a read-only buffer, also where it is empty.
      for (const name of ['copyWithin', 'fill', 'reverse', 'set', 'sort'])
        Object.defineProperty(value, name, { value() { throw new TypeError('read-only buffer: ' + where); } });
      return;
    }
    for (const key of Reflect.ownKeys(value)) {
      const { value: inner, get, set } = Reflect.getOwnPropertyDescriptor(value, key);
      const at = where + '.' + String(key);
      freeze(inner, at); freeze(get, at); freeze(set, at);
    }
    Object.freeze(value);
  };
  globalThis.__freeze = (module, values) => { for (const value of values) freeze(value, module); };
  globalThis.__changedTables = () => tables.filter(({ value, first }) => value.some((v, i) => v !== first[i])).map(({ where }) => where);
`;
