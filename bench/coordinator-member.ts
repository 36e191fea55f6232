/**
 * A member of a tailnet that only keeps up its control connection, for the coordinator bench: it registers, says where it
 * is, and counts the messages of its map stream without reading them.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { ControlLink } from '../lib/control/client-link.ts';
import { CONTROL_LIMITS_LARGE } from '../lib/control/client-types.ts';
import { formatKey } from '../lib/crypto/key-text.ts';
import { SecretKey } from '../lib/crypto/keys.ts';
import type { CryptoSuite } from '../lib/crypto/suite.ts';

/** The coordinator, and what all members share. */
export interface Coordinated {
  readonly url: URL;
  readonly serverKey: Uint8Array;
  readonly suite: CryptoSuite;
  readonly random: (out: Uint8Array) => void;
}

interface Waiting {
  status: number;
  readonly body: Uint8Array[];
  readonly done: (answer: { status: number; text: string }) => void;
}

const out = new Uint8Array(16_384);

/** See the top of the file. */
export class BenchMember {
  readonly node: string;
  /** Messages of the map stream, and the bytes of its body. */
  messages = 0;
  bytes = 0;
  /** Called after each message. */
  onMessage: () => void = () => undefined;
  readonly #given: Coordinated;
  readonly #machineKey: SecretKey;
  readonly #disco: string;
  readonly #waiting = new Map<number, Waiting>();
  #link!: ControlLink;
  #socket!: Socket;
  #port = 0;
  #isConnected = false;
  #stream = -1;
  /** Bytes of the message that is under way, and its length as far as that has come. */
  #left = 0;
  #prefix = 0;
  #prefixBytes = 0;

  constructor(given: Coordinated) {
    this.#given = given;
    this.#machineKey = SecretKey.generate(given.random);
    const [node, disco] = [this.#publicKey(), this.#publicKey()];
    this.node = formatKey('nodekey', node);
    this.#disco = formatKey('discokey', disco);
  }

  /** Connects, unless it is: a server closes connections on which nothing is asked. */
  async connect(): Promise<void> {
    if (this.#isConnected) return;
    const { url, serverKey, suite, random } = this.#given;
    const socket = connect(Number(url.port), url.hostname);
    this.#socket = socket;
    await once(socket, 'connect');
    socket.setNoDelay(true);
    const common = { nowMs: performance.now(), suite, random, machineKey: this.#machineKey, serverKey, host: url.host };
    this.#link = new ControlLink({ ...common, limits: CONTROL_LIMITS_LARGE });
    socket.on('error', () => undefined).on('data', chunk => this.#receive(chunk));
    this.#isConnected = true;
    socket.on('close', () => {
      this.#isConnected = false;
      for (const { body, done } of this.#waiting.values()) done({ status: 0, text: Buffer.concat(body).toString() });
      this.#waiting.clear();
    });
    this.#pump();
  }

  /** Registers and says its first words. */
  async join(authKey: string, name: string): Promise<void> {
    const Hostinfo = { Hostname: name, OS: 'linux', IPNVersion: '1.90.0' };
    const text = await this.#post('register', { Auth: { AuthKey: authKey }, Hostinfo });
    const { Error: refusal } = JSON.parse(text);
    if (refusal) throw new Error(`register: ${refusal}`);
    await this.update(1000, { ...Hostinfo, NetInfo: { PreferredDERP: 900 } });
  }

  /** Connects, and says once more what is known already: from here on the connection costs nothing that is new. */
  async reach(): Promise<void> {
    await this.connect();
    await this.update(this.#port);
  }

  /** Says where it is; resolves when that is durable. */
  update(port: number, Hostinfo?: object): Promise<string> {
    this.#port = port;
    const Endpoints = [`192.0.2.1:${port}`, `198.51.100.1:${port}`, `10.0.0.1:${port}`];
    return this.#post('map', { OmitPeers: true, DiscoKey: this.#disco, Endpoints, Hostinfo });
  }

  /** Opens its map stream; resolves with the first message. */
  async open(): Promise<void> {
    await this.connect();
    this.#stream = this.#request('map', { Stream: true, Compress: 'zstd', DiscoKey: this.#disco });
    return new Promise(resolve => {
      this.onMessage = resolve;
    });
  }

  /** Whether its map stream is open. */
  get isStreaming(): boolean {
    return this.#isConnected && this.#stream >= 0;
  }

  close(): void {
    this.#isConnected = false;
    this.#socket.destroy();
  }

  async #post(path: string, body: object): Promise<string> {
    const { status, text } = await new Promise<{ status: number; text: string }>(done => {
      this.#waiting.set(this.#request(path, body), { status: 0, body: [], done });
    });
    if (status !== 200) throw new Error(`${path}: ${status} ${text}`);
    return text;
  }

  #request(path: string, fields: object): number {
    const body = Buffer.from(JSON.stringify({ Version: 113, NodeKey: this.node, ...fields }));
    const request = { method: 'POST', path: `/machine/${path}`, authority: this.#given.url.host, body };
    const id = this.#link.http2.request(performance.now(), request);
    if (id < 0) throw new Error(`no request is possible: ${this.#link.error?.message}`);
    // The bytes leave when the caller has noted the number.
    queueMicrotask(() => this.#pump());
    return id;
  }

  #receive(chunk: Uint8Array): void {
    this.#link.handleBytes(performance.now(), chunk, 0, chunk.length);
    this.#pump();
  }

  #pump(): void {
    const { http2 } = this.#link;
    for (let event = this.#link.pollEvent(); event !== undefined; event = this.#link.pollEvent()) {
      if (!('id' in event)) continue;
      const waiting = this.#waiting.get(event.id);
      if (event.type === 'data') {
        if (event.id === this.#stream) this.#count(event.buf, event.start, event.end);
        else waiting?.body.push(event.buf.slice(event.start, event.end));
        http2.consumed(performance.now(), event.id, event.end - event.start);
      } else if (event.type === 'headers' && waiting !== undefined) waiting.status = event.status;
      else if (event.type === 'end' || event.type === 'reset') {
        this.#waiting.delete(event.id);
        waiting?.done({ status: waiting.status, text: Buffer.concat(waiting.body).toString() });
      }
    }
    for (;;) {
      const length = this.#link.pollBytes(performance.now(), out, 0, out.length);
      if (length === 0) return;
      this.#socket.write(out.slice(0, length));
    }
  }

  /** Messages are their length in four bytes, the lowest first, and so many bytes. */
  #count(buf: Uint8Array, start: number, end: number): void {
    this.bytes += end - start;
    for (let at = start; at < end; ) {
      if (this.#left === 0) {
        this.#prefix += buf[at++]! * 2 ** (8 * this.#prefixBytes++);
        if (this.#prefixBytes < 4) continue;
        this.#left = this.#prefix;
        this.#prefix = this.#prefixBytes = 0;
        continue;
      }
      const take = Math.min(this.#left, end - at);
      at += take;
      this.#left -= take;
      if (this.#left > 0) continue;
      this.messages++;
      this.onMessage();
    }
  }

  #publicKey(): Uint8Array {
    const { suite, random } = this.#given;
    const key = new Uint8Array(32);
    suite.publicKey(key, SecretKey.generate(random).bytes);
    return key;
  }
}
