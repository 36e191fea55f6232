/** The contract of streams on the network in memory, and what that adds for tests of motes. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { StreamSink } from '../../lib/ports.ts';
import {
  type FarEnd,
  isPattern,
  pattern,
  StreamProbe,
  streamsContract,
  type StreamWorld,
} from '../contract/streams.ts';
import { MemoryNetwork } from './memory-host.ts';
import { type MemoryArrival, type MemoryStream, STREAM_BUFFER_BYTES } from './memory-streams.ts';

const HERE = '192.0.2.1';
const THERE = '192.0.2.2';

/** A listener's end. */
class MemoryFar implements FarEnd, StreamSink {
  received = 0;
  isIntact = true;
  hasEnded = false;
  isGone = false;
  readonly #network: MemoryNetwork;
  readonly #stream: MemoryStream;
  #waiting: Uint8Array[] = [];
  #isEnding = false;

  constructor(network: MemoryNetwork, stream: MemoryStream) {
    this.#network = network;
    this.#stream = stream;
  }

  opened(): void {}

  bytes(buf: Uint8Array, start: number, end: number): void {
    this.isIntact &&= isPattern(buf.subarray(start, end), this.received);
    this.received += end - start;
  }

  writable(): void {
    while (this.#waiting.length > 0) {
      const bytes = this.#waiting[0]!;
      const taken = this.#stream.write(bytes, 0, bytes.length);
      if (taken === bytes.length) this.#waiting.shift();
      else this.#waiting[0] = bytes.subarray(taken);
      if (taken < bytes.length) return;
    }
    if (this.#isEnding) this.#stream.end();
  }

  ended(): void {
    this.hasEnded = true;
  }

  failed(): void {
    this.isGone = true;
  }

  get unsent(): number {
    return this.#waiting.reduce((sum, bytes) => sum + bytes.length, 0);
  }

  write(bytes: Uint8Array): void {
    this.#waiting.push(bytes);
    this.writable();
  }

  end(): void {
    this.#isEnding = true;
    this.writable();
  }

  reset(): void {
    this.#network.streams.reset(THERE);
  }

  pause(): void {
    this.#stream.pause();
  }

  resume(): void {
    this.#stream.resume();
  }
}

/** The network in memory as the contract sees it; its clock runs while a test waits. */
class MemoryWorld implements StreamWorld {
  readonly slackBytes = STREAM_BUFFER_BYTES;
  readonly #network = new MemoryNetwork();
  readonly #closes: (() => void)[] = [];
  #port = 1000;
  readonly host = this.#network.host(HERE, 1);

  async listen(accept: (end: FarEnd) => void): Promise<{ address: string; port: number }> {
    const at = { address: THERE, port: this.#port++ };
    const take = ({ stream }: MemoryArrival) => {
      const far = new MemoryFar(this.#network, stream);
      accept(far);
      return far;
    };
    this.#closes.push(this.#network.streams.listen(at, take));
    return at;
  }

  async refusing(): Promise<{ address: string; port: number }> {
    return { address: THERE, port: this.#port++ };
  }

  silent(): { address: string; port: number } {
    this.#network.streams.isCut = () => true;
    return { address: THERE, port: 1 };
  }

  async eventually(condition: () => boolean): Promise<void> {
    for (let waited = 0; !condition(); waited += 10) {
      if (waited > 5000) throw new Error(`waited in vain for ${condition}`);
      await this.pause(10);
    }
  }

  pause(ms: number): Promise<void> {
    return this.#network.advance(ms);
  }

  clean(): void {
    for (const close of this.#closes.splice(0)) close();
    this.#network.streams.isCut = () => false;
  }
}

streamsContract('memory', new MemoryWorld());

const test = suite('memory streams');

function pair(): { network: MemoryNetwork; probe: StreamProbe; far: () => MemoryFar | undefined } {
  const network = new MemoryNetwork();
  let far: MemoryFar | undefined;
  network.streams.listen({ address: THERE, port: 443 }, ({ stream }) => {
    far = new MemoryFar(network, stream);
    return far;
  });
  const host = network.host(HERE, 1, { 'web.test': [THERE] });
  const probe = new StreamProbe();
  probe.stream = host.openStream({ host: 'web.test', port: 443, tls: { serverName: 'web.test' } }, probe);
  return { network, probe, far: () => far };
}

test('what is sent during a cut arrives after it', async () => {
  const { network, probe, far } = pair();
  await network.advance(20);
  network.streams.isCut = () => true;
  probe.stream!.write(pattern(0, 100), 0, 100);
  await network.advance(5000);
  assert.is(far()!.received, 0);
  network.streams.isCut = () => false;
  await network.advance(200);
  assert.is(far()!.received, 100);
});

test('a listener sees who comes and what TLS is asked for, and may refuse', async () => {
  const network = new MemoryNetwork();
  let seen: MemoryArrival | undefined;
  network.streams.listen({ address: THERE, port: 443 }, arrival => {
    seen = arrival;
    return 'ERR_TLS';
  });
  const probe = new StreamProbe();
  const tls = { serverName: 'web.test', pin: new Uint8Array(32) };
  probe.stream = network.host(HERE, 1).openStream({ host: THERE, port: 443, tls }, probe);
  await network.advance(20);
  assert.is(probe.failure!.code, 'ERR_TLS');
  assert.equal(probe.calls, ['failed']);
  assert.is(seen!.from.address, HERE);
  assert.is(seen!.options.tls, tls);
});

test('a host that restarts resets its streams', async () => {
  const { network, probe, far } = pair();
  await network.advance(20);
  network.streams.reset(HERE);
  await network.advance(20);
  assert.is(probe.failure!.code, 'ERR_CONNECTION_RESET');
  assert.ok(far()!.isGone);
});

test.run();
