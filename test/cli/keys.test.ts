/** Keys: what `pubkey` takes and refuses, beside the `wg` that is installed; and that nothing of a key is shown. */
import { spawnSync } from 'node:child_process';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { createNobleSuite } from '../../lib/crypto/noble.ts';
import { RunError } from '../../targets/cli/errors.ts';
import { genkey, genpsk, pubkey } from '../../targets/cli/keys.ts';
import { host } from '../../targets/node/index.ts';

const test = suite('cli keys');

const suiteOfCrypto = createNobleSuite();
const key = genkey(host.random);
const hasWg = spawnSync('wg', ['--version']).status === 0;

const GOOD = [
  key,
  `${key}\n`,
  `${key} \t\r\n\n`,
  genkey(host.random),
  `${genkey(host.random)}\n\0`,
  genpsk(host.random),
];
const BAD = [
  ...['', '\n', 'bad', key.replace('=', ''), ` ${key}`, `\n${key}`, `${key}x`, `${key}\nx`, `${key}${key}`],
  ...[key.replace(/.=$/, '=='), `${key.slice(0, 42)}!=`, `${key.slice(0, 42)}-=`, key.replace(/..=$/, 'AB=')],
];

const ours = (input: string): string => {
  try {
    return `${pubkey(input, suiteOfCrypto)}\n`;
  } catch (error) {
    if (error instanceof RunError) return '';
    throw error;
  }
};

test('pubkey takes a private key with white space behind it', () => {
  for (const input of GOOD) assert.match(ours(input), /^[A-Za-z0-9+/]{43}=\n$/);
});

test('pubkey refuses everything else, and says why without showing it', () => {
  for (const input of BAD) {
    try {
      pubkey(input, suiteOfCrypto);
      assert.unreachable(JSON.stringify(input));
    } catch (error) {
      assert.instance(error, RunError);
      const { message } = error as RunError;
      assert.match(message, /^pubkey expected [^\n]+$/);
      for (let i = 0; i + 6 < key.length; i++) assert.not(message.includes(key.slice(i, i + 6)));
    }
  }
});

const compare = hasWg ? test : test.skip;
compare('pubkey gives the same keys, and refuses the same input, as the wg that is installed', () => {
  for (const input of [...GOOD, ...BAD]) {
    const { status, stdout } = spawnSync('wg', ['pubkey'], { input, encoding: 'utf8' });
    assert.equal(
      [ours(input), ours(input) === '' ? 1 : 0],
      [stdout, status],
      JSON.stringify(input.replaceAll(key, 'KEY')),
    );
  }
});

compare('wg takes the keys that genkey makes, and clamps nothing more', () => {
  for (let i = 0; i < 5; i++) {
    const { stdout } = spawnSync('wg', ['pubkey'], { input: genkey(host.random), encoding: 'utf8' });
    assert.is(Buffer.from(stdout, 'base64').length, 32);
  }
  const bytes = Buffer.from(genkey(host.random), 'base64');
  assert.equal([bytes[0]! & 7, bytes[31]! & 0xc0], [0, 0x40]);
});

test.run();
