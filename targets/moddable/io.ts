/**
 * The classes and functions of a Moddable host that motenet uses, as types of their own: ECMA-419 (second edition)
 * clauses 11 (IO class pattern), 12.2 (UDP) and 12.1 (TCP), and Moddable's Timer, Time, Net and Preference.
 *
 * They are injected everywhere, so that the same adapters run on a board, on Linux under Moddable, and in tests with
 * classes of the tests' own. `index.ts` passes the real ones; `npm run check` compares these types with Moddable's.
 * Left out: what motenet does not call (multicast, pins).
 */
import type { Random, Store } from '../../lib/ports.ts';

/** A datagram as ECMA-419 delivers it: its bytes, with the sender written on them. */
export type UdpMessage = ArrayBuffer & { readonly address: string; readonly port: number };

/** What the constructor of {@link UdpIo} takes. Callbacks are called with the instance as `this`. */
export interface UdpIoOptions {
  readonly port?: number;
  readonly onReadable?: (count: number) => void;
  /** Becomes the property `target` of the instance. */
  readonly target?: unknown;
}

/** ECMA-419 UDP. There is no way to bind one address, nor to read the port that the system chose. */
export interface UdpIo {
  target?: unknown;
  /** The oldest datagram that waits, or undefined. */
  read(): UdpMessage | undefined;
  /** Throws when the datagram cannot be sent. Dotted IPv4 only. */
  write(buffer: Uint8Array, address: string, port: number): void;
  close(): void;
}

/** Throws when the port is taken. */
export type UdpClass = new (options: UdpIoOptions) => UdpIo;

/** What the constructor of {@link TcpIo} takes. Callbacks are called with the instance as `this`. */
export interface TcpIoOptions {
  readonly address: string;
  readonly port: number;
  readonly nodelay?: boolean;
  readonly onReadable?: (bytes: number) => void;
  readonly onWritable?: (bytes: number) => void;
  readonly onError?: () => void;
  /** Becomes the property `target` of the instance; TLSSocket has none. */
  readonly target?: unknown;
}

/** ECMA-419 TCP. It has no half close: `onError` tells of a reset, of a refusal and of the other side's end alike. */
export interface TcpIo {
  target?: unknown;
  /** `count` bytes of those that were announced, or undefined when there are none. Throws when it asks for more. */
  read(count?: number): ArrayBuffer | undefined;
  /** Fills the array; the same otherwise. */
  read(into: Uint8Array): number | undefined;
  /** Takes all of it, or throws. Returns how much more may be written, on hosts that say so. */
  write(buffer: Uint8Array): number | undefined;
  close(): void;
}

/** Throws for an address that is none. */
export type TcpClass = new (options: TcpIoOptions) => TcpIo;

/** What Moddable's TLSSocket takes beside what goes to its TCP class: everything is passed on to that. */
export interface TlsIoOptions extends TcpIoOptions {
  readonly host: string;
  readonly TCP: { readonly io: unknown };
  readonly secure: { readonly verify?: boolean; readonly cache: boolean };
}

/** TLS 1.2 over a TCP class (Moddable's `embedded:io/socket/tcp/tls`). */
export interface TlsIo {
  readonly TLSSocket: new (options: TlsIoOptions) => TcpIo;
  /** SHA-256 of bytes, 32 bytes. */
  sha256(bytes: Uint8Array): Uint8Array;
}

/** Moddable's Timer, as far as it is used. */
export interface TimerIo {
  /** Calls once after `ms`, or at the next turn of the loop. */
  set(run: () => void, ms?: number): unknown;
  clear(timer: unknown): void;
}

/** Moddable's Preference: NVS on an ESP32. Throws when it cannot. */
export interface PreferenceIo {
  get(domain: string, key: string): unknown;
  set(domain: string, key: string, value: ArrayBuffer): void;
  delete(domain: string, key: string): void;
}

/** ECMA-419 key-value storage, opened with the format `buffer`. Throws when it cannot. */
export interface KeyValueIo {
  read(key: string): ArrayBuffer | undefined;
  write(key: string, value: ArrayBuffer): void;
  delete(key: string): void;
}

/** Everything of a host that `createModdableHost` needs. */
export interface ModdableIo {
  readonly UDP: UdpClass;
  readonly TCP: TcpClass;
  /** Absent: streams with TLS fail with `ERR_TLS`. */
  readonly tls?: TlsIo;
  readonly timer: TimerIo;
  /** Milliseconds since start, as a signed 32-bit number that wraps after 24.8 days (Time.ticks). */
  ticks(): number;
  /** Wall clock in milliseconds (Date.now). */
  unixMs(): number;
  /** See `createRandom`. */
  readonly random: Random;
  /** See `retainedStore`. */
  readonly retained?: Store;
  /** Looks a name up; `done` is called later, with a dotted address or without one (System.resolve, Net.resolve). */
  resolve(name: string, done: (address: string | undefined) => void): void;
  /** Own addresses, undefined for an interface that has none yet (Net.get). */
  addresses(): readonly (string | undefined)[];
  /** What this device is called unless an option says so, and its system. */
  readonly self: { readonly hostname: string; readonly os: string };
}
