/** A connection on this machine and a stream inside the tunnel as one: half close, reset, slow readers. */
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { codeOf } from '../../targets/cli/errors.ts';
import { KEEPALIVE_MS, pipe, resetSocket } from '../../targets/cli/pipe.ts';
import { FakeStream, PIPE_BYTES } from './fake-tunnel.ts';
import { closed, readAll, socketPair, until } from './local.ts';

const test = suite('cli pipe');

const NEAR = { address: '10.0.0.1', port: 40_000 };
const FAR = { address: '10.0.0.2', port: 80 };

async function setUp() {
  const { near, far: client, done } = await socketPair();
  const [stream, peer] = FakeStream.pair(NEAR, FAR);
  client.removeAllListeners('error');
  let reset = '';
  client.on('error', error => {
    reset = codeOf(error);
  });
  return { client, stream, peer, near, piped: pipe(stream, near), done, reset: () => reset };
}

async function readStream(stream: FakeStream): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for (let chunk = await stream.read(); chunk !== undefined; chunk = await stream.read()) chunks.push(chunk);
  return Buffer.concat(chunks);
}

test('bytes go both ways, counts are kept, and both sides close when both have ended', async () => {
  const { client, peer, piped, done } = await setUp();
  client.end('to the peer');
  assert.is((await readStream(peer)).toString(), 'to the peer');
  await peer.write(Buffer.from('to the client'));
  await peer.end();
  assert.is((await readAll(client)).toString(), 'to the client');
  assert.equal(await piped, { sentBytes: 11, receivedBytes: 13, error: undefined });
  done();
});

test('after the client has ended, the peer goes on for as long as it likes', async () => {
  const { client, peer, piped, done } = await setUp();
  client.end();
  assert.is(await peer.read(), undefined);
  const got = readAll(client);
  for (let i = 0; i < 5; i++) {
    await sleep(10);
    await peer.write(Buffer.from(`part ${i};`));
  }
  await peer.end();
  assert.is((await got).toString(), 'part 0;part 1;part 2;part 3;part 4;');
  assert.is((await piped).error, undefined);
  done();
});

test('after the peer has ended, the client goes on for as long as it likes', async () => {
  const { client, peer, piped, done } = await setUp();
  await peer.end();
  await readAll(client);
  for (let i = 0; i < 5; i++) {
    await sleep(10);
    client.write(`part ${i};`);
  }
  client.end();
  assert.is((await readStream(peer)).toString(), 'part 0;part 1;part 2;part 3;part 4;');
  assert.is((await piped).error, undefined);
  done();
});

test('a reset of the client becomes a reset inside the tunnel', async () => {
  const { client, peer, piped, done } = await setUp();
  client.resetAndDestroy();
  const error = await peer.read().catch(codeOf);
  assert.is(error, 'ERR_CONNECTION_RESET');
  assert.is(codeOf((await piped).error), 'ECONNRESET');
  done();
});

test('a reset of the client after it has ended becomes a reset as soon as the peer writes', async () => {
  const { client, peer, piped, done } = await setUp();
  client.end();
  assert.is(await peer.read(), undefined);
  await peer.write(new Uint8Array(10));
  await sleep(10);
  client.resetAndDestroy();
  let code = '';
  while (code === '') {
    await sleep(5);
    code = await peer.write(new Uint8Array(10)).then(() => '', codeOf);
  }
  assert.is(code, 'ERR_CONNECTION_RESET');
  assert.ok((await piped).error);
  done();
});

test('a reset inside the tunnel becomes a reset of the client', async () => {
  const { client, peer, piped, done, reset } = await setUp();
  peer.abort();
  await closed(client);
  assert.is(reset(), 'ECONNRESET');
  assert.is(codeOf((await piped).error), 'ERR_CONNECTION_RESET');
  done();
});

test('a reset inside the tunnel after the peer has ended becomes a reset of the client', async () => {
  const { client, peer, piped, done, reset } = await setUp();
  await peer.end();
  await readAll(client);
  peer.abort();
  assert.is(codeOf((await piped).error), 'ERR_CONNECTION_RESET');
  // Node watches an ended socket no more: the client hears of it when it writes.
  const writing = setInterval(() => client.write('?'), 5);
  await closed(client);
  clearInterval(writing);
  assert.match(reset(), /^(ECONNRESET|EPIPE)$/);
  done();
});

test('a peer that does not read stops the client from writing', async () => {
  const { client, stream, peer, piped, done } = await setUp();
  const piece = new Uint8Array(65_536).fill(7);
  let handed = 0;
  while (handed < 64 * 1_048_576 && client.writableLength < 4 * 1_048_576) {
    client.write(piece);
    handed += piece.length;
    if (handed % (16 * piece.length) === 0) await sleep(1);
  }
  await sleep(50);
  assert.ok(client.writableLength > 1_048_576, 'the client was never held up');
  assert.ok(stream.inFlight <= 3 * PIPE_BYTES, `${stream.inFlight} bytes wait inside the tunnel`);
  client.end();
  assert.is((await readStream(peer)).length, handed);
  await peer.end();
  await readAll(client);
  assert.is((await piped).sentBytes, handed);
  done();
});

test('a client that does not read stops the peer from writing', async () => {
  const { client, near, peer, piped, done } = await setUp();
  client.pause();
  const piece = new Uint8Array(65_536).fill(9);
  let written = 0;
  let isHeldUp = false;
  let writing = Promise.resolve();
  while (!isHeldUp && written < 256 * 1_048_576) {
    writing = peer.write(piece);
    isHeldUp = await Promise.race([writing.then(() => false), sleep(300, true)]);
    written += piece.length;
  }
  assert.ok(isHeldUp, 'the peer was never held up');
  assert.ok(near.writableLength <= 3 * 65_536, `${near.writableLength} bytes wait in the process`);
  const got = readAll(client);
  client.resume();
  await writing;
  await peer.end();
  assert.is((await got).length, written);
  client.end();
  assert.is((await piped).receivedBytes, written);
  done();
});

test('a connection can be reset at any moment of its end, and always closes', async () => {
  for (let turn = 0; turn < 6; turn++) {
    const { near, far, done } = await socketPair();
    near.resume();
    if (turn > 1) near.write('x'.repeat(turn > 3 ? 3_000_000 : 1));
    near.end();
    for (let i = 0; i < turn % 2; i++) await new Promise(resolve => process.nextTick(resolve));
    let isClosed = false;
    near.once('close', () => {
      isClosed = true;
    });
    resetSocket(near);
    await until(() => isClosed, `the close in turn ${turn}`, 2000);
    far.resume();
    done();
  }
});

test('a silent connection is probed on both sides', async () => {
  const { client, stream, done } = await setUp();
  assert.is(stream.keepAliveMs, KEEPALIVE_MS);
  client.resetAndDestroy();
  done();
});

test.run();
