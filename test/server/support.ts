/** Helpers of the server tests: servers in a folder of their own, devices and relay clients over real sockets. */
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { WebSocket } from 'ws';
import { readU32LE, utf8Decode, utf8Encode } from '../../lib/base/bytes.ts';
import { ControlLink } from '../../lib/control/client-link.ts';
import { CONTROL_LIMITS_LARGE } from '../../lib/control/client-types.ts';
import { formatKey, parseKeyText } from '../../lib/crypto/key-text.ts';
import { SecretKey } from '../../lib/crypto/keys.ts';
import { selectSuite } from '../../lib/crypto/select.ts';
import { createWasmSuite } from '../../lib/crypto/wasm.ts';
import { DerpClient } from '../../lib/derp/client.ts';
import { DERP_CLIENT_LIMITS_LARGE, type DerpClientEvent } from '../../lib/derp/client-types.ts';
import { startServer } from '../../targets/server/server.ts';
import type { Server, ServerOptions } from '../../targets/server/types.ts';

/** The suite of all of them. */
export const suiteOfTests = /* @__PURE__ */ selectSuite([createWasmSuite]);

/** Random bytes of the runtime. */
export function random(out: Uint8Array): void {
  crypto.getRandomValues(out as Uint8Array<ArrayBuffer>);
}

/** The public key of a secret. */
export function publicOf(secret: SecretKey): Uint8Array {
  const out = new Uint8Array(32);
  suiteOfTests.publicKey(out, secret.bytes);
  return out;
}

/** A new folder below the system's; remove it with `rmSync`. */
export function makeFolder(): string {
  return mkdtempSync(join(tmpdir(), 'motenet-server-'));
}

/** Waits until something holds. */
export async function until(holds: () => boolean, what = 'it', limitMs = 10_000): Promise<void> {
  for (const endMs = performance.now() + limitMs; !holds(); ) {
    if (performance.now() > endMs) throw new Error(`${what} did not happen in ${limitMs} ms`);
    await new Promise(resolve => setTimeout(resolve, 5));
  }
}

/** A server, what it logged, and how to be rid of both. */
export interface TestServer {
  readonly server: Server;
  readonly folder: string;
  readonly lines: string[];
  stop(): Promise<void>;
}

/** Starts a server on free ports of the loopback interface. */
export async function startTestServer(
  options: Partial<ServerOptions> = {},
  folder = makeFolder(),
): Promise<TestServer> {
  const lines: string[] = [];
  const server = await startServer({
    dataDir: join(folder, 'data'),
    listen: { host: '127.0.0.1', port: 0 },
    stunPort: 0,
    log: (level, message, fields) => void lines.push(`${level} ${message} ${JSON.stringify(fields ?? {})}`),
    ...options,
  });
  const stop = async () => {
    await server.close();
    rmSync(folder, { recursive: true, force: true });
  };
  return { server, folder, lines, stop };
}

/** Gives a command as the administrator on the machine; throws unless it is carried out. */
export async function command<T>(server: Server, given: Parameters<Server['command']>[1]): Promise<T> {
  const outcome = await server.command({ name: 'admin', tailnet: undefined }, given);
  if (!outcome.isOk) throw new Error(`${given.type}: ${outcome.message}`);
  return outcome.value as T;
}

/** An answer of the coordinator, and the messages of a map stream. */
export interface TestResponse {
  status: number;
  body: Uint8Array;
  isEnded: boolean;
  /** Called with each piece of the body; it counts as consumed unless this says false. */
  onData: ((bytes: Uint8Array) => boolean) | undefined;
}

/** A device: keys, and a control connection over a real socket. */
export class TestDevice {
  readonly machineKey: SecretKey;
  readonly nodeKey: SecretKey;
  readonly discoKey = SecretKey.generate(random);
  readonly responses = new Map<number, TestResponse>();
  /** The raw connection. */
  socket!: Socket;
  link!: ControlLink;
  isClosed = false;

  constructor(machineKey = SecretKey.generate(random), nodeKey = SecretKey.generate(random)) {
    this.machineKey = machineKey;
    this.nodeKey = nodeKey;
  }

  /** The node's public key as text. */
  get node(): string {
    return formatKey('nodekey', publicOf(this.nodeKey));
  }

  /** Fetches the server's key and opens the control connection. */
  async connect(url: string): Promise<void> {
    const { host, hostname, port } = new URL(url);
    const answer = (await (await fetch(`${url}/key?v=113`)).json()) as { publicKey: string };
    const serverKey = parseKeyText('mkey', answer.publicKey)!;
    const { machineKey } = this;
    const nowMs = performance.now();
    const common = { nowMs, suite: suiteOfTests, random, machineKey, serverKey, host };
    this.link = new ControlLink({ ...common, limits: CONTROL_LIMITS_LARGE });
    this.isClosed = false;
    const socket = connect(Number(port), hostname);
    this.socket = socket;
    await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject));
    socket.on('data', (chunk: Buffer) => {
      this.link.handleBytes(performance.now(), chunk, 0, chunk.length);
      this.pump();
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.isClosed = true;
    });
    this.pump();
    await until(() => this.link.isEstablished || this.isClosed, 'the handshake');
  }

  /** Carries on what waits. */
  pump(): void {
    const out = new Uint8Array(16_384);
    for (let isBusy = true; isBusy; ) {
      isBusy = false;
      for (let event = this.link.http2.pollEvent(); event !== undefined; event = this.link.http2.pollEvent()) {
        isBusy = true;
        if (!('id' in event)) continue;
        const response = this.responses.get(event.id);
        if (response === undefined) continue;
        if (event.type === 'headers') response.status = event.status;
        else if (event.type === 'end' || event.type === 'reset') response.isEnded = true;
        else if (event.type === 'data') {
          const bytes = event.buf.slice(event.start, event.end);
          response.body = Buffer.concat([response.body, bytes]);
          const isConsumed = response.onData?.(bytes) ?? true;
          if (isConsumed) this.link.http2.consumed(performance.now(), event.id, bytes.length);
        }
      }
      for (;;) {
        const length = this.link.pollBytes(performance.now(), out, 0, out.length);
        if (length === 0) break;
        isBusy = true;
        this.socket.write(out.slice(0, length));
      }
    }
  }

  /** Sends a request; the response fills as it comes. */
  request(path: string, body: Uint8Array | object, more: { method?: string; endStream?: boolean } = {}): TestResponse {
    const bytes = body instanceof Uint8Array ? body : utf8Encode(JSON.stringify(body));
    const given = { method: 'POST', path, authority: 'unused', body: bytes, ...more };
    const id = this.link.http2.request(performance.now(), given);
    if (id < 0) throw new Error('no request is possible');
    const response: TestResponse = { status: 0, body: new Uint8Array(0), isEnded: false, onData: undefined };
    this.responses.set(id, response);
    this.pump();
    return response;
  }

  /** Sends a request and waits for the whole answer. */
  async ask(path: string, body: Uint8Array | object, more: { method?: string } = {}): Promise<TestResponse> {
    const response = this.request(path, body, more);
    await until(() => response.isEnded || this.isClosed, `the answer to ${path}`);
    return response;
  }

  /** Registers with an auth key; the answer as JSON. */
  async register(authKey: string, more: object = {}): Promise<Record<string, unknown>> {
    const answer = await this.ask('/machine/register', {
      Version: 113,
      NodeKey: this.node,
      Auth: { AuthKey: authKey },
      Hostinfo: { Hostname: 'test', OS: 'linux' },
      ...more,
    });
    if (answer.status !== 200)
      throw new Error(`register: ${answer.status} ${utf8Decode(answer.body, 0, answer.body.length)}`);
    return JSON.parse(Buffer.from(answer.body).toString());
  }

  /** Opens a map stream. */
  openMap(more: object = {}): TestResponse {
    return this.request('/machine/map', {
      Version: 113,
      NodeKey: this.node,
      DiscoKey: formatKey('discokey', publicOf(this.discoKey)),
      Stream: true,
      KeepAlive: true,
      Hostinfo: { Hostname: 'test', OS: 'linux' },
      ...more,
    });
  }

  close(): void {
    this.socket.destroy();
  }
}

/** The whole messages in the body of a map stream. */
export function messagesOf(body: Uint8Array): Record<string, unknown>[] {
  const found: Record<string, unknown>[] = [];
  for (let at = 0; at + 4 <= body.length; ) {
    const length = readU32LE(body, at);
    if (at + 4 + length > body.length) break;
    found.push(JSON.parse(utf8Decode(body, at + 4, at + 4 + length)));
    at += 4 + length;
  }
  return found;
}

/** How a relay client travels. */
export type RelayWay = 'plain' | 'tls' | 'websocket' | 'fast-start';

/** A relay client over a real socket. */
export class TestRelayClient {
  readonly secret: SecretKey;
  readonly packets: string[] = [];
  readonly events: DerpClientEvent[] = [];
  machine!: DerpClient;
  isClosed = false;
  bytes = 0;
  #write: (bytes: Uint8Array) => void = () => undefined;
  pause: () => void = () => undefined;
  resume: () => void = () => undefined;
  close: () => void = () => undefined;

  constructor(secret = SecretKey.generate(random)) {
    this.secret = secret;
  }

  get key(): Uint8Array {
    return publicOf(this.secret);
  }

  /** Connects to `127.0.0.1:port`. */
  async connect(port: number, way: RelayWay): Promise<void> {
    const host = way === 'websocket' || way === 'fast-start' ? undefined : '127.0.0.1';
    this.machine = new DerpClient({
      nowMs: performance.now(),
      random,
      suite: suiteOfTests,
      privateKey: this.secret,
      host,
      limits: { ...DERP_CLIENT_LIMITS_LARGE, sendPackets: 1 << 20, sendBytes: 1 << 28 },
    });
    if (way === 'websocket') await this.#openWebSocket(port);
    else await this.#openSocket(port, way);
    this.pump();
    await until(() => this.events.some(({ type }) => type === 'server-info') || this.isClosed, 'the login');
  }

  async #openSocket(port: number, way: RelayWay): Promise<void> {
    const socket =
      way === 'tls' ? connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false }) : connect(port, '127.0.0.1');
    await new Promise((resolve, reject) =>
      socket.once(way === 'tls' ? 'secureConnect' : 'connect', resolve).once('error', reject),
    );
    if (way === 'fast-start')
      socket.write(
        'GET /derp HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: DERP\r\nDerp-Fast-Start: 1\r\n\r\n',
      );
    socket.on('data', (chunk: Buffer) => this.#receive(chunk));
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.isClosed = true;
    });
    this.#write = bytes => void socket.write(bytes);
    this.pause = () => void socket.pause();
    this.resume = () => void socket.resume();
    this.close = () => void socket.destroy();
  }

  async #openWebSocket(port: number): Promise<void> {
    const socket = new WebSocket(`ws://127.0.0.1:${port}/derp`, 'derp', { perMessageDeflate: false });
    socket.on('message', (data: Buffer) => this.#receive(data));
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.isClosed = true;
    });
    this.#write = bytes => socket.send(bytes);
    this.pause = () => socket.pause();
    this.resume = () => socket.resume();
    this.close = () => socket.terminate();
    await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject));
  }

  #receive(chunk: Uint8Array): void {
    this.bytes += chunk.length;
    this.machine.handleBytes(performance.now(), chunk, 0, chunk.length);
    while (this.machine.pollPacket())
      this.packets.push(utf8Decode(this.machine.packet, this.machine.packetStart, this.machine.packetEnd));
    for (let event = this.machine.pollEvent(); event !== undefined; event = this.machine.pollEvent())
      this.events.push(event);
    this.pump();
  }

  /** Carries on what waits. */
  pump(): void {
    const out = new Uint8Array(65_536);
    for (;;) {
      const length = this.machine.pollBytes(out, 0, out.length);
      if (length === 0) return;
      this.#write(out.slice(0, length));
    }
  }

  /** Sends a packet of text. */
  send(to: Uint8Array, text: string): void {
    const packet = utf8Encode(text);
    this.machine.send(performance.now(), to, packet, 0, packet.length);
    this.pump();
  }
}
