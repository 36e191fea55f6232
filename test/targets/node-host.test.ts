/** What the contracts cannot reach on Node: a kernel without IPv6, a failing socket, suspend, file modes, a torn store. */
import { Socket } from 'node:dgram';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { NetError } from '../../lib/base/errors.ts';
import { SecretKey } from '../../lib/crypto/keys.ts';
import type { DatagramSink } from '../../lib/ports.ts';
import { openDgram, SenderCache } from '../../targets/node/datagrams.ts';
import { host, up } from '../../targets/node/index.ts';
import { SendQueue } from '../../targets/node/send-queue.ts';
import { fileStore } from '../../targets/node/store.ts';
import { createClock } from '../../targets/node/system.ts';
import { eventually } from '../contract/wait.ts';

const test = suite('node host');
const TRAITS = { setsBuffers: true, sendsAtOnce: true };

interface Failures extends DatagramSink {
  readonly errors: NetError[];
}

function recordFailures(): Failures {
  const errors: NetError[] = [];
  return { errors, datagram: () => undefined, failed: error => errors.push(error) };
}

/** Runs `body` while binding to an IPv6 address fails with the given code. */
async function withoutV6(code: string, body: () => Promise<void>): Promise<void> {
  const original = Socket.prototype.bind;
  const failing = function (this: Socket, port: number, address: string, done: () => void) {
    if (!address.includes(':')) return Reflect.apply(original, this, [port, address, done]);
    queueMicrotask(() => this.emit('error', Object.assign(new Error(code), { code })));
    return this;
  };
  Socket.prototype.bind = failing as typeof original;
  try {
    await body();
  } finally {
    Socket.prototype.bind = original;
  }
}

test('on a kernel without IPv6 there is one socket, which refuses IPv6', () =>
  withoutV6('EAFNOSUPPORT', async () => {
    const socket = await openDgram({ port: 0 }, recordFailures(), TRAITS);
    assert.equal(
      socket.local.map(({ address }) => address),
      ['0.0.0.0'],
    );
    assert.is(socket.send(new Uint8Array(1), 0, 1, { address: '::1', port: 9 }), false);
    assert.is(socket.send(new Uint8Array(1), 0, 1, { address: '127.0.0.1', port: 9 }), true);
    socket.close();
  }));

test('when no port is free for both families, the search ends with ERR_ADDRESS_IN_USE', () =>
  withoutV6('EADDRINUSE', async () => {
    const error = await openDgram({ port: 0 }, recordFailures(), TRAITS).then(
      () => undefined,
      (reason: NetError) => reason,
    );
    assert.is(error?.code, 'ERR_ADDRESS_IN_USE');
  }));

/** Opens a socket and returns Node's own socket below it. */
async function openWithInside(sink: DatagramSink) {
  const inside: Socket[] = [];
  const original = Socket.prototype.bind;
  Socket.prototype.bind = function (this: Socket, ...args: Parameters<typeof original>) {
    inside.push(this);
    return original.apply(this, args);
  } as typeof original;
  const socket = await openDgram({ port: 0, address: '127.0.0.1' }, sink, TRAITS);
  Socket.prototype.bind = original;
  return { socket, inside: inside[0]! };
}

test('an error about one datagram passes, any other ends the socket and is told once', async () => {
  const sink = recordFailures();
  const { socket, inside } = await openWithInside(sink);
  inside.emit('error', Object.assign(new Error('refused'), { code: 'ECONNREFUSED' }));
  assert.is(socket.send(new Uint8Array(1), 0, 1, socket.local[0]!), true);
  for (let i = 0; i < 2; i++) inside.emit('error', Object.assign(new Error('gone'), { code: 'EBADF' }));
  assert.equal(
    sink.errors.map(({ code }) => code),
    ['ERR_CLOSED'],
  );
  assert.is(socket.send(new Uint8Array(1), 0, 1, socket.local[0]!), false);
});

test('sending needs no name look-up', async () => {
  const { socket, inside } = await openWithInside(recordFailures());
  let isSent = false;
  inside.once('message', () => {
    isSent = true;
  });
  const before = inside.getSendQueueCount();
  socket.send(Uint8Array.of(1), 0, 1, socket.local[0]!);
  assert.is(inside.getSendQueueCount(), before); // the kernel has it already, within the call
  await eventually(() => isSent);
  socket.close();
});

test('senders keep their address object, and a flood of new ones stays bounded', () => {
  const cache = new SenderCache();
  const first = cache.endpoint('192.0.2.1', 5);
  assert.is(cache.endpoint('192.0.2.1', 5), first);
  cache.endpoint('192.0.2.2', 5);
  assert.is(cache.endpoint('192.0.2.1', 5), first);
  assert.is.not(cache.endpoint('192.0.2.1', 6), first);
  for (let i = 0; i < 10_000; i++) cache.endpoint(`10.0.${i >> 8}.${i & 255}`, 1);
  assert.equal(cache.endpoint('192.0.2.1', 5), { address: '192.0.2.1', port: 5 });
  assert.is.not(cache.endpoint('192.0.2.1', 5), first);
});

test('a send queue keeps order and bytes, refuses more than 1,024, and goes on after a failure', async () => {
  const sent: number[] = [];
  let release = () => {};
  const gate = new Promise<void>(resolve => {
    release = resolve;
  });
  const queue = new SendQueue(async bytes => {
    await gate;
    sent.push(bytes[0]! * 256 + bytes[bytes.length - 1]!);
    if (sent.length === 2) throw new Error('no route');
  });
  const to = { address: '192.0.2.1', port: 1 };
  let taken = 0;
  for (let i = 0; i < 1500; i++) if (queue.send(Uint8Array.of(i >> 8, i), 0, 2, to)) taken++;
  assert.is(taken, 1025); // one of them is under way
  release();
  await eventually(() => sent.length === taken);
  assert.equal(
    sent,
    Array.from({ length: taken }, (_, i) => i),
  );
  for (let i = 0; i < 3000; i++) {
    assert.ok(queue.send(new Uint8Array(i % 2 === 0 ? 10 : 5000).fill(7), 0, i % 2 === 0 ? 10 : 5000, to));
    if (i % 500 === 0) await eventually(() => sent.length === taken + i + 1);
  }
  await eventually(() => sent.length === taken + 3000);
});

test('the monotonic clock goes on during suspend, and steps of less than the uptime can tell do not count', () => {
  let monotonic = 5000;
  let uptime = 100;
  const clock = createClock(
    () => monotonic,
    () => uptime,
  );
  const advance = (awakeMs: number, asleepMs: number) => {
    monotonic += awakeMs;
    uptime += (awakeMs + asleepMs) / 1000;
  };
  advance(2000, 0);
  assert.is(clock.nowMs(), 7000);
  advance(1000, 1400);
  assert.is(clock.nowMs(), 8000);
  advance(1000, 3_600_000);
  assert.is(clock.nowMs(), 9000 + 3_601_400);
  advance(5000, 0);
  assert.is(clock.nowMs(), 14_000 + 3_601_400);
});

let folder = '';
test.before.each(() => {
  folder = mkdtempSync(join(tmpdir(), 'motenet-host-'));
});
test.after.each(() => rmSync(folder, { recursive: true, force: true }));

test('the store is for its owner only, and leaves nothing beside the values', () => {
  const directory = join(folder, 'a', 'state');
  const store = fileStore(directory);
  assert.is(store.load('key'), undefined);
  assert.not.ok(existsSync(directory));
  store.save('key', Uint8Array.of(1));
  store.save('key', Uint8Array.of(2));
  assert.is(statSync(directory).mode & 0o777, 0o700);
  assert.is(statSync(join(directory, 'key')).mode & 0o777, 0o600);
  assert.equal(readdirSync(directory), ['key']);
});

test('what a crash left half written is not read, and does not stand in the way', () => {
  const store = fileStore(folder);
  store.save('key', Uint8Array.of(1));
  writeFileSync(join(folder, `key.${process.pid}.new`), 'half');
  assert.equal(store.load('key'), Uint8Array.of(1));
  store.save('key', Uint8Array.of(2));
  assert.equal(store.load('key'), Uint8Array.of(2));
  assert.equal(readdirSync(folder), ['key']);
});

test('a store that cannot be used gives ERR_STORE and keeps the old value', () => {
  const store = fileStore(folder);
  const isStoreError = (error: NetError) => error.name === 'NetError' && error.code === 'ERR_STORE';
  mkdirSync(join(folder, 'key'));
  assert.throws(() => store.load('key'), isStoreError);
  assert.throws(() => store.save('key', Uint8Array.of(1)), isStoreError);
  assert.equal(readdirSync(folder), ['key']);
  writeFileSync(join(folder, 'file'), '');
  assert.throws(() => fileStore(join(folder, 'file')).save('a', Uint8Array.of(1)), isStoreError);
});

test('what prints a mote shows nothing of its inside, such as its store', async () => {
  const mote = await up({ privateKey: SecretKey.generate(host.random), addresses: ['10.0.0.1/24'], peers: [] });
  assert.equal([JSON.stringify(mote), Reflect.ownKeys(mote)], ['{}', []]);
  await mote.close();
});

test.run();
