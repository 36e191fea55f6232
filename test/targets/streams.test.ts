/** What the user of a machine has added to Node's authorities is kept beside those of an option. */
import { execFile } from 'node:child_process';
import { env, execPath } from 'node:process';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { host } from '../../targets/node/host.ts';
import { CERTIFICATES, RealWorld } from '../contract/streams-far.ts';

const test = suite('streams of Node');
const world = new RealWorld(host);
const path = (name: string) => fileURLToPath(new URL(`../fixtures/test-only${name}.pem`, import.meta.url));
const PROBE = fileURLToPath(new URL('streams-probe.ts', import.meta.url));

function probe(port: number, extra: string | undefined, added: string): Promise<string> {
  const options = { env: { ...env, NODE_EXTRA_CA_CERTS: extra ?? '' }, timeout: 20_000 };
  return new Promise(resolve => {
    const args = ['--import', 'tsx', PROBE, String(port), 'web.test', added];
    execFile(execPath, args, options, (_error, stdout) => resolve(stdout.trim()));
  });
}

test.after(() => world.clean());

test('an authority of NODE_EXTRA_CA_CERTS stays trusted when another one is added by option', async () => {
  const { port } = await world.listenTls(CERTIFICATES.signed);
  assert.is(await probe(port, path('-authority.cert'), path('.cert')), 'opened');
  assert.is(await probe(port, undefined, path('.cert')), 'ERR_TLS');
});

test.run();
