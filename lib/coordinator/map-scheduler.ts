/**
 * When map sessions speak: the first change in a quiet time at once, the next ones together some time after the last
 * message, a keepalive after a longer silence; and which of them are not listened to. Each session has one deadline, the
 * earliest of these.
 */
import { DeadlineHeap } from '../derp/deadline-heap.ts';
import type { MapSession } from './map-directory.ts';
import type { MapMessageLimits, MapMessages } from './map-messages.ts';

/** What sessions may cost and how long they may take. */
export interface MapSessionLimits extends MapMessageLimits {
  /** Least time between two messages of changes. */
  readonly quietMs: number;
  /** A session whose bytes are not taken for so long ends. */
  readonly slowMs: number;
  /** A device without a session counts as online for so long. */
  readonly graceMs: number;
  /** Time from a message to a keepalive: at least this, and up to `keepAliveJitterMs` more. Clients give up at 120 s. */
  readonly keepAliveMs: number;
  readonly keepAliveJitterMs: number;
}

/** A queue whose memory follows what is in it. */
export class Fifo<T> {
  #items: T[] = [];
  #head = 0;

  push(item: T): void {
    this.#items.push(item);
  }

  shift(): T | undefined {
    const item = this.#items[this.#head];
    if (item !== undefined) this.#head++;
    if (this.#head > 0 && 2 * this.#head >= this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return item;
  }
}

/** All sessions and what they wait for. */
export class MapScheduler {
  readonly sessions = new Map<number, MapSession>();
  readonly #random: (out: Uint8Array) => void;
  readonly #limits: MapSessionLimits;
  readonly #messages: MapMessages;
  readonly #deadlines = new DeadlineHeap<MapSession>();
  readonly #ready = new Fifo<number>();
  readonly #noise = new Uint8Array(2);

  constructor(limits: MapSessionLimits, messages: MapMessages, random: (out: Uint8Array) => void) {
    this.#limits = limits;
    this.#messages = messages;
    this.#random = random;
  }

  /** When {@link serve} is due. */
  get nextMs(): number {
    return this.#deadlines.nextMs;
  }

  /** A session is there, and has something to say. */
  add(nowMs: number, session: MapSession): void {
    this.sessions.set(session.id, session);
    session.keepAliveDelayMs = session.options.keepAlive ? this.#keepAliveDelayMs() : Infinity;
    this.wake(nowMs, session);
  }

  /** A session is over. */
  remove(session: MapSession): void {
    this.sessions.delete(session.id);
    this.#deadlines.remove(session);
  }

  /** A session has something new to say. */
  wake(nowMs: number, session: MapSession): void {
    if (session.isAnnounced) return;
    if (session.quietMs <= nowMs) this.#announce(nowMs, session);
    this.#arm(session);
  }

  /** The next session that has bytes, or undefined. */
  pollReady(): MapSession | undefined {
    for (let id = this.#ready.shift(); id !== undefined; id = this.#ready.shift()) {
      const session = this.sessions.get(id);
      if (session?.isAnnounced === true) return session;
    }
    return undefined;
  }

  /**
   * Writes what a session has to say into `out[start, end)`; returns the bytes. Fewer than there is room for: that was
   * all. A session that is no stream says one message, and {@link MapSession.isComplete} then.
   */
  write(nowMs: number, unixMs: number, session: MapSession, out: Uint8Array, start: number, end: number): number {
    let at = start;
    while (at < end && !session.isComplete) {
      if (!session.isMidMessage && !this.#startMessage(nowMs, unixMs, session)) break;
      at += this.#messages.write(session, out, at, end);
      session.isComplete = !session.isMidMessage && !session.options.isStream;
    }
    session.isAnnounced = at === end;
    session.slowMs = at === end ? nowMs + this.#limits.slowMs : Infinity;
    this.#arm(session);
    return at - start;
  }

  /** Serves what is due until there is a session that nobody listens to: returns that one, or undefined. */
  serve(nowMs: number): MapSession | undefined {
    while (this.#deadlines.nextMs <= nowMs) {
      const session = this.#deadlines.first!;
      if (session.slowMs <= nowMs) return session; // CHECK: map-slow-reader
      if (session.keepAliveMs <= nowMs) {
        session.isKeepAliveDue = true;
        session.keepAliveMs = Infinity;
      }
      this.#announce(nowMs, session);
      this.#arm(session);
    }
    return undefined;
  }

  #announce(nowMs: number, session: MapSession): void {
    session.isAnnounced = true;
    session.slowMs = nowMs + this.#limits.slowMs;
    this.#ready.push(session.id);
  }

  #startMessage(nowMs: number, unixMs: number, session: MapSession): boolean {
    const isQuiet = nowMs < session.quietMs && !session.isKeepAliveDue;
    if (isQuiet || !this.#messages.start(session, unixMs)) return false;
    // What did not fit into one message follows at once.
    if (session.dirty.count === 0) session.quietMs = nowMs + this.#limits.quietMs;
    session.keepAliveMs = nowMs + session.keepAliveDelayMs;
    return true;
  }

  /** Drawn once per session: sessions that were told something at the same time do not stay together. */
  #keepAliveDelayMs(): number {
    this.#random(this.#noise);
    const part = (this.#noise[0]! * 256 + this.#noise[1]!) / 65_536;
    return this.#limits.keepAliveMs + Math.floor(part * this.#limits.keepAliveJitterMs);
  }

  /** The earliest of what a session waits for: to be listened to; or its next change, its next keepalive. */
  #arm(session: MapSession): void {
    const changeMs = session.hasChanges ? session.quietMs : Infinity;
    const dueMs = session.isAnnounced ? session.slowMs : Math.min(changeMs, session.keepAliveMs);
    if (dueMs !== session.dueMs) this.#deadlines.set(session, dueMs);
  }
}
