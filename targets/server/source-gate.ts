/**
 * Who may connect: how many connections there are, how many of them from whom, and how fast new ones come.
 *
 * A connection counts against its source until it has proved to be a member's: one address may hide a whole office, or
 * a proxy with everybody behind it. A source is an IPv4 address or an IPv6 /64 network. When there are as many strangers
 * as there may be, the first of the source that has most gives way to one of a source that has fewer: many sources
 * together cannot keep a member from coming back.
 */
import { sourceOf } from '../../lib/base/address.ts';

/** Sources that are remembered; of those without a stranger the one that came first is forgotten. */
const MAX_SOURCES = 65_536;

/** Limits of a gate, as in `ServerLimits`. */
export interface GateLimits {
  readonly connections: number;
  readonly strangersPerSource: number;
  readonly strangers: number;
  readonly opensPerSecond: number;
  readonly opensBurst: number;
  readonly strangerBytesPerSecond: number;
  readonly strangerBytesBurst: number;
}

interface Source {
  /** Strangers from it, the first to come first: how each is made to leave. */
  readonly strangers: Set<() => void>;
  /** Connections that may come at once, as of `atMs`. */
  tokens: number;
  atMs: number;
  /** Bytes that strangers may send at once, as of `bytesAtMs`; negative: they owe. */
  bytes: number;
  bytesAtMs: number;
}

/** One connection's place. */
export interface Ticket {
  /** Address of the other side, for logs and limits further in. */
  readonly address: string;
  /** It has sent bytes that cost something; returns for how many ms it is not to be read. A member's costs nothing. */
  charge(nowMs: number, bytes: number): number;
  /** It is a member's: it no longer counts against its source. */
  prove(): void;
  /** It is gone. */
  close(): void;
}

/** The gate; see the top of the file. */
export class SourceGate {
  /** Connections that were let in and are not gone, and those of them that are strangers'. */
  connections = 0;
  strangers = 0;
  /** Connections that were turned away. */
  refused = 0;
  readonly #limits: GateLimits;
  readonly #sources = new Map<string, Source>();
  /** Those of them with strangers. */
  readonly #crowded = new Set<Source>();

  constructor(limits: GateLimits) {
    this.#limits = limits;
  }

  /** Lets a connection from this address in, or says undefined: close it. `leave` closes it later, to make room. */
  open(nowMs: number, address: string, leave: () => void = () => undefined): Ticket | undefined {
    const { connections, strangers, strangersPerSource } = this.#limits;
    const key = sourceOf(address);
    const source = this.#find(nowMs, key);
    const isSlowEnough = this.#take(nowMs, source);
    if (!isSlowEnough) return this.#refuse(); // CHECK: server-open-rate
    if (this.connections >= connections) return this.#refuse(); // CHECK: server-connections
    if (source.strangers.size >= strangersPerSource) return this.#refuse(); // CHECK: server-strangers-per-source
    if (this.strangers >= strangers && !this.#makeRoom(source)) return this.#refuse(); // CHECK: server-strangers
    this.#sources.set(key, source);
    return this.#ticket(address, source, leave);
  }

  #ticket(address: string, source: Source, close: () => void): Ticket {
    let state: 'stranger' | 'member' | 'gone' = 'stranger';
    const evict = () => {
      leave('gone');
      close();
    };
    this.connections++;
    this.strangers++;
    source.strangers.add(evict);
    this.#crowded.add(source);
    const leave = (next: 'member' | 'gone') => {
      if (state === 'stranger') {
        this.strangers--;
        source.strangers.delete(evict);
        if (source.strangers.size === 0) this.#crowded.delete(source);
      }
      if (next === 'gone' && state !== 'gone') this.connections--;
      if (state !== 'gone') state = next;
    };
    const charge = (nowMs: number, bytes: number) => (state === 'stranger' ? this.#charge(nowMs, source, bytes) : 0);
    return { address, charge, prove: () => leave('member'), close: () => leave('gone') };
  }

  /** Sends the first stranger of the source with most away, if that has more than this one. */
  #makeRoom(source: Source): boolean {
    let largest = source;
    for (const other of this.#crowded) if (other.strangers.size > largest.strangers.size) largest = other;
    if (largest === source) return false;
    for (const evict of largest.strangers) {
      evict();
      break;
    }
    return true;
  }

  #refuse(): undefined {
    this.refused++;
  }

  #find(nowMs: number, key: string): Source {
    const known = this.#sources.get(key);
    if (known !== undefined) return known;
    const { opensBurst, strangerBytesBurst } = this.#limits;
    const source = {
      strangers: new Set<() => void>(),
      tokens: opensBurst,
      atMs: nowMs,
      bytes: strangerBytesBurst,
      bytesAtMs: nowMs,
    };
    if (this.#sources.size >= MAX_SOURCES) this.#forget();
    this.#sources.set(key, source);
    return source;
  }

  #take(nowMs: number, source: Source): boolean {
    const { opensPerSecond, opensBurst } = this.#limits;
    source.tokens = Math.min(opensBurst, source.tokens + ((nowMs - source.atMs) * opensPerSecond) / 1000);
    source.atMs = nowMs;
    if (source.tokens < 1) return false;
    source.tokens--;
    return true;
  }

  #charge(nowMs: number, source: Source, bytes: number): number {
    const { strangerBytesPerSecond, strangerBytesBurst } = this.#limits;
    const earned = ((nowMs - source.bytesAtMs) * strangerBytesPerSecond) / 1000;
    source.bytes = Math.min(strangerBytesBurst, source.bytes + earned) - bytes;
    source.bytesAtMs = nowMs;
    return source.bytes >= 0 ? 0 : Math.ceil((-source.bytes * 1000) / strangerBytesPerSecond);
  }

  /** INVARIANT: a source with strangers stays, or its connections would count no more; there are fewer than fit. */
  #forget(): void {
    for (const [key, source] of this.#sources) {
      if (source.strangers.size > 0) continue;
      this.#sources.delete(key);
      return;
    }
  }
}
