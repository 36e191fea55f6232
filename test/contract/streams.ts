/**
 * What every implementation of `Host.openStream` promises over TCP. The other side is a {@link StreamWorld}: real
 * servers on the loopback interface, or the network in memory.
 */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { NetError } from '../../lib/base/errors.ts';
import type { Host, HostStream, StreamOptions, StreamSink } from '../../lib/ports.ts';

/** The other end of a stream. */
export interface FarEnd {
  /** Bytes that came, all of them in order. */
  readonly received: number;
  /** Whether every byte so far was that of {@link patternByte} at its place. */
  readonly isIntact: boolean;
  readonly hasEnded: boolean;
  readonly isGone: boolean;
  /** Bytes of {@link write} that wait here because the other side does not take them. */
  readonly unsent: number;
  /** Queues bytes to be sent, without bound. */
  write(bytes: Uint8Array): void;
  end(): void;
  /** Breaks the connection so that the other side hears a reset. */
  reset(): void;
  pause(): void;
  resume(): void;
}

/** Where the streams lead. */
export interface StreamWorld {
  readonly host: Host;
  /** What one side may hold of unread bytes beside `HostStream`'s own buffer: the kernel's part. */
  readonly slackBytes: number;
  /** Listens on a free port of the address until the test ends. */
  listen(accept: (end: FarEnd) => void): Promise<{ address: string; port: number }>;
  /** An address and port that refuse. */
  refusing(): Promise<{ address: string; port: number }>;
  /** False on a host to which the end of the other side and a reset look the same; it tells the end, then the reset. */
  readonly hasHalfClose?: boolean;
  /** An address and port that do not answer, if there is such a thing. */
  silent?(): { address: string; port: number };
  eventually(condition: () => boolean): Promise<void>;
  pause(ms: number): Promise<void>;
  clean(): void;
}

/** The byte that tests send at an offset of the stream. */
export function patternByte(offset: number): number {
  return (Math.imul(offset, 31) + (offset >>> 9)) & 255;
}

/** A part of the pattern. */
export function pattern(from: number, length: number): Uint8Array {
  const out = new Uint8Array(length);
  for (let i = 0; i < length; i++) out[i] = patternByte(from + i);
  return out;
}

/** Whether bytes are those of the pattern from an offset on. */
export function isPattern(bytes: Uint8Array, offset: number): boolean {
  for (let i = 0; i < bytes.length; i++) if (bytes[i] !== patternByte(offset + i)) return false;
  return true;
}

/** A stream with a record of what its sink was told. */
export class StreamProbe implements StreamSink {
  readonly calls: string[] = [];
  received = 0;
  isIntact = true;
  failure: NetError | undefined;
  stream: HostStream | undefined;
  /** Called after each sink call is recorded. */
  on: (call: string) => void = () => undefined;

  opened(): void {
    this.#note('opened');
  }

  bytes(buf: Uint8Array, start: number, end: number): void {
    assert.is(Object.getPrototypeOf(buf), Uint8Array.prototype);
    assert.ok(end > start);
    this.isIntact &&= isPattern(buf.subarray(start, end), this.received);
    this.received += end - start;
    buf.fill(0, start, end); // lent: may be overwritten
    this.#note('bytes');
  }

  writable(): void {
    this.#note('writable');
  }

  ended(): void {
    this.#note('ended');
  }

  failed(error: NetError): void {
    this.failure = error;
    this.#note('failed');
  }

  has(call: string): boolean {
    return this.calls.includes(call);
  }

  #note(call: string): void {
    assert.ok(this.stream !== undefined, 'a sink call came before openStream returned');
    if (this.calls.at(-1) !== call) this.calls.push(call);
    this.on(call);
  }
}

/** Sends a part of the pattern as the stream takes it; resolves when all is taken. */
export async function sendPattern(probe: StreamProbe, length: number, world: Pick<StreamWorld, 'eventually'>) {
  const bytes = pattern(0, length);
  let at = 0;
  const step = () => {
    while (at < length) {
      const taken = probe.stream!.write(bytes, at, Math.min(length, at + 100_000));
      if (taken === 0) return;
      at += taken;
    }
  };
  const before = probe.on;
  probe.on = call => {
    before(call);
    if (call === 'writable') step();
  };
  step();
  await world.eventually(() => at === length || probe.failure !== undefined);
}

/** Tests of streams without TLS. */
export function streamsContract(name: string, world: StreamWorld): void {
  const test = suite(`${name}: streams`);
  const { host } = world;
  const open: HostStream[] = [];

  function start(options: StreamOptions): StreamProbe {
    const probe = new StreamProbe();
    probe.stream = host.openStream(options, probe);
    open.push(probe.stream);
    return probe;
  }

  async function connected(): Promise<{ probe: StreamProbe; far: FarEnd }> {
    let far: FarEnd | undefined;
    const at = await world.listen(end => {
      far = end;
    });
    const probe = start({ host: at.address, port: at.port });
    await world.eventually(() => far !== undefined && probe.has('opened'));
    return { probe, far: far! };
  }

  test.after.each(() => {
    for (const stream of open.splice(0)) stream.close();
    world.clean();
  });

  test('what one side writes arrives at the other, in both directions', async () => {
    const { probe, far } = await connected();
    assert.is(probe.stream!.write(pattern(0, 1000), 0, 1000), 1000);
    far.write(pattern(0, 500));
    await world.eventually(() => far.received === 1000 && probe.received === 500);
    assert.ok(far.isIntact && probe.isIntact);
    assert.equal(probe.calls, ['opened', 'bytes']);
  });

  test('only the given range is written, and its memory may be reused at once', async () => {
    const { probe, far } = await connected();
    const memory = new Uint8Array(30).subarray(5);
    for (let i = 0; i < 50; i++) {
      memory.set(pattern(i * 10, 10), 3);
      assert.is(probe.stream!.write(memory, 3, 13), 10);
      memory.fill(255);
    }
    await world.eventually(() => far.received === 500);
    assert.ok(far.isIntact);
  });

  test('an empty write takes nothing and breaks nothing', async () => {
    const { probe, far } = await connected();
    assert.is(probe.stream!.write(new Uint8Array(4), 2, 2), 0);
    probe.stream!.write(pattern(0, 10), 0, 10);
    await world.eventually(() => far.received === 10);
  });

  test('nothing is taken before the stream is open', async () => {
    const at = await world.listen(() => undefined);
    const probe = start({ host: at.address, port: at.port });
    assert.is(probe.stream!.write(pattern(0, 10), 0, 10), 0);
    await world.eventually(() => probe.has('opened'));
  });

  test('megabytes arrive whole in both directions at once', async () => {
    const { probe, far } = await connected();
    const length = 5_000_000;
    far.write(pattern(0, length));
    await sendPattern(probe, length, world);
    await world.eventually(() => far.received === length && probe.received === length);
    assert.ok(far.isIntact && probe.isIntact);
  });

  test('a reader that stops stops the writer at a bound, and lets it go on', async () => {
    const { probe, far } = await connected();
    far.pause();
    const bytes = pattern(0, 65_536 * 512); // more than both sides and their kernels hold
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
    await world.pause(200);
    const stopped = taken;
    assert.ok(stopped < world.slackBytes + (1 << 20), `${stopped} bytes were taken`);
    await world.pause(100);
    assert.is(taken, stopped);
    far.resume();
    await world.eventually(() => taken > stopped + 1_000_000 && far.received > stopped);
    assert.ok(far.isIntact);
  });

  test('a paused stream delivers nothing, and everything once it is resumed', async () => {
    const { probe, far } = await connected();
    const length = 4_000_000;
    probe.on = call => {
      if (call === 'bytes') probe.stream!.pause();
    };
    far.write(pattern(0, length));
    far.end();
    await world.eventually(() => probe.received > 0);
    const first = probe.received;
    await world.pause(100);
    assert.is(probe.received, first);
    assert.not.ok(probe.has('ended'));
    probe.on = () => undefined;
    probe.stream!.resume();
    await world.eventually(() => probe.has('ended'));
    assert.is(probe.received, length);
    assert.ok(probe.isIntact);
  });

  test('a paused stream stops the other side', async () => {
    const { probe, far } = await connected();
    probe.on = call => call === 'bytes' && probe.stream!.pause();
    const length = world.slackBytes + (16 << 20);
    far.write(pattern(0, length));
    await world.pause(300);
    assert.ok(far.unsent > 8 << 20, `${far.unsent} bytes wait`);
    probe.on = () => undefined;
    probe.stream!.resume();
    await world.eventually(() => probe.received === length);
    assert.ok(probe.isIntact);
  });

  test('paused before it is open, it delivers nothing until it is resumed', async () => {
    const at = await world.listen(end => end.write(pattern(0, 100)));
    const probe = start({ host: at.address, port: at.port });
    probe.stream!.pause();
    await world.eventually(() => probe.has('opened'));
    await world.pause(50);
    assert.is(probe.received, 0);
    probe.stream!.resume();
    await world.eventually(() => probe.received === 100);
  });

  if (world.hasHalfClose === false)
    test('when the other side ends, that is told, and then that nothing can be written any more', async () => {
      const { probe, far } = await connected();
      far.write(pattern(0, 20));
      far.end();
      await world.eventually(() => probe.has('failed'));
      assert.equal(probe.calls, ['opened', 'bytes', 'ended', 'failed']);
      assert.is(probe.received, 20);
      assert.is(probe.failure!.code, 'ERR_CONNECTION_RESET');
    });
  else test('the other side may end its half and still read', () => halfClose());

  const halfClose = async () => {
    const { probe, far } = await connected();
    far.write(pattern(0, 20));
    far.end();
    await world.eventually(() => probe.has('ended'));
    assert.equal(probe.calls, ['opened', 'bytes', 'ended']);
    assert.is(probe.received, 20);
    assert.is(probe.stream!.write(pattern(0, 300), 0, 300), 300);
    await world.eventually(() => far.received === 300);
    assert.not.ok(far.hasEnded);
    probe.stream!.close();
    await world.eventually(() => far.hasEnded);
    assert.is(probe.failure, undefined);
  };

  test('close sends what was written, then ends; twice is fine', async () => {
    const { probe, far } = await connected();
    const taken = probe.stream!.write(pattern(0, 150_000), 0, 150_000);
    assert.ok(taken > 0);
    probe.stream!.close();
    probe.stream!.close();
    await world.eventually(() => far.hasEnded);
    assert.is(far.received, taken);
    assert.ok(far.isIntact);
    assert.is(probe.stream!.write(pattern(0, 1), 0, 1), 0);
  });

  test('close loses nothing while the other side is still sending', async () => {
    const { probe, far } = await connected();
    far.write(pattern(0, 3_000_000));
    await world.eventually(() => probe.received > 0);
    const taken = probe.stream!.write(pattern(0, 50_000), 0, 50_000);
    const { received } = probe;
    probe.stream!.close();
    await world.eventually(() => far.hasEnded);
    assert.is(far.received, taken);
    assert.is(probe.received, received);
  });

  test('no sink call follows close, whatever is on its way', async () => {
    const { probe, far } = await connected();
    far.write(pattern(0, 100_000));
    far.end();
    probe.stream!.close();
    await world.pause(100);
    assert.equal(probe.calls, ['opened']);
  });

  test('close is possible from within every sink call', async () => {
    for (const last of ['opened', 'bytes', 'ended']) {
      const at = await world.listen(end => {
        end.write(pattern(0, 10));
        end.end();
      });
      const probe = start({ host: at.address, port: at.port });
      probe.on = call => call === last && probe.stream!.close();
      await world.eventually(() => probe.has(last));
      await world.pause(50);
      assert.is(probe.calls.at(-1), last);
    }
  });

  test('a stream that is closed before it is open is never heard of', async () => {
    const at = await world.listen(() => undefined);
    const refused = await world.refusing();
    for (const { address, port } of [at, refused]) {
      const probe = start({ host: address, port });
      probe.stream!.close();
      await world.pause(50);
      assert.equal(probe.calls, []);
    }
  });

  test('a reset fails the stream once, with ERR_CONNECTION_RESET', async () => {
    const { probe, far } = await connected();
    far.reset();
    await world.eventually(() => probe.failure !== undefined);
    assert.is(probe.failure!.name, 'NetError');
    assert.is(probe.failure!.code, 'ERR_CONNECTION_RESET');
    await world.pause(20);
    assert.equal(probe.calls, ['opened', ...(world.hasHalfClose === false ? ['ended'] : []), 'failed']);
    assert.is(probe.stream!.write(pattern(0, 1), 0, 1), 0);
    probe.stream!.close();
  });

  test('a refused connection fails with ERR_CONNECTION_REFUSED', async () => {
    const at = await world.refusing();
    const probe = start({ host: at.address, port: at.port });
    await world.eventually(() => probe.failure !== undefined);
    assert.is(probe.failure!.code, 'ERR_CONNECTION_REFUSED');
    assert.equal(probe.calls, ['failed']);
  });

  test('a name that does not exist fails with ERR_NAME_NOT_FOUND', async () => {
    const probe = start({ host: 'no-such-name.invalid', port: 443 });
    await world.eventually(() => probe.failure !== undefined);
    assert.is(probe.failure!.code, 'ERR_NAME_NOT_FOUND');
    assert.equal(probe.calls, ['failed']);
  });

  test('of several addresses the first that answers is used, and the name is not looked up', async () => {
    const at = await world.listen(() => undefined);
    const addresses = ['127.0.0.99', at.address, '127.0.0.98'];
    const probe = start({ host: 'no-such-name.invalid', port: at.port, addresses });
    await world.eventually(() => probe.calls.length > 0);
    assert.equal(probe.calls, ['opened']);
  });

  test('when no address answers, it fails', async () => {
    const { port } = await world.refusing();
    const probe = start({ host: 'any', port, addresses: ['127.0.0.98', '127.0.0.99'] });
    await world.eventually(() => probe.failure !== undefined);
    assert.is(probe.failure!.code, 'ERR_CONNECTION_REFUSED');
  });

  if (world.silent !== undefined)
    test('silence ends with ERR_TIMED_OUT', async () => {
      const { address, port } = world.silent!();
      const probe = start({ host: address, port, timeoutMs: 300 });
      await world.pause(150);
      assert.equal(probe.calls, []);
      await world.eventually(() => probe.failure !== undefined);
      assert.is(probe.failure!.code, 'ERR_TIMED_OUT');
    });

  test('streams do not mix', async () => {
    const ends: FarEnd[] = [];
    const at = await world.listen(end => ends.push(end));
    const probes = [1, 2, 3].map(() => start({ host: at.address, port: at.port }));
    await world.eventually(() => ends.length === 3 && probes.every(probe => probe.has('opened')));
    for (const [i, probe] of probes.entries()) probe.stream!.write(pattern(0, 100 * (i + 1)), 0, 100 * (i + 1));
    await world.eventually(() => ends.reduce((sum, end) => sum + end.received, 0) === 600);
    assert.equal(ends.map(end => end.received).sort(), [100, 200, 300]);
    assert.ok(ends.every(end => end.isIntact));
  });

  test.run();
}
