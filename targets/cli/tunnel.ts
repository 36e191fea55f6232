/**
 * What the commands need of a mote, and what they know of a service. Types only: a `Mote` has this shape, and so has
 * the pair in memory that the tests use.
 */
import type { Endpoint } from '../../lib/base/address.ts';
import type { ByteListener, ByteStream } from '../../lib/mote/byte-stream.ts';
import type { Report } from './report.ts';

/** A UDP socket inside the tunnel. */
export interface TunnelUdp {
  readonly port: number;
  /** False: dropped. Throws NetError once closed. */
  send(data: Uint8Array, to: Endpoint): boolean;
  /** The next datagram, undefined once closed; rejects with NetError for an unreachable destination and goes on. */
  receive(): Promise<{ readonly data: Uint8Array; readonly from: Endpoint } | undefined>;
  close(): void;
}

/** The inside of the tunnel. */
export interface Tunnel {
  listen(port: number): Promise<ByteListener>;
  dial(host: string, port: number, options: { signal: AbortSignal; timeoutMs: number }): Promise<ByteStream>;
  udp(port?: number): Promise<TunnelUdp>;
}

/** Bounds of one service. */
export interface ServiceLimits {
  /** TCP connections at once; one more is reset. */
  readonly connections: number;
  /** UDP flows (clients) at once; datagrams of one more are dropped. */
  readonly flows: number;
  /** UDP flows of one client address; its longest silent flow makes room. */
  readonly flowsPerClient: number;
  /** A UDP flow without a datagram for so long is forgotten (RFC 4787 §4.3 asks for at least two minutes). */
  readonly flowIdleMs: number;
  /** How long a connection may take to come about. */
  readonly dialTimeoutMs: number;
  /** How long a SOCKS client may take to say what it wants. */
  readonly negotiationTimeoutMs: number;
}

/** The bounds that `motenet wg` uses. */
export const SERVICE_LIMITS: ServiceLimits = /* @__PURE__ */ Object.freeze({
  connections: 1024,
  flows: 4096,
  flowsPerClient: 256,
  flowIdleMs: 120_000,
  dialTimeoutMs: 30_000,
  negotiationTimeoutMs: 10_000,
});

/** What every service gets. */
export interface ServiceContext {
  readonly tunnel: Tunnel;
  readonly report: Report;
  readonly limits: ServiceLimits;
  /** The address of a name inside the tunnel; undefined when there is none (public names are never looked up). */
  resolveInside(host: string): string | undefined;
}

/** What a service says about itself in `listening` and `ready`. */
export interface ServiceInfo {
  readonly service: 'expose' | 'forward' | 'socks';
  readonly protocol: 'tcp' | 'udp';
  /** Where it listens: inside the tunnel for `expose` (empty: all own addresses), else on this machine. */
  readonly address: string;
  readonly port: number;
  /** Where it leads, `host:port`; empty for `socks`. */
  readonly target: string;
}

/** A running service. */
export interface Service {
  readonly info: ServiceInfo;
  /** Datagrams dropped for lack of room or of a far side; absent for TCP. */
  dropped?(): number;
  /** Stops listening and resets what is open. Safe to call twice. */
  close(): Promise<void>;
}
