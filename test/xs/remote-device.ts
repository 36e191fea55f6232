/**
 * The engine's side of a whole mote whose network is elsewhere: a board's classes made of frames, under the ports that
 * boards have (targets/moddable), and commands to the mote.
 *
 * The engine has the mote alone, so what it takes is the mote's. Frames in: wall clock and monotonic clock as 64-bit
 * floats, a letter, a number, content (remote-mote.ts has the other side). Frames out: a line of text, and bytes.
 */
import { fromHex, toHex, utf8Decode, utf8Encode } from '../../lib/base/bytes.ts';
import type { CryptoSuite } from '../../lib/crypto/suite.ts';
import type { Connection } from '../../lib/mote/connection.ts';
import { BaseMote } from '../../lib/mote/base-mote.ts';
import type { MoteOptions } from '../../lib/mote/options.ts';
import type { HostStream, Store, StreamOptions, StreamSink } from '../../lib/ports.ts';
import { ModdableHost } from '../../targets/moddable/host.ts';
import type { ModdableIo, TcpIo, TcpIoOptions, UdpIo, UdpIoOptions, UdpMessage } from '../../targets/moddable/io.ts';
import { MODDABLE_PARTS } from '../../targets/moddable/up.ts';

/** What the shell lends (shell.c). */
interface Shell {
  print(text: string): void;
  send(text: string, buf?: Uint8Array, start?: number, end?: number): void;
  serve(handle: (frame: ArrayBuffer) => void, drain: () => boolean): void;
}

const HEADER_BYTES = 21;

/** What the HTTP server below has of its answer in memory at a time. */
const PIECE_BYTES = 512;

/** What an ESP32 buffers of a connection that sends (lwIP's TCP_SND_BUF). */
const ROOM_BYTES = 5744;

/** The one device of this engine, so that what a board has in flash takes no memory here either. */
let device: RemoteDevice;

/** Moddable's Timer: one object for each timer that is set. */
class FrameTimer {
  readonly id: number;
  run: (() => void) | undefined;

  constructor(id: number, run: () => void) {
    this.id = id;
    this.run = run;
  }
}

/** Flash, which is the other side's. Values are read as a mote comes up; what it saves is kept there. */
class FrameStore implements Store {
  /** As hex, by name; gone when the mote is up. */
  #values: { readonly [name: string]: string } | undefined;

  constructor(values: { readonly [name: string]: string }) {
    this.#values = values;
  }

  load(name: string): Uint8Array | undefined {
    const hex = this.#values?.[name];
    return hex === undefined ? undefined : fromHex(hex);
  }

  save(name: string, value: Uint8Array): void {
    device.shell.send(`V ${name}`, value, 0, value.length);
  }

  remove(name: string): void {
    device.shell.send(`V ${name}`);
  }

  /** Everything was read. */
  forget(): void {
    this.#values = undefined;
  }
}

/** ECMA-419 UDP. As on a board a datagram is copied into the heap when it is read. */
class FrameUdp implements UdpIo {
  target: unknown;
  readonly #onReadable: ((count: number) => void) | undefined;
  #message: UdpMessage | undefined;

  constructor(options: UdpIoOptions) {
    this.target = options.target;
    this.#onReadable = options.onReadable;
    device.bind(this, options.port ?? 0);
  }

  /** Length of the address, the address, the port (little-endian), the datagram. */
  arrive(bytes: Uint8Array): void {
    const at = HEADER_BYTES + 1 + bytes[HEADER_BYTES]!;
    const address = utf8Decode(bytes, HEADER_BYTES + 1, at);
    const port = bytes[at]! + 256 * bytes[at + 1]!;
    const message = bytes.slice(at + 2).buffer;
    this.#message = Object.assign(message, { address, port });
    device.soon(() => this.#onReadable?.call(this, 1));
  }

  read(): UdpMessage | undefined {
    const message = this.#message;
    this.#message = undefined;
    return message;
  }

  write(buffer: Uint8Array, address: string, port: number): void {
    device.shell.send(`D ${address} ${port}`, buffer, 0, buffer.length);
  }

  close(): void {
    this.#message = undefined;
    device.shell.send('X');
  }
}

/** ECMA-419 TCP. What has arrived waits here in one piece for each frame; a board's lwIP has it outside of the heap. */
class FrameTcp implements TcpIo {
  target: unknown;
  readonly #id: number;
  readonly #onReadable: TcpIoOptions['onReadable'];
  readonly #onWritable: TcpIoOptions['onWritable'];
  readonly #onError: TcpIoOptions['onError'];
  #waiting: ArrayBuffer[] | undefined;
  #isEnding = false;

  constructor(options: TcpIoOptions) {
    this.#onReadable = options.onReadable;
    this.#onWritable = options.onWritable;
    this.#onError = options.onError;
    this.target = options.target;
    this.#id = device.open(this);
    device.shell.send(`O ${this.#id} ${options.address} ${options.port}`);
  }

  opened(): void {
    this.#onWritable?.call(this, ROOM_BYTES);
  }

  arrive(bytes: Uint8Array): void {
    this.#waiting ??= [];
    this.#waiting.push(bytes.slice(HEADER_BYTES).buffer);
    device.soon(() => {
      const count = (this.#waiting ?? []).reduce((sum, { byteLength }) => sum + byteLength, 0);
      if (count > 0) this.#onReadable?.call(this, count);
    });
  }

  /** Told when all has been read. */
  ended(): void {
    this.#isEnding = true;
    if (this.#waiting === undefined) this.#onError?.call(this);
  }

  read(count?: number): ArrayBuffer | undefined;
  read(into: Uint8Array): number | undefined;
  read(what?: number | Uint8Array): ArrayBuffer | number | undefined {
    const first = this.#waiting?.shift();
    if (first === undefined) return undefined;
    if (typeof what !== 'number' || what < first.byteLength) throw new Error('frames are read whole');
    if (this.#waiting?.length === 0) this.#waiting = undefined;
    if (this.#isEnding && this.#waiting === undefined) device.soon(() => this.#onError?.call(this));
    return first;
  }

  write(buffer: Uint8Array): number {
    device.shell.send(`W ${this.#id}`, buffer, 0, buffer.length);
    return ROOM_BYTES;
  }

  close(): void {
    this.#waiting = undefined;
    device.close(this.#id);
  }
}

/** As a board has them in flash (targets/moddable/index.ts). */
const IO: ModdableIo = Object.freeze({
  UDP: FrameUdp,
  TCP: FrameTcp,
  timer: Object.freeze({
    set: (run: () => void, ms?: number) => device.setTimer(run, ms),
    clear: (timer: unknown) => device.clearTimer(timer as FrameTimer),
  }),
  ticks: () => device.nowMs | 0,
  unixMs: () => device.unixMs,
  random: (out: Uint8Array) => device.fill(out),
  resolve: (_name: string, done: (address: string | undefined) => void) => device.soon(() => done(undefined)),
  addresses: () => [device.address],
  self: Object.freeze({ hostname: 'mote', os: 'moddable' }),
});

/** TLS is the other side's: here is no TLSSocket, whose memory would be another engine's than a board's. */
class FrameHost extends ModdableHost {
  override openStream({ tls, ...options }: StreamOptions, sink: StreamSink): HostStream {
    const pin = tls?.pin === undefined ? '' : toHex(tls.pin);
    if (tls !== undefined) device.shell.send(`S ${options.port} ${tls.serverName} ${pin}`);
    return super.openStream(options, sink);
  }
}

/** Everything between the frames and one mote. */
class RemoteDevice {
  readonly shell: Shell;
  readonly #suite: CryptoSuite;
  nowMs = 0;
  unixMs = 0;
  #randomState = 1;
  #deferred: (() => void)[] = [];
  readonly #timers = new Map<number, FrameTimer>();
  readonly #streams = new Map<number, FrameTcp>();
  /** Its own address outside. */
  address = '';
  #udp: FrameUdp | undefined;
  #next = 1;
  #mote: BaseMote | undefined;

  constructor(shell: Shell, suite: CryptoSuite) {
    this.shell = shell;
    this.#suite = suite;
    shell.serve(
      frame => this.#handle(frame),
      () => this.#drain(),
    );
  }

  #take(): number {
    return this.#next++;
  }

  soon(run: () => void): void {
    this.#deferred.push(run);
  }

  /** Opens the UDP socket. */
  bind(socket: FrameUdp, port: number): void {
    this.#udp = socket;
    this.shell.send(`L ${port}`);
  }

  /** Gives a stream its number. */
  open(stream: FrameTcp): number {
    const id = this.#take();
    this.#streams.set(id, stream);
    return id;
  }

  /** Ends a stream. */
  close(id: number): void {
    if (this.#streams.delete(id)) this.shell.send(`K ${id}`);
  }

  #drain(): boolean {
    if (this.#deferred.length === 0) return false;
    const due = this.#deferred;
    this.#deferred = [];
    for (const run of due) run();
    return true;
  }

  #handle(frame: ArrayBuffer): void {
    const view = new DataView(frame);
    this.nowMs = view.getFloat64(0, true);
    this.unixMs = view.getFloat64(8, true);
    const id = view.getUint32(17, true);
    const bytes = new Uint8Array(frame);
    switch (String.fromCharCode(bytes[16]!)) {
      case 'D':
        return this.#udp?.arrive(bytes);
      case 'O':
        return this.#streams.get(id)?.opened();
      case 'B':
        return this.#streams.get(id)?.arrive(bytes);
      case 'E':
        return this.#streams.get(id)?.ended();
      case 'T':
        return this.#fire(id);
      case 'C':
        return this.#command(id, JSON.parse(utf8Decode(bytes, HEADER_BYTES, bytes.length)) as Command);
      default:
        throw new Error('an unknown frame');
    }
  }

  #fire(id: number): void {
    const timer = this.#timers.get(id);
    this.#timers.delete(id);
    timer?.run?.();
  }

  setTimer(run: () => void, ms = 0): FrameTimer {
    const timer = new FrameTimer(this.#take(), run);
    if (ms === 0) this.soon(() => timer.run?.());
    else {
      this.#timers.set(timer.id, timer);
      this.shell.send(`T ${timer.id} ${this.nowMs + ms}`);
    }
    return timer;
  }

  clearTimer(timer: FrameTimer): void {
    timer.run = undefined;
    if (this.#timers.delete(timer.id)) this.shell.send(`T ${timer.id} Infinity`);
  }

  /** The world is to be the same in each run; a board takes its chip's generator. */
  fill(out: Uint8Array): void {
    let state = this.#randomState;
    for (let i = 0; i < out.length; i++) {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      out[i] = state >>> 11;
    }
    this.#randomState = state;
  }

  #command(id: number, command: Command): void {
    this.#run(command).then(
      value => {
        const bytes = utf8Encode(JSON.stringify(value ?? null));
        this.shell.send(`R ${id}`, bytes, 0, bytes.length);
      },
      (error: Error) => this.shell.send(`R! ${id} ${error.message}`),
    );
  }

  async #run(command: Command): Promise<unknown> {
    switch (command.type) {
      case 'up': {
        this.#randomState = command.seed;
        const store = new FrameStore(command.stored);
        const options = { preset: 'small', store, ...command.options } as unknown as MoteOptions;
        this.address = command.address;
        this.#mote = await BaseMote.up(new FrameHost(IO), this.#suite, options, MODDABLE_PARTS);
        store.forget();
        return this.#mote.addresses;
      }
      case 'serve':
        return this.#serve(command.port, command.bytes);
      case 'exchange':
        return this.#exchange(command);
      case 'ping':
        return this.#mote!.ping(command.host);
      case 'status':
        return this.#mote!.status();
      case 'close':
        await this.#mote!.close();
        this.#mote = undefined;
        return undefined;
    }
  }

  /** A small HTTP server: one request, one answer of `bytes` bytes in pieces, for each connection. */
  async #serve(port: number, bytes: number): Promise<void> {
    const listener = await this.#mote!.listen(port, { backlog: 4 });
    void (async () => {
      for await (const connection of listener) this.#answer(connection, bytes).catch(() => connection.abort());
    })();
  }

  async #answer(connection: Connection, bytes: number): Promise<void> {
    let head = '';
    while (!head.includes('\r\n\r\n')) {
      const got = await connection.read();
      if (got === undefined) return;
      head += utf8Decode(got, 0, got.length);
    }
    await connection.write(utf8Encode(`HTTP/1.1 200 OK\r\nContent-Length: ${bytes}\r\nConnection: close\r\n\r\n`));
    const piece = new Uint8Array(Math.min(bytes, PIECE_BYTES)).fill(46);
    for (let left = bytes; left > 0; left -= PIECE_BYTES)
      await connection.write(left < PIECE_BYTES ? piece.subarray(0, left) : piece);
    await connection.end();
  }

  /** One HTTP request; the length of the whole answer. */
  async #exchange({ host, port, path }: { host: string; port: number; path: string }): Promise<number> {
    const connection = await this.#mote!.dial(host, port);
    await connection.write(utf8Encode(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`));
    let total = 0;
    for (let got = await connection.read(); got !== undefined; got = await connection.read()) total += got.length;
    await connection.end();
    return total;
  }
}

/** What the other side may ask for. */
export type Command =
  | {
      readonly type: 'up';
      readonly address: string;
      readonly seed: number;
      readonly options: object;
      readonly stored: { readonly [name: string]: string };
    }
  | { readonly type: 'serve'; readonly port: number; readonly bytes: number }
  | { readonly type: 'exchange'; readonly host: string; readonly port: number; readonly path: string }
  | { readonly type: 'ping'; readonly host: string }
  | { readonly type: 'status' }
  | { readonly type: 'close' };

/** Starts to serve frames, with a suite. */
export function serveDevice(shell: Shell, suite: CryptoSuite): void {
  device = new RemoteDevice(shell, suite);
}
