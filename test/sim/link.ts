/**
 * One direction of a link on a virtual clock: delay, jitter, loss, reordering, duplication, rate with a queue, MTU.
 * Everything random comes from one seed, so a failing run replays exactly. Test-only.
 */
import { copyBytes } from '../../lib/base/bytes.ts';

/** A small seeded generator (xorshift32 over a Weyl sequence); good enough to decide the fate of packets. */
export class SeededRandom {
  #state: number;
  #weyl = 0;

  constructor(seed: number) {
    this.#state = Math.imul(seed | 0, 0x9e3779b1) ^ 0x6d2b79f5 || 1;
    for (let i = 0; i < 8; i++) this.u32();
  }

  /** 0 to 2^32 - 1. */
  u32(): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x;
    this.#weyl = (this.#weyl + 0x9e3779b9) | 0;
    return (Math.imul(x, 0x2545f491) + this.#weyl) >>> 0;
  }

  /** 0 to below 1. */
  float(): number {
    return this.u32() / 0x1_0000_0000;
  }

  /** 0 to below `n`. */
  below(n: number): number {
    return Math.floor(this.float() * n);
  }

  /** Fills an array: a `random` for machines. */
  readonly fill = (out: Uint8Array): void => {
    for (let i = 0; i < out.length; i++) out[i] = this.u32() >>> 24;
  };
}

/** How a link treats packets. All optional: the default is instant and perfect. */
export interface LinkOptions {
  readonly seed?: number;
  /** One-way delay. */
  readonly delayMs?: number;
  /** Extra delay, uniform between 0 and this; packets do not overtake each other because of it. */
  readonly jitterMs?: number;
  /** Probability of loss, 0 to 1. */
  readonly loss?: number;
  /** Probability that a packet is held back by `reorderMs` while others pass. */
  readonly reorder?: number;
  readonly reorderMs?: number;
  /** Probability that a packet arrives twice. */
  readonly duplicate?: number;
  /** Bits per second; Infinity for none. */
  readonly rate?: number;
  /** Bytes that may wait for the rate; more are dropped at the tail. */
  readonly queueBytes?: number;
  /** Larger packets are dropped, and told to `onTooBig`. */
  readonly mtu?: number;
}

interface InFlight {
  readonly at: number;
  readonly order: number;
  readonly bytes: Uint8Array;
}

/** Packets on their way in one direction. */
export class Link {
  readonly options: LinkOptions;
  readonly random: SeededRandom;
  /** Called with a packet that exceeds the MTU, for a router's ICMP answer. */
  onTooBig: ((packet: Uint8Array) => void) | undefined = undefined;
  /** Overrides fate: true drops the packet. Sees every packet before chance does. */
  filter: ((packet: Uint8Array, index: number) => boolean) | undefined = undefined;
  sent = 0;
  sentBytes = 0;
  lost = 0;
  delivered = 0;
  #queue: InFlight[] = [];
  #order = 0;
  #busyUntil = 0;
  #lastAt = 0;

  constructor(options: LinkOptions = {}) {
    this.options = options;
    this.random = new SeededRandom(options.seed ?? 1);
  }

  /** Packets on their way. */
  get size(): number {
    return this.#queue.length;
  }

  /** A packet enters. */
  send(nowMs: number, buf: Uint8Array, start: number, end: number): void {
    const { loss = 0, duplicate = 0, mtu = Infinity } = this.options;
    const bytes = new Uint8Array(end - start);
    copyBytes(bytes, 0, buf, start, end);
    this.sentBytes += bytes.length;
    const index = this.sent++;
    if (bytes.length > mtu) {
      this.lost++;
      this.onTooBig?.(bytes);
      return;
    }
    if (this.filter?.(bytes, index) || this.random.float() < loss) {
      this.lost++;
      return;
    }
    this.#enter(nowMs, bytes);
    if (duplicate > 0 && this.random.float() < duplicate) this.#enter(nowMs, bytes.slice());
  }

  /** When the next packet arrives; Infinity for never. */
  next(): number {
    return this.#queue.length === 0 ? Infinity : this.#queue[0]!.at;
  }

  /** Takes a packet that has arrived by `nowMs`. */
  receive(nowMs: number): Uint8Array | undefined {
    if (this.next() > nowMs) return undefined;
    this.delivered++;
    const first = this.#queue[0]!;
    const last = this.#queue.pop()!;
    if (this.#queue.length > 0) this.#sink(last);
    return first.bytes;
  }

  #enter(nowMs: number, bytes: Uint8Array): void {
    const {
      delayMs = 0,
      jitterMs = 0,
      reorder = 0,
      reorderMs = 0,
      rate = Infinity,
      queueBytes = Infinity,
    } = this.options;
    const start = Math.max(nowMs, this.#busyUntil);
    if (((start - nowMs) * rate) / 8000 > queueBytes) {
      this.lost++;
      return;
    }
    this.#busyUntil = start + (rate === Infinity ? 0 : (bytes.length * 8000) / rate);
    let at = this.#busyUntil + delayMs + (jitterMs > 0 ? this.random.float() * jitterMs : 0);
    if (reorder > 0 && this.random.float() < reorder) at += reorderMs;
    else {
      at = Math.max(at, this.#lastAt);
      this.#lastAt = at;
    }
    this.#push({ at, order: this.#order++, bytes });
  }

  #push(entry: InFlight): void {
    const queue = this.#queue;
    let i = queue.push(entry) - 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!isBefore(entry, queue[parent]!)) break;
      queue[i] = queue[parent]!;
      i = parent;
    }
    queue[i] = entry;
  }

  #sink(entry: InFlight): void {
    const queue = this.#queue;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= queue.length) break;
      if (child + 1 < queue.length && isBefore(queue[child + 1]!, queue[child]!)) child++;
      if (!isBefore(queue[child]!, entry)) break;
      queue[i] = queue[child]!;
      i = child;
    }
    queue[i] = entry;
  }
}

function isBefore(a: InFlight, b: InFlight): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
