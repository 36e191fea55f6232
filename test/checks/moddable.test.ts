/** What is published for Moddable: the manifests name exactly what is there, and nothing in it belongs to another runtime. */
import { existsSync, readdirSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { dirname, join, normalize } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import {
  exampleFiles,
  moddableManifests,
  moddableModule,
  moddableSources,
  nativeFiles,
} from '../../targets/build-moddable.ts';
import { ROOT } from '../tools/files.ts';
import { importsOf } from './layers.ts';
import { moduleRegExpFindings } from './purity.ts';
import { describe, parseSources, readText, type Source } from './source.ts';

const test = suite('moddable');
const own = await moddableSources(ROOT);
const native = nativeFiles(ROOT);
const manifests = moddableManifests(native);
const sources = parseSources(Object.fromEntries(own.map(path => [path, readText(path)])));

/** Modules of the SDK, by what of `INCLUDES` brings them. */
const OF_SDK = ['embedded:io/socket/tcp', 'embedded:io/socket/udp', 'modules', 'net', 'preference', 'time', 'timer'];

/** Files that a path of a manifest stands for. */
function filesOf(path: string): string[] {
  const base = path.replace('./', '');
  return native.filter(name => !name.endsWith('.h')).filter(name => name.replace(/\.[a-z]+$/, '') === base);
}

test('the manifests name every native module and every file of C once, and nothing else', () => {
  const paths = [manifests['manifest.json'], manifests['native.json']].flatMap(({ modules = {} }) =>
    Object.values(modules).flat(),
  );
  assert.is(new Set(paths).size, paths.length);
  const named = paths.filter(path => path !== './motenet').flatMap(filesOf);
  assert.equal(named.sort(), native.filter(path => !path.endsWith('.h')).sort());
  for (const path of native.filter(name => name.endsWith('.h')))
    assert.ok(
      native.some(name => dirname(name) === dirname(path) && name.endsWith('.c')),
      path,
    );
});

test('no regular expression is kept at the top level of a module', () => {
  assert.equal(describe(moduleRegExpFindings(sources)), []);
  const broken = parseSources({
    'lib/base/x.ts': 'const A = /a/;\nconst b = { c: new RegExp(A) };\nconst f = () => /a/;',
  });
  assert.is(moduleRegExpFindings(broken).length, 2);
});

test('HTTP of the mote is not in it: boards use their own over the tunnel', () => {
  assert.equal(
    own.filter(path => /lib\/mote\/(http-|mote\.ts)/.test(path)),
    [],
  );
  assert.ok(own.includes('lib/mote/base-mote.ts'));
});

test('the C is that of the list which tests build', () => {
  const listed = readText('targets/moddable/native/sources.txt').trim().split('\n');
  const there = readdirSync(join(ROOT, 'targets/moddable/native')).filter(name => name.endsWith('.c'));
  assert.equal(there.sort(), listed.sort());
});

test('the module is preloaded under the name that each manifest gives it', () => {
  const { modules = {}, preload } = manifests['manifest.json'];
  assert.equal([modules, preload], [{ motenet: './motenet' }, ['motenet']]);
  assert.equal(manifests['mcpack.json'].preload, ['motenet/dist/moddable/motenet']);
});

test('at the top level of the module there are constants only, and it exports what the entry does', async () => {
  const text = await moddableModule(ROOT);
  assert.not.match(text, /^(var|let) /m);
  const names = /^export \{([^}]*)\}/m.exec(text)![1]!.match(/\w+(?=,?\n)/g)!;
  const entry = readText('targets/moddable/index.ts').replaceAll(/\w+ as |\btype \w+,?|export type [^;]*;/g, '');
  const lists = [...entry.matchAll(/export \{([^}]*)\}/g)].flatMap(([, list = '']) => list.match(/\w+/g) ?? []);
  assert.equal(names.sort(), [...lists, 'up'].sort());
});

/** What a source imports from outside the repository. */
function foreign(source: Source): string[] {
  return importsOf(source)
    .map(({ specifier }) => specifier)
    .filter(specifier => !specifier.startsWith('.'));
}

test('nothing imports Node, noble or any package; the SDK is imported by the entry alone', () => {
  for (const source of sources) {
    // "(computed)" is the native crypto, which an image may or may not carry.
    const expected = source.path === 'targets/moddable/index.ts' ? ['(computed)', ...OF_SDK] : [];
    assert.equal(foreign(source).sort(), expected, source.path);
  }
  assert.ok(foreign(parseSources({ 'lib/a.ts': "import 'node:fs';\nimport '@noble/x';" })[0]!).length === 2);
  assert.not.ok(OF_SDK.some(name => builtinModules.includes(name) && name !== 'net'));
});

test('mcpack finds the entry and the manifest by package.json', () => {
  const { exports, moddable } = JSON.parse(readText('package.json'));
  assert.is(exports['.'].moddable.default, './dist/moddable/motenet.js');
  assert.equal(moddable.manifest, { include: ['./dist/moddable/mcpack.json'] });
});

test('the manifests of the examples name every file of them, and the sources are there', () => {
  for (const name of ['esp32-sensor', 'esp32-button']) {
    const { modules } = JSON.parse(readText(`examples/${name}/manifest.json`)) as { modules: Record<string, string> };
    const sourcesOf = Object.values(modules).map(path => normalize(join('examples', name, path)));
    for (const path of sourcesOf)
      assert.ok(
        ['.ts', '.js'].some(ending => existsSync(join(ROOT, `${path}${ending}`))),
        path,
      );
    const files = readdirSync(join(ROOT, 'examples', name)).filter(file => /\.(ts|js)$/.test(file));
    const onBoard = files.filter(file => !/-node\.ts$|^provision\.ts$|\.d\.ts$/.test(file));
    for (const file of onBoard)
      assert.ok(sourcesOf.includes(`examples/${name}/${file.replace(/\.(ts|js)$/, '')}`), file);
  }
  assert.ok(exampleFiles(ROOT).includes('examples/esp32-button/deep-sleep.c'));
});

test('no secret is part of what is compiled into an image', () => {
  for (const path of exampleFiles(ROOT).filter(name => name.endsWith('.json')))
    assert.not.match(readText(path), /ssid|password|auth/i);
});

test.run();
