/**
 * A light member of a tailnet: it registers at a coordinator over plain HTTP, says where it is, and hands on each message
 * of its map stream as it came. What a message means, and any traffic, is the caller's.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { ControlLink } from '../../lib/control/client-link.ts';
import { CONTROL_LIMITS_LARGE } from '../../lib/control/client-types.ts';
import { formatKey } from '../../lib/crypto/key-text.ts';
import { SecretKey } from '../../lib/crypto/keys.ts';
import type { CryptoSuite } from '../../lib/crypto/suite.ts';

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
export class LightMember {
  readonly nodeKey: SecretKey;
  readonly publicKey = new Uint8Array(32);
  /** Called with the JSON of each message of the map stream, keepalives included. */
  onMessage: (text: string) => void = () => undefined;
  /** Called when the connection is lost. */
  onClose: () => void = () => undefined;
  /** While it is held, what comes is kept, with its time, and nothing else is done about it. */
  isHeld = false;
  /** When the last bytes came that are held; 0: there are none. */
  heldMs = 0;
  /** When the bytes came that are being handled. */
  receivedMs = 0;
  readonly #kept: { readonly chunk: Uint8Array; readonly ms: number }[] = [];
  readonly #given: Coordinated;
  readonly #machineKey: SecretKey;
  readonly #disco = new Uint8Array(32);
  readonly #waiting = new Map<number, Waiting>();
  #link!: ControlLink;
  #socket!: Socket;
  #isConnected = false;
  #stream = -1;
  #held: Buffer[] = [];
  #heldBytes = 0;

  constructor(given: Coordinated) {
    this.#given = given;
    this.#machineKey = SecretKey.generate(given.random);
    this.nodeKey = SecretKey.generate(given.random);
    given.suite.publicKey(this.publicKey, this.nodeKey.bytes);
    given.suite.publicKey(this.#disco, SecretKey.generate(given.random).bytes);
  }

  /** Connects, unless it is: a coordinator closes connections on which nothing is asked. */
  async connect(): Promise<void> {
    if (this.#isConnected) return;
    const { url, serverKey, suite, random } = this.#given;
    const socket = connect(Number(url.port), url.hostname);
    this.#socket = socket;
    await once(socket, 'connect');
    socket.setNoDelay(true);
    const common = { nowMs: performance.now(), suite, random, machineKey: this.#machineKey, serverKey, host: url.host };
    this.#link = new ControlLink({ ...common, limits: CONTROL_LIMITS_LARGE });
    this.#isConnected = true;
    socket.on('error', () => undefined).on('data', chunk => this.#keep(chunk));
    socket.on('close', () => this.#closed());
    this.#pump();
  }

  /** Registers, and says its first words: its home relay, and the routes that it offers. */
  async join(authKey: string, name: string, routes: readonly string[] = [], region = 900): Promise<void> {
    const Hostinfo = { Hostname: name, OS: 'linux', IPNVersion: '1.90.0', RoutableIPs: routes };
    const text = await this.#post('register', { Auth: { AuthKey: authKey }, Hostinfo });
    const { Error: refusal } = JSON.parse(text) as { Error?: string };
    if (refusal) throw new Error(`register: ${refusal}`);
    const NetInfo = { PreferredDERP: region };
    await this.#post('map', {
      OmitPeers: true,
      DiscoKey: this.#discoText,
      Endpoints: [],
      Hostinfo: { ...Hostinfo, NetInfo },
    });
  }

  /** Opens its map stream; resolves with the first message, which {@link onMessage} has had before. */
  async open(): Promise<void> {
    await this.connect();
    const first = new Promise<void>(resolve => {
      const given = this.onMessage;
      this.onMessage = text => {
        this.onMessage = given;
        given(text);
        resolve();
      };
    });
    this.#stream = this.#request('map', { Stream: true, KeepAlive: true, DiscoKey: this.#discoText });
    await first;
  }

  /** Handles what was held; it is still held afterwards if it was before. */
  handleHeld(): void {
    this.heldMs = 0;
    for (const { chunk, ms } of this.#kept.splice(0)) {
      this.receivedMs = ms;
      this.#receive(chunk);
    }
  }

  close(): void {
    this.onClose = () => undefined;
    this.#isConnected = false;
    this.#socket.destroy();
  }

  get #discoText(): string {
    return formatKey('discokey', this.#disco);
  }

  #closed(): void {
    this.#isConnected = false;
    for (const { body, done } of this.#waiting.values()) done({ status: 0, text: Buffer.concat(body).toString() });
    this.#waiting.clear();
    this.onClose();
  }

  async #post(path: string, body: object): Promise<string> {
    await this.connect();
    const { status, text } = await new Promise<{ status: number; text: string }>(done => {
      this.#waiting.set(this.#request(path, body), { status: 0, body: [], done });
    });
    if (status !== 200) throw new Error(`${path}: ${status} ${text}`);
    return text;
  }

  #request(path: string, fields: object): number {
    const body = Buffer.from(
      JSON.stringify({ Version: 113, NodeKey: formatKey('nodekey', this.publicKey), ...fields }),
    );
    const request = { method: 'POST', path: `/machine/${path}`, authority: this.#given.url.host, body };
    const id = this.#link.http2.request(performance.now(), request);
    if (id < 0) throw new Error(`no request is possible: ${this.#link.error?.message}`);
    // The bytes leave when the caller has noted the number.
    queueMicrotask(() => this.#pump());
    return id;
  }

  #keep(chunk: Uint8Array): void {
    const ms = performance.now();
    this.#kept.push({ chunk, ms });
    if (!this.isHeld) this.handleHeld();
    else this.heldMs = ms;
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
        const piece = Buffer.from(event.buf.subarray(event.start, event.end)); // a copy: the bytes are lent
        http2.consumed(performance.now(), event.id, piece.length);
        if (event.id === this.#stream) this.#take(piece);
        else waiting?.body.push(piece);
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

  /** Messages are their length in four bytes, the lowest first, and so many bytes of JSON. */
  #take(piece: Buffer): void {
    this.#held.push(piece);
    this.#heldBytes += piece.length;
    for (;;) {
      if (this.#heldBytes < 4) return;
      if (this.#held[0]!.length < 4) this.#held = [Buffer.concat(this.#held)];
      const length = this.#held[0]!.readUInt32LE(0);
      if (this.#heldBytes < 4 + length) return;
      const all = Buffer.concat(this.#held);
      this.#held = [all.subarray(4 + length)];
      this.#heldBytes -= 4 + length;
      this.onMessage(all.toString('utf8', 4, 4 + length));
    }
  }
}
