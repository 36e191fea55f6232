/** lib uses nothing but the language, and keeps no state in modules. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { forbiddenNameFindings, moduleStateFindings } from './purity.ts';
import { describe, parseFolders, parseSources } from './source.ts';

const test = suite('purity by names');
const sources = parseFolders('lib');

test('lib names no global beyond the language', () => assert.equal(describe(forbiddenNameFindings(sources)), []));

test('lib has no state and no work at module level', () => assert.equal(describe(moduleStateFindings(sources)), []));

test('the rule sees each forbidden name where it is used, and not where it is only a member', () => {
  const broken = parseSources({
    'lib/base/a.ts': [
      'const a = () => Date.now();',
      'const b = (x: { Date: number }) => x.Date + x["process"];',
      'const c = () => Math.random() + Math.floor(1);',
      'type P = Promise<void>;',
      'async function d() {}',
      'const e = { console, performance: 1 };',
      'const f = () => globalThis.setTimeout;',
      'class G { Buffer() { return this.Buffer; } }',
      'const h = ({ Date: x }: any) => x ?? 3n;',
    ].join('\n'),
    'lib/base/b.ts': 'declare const process: unknown;\nconst f = () => process;',
    'lib/base/c.ts':
      'const f = (window: number, self: { crypto: 1 }) => { const { crypto } = self; return window + crypto; };',
    'lib/mote/a.ts': 'async (r: Request, p: Promise<Response>) => { await p; setTimeout(() => r); };',
    'lib/driver.ts': 'async (p: Promise<void>) => { await p; new ReadableStream(); }',
    'lib/crypto/wasm.ts': 'const x = () => WebAssembly && globalThis && Promise;',
    'lib/crypto/other.ts': 'const x = () => WebAssembly ?? 1n;',
  });
  assert.equal(describe(forbiddenNameFindings(broken)), [
    'lib/base/a.ts:1 Date is not allowed here',
    'lib/base/a.ts:3 Math.random is not allowed here',
    'lib/base/a.ts:4 Promise is not allowed here',
    'lib/base/a.ts:5 async code belongs in lib/mote, lib/driver.ts or targets',
    'lib/base/a.ts:6 console is not allowed here',
    'lib/base/a.ts:7 globalThis is not allowed here',
    'lib/base/a.ts:9 BigInt belongs in functions of lib/crypto',
    'lib/base/b.ts:1 process is not allowed here',
    'lib/base/b.ts:2 process is not allowed here',
    'lib/mote/a.ts:1 setTimeout is not allowed here',
    'lib/driver.ts:1 ReadableStream is not allowed here',
    'lib/crypto/wasm.ts:1 Promise is not allowed here',
    'lib/crypto/other.ts:1 WebAssembly is not allowed here',
  ]);
});

test('the rule sees state at module level, and not in functions and instances', () => {
  const broken = parseSources({
    'lib/crypto/a.ts': [
      'let a = 1;',
      'var b = 2;',
      'const c = new Uint8Array(32);',
      'const d = new Map<string, number>();',
      'const e = 1n << BigInt(255);',
      'class F { static scratch = new Uint32Array(4); own = new Uint32Array(4); m() { return new Map(); } }',
      'for (const x of [1]) { const y = x; }',
      'Object.freeze(F);',
      'const g = Object.freeze([1, 2]), h = new Uint8Array([1, 2]), e = new Uint8Array(0), i = () => { let z = 2n; return z; };',
      'class J { static { Object.freeze(J); } }',
    ].join('\n'),
  });
  assert.equal(describe(moduleStateFindings(broken)), [
    'lib/crypto/a.ts:7 a statement that runs when the module loads',
    'lib/crypto/a.ts:8 a statement that runs when the module loads',
    'lib/crypto/a.ts:1 module-level let',
    'lib/crypto/a.ts:2 module-level var',
    'lib/crypto/a.ts:3 module-level new Uint8Array: put it in an instance',
    'lib/crypto/a.ts:4 module-level new Map: put it in an instance',
    'lib/crypto/a.ts:5 module-level BigInt',
    'lib/crypto/a.ts:5 module-level BigInt',
    'lib/crypto/a.ts:6 module-level new Uint32Array: put it in an instance',
    'lib/crypto/a.ts:10 a static block runs when the module loads',
  ]);
});

test.run();
