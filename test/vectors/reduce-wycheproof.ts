/**
 * Reduces Project Wycheproof's files to the facts that the crypto tests need: ids, inputs, outputs, results and flags.
 *
 *     node --import tsx test/vectors/reduce-wycheproof.ts FOLDER
 *
 * FOLDER holds `x25519_test.json`, `chacha20_poly1305_test.json`, `xchacha20_poly1305_test.json` and
 * `ed25519_test.json`; README.md says where they come from. Writes `wycheproof-*.json` beside this file.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

interface UpstreamTest {
  readonly tcId: number;
  readonly flags: readonly string[];
  readonly result: string;
  readonly [column: string]: unknown;
}

interface UpstreamFile {
  readonly numberOfTests: number;
  readonly testGroups: readonly {
    readonly tests: readonly UpstreamTest[];
    readonly publicKey?: { readonly pk: string };
  }[];
}

const AEAD_COLUMNS = ['key', 'iv', 'aad', 'msg', 'ct', 'tag'];
const FILES: readonly [source: string, target: string, columns: readonly string[]][] = [
  ['x25519_test.json', 'wycheproof-x25519.json', ['private', 'public', 'shared']],
  ['chacha20_poly1305_test.json', 'wycheproof-chacha20-poly1305.json', AEAD_COLUMNS],
  ['xchacha20_poly1305_test.json', 'wycheproof-xchacha20-poly1305.json', AEAD_COLUMNS],
  ['ed25519_test.json', 'wycheproof-ed25519.json', ['pk', 'msg', 'sig']],
];

function reduce(file: UpstreamFile, columns: readonly string[]): string {
  // A key that all tests of a group share becomes a column of each.
  const tests = file.testGroups.flatMap(group =>
    group.tests.map((test): UpstreamTest => ({ ...test, ...(group.publicKey && { pk: group.publicKey.pk }) })),
  );
  if (tests.length !== file.numberOfTests) throw new Error(`${tests.length} tests, ${file.numberOfTests} promised`);
  const rows = tests.map(test =>
    JSON.stringify([test.tcId, test.result, test.flags.join(' '), ...columns.map(column => test[column])]),
  );
  const header = JSON.stringify(['id', 'result', 'flags', ...columns]);
  return `{\n"columns": ${header},\n"tests": [\n${rows.join(',\n')}\n]\n}\n`;
}

const folder = process.argv[2];
if (folder === undefined) throw new Error('expected the folder with the upstream files');
for (const [source, target, columns] of FILES) {
  const file = JSON.parse(readFileSync(join(folder, source), 'utf8')) as UpstreamFile;
  writeFileSync(new URL(target, import.meta.url), reduce(file, columns));
}
