/** Form: descriptions, lengths, exports, marks of security checks. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { describe, parseFolders, parseSources } from './source.ts';
import {
  checkMarkFindings,
  exportCommentFindings,
  exportFormFindings,
  fileCommentFindings,
  lengthFindings,
  MAX_FILE_LINES,
  MAX_FUNCTION_LINES,
} from './style.ts';

const test = suite('style');
const lib = parseFolders('lib');
const targets = parseFolders('targets');
const generated = /\/wasm-bytes\.ts$/;
const written = [...lib, ...targets].filter(source => !generated.test(source.path));

test('every file of lib, targets, bench and examples opens with what it is', () => {
  assert.equal(describe(fileCommentFindings([...written, ...parseFolders('bench', 'examples')])), []);
});

test('every export of lib and targets is described', () => assert.equal(describe(exportCommentFindings(written)), []));

test('files and functions of lib and targets are short', () => assert.equal(describe(lengthFindings(written)), []));

test('there are no default exports and no barrels', () => {
  assert.equal(describe(exportFormFindings([...lib, ...targets])), []);
});

test('marks of security checks are unique and stand behind a one-line if', () => {
  assert.equal(describe(checkMarkFindings(lib)), []);
});

test('the rules see missing descriptions', () => {
  const broken = parseSources({
    'lib/a.ts': 'export const a = 1;\n',
    'lib/b.ts': '/** The file. */\nexport const b = 1;\n',
    'lib/c.ts':
      "/** The file. */\nimport { a } from './a.ts';\nexport interface C {}\n/** D. */\n\nexport class D {}\n",
    'lib/d.ts': '/** The file. */\n/** D. */\nexport function d() {}\nfunction e() {}\n// no doc\nexport type E = 1;',
    'targets/e.ts': '#!/usr/bin/env node\n/** The file. */\nconst a = 1;',
  });
  assert.equal(describe(fileCommentFindings(broken)), ['lib/a.ts:1 the file does not open with a doc comment']);
  assert.equal(describe(exportCommentFindings(broken)), [
    'lib/a.ts:1 export a has no doc comment',
    'lib/b.ts:2 export b has no doc comment',
    'lib/c.ts:3 export C has no doc comment',
    'lib/d.ts:6 export E has no doc comment',
  ]);
});

test('the rules see long files and functions, and let a switch be long', () => {
  const lines = (count: number) => 'x();\n'.repeat(count);
  const broken = parseSources({
    'lib/a.ts': lines(MAX_FILE_LINES + 1),
    'lib/b.ts': `function b() {\n${lines(MAX_FUNCTION_LINES - 1)}}\nfunction c() {\n${lines(MAX_FUNCTION_LINES - 2)}}`,
    'lib/d.ts': `function d() {\nswitch (1) {\ncase 1:\n${lines(MAX_FUNCTION_LINES)}}\n}\n`,
    'lib/e.ts': `class E {\nm() {\n${lines(MAX_FUNCTION_LINES)}}\n}\nconst f = () => {\n${lines(MAX_FUNCTION_LINES)}};`,
  });
  assert.equal(describe(lengthFindings(broken)), [
    'lib/a.ts:1 501 lines in a file',
    'lib/b.ts:1 81 lines in b',
    'lib/e.ts:2 82 lines in m',
    'lib/e.ts:85 82 lines in here',
  ]);
});

test('the rules see default exports and barrels', () => {
  const broken = parseSources({
    'lib/a.ts': "export default class {}\nexport * from './b.ts';\nexport { a };",
    'lib/b.ts': "const b = 1;\nexport default b;\nexport type { B } from './b.ts';",
    'lib/index.ts': "export * from './b.ts';",
    'targets/node/index.ts': "export * from '../../lib/index.ts';",
  });
  assert.equal(describe(exportFormFindings(broken)), [
    'lib/a.ts:1 default export',
    'lib/a.ts:2 re-export outside an entry',
    'lib/b.ts:2 default export',
    'lib/b.ts:3 re-export outside an entry',
  ]);
});

test('the rules see marks that the mutants runner could not use', () => {
  const broken = parseSources({
    'lib/a.ts': 'if (a) return; // CHECK: good-one\nreturn b; // CHECK: no-if\nif (a) return; // CHECK: Bad_Name\n',
    'lib/b.ts': 'if (\na\n) return; // CHECK: wrapped\nif (a && (b || c)) return drop(1); // CHECK: good-one\n',
  });
  assert.equal(describe(checkMarkFindings(broken)), [
    'lib/a.ts:2 no-if does not stand behind a one-line if',
    'lib/a.ts:3 the name "Bad_Name" is not in kebab-case',
    'lib/b.ts:3 wrapped does not stand behind a one-line if',
    'lib/b.ts:4 good-one is already the name of a check in lib/a.ts:1',
  ]);
});

test.run();
