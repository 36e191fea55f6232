/**
 * A coordinator and a relay on a `MemoryNetwork`: the real machines behind a small HTTP/1.1 and HTTP/2 front, on its
 * virtual clock, so that whole tailnets run in a test without sockets. Commits are kept in an array and survive a
 * restart.
 */
import { utf8Decode, utf8Encode } from '../../lib/base/bytes.ts';
import { ControlResponder } from '../../lib/control/responder.ts';
import { answerControlRequest } from '../../lib/control/upgrade.ts';
import type { AdminCommand, AdminOutcome } from '../../lib/coordinator/commands.ts';
import { Coordinator } from '../../lib/coordinator/coordinator.ts';
import type { Change, Commit } from '../../lib/coordinator/model.ts';
import { formatKey } from '../../lib/crypto/key-text.ts';
import { SecretKey } from '../../lib/crypto/keys.ts';
import { createNobleSuite } from '../../lib/crypto/noble.ts';
import type { CryptoSuite } from '../../lib/crypto/suite.ts';
import type { Host, StreamSink, Timer } from '../../lib/ports.ts';
import { TestHttp2Server, type TestRequest } from '../control/client-http2.ts';
import { ForeignMap, foreignPoll, foreignRegions } from './foreign-map.ts';
import { MemoryRelay, Outgoing, type ServerNetwork } from './memory-relay.ts';
import type { MemoryStream } from './memory-streams.ts';

/** Where the coordinator listens. */
export const CONTROL_PORT = 8080;
const OWN_REGION = 900;
const MAP_CHUNK_BYTES = 65_536;

/** What a {@link MemoryCoordinator} takes besides its place. */
export interface MemoryCoordinatorOptions {
  readonly seed?: number;
  readonly suite?: CryptoSuite;
  /** Relays of its own map; without them one at its own address. They stand and fall on their own. */
  readonly relays?: readonly MemoryRelay[];
  /** Keep all that is sent, for canaries. Default true. */
  readonly keepsSentBytes?: boolean;
  /** Maps are as those of another coordinator (foreign-map.ts), whatever a device asks for. Default false. */
  readonly isForeign?: boolean;
}

/** One coordinator at one address, with relays. */
export class MemoryCoordinator {
  readonly network: ServerNetwork;
  readonly address: string;
  readonly commits: Commit[] = [];
  readonly log: string[] = [];
  machine: Coordinator;
  /** The regions of its map. */
  readonly relays: readonly MemoryRelay[];
  /** False: commits are not made durable, so nothing that depends on them leaves. */
  isStoring = true;
  /** Everything that went into a socket, for canaries. */
  readonly sentBytes: Uint8Array[] = [];
  readonly #host: Host;
  readonly #timer: Timer;
  readonly #noiseKey = SecretKey.fromBytes(new Uint8Array(32).fill(0x42));
  readonly #suite: CryptoSuite;
  readonly #keepsSentBytes: boolean;
  readonly isForeign: boolean;
  readonly #ownRelay: MemoryRelay | undefined;
  readonly #connections = new Set<ControlConnection>();
  readonly #waiting = new Map<number, ControlConnection>();
  readonly #outcomes = new Map<number, AdminOutcome>();
  #unlisten: () => void = () => {};
  #isScheduled = false;

  constructor(network: ServerNetwork, address: string, options: MemoryCoordinatorOptions = {}) {
    const { seed = 7, suite = createNobleSuite(), relays, keepsSentBytes = true, isForeign = false } = options;
    this.#keepsSentBytes = keepsSentBytes;
    this.isForeign = isForeign;
    this.network = network;
    this.address = address;
    this.#suite = suite;
    this.#host = network.host(address, seed);
    this.#timer = this.#host.createTimer(() => this.pump());
    if (relays === undefined) this.#ownRelay = new MemoryRelay(network, { address, region: OWN_REGION, seed, suite });
    this.relays = relays ?? [this.#ownRelay!];
    for (const relay of this.relays) {
      relay.tailnetOf = nodeKey => this.machine.tailnetOfNode(this.unixMs, nodeKey);
      if (keepsSentBytes) relay.sentBytes = this.sentBytes;
    }
    this.machine = this.#createMachine();
    this.start();
  }

  /** What motes are told. */
  get url(): string {
    return `http://${this.address}:${CONTROL_PORT}`;
  }

  /** Opens its ports. */
  start(): void {
    const at = { address: this.address, port: CONTROL_PORT };
    this.#unlisten = this.network.streams.listen(at, ({ stream, from }) => {
      const connection = new ControlConnection(this, stream, from.address);
      this.#connections.add(connection);
      return connection;
    });
    this.#ownRelay?.start();
    this.pump();
  }

  /** As a process that is killed: connections end, what was not durable is gone. */
  kill(): void {
    this.#unlisten();
    this.#ownRelay?.kill();
    this.#connections.clear();
    this.#waiting.clear();
    this.network.streams.reset(this.address);
    this.#timer.cancel();
  }

  /** Starts again over what is durable. */
  restart(): void {
    this.machine = this.#createMachine();
    this.start();
  }

  /** Runs an administrator's command. */
  command(command: AdminCommand): unknown {
    const { nowMs } = this.network;
    const request = this.machine.command(nowMs, this.unixMs, { name: 'admin', tailnet: undefined }, command);
    this.pump();
    const outcome = this.#outcomes.get(request);
    if (outcome === undefined) throw new Error(`no outcome of ${command.type}`);
    if (!outcome.isOk) throw new Error(`${command.type}: ${outcome.code}: ${outcome.message}`);
    return outcome.value;
  }

  /** A new auth key. */
  authKey(more: Partial<Extract<AdminCommand, { type: 'key-create' }>> = {}): string {
    return (this.command({ type: 'key-create', tailnet: 'default', ...more }) as { key: string }).key;
  }

  get unixMs(): number {
    return this.#host.clock.unixMs();
  }

  get noise(): { readonly privateKey: SecretKey; readonly publicKey: Uint8Array } {
    const publicKey = new Uint8Array(32);
    this.#suite.publicKey(publicKey, this.#noiseKey.bytes);
    return { privateKey: this.#noiseKey, publicKey };
  }

  get suite() {
    return this.#suite;
  }

  get random() {
    return this.#host.random;
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

  /** What goes into a socket. */
  keep(bytes: Uint8Array): void {
    if (this.#keepsSentBytes) this.sentBytes.push(bytes);
  }

  /** A request that came out of a connection; its answer goes there. */
  expect(request: number, connection: ControlConnection): void {
    this.#waiting.set(request, connection);
  }

  forget(connection: ControlConnection): void {
    this.#connections.delete(connection);
    for (const [request, waiting] of [...this.#waiting]) {
      if (waiting !== connection) continue;
      this.#waiting.delete(request);
      this.machine.abandon(this.network.nowMs, request);
    }
    this.wake();
  }

  /** One turn of everything: timers, commits, events, bytes. */
  pump(): void {
    const { nowMs } = this.network;
    const { machine } = this;
    if (nowMs >= machine.nextTimeout()) machine.handleTimeout(nowMs, this.unixMs);
    for (let commit = machine.pollCommit(); commit !== undefined; commit = machine.pollCommit()) {
      if (!this.isStoring) continue;
      this.commits.push(commit);
      machine.handleCommitted(nowMs, commit.id);
    }
    this.#takeEvents();
    for (let id = machine.pollMap(); id !== undefined; id = machine.pollMap()) this.#waiting.get(id)?.sendMap(id);
    for (const connection of this.#connections) connection.flush();
    this.#timer.arm(machine.nextTimeout());
  }

  #takeEvents(): void {
    for (let event = this.machine.pollEvent(); event !== undefined; event = this.machine.pollEvent()) {
      switch (event.type) {
        case 'reply':
          this.#waiting.get(event.request)?.reply(event.request, event.status, event.body);
          this.#waiting.delete(event.request);
          break;
        case 'stream':
          this.#waiting.get(event.request)?.startMap(event.request);
          break;
        case 'end':
          this.#waiting.get(event.request)?.endMap(event.request);
          this.#waiting.delete(event.request);
          break;
        case 'outcome':
          this.#outcomes.set(event.request, event.outcome);
          break;
        case 'relay-disconnect':
          for (const relay of this.relays) {
            relay.machine.disconnect(this.network.nowMs, event.tailnet, event.nodeKey);
            relay.wake();
          }
          break;
        case 'log':
          this.log.push(event.message);
      }
    }
  }

  #createMachine(): Coordinator {
    const own = Object.fromEntries(this.relays.map(relay => [relay.options.region, relay.wireRegion]));
    const Regions = this.isForeign ? { ...foreignRegions(), ...own } : own;
    return new Coordinator({
      nowMs: this.network.nowMs,
      unixMs: this.unixMs,
      random: this.#host.random,
      suite: this.#suite,
      settings: { url: this.url, derpMap: { Regions } },
      records: recordsOf(this.commits),
      lastCommit: this.commits.at(-1)?.id ?? 0,
    });
  }
}

/** The records that commits add up to. */
export function recordsOf(commits: readonly Commit[]): Change[] {
  const records = new Map<string, Change>();
  for (const { changes } of commits) {
    for (const change of changes) {
      const name = JSON.stringify([change.tailnet, change.kind, change.id]);
      if (change.value === undefined) records.delete(name);
      else records.set(name, change);
    }
  }
  return [...records.values()];
}

/** A connection to the coordinator: GET /key, or ts2021 with HTTP/2 inside. */
class ControlConnection implements StreamSink {
  readonly #owner: MemoryCoordinator;
  readonly #stream: MemoryStream;
  readonly #source: string;
  readonly #out: Outgoing;
  readonly #http2 = new TestHttp2Server();
  readonly #streams = new Map<number, number>();
  /** Maps of which there is more than the client's windows take now. */
  readonly #held = new Set<number>();
  readonly #foreign = new Map<number, ForeignMap>();
  #head = '';
  #responder: ControlResponder | undefined;
  readonly #scratch = new Uint8Array(16_384);

  constructor(owner: MemoryCoordinator, stream: MemoryStream, source: string) {
    this.#owner = owner;
    this.#stream = stream;
    this.#source = source;
    this.#out = new Outgoing(stream);
  }

  opened(): void {}

  bytes(buf: Uint8Array, start: number, end: number): void {
    if (this.#responder === undefined) this.#readHead(utf8Decode(buf, start, end));
    else this.#feed(buf, start, end);
    this.#owner.wake();
  }

  writable(): void {
    this.#out.flush();
    this.#owner.wake();
  }

  ended(): void {
    this.#stream.close();
    this.#owner.forget(this);
  }

  failed(): void {
    this.#owner.forget(this);
  }

  reply(request: number, status: number, body: Uint8Array): void {
    const id = this.#streams.get(request)!;
    this.#http2.respond(id, status);
    this.#http2.write(id, body);
    this.#http2.end(id);
    this.#streams.delete(request);
  }

  startMap(request: number): void {
    if (this.#owner.isForeign) this.#foreign.set(request, new ForeignMap());
    this.#http2.respond(this.#streams.get(request)!, 200);
  }

  sendMap(request: number): void {
    const id = this.#streams.get(request)!;
    const { machine, network, unixMs } = this.#owner;
    while (this.#http2.waiting(id) < MAP_CHUNK_BYTES) {
      const count = machine.pollMapBytes(network.nowMs, unixMs, request, this.#scratch, 0, this.#scratch.length);
      if (count === 0) return;
      // A client may have reset the stream meanwhile.
      if (this.#http2.resets.includes(id)) return;
      const bytes = this.#scratch.slice(0, count);
      this.#http2.write(id, this.#foreign.get(request)?.handle(bytes) ?? bytes);
    }
    this.#held.add(request);
  }

  endMap(request: number): void {
    this.#http2.end(this.#streams.get(request)!);
    this.#streams.delete(request);
    this.#held.delete(request);
    this.#foreign.delete(request);
  }

  /** Sends what the layers have to send. */
  flush(): void {
    if (this.#responder === undefined) return;
    for (const request of [...this.#held]) {
      this.#held.delete(request);
      this.sendMap(request);
    }
    const plain = this.#http2.take();
    for (let at = 0; at < plain.length || !this.#responder.isDrained; ) {
      at += this.#responder.handlePlain(0, plain, at, plain.length);
      const count = this.#responder.pollBytes(this.#scratch, 0, this.#scratch.length);
      if (count === 0) return;
      this.#send(this.#scratch.slice(0, count));
    }
  }

  #send(bytes: Uint8Array): void {
    this.#owner.keep(bytes);
    this.#out.push(bytes);
  }

  #readHead(text: string): void {
    this.#head += text;
    if (!this.#head.includes('\r\n\r\n')) return;
    const [first = '', ...lines] = this.#head.split('\r\n').slice(0, -2);
    const { noise, suite, random, network } = this.#owner;
    if (first.startsWith('GET /key?v=')) {
      const body = JSON.stringify({ legacyPublicKey: '', publicKey: formatKey('mkey', noise.publicKey) });
      this.#send(utf8Encode(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`));
      this.#stream.end();
      return;
    }
    const headers = Object.fromEntries(lines.map(line => [line.split(': ')[0]!.toLowerCase(), line.split(': ')[1]!]));
    const answer = answerControlRequest({ method: 'POST', headers });
    if (answer.type !== 'upgrade') throw new Error(answer.body);
    this.#send(answer.head);
    this.#responder = new ControlResponder({
      nowMs: network.nowMs,
      suite,
      random,
      ...noise,
      initiation: answer.initiation,
    });
  }

  #feed(buf: Uint8Array, start: number, end: number): void {
    const responder = this.#responder!;
    for (let at = start; at < end; ) {
      const upTo = Math.min(end, at + responder.receiveRoom);
      responder.handleBytes(0, buf, at, upTo);
      at = upTo;
      for (let count = 1; count > 0; ) {
        count = responder.pollPlain(this.#scratch, 0, this.#scratch.length);
        this.#http2.receive(this.#scratch.slice(0, count));
      }
    }
    for (const request of this.#http2.requests.splice(0)) this.#handle(request);
  }

  #handle({ id, path, body }: TestRequest): void {
    const { machine, network, unixMs } = this.#owner;
    const { machineKey, version } = this.#responder!;
    if (machineKey === undefined) throw new Error('a request before the handshake');
    const isForeignPoll = this.#owner.isForeign && path === '/machine/map';
    const request = { machineKey, source: this.#source, body: isForeignPoll ? foreignPoll(body) : body };
    if (path !== '/machine/register' && path !== '/machine/map') return this.#http2.answer(id, 404, '');
    const number =
      path === '/machine/register'
        ? machine.register(network.nowMs, unixMs, request)
        : machine.map(network.nowMs, unixMs, { ...request, version });
    this.#streams.set(number, id);
    this.#owner.expect(number, this);
  }
}
