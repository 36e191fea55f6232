/**
 * The asking side of STUN (RFC 8489 §6.2.1, §7.3.3), as a machine: many servers at once, each request with a random
 * transaction id of its own, so that an answer tells to which request it belongs and how long it took.
 *
 * An answer counts only for a request that is under way, and only from the server that was asked. Requests must leave
 * from the socket whose address is wanted. Left out: what follows from the results (which relay is near, what kind of
 * NAT this is), and RFC 8489's growing intervals: probes here are few and short.
 */
import { type Endpoint, sameEndpoint } from '../base/address.ts';
import { readU16BE, readU32BE } from '../base/bytes.ts';
import type { Slot } from '../base/slot.ts';
import {
  STUN_LIMITS_LARGE,
  type StunEvent,
  type StunLimits,
  type StunProbeOptions,
  type StunServer,
} from './limits.ts';
import { BINDING_REQUEST_BYTES, parseBindingResponse, TRANSACTION_ID_BYTES, writeBindingRequest } from './message.ts';

const HALF_ID_BYTES = TRANSACTION_ID_BYTES / 2;

/** What a {@link StunClient} needs. */
export interface StunClientOptions {
  readonly random: (out: Uint8Array) => void;
  readonly limits?: Partial<StunLimits>;
}

/** One server being asked. */
interface Probe {
  readonly id: number;
  readonly server: StunServer;
  readonly tries: number;
  readonly spacingMs: number;
  /** When it ends without an answer. */
  readonly untilMs: number;
  /** When the next request may leave; Infinity when all have. */
  nextMs: number;
  /** Of each request that left: its transaction id as two numbers of 48 bits, and when it left. */
  readonly sent: number[];
}

/** The machine; see the top of the file. */
export class StunClient {
  /** Datagrams that answered nothing that was asked, or came from somebody else. */
  ignored = 0;
  readonly #random: (out: Uint8Array) => void;
  readonly #limits: StunLimits;
  readonly #probes = new Map<number, Probe>();
  readonly #events: StunEvent[] = [];
  #lastProbe = 0;

  /** See {@link StunClientOptions}. */
  constructor(options: StunClientOptions) {
    this.#random = options.random;
    this.#limits = { ...STUN_LIMITS_LARGE, ...options.limits };
  }

  /** Probes under way. */
  get size(): number {
    return this.#probes.size;
  }

  /**
   * Starts asking a server. Returns the probe's number, or -1 when too many are under way. Throws RangeError for a
   * number of tries outside the limits or times that are negative.
   */
  probe(nowMs: number, server: StunServer, options: StunProbeOptions = {}): number {
    const { tries = 3, spacingMs = 100, timeoutMs = 3000, delayMs = 0 } = options;
    if (!Number.isInteger(tries) || tries < 1 || tries > this.#limits.tries)
      throw new RangeError(`"tries" expected 1 to ${this.#limits.tries}, got ${tries}`);
    for (const [name, value] of Object.entries({ spacingMs, timeoutMs, delayMs }))
      if (!(value >= 0)) throw new RangeError(`"${name}" expected 0 or more, got ${value}`);
    if (this.#probes.size >= this.#limits.probes) return -1; // CHECK: stun-probes
    const id = ++this.#lastProbe;
    const firstMs = nowMs + delayMs;
    this.#probes.set(id, {
      id,
      server,
      tries,
      spacingMs,
      untilMs: firstMs + timeoutMs,
      nextMs: firstMs,
      sent: [],
    });
    return id;
  }

  /** Ends a probe without an event. */
  cancel(probe: number): void {
    this.#probes.delete(probe);
  }

  /** Writes one request that is due into the slot, with its destination. False when none is. */
  pollTransmit(nowMs: number, slot: Slot): boolean {
    for (const probe of this.#probes.values()) {
      if (probe.nextMs > nowMs) continue;
      const id = new Uint8Array(TRANSACTION_ID_BYTES);
      this.#random(id);
      probe.sent.push(readHalf(id, 0), readHalf(id, HALF_ID_BYTES), nowMs);
      probe.nextMs = probe.sent.length < 3 * probe.tries ? nowMs + probe.spacingMs : Infinity;
      slot.reset();
      slot.end = slot.start + BINDING_REQUEST_BYTES;
      writeBindingRequest(slot.buf, slot.start, id);
      slot.to = probe.server.endpoint;
      return true;
    }
    return false;
  }

  /** A datagram that looks like STUN (`isStun`). True when it was the answer to a request of ours. */
  handleDatagram(nowMs: number, buf: Uint8Array, start: number, end: number, from: Endpoint): boolean {
    const response = parseBindingResponse(buf, start, end);
    if (response === undefined) return this.#ignore();
    const { idOffset } = response;
    const [first, second] = [readHalf(buf, idOffset), readHalf(buf, idOffset + HALF_ID_BYTES)];
    for (const probe of this.#probes.values()) {
      const sentMs = sentMsOf(probe, first, second);
      if (sentMs === undefined) continue; // CHECK: stun-transaction
      if (!sameEndpoint(from, probe.server.endpoint)) return this.#ignore(); // CHECK: stun-source
      this.#probes.delete(probe.id);
      const { address, port } = response;
      const latencyMs = nowMs - sentMs;
      this.#events.push({
        type: 'response',
        probe: probe.id,
        server: probe.server,
        latencyMs,
        address: { address, port },
      });
      return true;
    }
    return this.#ignore();
  }

  /** Takes the oldest result. */
  pollEvent(): StunEvent | undefined {
    return this.#events.shift();
  }

  /** When a request is due or a probe ends: call {@link handleTimeout}, then {@link pollTransmit}. */
  nextTimeout(): number {
    let nextMs = Infinity;
    for (const probe of this.#probes.values()) nextMs = Math.min(nextMs, probe.nextMs, probe.untilMs);
    return nextMs;
  }

  /** Ends the probes whose time is up. */
  handleTimeout(nowMs: number): void {
    for (const probe of this.#probes.values()) {
      if (probe.untilMs > nowMs) continue;
      this.#probes.delete(probe.id);
      this.#events.push({ type: 'timeout', probe: probe.id, server: probe.server });
    }
  }

  #ignore(): boolean {
    this.ignored++;
    return false;
  }
}

/** When the request of a probe with this transaction id left; undefined: there is none. */
function sentMsOf({ sent }: Probe, first: number, second: number): number | undefined {
  for (let i = 0; i < sent.length; i += 3) if (sent[i] === first && sent[i + 1] === second) return sent[i + 2];
  return undefined;
}

/** Half of a transaction id as a number. */
function readHalf(buf: Uint8Array, at: number): number {
  return readU32BE(buf, at) * 0x1_0000 + readU16BE(buf, at + 4);
}
