/**
 * What every implementation of `Host.openStream` promises with TLS: no byte and no `opened` for a certificate that is
 * neither valid for the name nor the pinned one.
 */
import { createHash } from 'node:crypto';
import { env } from 'node:process';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { HostStream, StreamTlsOptions } from '../../lib/ports.ts';
import { pattern, sendPattern, StreamProbe } from './streams.ts';
import { AUTHORITY, CERTIFICATES, type RealWorld, type TlsFar } from './streams-far.ts';
import { eventually, pause } from './wait.ts';

const NAME = 'web.test';

/** SHA-256 of a certificate's DER form. */
function pinOf(pem: string): Uint8Array {
  const der = Buffer.from(pem.replace(/-----[^-]+-----|\s/g, ''), 'base64');
  return new Uint8Array(createHash('sha256').update(der).digest());
}

/** Tests of streams with TLS. */
export function secureStreamsContract(name: string, world: RealWorld): void {
  const test = suite(`${name}: secure streams`);
  const open: HostStream[] = [];

  function start(port: number, tls: StreamTlsOptions, timeoutMs = 5000): StreamProbe {
    const probe = new StreamProbe();
    const options = { host: tls.serverName, addresses: ['127.0.0.1'], port, tls, timeoutMs };
    probe.stream = world.host.openStream(options, probe);
    open.push(probe.stream);
    return probe;
  }

  async function accepted(far: TlsFar, tls: StreamTlsOptions): Promise<StreamProbe> {
    const probe = start(far.port, tls);
    await eventually(() => probe.calls.length > 0);
    assert.is(probe.failure?.message, undefined);
    assert.equal(probe.calls, ['opened']);
    probe.stream!.write(pattern(0, 100), 0, 100);
    await eventually(() => far.ends[0]?.received === 100);
    return probe;
  }

  async function refused(far: TlsFar, tls: StreamTlsOptions): Promise<void> {
    const probe = start(far.port, tls);
    const greedy = setInterval(() => probe.stream!.write(pattern(0, 10), 0, 10), 1);
    await eventually(() => probe.calls.length > 0).finally(() => clearInterval(greedy));
    await pause(30);
    assert.equal(probe.calls, ['failed']);
    assert.is(probe.failure!.name, 'NetError');
    assert.is(probe.failure!.code, 'ERR_TLS');
    assert.ok(probe.failure!.message.includes(tls.serverName), probe.failure!.message);
    assert.ok(far.ends.every(end => end.received === 0));
  }

  test.after.each(() => {
    for (const stream of open.splice(0)) stream.close();
    world.clean();
  });

  test('a certificate of an added authority is accepted for its name, which is asked for', async () => {
    const far = await world.listenTls(CERTIFICATES.signed);
    await accepted(far, { serverName: NAME, authorities: AUTHORITY });
    assert.equal(far.names, [NAME]);
  });

  test('several authorities may be added at once, and one that is its own', async () => {
    const far = await world.listenTls(CERTIFICATES.signed);
    await accepted(far, { serverName: NAME, authorities: CERTIFICATES.own + AUTHORITY });
    const own = await world.listenTls(CERTIFICATES.own);
    await accepted(own, { serverName: NAME, authorities: CERTIFICATES.own + AUTHORITY });
  });

  test('a certificate is accepted for an address that it bears, and refused for another', async () => {
    const far = await world.listenTls(CERTIFICATES.signed);
    await accepted(far, { serverName: '127.0.0.1', authorities: AUTHORITY });
    await refused(await world.listenTls(CERTIFICATES.signed), { serverName: '127.0.0.2', authorities: AUTHORITY });
  });

  test('a certificate for another name is refused', async () => {
    await refused(await world.listenTls(CERTIFICATES.signed), { serverName: 'other.test', authorities: AUTHORITY });
  });

  test('a certificate that nobody vouches for is refused', async () => {
    await refused(await world.listenTls(CERTIFICATES.signed), { serverName: NAME });
    await refused(await world.listenTls(CERTIFICATES.own), { serverName: NAME });
    await refused(await world.listenTls(CERTIFICATES.own), { serverName: NAME, authorities: AUTHORITY });
  });

  test('an expired certificate is refused', async () => {
    await refused(await world.listenTls(CERTIFICATES.expired), { serverName: NAME, authorities: AUTHORITY });
  });

  test('the environment cannot switch the verification off', async () => {
    const before = env.NODE_TLS_REJECT_UNAUTHORIZED;
    env.NODE_TLS_REJECT_UNAUTHORIZED = '0';
    try {
      await refused(await world.listenTls(CERTIFICATES.own), { serverName: NAME });
      await refused(await world.listenTls(CERTIFICATES.signed), { serverName: 'other.test', authorities: AUTHORITY });
    } finally {
      if (before === undefined) delete env.NODE_TLS_REJECT_UNAUTHORIZED;
      else env.NODE_TLS_REJECT_UNAUTHORIZED = before;
    }
  });

  test('a pinned certificate is accepted, whoever signed it, whatever name and date it bears', async () => {
    for (const cert of Object.values(CERTIFICATES)) {
      const far = await world.listenTls(cert);
      await accepted(far, { serverName: 'relay.invalid', pin: pinOf(cert) });
      assert.equal(far.names, ['relay.invalid']);
    }
  });

  test('with a pin any other certificate is refused, also a valid one', async () => {
    const pin = pinOf(CERTIFICATES.own);
    await refused(await world.listenTls(CERTIFICATES.signed), { serverName: NAME, authorities: AUTHORITY, pin });
    await refused(await world.listenTls(CERTIFICATES.expired), { serverName: NAME, pin });
    const almost = pinOf(CERTIFICATES.signed);
    almost[31]! ^= 1;
    await refused(await world.listenTls(CERTIFICATES.signed), {
      serverName: NAME,
      authorities: AUTHORITY,
      pin: almost,
    });
  });

  test('the pin is that of the certificate itself, not of its authority', async () => {
    const far = await world.listenTls(CERTIFICATES.signed + AUTHORITY);
    await refused(far, { serverName: NAME, authorities: AUTHORITY, pin: pinOf(AUTHORITY) });
  });

  test('a pin of another length is the mistake of the caller', () => {
    for (const length of [0, 31, 33])
      assert.throws(
        () => start(1, { serverName: NAME, pin: new Uint8Array(length) }),
        (error: Error) => error instanceof RangeError,
      );
  });

  test('megabytes arrive whole in both directions at once', async () => {
    const far = await world.listenTls(CERTIFICATES.own);
    const probe = start(far.port, { serverName: 'x', pin: pinOf(CERTIFICATES.own) });
    await eventually(() => probe.has('opened') && far.ends.length === 1);
    far.ends[0]!.write(pattern(0, 3_000_000));
    await sendPattern(probe, 3_000_000, world);
    await eventually(() => far.ends[0]!.received === 3_000_000 && probe.received === 3_000_000);
    assert.ok(far.ends[0]!.isIntact && probe.isIntact);
  });

  test('a reader that stops stops the writer at a bound, and lets it go on', async () => {
    const far = await world.listenTls(CERTIFICATES.own);
    const passage = await world.passage(far.port);
    const probe = start(passage.port, { serverName: 'x', pin: pinOf(CERTIFICATES.own) });
    await eventually(() => probe.has('opened') && far.ends.length === 1);
    passage.hold();
    const bytes = pattern(0, 32 << 20);
    let taken = 0;
    const fill = () => {
      for (;;) {
        const now = probe.stream!.write(bytes, taken, Math.min(bytes.length, taken + 65_536));
        taken += now;
        if (now === 0) return;
      }
    };
    probe.on = call => call === 'writable' && fill();
    fill();
    await pause(300);
    const stopped = taken;
    assert.ok(stopped < world.slackBytes + (2 << 20), `${stopped} bytes were taken`);
    passage.release();
    await eventually(() => taken > stopped + 1_000_000 && far.ends[0]!.received > stopped);
    assert.ok(far.ends[0]!.isIntact);
  });

  test('a paused stream stops the other side', async () => {
    const far = await world.listenTls(CERTIFICATES.own);
    const probe = start(far.port, { serverName: 'x', pin: pinOf(CERTIFICATES.own) });
    await eventually(() => probe.has('opened') && far.ends.length === 1);
    probe.on = call => call === 'bytes' && probe.stream!.pause();
    const length = world.slackBytes + (16 << 20);
    far.ends[0]!.write(pattern(0, length));
    await pause(300);
    assert.ok(far.ends[0]!.unsent > 8 << 20, `${far.ends[0]!.unsent} bytes wait`);
    probe.on = () => undefined;
    probe.stream!.resume();
    await eventually(() => probe.received === length);
    assert.ok(probe.isIntact);
  });

  test('a paused stream delivers nothing, and everything once it is resumed', async () => {
    const far = await world.listenTls(CERTIFICATES.own);
    const probe = start(far.port, { serverName: 'x', pin: pinOf(CERTIFICATES.own) });
    await eventually(() => probe.has('opened') && far.ends.length === 1);
    probe.on = call => {
      if (call === 'bytes') probe.stream!.pause();
    };
    far.ends[0]!.write(pattern(0, 1_000_000));
    await eventually(() => probe.received > 0);
    const first = probe.received;
    await pause(100);
    assert.is(probe.received, first);
    probe.on = () => undefined;
    probe.stream!.resume();
    await eventually(() => probe.received === 1_000_000);
    assert.ok(probe.isIntact);
  });

  test('the end of the other side is told, and close loses nothing', async () => {
    const far = await world.listenTls(CERTIFICATES.signed);
    const probe = await accepted(far, { serverName: NAME, authorities: AUTHORITY });
    far.ends[0]!.end();
    await eventually(() => probe.has('ended'));
    assert.is(probe.failure, undefined);
    const second = await accepted(await world.listenTls(CERTIFICATES.signed), {
      serverName: NAME,
      authorities: AUTHORITY,
    });
    second.stream!.close();
    await pause(30);
    assert.equal(second.calls, ['opened']);
  });

  test('what was written before close arrives before the end', async () => {
    const far = await world.listenTls(CERTIFICATES.own);
    const probe = start(far.port, { serverName: 'x', pin: pinOf(CERTIFICATES.own) });
    await eventually(() => probe.has('opened') && far.ends.length === 1);
    const taken = probe.stream!.write(pattern(0, 120_000), 0, 120_000);
    probe.stream!.close();
    await eventually(() => far.ends[0]!.hasEnded);
    assert.is(far.ends[0]!.received, taken);
    assert.ok(far.ends[0]!.isIntact);
  });

  test('a server without TLS is refused', async () => {
    const port = await world.accept(socket => {
      socket.on('error', () => undefined);
      socket.end('HTTP/1.1 400 Bad Request\r\n\r\n');
    });
    const probe = start(port, { serverName: NAME });
    await eventually(() => probe.failure !== undefined);
    assert.equal(probe.calls, ['failed']);
    assert.is(probe.failure!.code, 'ERR_TLS');
  });

  test('a connection that ends or breaks during the handshake fails', async () => {
    for (const leave of ['end', 'resetAndDestroy'] as const) {
      const port = await world.accept(socket => {
        socket.on('error', () => undefined);
        socket.once('data', () => socket[leave]());
      });
      const probe = start(port, { serverName: NAME });
      await eventually(() => probe.failure !== undefined);
      assert.equal(probe.calls, ['failed']);
      assert.ok(['ERR_CONNECTION_RESET', 'ERR_TLS'].includes(probe.failure!.code), probe.failure!.code);
    }
  });

  test('a server that keeps silent during the handshake fails with ERR_TIMED_OUT', async () => {
    const port = await world.accept(() => undefined);
    const probe = start(port, { serverName: NAME }, 200);
    await eventually(() => probe.failure !== undefined);
    assert.equal(probe.calls, ['failed']);
    assert.is(probe.failure!.code, 'ERR_TIMED_OUT');
  });

  test('closed during the handshake, it is never heard of', async () => {
    let isBroken = false;
    const port = await world.accept(socket => {
      socket.on('error', () => undefined);
      socket.on('close', () => {
        isBroken = true;
      });
      socket.resume();
      socket.on('end', () => socket.end());
    });
    const probe = start(port, { serverName: NAME });
    await pause(50);
    probe.stream!.close();
    await eventually(() => isBroken);
    assert.equal(probe.calls, []);
  });

  test.run();
}
