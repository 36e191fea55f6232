/**
 * Two machines, the datagrams between them held in the open, and a clock that is moved by hand: the stage of pair
 * stories. Nothing arrives until a story delivers it, so a story can lose, reorder, copy or forge what it likes.
 *
 * Knows no protocol: a machine is anything with the methods of {@link PairMachine}.
 */
import { type Endpoint, sameEndpoint } from '../../lib/base/address.ts';
import { Slot } from '../../lib/base/slot.ts';

/** What a machine must have to take part; {@link Event} is whatever `pollEvent` gives. */
export interface PairMachine<Event> {
  encapsulate(nowMs: number, slot: Slot): number;
  decapsulate(nowMs: number, buf: Uint8Array, start: number, end: number, from: Endpoint): number;
  pollTransmit(nowMs: number, slot: Slot): boolean;
  pollEvent(): Event | undefined;
  handleTimeout(nowMs: number): void;
  nextTimeout(): number;
}

/** A datagram on its way. */
export interface InFlight {
  readonly bytes: Uint8Array;
  readonly from: Endpoint;
  readonly to: Endpoint | undefined;
}

/** One of the two. */
export class Side<Machine extends PairMachine<Event>, Event> {
  machine: Machine;
  /** Where it sends from; a story may change it (roaming). */
  endpoint: Endpoint;
  /** Inner packets that came out, oldest first. */
  readonly received: Uint8Array[] = [];
  /** Events, oldest first. */
  readonly events: Event[] = [];

  constructor(machine: Machine, endpoint: Endpoint) {
    this.machine = machine;
    this.endpoint = endpoint;
  }
}

/** Steps that one call may take: a story that loops must fail, not hang. */
const MAX_STEPS = 100_000;
/** Bytes in front of and behind a datagram in the buffer in which it is delivered, to find code that ignores offsets. */
const MARGIN_BYTES = 7;

/** The stage. */
export class Pair<Machine extends PairMachine<Event>, Event> {
  nowMs: number;
  readonly a: Side<Machine, Event>;
  readonly b: Side<Machine, Event>;
  /** What is on its way, oldest first. */
  readonly flight: InFlight[] = [];
  readonly #slot: Slot;

  constructor(nowMs: number, a: Side<Machine, Event>, b: Side<Machine, Event>, capacity = 2048) {
    this.nowMs = nowMs;
    this.a = a;
    this.b = b;
    this.#slot = new Slot(capacity);
    this.drain();
  }

  /** Hands a packet to a side for sending; returns what `encapsulate` returned. */
  send(side: Side<Machine, Event>, packet: Uint8Array): number {
    const slot = this.#slot;
    slot.reset();
    slot.buf.set(packet, slot.start);
    slot.end = slot.start + packet.length;
    const result = side.machine.encapsulate(this.nowMs, slot);
    if (result > 0) this.#launch(side);
    this.drain();
    return result;
  }

  /** Takes all outputs of both sides. Commands that a story gives a machine directly show their effect after this. */
  drain(): void {
    for (const side of [this.a, this.b]) {
      for (let i = 0; side.machine.pollTransmit(this.nowMs, this.#slot); i++) {
        if (i > MAX_STEPS) throw new Error('a machine never stops sending');
        this.#collectEvents(side);
        this.#launch(side);
      }
      this.#collectEvents(side);
    }
  }

  /** Takes what is on its way off the wire, oldest first. */
  take(): InFlight[] {
    return this.flight.splice(0);
  }

  /** Delivers the oldest datagram to whom it is addressed; returns what `decapsulate` returned. */
  deliver(): number {
    const datagram = this.flight.shift();
    if (datagram === undefined) throw new Error('nothing is on its way');
    const side = [this.a, this.b].find(({ endpoint }) => sameEndpoint(endpoint, datagram.to));
    return side === undefined ? 0 : this.inject(side, datagram.bytes, datagram.from);
  }

  /** Delivers until nothing is on its way. */
  settle(): void {
    for (let i = 0; this.flight.length > 0; i++) {
      if (i > MAX_STEPS) throw new Error('the machines never fall silent');
      this.deliver();
    }
  }

  /** Lets a side receive bytes from anywhere; the bytes given stay as they are. */
  inject(side: Side<Machine, Event>, bytes: Uint8Array, from: Endpoint): number {
    const buf = new Uint8Array(bytes.length + 2 * MARGIN_BYTES).fill(0xa5);
    buf.set(bytes, MARGIN_BYTES);
    const result = side.machine.decapsulate(this.nowMs, buf, MARGIN_BYTES, MARGIN_BYTES + bytes.length, from);
    if (result > 0) side.received.push(buf.slice(MARGIN_BYTES + 16, MARGIN_BYTES + 16 + result));
    this.drain();
    return result;
  }

  /** Lets `ms` pass, with every timer at its time. What is sent stays on its way. */
  advance(ms: number): void {
    this.#run(this.nowMs + ms, () => {});
  }

  /** Lets `ms` pass on a perfect link: everything is delivered in the moment in which it is sent. */
  live(ms: number): void {
    this.settle();
    this.#run(this.nowMs + ms, () => this.settle());
  }

  /** The earliest deadline of both sides. */
  nextTimeout(): number {
    return Math.min(this.a.machine.nextTimeout(), this.b.machine.nextTimeout());
  }

  #run(untilMs: number, after: () => void): void {
    for (let i = 0; this.nextTimeout() <= untilMs; i++) {
      if (i > MAX_STEPS) throw new Error('a timer is always due');
      this.nowMs = Math.max(this.nowMs, this.nextTimeout());
      this.#tick(after);
    }
    this.nowMs = untilMs;
    this.#tick(after);
  }

  #tick(after: () => void): void {
    this.a.machine.handleTimeout(this.nowMs);
    this.b.machine.handleTimeout(this.nowMs);
    this.drain();
    after();
  }

  #launch(side: Side<Machine, Event>): void {
    const { buf, start, end, to } = this.#slot;
    this.flight.push({ bytes: buf.slice(start, end), from: side.endpoint, to });
  }

  #collectEvents(side: Side<Machine, Event>): void {
    for (let event = side.machine.pollEvent(); event !== undefined; event = side.machine.pollEvent())
      side.events.push(event);
  }
}
