/**
 * Hosts without a machine: one in-memory network (UDP, and streams), a virtual clock and seeded randomness, so that whole motes run
 * in a test without sockets and always in the same way. Implements the ports of `lib/ports.ts`.
 */
import { type Endpoint, formatEndpoint } from '../../lib/base/address.ts';
import { NetError } from '../../lib/base/errors.ts';
import type { DatagramOptions, Datagrams, DatagramSink, Host, Store, Timer } from '../../lib/ports.ts';
import { MemoryStreams } from './memory-streams.ts';

/** Steps that one call may run before it gives up: a test that loops must fail, not hang. */
const MAX_STEPS = 2_000_000;
/** Microtask turns granted between two events, enough for the promise chains of one step. */
const MICROTASK_TURNS = 12;
const UNIX_ORIGIN_MS = 1_700_000_000_000;

interface SimEvent {
  readonly atMs: number;
  readonly order: number;
  readonly run: () => void;
}

/** What happens to a datagram on its way: dropped, or delivered after a delay. */
export type Fate = { readonly isDropped: boolean; readonly delayMs: number };

/** The network and its clock. */
export class MemoryNetwork {
  nowMs = 1000;
  /** Added to the wall clock of every host. */
  unixOffsetMs = 0;
  /** Decides each datagram's fate; 1 ms each way unless a test says otherwise. */
  fate: (bytes: Uint8Array, from: Endpoint, to: Endpoint) => Fate = () => ({ isDropped: false, delayMs: 1 });
  /** Datagrams sent so far. */
  sent = 0;
  /** Streams between its hosts: where servers listen, and what goes wrong. */
  readonly streams = new MemoryStreams((delayMs, run) => this.#at(this.nowMs + delayMs, run));
  readonly #events: SimEvent[] = [];
  readonly #bound = new Map<string, (bytes: Uint8Array, from: Endpoint) => void>();
  #order = 0;
  #nextPort = 40_000;

  /** A host with one address outside; `names` is its view of the public DNS. */
  host(address: string, seed: number, names: Readonly<Record<string, readonly string[]>> = {}): Host {
    const resolve = async (name: string) => {
      const found = names[name];
      if (found === undefined) throw new NetError('ERR_NAME_NOT_FOUND', `no such name: ${name}`);
      return found;
    };
    return {
      name: 'memory',
      clock: { nowMs: () => this.nowMs, unixMs: () => UNIX_ORIGIN_MS + this.nowMs + this.unixOffsetMs },
      random: seededRandom(seed),
      createTimer: fire => this.#createTimer(fire),
      defer: run => this.#at(this.nowMs, run),
      openDatagrams: async (options, sink) => this.#open(address, options, sink),
      openStream: (options, sink) => this.streams.connect(address, options, sink, resolve),
      interfaces: () => [address],
      resolve,
    };
  }

  /** Lets `ms` of virtual time pass. */
  async advance(ms: number): Promise<void> {
    const untilMs = this.nowMs + ms;
    await this.#run(() => (this.#events[0]?.atMs ?? Number.POSITIVE_INFINITY) > untilMs);
    this.nowMs = untilMs;
  }

  /** Lets time pass until the promise settles, and gives what it gives. Fails after `limitMs` of virtual time. */
  async until<T>(promise: Promise<T>, limitMs = 600_000): Promise<T> {
    const untilMs = this.nowMs + limitMs;
    let isSettled = false;
    const settle = () => {
      isSettled = true;
    };
    promise.then(settle, settle);
    await this.#run(() => isSettled || (this.#events[0]?.atMs ?? Number.POSITIVE_INFINITY) > untilMs);
    if (!isSettled) throw new Error(`the promise did not settle within ${limitMs} ms of virtual time`);
    return promise;
  }

  async #run(isDone: () => boolean): Promise<void> {
    for (let step = 0; step < MAX_STEPS; step++) {
      for (let turn = 0; turn < MICROTASK_TURNS; turn++) await undefined;
      if (isDone()) return;
      const event = this.#events.shift();
      if (event === undefined) return;
      this.nowMs = Math.max(this.nowMs, event.atMs);
      event.run();
    }
    throw new Error(`more than ${MAX_STEPS} steps: something loops`);
  }

  #at(atMs: number, run: () => void): SimEvent {
    const event = { atMs, order: this.#order++, run };
    let at = this.#events.length;
    while (at > 0 && this.#events[at - 1]!.atMs > atMs) at--;
    this.#events.splice(at, 0, event);
    return event;
  }

  #createTimer(fire: () => void): Timer {
    let armed: SimEvent | undefined;
    const cancel = () => {
      if (armed !== undefined) this.#events.splice(this.#events.indexOf(armed) >>> 0, 1);
      armed = undefined;
    };
    return {
      cancel,
      arm: atMs => {
        cancel();
        if (atMs === Number.POSITIVE_INFINITY) return;
        armed = this.#at(Math.max(atMs, this.nowMs), () => {
          armed = undefined;
          fire();
        });
      },
    };
  }

  #open(address: string, options: DatagramOptions, sink: DatagramSink): Datagrams {
    const local = { address: options.address ?? address, port: options.port === 0 ? this.#nextPort++ : options.port };
    const name = formatEndpoint(local);
    if (this.#bound.has(name)) throw new NetError('ERR_ADDRESS_IN_USE', `${name} is in use`);
    this.#bound.set(name, (bytes, from) => sink.datagram(bytes, 0, bytes.length, from));
    return {
      local: [local],
      send: (buf, start, end, to) => {
        this.sent++;
        const bytes = buf.slice(start, end);
        const { isDropped, delayMs } = this.fate(bytes, local, to);
        if (!isDropped) this.#at(this.nowMs + delayMs, () => this.#bound.get(formatEndpoint(to))?.(bytes, local));
        return true;
      },
      close: () => {
        this.#bound.delete(name);
      },
    };
  }
}

/** Bytes of a seeded generator (xorshift32): for tests only. */
export function seededRandom(seed: number): (out: Uint8Array) => void {
  let state = (seed * 0x9e3779b1 + 1) | 0 || 1;
  return out => {
    for (let i = 0; i < out.length; i++) {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      out[i] = state >>> 11;
    }
  };
}

/** A store in memory, with what was saved in order. */
export class MemoryStore implements Store {
  readonly saved: { name: string; value: Uint8Array }[] = [];
  readonly #values = new Map<string, Uint8Array>();

  load(name: string): Uint8Array | undefined {
    return this.#values.get(name)?.slice();
  }

  save(name: string, value: Uint8Array): void {
    this.saved.push({ name, value: value.slice() });
    this.#values.set(name, value.slice());
  }

  remove(name: string): void {
    this.#values.delete(name);
  }
}
