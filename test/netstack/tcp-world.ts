/**
 * Two TCP machines on a simulated link, with applications that read and write at their own pace. Test-only.
 */
import { DropCounters } from '../../lib/base/drop.ts';
import { Slot } from '../../lib/base/slot.ts';
import { IpPath } from '../../lib/netstack/path.ts';
import { READY_ACCEPTED, Tcp, type TcpConnection } from '../../lib/netstack/tcp.ts';
import { TCP_LIMITS_LARGE, type TcpLimits } from '../../lib/netstack/tcp-limits.ts';
import { createSack } from '../../lib/netstack/tcp-sack.ts';
import { Link, type LinkOptions, SeededRandom } from '../sim/link.ts';

/** Addresses of the two hosts. */
export const CLIENT = Uint8Array.of(10, 0, 0, 1);
export const SERVER = Uint8Array.of(10, 0, 0, 2);

export interface HostOptions {
  readonly limits?: Partial<TcpLimits>;
  readonly hasSack?: boolean;
  readonly mtu?: number;
  readonly seed?: number;
  readonly random?: (out: Uint8Array) => void;
}

/** One machine with its counters, its output slot and the connections that told of themselves. */
export class Host {
  readonly tcp: Tcp;
  readonly drops = new DropCounters();
  readonly address: Uint8Array;
  readonly mtu: number;
  readonly slot: Slot;
  readonly accepted: TcpConnection[] = [];
  /** All ready bits that a connection ever showed, by id. */
  readonly ready = new Map<number, number>();
  onEvent: ((nowMs: number, connection: TcpConnection, bits: number) => void) | undefined = undefined;

  constructor(nowMs: number, address: Uint8Array, options: HostOptions = {}) {
    const { limits, hasSack = true, mtu = 1420, seed = 1 } = options;
    this.address = address;
    this.mtu = mtu;
    this.slot = new Slot(mtu);
    this.tcp = new Tcp({
      nowMs,
      random: options.random ?? new SeededRandom(seed).fill,
      limits: { ...TCP_LIMITS_LARGE, ...limits },
      drops: this.drops,
      mtu,
      ...(hasSack ? { createSack } : {}),
    });
  }

  /** A path from this host. */
  pathTo(remote: Uint8Array): IpPath {
    return new IpPath(this.address, remote, this.mtu);
  }

  /** Takes one IP packet. */
  receive(nowMs: number, packet: Uint8Array): number {
    const family = packet[0]! >> 4 === 6 ? 6 : 4;
    return this.tcp.handleSegment(nowMs, packet, 0, family, family === 4 ? 20 : 40, packet.length);
  }

  /** Collects events. */
  drainEvents(nowMs: number): void {
    for (let connection = this.tcp.pollEvent(); connection !== undefined; connection = this.tcp.pollEvent()) {
      const bits = connection.takeReady();
      this.ready.set(connection.id, (this.ready.get(connection.id) ?? 0) | bits);
      if ((bits & READY_ACCEPTED) !== 0) this.accepted.push(connection);
      this.onEvent?.(nowMs, connection, bits);
    }
  }

  /** Sends all that is due into a link. */
  drainTransmits(nowMs: number, link: Link): void {
    this.slot.reset();
    while (this.tcp.pollTransmit(nowMs, this.slot)) {
      link.send(nowMs, this.slot.buf, this.slot.start, this.slot.end);
      this.slot.reset();
    }
  }
}

export interface WorldOptions {
  readonly seed?: number;
  readonly link?: LinkOptions;
  /** The way back, if it differs. */
  readonly back?: LinkOptions;
  readonly client?: HostOptions;
  readonly server?: HostOptions;
  readonly startMs?: number;
}

/** Client, server, and the two directions between them. */
export class World {
  nowMs: number;
  readonly client: Host;
  readonly server: Host;
  readonly up: Link;
  readonly down: Link;
  /** Called after each step, before output is drained: applications act here. */
  onStep: ((nowMs: number) => void) | undefined = undefined;
  /** When an application wants to be called although nothing happens. */
  wakeAt = Infinity;

  constructor(options: WorldOptions = {}) {
    const { seed = 1, link = {}, back = link, startMs = 1000 } = options;
    this.nowMs = startMs;
    this.client = new Host(startMs, CLIENT, { seed: seed * 2 + 1, ...options.client });
    this.server = new Host(startMs, SERVER, { seed: seed * 2 + 2, ...options.server });
    this.up = new Link({ seed: seed * 2 + 11, ...link });
    this.down = new Link({ seed: seed * 2 + 12, ...back });
  }

  /** The client opens a connection to a port of the server. */
  connect(port = 80, localPort = 0): TcpConnection {
    return this.client.tcp.connect(this.nowMs, this.client.pathTo(SERVER), port, localPort);
  }

  /** Delivers what has arrived, fires timers, runs applications, drains output. */
  step(): void {
    const now = this.nowMs;
    for (let packet = this.up.receive(now); packet !== undefined; packet = this.up.receive(now))
      this.server.receive(now, packet);
    for (let packet = this.down.receive(now); packet !== undefined; packet = this.down.receive(now))
      this.client.receive(now, packet);
    for (const host of [this.client, this.server]) {
      if (host.tcp.nextTimeout() <= now) host.tcp.handleTimeout(now);
      host.drainEvents(now);
    }
    this.onStep?.(now);
    this.client.drainTransmits(now, this.up);
    this.server.drainTransmits(now, this.down);
  }

  /** When something happens next. */
  next(): number {
    const timers = Math.min(this.client.tcp.nextTimeout(), this.server.tcp.nextTimeout());
    return Math.min(this.up.next(), this.down.next(), timers, this.wakeAt);
  }

  /** Runs until `isDone`, or `untilMs` of virtual time, or nothing is left to happen. Returns whether `isDone`. */
  run(isDone: () => boolean, untilMs = this.nowMs + 600_000): boolean {
    this.step();
    while (!isDone()) {
      const next = this.next();
      if (next === Infinity || next > untilMs) {
        if (untilMs !== Infinity && next !== Infinity) this.nowMs = untilMs;
        return isDone();
      }
      this.nowMs = Math.max(this.nowMs, next);
      this.step();
    }
    return true;
  }

  /** Lets time pass. */
  runFor(ms: number): void {
    const end = this.nowMs + ms;
    this.run(() => false, end);
    this.nowMs = end;
    this.step();
  }

  /** Opens a connection and returns both ends. */
  open(port = 80): { near: TcpConnection; far: TcpConnection } {
    if (!this.#listening.has(port)) {
      this.server.tcp.listen(port);
      this.#listening.add(port);
    }
    const had = this.server.accepted.length;
    const near = this.connect(port);
    if (!this.run(() => this.server.accepted.length > had && near.state === 'ESTABLISHED'))
      throw new Error('the connection did not open');
    return { near, far: this.server.accepted[had]! };
  }

  readonly #listening = new Set<number>();
}

/** Byte `i` of a test stream: no period that hides a shift. */
export function pattern(seed: number, i: number): number {
  return ((Math.imul(i ^ (seed << 20), 0x9e3779b1) >>> 24) ^ (i >>> 16)) & 0xff;
}

/** One direction of a transfer: writes a pattern, checks it at the other end, finishes with FIN. */
export class Transfer {
  readonly from: TcpConnection;
  readonly to: TcpConnection;
  readonly total: number;
  readonly seed: number;
  written = 0;
  read = 0;
  isIntact = true;
  isEnded = false;
  finishedMs = 0;
  /** Most bytes that a reader takes per call. */
  readChunk = 65_536;
  readonly #buf = new Uint8Array(65_536);

  constructor(from: TcpConnection, to: TcpConnection, total: number, seed = 1) {
    this.from = from;
    this.to = to;
    this.total = total;
    this.seed = seed;
  }

  /** Writes and reads what it can now. */
  pump(nowMs: number): void {
    this.pumpWrite(nowMs);
    this.pumpRead(nowMs);
  }

  pumpWrite(nowMs: number): void {
    while (this.written < this.total) {
      const count = Math.min(this.total - this.written, this.#buf.length, this.from.writableBytes);
      if (count === 0) {
        this.from.write(nowMs, this.#buf, 0, 1); // so that READY_WRITABLE follows
        return;
      }
      for (let i = 0; i < count; i++) this.#buf[i] = pattern(this.seed, this.written + i);
      this.written += this.from.write(nowMs, this.#buf, 0, count);
    }
    if (this.written === this.total) {
      this.from.shutdown(nowMs);
      this.written++;
    }
  }

  pumpRead(nowMs: number): void {
    for (;;) {
      const count = this.to.read(nowMs, this.#buf, 0, this.readChunk);
      for (let i = 0; i < count; i++) if (this.#buf[i] !== pattern(this.seed, this.read + i)) this.isIntact = false;
      this.read += count;
      if (count === 0 || this.readChunk < 65_536) break;
    }
    if (this.to.isEnded && !this.isEnded) {
      this.isEnded = true;
      this.finishedMs = nowMs;
    }
  }

  get isDone(): boolean {
    return this.isEnded && this.read === this.total;
  }
}
