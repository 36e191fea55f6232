import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { writeU32BE } from '../../lib/base/bytes.ts';
import { NetError } from '../../lib/base/errors.ts';
import { createClock } from '../../targets/moddable/clock.ts';
import { configOptions, forgetAuthKey, readDeviceConfig } from '../../targets/moddable/device-config.ts';
import { createRandom } from '../../targets/moddable/entropy.ts';
import { createModdableHost } from '../../targets/moddable/host.ts';
import type { UdpClass, UdpIoOptions, UdpMessage } from '../../targets/moddable/io.ts';
import { fetchTime, readAnswer } from '../../targets/moddable/sntp.ts';
import { preferenceStore } from '../../targets/moddable/store.ts';
import { seededRandom } from '../sim/memory-host.ts';
import { MemoryIo, MemoryPreference, soon, timer } from './memory-io.ts';

const test = suite('Moddable ports');

test('the clock goes on where the 32-bit counter wraps, and never back', () => {
  let ticks = 2 ** 31 - 10;
  const clock = createClock({ ticks: () => ticks | 0, unixMs: () => 5 });
  assert.is(clock.nowMs(), 0);
  ticks += 25;
  assert.is(clock.nowMs(), 25);
  ticks += 2 ** 31 - 1;
  assert.is(clock.nowMs(), 25 + 2 ** 31 - 1);
  ticks -= 1000;
  assert.is(clock.nowMs(), 25 + 2 ** 31 - 1);
  assert.is(clock.unixMs(), 5);
});

test('without a generator, or with one that is stuck, no byte is given', () => {
  assert.throws(() => createRandom(undefined)(new Uint8Array(1)), /no random generator/);
  for (const value of [0, 255, 7])
    assert.throws(() => createRandom(out => out.fill(value))(new Uint8Array(32)), /stuck/);
  const out = new Uint8Array(32);
  createRandom(seededRandom(3))(out);
  assert.ok(new Set(out).size > 16);
  createRandom(bytes => bytes.fill(0))(new Uint8Array(1)); // one byte may well be zero
});

test('power that fails at any moment leaves the value before, or the one after', () => {
  for (let failAfter = 0; failAfter <= 8; failAfter++) {
    const preference = new MemoryPreference();
    const store = preferenceStore(preference);
    for (let turn = 1; turn <= 3; turn++) store.save('key', Uint8Array.of(turn));
    preference.failAfter = failAfter;
    let saved = 3;
    try {
      for (let turn = 4; turn <= 6; turn++) {
        store.save('key', Uint8Array.of(turn));
        saved = turn;
      }
    } catch (error) {
      assert.is((error as NetError).code, 'ERR_STORE');
    }
    preference.failAfter = Number.POSITIVE_INFINITY;
    assert.equal(preferenceStore(preference).load('key'), Uint8Array.of(saved), `after ${failAfter}`);
  }
});

test('a value that is removed never gives way to an older one, whenever power fails', () => {
  for (let failAfter = 0; failAfter <= 2; failAfter++) {
    const preference = new MemoryPreference();
    const store = preferenceStore(preference);
    store.save('key', Uint8Array.of(1));
    store.save('key', Uint8Array.of(2));
    preference.failAfter = failAfter;
    try {
      store.remove('key');
    } catch {
      // power failed
    }
    preference.failAfter = Number.POSITIVE_INFINITY;
    const left = preferenceStore(preference).load('key');
    assert.ok(left === undefined || left[0] === 2, `${left} after ${failAfter}`);
  }
});

test('a value is the newest one after hundreds of changes, and a copy that is no value is ignored', () => {
  const preference = new MemoryPreference();
  const store = preferenceStore(preference);
  for (let turn = 0; turn < 600; turn++) {
    store.save('key', Uint8Array.of(turn >> 8, turn));
    assert.equal(store.load('key'), Uint8Array.of(turn >> 8, turn));
  }
  preference.set('motenetb', 'other', 'text');
  assert.is(store.load('other'), undefined);
  store.save('other', Uint8Array.of(9));
  assert.equal(store.load('other'), Uint8Array.of(9));
  for (const domain of ['', 'a'.repeat(15), 'A', 'a/b'])
    assert.throws(() => preferenceStore(preference, domain), /domain/);
});

test('a store that throws is an ERR_STORE', () => {
  const broken = {
    get: () => {
      throw new Error('nvs get fail');
    },
    set: () => undefined,
    delete: () => undefined,
  };
  for (const act of [
    () => preferenceStore(broken).load('key'),
    () => preferenceStore(broken).save('key', Uint8Array.of(1)),
    () => preferenceStore(broken).remove('key'),
  ])
    assert.throws(act, (error: NetError) => error instanceof NetError && error.code === 'ERR_STORE');
});

test('own addresses are those of use to others', () => {
  const interfaces = (...addresses: (string | undefined)[]) =>
    createModdableHost(new MemoryIo().io({ addresses: () => addresses })).interfaces!();
  assert.equal(interfaces('192.168.1.7', undefined, '127.0.0.1', '192.168.1.7'), ['192.168.1.7']);
  assert.equal(interfaces('0.0.0.0', '100.64.0.9', 'fe80::1', 'nonsense'), []);
  assert.equal(interfaces('169.254.3.4'), ['169.254.3.4']);
  assert.equal(interfaces('169.254.3.4', '10.0.0.3'), ['10.0.0.3']);
});

test('a name resolves to what the host says, in canonical form, or not at all', async () => {
  const host = createModdableHost(
    new MemoryIo().io({
      resolve: (name, done) => {
        if (name === 'throws') throw new Error('no memory');
        soon(() => done(name === 'net.test' ? '192.0.2.9' : name === 'odd' ? 'odd' : undefined));
      },
    }),
  );
  assert.equal(await host.resolve('net.test'), ['192.0.2.9']);
  for (const name of ['gone.test', 'odd', 'throws']) {
    const error = await host.resolve(name).catch((reason: NetError) => reason);
    assert.is((error as NetError).code, 'ERR_NAME_NOT_FOUND');
  }
});

const UNIX_EPOCH_S = 2_208_988_800;

/** An honest answer to a request. */
function answer(request: Uint8Array, seconds: number): Uint8Array {
  const out = new Uint8Array(48);
  out[0] = 0x24;
  out[1] = 2;
  out.set(request.subarray(40, 48), 24);
  writeU32BE(out, 40, (seconds + UNIX_EPOCH_S) % 2 ** 32);
  return out;
}

test('an answer of a time server counts only when it is one to this question', () => {
  const request = new Uint8Array(48).map((_, i) => i + 1);
  assert.is(readAnswer(answer(request, 1_790_000_000), request), 1_790_000_000);
  assert.is(readAnswer(answer(request, 2_100_000_000), request), 2_100_000_000); // after 2036, era 1
  const change = (at: number, value: number) => {
    const bytes = answer(request, 1_790_000_000);
    bytes[at] = value;
    return bytes;
  };
  assert.is(readAnswer(change(0, 0x23), request), undefined); // a client
  assert.is(readAnswer(change(0, 0xe4), request), undefined); // not synchronised
  for (const stratum of [0, 16]) assert.is(readAnswer(change(1, stratum), request), undefined);
  for (let at = 24; at < 32; at++) assert.is(readAnswer(change(at, 0), request), undefined);
  assert.is(readAnswer(answer(request, 1_790_000_000).slice(0, 47), request), undefined);
  const zero = answer(request, 1_790_000_000);
  zero.fill(0, 40, 44);
  assert.is(readAnswer(zero, request), undefined);
});

/** A UDP class whose datagrams a function answers. */
function timeServers(reply: (request: Uint8Array, address: string) => readonly { from: string; bytes: Uint8Array }[]) {
  const asked: string[] = [];
  let open = 0;
  const UDP = class {
    readonly #options: UdpIoOptions;
    readonly #queue: UdpMessage[] = [];
    constructor(options: UdpIoOptions) {
      this.#options = options;
      open++;
    }
    read(): UdpMessage | undefined {
      return this.#queue.shift();
    }
    write(request: Uint8Array, address: string): void {
      asked.push(address);
      for (const { from, bytes } of reply(request.slice(), address))
        this.#queue.push(Object.assign(bytes.buffer as ArrayBuffer, { address: from, port: 123 }));
      soon(() => this.#options.onReadable?.(this.#queue.length));
    }
    close(): void {
      open--;
    }
  } as UdpClass;
  const io = {
    UDP,
    timer,
    random: seededRandom(5),
    resolve: async (name: string) => {
      if (name === 'gone') throw new NetError('ERR_NAME_NOT_FOUND', 'gone');
      return [name];
    },
  };
  return { io, asked, open: () => open };
}

test('the time comes from the first server that answers; forged answers before it do not count', async () => {
  const world = timeServers((request, address) => {
    if (address !== '192.0.2.2') return [];
    const forged = answer(new Uint8Array(48), 1_999_000_000);
    const elsewhere = { from: '192.0.2.66', bytes: answer(request, 1_998_000_000) };
    return [{ from: address, bytes: forged }, elsewhere, { from: address, bytes: answer(request, 1_790_000_000) }];
  });
  assert.is(await fetchTime(world.io, ['gone', '192.0.2.1', '192.0.2.2'], 5000), 1_790_000_000);
  assert.equal(world.asked, ['192.0.2.1', '192.0.2.2']);
  assert.is(world.open(), 0);
});

test('without an answer, or a server, there is no time, and nothing stays open', async () => {
  const silent = timeServers(() => []);
  assert.is(await fetchTime(silent.io, ['192.0.2.1'], 1000), undefined);
  assert.is(silent.open(), 0);
  for (const servers of [[], ['gone']]) assert.is(await fetchTime(silent.io, servers, 1000), undefined);
});

test('a device is told by its storage how to join; what is missing is named', () => {
  const preference = new MemoryPreference();
  assert.throws(() => readDeviceConfig(preference), /"ssid" is missing/);
  preference.set('device', 'ssid', 'Home');
  assert.throws(() => readDeviceConfig(preference), /"control" is missing/);
  preference.set('device', 'control', 'https://net.test:8443/x');
  assert.equal(readDeviceConfig(preference), { ssid: 'Home', control: 'https://net.test:8443/x' });
  preference.set('device', 'password', 'secret');
  preference.set('device', 'auth-key', 'mote-auth-1');
  preference.set('device', 'name', 'sensor-1');
  preference.set('device', 'pin', 'sha256//abc');
  const config = readDeviceConfig(preference);
  assert.equal(configOptions(config), {
    control: 'https://net.test:8443/x',
    authKey: 'mote-auth-1',
    name: 'sensor-1',
    pins: { 'net.test': 'sha256//abc' },
  });
  forgetAuthKey(preference);
  assert.equal(readDeviceConfig(preference).authKey, undefined);
  assert.equal(configOptions({ ssid: 'x', control: 'http://10.0.0.1:8080', pin: 'sha256//abc' }), {
    control: 'http://10.0.0.1:8080',
  });
});

test.run();
