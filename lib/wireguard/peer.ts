/**
 * A peer in use: its sessions, its handshake, its timers and the packets that wait (WireGuard §6; the timer rules are
 * those that stock implementations agree on). Idle peers have no such object, see peer-table.ts.
 *
 * Three session slots: `current` sends; `previous` and `next` only receive. A responder's new session is `next` until
 * the initiator has been heard on it, because until then the response may have been lost. An own initiation and one
 * received from the other side are kept apart, so that both sides may initiate at once and both handshakes complete.
 *
 * Deadlines are absolute, from monotonic time; jitter is drawn when one is armed. Nothing is sent from here: what is
 * to be sent is marked (`wantsInitiation`, `received`, `wantsKeepalive`, staged packets) and the peer is queued.
 */
import { dropReason } from '../base/drop.ts';
import {
  COOKIE_REFRESH_TIME_MS,
  ERASE_AFTER_TIME_MS,
  KEEPALIVE_TIMEOUT_MS,
  MAX_HANDSHAKE_RETRIES,
  NEW_HANDSHAKE_TIME_MS,
  REJECT_AFTER_TIME_MS,
  REKEY_AFTER_TIME_MS,
  REKEY_ON_RECEIVE_TIME_MS,
  REKEY_TIMEOUT_MS,
} from './constants.ts';
import type { PendingInitiation, ReceivedInitiation } from './handshake.ts';
import type { IndexTable } from './index-table.ts';
import type { PeerTable } from './peer-table.ts';
import type { Schedule, Scheduled } from './schedule.ts';
import type { Session } from './session.ts';
import type { StagedQueue, StagingPool } from './staging.ts';
import type { TunnelEvent } from './types.ts';

const NEVER = Number.POSITIVE_INFINITY;
const GAVE_UP = /* @__PURE__ */ dropReason('wg-gave-up');

/** What the peers of a tunnel share. */
export interface PeerContext {
  readonly table: PeerTable;
  readonly schedule: Schedule<Peer>;
  /** Sessions by local index. */
  readonly sessions: IndexTable<Session>;
  /** Initiations that wait for their response, by local index. */
  readonly handshakes: IndexTable<PendingInitiation>;
  readonly staging: StagingPool;
  readonly rekeyAfterMessages: number;
  /** 0 to 333 ms, drawn anew. */
  jitterMs(): number;
  /** Wall clock, ms since 1970. */
  unixMs(nowMs: number): number;
  /** Queues a peer that has something to send. */
  enqueue(peer: Peer): void;
  emit(event: TunnelEvent): void;
  /** Counts staged packets that are given up. */
  countDrops(reason: number, count: number): void;
}

/** A peer in use. Created by the tunnel, which also feeds it. */
export class Peer implements Scheduled, StagedQueue {
  readonly id: number;
  readonly #context: PeerContext;

  previous: Session | undefined = undefined;
  current: Session | undefined = undefined;
  next: Session | undefined = undefined;

  /** Own initiation on its way. */
  pending: PendingInitiation | undefined = undefined;
  /** Authentic initiation of the peer that waits for a response. */
  received: ReceivedInitiation | undefined = undefined;
  wantsInitiation = false;
  wantsKeepalive = false;
  /** In the tunnel's queue of peers with something to send. */
  isQueued = false;

  /** Shared secret of both static keys, while a handshake is under way. */
  staticStatic: Uint8Array | undefined = undefined;
  /** mac1 of the handshake message last sent, until a cookie has come for it or the handshake is done. */
  mac1: Uint8Array | undefined = undefined;
  #cookie: Uint8Array | undefined = undefined;
  #cookieMs = 0;
  /** TAI64N tick of the initiation last sent. */
  lastTick = -1;
  /** When an initiation was last accepted from the peer. */
  initiationReceivedMs = Number.NEGATIVE_INFINITY;
  /** When an initiation or a response was last sent. */
  #handshakeSentMs = Number.NEGATIVE_INFINITY;
  #retries = 0;
  /** A session asks only once for its successor because of received data. */
  #hasAskedOnReceive = false;
  /** Data came while a keepalive was due, so another one may follow it. */
  #needsAnotherKeepalive = false;
  #repeatsKeepalive = false;

  #retransmitAt = NEVER;
  #keepaliveAt = NEVER;
  #newHandshakeAt = NEVER;
  #persistentAt = NEVER;
  #expireAt = NEVER;
  #eraseAt = NEVER;

  dueMs = NEVER;
  heapIndex = -1;

  stagedCount = 0;

  constructor(id: number, context: PeerContext) {
    this.id = id;
    this.#context = context;
  }

  // ---- what happened, in the words of the paper's timers ----

  /** A non-empty packet was sealed. */
  onDataSent(nowMs: number): void {
    this.#repeatsKeepalive = false;
    if (this.#newHandshakeAt === NEVER)
      this.#newHandshakeAt = this.#arm(nowMs + NEW_HANDSHAKE_TIME_MS + this.#context.jitterMs());
  }

  /** A non-empty packet was opened. */
  onDataReceived(nowMs: number): void {
    if (this.#keepaliveAt === NEVER) this.#keepaliveAt = this.#arm(nowMs + KEEPALIVE_TIMEOUT_MS);
    else this.#needsAnotherKeepalive = true;
  }

  /** A packet was sealed under `session` (after {@link onDataSent} for data): it answers what was received so far. */
  onTransportSent(nowMs: number, session: Session): void {
    this.wantsKeepalive = false;
    this.#onAuthenticatedSent(nowMs);
    if (this.#repeatsKeepalive) {
      this.#repeatsKeepalive = false;
      this.#keepaliveAt = this.#arm(nowMs + KEEPALIVE_TIMEOUT_MS);
    }
    const isOld = session.isInitiator && nowMs - session.createdMs >= REKEY_AFTER_TIME_MS;
    if (isOld || session.sendCounter >= this.#context.rekeyAfterMessages) this.initiate(nowMs, false);
  }

  /** A packet was opened, of whatever kind and session: the other side is there. */
  onTransportReceived(nowMs: number): void {
    this.onAuthenticatedReceived(nowMs);
    const current = this.current;
    if (current === undefined || !current.isInitiator || this.#hasAskedOnReceive) return;
    if (nowMs - current.createdMs < REKEY_ON_RECEIVE_TIME_MS) return;
    this.#hasAskedOnReceive = true;
    this.initiate(nowMs, false);
  }

  /** Any authenticated message came, handshake messages included. */
  onAuthenticatedReceived(nowMs: number): void {
    this.#newHandshakeAt = NEVER;
    this.#restartPersistent(nowMs);
  }

  #onAuthenticatedSent(nowMs: number): void {
    this.#keepaliveAt = NEVER;
    this.#needsAnotherKeepalive = false;
    this.#restartPersistent(nowMs);
  }

  #restartPersistent(nowMs: number): void {
    const intervalMs = this.#context.table.keepaliveMs(this.id);
    if (intervalMs > 0) this.#persistentAt = this.#arm(nowMs + intervalMs);
  }

  // ---- handshakes ----

  /** Whether a datagram can leave: an endpoint is known, or it is the caller who finds the path. */
  get isReachable(): boolean {
    const { table } = this.#context;
    return table.endpoints[this.id] !== undefined || !table.roams(this.id);
  }

  /** The current session if it may send. */
  usableSession(nowMs: number): Session | undefined {
    return this.current?.canSend(nowMs) ? this.current : undefined;
  }

  /** Asks for an initiation, unless a handshake message left less than 5 s ago. Only a retry leaves the count alone. */
  initiate(nowMs: number, isRetry: boolean): void {
    if (!isRetry) this.#retries = 0;
    if (this.wantsInitiation || !this.isReachable) return;
    const earliestMs = this.#handshakeSentMs + REKEY_TIMEOUT_MS;
    if (nowMs < earliestMs) {
      // Our response or its confirmation may be lost: look again later rather than wait for the next packet.
      if (this.#retransmitAt === NEVER && this.usableSession(nowMs) === undefined)
        this.#retransmitAt = this.#arm(earliestMs + this.#context.jitterMs());
      return;
    }
    this.wantsInitiation = true;
    this.#context.enqueue(this);
  }

  /** An initiation was written. */
  onInitiationSent(nowMs: number, pending: PendingInitiation, tick: number, mac1: Uint8Array): void {
    this.#dropPending();
    this.pending = pending;
    this.#context.handshakes.add(pending);
    this.lastTick = tick;
    this.wantsInitiation = false;
    this.#onHandshakeSent(nowMs, mac1);
    this.#retransmitAt = this.#arm(nowMs + REKEY_TIMEOUT_MS + this.#context.jitterMs());
  }

  /** A response was written: its session waits in `next` for confirmation. */
  onResponseSent(nowMs: number, session: Session, mac1: Uint8Array): void {
    this.received = undefined;
    this.#onHandshakeSent(nowMs, mac1);
    this.#drop(this.next);
    this.#drop(this.previous);
    this.previous = undefined;
    this.next = session;
    this.#onSessionDerived(nowMs, session);
    if (this.wantsInitiation) {
      this.wantsInitiation = false;
      this.initiate(nowMs, false);
    }
  }

  /** Our initiation was answered: the new session is current at once and is confirmed by a packet. */
  onResponseReceived(nowMs: number, session: Session): void {
    const pending = this.pending!;
    this.pending = undefined;
    this.#context.handshakes.delete(pending.localIndex);
    this.#drop(this.previous);
    if (this.next === undefined) {
      this.previous = this.current;
    } else {
      this.#drop(this.current);
      this.previous = this.next;
      this.next = undefined;
    }
    this.#onSessionDerived(nowMs, session);
    this.#makeCurrent(nowMs, session);
    this.wantsKeepalive = true;
    this.#context.enqueue(this);
  }

  /** A session of an earlier run goes on. */
  resume(session: Session): void {
    this.#context.sessions.add(session);
    this.current = session;
    this.#expireAt = this.#arm(session.createdMs + REJECT_AFTER_TIME_MS);
    this.#eraseAt = this.#arm(session.createdMs + ERASE_AFTER_TIME_MS);
  }

  /** A packet was opened under `session`; the first one under `next` confirms it. */
  confirm(nowMs: number, session: Session): void {
    if (session !== this.next) return;
    this.#drop(this.previous);
    this.previous = this.current;
    this.next = undefined;
    this.#makeCurrent(nowMs, session);
    if (this.stagedCount > 0) this.#context.enqueue(this);
  }

  /** A cookie for our last handshake message came; it serves for two minutes. */
  setCookie(nowMs: number, cookie: Uint8Array): void {
    this.mac1 = undefined;
    this.#cookie = cookie;
    this.#cookieMs = nowMs;
  }

  /** The cookie, if it is fresh. */
  cookie(nowMs: number): Uint8Array | undefined {
    if (this.#cookie !== undefined && nowMs - this.#cookieMs >= COOKIE_REFRESH_TIME_MS) this.#cookie = undefined; // CHECK: wg-cookie-refresh
    return this.#cookie;
  }

  #onHandshakeSent(nowMs: number, mac1: Uint8Array): void {
    this.mac1 = mac1;
    this.#handshakeSentMs = nowMs;
    this.#onAuthenticatedSent(nowMs);
  }

  #onSessionDerived(nowMs: number, session: Session): void {
    this.#context.sessions.add(session);
    this.#eraseAt = this.#arm(nowMs + ERASE_AFTER_TIME_MS);
  }

  #makeCurrent(nowMs: number, session: Session): void {
    const { table } = this.#context;
    this.current = session;
    this.#expireAt = this.#arm(session.createdMs + REJECT_AFTER_TIME_MS);
    this.#retransmitAt = NEVER;
    this.#retries = 0;
    this.wantsInitiation = false;
    this.#hasAskedOnReceive = false;
    if (this.pending === undefined && this.received === undefined) this.#forgetHandshake();
    table.setHandshakeUnixMs(this.id, this.#context.unixMs(nowMs));
    this.#context.emit({ type: 'handshake', peer: this.id, isInitiator: session.isInitiator });
  }

  // ---- timers ----

  earliestDeadline(): number {
    const handshake = Math.min(this.#retransmitAt, this.#newHandshakeAt);
    const keepalive = Math.min(this.#keepaliveAt, this.#persistentAt);
    return Math.min(handshake, keepalive, this.#expireAt, this.#eraseAt);
  }

  /** Lets all timers act that are due. INVARIANT: none is due afterwards. */
  handleTimeout(nowMs: number): void {
    if (this.#retransmitAt <= nowMs) this.#onRetransmit(nowMs);
    if (this.#keepaliveAt <= nowMs) this.#onKeepalive();
    if (this.#newHandshakeAt <= nowMs) {
      this.#newHandshakeAt = NEVER;
      this.initiate(nowMs, false);
    }
    if (this.#persistentAt <= nowMs) this.startPersistent(nowMs);
    if (this.#expireAt <= nowMs) {
      this.#expireAt = NEVER;
      this.#context.emit({ type: 'session-expired', peer: this.id });
    }
    if (this.#eraseAt <= nowMs) this.#erase();
  }

  /** Starts the persistent keepalive with a packet now, or stops it, as the table says. */
  startPersistent(nowMs: number): void {
    this.#persistentAt = NEVER;
    if (this.#context.table.keepaliveMs(this.id) === 0) return;
    this.#restartPersistent(nowMs);
    this.wantsKeepalive = true;
    this.#context.enqueue(this);
  }

  /** Whether nothing would be lost with this object but what it can compute again. */
  get isQuiet(): boolean {
    const hasKeys = this.previous ?? this.current ?? this.next ?? this.pending ?? this.received;
    const wants = this.wantsInitiation || this.wantsKeepalive || this.stagedCount > 0;
    return hasKeys === undefined && !wants && this.earliestDeadline() === NEVER;
  }

  /** Erases all keys and what waits, and leaves the schedule. */
  close(): void {
    this.#retransmitAt = NEVER;
    this.#keepaliveAt = NEVER;
    this.#newHandshakeAt = NEVER;
    this.#persistentAt = NEVER;
    this.wantsInitiation = false;
    this.wantsKeepalive = false;
    this.#erase();
    this.#forgetHandshake();
    this.#cookie?.fill(0);
    this.#cookie = undefined;
    this.#context.schedule.remove(this);
  }

  /** Gives up what is to be sent, because it cannot be; each packet that waits is counted under `reason`. */
  forgetWork(reason: number): void {
    this.wantsInitiation = false;
    this.wantsKeepalive = false;
    this.received?.noise.wipe();
    this.received = undefined;
    this.dropStaged(reason);
  }

  /** Drops the packets that wait and counts them. */
  dropStaged(reason: number): void {
    this.#context.countDrops(reason, this.#context.staging.clear(this));
  }

  #onRetransmit(nowMs: number): void {
    this.#retransmitAt = NEVER;
    if (this.#retries > MAX_HANDSHAKE_RETRIES || !this.isReachable) {
      this.#keepaliveAt = NEVER;
      this.#needsAnotherKeepalive = false;
      this.dropStaged(GAVE_UP);
      if (this.#eraseAt === NEVER) this.#eraseAt = this.#arm(nowMs + ERASE_AFTER_TIME_MS);
      this.#context.emit({ type: 'gave-up', peer: this.id });
    } else {
      this.#retries++;
      this.initiate(nowMs, true);
    }
  }

  #onKeepalive(): void {
    this.#keepaliveAt = NEVER;
    this.wantsKeepalive = true;
    this.#repeatsKeepalive = this.#needsAnotherKeepalive;
    this.#needsAnotherKeepalive = false;
    this.#context.enqueue(this);
  }

  /**
   * Erases the sessions; handshakes and what waits for them too, unless one is being tried just now, which ends with
   * new sessions or by giving up, and either starts the next erasure.
   */
  #erase(): void {
    this.#eraseAt = NEVER;
    this.#expireAt = NEVER;
    this.#drop(this.previous);
    this.#drop(this.current);
    this.#drop(this.next);
    this.previous = undefined;
    this.current = undefined;
    this.next = undefined;
    if (this.#retransmitAt !== NEVER) return;
    this.#dropPending();
    this.received?.noise.wipe();
    this.received = undefined;
    this.dropStaged(GAVE_UP);
  }

  #drop(session: Session | undefined): void {
    if (session === undefined) return;
    this.#context.sessions.delete(session.localIndex);
    session.wipe();
  }

  /** Drops what only serves a handshake: the next one computes it anew. */
  #forgetHandshake(): void {
    this.mac1 = undefined;
    this.staticStatic?.fill(0);
    this.staticStatic = undefined;
  }

  #dropPending(): void {
    if (this.pending === undefined) return;
    this.#context.handshakes.delete(this.pending.localIndex);
    this.pending.noise.wipe();
    this.pending = undefined;
  }

  #arm(atMs: number): number {
    this.#context.schedule.add(this, atMs);
    return atMs;
  }
}
