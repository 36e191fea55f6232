/**
 * What every `Host` promises beside its sockets: clocks, timer, deferral, randomness, names.
 */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { canonicalAddress, parsePrefix, parseAddress, prefixContains } from '../../lib/base/address.ts';
import type { NetError } from '../../lib/base/errors.ts';
import type { Host, Timer } from '../../lib/ports.ts';
import { eventually, pause } from './wait.ts';

/** Timers may be this late on a busy machine. */
const LATE_MS = 250;

/** Tests of both clocks. */
export function clockContract(name: string, host: Host): void {
  const test = suite(`${name}: clock`);

  test('the monotonic clock never goes back and keeps pace with real time', async () => {
    const started = host.clock.nowMs();
    let last = started;
    for (let i = 0; i < 1000; i++) {
      const now = host.clock.nowMs();
      assert.ok(now >= last);
      last = now;
    }
    await pause(50);
    const passed = host.clock.nowMs() - started;
    assert.ok(passed >= 45 && passed < 50 + 4 * LATE_MS, `${passed} ms for 50`);
  });

  test('the wall clock is in milliseconds since 1970', () => {
    assert.ok(Math.abs(host.clock.unixMs() - Date.now()) < 1000);
  });

  test.run();
}

/** Tests of the timer. */
export function timerContract(name: string, host: Host): void {
  const test = suite(`${name}: timer`);
  const timers: Timer[] = [];

  function create(): { timer: Timer; fired: number[] } {
    const fired: number[] = [];
    const timer = host.createTimer(() => fired.push(host.clock.nowMs()));
    timers.push(timer);
    return { timer, fired };
  }

  test.after.each(() => {
    for (const timer of timers.splice(0)) timer.cancel();
  });

  test('it fires once, never early, and not much late', async () => {
    const { timer, fired } = create();
    for (const delay of [1, 5, 17.3, 40]) {
      const at = host.clock.nowMs() + delay;
      fired.length = 0;
      timer.arm(at);
      await eventually(() => fired.length > 0);
      assert.ok(fired[0]! >= at, `fired ${at - fired[0]!} ms early`);
      assert.ok(fired[0]! < at + LATE_MS, `fired ${fired[0]! - at} ms late`);
    }
    await pause(60);
    assert.is(fired.length, 1);
  });

  test('a deadline that has passed fires soon, but not within the call', async () => {
    const { timer, fired } = create();
    timer.arm(host.clock.nowMs() - 1000);
    assert.is(fired.length, 0);
    await eventually(() => fired.length === 1);
  });

  test('arming again replaces the deadline: later', async () => {
    const { timer, fired } = create();
    const now = host.clock.nowMs();
    timer.arm(now + 10);
    timer.arm(now + 60);
    await eventually(() => fired.length > 0);
    assert.ok(fired[0]! >= now + 60);
    await pause(30);
    assert.is(fired.length, 1);
  });

  test('arming again replaces the deadline: earlier', async () => {
    const { timer, fired } = create();
    const now = host.clock.nowMs();
    timer.arm(now + 60_000);
    timer.arm(now + 10);
    await eventually(() => fired.length > 0);
    assert.ok(fired[0]! < now + 10 + LATE_MS);
  });

  test('it can be armed again from within its call', async () => {
    let count = 0;
    const timer = host.createTimer(() => {
      count++;
      if (count < 5) timer.arm(host.clock.nowMs() + 1);
    });
    timers.push(timer);
    timer.arm(host.clock.nowMs());
    await eventually(() => count === 5);
  });

  test('cancelled or armed for never, it does not fire; cancelling twice is fine', async () => {
    const { timer, fired } = create();
    timer.arm(host.clock.nowMs() + 10);
    timer.cancel();
    timer.cancel();
    await pause(40);
    assert.is(fired.length, 0);
    timer.arm(host.clock.nowMs() + 10);
    timer.arm(Number.POSITIVE_INFINITY);
    await pause(40);
    assert.is(fired.length, 0);
    timer.arm(host.clock.nowMs() + 1);
    await eventually(() => fired.length === 1);
  });

  test('a deadline years away does not fire now', async () => {
    const { timer, fired } = create();
    timer.arm(host.clock.nowMs() + 1e13);
    await pause(40);
    assert.is(fired.length, 0);
  });

  test('two timers do not disturb each other', async () => {
    const a = create();
    const b = create();
    const now = host.clock.nowMs();
    a.timer.arm(now + 20);
    b.timer.arm(now + 5);
    b.timer.cancel();
    await eventually(() => a.fired.length === 1);
    assert.is(b.fired.length, 0);
  });

  test.run();
}

/** Tests of `defer`. */
export function deferContract(name: string, host: Host): void {
  const test = suite(`${name}: defer`);

  test('work runs later, once, in order, and may defer more', async () => {
    const order: number[] = [];
    host.defer(() => {
      order.push(1);
      host.defer(() => order.push(3));
    });
    host.defer(() => order.push(2));
    assert.equal(order, []);
    await eventually(() => order.length === 3);
    await pause(10);
    assert.equal(order, [1, 2, 3]);
  });

  test('it does not wait for a timer tick', async () => {
    const started = host.clock.nowMs();
    for (let i = 0; i < 200; i++) await new Promise<void>(resolve => host.defer(resolve));
    assert.ok(host.clock.nowMs() - started < 200, `${host.clock.nowMs() - started} ms for 200 turns`);
  });

  test.run();
}

/** Tests of the random generator. */
export function randomContract(name: string, host: Host): void {
  const test = suite(`${name}: random`);

  test('it fills exactly the given bytes, each time differently', () => {
    const memory = new Uint8Array(96);
    host.random(memory.subarray(32, 64));
    assert.ok(memory.subarray(0, 32).every(byte => byte === 0));
    assert.ok(memory.subarray(64).every(byte => byte === 0));
    const first = memory.slice(32, 64);
    host.random(memory.subarray(32, 64));
    assert.not.equal(memory.slice(32, 64), first);
    assert.ok(new Set(first).size > 16);
  });

  test('it fills nothing, and more than a single system call gives', () => {
    host.random(new Uint8Array(0));
    const large = new Uint8Array(200_001);
    host.random(large);
    for (const from of [0, 65_536, 131_072, 196_608]) {
      const counts = new Set(large.subarray(from, Math.min(from + 4096, large.length)));
      assert.ok(counts.size > 200, `bytes from ${from}`);
    }
    assert.ok(large.subarray(-64).some(byte => byte !== 0));
  });

  test.run();
}

/** Networks whose addresses mean nothing to others, or belong to a tailnet. */
const USELESS = ['127.0.0.0/8', '::1/128', 'fe80::/10', '::/128', '0.0.0.0/8', '100.64.0.0/10', 'fd7a:115c:a1e0::/48'];

/** Tests of the machine's addresses; `hasAny`: whether the machine is known to have one that others could use. */
export function interfacesContract(name: string, host: Host, hasAny: boolean): void {
  const test = suite(`${name}: interfaces`);

  test('each address is canonical, there once, and of use to others', () => {
    const addresses = host.interfaces!();
    assert.is(addresses.length > 0, hasAny, addresses.join(' '));
    assert.is(new Set(addresses).size, addresses.length);
    for (const address of addresses) {
      assert.is(canonicalAddress(address), address);
      const bytes = parseAddress(address)!;
      for (const text of USELESS) {
        const prefix = parsePrefix(text)!;
        const isInside = prefix.bytes.length === bytes.length && prefixContains(prefix, bytes);
        assert.not(isInside, `${address} is in ${text}`);
      }
    }
  });

  test('each address is this machine’s: a socket there gets what is sent to it', async () => {
    for (const address of host.interfaces!()) {
      const got: number[] = [];
      const failed = (error: NetError) => {
        throw error;
      };
      const datagram = (buf: Uint8Array, start: number) => void got.push(buf[start]!);
      const socket = await host.openDatagrams({ port: 0, address }, { datagram, failed });
      assert.ok(socket.send(Uint8Array.of(7), 0, 1, { address, port: socket.local[0]!.port }));
      await eventually(() => got.length > 0);
      assert.equal(got, [7]);
      socket.close();
    }
  });

  test('it may be asked again, and what it gave does not change', () => {
    const first = host.interfaces!();
    const copy = [...first];
    assert.equal(host.interfaces!(), copy);
    assert.equal(first, copy);
  });

  test.run();
}

/** Tests of name resolution, with names that need no network. */
export function resolveContract(name: string, host: Host): void {
  const test = suite(`${name}: resolve`);

  test('localhost has a loopback address', async () => {
    const addresses = await host.resolve('localhost');
    assert.ok(addresses.includes('127.0.0.1') || addresses.includes('::1'), addresses.join(' '));
  });

  test('a name that cannot exist gives ERR_NAME_NOT_FOUND', async () => {
    const error = await host.resolve('no-such-name.invalid').then(
      () => undefined,
      (reason: NetError) => reason,
    );
    assert.is(error?.name, 'NetError');
    assert.is(error?.code, 'ERR_NAME_NOT_FOUND');
  });

  test.run();
}
