/**
 * The asking side of STUN (RFC 8489 §6.2.1, §7.3.3), as a machine: many servers at once, each request with a random
 * transaction id of its own, so that an answer tells to which request it belongs and how long it took.
 *
 * An answer counts only for a request that is under way, and only from the server that was asked. Requests must leave
 * from the socket whose address is wanted. Left out: what follows from the results (which relay is near, what kind of
 * NAT this is), and asking again: a further try is a request of its own.
 */
import { type Endpoint, formatAddress, parseAddress, sameEndpoint } from '../base/address.ts';
import { copyBytes, equalRange, NO_BYTES, readU16BE, readU32BE, writeU16BE, writeU32BE } from '../base/bytes.ts';
import type { Slot } from '../base/slot.ts';
import { STUN_LIMITS_LARGE, type StunEvent, type StunLimits, type StunServer } from './limits.ts';
import { BINDING_REQUEST_BYTES, parseBindingResponse, TRANSACTION_ID_BYTES, writeBindingRequest } from './message.ts';

const DEFAULT_TIMEOUT_MS = 3000;

/** What a {@link StunClient} needs. */
export interface StunClientOptions {
  readonly random: (out: Uint8Array) => void;
  readonly limits?: Partial<StunLimits>;
}

/**
 * A request takes one row of bytes: u32 number | u16 region | u16 port | 12 transaction id | length of the address | 16
 * address | whether it has left. Numbers are big endian. Beside it stand two times: when it is due or has left, and when
 * it ends without an answer.
 */
const ROW_BYTES = 38;
const REGION = 4;
const PORT = 6;
const ID = 8;
const ADDRESS_LENGTH = 20;
const ADDRESS = 21;
const IS_SENT = 37;
/** Rows that are added when there is no room. */
const ROWS_GROWTH = 16;
const NO_TIMES = /* @__PURE__ */ new Float64Array(0);

/** The machine; see the top of the file. */
export class StunClient {
  /** Datagrams that answered nothing that was asked, or came from somebody else. */
  ignored = 0;
  readonly #random: (out: Uint8Array) => void;
  readonly #limits: StunLimits;
  #rows: Uint8Array = NO_BYTES;
  #times = NO_TIMES;
  #count = 0;
  #events: StunEvent[] | undefined = undefined;
  #lastProbe = 0;

  /** See {@link StunClientOptions}. */
  constructor(options: StunClientOptions) {
    this.#random = options.random;
    this.#limits = { ...STUN_LIMITS_LARGE, ...options.limits };
  }

  /** Requests under way. */
  get size(): number {
    return this.#count;
  }

  /**
   * Asks a server, once; no answer within `timeoutMs` ends it. Returns the request's number, or -1 when too many are
   * under way. Throws RangeError for a server without an address, a port or a region below 65,536, and for a negative time.
   */
  probe(nowMs: number, server: StunServer, timeoutMs = DEFAULT_TIMEOUT_MS): number {
    const { region, endpoint } = server;
    const address = parseAddress(endpoint.address);
    if (address === undefined) throw new RangeError(`"address" expected an IP address, got '${endpoint.address}'`);
    for (const [name, value] of Object.entries({ region, port: endpoint.port }))
      if (!Number.isInteger(value) || value < 0 || value > 0xffff)
        throw new RangeError(`"${name}" expected 0 to 65535, got ${value}`);
    if (!(timeoutMs >= 0)) throw new RangeError(`"timeoutMs" expected 0 or more, got ${timeoutMs}`);
    if (this.#count >= this.#limits.probes) return -1; // CHECK: stun-probes
    this.#reserve();
    const row = ROW_BYTES * this.#count;
    const rows = this.#rows;
    writeU32BE(rows, row, ++this.#lastProbe);
    writeU16BE(rows, row + REGION, region);
    writeU16BE(rows, row + PORT, endpoint.port);
    rows[row + ADDRESS_LENGTH] = address.length;
    copyBytes(rows, row + ADDRESS, address, 0, address.length);
    rows[row + IS_SENT] = 0;
    this.#times[2 * this.#count] = nowMs;
    this.#times[2 * this.#count + 1] = nowMs + timeoutMs;
    this.#count++;
    return this.#lastProbe;
  }

  /** Ends a request without an event. */
  cancel(probe: number): void {
    for (let i = 0; i < this.#count; i++) if (readU32BE(this.#rows, ROW_BYTES * i) === probe) this.#remove(i);
  }

  /** Writes one request that is due into the slot, with its destination. False when none is. */
  pollTransmit(nowMs: number, slot: Slot): boolean {
    for (let i = 0; i < this.#count; i++) {
      const row = ROW_BYTES * i;
      if (this.#rows[row + IS_SENT] === 1 || this.#times[2 * i]! > nowMs) continue;
      const id = new Uint8Array(TRANSACTION_ID_BYTES);
      this.#random(id);
      copyBytes(this.#rows, row + ID, id, 0, id.length);
      this.#rows[row + IS_SENT] = 1;
      this.#times[2 * i] = nowMs;
      slot.reset();
      slot.end = slot.start + BINDING_REQUEST_BYTES;
      writeBindingRequest(slot.buf, slot.start, id);
      slot.to = this.#serverOf(i).endpoint;
      return true;
    }
    return false;
  }

  /** A datagram that looks like STUN (`isStun`). True when it was the answer to a request of ours. */
  handleDatagram(nowMs: number, buf: Uint8Array, start: number, end: number, from: Endpoint): boolean {
    const response = parseBindingResponse(buf, start, end);
    if (response === undefined) return this.#ignore();
    for (let i = 0; i < this.#count; i++) {
      const row = ROW_BYTES * i;
      const isSent = this.#rows[row + IS_SENT] === 1;
      const isThis = isSent && equalRange(this.#rows, row + ID, buf, response.idOffset, TRANSACTION_ID_BYTES);
      if (!isThis) continue; // CHECK: stun-transaction
      const server = this.#serverOf(i);
      if (!sameEndpoint(from, server.endpoint)) return this.#ignore(); // CHECK: stun-source
      const { address, port } = response;
      const probe = readU32BE(this.#rows, row);
      const latencyMs = nowMs - this.#times[2 * i]!;
      this.#remove(i);
      this.#push({ type: 'response', probe, server, latencyMs, address: { address, port } });
      return true;
    }
    return this.#ignore();
  }

  /** Takes the oldest result. */
  pollEvent(): StunEvent | undefined {
    return this.#events?.shift();
  }

  /** When a request is due or ends: call {@link handleTimeout}, then {@link pollTransmit}. */
  nextTimeout(): number {
    let nextMs = Infinity;
    for (let i = 0; i < this.#count; i++) {
      const isSent = this.#rows[ROW_BYTES * i + IS_SENT] === 1;
      nextMs = Math.min(nextMs, this.#times[2 * i + (isSent ? 1 : 0)]!);
    }
    return nextMs;
  }

  /** Ends the requests whose time is up. */
  handleTimeout(nowMs: number): void {
    for (let i = 0; i < this.#count; ) {
      if (this.#times[2 * i + 1]! > nowMs) {
        i++;
        continue;
      }
      const probe = readU32BE(this.#rows, ROW_BYTES * i);
      this.#push({ type: 'timeout', probe, server: this.#serverOf(i) });
      this.#remove(i);
    }
  }

  #push(event: StunEvent): void {
    this.#events ??= [];
    this.#events.push(event);
  }

  #reserve(): void {
    const room = this.#times.length / 2;
    if (this.#count < room) return;
    const rows = new Uint8Array(ROW_BYTES * (room + ROWS_GROWTH));
    copyBytes(rows, 0, this.#rows, 0, this.#rows.length);
    const times = new Float64Array(2 * (room + ROWS_GROWTH));
    times.set(this.#times);
    this.#rows = rows;
    this.#times = times;
  }

  #remove(i: number): void {
    this.#rows.copyWithin(ROW_BYTES * i, ROW_BYTES * (i + 1), ROW_BYTES * this.#count);
    this.#times.copyWithin(2 * i, 2 * (i + 1), 2 * this.#count);
    this.#count--;
  }

  #serverOf(i: number): StunServer {
    const rows = this.#rows;
    const row = ROW_BYTES * i;
    const start = row + ADDRESS;
    const address = formatAddress(rows, start, rows[row + ADDRESS_LENGTH]!);
    return { region: readU16BE(rows, row + REGION), endpoint: { address, port: readU16BE(rows, row + PORT) } };
  }

  #ignore(): boolean {
    this.ignored++;
    return false;
  }
}
