/**
 * Logins that wait for somebody: a device without an auth key was shown an address to open, and asks again and again
 * until an administrator has decided. In memory only: after a restart the device is shown a new address.
 *
 * An id is 128 random bits, works once, and only for the machine and node key that it was made for. When there are too
 * many, one of the source that has most gives way, the one that was not asked for the longest; one source can only push
 * out its own.
 */
import { sourceOf } from '../base/address.ts';
import { toHex } from '../base/bytes.ts';
import type { HostFacts } from './hostinfo.ts';
import type { CoordinatorLimits } from './limits.ts';

/** A device that wants in, and what it said when it asked. */
export interface JoinRequest {
  /** `mkey:` text, proven by the connection. */
  readonly machineKey: string;
  /** `nodekey:` texts; `oldNodeKey` is empty when there is none. */
  readonly nodeKey: string;
  readonly oldNodeKey: string;
  /** Auth key; empty: none. A secret. */
  readonly authKey: string;
  /** Wish for an end of the node key, ms since 1970; 0: none. */
  readonly expiryMs: number;
  /** AuthURL that was given before; empty: none. */
  readonly followup: string;
  readonly isEphemeral: boolean;
  readonly keySignature: string;
  readonly capability: number;
  readonly host: HostFacts;
  /** Address that it came from. */
  readonly source: string;
}

/** A login that waits. */
export interface PendingLogin {
  readonly id: string;
  readonly join: JoinRequest;
  /** Tailnet of the device that logs in again; undefined for one that is in none. */
  readonly tailnet: string | undefined;
  readonly createdUnixMs: number;
  /** Monotonic. */
  expiresMs: number;
  /** Requests that wait for the decision. */
  readonly waiters: Set<number>;
}

/** All of them. */
export class PendingLogins {
  readonly #random: (out: Uint8Array) => void;
  readonly #limits: CoordinatorLimits;
  /** In the order of their last use, which is also that of their ends. */
  readonly #byId = new Map<string, PendingLogin>();
  /** By machine and node key. */
  readonly #byKeys = new Map<string, PendingLogin>();
  readonly #bySource = new Map<string, Set<PendingLogin>>();

  constructor(random: (out: Uint8Array) => void, limits: CoordinatorLimits) {
    this.#random = random;
    this.#limits = limits;
  }

  /** How many wait. */
  get size(): number {
    return this.#byId.size;
  }

  /** All, the least recently used first. */
  values(): IterableIterator<PendingLogin> {
    return this.#byId.values();
  }

  /** The login of this id; undefined for one that never was, is decided or too old. */
  find(nowMs: number, id: string): PendingLogin | undefined {
    const login = this.#byId.get(id);
    return login === undefined || login.expiresMs <= nowMs ? undefined : login;
  }

  /**
   * The login of a device, made if it is not there, with its life renewed. `evicted` are those that gave way: their
   * requests are to be answered.
   */
  open(
    nowMs: number,
    unixMs: number,
    join: JoinRequest,
    tailnet: string | undefined,
  ): { login: PendingLogin; evicted: readonly PendingLogin[] } {
    const known = this.#byKeys.get(keysOf(join));
    if (known !== undefined && known.expiresMs > nowMs && known.tailnet === tailnet) {
      this.touch(nowMs, known);
      return { login: known, evicted: [] };
    }
    const evicted: PendingLogin[] = known === undefined ? [] : [known];
    const ofSource = this.#bySource.get(sourceOf(join.source));
    if (ofSource !== undefined && ofSource.size >= this.#limits.pendingLoginsPerSource) evicted.push(first(ofSource)!);
    else if (this.#byId.size >= this.#limits.pendingLogins) evicted.push(first(this.#largest())!);
    for (const login of evicted) this.remove(login);
    const id = new Uint8Array(16);
    this.#random(id);
    const login: PendingLogin = {
      id: toHex(id),
      join,
      tailnet,
      createdUnixMs: unixMs,
      expiresMs: nowMs + this.#limits.pendingLoginLifeMs,
      waiters: new Set(),
    };
    this.#add(login);
    return { login, evicted };
  }

  /** Its device has asked: its life begins anew. */
  touch(nowMs: number, login: PendingLogin): void {
    this.remove(login);
    login.expiresMs = nowMs + this.#limits.pendingLoginLifeMs;
    this.#add(login);
  }

  /** It is decided, or gone. */
  remove(login: PendingLogin): void {
    this.#byId.delete(login.id);
    this.#byKeys.delete(keysOf(login.join));
    const source = sourceOf(login.join.source);
    const ofSource = this.#bySource.get(source);
    ofSource?.delete(login);
    if (ofSource?.size === 0) this.#bySource.delete(source);
  }

  /** The next one whose time is over, taken out; undefined when there is none. */
  takeExpired(nowMs: number): PendingLogin | undefined {
    const login = first(this.#byId.values());
    if (login === undefined || login.expiresMs > nowMs) return undefined;
    this.remove(login);
    return login;
  }

  /** When the next one ends; Infinity when there is none. */
  nextTimeout(): number {
    return first(this.#byId.values())?.expiresMs ?? Infinity;
  }

  /** The logins of the source that has most: of those with as many, the one that came first. */
  #largest(): ReadonlySet<PendingLogin> {
    let largest: ReadonlySet<PendingLogin> = new Set();
    for (const logins of this.#bySource.values()) if (logins.size > largest.size) largest = logins;
    return largest;
  }

  #add(login: PendingLogin): void {
    this.#byId.set(login.id, login);
    this.#byKeys.set(keysOf(login.join), login);
    const source = sourceOf(login.join.source);
    const ofSource = this.#bySource.get(source);
    if (ofSource === undefined) this.#bySource.set(source, new Set([login]));
    else ofSource.add(login);
  }
}

function keysOf(join: JoinRequest): string {
  return `${join.machineKey} ${join.nodeKey}`;
}

function first<T>(values: Iterable<T>): T | undefined {
  for (const value of values) return value;
  return undefined;
}
