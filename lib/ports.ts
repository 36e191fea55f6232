/**
 * What a host must supply. Types only: machines never import this file, they receive plain values.
 * One contract suite (`test/contract`) runs against every implementation, on every runtime.
 */
import type { Endpoint } from './base/address.ts';
import type { NetError } from './base/errors.ts';

/** Fills `out` with bytes of a cryptographically secure generator; throws when there is none. */
export type Random = (out: Uint8Array) => void;

/** The two clocks. */
export interface Clock {
  /** Monotonic milliseconds from any origin; should go on during suspend. */
  nowMs(): number;
  /** Wall clock in milliseconds since 1970; for TAI64N and expiry only. */
  unixMs(): number;
}

/** One timer, re-armed, never stacked. */
export interface Timer {
  /** Fires once at `atMs` of {@link Clock.nowMs} (or a little later), instead of any earlier setting. */
  arm(atMs: number): void;
  /** No more firing. Safe to call twice. */
  cancel(): void;
}

/** Where an open datagram socket delivers. */
export interface DatagramSink {
  /** A datagram `buf[start, end)` (0 to 65,535 bytes). `buf` is lent until the call returns and may be overwritten. */
  datagram(buf: Uint8Array, start: number, end: number, from: Endpoint): void;
  /** The socket failed for good; no datagram follows. */
  failed(error: NetError): void;
}

/** An open UDP socket, IPv4 and IPv6. */
export interface Datagrams {
  /** The bound addresses: one or two, with the port that is really in use. */
  readonly local: readonly Endpoint[];
  /** Sends `buf[start, end)`, which may be reused on return. False: dropped (socket full, closed, family missing). */
  send(buf: Uint8Array, start: number, end: number, to: Endpoint): boolean;
  /** Closes; no sink call follows. Safe to call twice. */
  close(): void;
}

/** What {@link Host.openDatagrams} takes. */
export interface DatagramOptions {
  /** 0 to 65535; 0 lets the system choose one port for both families. */
  readonly port: number;
  /** A local address to bind; without it all addresses of both families. */
  readonly address?: string;
}

/** What {@link Host.openStream} takes. */
export interface StreamOptions {
  /** Name or address to connect to. */
  readonly host: string;
  readonly port: number;
  /** Addresses to try instead of resolving `host`. */
  readonly addresses?: readonly string[];
  /** Absent: TCP alone. Present: TLS, whose certificate is always verified, or pinned. */
  readonly tls?: StreamTlsOptions;
  /** Time until `opened`, TLS included; 10 seconds unless told. */
  readonly timeoutMs?: number;
}

/** How the other end of a TLS stream is checked. */
export interface StreamTlsOptions {
  /** Name that is asked for (SNI) and that the certificate must bear. */
  readonly serverName: string;
  /** SHA-256 of the certificate's DER form, 32 bytes: this certificate and no other, whoever signed it. */
  readonly pin?: Uint8Array;
  /** Certificates (PEM) of authorities that are trusted beside the runtime's own. */
  readonly authorities?: string;
}

/** Where an open stream delivers. No call comes before {@link Host.openStream} has returned. */
export interface StreamSink {
  /** Connected, and TLS verified: {@link HostStream.write} takes bytes. */
  opened(): void;
  /** Bytes `buf[start, end)`, lent until the call returns. */
  bytes(buf: Uint8Array, start: number, end: number): void;
  /** After `write` took less than it was given: it takes more now. */
  writable(): void;
  /** The other side has ended its half; nothing more is read. The stream is still to be closed. */
  ended(): void;
  /** It failed: refused, timed out, reset, not trusted (`ERR_TLS`). The last call. */
  failed(error: NetError): void;
}

/** A connection to the outside. */
export interface HostStream {
  /** Takes bytes (copied) and returns how many; fewer than given when its buffer is full, 0 before `opened`. */
  write(buf: Uint8Array, start: number, end: number): number;
  /** No `bytes` until `resume`, so that the other side is slowed down. */
  pause(): void;
  resume(): void;
  /** Sends what was written, then ends; no sink call follows. Safe to call twice. */
  close(): void;
}

/**
 * A small synchronous store for state that must survive a restart. Names have at most 15 characters of `[a-z0-9-]`,
 * values at most 1,900 bytes (what an ESP32's NVS takes).
 */
export interface Store {
  /** The stored value, or undefined. Throws NetError `ERR_STORE` when it cannot be read. */
  load(name: string): Uint8Array | undefined;
  /** Replaces the value atomically and durably; throws NetError `ERR_STORE` otherwise, the old value kept. */
  save(name: string, value: Uint8Array): void;
  /** Forgets a value; absent is fine. */
  remove(name: string): void;
}

/** All ports of one runtime. */
export interface Host {
  /** `node`, `deno`, `bun`, … */
  readonly name: string;
  readonly clock: Clock;
  readonly random: Random;
  /** What a device may call itself unless it is told: the machine's name and its system, `linux`. */
  readonly self?: { readonly hostname: string; readonly os: string };
  /** A timer that calls `fire`. It keeps a process alive only while armed for a mote that is open. */
  createTimer(fire: () => void): Timer;
  /** Calls `run` once, soon, after the input that is waiting now has been delivered (batching of replies). */
  defer(run: () => void): void;
  /** Opens a UDP socket; rejects with NetError (`ERR_ADDRESS_IN_USE`, `ERR_ADDRESS_UNAVAILABLE`). */
  openDatagrams(options: DatagramOptions, sink: DatagramSink): Promise<Datagrams>;
  /** Opens a TCP or TLS connection; what becomes of it the sink is told. */
  openStream(options: StreamOptions, sink: StreamSink): HostStream;
  /**
   * Addresses of this machine at which others could reach it, each once, as canonical text: not loopback, not those of
   * a tailnet (100.64.0.0/10, fd7a:115c:a1e0::/48), not link-local IPv6; link-local IPv4 only where there is no other.
   * Empty: there are none, or the system does not tell. Absent: the runtime has no way to know. Asked now and then.
   */
  interfaces?(): readonly string[];
  /** Addresses of a public name, best first; rejects with NetError `ERR_NAME_NOT_FOUND`. */
  resolve(name: string): Promise<readonly string[]>;
  /**
   * Memory that keeps its content while the device sleeps and loses it with the power, where the runtime has such: for
   * secrets that must not be in flash. Values of at most 1,900 bytes; absent on everything that does not sleep.
   */
  readonly retained?: Store;
  /** What to use for `https:` on this runtime, as the end of a sentence. */
  readonly secureFetchAdvice?: string;
}
