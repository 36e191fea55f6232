/**
 * The engine's side of a whole mote whose network is elsewhere: ports made of frames, and commands to the mote.
 *
 * The engine has the mote alone, so what it takes is the mote's. Frames in: wall clock and monotonic clock as 64-bit
 * floats, a letter, a number, content (remote-mote.ts has the other side). Frames out: a line of text, and bytes.
 */
import type { Endpoint } from '../../lib/base/address.ts';
import { fromHex, toHex, utf8Decode, utf8Encode } from '../../lib/base/bytes.ts';
import { type ErrorCode, NetError } from '../../lib/base/errors.ts';
import type { CryptoSuite } from '../../lib/crypto/suite.ts';
import type { DeviceParts } from '../../lib/device/device.ts';
import { Tailnet } from '../../lib/device/tailnet.ts';
import type { Connection } from '../../lib/mote/connection.ts';
import { Mote } from '../../lib/mote/mote.ts';
import type { MoteOptions } from '../../lib/mote/options.ts';
import { createSack } from '../../lib/netstack/tcp-sack.ts';
import type { DatagramSink, Host, HostStream, Store, StreamOptions, StreamSink, Timer } from '../../lib/ports.ts';

/** What the shell lends (shell.c). */
interface Shell {
  print(text: string): void;
  send(text: string, buf?: Uint8Array, start?: number, end?: number): void;
  serve(handle: (frame: ArrayBuffer) => void, drain: () => boolean): void;
}

const HEADER_BYTES = 21;

/** As on a board (targets/moddable/up.ts). */
const PARTS: DeviceParts = Object.freeze({
  createTailnet: (options, owner) => new Tailnet(options, owner),
  createSack,
} satisfies DeviceParts);

/** Everything between the frames and one mote. */
class RemoteDevice {
  readonly #shell: Shell;
  readonly #suite: CryptoSuite;
  #nowMs = 0;
  #unixMs = 0;
  #randomState = 1;
  #deferred: (() => void)[] = [];
  readonly #timers = new Map<number, () => void>();
  readonly #streams = new Map<number, StreamSink>();
  readonly #store = new Map<string, Uint8Array>();
  #datagrams: DatagramSink | undefined;
  #bound: ((local: Endpoint) => void) | undefined;
  #next = 1;
  #mote: Mote | undefined;

  constructor(shell: Shell, suite: CryptoSuite) {
    this.#shell = shell;
    this.#suite = suite;
    shell.serve(
      frame => this.#handle(frame),
      () => this.#drain(),
    );
  }

  #drain(): boolean {
    if (this.#deferred.length === 0) return false;
    for (const run of this.#deferred.splice(0)) run();
    return true;
  }

  #handle(frame: ArrayBuffer): void {
    const view = new DataView(frame);
    this.#nowMs = view.getFloat64(0, true);
    this.#unixMs = view.getFloat64(8, true);
    const id = view.getUint32(17, true);
    const bytes = new Uint8Array(frame);
    switch (String.fromCharCode(bytes[16]!)) {
      case 'D':
        return this.#takeDatagram(bytes);
      case 'L':
        return this.#bound!(JSON.parse(utf8Decode(bytes, HEADER_BYTES, bytes.length)) as Endpoint);
      case 'O':
        return this.#streams.get(id)?.opened();
      case 'B':
        return this.#streams.get(id)?.bytes(bytes, HEADER_BYTES, bytes.length);
      case 'E':
        return this.#streams.get(id)?.ended();
      case 'F':
        return this.#failStream(id, utf8Decode(bytes, HEADER_BYTES, bytes.length));
      case 'T':
        return this.#timers.get(id)!();
      case 'C':
        return this.#command(id, JSON.parse(utf8Decode(bytes, HEADER_BYTES, bytes.length)) as Command);
      default:
        throw new Error('an unknown frame');
    }
  }

  /** Length of the address, the address, the port (little-endian), the datagram. */
  #takeDatagram(bytes: Uint8Array): void {
    const at = HEADER_BYTES + 1 + bytes[HEADER_BYTES]!;
    const address = utf8Decode(bytes, HEADER_BYTES + 1, at);
    const port = bytes[at]! + 256 * bytes[at + 1]!;
    this.#datagrams?.datagram(bytes, at + 2, bytes.length, { address, port });
  }

  #failStream(id: number, text: string): void {
    const sink = this.#streams.get(id);
    this.#streams.delete(id);
    const space = text.indexOf(' ');
    sink?.failed(new NetError(text.slice(0, space) as ErrorCode, text.slice(space + 1)));
  }

  #host(address: string): Host {
    const send = this.#shell.send;
    return {
      name: 'xs',
      clock: { nowMs: () => this.#nowMs, unixMs: () => this.#unixMs },
      random: out => this.#fill(out),
      createTimer: fire => this.#createTimer(fire),
      defer: run => {
        this.#deferred.push(run);
      },
      openDatagrams: (options, sink) =>
        new Promise(resolve => {
          this.#datagrams = sink;
          this.#bound = local => {
            this.#bound = undefined;
            resolve({
              local: [local],
              send: (buf, start, end, to) => {
                send(`D ${to.address} ${to.port}`, buf, start, end);
                return true;
              },
              close: () => {
                this.#datagrams = undefined;
                send('X');
              },
            });
          };
          send(`L ${options.port}`);
        }),
      openStream: (options, sink) => this.#openStream(options, sink),
      interfaces: () => [address],
      resolve: name => Promise.reject(new NetError('ERR_NAME_NOT_FOUND', `no such name: ${name}`)),
    };
  }

  #openStream(options: StreamOptions, sink: StreamSink): HostStream {
    const id = this.#next++;
    const send = this.#shell.send;
    this.#streams.set(id, sink);
    const { tls } = options;
    const pin = tls?.pin === undefined ? {} : { pin: toHex(tls.pin) };
    send(`O ${id} ${JSON.stringify({ ...options, ...(tls === undefined ? {} : { tls: { ...tls, ...pin } }) })}`);
    return {
      write: (buf, start, end) => {
        send(`W ${id}`, buf, start, end);
        return end - start;
      },
      pause: () => send(`P ${id}`),
      resume: () => send(`U ${id}`),
      close: () => {
        if (this.#streams.delete(id)) send(`K ${id}`);
      },
    };
  }

  #createTimer(fire: () => void): Timer {
    const id = this.#next++;
    this.#timers.set(id, fire);
    return {
      arm: atMs => this.#shell.send(`T ${id} ${atMs}`),
      cancel: () => this.#shell.send(`T ${id} Infinity`),
    };
  }

  /** The world is to be the same in each run; a board takes its chip's generator. */
  #fill(out: Uint8Array): void {
    let state = this.#randomState;
    for (let i = 0; i < out.length; i++) {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      out[i] = state >>> 11;
    }
    this.#randomState = state;
  }

  #storage(): Store {
    return {
      load: name => this.#store.get(name),
      save: (name, value) => {
        this.#store.set(name, value.slice());
      },
      remove: name => {
        this.#store.delete(name);
      },
    };
  }

  #command(id: number, command: Command): void {
    this.#run(command).then(
      value => {
        const bytes = utf8Encode(JSON.stringify(value ?? null));
        this.#shell.send(`R ${id}`, bytes, 0, bytes.length);
      },
      (error: Error) => this.#shell.send(`R! ${id} ${error.message}`),
    );
  }

  async #run(command: Command): Promise<unknown> {
    switch (command.type) {
      case 'up': {
        this.#randomState = command.seed;
        if (command.stored !== undefined)
          for (const [name, hex] of Object.entries(command.stored)) this.#store.set(name, fromHex(hex)!);
        const options = { preset: 'small', store: this.#storage(), ...command.options } as unknown as MoteOptions;
        this.#mote = await Mote.up(this.#host(command.address), this.#suite, options, PARTS);
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
      case 'stored':
        return Object.fromEntries([...this.#store].map(([name, value]) => [name, toHex(value)]));
      case 'close':
        await this.#mote!.close();
        this.#mote = undefined;
        return undefined;
    }
  }

  /** A small HTTP server: one request, one answer of `bytes` bytes, for each connection. */
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
    await connection.write(new Uint8Array(bytes).fill(46));
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
      readonly stored?: { readonly [name: string]: string };
    }
  | { readonly type: 'serve'; readonly port: number; readonly bytes: number }
  | { readonly type: 'exchange'; readonly host: string; readonly port: number; readonly path: string }
  | { readonly type: 'ping'; readonly host: string }
  | { readonly type: 'status' }
  | { readonly type: 'stored' }
  | { readonly type: 'close' };

/** Starts to serve frames, with a suite. */
export function serveDevice(shell: Shell, suite: CryptoSuite): void {
  new RemoteDevice(shell, suite);
}
