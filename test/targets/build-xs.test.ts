import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { arrowFunctions, bundleForXs, takeConstants } from '../../targets/build-xs.ts';

const test = suite('bundle for XS');

const values = (bundle: string) => takeConstants(bundle).constants;

test('numbers, booleans and short texts are taken, computed ones too', () => {
  const bundle = [
    'var BYTES = 32;',
    'const ALL = 2 * (BYTES + 4) - 1;',
    'let LONG_MS = 1e3 ** 2;',
    'var isFine = ~BYTES < 0;',
    'var NAME = "short";',
    'f(ALL);',
    '',
  ].join('\n');
  const { text, constants } = takeConstants(bundle);
  assert.equal(constants, { BYTES: '32', ALL: '71', LONG_MS: '1000000', isFine: 'true', NAME: '"short"' });
  assert.is(text, 'f(ALL);\n');
});

test('what is exported, assigned to, counted, long, or not a value stays', () => {
  assert.equal(values('var A = 1;\nexport {\n  A\n};\n'), {});
  for (const change of ['A = 2', 'A += 2', 'A ??= 2', 'A >>>= 1', 'A++', '--A'])
    assert.equal(values(`var A = 1;\n${change};\n`), {}, change);
  for (const value of ['f(1)', '[1]', '"a longer text than a slot"', '"a\\n"', 'B + 1', '1 / 0', 'new A()', '() => 1'])
    assert.equal(values(`var A = ${value};\n`), {}, value);
  assert.equal(values('var A = 1;\nif (A === 2 || b.A == 3) f((A) => 1);\n'), { A: '1' });
  assert.equal(values('function f() {\n  var A = 1;\n}\n'), {});
});

test('functions of the top level become arrow functions at its head, those that are more than functions stay', () => {
  const text = arrowFunctions(
    [
      'import a from "a";',
      'var x = sum(1, 2);',
      'function sum(a, { b = 2 } = {}) {',
      '  return a + b;',
      '}',
      'function Made() {',
      '}',
      'new Made();',
      'function own() {',
      '  return this;',
      '}',
      'async function later() {',
      '}',
      '',
    ].join('\n'),
  );
  assert.match(
    text,
    /^import a from "a";\nconst sum = \(a, \{ b = 2 \} = \{\}\) => \{\n {2}return a \+ b;\n\};\nvar x/,
  );
  for (const kept of ['function Made() {', 'function own() {', 'async function later() {'])
    assert.ok(text.includes(kept), kept);
});

test('a bundle computes what its modules do, with nothing but constants at its top level', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'motenet-bundle-'));
  writeFileSync(
    join(folder, 'a.ts'),
    `export const BYTES = 16;
    export const LIMITS = Object.freeze({ BYTES, more: 2 * BYTES });
    export function twice(value: number): number { return helper(value); }
    function helper(value: number): number { return 2 * value; }
    export class Box { #kept: number; constructor(kept: number) { this.#kept = kept; } get kept() { return this.#kept; } }`,
  );
  const contents = `import { BYTES, Box, LIMITS, twice } from './a.ts';
    const limit = (BYTES: number) => BYTES + 1;
    globalThis.out = [BYTES, limit(4), LIMITS, twice(BYTES), new Box(BYTES).kept, Object.keys(new Box(1))];`;
  for (const isShort of [false, true]) {
    const text = await bundleForXs({ contents, folder, isShort });
    const scope: { out?: unknown } = {};
    new Function('globalThis', text)(scope);
    assert.equal(scope.out, [16, 5, { BYTES: 16, more: 32 }, 32, 16, ['_kept']]);
    assert.not.match(text, /^(var|let|function) /m);
    assert.is(/\b16 \* 2|\bBYTES = 16|#kept/.test(text), false);
  }
  rmSync(folder, { recursive: true });
});

test('imports that are told to stay do, and so do exports', async () => {
  const contents = "import Time from 'time';\nexport const now = () => Time.ticks;\nexport const ZERO = 0;";
  const text = await bundleForXs({ contents, folder: '.', external: ['time'] });
  assert.match(text, /^import Time from "time";/m);
  assert.match(text, /^const ZERO = 0;/m);
  assert.match(text, /^export \{\n {2}ZERO,\n {2}now\n\};/m);
});

test.run();
