/** No forbidden words in files and commit messages. */
import { execFileSync } from 'node:child_process';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { findFiles, ROOT } from '../tools/files.ts';
import { describe, readText } from './source.ts';
import { wordFindings } from './words.ts';

const test = suite('words');

test('files are free of them', () => {
  const endings = ['.ts', '.json', '.md', '.js', '.mjs', '.sh', '.conf', '.yml', 'run', 'LICENSE', '.npmrc', '.wat'];
  const texts: { [path: string]: string } = {};
  for (const path of findFiles('.', endings)) texts[path] = readText(path);
  assert.ok(Object.keys(texts).length > 50);
  assert.equal(describe(wordFindings(texts)), []);
});

test('commit messages are free of them', () => {
  let log: string;
  try {
    log = execFileSync('git', ['log', '--format=%h %s%n%b', '-n', '500'], { cwd: ROOT, encoding: 'utf8' });
  } catch {
    return; // not a git checkout: an unpacked archive has no messages
  }
  assert.equal(describe(wordFindings({ 'git log': log })), []);
});

test('the rule sees each kind', () => {
  const bad = ['cd /wo%rk/main', 'https://registry.np%mjs.org/x', 'As an Assis%tant', 'the offi%cial WireGuard client'];
  const texts = { 'README.md': `fine\n${bad.join('\n').replaceAll('%', '')}\nworks with WireGuard` };
  assert.equal(
    wordFindings(texts).map(({ line }) => line),
    [2, 3, 4, 5],
  );
});

test.run();
