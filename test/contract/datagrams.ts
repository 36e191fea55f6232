/**
 * What every implementation of `Host.openDatagrams` promises. Runs on real sockets of the loopback interface.
 */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Endpoint } from '../../lib/base/address.ts';
import type { NetError } from '../../lib/base/errors.ts';
import type { DatagramOptions, Datagrams, DatagramSink, Host } from '../../lib/ports.ts';
import { eventually, pause } from './wait.ts';

const MAX_DATAGRAM_BYTES = 65_507;

/** A socket with a record of what its sink was told. */
class Probe implements DatagramSink {
  readonly got: { bytes: Uint8Array; from: Endpoint }[] = [];
  readonly failures: NetError[] = [];
  /** Called for every datagram, with the lent memory. */
  onDatagram: (buf: Uint8Array, start: number, end: number) => void = () => undefined;

  datagram(buf: Uint8Array, start: number, end: number, from: Endpoint): void {
    this.got.push({ bytes: buf.slice(start, end), from });
    this.onDatagram(buf, start, end);
  }

  failed(error: NetError): void {
    this.failures.push(error);
  }
}

/**
 * Tests of UDP sockets. `hasV6` says whether this machine has an IPv6 loopback, `bindsOne` whether the host can bind a
 * single address.
 */
export function datagramsContract(name: string, host: Host, hasV6: boolean, bindsOne = true): void {
  const test = suite(`${name}: datagrams`);
  const open: Datagrams[] = [];
  const families = hasV6 ? ['127.0.0.1', '::1'] : ['127.0.0.1'];

  async function openProbe(options: DatagramOptions = { port: 0 }): Promise<{ socket: Datagrams; probe: Probe }> {
    const probe = new Probe();
    const socket = await host.openDatagrams(options, probe);
    open.push(socket);
    return { socket, probe };
  }

  function send(from: Datagrams, bytes: Uint8Array, to: Datagrams, address = '127.0.0.1'): boolean {
    return from.send(bytes, 0, bytes.length, { address, port: portOf(to) });
  }

  test.after.each(() => {
    for (const socket of open.splice(0)) socket.close();
  });

  test('one port serves both families', async () => {
    const { socket } = await openProbe();
    const expected = hasV6 ? ['0.0.0.0', '::'] : ['0.0.0.0'];
    assert.equal(
      socket.local.map(local => local.address),
      expected,
    );
    assert.equal(new Set(socket.local.map(local => local.port)).size, 1);
    assert.ok(portOf(socket) > 0);
  });

  test('a datagram arrives whole, with its sender as canonical text, over each family', async () => {
    const a = await openProbe();
    const b = await openProbe();
    for (const address of families) {
      b.probe.got.length = 0;
      assert.is(send(a.socket, Uint8Array.of(1, 2, 3), b.socket, address), true);
      await eventually(() => b.probe.got.length === 1);
      assert.equal(b.probe.got[0], { bytes: Uint8Array.of(1, 2, 3), from: { address, port: portOf(a.socket) } });
    }
  });

  test('the sender that is told can be answered', async () => {
    const a = await openProbe();
    const b = await openProbe();
    for (const address of families) {
      send(a.socket, Uint8Array.of(7), b.socket, address);
      await eventually(() => b.probe.got.length === 1);
      assert.is(b.socket.send(Uint8Array.of(8), 0, 1, b.probe.got.pop()!.from), true);
      await eventually(() => a.probe.got.length === 1);
      assert.equal(a.probe.got.pop(), { bytes: Uint8Array.of(8), from: { address, port: portOf(b.socket) } });
    }
  });

  test('what cannot be sent is dropped without a throw, and the socket goes on', async () => {
    const a = await openProbe();
    const b = await openProbe();
    a.socket.send(Uint8Array.of(1), 0, 1, { address: '127.0.0.1', port: 0 });
    // A link-local address without its zone, and an address that nobody has.
    for (const address of ['fe80::1', '255.255.255.255', '240.0.0.1'])
      a.socket.send(Uint8Array.of(1), 0, 1, { address, port: 9 });
    await pause(50);
    assert.is(send(a.socket, Uint8Array.of(2), b.socket), true);
    await eventually(() => b.probe.got.length === 1);
    assert.equal(a.probe.failures, []);
  });

  test('only the given range is sent', async () => {
    const a = await openProbe();
    const b = await openProbe();
    const inside = Uint8Array.of(9, 9, 1, 2, 3, 9).subarray(1);
    a.socket.send(inside, 1, 4, { address: '127.0.0.1', port: portOf(b.socket) });
    await eventually(() => b.probe.got.length === 1);
    assert.equal(b.probe.got[0]!.bytes, Uint8Array.of(1, 2, 3));
  });

  test('an empty datagram arrives', async () => {
    const a = await openProbe();
    const b = await openProbe();
    for (const address of families) assert.is(send(a.socket, new Uint8Array(0), b.socket, address), true);
    await eventually(() => b.probe.got.length === families.length);
    assert.is(b.probe.got[0]!.bytes.length, 0);
  });

  test('the largest datagram arrives whole, a larger one is refused', async () => {
    const a = await openProbe();
    const b = await openProbe();
    const largest = Uint8Array.from({ length: MAX_DATAGRAM_BYTES }, (_, i) => i * 7);
    assert.is(send(a.socket, new Uint8Array(MAX_DATAGRAM_BYTES + 1), b.socket), false);
    assert.is(send(a.socket, largest, b.socket), true);
    await eventually(() => b.probe.got.length === 1);
    assert.equal(b.probe.got[0]!.bytes, largest);
  });

  test('a burst arrives complete and in order', async () => {
    const a = await openProbe();
    const b = await openProbe();
    for (let i = 0; i < 60; i++) assert.is(send(a.socket, new Uint8Array(1400).fill(i), b.socket), true);
    await eventually(() => b.probe.got.length === 60);
    assert.equal(
      b.probe.got.map(({ bytes }) => bytes[1399]),
      Array.from({ length: 60 }, (_, i) => i),
    );
  });

  test('the sent memory may be reused at once', async () => {
    const a = await openProbe();
    const b = await openProbe();
    const memory = new Uint8Array(64);
    for (let i = 0; i < 40; i++) {
      memory.fill(i);
      send(a.socket, memory, b.socket);
      memory.fill(255);
    }
    await eventually(() => b.probe.got.length === 40);
    for (const [i, { bytes }] of b.probe.got.entries()) assert.equal(bytes, new Uint8Array(64).fill(i));
  });

  test('the lent memory is a plain array that may be overwritten', async () => {
    const a = await openProbe();
    const b = await openProbe();
    b.probe.onDatagram = (buf, start, end) => {
      assert.is(Object.getPrototypeOf(buf), Uint8Array.prototype);
      buf.fill(0, start, end);
    };
    for (let i = 1; i <= 20; i++) send(a.socket, new Uint8Array(100).fill(i), b.socket);
    await eventually(() => b.probe.got.length === 20);
    for (const [i, { bytes }] of b.probe.got.entries()) assert.equal(bytes, new Uint8Array(100).fill(i + 1));
  });

  test('answers sent from within the sink leave in order', async () => {
    const a = await openProbe();
    const b = await openProbe();
    b.probe.onDatagram = (buf, start, end) => {
      b.socket.send(buf, start, end, { address: '127.0.0.1', port: portOf(a.socket) });
    };
    for (let i = 0; i < 30; i++) send(a.socket, Uint8Array.of(i), b.socket);
    await eventually(() => a.probe.got.length === 30);
    assert.equal(
      a.probe.got.map(({ bytes }) => bytes[0]),
      Array.from({ length: 30 }, (_, i) => i),
    );
  });

  test('a refused datagram does not break the socket', async () => {
    const a = await openProbe();
    const b = await openProbe();
    const gone = await openProbe();
    gone.socket.close();
    for (let i = 0; i < 3; i++) {
      send(a.socket, Uint8Array.of(1), gone.socket);
      await pause(20);
    }
    for (let i = 0; i < 5; i++) send(a.socket, Uint8Array.of(2), b.socket);
    await eventually(() => b.probe.got.length >= 4); // one may be lost to the report of the refusal
    assert.equal(a.probe.failures, []);
  });

  test('a taken port gives ERR_ADDRESS_IN_USE and leaves its holder alone', async () => {
    const a = await openProbe();
    await rejects(openProbe({ port: portOf(a.socket) }), 'ERR_ADDRESS_IN_USE');
    const one = bindsOne ? 'ERR_ADDRESS_IN_USE' : 'ERR_ADDRESS_UNAVAILABLE';
    await rejects(openProbe({ port: portOf(a.socket), address: '127.0.0.1' }), one);
    send(a.socket, Uint8Array.of(1), a.socket);
    await eventually(() => a.probe.got.length === 1);
  });

  test('a port is free again after close', async () => {
    const a = await openProbe();
    a.socket.close();
    await pause(20);
    const b = await openProbe({ port: portOf(a.socket) });
    assert.is(portOf(b.socket), portOf(a.socket));
  });

  test('an address that is not local gives ERR_ADDRESS_UNAVAILABLE', async () => {
    await rejects(openProbe({ port: 0, address: '192.0.2.1' }), 'ERR_ADDRESS_UNAVAILABLE');
  });

  const ifBindsOne = bindsOne ? test : notOne;
  ifBindsOne('a socket for one address receives there, and does not send to the other family', async () => {
    const a = await openProbe({ port: 0, address: '127.0.0.1' });
    assert.equal(
      a.socket.local.map(local => local.address),
      ['127.0.0.1'],
    );
    assert.is(send(a.socket, Uint8Array.of(1), a.socket), true);
    await eventually(() => a.probe.got.length === 1);
    assert.is(send(a.socket, Uint8Array.of(1), a.socket, '::1'), false);
  });

  test('after close nothing is sent, and close may be called again', async () => {
    const a = await openProbe();
    const b = await openProbe();
    a.socket.close();
    a.socket.close();
    assert.is(send(a.socket, Uint8Array.of(1), b.socket), false);
    await pause(30);
    assert.equal(b.probe.got, []);
  });

  test('after close the sink is not called, even for what has already arrived', async () => {
    const a = await openProbe();
    const b = await openProbe();
    b.probe.onDatagram = () => b.socket.close();
    for (let i = 0; i < 20; i++) send(a.socket, Uint8Array.of(i), b.socket);
    await eventually(() => b.probe.got.length === 1);
    await pause(30);
    assert.is(b.probe.got.length, 1);
    assert.equal(b.probe.failures, []);
  });

  test('a steady flow does not keep deferred work and timers waiting', async () => {
    const a = await openProbe();
    const b = await openProbe();
    let turns = 0;
    let isPending = false;
    let isFlowing = true;
    b.probe.onDatagram = () => {
      if (isPending) return;
      isPending = true;
      host.defer(() => {
        isPending = false;
        turns++;
        if (isFlowing) for (let i = 0; i < 8; i++) send(a.socket, new Uint8Array(100), b.socket);
      });
    };
    send(a.socket, new Uint8Array(100), b.socket);
    let firedAfter = 0;
    const timer = host.createTimer(() => {
      firedAfter = b.probe.got.length;
    });
    timer.arm(host.clock.nowMs() + 30);
    await eventually(() => firedAfter > 0 && turns > 5);
    const before = b.probe.got.length;
    await eventually(() => b.probe.got.length > before);
    isFlowing = false;
  });

  test.run();
}

/** A host that binds all addresses says so when it is asked for one, which other tests look at. */
function notOne(_name: string, _run: () => Promise<void>): void {}

function portOf(socket: Datagrams): number {
  return socket.local[0]!.port;
}

async function rejects(promise: Promise<unknown>, code: string): Promise<void> {
  const error = await promise.then(
    () => undefined,
    (reason: NetError) => reason,
  );
  assert.is(error?.name, 'NetError');
  assert.is(error?.code, code);
}
