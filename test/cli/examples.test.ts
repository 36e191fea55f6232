/** Every example runs and shows what it says; `npm start` ends within its time and leaves nothing behind. */
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { parseWgConfig } from '../../lib/mote/wg-config.ts';
import { ROOT } from '../tools/files.ts';
import { BUN, DENO } from '../tools/runtimes.ts';
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

test('node:http inside a tunnel', async () => {
  const { code, stdout, stderr } = await runProgram(process.execPath, ['--import', 'tsx', 'examples/node-http.ts']);
  assert.equal({ code, stdout, stderr }, { code: 0, stdout: 'GET /hello from 10.0.0.2\n', stderr: '' });
});

const onDeno = DENO.program === undefined ? test.skip : test;
onDeno('serve and fetch on Deno', async () => {
  const args = ['run', '--quiet', '--no-lock', '--allow-net', '--allow-sys', '--unstable-net', 'examples/deno-http.ts'];
  const { code, stdout, stderr } = await runProgram(DENO.program!, args);
  assert.equal({ code, stdout, stderr }, { code: 0, stdout: 'GET /hello from 10.0.0.2\n', stderr: '' });
});

const onBun = BUN.program === undefined ? test.skip : test;
onBun('serve and fetch on Bun', async () => {
  const { code, stdout, stderr } = await runProgram(BUN.program!, ['examples/bun-http.ts']);
  assert.equal({ code, stdout, stderr }, { code: 0, stdout: 'GET /hello from 10.0.0.2\n', stderr: '' });
});

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

test('the examples per runtime have at most sixty lines', () => {
  const files = readdirSync(`${ROOT}/examples`).filter(name => name.endsWith('-http.ts'));
  assert.is(files.length, 3);
  for (const name of files) assert.ok(readFileSync(`${ROOT}/examples/${name}`, 'utf8').split('\n').length <= 61, name);
});

test('npm start shows every step of two processes, with sizes and times, and ends with exit code 0', async () => {
  const { code, stdout, stderr } = await runProgram(process.execPath, ['--import', 'tsx', 'examples/start.ts']);
  assert.equal([code, stderr], [0, '']);
  const steps = [...stdout.matchAll(/^ ?(\d+) {2}(\S+(?: \S+)*?) {2,}(.+)$/gm)].map(
    ([, n, name, text]) => [n, name, text] as const,
  );
  assert.equal(
    steps.map(([, name]) => name),
    [
      ...['keys', 'HTTP server', 'process A', 'process B', 'handshake', 'ping', 'GET /', 'GET /file', 'POST /'],
      ...['SHA-256', 'counters', 'end'],
    ],
  );
  assert.equal(
    steps.map(([n]) => Number(n)),
    steps.map((_, i) => i + 1),
  );
  const text = (name: string) => steps.find(step => step[1] === name)![2];
  assert.match(
    text('process A'),
    /^motenet wg - --expose 80=127\.0\.0\.1:\d+: ready after [\d.]+ ms, 10\.44\.0\.1 on UDP port \d+$/,
  );
  assert.match(text('GET /file'), /^8,388,608 bytes in [\d.]+ ms, \d+ Mbit\/s$/);
  assert.match(text('end'), /^the server saw 3 requests; SIGINT ended A in [\d.]+ ms$/);
  assert.match(stdout, /\nDone in [\d.]+ s\./);
});

test.run();
