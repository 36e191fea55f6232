/**
 * Binds one {@link Device} to the ports of a host: the only file of the core that calls ports.
 *
 * It lends received bytes in, drains datagrams and events out, and arms exactly one timer. Work is batched: the
 * datagrams that are waiting are all taken before replies leave, so that one acknowledgement answers many segments;
 * and a burst of sending is cut into pieces, so that the socket is read in between.
 */
import type { Endpoint } from './base/address.ts';
import { concatBytes } from './base/bytes.ts';
import { dropReason } from './base/drop.ts';
import { NetError } from './base/errors.ts';
import type { Device, DeviceEvent } from './device/device.ts';
import type { StreamCommand, Streams } from './device/streams.ts';
import type { DatagramOptions, Datagrams, DatagramSink, Host, HostStream, Store, StreamSink, Timer } from './ports.ts';

/** Datagrams sent in one go before the socket is read again: below what a default receive buffer holds (208 KiB). */
const BURST_DATAGRAMS = 64;
/** Bursts that {@link Driver.close} sends at most: a reset for each of 4,096 connections. */
const CLOSE_BURSTS = 64;
/** How old the device's idea of the wall clock may get. */
const WALL_CLOCK_REFRESH_MS = 1000;
/** Name in the store of the TAI64N floor: a schema version byte and the 12 bytes of the timestamp. */
const TIMESTAMP_STORE_NAME = 'tai64n';
const TIMESTAMP_SCHEMA = 1;

/** What is polled from a machine for one write to a stream. */
const STREAM_CHUNK_BYTES = 16_384;
/** Chunks written to one stream in one go, before other work gets a turn. */
const STREAM_BURST = 16;

/** How often the addresses of the machine are looked at, for a member of a tailnet: while there is traffic, and else. */
const INTERFACES_ACTIVE_MS = 1000;
const INTERFACES_MS = 5000;
/** A device that was not woken for this much longer than it had asked for has slept. */
const SLEPT_MS = 20_000;

const SOCKET_FULL = /* @__PURE__ */ dropReason('socket-full');

/**
 * The TAI64N floor that an earlier run saved, for `DeviceOptions.timestampFloor`. Throws NetError `ERR_STORE` when the
 * store cannot be read or holds something else.
 */
export function loadTimestampFloor(store: Store | undefined): Uint8Array | undefined {
  const value = store?.load(TIMESTAMP_STORE_NAME);
  if (value === undefined) return undefined;
  if (value.length !== 13 || value[0] !== TIMESTAMP_SCHEMA || value[1] !== 0x40)
    throw new NetError(
      'ERR_STORE',
      `"${TIMESTAMP_STORE_NAME}" in the store is damaged: remove it if the clock is right`,
    );
  return value.slice(1);
}

/** Who hears from the driver. Calls come after the device has settled, never from inside one of its methods. */
export interface DriverEvents {
  /** A device event; the object is valid during the call. */
  event(event: DeviceEvent): void;
  /** The socket failed for good, or the store did not take a value. */
  failed(error: NetError): void;
}

/** One device on one host. */
export class Driver implements DatagramSink {
  readonly device: Device;
  readonly #host: Host;
  readonly #events: DriverEvents;
  readonly #store: Store | undefined;
  readonly #timer: Timer;
  readonly #streams = new Map<number, DriverStream>();
  readonly #authorities: string | undefined;
  #datagrams: Datagrams | undefined;
  #chunk: Uint8Array | undefined;
  #isFlushing = false;
  #isScheduled = false;
  #isClosed = false;
  #batchNowMs = 0;
  #lookedAtMs = Number.NEGATIVE_INFINITY;
  #wallClockAtMs: number;

  /**
   * `store` keeps the TAI64N floor; without one the wall clock must be right at every start. `authorities` (PEM) are
   * trusted by TLS streams beside the runtime's own.
   */
  constructor(host: Host, device: Device, events: DriverEvents, store?: Store, authorities?: string) {
    this.#authorities = authorities;
    this.#host = host;
    this.device = device;
    this.#events = events;
    this.#store = store;
    this.#timer = host.createTimer(this.#wake);
    this.#wallClockAtMs = host.clock.nowMs();
  }

  /** Opens the UDP socket. Rejects with NetError `ERR_ADDRESS_IN_USE` or `ERR_ADDRESS_UNAVAILABLE`. */
  async open(options: DatagramOptions): Promise<void> {
    const datagrams = await this.#host.openDatagrams(options, this);
    if (this.#isClosed) datagrams.close();
    else this.#datagrams = datagrams;
  }

  /** The bound UDP addresses. */
  get local(): readonly Endpoint[] {
    return this.#datagrams?.local ?? [];
  }

  /** Monotonic milliseconds, for commands given to the device. */
  nowMs(): number {
    return this.#host.clock.nowMs();
  }

  /** Says that the device was given a command: what it wants sent leaves soon. */
  kick(): void {
    if (this.#isScheduled || this.#isClosed) return;
    this.#isScheduled = true;
    this.#batchNowMs = this.#host.clock.nowMs();
    this.#host.defer(this.#wake);
  }

  /** For the timer and for what was deferred: one function serves both, as an early flush is harmless. */
  readonly #wake = (): void => {
    this.#isScheduled = false;
    this.#flush();
  };

  datagram(buf: Uint8Array, start: number, end: number, from: Endpoint): void {
    if (this.#isClosed) return;
    this.kick();
    this.device.handleDatagram(this.#batchNowMs, buf, start, end, from);
  }

  failed(error: NetError): void {
    if (!this.#isClosed) this.#events.failed(error);
  }

  /**
   * Memory that streams poll into, for {@link DriverStream}; its content is gone with the next call. Where chunks are
   * small, that is what datagrams are written into, which is free while no datagram is polled.
   */
  chunk(): Uint8Array {
    const length = Math.min(STREAM_CHUNK_BYTES, this.device.tailnet?.chunkBytes ?? STREAM_CHUNK_BYTES);
    const { scratch } = this.device;
    if (scratch.length >= length) return scratch;
    this.#chunk ??= new Uint8Array(length);
    return this.#chunk;
  }

  /** A stream has failed, for {@link DriverStream}. */
  forget(id: number): void {
    this.#streams.delete(id);
  }

  /** Bytes of a stream, for {@link DriverStream}. */
  streamInput(handle: (nowMs: number) => void): void {
    if (this.#isClosed) return;
    this.kick();
    handle(this.#batchNowMs);
  }

  /** Sends what is waiting (resets of open connections, say), within a bound, and closes. Safe to repeat, also from an event. */
  close(): void {
    if (this.#isClosed) return;
    const nowMs = this.#host.clock.nowMs();
    for (let burst = 1; !this.#drainTransmits(nowMs) && burst < CLOSE_BURSTS; ) burst++;
    this.#isClosed = true;
    this.#timer.cancel();
    this.#datagrams?.close();
    this.#datagrams = undefined;
    for (const stream of this.#streams.values()) stream.close();
    this.#streams.clear();
  }

  #flush(): void {
    if (this.#isClosed || this.#isFlushing) return;
    this.#isFlushing = true;
    try {
      const nowMs = this.#host.clock.nowMs();
      if (nowMs - this.#wallClockAtMs >= WALL_CLOCK_REFRESH_MS) {
        this.#wallClockAtMs = nowMs;
        this.device.setWallClock(nowMs, this.#host.clock.unixMs());
      }
      this.#lookAround(nowMs);
      if (nowMs >= this.device.nextTimeout()) this.device.handleTimeout(nowMs);
      this.#drainEvents();
      const isSent = this.#drainTransmits(nowMs);
      const isDrained = this.#drainStreams(nowMs) && isSent;
      // Polling may itself have raised events: a session asked for, a flow told that it is unreachable.
      this.#drainEvents();
      // An event may have closed the driver.
      if (this.#isClosed) return;
      if (!isDrained) this.kick();
      const lookAtMs = this.device.tailnet === undefined ? Infinity : this.#lookedAtMs + this.#lookEveryMs(nowMs);
      this.#timer.arm(Math.min(this.device.nextTimeout(), lookAtMs));
    } finally {
      this.#isFlushing = false;
    }
  }

  /** Addresses that came or went, time that was lost in sleep, and names of relays that have to be looked up. */
  #lookAround(nowMs: number): void {
    const { tailnet } = this.device;
    if (tailnet === undefined) return;
    if (nowMs - this.#lookedAtMs >= this.#lookEveryMs(nowMs)) {
      if (nowMs - this.#lookedAtMs >= INTERFACES_MS + SLEPT_MS && this.#lookedAtMs > 0) tailnet.linkChanged(nowMs);
      this.#lookedAtMs = nowMs;
      tailnet.setInterfaces(nowMs, this.#host.interfaces?.() ?? [], this.local[0]?.port ?? 0);
    }
    for (let name = tailnet.paths.pollResolve(); name !== undefined; name = tailnet.paths.pollResolve())
      void this.#resolve(tailnet, name);
  }

  #lookEveryMs(nowMs: number): number {
    const { tailnet } = this.device;
    return tailnet?.paths.isActive(nowMs) === true ? INTERFACES_ACTIVE_MS : INTERFACES_MS;
  }

  async #resolve(tailnet: NonNullable<Device['tailnet']>, name: string): Promise<void> {
    const addresses = await this.#host.resolve(name).catch(() => []);
    this.streamInput(nowMs => tailnet.paths.handleResolved(nowMs, name, addresses));
  }

  #drainEvents(): void {
    for (let event = this.device.pollEvent(); event !== undefined; event = this.device.pollEvent())
      this.#events.event(event);
  }

  #drainTransmits(nowMs: number): boolean {
    for (let count = 0; count < BURST_DATAGRAMS; count++) {
      const slot = this.device.pollTransmit(nowMs);
      if (slot === undefined) return true;
      const floor = this.device.pollSave();
      if (floor !== undefined) this.#save(floor);
      const isSent = slot.to !== undefined && this.#datagrams?.send(slot.buf, slot.start, slot.end, slot.to) === true;
      if (!isSent) this.device.tunnel.drops.count(SOCKET_FULL);
    }
    return false;
  }

  /** Carries out what the device wants of streams, and moves what they have to send. False: there is more. */
  #drainStreams(nowMs: number): boolean {
    const streams = this.device.tailnet?.streams;
    if (streams === undefined) return true;
    for (let command = streams.pollCommand(); command !== undefined; command = streams.pollCommand())
      this.#obey(command);
    let isDrained = true;
    for (const stream of this.#streams.values()) if (!stream.send(nowMs)) isDrained = false;
    return isDrained;
  }

  #obey(command: StreamCommand): void {
    if (command.type === 'close') {
      this.#streams.get(command.id)?.close();
      this.#streams.delete(command.id);
      return;
    }
    const { id, request } = command;
    const stream = new DriverStream(this, id);
    this.#streams.set(id, stream);
    const authorities = this.#authorities;
    const { tls } = request;
    const isAsWanted = tls === undefined || authorities === undefined;
    stream.open(this.#host.openStream(isAsWanted ? request : { ...request, tls: { ...tls, authorities } }, stream));
  }

  #save(floor: Uint8Array): void {
    try {
      this.#store?.save(TIMESTAMP_STORE_NAME, concatBytes(Uint8Array.of(TIMESTAMP_SCHEMA), floor));
    } catch (cause) {
      // The initiation still leaves: a device with a broken store but a right clock keeps working, and is told.
      const message = `the store did not take the handshake clock: ${cause instanceof Error ? cause.message : 'unknown'}`;
      this.#events.failed(cause instanceof NetError ? cause : new NetError('ERR_STORE', message, { cause }));
    }
  }
}

/** One stream between a machine of the device and the host. */
class DriverStream implements StreamSink {
  readonly #driver: Driver;
  readonly #id: number;
  /** What was polled and not taken yet: `#left[#start, )`. */
  #left: Uint8Array | undefined;
  #start = 0;
  #stream: HostStream | undefined;
  #isOpen = false;
  /** The host's buffer is full until `writable`. */
  #isFull = false;

  constructor(driver: Driver, id: number) {
    this.#driver = driver;
    this.#id = id;
  }

  get #streams(): Streams {
    return this.#driver.device.tailnet!.streams;
  }

  open(stream: HostStream): void {
    this.#stream = stream;
  }

  /** Writes what the machine has to send; false when there is more that could be written now. */
  send(nowMs: number): boolean {
    for (let count = 0; count < STREAM_BURST; count++) {
      if (!this.#isOpen || this.#isFull) return true;
      const hasMore = this.#left === undefined ? this.#sendNext(nowMs) : this.#sendLeft(this.#left);
      if (!hasMore) return true;
    }
    return false;
  }

  /** Polls into memory that all streams share; what the host does not take is copied. False: there was nothing. */
  #sendNext(nowMs: number): boolean {
    const out = this.#driver.chunk();
    const end = this.#streams.pollBytes(nowMs, this.#id, out, 0, out.length);
    if (end === 0) return false;
    const taken = this.#stream?.write(out, 0, end) ?? 0;
    if (taken === end) return true;
    this.#left = out.slice(taken, end);
    this.#start = 0;
    this.#isFull = true;
    return true;
  }

  #sendLeft(left: Uint8Array): boolean {
    this.#start += this.#stream?.write(left, this.#start, left.length) ?? 0;
    this.#isFull = this.#start < left.length;
    if (!this.#isFull) this.#left = undefined;
    return true;
  }

  /** Sends what was polled, as far as the host takes it, and ends. */
  close(): void {
    const left = this.#left;
    if (this.#isOpen && !this.#isFull && left !== undefined) this.#stream?.write(left, this.#start, left.length);
    this.#stream?.close();
    this.#stream = undefined;
    this.#isOpen = false;
  }

  opened(): void {
    this.#isOpen = true;
    this.#driver.streamInput(nowMs => this.#streams.handleOpened(nowMs, this.#id));
  }

  bytes(buf: Uint8Array, start: number, end: number): void {
    this.#driver.streamInput(nowMs => this.#driver.device.handleStreamBytes(nowMs, this.#id, buf, start, end));
  }

  writable(): void {
    this.#isFull = false;
    this.#driver.kick();
  }

  ended(): void {
    this.#driver.streamInput(nowMs => this.#streams.handleEnd(nowMs, this.#id));
  }

  failed(error: NetError): void {
    this.#driver.forget(this.#id);
    this.#driver.streamInput(nowMs => this.#streams.handleFailed(nowMs, this.#id, error));
  }
}
