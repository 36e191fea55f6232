import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { DropCounters } from '../lib/base/drop.ts';
import { NetError } from '../lib/base/errors.ts';
import { Slot } from '../lib/base/slot.ts';
import type { Device, DeviceEvent } from '../lib/device/device.ts';
import { Driver } from '../lib/driver.ts';
import type { DatagramSink, Host, Store, StreamSink } from '../lib/ports.ts';

const test = suite('driver');

/** A host whose every call is written down, and a device that has `waiting` datagrams to send. */
function bench(options: { waiting: number; isFull?: boolean; floorAt?: number; store?: Store }) {
  const log: string[] = [];
  const deferred: (() => void)[] = [];
  let nowMs = 0;
  let timeoutMs = Number.POSITIVE_INFINITY;
  let waiting = options.waiting;
  let sink: DatagramSink | undefined;
  let fire = () => {};
  const drops = new DropCounters();
  const slot = new Slot(100);
  const device = {
    scratch: slot.buf,
    tunnel: { drops },
    setWallClock: (_: number, unixMs: number) => log.push(`wall ${unixMs}`),
    handleDatagram: (at: number, _: Uint8Array, start: number, end: number) => log.push(`in ${at} ${end - start}`),
    handleTimeout: (at: number) => {
      log.push(`timeout ${at}`);
      timeoutMs = Number.POSITIVE_INFINITY;
    },
    nextTimeout: () => timeoutMs,
    pollTransmit: () => {
      if (waiting === 0) return undefined;
      waiting--;
      slot.to = { address: '192.0.2.1', port: 1 };
      return slot;
    },
    pollSave: () => (waiting === options.floorAt ? new Uint8Array(12) : undefined),
    pollEvent: () => raised.shift(),
  } as unknown as Device;
  const host = {
    name: 'bench',
    clock: { nowMs: () => nowMs, unixMs: () => 5_000_000 + nowMs },
    random: () => {},
    createTimer: (run: () => void) => {
      fire = run;
      return { arm: (atMs: number) => log.push(`arm ${atMs}`), cancel: () => log.push('cancel') };
    },
    defer: (run: () => void) => deferred.push(run),
    openDatagrams: async (_: unknown, into: DatagramSink) => {
      sink = into;
      return {
        local: [],
        send: () => {
          log.push('send');
          return options.isFull !== true;
        },
        close: () => log.push('close'),
      };
    },
    openStream: (_: unknown, into: StreamSink) => {
      streams.push(into);
      return {
        write: (buf: Uint8Array, start: number, end: number) => written.push(buf) && end - start,
        close: () => {},
      };
    },
    resolve: async () => [],
  } as unknown as Host;
  const streams: StreamSink[] = [];
  const written: Uint8Array[] = [];
  const failures: string[] = [];
  const raised: DeviceEvent[] = [];
  const events = { event: () => {}, failed: (error: NetError) => failures.push(error.code) };
  const driver = new Driver(host, device, events, options.store);
  return {
    driver,
    events,
    raised,
    slot,
    streams,
    written,
    drops,
    failures,
    log,
    take: () => log.splice(0),
    deferred,
    sink: () => sink!,
    fire: () => fire(),
    setNow: (ms: number) => {
      nowMs = ms;
    },
    setTimeoutAt: (ms: number) => {
      timeoutMs = ms;
    },
  };
}

test('datagrams of one batch are all taken before anything is sent', async () => {
  const { driver, sink, deferred, take } = bench({ waiting: 2 });
  await driver.open({ port: 0 });
  for (let i = 0; i < 3; i++) sink().datagram(new Uint8Array(40), 0, 10 + i, { address: '192.0.2.1', port: 1 });
  assert.equal(take(), ['in 0 10', 'in 0 11', 'in 0 12']);
  assert.is(deferred.length, 1);
  deferred.shift()!();
  assert.equal(take(), ['send', 'send', 'arm Infinity']);
});

test('a burst is cut after 64 datagrams, so that the socket is read in between', async () => {
  const { driver, deferred, take } = bench({ waiting: 150 });
  await driver.open({ port: 0 });
  driver.kick();
  const sizes: number[] = [];
  for (let i = 0; i < 5 && deferred.length > 0; i++) {
    deferred.shift()!();
    sizes.push(take().filter(entry => entry === 'send').length);
  }
  assert.equal(sizes, [64, 64, 22]);
});

test('a datagram that the socket does not take is counted', async () => {
  const { driver, deferred, drops } = bench({ waiting: 3, isFull: true });
  await driver.open({ port: 0 });
  driver.kick();
  deferred.shift()!();
  assert.is(drops.get('socket-full'), 3);
});

test('many commands make one flush, and the one timer follows the device', async () => {
  const { driver, deferred, take, setNow, setTimeoutAt, fire } = bench({ waiting: 0 });
  await driver.open({ port: 0 });
  for (let i = 0; i < 5; i++) driver.kick();
  assert.is(deferred.length, 1);
  setTimeoutAt(700);
  deferred.shift()!();
  assert.equal(take(), ['arm 700']);
  setNow(699);
  fire();
  assert.equal(take(), ['arm 700'], 'an early timer is harmless');
  setNow(700);
  fire();
  assert.equal(take(), ['timeout 700', 'arm Infinity']);
});

test('the wall clock is told again after a second', async () => {
  const { driver, deferred, take, setNow } = bench({ waiting: 0 });
  await driver.open({ port: 0 });
  setNow(999);
  driver.kick();
  deferred.shift()!();
  assert.equal(take(), ['arm Infinity']);
  setNow(1000);
  driver.kick();
  deferred.shift()!();
  assert.equal(take(), ['wall 5001000', 'arm Infinity']);
});

test('a floor is saved before the datagram in hand is sent', async () => {
  const log: string[] = [];
  const store: Store = { load: () => undefined, save: name => log.push(`save ${name}`), remove: () => {} };
  const world = bench({ waiting: 3, floorAt: 1, store });
  await world.driver.open({ port: 0 });
  const push = world.log.push.bind(world.log);
  world.log.push = (...entries) => push(...log.splice(0), ...entries);
  world.driver.kick();
  world.deferred.shift()!();
  assert.equal(world.take(), ['send', 'save tai64n', 'send', 'send', 'arm Infinity']);
});

test('a store that fails is reported with its code and does not stop the sending', async () => {
  const store: Store = {
    load: () => undefined,
    save: () => {
      throw new Error('no space');
    },
    remove: () => {},
  };
  const { driver, deferred, failures, take } = bench({ waiting: 1, floorAt: 0, store });
  await driver.open({ port: 0 });
  driver.kick();
  deferred.shift()!();
  assert.equal(failures, ['ERR_STORE']);
  assert.ok(take().includes('send'));
});

test('nothing happens after close, and closing twice is harmless', async () => {
  const { driver, sink, deferred, take, fire, failures } = bench({ waiting: 0 });
  await driver.open({ port: 0 });
  driver.kick();
  driver.close();
  driver.close();
  take();
  sink().datagram(new Uint8Array(1), 0, 1, { address: '192.0.2.1', port: 1 });
  sink().failed(new NetError('ERR_CLOSED', 'x'));
  driver.kick();
  fire();
  for (const run of deferred) run();
  assert.equal(take(), []);
  assert.equal(failures, []);
});

test('what waits to be sent when it closes is sent, within a bound', async () => {
  for (const [waiting, sent] of [
    [150, 150],
    [100_000, 64 * 64],
  ] as const) {
    const { driver, take } = bench({ waiting });
    await driver.open({ port: 0 });
    driver.close();
    const log = take();
    assert.is(log.filter(entry => entry === 'send').length, sent);
    assert.is(log.at(-1), 'close');
  }
});

test('streams are written from the output slot where chunks are small, and from memory of their own where they are not', async () => {
  for (const chunkBytes of [80, 100_000]) {
    const { driver, deferred, slot, streams, written } = bench({ waiting: 1 });
    const commands = [{ type: 'open', id: 1, request: { host: '192.0.2.1', port: 1 } }];
    const lengths = [30, 20];
    const tailnet = {
      chunkBytes,
      paths: { isActive: () => false, pollResolve: () => undefined },
      setInterfaces: () => {},
      streams: {
        pollCommand: () => commands.shift(),
        pollBytes: (_: number, id: number, out: Uint8Array, start: number) => {
          const length = id === 1 ? (lengths.shift() ?? 0) : 0;
          out.fill(7, start, start + length);
          return start + length;
        },
        handleOpened: () => {},
      },
    };
    Object.assign(driver.device, { tailnet });
    driver.kick();
    deferred.shift()!();
    streams[0]!.opened();
    deferred.shift()!();
    assert.is(written.length, 2);
    const isShared = chunkBytes === 80;
    assert.ok(written.every(buf => (buf === slot.buf) === isShared));
    assert.ok(isShared || written.every(buf => buf.length === 16_384 && buf === written[0]));
  }
});

test('a socket that opens after close is closed at once', async () => {
  const { driver, take } = bench({ waiting: 0 });
  const opening = driver.open({ port: 0 });
  driver.close();
  take();
  await opening;
  assert.equal(take(), ['close']);
});

test('a driver that is closed by an event sends what waits, and arms no timer afterwards', async () => {
  const { driver, events, raised, deferred, take } = bench({ waiting: 2 });
  await driver.open({ port: 0 });
  raised.push({ type: 'gave-up', peer: 0 });
  events.event = () => driver.close();
  driver.kick();
  deferred.shift()!();
  assert.equal(take().slice(0, 4), ['send', 'send', 'cancel', 'close']);
  assert.is(deferred.length, 0);
  assert.equal(driver.local, []);
});

test.run();
