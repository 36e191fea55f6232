/** `npm start` shows what it says and ends in time. The examples of the runtimes run from the package (tools/pack.ts). */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { parseWgConfig } from '../../lib/mote/wg-config.ts';
import { ROOT } from '../tools/files.ts';
import { keyPair, type Outcome } from './command.ts';

const test = suite('examples');

function runProgram(program: string, args: readonly string[]): Promise<Outcome & { readonly ms: number }> {
  return new Promise((resolve, reject) => {
    const startMs = performance.now();
    const child = spawn(program, args, { cwd: ROOT, timeout: 60_000, stdio: ['ignore', 'pipe', 'pipe'] });
    let [stdout, stderr] = ['', ''];
    child.stdout.on('data', chunk => {
      stdout += chunk;
    });
    child.stderr.on('data', chunk => {
      stderr += chunk;
    });
    child.once('error', reject);
    child.once('close', code => resolve({ code, stdout, stderr, ms: performance.now() - startMs }));
  });
}

test('the example file is a valid configuration once it has keys', () => {
  const text = readFileSync(`${ROOT}/examples/wg-expose.conf`, 'utf8');
  const [own, peer] = [keyPair(), keyPair()];
  const config = parseWgConfig(
    text.replace('YOUR_PRIVATE_KEY', own.privateKey).replace('PUBLIC_KEY_OF_THE_OTHER_SIDE', peer.publicKey),
  );
  assert.equal(config.addresses, ['10.0.0.2/24']);
  assert.equal(config.ignored, []);
  assert.is(config.peers[0]!.persistentKeepaliveMs, 25_000);
  assert.throws(() => parseWgConfig(text), 'line 10: PrivateKey expected 44 characters');
});

test('the examples per runtime have at most sixty lines and need nothing but the package', () => {
  for (const name of ['node', 'deno', 'bun']) {
    const lines = readFileSync(`${ROOT}/examples/${name}.ts`, 'utf8').trimEnd().split('\n');
    assert.ok(lines.length <= 60, name);
    const imported = lines.flatMap(line => /^import .+ from '(.+)';$/.exec(line)?.[1] ?? []);
    assert.ok(imported.includes('motenet'), name);
    for (const from of imported) assert.match(from, /^(motenet(\/node)?|node:\w+)$/, name);
  }
});

test('npm start shows every step from nothing to a fetch by name, and ends with exit code 0', async () => {
  const { code, stdout, stderr } = await runProgram(process.execPath, ['--import', 'tsx', 'examples/start.ts']);
  assert.equal([code, stderr], [0, '']);
  const steps = [...stdout.matchAll(/^ ?(\d+) {2}(\S+(?: \S+)*?) {2,}(.+)$/gm)].map(
    ([, n, name, text]) => [n, name, text] as const,
  );
  assert.equal(
    steps.map(([, name]) => name),
    [
      ...['coordinator', 'auth keys', 'HTTP server', 'first mote', 'second mote', 'GET /', 'ping', 'GET /file'],
      ...['SHA-256', 'whois', 'devices', 'end'],
    ],
  );
  assert.equal(
    steps.map(([n]) => Number(n)),
    steps.map((_, i) => i + 1),
  );
  const text = (name: string) => steps.find(step => step[1] === name)![2];
  assert.match(text('coordinator'), /^motenet serve: http:\/\/127\.0\.0\.1:\d+ after \d+ ms, with relay and STUN$/);
  assert.match(text('GET /'), /^http:\/\/web\/ gave 200 after \d+ ms, /);
  assert.match(text('GET /file'), /^8,388,608 bytes in \d+ ms, \d+ Mbit\/s$/);
  assert.is(text('devices'), 'motenet devices list: web online, laptop online');
  assert.match(stdout, /\nDone in [\d.]+ s\./);
});

test.run();
