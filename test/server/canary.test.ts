/**
 * Secrets as canaries: motes join a server over real sockets, talk, are refused, ask for what they may not have, and
 * leave. Everything that any socket of either side was given, everything inside Noise and inside TLS, and everything that
 * is logged, shown, thrown or stored is searched for every private key, auth key and token.
 */
import { Socket as DatagramSocket } from 'node:dgram';
import { readdirSync, readFileSync } from 'node:fs';
import { Socket } from 'node:net';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { toBase64, toHex } from '../../lib/base/bytes.ts';
import type { AdminResults, KeyView } from '../../lib/coordinator/commands.ts';
import { DerpClient } from '../../lib/derp/client.ts';
import { ALL_PARTS } from '../../lib/device/parts.ts';
import { Http2Client } from '../../lib/http2/client.ts';
import { Mote } from '../../lib/mote/mote.ts';
import { host, memoryStore } from '../../targets/node/index.ts';
import { command, startTestServer, suiteOfTests, until } from './support.ts';

const test = suite('canaries');

type AnyMethod = (...args: unknown[]) => unknown;

/** What passed at one place. */
class Capture {
  readonly #chunks: Buffer[] = [];
  #restore: (() => void)[] = [];

  add(bytes: Uint8Array | string, start?: number, end?: number): void {
    this.#chunks.push(typeof bytes === 'string' ? Buffer.from(bytes) : Buffer.from(bytes.slice(start, end)));
  }

  /** Sees the arguments and the result of a method, of all objects of a class. */
  watch(prototype: object, name: string, see: (args: unknown[], result: unknown) => void): void {
    const methods = prototype as Record<string, AnyMethod>;
    const original = methods[name]!;
    methods[name] = function (this: unknown, ...args: unknown[]) {
      const result = original.apply(this, args);
      see(args, result);
      return result;
    };
    this.#restore.push(() => {
      methods[name] = original;
    });
  }

  stop(): void {
    for (const restore of this.#restore) restore();
  }

  get bytes(): Buffer {
    return Buffer.concat(this.#chunks);
  }
}

const addWritten = (capture: Capture) => (args: unknown[]) => {
  const [data] = args;
  if (typeof data === 'string' || data instanceof Uint8Array) capture.add(data);
};

/** Raw bytes of all sockets of this process: the server's and the motes'. */
function captureWire(): Capture {
  const capture = new Capture();
  capture.watch(Socket.prototype, 'write', addWritten(capture));
  capture.watch(Socket.prototype, 'end', addWritten(capture));
  capture.watch(DatagramSocket.prototype, 'send', addWritten(capture));
  return capture;
}

type Poll = [out: Uint8Array, start: number, end: number];
type Handle = [nowMs: number, buf: Uint8Array, start: number, end: number];

/** What the clients of one protocol say, and what they are told, without the encryption around it. */
function captureInside(prototype: object): { said: Capture; told: Capture } {
  const [said, told] = [new Capture(), new Capture()];
  said.watch(prototype, 'pollBytes', (args, length) => {
    const [out, start] = args as Poll;
    said.add(out, start, start + (length as number));
  });
  told.watch(prototype, 'handleBytes', args => {
    const [, buf, start, end] = args as Handle;
    told.add(buf, start, end);
  });
  return { said, told };
}

/** All the ways in which a key could be written. */
function formsOf(secret: Uint8Array): Buffer[] {
  const base64 = toBase64(secret);
  const texts = [toHex(secret), toHex(secret).toUpperCase(), base64, base64.replaceAll('+', '-').replaceAll('/', '_')];
  return [Buffer.from(secret), ...texts.map(text => Buffer.from(text.replace(/=+$/, '')))];
}

function count(haystack: Buffer, needle: Buffer | string): number {
  let found = 0;
  for (let at = haystack.indexOf(needle); at >= 0; at = haystack.indexOf(needle, at + 1)) found++;
  return found;
}

/** Everything that motes draw as a key: 32 bytes at once, as drawn and as clamped. */
function canaryHost(drawn: Uint8Array[]): typeof host {
  const random = (out: Uint8Array) => {
    host.random(out);
    if (out.length !== 32) return;
    const clamped = out.slice();
    clamped[0]! &= 248;
    clamped[31] = (clamped[31]! & 127) | 64;
    drawn.push(out.slice(), clamped);
  };
  return { ...host, random };
}

test('no private key, auth key or token is where it does not belong', async () => {
  const drawn: Uint8Array[] = [];
  const shown: unknown[] = [];
  const { server, folder, lines, stop } = await startTestServer();
  const { token } = await command<AdminResults['token-create']>(server, { type: 'token-create', tailnet: 'default' });
  const newKey = async () => (await command<KeyView>(server, { type: 'key-create', tailnet: 'default' })).key!;
  const [one, two, wrong] = [await newKey(), await newKey(), `mote-auth-0123456789ab-${'w'.repeat(43)}`];
  const canaries = canaryHost(drawn);
  const stores = [memoryStore(), memoryStore()];
  const up = (authKey: string, name: string, store = memoryStore()) => {
    const onEvent = (event: unknown) => void shown.push(event, inspect(event, { depth: 9, showHidden: true }));
    return Mote.up(canaries, suiteOfTests, { control: server.url, authKey, name, store, onEvent }, ALL_PARTS);
  };

  const wire = captureWire();
  const [control, relay] = [captureInside(Http2Client.prototype), captureInside(DerpClient.prototype)];
  const alice = await up(one, 'alice', stores[0]);
  const bob = await up(two, 'bob', stores[1]);
  await alice.serve(() => new Response('inside\n'));
  assert.is(await (await bob.fetch('http://alice/')).text(), 'inside\n');
  for (const key of [one, wrong]) {
    const error = await up(key, 'mallory').catch(failure => failure as Error);
    shown.push(String(error), inspect(error, { depth: 9, showHidden: true }));
  }
  for (const path of ['/api/v1/status', '/register/0123456789abcdef', '/nothing', '/key?v=113'])
    shown.push(await (await fetch(server.url + path)).text());
  const authorized = { headers: { authorization: `Bearer ${token}` } };
  shown.push(await (await fetch(`${server.url}/api/v1/tailnets/default/keys`, authorized)).text());
  shown.push(await (await fetch(`${server.url}/api/v1/audit`, authorized)).text());
  for (const mote of [alice, bob]) shown.push(mote.status(), inspect(mote, { depth: 12, showHidden: true }));
  shown.push(alice.whois(bob.addresses[0]!.split('/')[0]!), server.status());
  const secrets = new Map<string, Uint8Array>(drawn.map((bytes, i) => [`drawn ${i}`, bytes]));
  for (const [i, store] of stores.entries())
    for (const name of ['machine-key', 'node-key']) secrets.set(`${name} ${i}`, store.load(name)!.slice(1));
  const keyFiles = readdirSync(join(folder, 'data/keys'));
  for (const name of ['control-key', 'relay-key']) {
    assert.ok(keyFiles.includes(name), keyFiles.join());
    secrets.set(name, readFileSync(join(folder, 'data/keys', name)).subarray(-32));
  }
  await bob.logout();
  await Promise.all([alice.close(), bob.close()]);
  await until(() => server.status().controlSessions === 0, 'the end of all sessions');
  for (const { said, told } of [control, relay]) for (const capture of [said, told]) capture.stop();
  wire.stop();

  const databases = readdirSync(join(folder, 'data')).filter(name => name.startsWith('coordinator.db'));
  const places: readonly (readonly [string, Buffer])[] = [
    ['the wire', wire.bytes],
    ['what clients of the coordinator say', control.said.bytes],
    ['what the coordinator says', control.told.bytes],
    ['what clients of the relay say', relay.said.bytes],
    ['what the relay says', relay.told.bytes],
    ['the log', Buffer.from(lines.join('\n'))],
    ['what is shown', Buffer.from(shown.map(one => (typeof one === 'string' ? one : JSON.stringify(one))).join('\n'))],
    ...databases.map(name => [name, readFileSync(join(folder, 'data', name))] as const),
  ];
  // There is something to look through, and looking finds what is there.
  const nodeKey = `nodekey:${toHex(Buffer.from(alice.publicKey, 'base64'))}`;
  for (const name of ['what clients of the coordinator say', 'what the coordinator says', 'coordinator.db-wal'])
    assert.ok(count(places.find(([place]) => place === name)![1], nodeKey) > 0, `${name} names a device`);
  assert.ok(count(wire.bytes, '/ts2021') > 0 && wire.bytes.length > 20_000, `${wire.bytes.length}`);
  assert.ok(
    relay.said.bytes.length > 200 && relay.told.bytes.length > 200,
    `${relay.said.bytes.length} ${relay.told.bytes.length}`,
  );
  assert.ok(
    lines.length > 5 && shown.length > 10 && drawn.length > 10,
    `${lines.length} ${shown.length} ${drawn.length}`,
  );
  for (const [place, bytes] of places) {
    for (const [name, secret] of secrets)
      for (const form of formsOf(secret)) assert.is(count(bytes, form), 0, `${name} is in ${place}`);
    for (const key of [one, two, wrong]) {
      // Said once to the coordinator by whom it is for, the spent one once more by somebody else; and nothing else.
      const belongs = place === 'what clients of the coordinator say';
      const times = !belongs ? 0 : key === one ? 2 : 1;
      assert.is(count(bytes, key.slice(-43)), times, `${key.slice(0, 22)}… in ${place}`);
    }
    assert.is(count(bytes, token!.slice(-43)), place === 'the wire' ? 2 : 0, `the token in ${place}`);
  }
  await stop();
});

test.run();
