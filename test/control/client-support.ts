/**
 * Stories of a control client and a coordinator: both machines, the bytes between them, a clock that is moved by hand,
 * and a caller that does what events ask for. What the coordinator answers is set by each story.
 */
import { utf8Decode } from '../../lib/base/bytes.ts';
import { NetError } from '../../lib/base/errors.ts';
import { ControlClient } from '../../lib/control/client.ts';
import type { ControlClientEvent, ControlClientOptions } from '../../lib/control/client-types.ts';
import type { ControlResponder } from '../../lib/control/responder.ts';
import { formatKey } from '../../lib/crypto/key-text.ts';
import type { SecretKey } from '../../lib/crypto/keys.ts';
import { TestHttp2Server, type TestRequest } from './client-http2.ts';
import { frames, NOW_MS, self } from './map-support.ts';
import { feed, makeServer, noble, publicOf, secretOf, sent, upgradeOf } from './support.ts';

/** The node key of all stories, and its text. */
export const NODE_BYTE = 0x55;
export const NODE_KEY = formatKey('nodekey', publicOf(NODE_BYTE));

/** Text of a secret node key's public half. */
export function textOf(key: SecretKey): string {
  const out = new Uint8Array(32);
  noble.publicKey(out, key.bytes);
  return formatKey('nodekey', out);
}

/** Randomness that a test can follow: every byte differs from the one before. */
export function counting(seed = 1): (out: Uint8Array) => void {
  let next = seed;
  return out => {
    for (let i = 0; i < out.length; i++) out[i] = next = (next * 73 + 41) & 255;
  };
}

/** The body of a register answer: accepted unless told otherwise. */
export function registered(more: object = {}): string {
  return JSON.stringify({
    User: { ID: 1, DisplayName: 'Ann' },
    Login: { ID: 1, Provider: 'x', LoginName: 'ann@example.com', DisplayName: 'Ann' },
    NodeKeyExpired: false,
    MachineAuthorized: true,
    AuthURL: '',
    Error: '',
    ...more,
  });
}

/** A time of 2023 or 2024 as the coordinator writes it. */
export function iso(unixMs: number): string {
  const two = (value: number) => String(value).padStart(2, '0');
  let day = Math.floor(unixMs / 86_400_000) - 19_358; // days of 2023
  let [year, month] = [2023, 0];
  for (;;) {
    const length = [31, year === 2024 ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month]!;
    if (day < length) break;
    day -= length;
    month++;
    if (month === 12) [year, month] = [year + 1, 0];
  }
  const ms = unixMs % 86_400_000;
  const time = [ms / 3_600_000, (ms / 60_000) % 60, (ms / 1000) % 60].map(part => two(Math.floor(part))).join(':');
  return `${year}-${two(month + 1)}-${two(day + 1)}T${time}.${String(Math.floor(ms % 1000)).padStart(3, '0')}Z`;
}

/** What a request says. */
export interface Asked {
  readonly kind: 'register' | 'map' | 'update' | 'other';
  readonly request: TestRequest;
  readonly json: { readonly [field: string]: unknown };
}

/** A whole coordinator in place of answers that a story sets. */
export interface Backend {
  /** A request has arrived, to be answered at the story's `server`. */
  handleRequest(story: Story, asked: Asked): void;
  /** Whatever it has to say goes to the story's `server`; true when there was something. */
  settle(story: Story): boolean;
  nextTimeout(): number;
  handleTimeout(nowMs: number, unixMs: number): void;
}

/** One client, one coordinator. */
export class Story {
  nowMs = 1000;
  unixMs = NOW_MS;
  readonly client: ControlClient;
  /** Events, in short, `fetch-key` and the like included. */
  readonly log: string[] = [];
  readonly events: ControlClientEvent[] = [];
  /** Everything that was asked, over all connections. */
  readonly asked: Asked[] = [];
  /** Keys that the caller has stored, in order. */
  readonly stored: SecretKey[] = [];
  /** How the coordinator answers; undefined: not yet. */
  register: (json: Asked['json'], asked: Asked) => string | number | undefined = () => registered();
  /** First message of a map stream; a number refuses with that status. */
  map: (json: Asked['json'], asked: Asked) => object | number | undefined = json => ({
    Node: self({ Key: json['NodeKey'] }),
  });
  /** Status of the answer to updates and pings; 0: none. */
  update: () => number = () => 200;
  /** Headers of refusals. */
  fields: readonly (readonly [string, string])[] = [];
  /** How the caller behaves. */
  mayFetch = true;
  mayConnect = true;
  mayStore = true;
  serverByte = 0x33;
  publishedByte = 0x33;
  /** Sizes of the pieces that cross, both ways. */
  pieceBytes = 5000;
  backend: Backend | undefined = undefined;
  /** Called after each piece that the client was given. */
  onPiece: () => void = () => undefined;
  server: TestHttp2Server | undefined = undefined;
  responder: ControlResponder | undefined = undefined;
  #request = '';
  /** The stream of the latest map request. */
  mapId = 0;
  isOpen = false;
  connects = 0;

  constructor(options: Partial<ControlClientOptions> = {}) {
    this.client = new ControlClient({
      nowMs: this.nowMs,
      unixMs: this.unixMs,
      random: counting(),
      suite: noble,
      machineKey: secretOf(0x11),
      nodeKey: secretOf(NODE_BYTE),
      discoKey: new Uint8Array(32).fill(0x77),
      authority: 'control.test:8080',
      hostinfo: { Hostname: 'mote', OS: 'linux' },
      ...options,
    });
  }

  /** Lets everything happen that can happen now. */
  run(): this {
    for (let i = 0; i < 10_000; i++) if (!this.#step()) return this;
    throw new Error('it does not come to rest');
  }

  /** Lets time pass, with every timer in between. */
  wait(ms: number): this {
    const untilMs = this.nowMs + ms;
    this.run();
    for (let dueMs = this.#nextTimeout(); dueMs <= untilMs; dueMs = this.#nextTimeout()) {
      this.unixMs += Math.max(0, dueMs - this.nowMs);
      this.nowMs = Math.max(this.nowMs, dueMs);
      this.backend?.handleTimeout(this.nowMs, this.unixMs);
      if (this.nowMs < this.client.nextTimeout()) {
        this.run();
        continue;
      }
      const before = this.client.nextTimeout();
      this.client.handleTimeout(this.nowMs, this.unixMs);
      const isStuck = this.client.nextTimeout() === before && !this.#step();
      if (isStuck) throw new Error(`a timer at ${before} does not act`);
      this.run();
    }
    this.unixMs += untilMs - this.nowMs;
    this.nowMs = untilMs;
    return this.run();
  }

  #nextTimeout(): number {
    return Math.min(this.client.nextTimeout(), this.backend?.nextTimeout() ?? Infinity);
  }

  /** Events of these types since the last call, in short; all others are left away. */
  took(...types: readonly string[]): string[] {
    const all = this.log.splice(0);
    return types.length === 0
      ? all
      : all.filter(entry => types.some(type => entry === type || entry.startsWith(`${type} `)));
  }

  /** Requests of a kind so far. */
  of(kind: Asked['kind']): Asked[] {
    return this.asked.filter(asked => asked.kind === kind);
  }

  /** The latest request of a kind. */
  last(kind: Asked['kind']): Asked {
    return this.of(kind).at(-1)!;
  }

  /** A message of the map stream. */
  send(...messages: readonly (object | string)[]): this {
    this.server!.write(this.mapId, frames(...messages));
    return this.run();
  }

  /** Bytes of the map stream as they are. */
  sendRaw(bytes: Uint8Array): this {
    this.server!.write(this.mapId, bytes);
    return this.run();
  }

  /** Answers a request that was left open. */
  answer(asked: Asked, body: string): this {
    this.server!.answer(asked.request.id, 200, body);
    return this.run();
  }

  /** The network cuts the stream. */
  cut(error = new NetError('ERR_CONNECTION_RESET', 'cut')): this {
    this.isOpen = false;
    this.client.handleFailed(this.nowMs, error);
    return this.run();
  }

  /** The coordinator ends the stream. */
  end(): this {
    this.client.handleEnd(this.nowMs);
    return this.run();
  }

  #step(): boolean {
    const hasEvents = this.#takeEvents();
    return this.#carry() || hasEvents;
  }

  #takeEvents(): boolean {
    let any = false;
    for (let event = this.client.pollEvent(); event !== undefined; event = this.client.pollEvent()) {
      any = true;
      this.events.push(event);
      this.log.push(short(event));
      this.#obey(event);
    }
    return any;
  }

  #obey(event: ControlClientEvent): void {
    if (event.type === 'fetch-key' && this.mayFetch) {
      const body = JSON.stringify({ legacyPublicKey: `mkey:${'0'.repeat(64)}`, publicKey: this.published });
      this.client.handleServerKey(
        this.nowMs,
        Uint8Array.from(body, c => c.charCodeAt(0)),
      );
    } else if (event.type === 'connect' && this.mayConnect) {
      this.open();
    } else if (event.type === 'disconnect') {
      this.isOpen = false;
    } else if (event.type === 'node-key' && this.mayStore) {
      this.stored.push(event.key);
      this.client.adoptNodeKey(this.nowMs, event.key);
    }
  }

  /** The key that GET /key gives. */
  get published(): string {
    return formatKey('mkey', publicOf(this.publishedByte));
  }

  /** The stream is open. */
  open(): void {
    this.isOpen = true;
    this.connects++;
    this.#request = '';
    this.responder = undefined;
    this.server = new TestHttp2Server();
    this.client.handleOpened(this.nowMs);
  }

  /** Bytes both ways, once. */
  #carry(): boolean {
    if (!this.isOpen) return false;
    const out = sent(
      { pollBytes: (buf, start, end) => this.client.pollBytes(this.nowMs, buf, start, end) },
      this.pieceBytes,
    );
    if (out.length > 0) this.#receive(out);
    this.#serve();
    const hasSettled = this.backend?.settle(this) ?? false;
    const back = this.#answerBytes();
    for (let at = 0; at < back.length && this.isOpen; ) {
      const piece = back.slice(at, at + this.pieceBytes);
      this.client.handleBytes(this.nowMs, this.unixMs, piece, 0, piece.length);
      piece.fill(0xee); // lent for the call only
      this.onPiece();
      at += piece.length;
      this.#takeEvents();
    }
    return out.length + back.length > 0 || hasSettled;
  }

  #receive(bytes: Uint8Array): void {
    if (this.responder !== undefined) return void this.server!.receive(feed(this.responder, bytes).plain);
    this.#request += String.fromCharCode(...bytes);
    const end = this.#request.indexOf('\r\n\r\n');
    if (end < 0) return;
    const rest = Uint8Array.from(this.#request.slice(end + 4), c => c.charCodeAt(0));
    const { initiation, head } = upgradeOf(Uint8Array.from(this.#request.slice(0, end + 4), c => c.charCodeAt(0)));
    this.#head = head;
    const keys = { privateKey: secretOf(this.serverByte), publicKey: publicOf(this.serverByte) };
    this.responder = makeServer({ initiation, ...keys });
    if (rest.length > 0) this.server!.receive(feed(this.responder, rest).plain);
  }

  #head: Uint8Array = new Uint8Array(0);

  #answerBytes(): Uint8Array {
    if (this.responder === undefined) return this.#head;
    const plain = this.server!.take();
    if (this.responder.isEstablished) this.responder.handlePlain(this.nowMs, plain, 0, plain.length);
    const bytes = Uint8Array.from([...this.#head, ...sent(this.responder)]);
    this.#head = new Uint8Array(0);
    return bytes;
  }

  #serve(): void {
    for (const request of this.server?.requests.splice(0) ?? []) this.#handle(request);
  }

  #handle(request: TestRequest): void {
    const server = this.server!;
    const text = utf8Decode(request.body);
    const json = text.startsWith('{') ? JSON.parse(text) : {};
    const isMap = request.path === '/machine/map';
    const kind = request.path === '/machine/register' ? 'register' : isMap ? (json.Stream ? 'map' : 'update') : 'other';
    const asked: Asked = { kind, request, json };
    this.asked.push(asked);
    if (this.backend !== undefined) return this.backend.handleRequest(this, asked);
    const status = this.update();
    if ((kind === 'update' || kind === 'other') && status > 0) server.answer(request.id, status, '', this.fields);
    if (kind === 'register') {
      const answer = this.register(json, asked);
      if (typeof answer === 'string') server.answer(request.id, 200, answer);
      else if (answer !== undefined) server.answer(request.id, answer, 'no', this.fields);
    }
    if (kind !== 'map') return;
    const first = this.map(json, asked);
    this.mapId = request.id;
    if (typeof first === 'number') return server.answer(request.id, first, 'node not found', this.fields);
    server.respond(request.id, 200);
    if (first !== undefined) server.write(request.id, frames(first));
  }
}

/** An event as a line. */
export function short(event: ControlClientEvent): string {
  switch (event.type) {
    case 'state':
      return `state ${event.state}`;
    case 'auth-url':
    case 'open-url':
      return `${event.type} ${event.url}`;
    case 'node-key':
      return `node-key ${event.reason}`;
    case 'error':
      return `error ${event.error.code} ${event.error.message}`;
    case 'login-failed':
      return `login-failed ${event.message}`;
    case 'logged-out':
      return `logged-out ${event.isConfirmed}`;
    default:
      return event.type;
  }
}
