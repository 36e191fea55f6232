/** What a board loads: no part of the portable libraries, whose Ed25519 alone would take 118 KB of its memory. */
import { posix } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { importsOf } from '../checks/layers.ts';
import { parseFolders, type Source } from '../checks/source.ts';

const test = suite('native: what a board loads');
const sources = new Map<string, Source>(
  [...parseFolders('lib'), ...parseFolders('targets/moddable')].map(source => [source.path, source]),
);

/** All modules that `entry` reaches, and the packages that these name. */
function reach(entry: string): { readonly files: Set<string>; readonly packages: Set<string> } {
  const files = new Set<string>();
  const packages = new Set<string>();
  const waiting = [entry];
  for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
    if (files.has(path)) continue;
    files.add(path);
    const source = sources.get(path);
    if (source === undefined) continue; // a file in JavaScript, which is native
    for (const { specifier } of importsOf(source)) {
      if (specifier.startsWith('.')) waiting.push(posix.join(posix.dirname(path), specifier));
      else packages.add(specifier);
    }
  }
  return { files, packages };
}

const nobleOf = (packages: ReadonlySet<string>) => [...packages].filter(name => name.startsWith('@noble/'));

test('the entry for boards reaches nothing of the portable libraries', () => {
  const { files, packages } = reach('targets/moddable/index.ts');
  assert.ok(files.size > 40, `${files.size} files`);
  assert.ok(files.has('targets/moddable/native-suite.ts') && files.has('lib/mote/base-mote.ts'));
  assert.equal(nobleOf(packages), []);
});

test('neither does the tuned suite', () => {
  const { files, packages } = reach('lib/crypto/tuned.ts');
  assert.ok(files.has('lib/crypto/tuned-x25519.ts'));
  assert.equal([...packages], []);
});

test('the portable Ed25519 is in one file, which nothing in lib imports', () => {
  const importers = (wanted: (specifier: string) => boolean) =>
    [...sources.values()].filter(source => importsOf(source).some(({ specifier }) => wanted(specifier)));
  const paths = (found: readonly Source[]) => found.map(({ path }) => path);
  assert.equal(paths(importers(specifier => specifier.includes('curves/ed25519'))), ['lib/crypto/ed25519-noble.ts']);
  assert.equal(paths(importers(specifier => specifier.endsWith('/ed25519-noble.ts'))), []);
});

test('the walk sees what is there', () => {
  const { packages } = reach('lib/crypto/select.ts');
  assert.ok(nobleOf(packages).includes('@noble/ciphers/chacha.js'));
});

test.run();
