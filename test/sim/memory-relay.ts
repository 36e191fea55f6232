/**
 * A relay with its STUN responder on a simulated network: the real machines behind a small HTTP/1.1 front. TLS is not
 * spoken; a client must ask for the pinned certificate. Test-only.
 */
import { copyBytes, toHex, utf8Decode } from '../../lib/base/bytes.ts';
import type { CryptoSuite } from '../../lib/crypto/suite.ts';
import { SecretKey } from '../../lib/crypto/keys.ts';
import { createNobleSuite } from '../../lib/crypto/noble.ts';
import { answerRelayRequest } from '../../lib/derp/http.ts';
import type { WireDerpRegion } from '../../lib/derp/map.ts';
import { DerpRelay } from '../../lib/derp/relay.ts';
import type { Datagrams, Host, StreamSink, Timer } from '../../lib/ports.ts';
import { StunResponder } from '../../lib/stun/responder.ts';
import type { Endpoint } from '../../lib/base/address.ts';
import type { MemoryAccept, MemoryStream } from './memory-streams.ts';

export const RELAY_PORT = 443;
export const STUN_PORT = 3478;
/** The pin in the relay map; the network does not speak TLS, but hands it on. */
export const RELAY_PIN = 'ab'.repeat(32);

/** What servers need of a network: `MemoryNetwork` and the world have it. */
export interface ServerNetwork {
  readonly nowMs: number;
  /** The ports of a server with this address. */
  host(address: string, seed: number): Host;
  readonly streams: {
    listen(at: Endpoint, accept: MemoryAccept): () => void;
    reset(address: string): void;
  };
}

/** What a {@link MemoryRelay} takes. */
export interface MemoryRelayOptions {
  readonly address: string;
  /** A second address, for IPv6. */
  readonly address6?: string;
  readonly region: number;
  readonly seed?: number;
  readonly suite?: CryptoSuite;
  /** The tailnet of a node, for admission; undefined: refused. */
  readonly tailnetOf?: (nodeKey: Uint8Array) => string | undefined;
}

/** One relay region with one node. */
export class MemoryRelay {
  readonly network: ServerNetwork;
  readonly options: MemoryRelayOptions;
  /** Asked for every client; set by the coordinator that the relay belongs to. */
  tailnetOf: (nodeKey: Uint8Array) => string | undefined;
  machine: DerpRelay;
  stun: StunResponder;
  /** Everything that went into a socket, for canaries; not kept unless set. */
  sentBytes: Uint8Array[] | undefined;
  /** STUN requests are heard, or not. */
  answersStun = true;
  readonly #host: Host;
  readonly #timer: Timer;
  readonly #suite: CryptoSuite;
  readonly #clients = new Map<number, RelayedStream>();
  readonly #stunOut = new Uint8Array(64);
  #unlisten: () => void = () => {};
  #datagrams: Datagrams | undefined;
  #isRunning = false;
  #isScheduled = false;

  constructor(network: ServerNetwork, options: MemoryRelayOptions) {
    this.network = network;
    this.options = options;
    this.tailnetOf = options.tailnetOf ?? (() => undefined);
    this.#host = network.host(options.address, options.seed ?? options.region);
    this.#timer = this.#host.createTimer(() => this.pump());
    this.#suite = options.suite ?? createNobleSuite();
    this.machine = this.#createMachine();
    this.stun = new StunResponder({ random: this.#host.random });
  }

  /** Opens its ports. */
  start(): void {
    const { address } = this.options;
    this.#isRunning = true;
    this.#unlisten = this.network.streams.listen({ address, port: RELAY_PORT }, ({ stream, options }) => {
      if (toHex(options.tls?.pin ?? new Uint8Array(0)) !== RELAY_PIN) return 'ERR_TLS';
      return new RelayedStream(this, stream);
    });
    const sink = {
      datagram: (buf: Uint8Array, start: number, end: number, from: Endpoint) => this.#answer(buf, start, end, from),
      failed() {},
    };
    void this.#host.openDatagrams({ port: STUN_PORT }, sink).then(datagrams => {
      if (this.#isRunning) this.#datagrams = datagrams;
      else datagrams.close();
    });
  }

  /** As a process that is killed. The caller resets the streams of its address. */
  kill(): void {
    this.#isRunning = false;
    this.#unlisten();
    this.#clients.clear();
    this.#datagrams?.close();
    this.#datagrams = undefined;
    this.#timer.cancel();
  }

  /** Starts again, knowing nobody. */
  restart(): void {
    this.machine = this.#createMachine();
    this.start();
  }

  /** What the relay map says of it. */
  get wireRegion(): WireDerpRegion {
    const { address, address6, region } = this.options;
    const node = {
      Name: `${region}a`,
      RegionID: region,
      HostName: address,
      IPv4: address,
      ...(address6 === undefined ? {} : { IPv6: address6 }),
      CertName: `sha256-raw:${RELAY_PIN}`,
      DERPPort: RELAY_PORT,
    };
    return { RegionID: region, RegionCode: `r${region}`, RegionName: `r${region}`, Nodes: [node] };
  }

  /** One turn: timers, admissions, bytes. */
  pump(): void {
    const { machine } = this;
    const { nowMs } = this.network;
    if (!this.#isRunning) return;
    if (nowMs >= machine.nextTimeout()) machine.handleTimeout(nowMs);
    for (let event = machine.pollEvent(); event !== undefined; event = machine.pollEvent()) {
      if (event.type === 'admission') {
        const tailnet = this.tailnetOf(event.nodeKey);
        if (tailnet === undefined) machine.refuse(nowMs, event.id);
        else machine.admit(nowMs, event.id, tailnet);
      } else if (event.type === 'close') {
        this.#clients.get(event.id)?.close();
        this.#clients.delete(event.id);
      }
    }
    for (let id = machine.pollReady(); id >= 0; id = machine.pollReady()) this.#clients.get(id)?.flush();
    this.#timer.arm(machine.nextTimeout());
  }

  /** Does everything soon that can be done. */
  wake(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.#host.defer(() => {
      this.#isScheduled = false;
      this.pump();
    });
  }

  openClient(stream: RelayedStream): number {
    const id = this.machine.open(this.network.nowMs);
    if (id >= 0) this.#clients.set(id, stream);
    return id;
  }

  forgetClient(stream: RelayedStream, id: number): void {
    if (this.#clients.get(id) !== stream) return; // of a run before the last start
    this.machine.handleEnd(this.network.nowMs, id);
    this.#clients.delete(id);
    this.wake();
  }

  #answer(buf: Uint8Array, start: number, end: number, from: Endpoint): void {
    if (!this.answersStun) return;
    const length = this.stun.answer(this.network.nowMs, buf, start, end, from, this.#stunOut, 0);
    if (length > 0) this.#datagrams?.send(this.#stunOut, 0, length, from);
  }

  #createMachine(): DerpRelay {
    const privateKey = SecretKey.fromBytes(new Uint8Array(32).fill(this.options.region & 0xff));
    return new DerpRelay({ random: this.#host.random, suite: this.#suite, privateKey });
  }
}

/** What is on its way into a stream whose buffer may be full. */
export class Outgoing {
  readonly #stream: MemoryStream;
  #waiting: Uint8Array = new Uint8Array(0);

  constructor(stream: MemoryStream) {
    this.#stream = stream;
  }

  get isEmpty(): boolean {
    return this.#waiting.length === 0;
  }

  push(bytes: Uint8Array): void {
    const joined = new Uint8Array(this.#waiting.length + bytes.length);
    copyBytes(joined, 0, this.#waiting, 0, this.#waiting.length);
    copyBytes(joined, this.#waiting.length, bytes, 0, bytes.length);
    this.#waiting = joined;
    this.flush();
  }

  flush(): void {
    if (this.#waiting.length === 0) return;
    const taken = this.#stream.write(this.#waiting, 0, this.#waiting.length);
    this.#waiting = this.#waiting.slice(taken);
  }
}

/** A client of the relay. */
class RelayedStream implements StreamSink {
  readonly #owner: MemoryRelay;
  readonly #stream: MemoryStream;
  readonly #out: Outgoing;
  readonly #scratch = new Uint8Array(16_384);
  #head = '';
  #id = -1;

  constructor(owner: MemoryRelay, stream: MemoryStream) {
    this.#owner = owner;
    this.#stream = stream;
    this.#out = new Outgoing(stream);
  }

  opened(): void {}

  bytes(buf: Uint8Array, start: number, end: number): void {
    if (this.#id >= 0) this.#owner.machine.handleBytes(this.#owner.network.nowMs, this.#id, buf, start, end);
    else this.#readHead(utf8Decode(buf, start, end));
    this.#owner.wake();
  }

  writable(): void {
    this.#out.flush();
    this.flush();
  }

  ended(): void {
    this.#stream.close();
    this.failed();
  }

  failed(): void {
    if (this.#id >= 0) this.#owner.forgetClient(this, this.#id);
  }

  close(): void {
    this.#stream.close();
  }

  flush(): void {
    while (this.#id >= 0 && this.#out.isEmpty) {
      const { machine, network } = this.#owner;
      const count = machine.pollBytes(network.nowMs, this.#id, this.#scratch, 0, this.#scratch.length);
      if (count === 0) return;
      this.#send(this.#scratch.slice(0, count));
    }
  }

  #send(bytes: Uint8Array): void {
    this.#owner.sentBytes?.push(bytes);
    this.#out.push(bytes);
  }

  #readHead(text: string): void {
    this.#head += text;
    if (!this.#head.includes('\r\n\r\n')) return;
    const headers = { connection: 'Upgrade', upgrade: 'DERP' };
    const answer = answerRelayRequest({ method: 'GET', target: '/derp', headers }, this.#owner.machine.publicKey);
    if (answer?.type !== 'derp') throw new Error('the relay does not upgrade');
    this.#send(answer.head);
    this.#id = this.#owner.openClient(this);
  }
}
