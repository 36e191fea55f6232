/** package.json, what the build makes, and what is generated agree with each other. */
import { existsSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { ENTRIES } from '../../targets/build.ts';
import { findFiles, ROOT } from '../tools/files.ts';
import { importsOf } from './layers.ts';
import { type Finding, describe, parseFolders, parseSources, readText, type Source } from './source.ts';

const test = suite('package');
const manifest = JSON.parse(readText('package.json'));

/** Every file named in `exports` and `bin`. */
function namedFiles(value: unknown): string[] {
  if (typeof value === 'string') return [value];
  return Object.values(value as object).flatMap(namedFiles);
}

test('every published file is one that the build makes, and the other way round', () => {
  const named = [...namedFiles(manifest.exports), ...namedFiles(manifest.bin)];
  const expected = ENTRIES.flatMap(({ name }) => (name === 'cli' ? ['cli.js'] : [`${name}.js`, `${name}.d.ts`]));
  const published = named.filter(path => path !== './package.json').map(path => path.replace('./dist/', ''));
  const moddable = ['moddable.d.ts', 'moddable/motenet.js'];
  assert.equal(published.sort(), [...expected, ...moddable].sort());
  for (const { sources } of ENTRIES) for (const source of sources) assert.ok(existsSync(join(ROOT, source)), source);
});

test('types come before code, and the runtimes before the default', () => {
  for (const entry of Object.values(manifest.exports as { [path: string]: object }))
    for (const conditions of [entry, ...Object.values(entry)])
      if (typeof conditions === 'object' && 'default' in conditions)
        assert.is(Object.keys(conditions).at(-1), 'default', JSON.stringify(conditions));
  assert.equal(Object.keys(manifest.exports['.']), ['moddable', 'deno', 'bun', 'node', 'default']);
});

test('every script that runs a file of this repository finds it', () => {
  for (const [name, command] of Object.entries(manifest.scripts as { [name: string]: string })) {
    const file = /^tsx (\S+)/.exec(command)?.[1];
    if (file !== undefined) assert.ok(existsSync(join(ROOT, file)), `npm run ${name}: ${file} is missing`);
  }
});

test('versions are pinned exactly, and the lock file names no host', () => {
  const versions = Object.values({ ...manifest.dependencies, ...manifest.devDependencies } as {
    [name: string]: string;
  });
  for (const version of versions) assert.match(version, /^\d+\.\d+\.\d+$/);
  assert.not.match(readText('package-lock.json'), '"resolved": "http');
});

/** Imports of packages that a user would not have installed. */
function foreignImports(sources: readonly Source[], allowed: readonly string[]): Finding[] {
  const known = new Set([...builtinModules, ...allowed]);
  return sources.flatMap(importsOf).flatMap(({ specifier, finding }) => {
    const name = specifier
      .replace(/^node:/, '')
      .split('/')
      .slice(0, specifier.startsWith('@') ? 2 : 1)
      .join('/');
    return specifier.startsWith('.') || known.has(name) ? [] : [finding];
  });
}

test('what is published imports nothing but its dependencies', () => {
  const sources = parseFolders('targets').filter(({ path }) => !/^targets\/build[^/]*$/.test(path));
  const isServer = ({ path }: Source) => path.startsWith('targets/server/');
  const isLoader = ({ path }: Source) => path === 'targets/cli/server-module.ts'; // of the server, where it is installed
  const isBundling = ({ path }: Source) => path === 'targets/cli/qr.ts'; // the build puts that package into the command
  const isBoard = ({ path }: Source) => path === 'targets/moddable/index.ts'; // modules of the SDK: moddable.test.ts
  const isOther = [isServer, isLoader, isBundling, isBoard];
  const own = sources.filter(source => !isOther.some(test => test(source)));
  const dependencies = Object.keys(manifest.dependencies);
  assert.equal(describe(foreignImports(own, dependencies)), []);
  assert.equal(describe(foreignImports(sources.filter(isBundling), [...dependencies, 'uqr'])), []);
  assert.ok('uqr' in manifest.devDependencies);
  const server = JSON.parse(readText('targets/server/package.json'));
  assert.equal(describe(foreignImports(sources.filter(isServer), Object.keys(server.dependencies))), []);
  const broken = parseSources({
    'targets/a.ts': "import 'esbuild';\nimport 'node:fs';\nimport '@noble/x/y';\nimport '../b.ts';",
  });
  assert.equal(describe(foreignImports(broken, ['@noble/x'])), ['targets/a.ts:1 esbuild']);
});

test('nothing but targets/bun and targets/deno imports another runtime', () => {
  const sources = parseFolders('targets');
  const crossing = sources.flatMap(source =>
    importsOf(source)
      .filter(({ specifier }) => /\.\.\/(deno|bun)\//.test(specifier))
      .map(({ finding }) => finding),
  );
  assert.equal(describe(crossing), []);
});

test('no test is focused', () => {
  const focused = findFiles('test', ['.test.ts']).filter(path => /^\s*test\.only\(/m.test(readText(path)));
  assert.equal(focused, []);
});

test.run();
