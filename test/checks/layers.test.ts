/** The layer table of lib/README.md holds. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { cycleFindings, layerFindings, parseLayerTable } from './layers.ts';
import { describe, parseFolders, parseSources, readText } from './source.ts';

const test = suite('layers');
const sources = parseFolders('lib');

test('lib imports only what the table of lib/README.md allows', () => {
  const table = parseLayerTable(readText('lib/README.md'));
  assert.ok(table.size >= 11);
  assert.equal(describe(layerFindings(sources, table)), []);
});

test('the tables of lib/README.md name what there is, and nothing else', () => {
  const readme = readText('lib/README.md');
  const present = [...new Set(sources.map(({ path }) => path.split('/')[1]!))].sort();
  assert.equal([...parseLayerTable(readme).keys()].sort(), present);
  const described = [...readme.matchAll(/^\| `([a-z0-9]+)` \| [^`|]/gm)].map(row => row[1]!);
  assert.equal(
    described.sort(),
    present.filter(name => !name.endsWith('.ts')),
  );
});

test('lib has no import cycle', () => assert.equal(describe(cycleFindings(sources)), []));

test('the rule sees values, types, re-exports and dynamic imports', () => {
  const table = parseLayerTable(
    '| layer | may import |\n|---|---|\n| `base` | |\n| `crypto` | `base` |\n| `mote` | everything |\n',
  );
  const broken = parseSources({
    'lib/base/a.ts': "import { x } from '../crypto/b.ts';\nimport type { Y } from '../crypto/b.ts';",
    'lib/base/b.ts':
      "export { x } from '../crypto/b.ts';\nconst z: import('../crypto/b.ts').Z = 1;\nimport('../crypto/b.ts');",
    'lib/crypto/b.ts': "import { a } from '../base/a.ts';\nimport '@noble/ciphers/chacha.js';\nimport 'node:fs';",
    'lib/mote/c.ts': "import '../crypto/b';\nimport '@noble/curves/x.js';\nimport '../../targets/node/index.ts';",
    'lib/other/d.ts': '',
  });
  assert.equal(describe(layerFindings(broken, table)), [
    'lib/base/a.ts:1 base may not import crypto',
    'lib/base/a.ts:2 base may not import crypto',
    'lib/base/b.ts:1 base may not import crypto',
    'lib/base/b.ts:2 base may not import crypto',
    'lib/base/b.ts:3 base may not import crypto',
    'lib/crypto/b.ts:3 foreign import node:fs',
    'lib/mote/c.ts:1 import of ../crypto/b without its extension',
    'lib/mote/c.ts:2 @noble/curves/x.js outside crypto',
    'lib/mote/c.ts:3 import of targets/node/index.ts leaves lib',
    'lib/other/d.ts:1 layer other is not in the table',
  ]);
});

test('the rule sees cycles, also of types alone', () => {
  const broken = parseSources({
    'lib/a/a.ts': "import type { b } from './b.ts';",
    'lib/a/b.ts': "import type { c } from './c.ts';",
    'lib/a/c.ts': "import type { a } from './a.ts';",
  });
  assert.equal(describe(cycleFindings(broken)), ['lib/a/a.ts:1 lib/a/a.ts -> lib/a/b.ts -> lib/a/c.ts -> lib/a/a.ts']);
});

test.run();
