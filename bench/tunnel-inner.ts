/**
 * The in-process figures of the tunnel bench, one per run: `seal`, `handshakes`, `alloc` or `idle`; prints JSON.
 *
 * Started by tunnel.ts with the collector exposed and a young generation so large that nothing is collected meanwhile.
 * Clocks are virtual; keys come from the real generator.
 */
import { webcrypto } from 'node:crypto';
import { PerformanceObserver } from 'node:perf_hooks';
import { parsePrefix, type Endpoint } from '../lib/base/address.ts';
import { HEADROOM_BYTES, Slot, TAILROOM_BYTES } from '../lib/base/slot.ts';
import { SecretKey } from '../lib/crypto/keys.ts';
import { selectSuite } from '../lib/crypto/select.ts';
import type { CryptoSuite } from '../lib/crypto/suite.ts';
import { createWasmSuite } from '../lib/crypto/wasm.ts';
import { Device, parseInterfaceAddress } from '../lib/device/device.ts';
import type { TcpConnection } from '../lib/netstack/tcp.ts';
import { Tunnel } from '../lib/wireguard/tunnel.ts';

const MTU = 1420;
const UNIX_MS = 1_767_225_600_000;
const AT_A: Endpoint = Object.freeze({ address: '192.0.2.1', port: 51820 });
const AT_B: Endpoint = Object.freeze({ address: '192.0.2.2', port: 51820 });

const random = (out: Uint8Array) => void webcrypto.getRandomValues(out);
const suite = selectSuite([createWasmSuite]);

function newSlot(of: CryptoSuite): Slot {
  return new Slot(MTU, of.allocate?.(HEADROOM_BYTES + MTU + TAILROOM_BYTES));
}

/** Two tunnels that know each other; A's inner network is 10.0.1.0/24, B's 10.0.2.0/24. */
class TunnelPair {
  nowMs = 1000;
  readonly slot = newSlot(suite);
  readonly a: Tunnel;
  readonly b: Tunnel;
  readonly aPeer: number;
  readonly bPeer: number;

  constructor() {
    const make = () =>
      new Tunnel({
        nowMs: this.nowMs,
        unixMs: UNIX_MS,
        random,
        suite,
        privateKey: SecretKey.generate(random),
        mtu: MTU,
      });
    this.a = make();
    this.b = make();
    const prefix = (text: string) => parsePrefix(text)!;
    this.aPeer = this.a.addPeer(this.nowMs, {
      publicKey: this.b.publicKey,
      endpoint: AT_B,
      allowedIPs: [prefix('10.0.2.0/24')],
    });
    this.bPeer = this.b.addPeer(this.nowMs, {
      publicKey: this.a.publicKey,
      endpoint: AT_A,
      allowedIPs: [prefix('10.0.1.0/24')],
    });
  }

  /** Carries whatever either side wants to send; data is thrown away. */
  settle(): void {
    const carry = (from: Tunnel, to: Tunnel, source: Endpoint) => {
      let moved = false;
      while (from.pollTransmit(this.nowMs, this.slot)) {
        while (from.pollEvent() !== undefined);
        to.decapsulate(this.nowMs, this.slot.buf, this.slot.start, this.slot.end, source);
        moved = true;
      }
      while (to.pollEvent() !== undefined);
      return moved;
    };
    for (let moved = true; moved; ) moved = [carry(this.a, this.b, AT_A), carry(this.b, this.a, AT_B)].includes(true);
  }

  handshake(): void {
    this.a.setWallClock(this.nowMs, UNIX_MS + this.nowMs);
    this.a.connect(this.nowMs, this.aPeer);
    this.settle();
  }

  /** Puts an IPv4 packet of `bytes` from A's network to B's into the slot. */
  fill(bytes: number): void {
    const { slot } = this;
    slot.reset();
    slot.end = slot.start + bytes;
    const { buf, start } = slot;
    buf[start] = 0x45;
    buf[start + 2] = bytes >> 8;
    buf[start + 3] = bytes & 255;
    buf.set([10, 0, 1, 1, 10, 0, 2, 1], start + 12);
  }
}

/** Whole packets of 1420 bytes through `encapsulate`, and with `decapsulate` behind it. */
function seal(runMs: number): object {
  const pair = new TunnelPair();
  pair.handshake();
  const run = (opens: boolean) => {
    let packets = 0;
    const startMs = performance.now();
    let elapsedMs = 0;
    while (elapsedMs < runMs) {
      for (let i = 0; i < 500; i++, packets++) {
        pair.fill(MTU);
        if (pair.a.encapsulate(pair.nowMs, pair.slot) <= 0) throw new Error('a packet was not sealed');
        if (!opens) continue;
        const { buf, start, end } = pair.slot;
        if (pair.b.decapsulate(pair.nowMs, buf, start, end, AT_A) !== MTU) throw new Error('a packet was not opened');
      }
      elapsedMs = performance.now() - startMs;
    }
    return Math.round((packets * 1000) / elapsedMs);
  };
  // Sealing alone leaves counters behind that the other side never sees; that is fine, they only have to rise.
  const median = (values: number[]) => values.sort((x, y) => x - y)[values.length >> 1]!;
  run(true);
  const sealPerSec = median(Array.from({ length: 5 }, () => run(false)));
  const sealAndOpenPerSec = median(Array.from({ length: 5 }, () => run(true)));
  return { sealPerSec, sealAndOpenPerSec };
}

/** Whole handshakes, both sides' work on one core: initiation, response, and the empty packet that confirms. */
function handshakes(runMs: number): object {
  const pair = new TunnelPair();
  const run = () => {
    let done = 0;
    const startMs = performance.now();
    let elapsedMs = 0;
    for (; elapsedMs < runMs; done++) {
      pair.nowMs += 200_000; // older than any session may be
      pair.handshake();
      if (pair.b.peerStatus(pair.bPeer).lastHandshakeUnixMs === undefined) throw new Error('no handshake');
      elapsedMs = performance.now() - startMs;
    }
    const { hasSession } = pair.a.peerStatus(pair.aPeer);
    if (!hasSession) throw new Error('the last handshake made no session');
    return Math.round((done * 1000) / elapsedMs);
  };
  run();
  const rates = Array.from({ length: 5 }, run).sort((x, y) => x - y);
  return { handshakesPerSec: rates[2]! };
}

/** Two devices and a TCP stream from one to the other, datagrams passed by hand. */
class DevicePair {
  nowMs = 1000;
  datagrams = 0;
  received = 0;
  readonly #chunk = new Uint8Array(65_536);
  readonly a: Device;
  readonly b: Device;
  #out: TcpConnection | undefined;

  constructor() {
    const keys = [SecretKey.generate(random), SecretKey.generate(random)];
    const make = (privateKey: SecretKey, address: string) =>
      new Device({
        nowMs: this.nowMs,
        unixMs: UNIX_MS,
        random,
        suite,
        privateKey,
        addresses: [parseInterfaceAddress(address)!],
        mtu: MTU,
        preset: 'large',
      });
    this.a = make(keys[0]!, '10.0.0.1/24');
    this.b = make(keys[1]!, '10.0.0.2/24');
    const prefix = (text: string) => parsePrefix(text)!;
    const { tunnel: ta } = this.a;
    const { tunnel: tb } = this.b;
    ta.addPeer(this.nowMs, { publicKey: tb.publicKey, endpoint: AT_B, allowedIPs: [prefix('10.0.0.2/32')] });
    tb.addPeer(this.nowMs, { publicKey: ta.publicKey, endpoint: AT_A, allowedIPs: [prefix('10.0.0.1/32')] });
    this.b.stack.tcpListen(80);
    this.#out = this.a.stack.tcpConnect(this.nowMs, Uint8Array.of(10, 0, 0, 2), 80);
  }

  /** One batch each way, as a driver does it, and half a millisecond. */
  step(): void {
    this.#carry(this.a, this.b, AT_A);
    this.#events(this.b);
    this.#carry(this.b, this.a, AT_B);
    this.#events(this.a);
    this.nowMs += 0.5;
    for (const device of [this.a, this.b]) if (this.nowMs >= device.nextTimeout()) device.handleTimeout(this.nowMs);
  }

  #carry(from: Device, to: Device, source: Endpoint): void {
    for (let count = 0; count < 64; count++) {
      const slot = from.pollTransmit(this.nowMs);
      if (slot === undefined) return;
      from.pollSave();
      // The slot is ours until the next poll, so it can be lent on: a copy would be counted as an allocation.
      to.handleDatagram(this.nowMs, slot.buf, slot.start, slot.end, source);
      this.datagrams++;
    }
  }

  #events(device: Device): void {
    for (let event = device.pollEvent(); event !== undefined; event = device.pollEvent()) {
      if (event.type !== 'tcp') continue;
      const { connection } = event;
      connection.takeReady();
      while (connection.readableBytes > 0)
        this.received += connection.read(this.nowMs, this.#chunk, 0, this.#chunk.length);
    }
    const out = this.#out!;
    if (device === this.a)
      while (out.writableBytes > 0 && out.write(this.nowMs, this.#chunk, 0, this.#chunk.length) > 0);
  }
}

/** Heap growth per datagram of a running stream, with nothing collected in between. */
async function alloc(datagrams: number): Promise<object> {
  const pair = new DevicePair();
  while (pair.datagrams < 100_000) pair.step();
  let collections = 0;
  const observer = new PerformanceObserver(list => {
    collections += list.getEntries().length;
  });
  const samples: number[] = [];
  let throughput = 0;
  for (let round = 0; round < 5; round++) {
    globalThis.gc!();
    await new Promise(resolve => setTimeout(resolve, 20));
    observer.observe({ entryTypes: ['gc'] });
    const { datagrams: first, received } = pair;
    const startMs = performance.now();
    const before = process.memoryUsage();
    while (pair.datagrams - first < datagrams) pair.step();
    const after = process.memoryUsage();
    throughput = ((pair.received - received) * 8) / 1000 / (performance.now() - startMs);
    await new Promise(resolve => setTimeout(resolve, 20));
    observer.disconnect();
    const grown = after.heapUsed + after.arrayBuffers - before.heapUsed - before.arrayBuffers;
    samples.push(grown / (pair.datagrams - first));
  }
  if (collections > 0) throw new Error(`the collector ran ${collections} times during the measurement`);
  samples.sort((x, y) => x - y);
  return { allocBytesPerPacket: Math.round(samples[2]! * 10) / 10, deviceMbps: Math.round(throughput) };
}

/** Memory of a peer that is known and silent: heap and array buffers at 10,000 peers, after collection. */
async function idle(): Promise<object> {
  const count = 10_000;
  const tunnel = new Tunnel({
    nowMs: 0,
    unixMs: UNIX_MS,
    random,
    suite,
    privateKey: SecretKey.generate(random),
    mtu: MTU,
  });
  const add = (from: number, to: number) => {
    for (let i = from; i < to; i++) {
      const publicKey = new Uint8Array(32);
      random(publicKey);
      const endpoint = { address: `198.${18 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}`, port: 10_000 + (i % 50_000) };
      const allowedIPs = [parsePrefix(`10.${i >> 16}.${(i >> 8) & 255}.${i & 255}/32`)!];
      tunnel.addPeer(0, { publicKey, endpoint, allowedIPs });
    }
  };
  const look = async () => {
    for (let i = 0; i < 3; i++) {
      globalThis.gc!();
      await new Promise(resolve => setTimeout(resolve, 20));
    }
    const { heapUsed, arrayBuffers } = process.memoryUsage();
    return heapUsed + arrayBuffers;
  };
  // The first few bring the code with them, and are not counted on either side.
  add(0, 200);
  for (let i = 0; i < 200; i++) tunnel.removePeer(0, [...tunnel.peerIds()][0]!);
  const before = await look();
  add(0, count);
  const after = await look();
  if (tunnel.peerCount !== count) throw new Error(`${tunnel.peerCount} peers instead of ${count}`);
  return { bytesPerIdlePeer: Math.round((after - before) / count) };
}

const isShort = process.argv.includes('--short');
const what = process.argv[2];
const figures =
  what === 'seal'
    ? seal(isShort ? 200 : 800)
    : what === 'handshakes'
      ? handshakes(isShort ? 200 : 800)
      : what === 'alloc'
        ? await alloc(isShort ? 50_000 : 200_000)
        : await idle();
console.log(JSON.stringify(figures));
