/**
 * ECMA-419 UDP and TCP, Moddable's Timer and Preference of the tests' own: in memory, over the runtime's timers, so that
 * the adapters run on Node and on XS alike. TCP behaves as Moddable's on an ESP32: small buffers, "would block", one
 * `onError` for the end, a reset and a refusal, told when all has been read.
 */
import type {
  ModdableIo,
  PreferenceIo,
  TcpClass,
  TcpIo,
  TcpIoOptions,
  TimerIo,
  UdpClass,
  UdpIoOptions,
  UdpMessage,
} from '../../targets/moddable/io.ts';
import { type FarEnd, isPattern } from '../contract/streams.ts';
import { seededRandom } from '../sim/memory-host.ts';
import { ensureTimers } from './virtual-time.ts';

ensureTimers();

/** What a direction of a connection holds unread, and the send buffer of an end. */
export const WINDOW_BYTES = 65_536;
const SEND_BYTES = 8192;

const globals = globalThis as {
  setImmediate?: (run: () => void) => unknown;
  setTimeout(run: () => void, ms: number): unknown;
  clearTimeout(timer: unknown): void;
};

/** Runs soon, in order, not within the call. */
export function soon(run: () => void): void {
  if (globals.setImmediate !== undefined) globals.setImmediate(run);
  else globals.setTimeout(run, 0);
}

/** Moddable's Timer. */
export const timer: TimerIo = Object.freeze({
  set: (run: () => void, ms = 0) => {
    const handle = { isCleared: false, timeout: undefined as unknown };
    const fire = () => {
      if (!handle.isCleared) run();
    };
    if (ms === 0) soon(fire);
    else handle.timeout = globals.setTimeout(fire, ms);
    return handle;
  },
  clear: (handle: unknown) => {
    const own = handle as { isCleared: boolean; timeout: unknown };
    own.isCleared = true;
    if (own.timeout !== undefined) globals.clearTimeout(own.timeout);
  },
});

/** Moddable's Preference; `failAfter` operations that change something, power fails (they throw and do nothing). */
export class MemoryPreference implements PreferenceIo {
  failAfter = Number.POSITIVE_INFINITY;
  readonly #values = new Map<string, unknown>();

  get(domain: string, key: string): unknown {
    const value = this.#values.get(`${domain}/${key}`);
    return value instanceof ArrayBuffer ? value.slice(0) : value;
  }

  set(domain: string, key: string, value: ArrayBuffer | string): void {
    // As on an ESP32: what was there is erased first.
    this.#change(() => this.#values.delete(`${domain}/${key}`));
    this.#change(() => this.#values.set(`${domain}/${key}`, typeof value === 'string' ? value : value.slice(0)));
  }

  delete(domain: string, key: string): void {
    this.#change(() => this.#values.delete(`${domain}/${key}`));
  }

  #change(run: () => void): void {
    if (this.failAfter <= 0) throw new Error('power failed');
    this.failAfter--;
    run();
  }
}

/** A network of one machine, 127.0.0.1, with its sockets. */
export class MemoryIo {
  readonly UDP: UdpClass;
  readonly TCP: TcpClass;
  readonly #sockets = new Map<number, (bytes: Uint8Array, port: number) => void>();
  readonly #listeners = new Map<number, (end: PipeEnd) => void>();
  #nextPort = 20_000;

  constructor() {
    this.UDP = createUdp(this.#sockets);
    this.TCP = createTcp(this.#listeners);
  }

  /** Accepts connections at a free port until the returned function is called. */
  listen(accept: (end: FarEnd) => void): { port: number; close: () => void } {
    const port = this.#nextPort++;
    this.#listeners.set(port, end => accept(new MemoryFar(end)));
    return { port, close: () => this.#listeners.delete(port) };
  }

  /** Everything that a host needs, on this network. */
  io(more: Partial<ModdableIo> = {}): ModdableIo {
    return {
      UDP: this.UDP,
      TCP: this.TCP,
      timer,
      ticks: () => Date.now() | 0,
      unixMs: () => Date.now(),
      random: seededRandom(7),
      resolve: (_name, done) => soon(() => done(undefined)),
      addresses: () => ['192.168.1.7'],
      self: { hostname: 'sensor', os: 'moddable' },
      ...more,
    };
  }
}

function createUdp(sockets: Map<number, (bytes: Uint8Array, port: number) => void>): UdpClass {
  return class UDP {
    target: unknown;
    readonly #port: number;
    readonly #queue: UdpMessage[] = [];
    #isClosed = false;
    #isPending = false;

    constructor(options: UdpIoOptions) {
      const { port = 0, onReadable } = options;
      this.target = options.target;
      this.#port = port === 0 ? 40_000 + sockets.size : port;
      if (sockets.has(this.#port)) throw new Error('bind failed');
      sockets.set(this.#port, (bytes, from) => {
        const message = bytes.slice().buffer as ArrayBuffer;
        this.#queue.push(Object.assign(message, { address: '127.0.0.1', port: from }));
        if (this.#isPending) return;
        this.#isPending = true;
        soon(() => {
          this.#isPending = false;
          if (!this.#isClosed && this.#queue.length > 0) onReadable?.call(this, this.#queue.length);
        });
      });
    }

    read(): UdpMessage | undefined {
      return this.#queue.shift();
    }

    write(buffer: Uint8Array, address: string, port: number): void {
      if (this.#isClosed) throw new Error('closed');
      const bytes = buffer.slice();
      if (!/^[0-9.]+$/.test(address)) throw new RangeError('invalid IP address');
      if (address === '127.0.0.1') soon(() => sockets.get(port)?.(bytes, this.#port));
    }

    close(): void {
      if (!this.#isClosed) sockets.delete(this.#port);
      this.#isClosed = true;
    }
  };
}

/** One end of a connection, as an operating system has it. */
class PipeEnd {
  peer!: PipeEnd;
  onChange: () => void = () => undefined;
  hasEnded = false;
  isReset = false;
  readonly #inbox: Uint8Array[] = [];
  readonly #outbox: Uint8Array[] = [];
  #isEnding = false;
  #isScheduled = false;
  readable = 0;
  unsent = 0;

  write(bytes: Uint8Array): void {
    this.#outbox.push(bytes.slice());
    this.unsent += bytes.length;
    this.#move();
  }

  end(): void {
    this.#isEnding = true;
    this.#move();
  }

  reset(): void {
    this.isReset = true;
    this.peer.isReset = true;
    soon(() => this.peer.onChange());
  }

  read(most: number): Uint8Array {
    const first = this.#inbox[0]!;
    const got = first.subarray(0, most);
    if (got.length === first.length) this.#inbox.shift();
    else this.#inbox[0] = first.subarray(most);
    this.readable -= got.length;
    this.peer.#move();
    return got;
  }

  /** Moves what is to be sent to the other side, as its window allows, a moment later. */
  #move(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    soon(() => {
      this.#isScheduled = false;
      const { peer } = this;
      if (this.isReset) return;
      let hasMoved = false;
      while (this.#outbox.length > 0 && peer.readable < WINDOW_BYTES) {
        const bytes = this.#outbox.shift()!;
        peer.#inbox.push(bytes);
        peer.readable += bytes.length;
        this.unsent -= bytes.length;
        hasMoved = true;
      }
      if (this.#isEnding && this.#outbox.length === 0 && !peer.hasEnded) {
        peer.hasEnded = true;
        hasMoved = true;
      }
      if (!hasMoved) return;
      this.onChange();
      peer.onChange();
    });
  }
}

/** The other side of a connection, as contracts want it. */
class MemoryFar implements FarEnd {
  received = 0;
  isIntact = true;
  readonly #end: PipeEnd;
  #isPaused = false;

  constructor(end: PipeEnd) {
    this.#end = end;
    end.onChange = () => this.#read();
    this.#read();
  }

  get hasEnded(): boolean {
    return this.#end.hasEnded && this.#end.readable === 0;
  }

  get isGone(): boolean {
    return this.#end.isReset;
  }

  get unsent(): number {
    return this.#end.unsent;
  }

  write(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; at += 16_384) this.#end.write(bytes.subarray(at, at + 16_384));
  }

  end(): void {
    this.#end.end();
  }

  reset(): void {
    this.#end.reset();
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    this.#read();
  }

  #read(): void {
    while (!this.#isPaused && this.#end.readable > 0) {
      const got = this.#end.read(Number.POSITIVE_INFINITY);
      this.isIntact &&= isPattern(got, this.received);
      this.received += got.length;
    }
  }
}

const READABLE = 1;
const WRITABLE = 2;
const ERROR = 4;

function createTcp(listeners: Map<number, (end: PipeEnd) => void>): TcpClass {
  return class TCP implements TcpIo {
    target: unknown;
    readonly #options: TcpIoOptions;
    readonly #end = new PipeEnd();
    #isReady = false;
    #isClosed = false;
    #isBroken = false;
    #due = 0;
    #known = 0;

    constructor(options: TcpIoOptions) {
      this.#options = options;
      this.target = options.target;
      if (!/^[0-9.]+$/.test(options.address)) throw new Error('invalid address');
      const accept = options.address === '127.0.0.1' ? listeners.get(options.port) : undefined;
      if (options.address === '192.0.2.1') return; // nobody answers
      soon(() => (accept === undefined ? this.#raise(ERROR) : this.#connect(accept)));
    }

    #connect(accept: (end: PipeEnd) => void): void {
      if (this.#isClosed) return;
      const far = new PipeEnd();
      far.peer = this.#end;
      this.#end.peer = far;
      this.#isReady = true;
      this.#end.onChange = () => this.#change();
      accept(far);
      this.#raise(WRITABLE);
    }

    #change(): void {
      const { readable, hasEnded, isReset } = this.#end;
      this.#raise((readable > this.#known ? READABLE : 0) | WRITABLE | (hasEnded || isReset ? ERROR : 0));
    }

    read(count?: number): ArrayBuffer | undefined;
    read(into: Uint8Array): number | undefined;
    read(what?: number | Uint8Array): ArrayBuffer | number | undefined {
      if (this.#isClosed) throw new Error('closed');
      const { readable } = this.#end;
      if (readable === 0) return undefined;
      const out = what instanceof Uint8Array ? what : new Uint8Array(what ?? readable);
      if (out.length === 0 || out.length > readable) throw new Error('invalid');
      for (let at = 0; at < out.length; ) {
        const got = this.#end.read(out.length - at);
        out.set(got, at);
        at += got.length;
      }
      this.#known = Math.max(0, this.#known - out.length);
      if (this.#end.hasEnded && this.#end.readable === 0) this.#raise(ERROR);
      return what instanceof Uint8Array ? out.length : (out.buffer as ArrayBuffer);
    }

    write(buffer: Uint8Array): number | undefined {
      if (this.#isClosed || !this.#isReady || this.#isBroken) throw new Error('not ready');
      if (buffer.length > this.#room) throw new Error('would block');
      this.#end.write(buffer);
      return this.#room;
    }

    close(): void {
      if (this.#isClosed) return;
      this.#isClosed = true;
      if (!this.#isReady) return;
      this.#end.onChange = () => this.#discard();
      this.#discard();
      this.#end.end();
    }

    get #room(): number {
      return Math.max(0, SEND_BYTES - this.#end.unsent);
    }

    #discard(): void {
      while (this.#end.readable > 0) this.#end.read(Number.POSITIVE_INFINITY);
    }

    #raise(bits: number): void {
      const isIdle = this.#due === 0;
      this.#due |= bits;
      if (isIdle && bits !== 0) soon(() => this.#deliver());
    }

    #deliver(): void {
      const due = this.#due;
      this.#due = 0;
      const { onReadable, onWritable, onError } = this.#options;
      if (this.#isClosed || this.#isBroken) return;
      const { readable } = this.#end;
      if ((due & READABLE) !== 0 && readable > 0) {
        this.#known = readable;
        onReadable?.call(this, readable);
      }
      if (this.#isClosed) return;
      if ((due & ERROR) !== 0 && this.#end.readable === 0) {
        this.#isBroken = true;
        onError?.call(this);
      } else if ((due & WRITABLE) !== 0 && this.#room > 0) onWritable?.call(this, this.#room);
    }
  };
}
