/** Form: descriptions, lengths, exports, marks of security checks. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { findMarks } from '../tools/marks.ts';
import { describe, parseFolders, parseSources } from './source.ts';
import {
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
  const { marks, findings } = findMarks(lib);
  assert.equal(describe(findings), []);
  assert.ok(marks.length > 10);
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
    'lib/c/c.ts': "export * from './d.ts';\nexport { e } from './e.ts';",
    'lib/index.ts': "export * from './b.ts';",
    'targets/node/index.ts': "export * from '../../lib/index.ts';",
  });
  assert.equal(describe(exportFormFindings(broken)), [
    'lib/a.ts:1 default export',
    'lib/b.ts:2 default export',
    'lib/c/c.ts:1 a file that only re-exports',
  ]);
});

test('the rule sees marks that the mutants runner could not use, and what the others stand for', () => {
  const sources = parseSources({
    'lib/a.ts': [
      'function f() {',
      'if (a) return; // why // CHECK: good-one',
      'return b; // CHECK: no-if',
      'if (c) return; // CHECK: Bad_Name',
      'if (d && (e || f))',
      '  throw new RangeError(g); // CHECK: wrapped',
      'if (h) return 1;',
      'else if (i)',
      '  return 2; // CHECK: second',
      'else return 3;',
      '}',
    ].join('\n'),
    'lib/b.ts': 'if (j) { // CHECK: block\nk();\n} else {\nl();\n} // CHECK: else\nif (m) n(); // CHECK: good-one\n',
  });
  const { marks, findings } = findMarks(sources);
  assert.equal(describe(findings), [
    'lib/a.ts:3 no-if does not stand behind an if',
    'lib/a.ts:4 "Bad_Name" is not in kebab-case',
    'lib/b.ts:5 else does not stand behind an if',
    'lib/b.ts:6 good-one is taken by lib/a.ts:2',
  ]);
  assert.equal(
    marks.map(({ name, condition }) => `${name}: ${condition}`),
    ['good-one: a', 'wrapped: d && (e || f)', 'second: i', 'block: j'],
  );
});

test.run();
