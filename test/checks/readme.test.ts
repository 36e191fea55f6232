/** The README files are true where a program can tell. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { findFiles } from '../tools/files.ts';
import { referenceFindings, snippetFindings, snippetsOf } from './readme.ts';
import { describe, readText } from './source.ts';

const test = suite('readme');
const readmes = findFiles('.', ['.md']);

test('there is a README, below 200 lines', () => {
  assert.ok(readmes.includes('README.md'));
  assert.ok(readText('README.md').split('\n').length <= 200);
});

test('its TypeScript compiles', () => {
  const snippets = readmes.flatMap(path => snippetsOf(path, readText(path)));
  assert.equal(describe(snippetFindings(snippets)), []);
});

test('its links, scripts and files exist', () => {
  assert.equal(describe(readmes.flatMap(path => referenceFindings(path, readText(path)))), []);
});

test('the rules see a snippet that does not compile, in its line', () => {
  const markdown = [
    'Text.',
    '```ts',
    "import { up } from 'motenet';",
    'await up({ privateKey: 5 });',
    '```',
    '```sh',
    'npm test',
    '```',
    '```js',
    "import { Tunnel } from 'motenet/wireguard';",
    'Tunnel.nothing();',
    '```',
  ].join('\n');
  const snippets = snippetsOf('README.md', markdown);
  assert.equal(
    snippets.map(({ language, line }) => `${language} ${line}`),
    ['ts 3', 'sh 7', 'js 10'],
  );
  const findings = describe(snippetFindings(snippets));
  assert.is(findings.length, 2, findings.join('\n'));
  assert.match(findings[0]!, /^README\.md:4 /);
  assert.match(findings[1]!, /^README\.md:11 Property 'nothing' does not exist/);
});

test('the rules see references to what is not there', () => {
  const markdown =
    '[a](lib/README.md) [b](nowhere.md) [c](https://x.org/y)\n`npm run build` `npm run dance`\n`lib/no.ts` `lib/index.ts`';
  assert.equal(describe(referenceFindings('README.md', markdown)), [
    'README.md:1 link to nowhere.md',
    'README.md:2 script dance',
    'README.md:3 file lib/no.ts',
  ]);
});

test.run();
