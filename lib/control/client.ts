/**
 * Everything of joining a network as one machine: the coordinator's key, the connection, registration with an auth key
 * or by a person, the map stream, updates about this device, renewal of the node key, logout, and trying again.
 *
 * The caller does what events ask for (fetch the key, open and close one byte stream, store a node key) and tells the
 * outcome; after every call it takes all events and bytes. A lost connection changes neither netmap nor state.
 * Left out: what the netmap means for packets; which URL and port to connect to; tailnet lock.
 */
import { utf8Encode } from '../base/bytes.ts';
import { NetError } from '../base/errors.ts';
import type { SecretKey } from '../crypto/keys.ts';
import type { CryptoSuite } from '../crypto/suite.ts';
import { type AnswerReader, answerError, isWebUrl, parseServerKey } from './client-answer.ts';
import { Membership } from './client-membership.ts';
import { answerPing } from './client-ping.ts';
import { Report } from './client-report.ts';
import { answerDelayMs, Backoff } from './client-retry.ts';
import { type CallKind, ControlSession, MAP_PATH, REGISTER_PATH, type SessionEvent } from './client-session.ts';
import {
  CONTROL_LIMITS_LARGE,
  CONTROL_LIMITS_SMALL,
  type ControlClientEvent,
  type ControlClientLimits,
  type ControlClientOptions,
  type ControlState,
  type LocalEndpoint,
} from './client-types.ts';
import { MapDecoder, mergedChanges } from './map-decoder.ts';
import type { MapPing } from './map-values.ts';
import type { WireHostinfo } from './message.ts';
import type { Netmap, NetmapChanges } from './netmap.ts';
import { PeerSlimmer } from './peer-slimmer.ts';

export type {
  ControlClientEvent,
  ControlClientLimits,
  ControlClientOptions,
  ControlState,
  LocalEndpoint,
} from './client-types.ts';

const KEY_MISSING = 'the coordinator’s key cannot be fetched; check its address';
/** Answers to a map request that say: no such device. */
const UNKNOWN_STATUS: readonly number[] = Object.freeze([401, 403, 404]);
/** The caller has this long to fetch the key or to open the stream. */
const CALLER_TIMEOUT_MS = 60_000;
/** The answer to an update, a ping or a logout is due within this time. */
const CALL_TIMEOUT_MS = 30_000;
/** A map stream that lived this long was a good one: the next failure starts with short delays. */
const GOOD_MAP_MS = 60_000;
/** A request that HTTP/2 does not take now is tried again after this time. */
const FULL_RETRY_MS = 1000;
/** How long logging out may take; the coordinator is then not asked any more. */
const LOGOUT_TIMEOUT_MS = 15_000;

/** See the top of the file. */
export class ControlClient {
  readonly #suite: CryptoSuite;
  readonly #random: (out: Uint8Array) => void;
  readonly #machineKey: SecretKey;
  readonly #authority: string;
  readonly #path: string | undefined;
  readonly #limits: ControlClientLimits;
  readonly #decoder: MapDecoder;
  readonly #member: Membership;
  readonly #report: Report;
  readonly #events: ControlClientEvent[] = [];
  /** The netmap event that nobody has taken yet: later changes join it. */
  #netmapEvent: { readonly type: 'netmap'; changes: NetmapChanges } | undefined = undefined;
  #serverKey: Uint8Array | undefined = undefined;
  #state: ControlState = 'starting';
  #phase: 'idle' | 'key' | 'opening' | 'open' | 'off' = 'idle';
  /** Without a session: when to connect, or when to give up waiting for the caller. */
  #dueMs: number;
  #session: ControlSession | undefined = undefined;
  /** Not before this: the next map stream. */
  #mapDueMs = -Infinity;
  /** Keys that are still to be logged out; undefined: not logging out. */
  #logoutKeys: SecretKey[] | undefined = undefined;
  #logoutDueMs = Infinity;
  #lastPing = '';
  #lastUrl = '';
  /** Delays of what is failing now. */
  #connectBackoff: Backoff | undefined = undefined;
  #mapBackoff: Backoff | undefined = undefined;
  #updateBackoff: Backoff | undefined = undefined;

  /** RangeError for a disco key that has not 32 bytes. */
  constructor(options: ControlClientOptions) {
    const { nowMs, discoKey } = options;
    if (discoKey !== undefined && discoKey.length !== 32)
      throw new RangeError(`"discoKey" expected 32 bytes, got ${discoKey.length}`);
    this.#suite = options.suite;
    this.#random = options.random;
    this.#machineKey = options.machineKey;
    this.#authority = options.authority;
    this.#path = options.path;
    const isSmall = options.limits === 'small';
    this.#limits = isSmall ? CONTROL_LIMITS_SMALL : CONTROL_LIMITS_LARGE;
    const slimmer = isSmall ? new PeerSlimmer(options.suite, options.random) : undefined;
    this.#decoder = new MapDecoder(this.#limits.map, slimmer);
    this.#member = new Membership(options, this.#events);
    this.#report = new Report(options.hostinfo, discoKey, isSmall);
    this.#dueMs = nowMs + (options.startDelayMs ?? 0);
    if (options.snapshot !== undefined) this.#restore(options.snapshot);
    this.#advance(nowMs);
  }

  /** What is known of the network. */
  get netmap(): Netmap {
    return this.#decoder.netmap;
  }

  /** Where the device stands. */
  get state(): ControlState {
    return this.#state;
  }

  /** Whether the map stream is open. */
  get isConnected(): boolean {
    return this.#session?.isMapOpen ?? false;
  }

  /** Public half of the node key in force: 32 bytes. */
  get publicKey(): Uint8Array {
    const { keys } = this.#member;
    return keys.publicOf(keys.current);
  }

  /** About how many bytes of memory connection, decoder and netmap hold now. */
  get heldBytes(): number {
    return this.#decoder.heldBytes + (this.#session?.heldBytes ?? 0);
  }

  /** The body of GET /key, or undefined where it could not be fetched. */
  handleServerKey(nowMs: number, body: Uint8Array | undefined): void {
    if (this.#phase !== 'key') return;
    const key = body === undefined ? KEY_MISSING : parseServerKey(body);
    if (typeof key === 'string') {
      this.#retryConnect(nowMs, new NetError(body === undefined ? 'ERR_UNREACHABLE' : 'ERR_PROTOCOL', key));
    } else {
      this.#serverKey = key;
      this.#connect(nowMs);
    }
    this.#advance(nowMs);
  }

  /** The stream is open. */
  handleOpened(nowMs: number): void {
    const path = this.#path;
    if (this.#phase !== 'opening' || this.#serverKey === undefined) return;
    this.#phase = 'open';
    this.#session = new ControlSession({
      nowMs,
      suite: this.#suite,
      random: this.#random,
      machineKey: this.#machineKey,
      serverKey: this.#serverKey,
      host: this.#authority,
      ...(path === undefined ? {} : { path }),
      limits: this.#limits,
      decoder: this.#decoder,
    });
    this.#advance(nowMs);
  }

  /** Bytes of the stream, lent for the call and overwritten; all are taken. `unixMs` is the wall clock. */
  handleBytes(nowMs: number, unixMs: number, buf: Uint8Array, start: number, end: number): void {
    this.#member.clock.setClock(nowMs, unixMs);
    this.#session?.handleBytes(nowMs, buf, start, end);
    this.#advance(nowMs);
  }

  /** The other side has ended the stream. */
  handleEnd(nowMs: number): void {
    this.#session?.handleEnd(nowMs);
    this.#advance(nowMs);
  }

  /** The stream could not be opened, or has failed; it is gone. */
  handleFailed(nowMs: number, error: NetError): void {
    if (this.#phase !== 'opening' && this.#phase !== 'open') return;
    this.#leaveSession(nowMs);
    this.#retryConnect(nowMs, error);
    this.#advance(nowMs);
  }

  /** Writes what is to go to the stream into `out[start, end)`; returns how many bytes, 0 for nothing now. */
  pollBytes(nowMs: number, out: Uint8Array, start: number, end: number): number {
    const written = this.#session?.pollBytes(nowMs, out, start, end) ?? 0;
    if (this.#session?.error !== undefined) this.#advance(nowMs);
    return written;
  }

  /** The next event, or undefined. */
  pollEvent(): ControlClientEvent | undefined {
    const event = this.#events.shift();
    if (event === this.#netmapEvent) this.#netmapEvent = undefined;
    return event;
  }

  /** Time has passed. */
  handleTimeout(nowMs: number, unixMs: number): void {
    this.#member.clock.setClock(nowMs, unixMs);
    this.#session?.handleTimeout(nowMs);
    const isLate = (this.#phase === 'key' || this.#phase === 'opening') && nowMs >= this.#dueMs;
    if (isLate) this.#giveUpWaiting(nowMs); // CHECK: control-caller-timeout
    this.#advance(nowMs);
  }

  /** When {@link handleTimeout} is due. */
  nextTimeout(): number {
    const session = this.#session;
    if (this.#phase === 'off') return Infinity;
    const dueMs = Math.min(session?.nextTimeout() ?? this.#dueMs, this.#logoutDueMs);
    if (this.#logoutKeys !== undefined) return dueMs;
    const isRegistering = session === undefined || session.hasCall('register');
    const isMapWanted = session !== undefined && this.#member.isJoined && !session.hasMap;
    const isUpdateWanted = session?.isMapOpen === true && !session.hasCall('update');
    return Math.min(
      dueMs,
      this.#member.nextTimeout(),
      isRegistering ? Infinity : this.#member.dueMs,
      isMapWanted ? this.#mapDueMs : Infinity,
      isUpdateWanted ? this.#report.dueMs : Infinity,
    );
  }

  /** The caller has stored the key of the last `node-key` event: now it may be used. RangeError for any other key. */
  adoptNodeKey(nowMs: number, key: SecretKey): void {
    this.#member.keys.adopt(key);
    this.#advance(nowMs);
  }

  /** Where this device can be reached from outside, best first: kept, and not to be changed afterwards. */
  setEndpoints(nowMs: number, endpoints: readonly LocalEndpoint[]): void {
    this.#report.setEndpoints(nowMs, endpoints);
  }

  /** The relay region where this device listens (0: none), and how far regions are: seconds by `region-v4`, `region-v6`. */
  setHomeRegion(nowMs: number, region: number, latencies?: Readonly<Record<string, number>>): void {
    this.#report.setHomeRegion(nowMs, region, latencies);
  }

  /** What this device says of itself has changed. */
  setHostinfo(nowMs: number, hostinfo: WireHostinfo): void {
    this.#report.setHostinfo(nowMs, hostinfo);
  }

  /** Asks for the whole map again, where there is a stream: records of peers that are wanted come whole then. */
  restartMap(nowMs: number): void {
    if (!this.isConnected) return;
    this.#session!.closeMap(nowMs);
    this.#mapDueMs = nowMs;
    this.#advance(nowMs);
  }

  /** Leaves the network: the coordinator is told, for at most 15 seconds; the event `logged-out` follows. */
  logout(nowMs: number): void {
    if (this.#phase === 'off' || this.#logoutKeys !== undefined) return;
    const { current, next } = this.#member.keys;
    this.#logoutKeys = next === undefined ? [current] : [current, next];
    this.#logoutDueMs = nowMs + LOGOUT_TIMEOUT_MS;
    this.#member.leave();
    this.#session?.cancelCall(nowMs, 'register');
    this.#session?.closeMap(nowMs);
    if (this.#phase === 'idle') this.#dueMs = nowMs;
    this.#advance(nowMs);
  }

  /** Ends everything from this side; the coordinator is told nothing. */
  stop(nowMs: number): void {
    if (this.#phase !== 'off') this.#switchOff(nowMs, 'stopped');
  }

  /** What cannot be read is as if it were not there; the first message of a stream replaces it either way. */
  #restore(snapshot: Uint8Array): void {
    this.#decoder.handleBytes(snapshot, 0, snapshot.length);
    for (let event = this.#decoder.pollEvent(); event !== undefined; event = this.#decoder.pollEvent())
      if (event.type === 'netmap') this.#tellNetmap(event.changes);
    this.#decoder.startStream();
  }

  #unixMs(nowMs: number): number {
    return this.#member.clock.unixMs(nowMs);
  }

  /** After everything that happens: reads what the session has, does what is due, and says where the device stands. */
  #advance(nowMs: number): void {
    this.#readSession(nowMs);
    if (this.#phase === 'off') return;
    if (nowMs >= this.#logoutDueMs) return this.#finishLogout(nowMs, false); // CHECK: control-logout-timeout
    if (this.#logoutKeys === undefined && this.#member.choose(nowMs)) this.#session?.cancelCall(nowMs, 'register');
    if (this.#phase === 'idle' && nowMs >= this.#dueMs) this.#connect(nowMs);
    if (this.#session !== undefined) this.#ask(nowMs, this.#session);
    if (this.#logoutKeys !== undefined) return;
    this.#setState(this.#member.state(nowMs, this.#state, this.#serverKey !== undefined));
  }

  #setState(state: ControlState): void {
    if (state === this.#state) return;
    this.#state = state;
    this.#events.push({ type: 'state', state });
  }

  // The connection.

  #connect(nowMs: number): void {
    const isKeyKnown = this.#serverKey !== undefined;
    this.#phase = isKeyKnown ? 'opening' : 'key';
    this.#dueMs = nowMs + CALLER_TIMEOUT_MS;
    this.#events.push({ type: isKeyKnown ? 'connect' : 'fetch-key' });
  }

  #giveUpWaiting(nowMs: number): void {
    if (this.#phase === 'opening') this.#events.push({ type: 'disconnect' });
    this.#retryConnect(nowMs, new NetError('ERR_TIMED_OUT', 'the coordinator cannot be reached in time'));
  }

  #retryConnect(nowMs: number, error: NetError): void {
    this.#connectBackoff ??= new Backoff(this.#random);
    const retryInMs = this.#connectBackoff.next();
    this.#phase = 'idle';
    this.#dueMs = nowMs + retryInMs;
    this.#events.push({ type: 'error', error, retryInMs });
  }

  /** Forgets the session; a coordinator that could not prove its key is asked for it again. */
  #leaveSession(nowMs: number): void {
    const session = this.#session;
    if (session === undefined) return;
    this.#noteMapLife(nowMs, session);
    if (!session.isEstablished) this.#serverKey = undefined;
    session.close();
    this.#session = undefined;
  }

  #noteMapLife(nowMs: number, session: ControlSession): void {
    if (nowMs - session.mapSinceMs < GOOD_MAP_MS) return;
    this.#connectBackoff = this.#mapBackoff = undefined;
  }

  #lose(nowMs: number, error: NetError): void {
    this.#leaveSession(nowMs);
    this.#events.push({ type: 'disconnect' });
    this.#retryConnect(nowMs, error);
  }

  #switchOff(nowMs: number, state: 'stopped' | 'logged-out'): void {
    if (this.#phase === 'open' || this.#phase === 'opening') this.#events.push({ type: 'disconnect' });
    this.#leaveSession(nowMs);
    this.#phase = 'off';
    this.#member.leave();
    this.#setState(state);
  }

  // What is due on an open connection.

  #ask(nowMs: number, session: ControlSession): void {
    const member = this.#member;
    if (this.#logoutKeys !== undefined) return this.#askLogout(nowMs, session, this.#logoutKeys[0]!);
    if (member.isDue(nowMs) && !session.hasCall('register')) {
      const body = jsonBytes(member.request(this.#report.hostinfo));
      const isAsked = session.call(nowMs, 'register', 'POST', REGISTER_PATH, body, member.timeoutMs);
      if (!isAsked) member.delay(nowMs + FULL_RETRY_MS);
    }
    if (!member.isJoined) return;
    if (!session.hasMap && nowMs >= this.#mapDueMs) {
      const isAsked = session.openMap(
        nowMs,
        jsonBytes(this.#report.request(member.keys.textOf(member.keys.current), true)),
      );
      if (!isAsked) this.#mapDueMs = nowMs + FULL_RETRY_MS;
    }
    if (session.isMapOpen && nowMs >= this.#report.dueMs && !session.hasCall('update')) {
      const body = jsonBytes(this.#report.request(member.keys.textOf(member.keys.current), false));
      const isAsked = session.call(nowMs, 'update', 'POST', MAP_PATH, body, CALL_TIMEOUT_MS);
      this.#report.dueMs = isAsked ? Infinity : nowMs + FULL_RETRY_MS;
    }
  }

  // What the session brings.

  #readSession(nowMs: number): void {
    for (let session = this.#session; session !== undefined; session = this.#session) {
      const event = session.pollEvent();
      if (event !== undefined) this.#handleEvent(nowMs, session, event);
      else if (session.error !== undefined) this.#lose(nowMs, session.error);
      else return;
    }
  }

  #handleEvent(nowMs: number, session: ControlSession, event: SessionEvent): void {
    if (event.type === 'answer') this.#handleAnswer(nowMs, session, event.kind, event.answer);
    else if (event.type === 'call-failed') this.#handleFailedCall(nowMs, event.kind, event.error);
    else if (event.type === 'map-open')
      this.#report.dueMs = nowMs; // everything is told again
    else if (event.type === 'map-message') this.#readMap(nowMs, session);
    else if (event.type === 'map-ended') this.#handleMapEnd(nowMs, session, event);
    else if (event.type === 'goaway')
      this.#lose(nowMs, new NetError('ERR_CLOSED', 'the coordinator has asked to connect anew'));
  }

  #handleAnswer(nowMs: number, session: ControlSession, kind: CallKind, answer: AnswerReader): void {
    if (kind === 'logout') return this.#handleLogout(nowMs, answer.status === 200);
    if (kind === 'update') this.#handleUpdate(nowMs, answer);
    if (kind !== 'register' || !this.#member.handleAnswer(nowMs, answer)) return;
    session.closeMap(nowMs);
    this.#mapDueMs = nowMs;
  }

  #handleUpdate(nowMs: number, answer: AnswerReader): void {
    this.#updateBackoff = answer.status < 300 ? undefined : (this.#updateBackoff ?? new Backoff(this.#random));
    if (this.#updateBackoff !== undefined)
      this.#report.dueMs = nowMs + this.#delayMs(nowMs, answer, this.#updateBackoff);
  }

  #handleFailedCall(nowMs: number, kind: CallKind, error: NetError): void {
    if (kind === 'register') this.#member.handleFailure(nowMs, error);
    if (kind === 'update') this.#report.dueMs = nowMs + (this.#updateBackoff ??= new Backoff(this.#random)).next();
    if (kind === 'logout') this.#lose(nowMs, error);
  }

  #delayMs(nowMs: number, answer: AnswerReader, backoff: Backoff): number {
    return answerDelayMs(answer, backoff, this.#unixMs(nowMs), this.#random);
  }

  #readMap(nowMs: number, session: ControlSession): void {
    for (let event = this.#decoder.pollEvent(); event !== undefined; event = this.#decoder.pollEvent()) {
      if (event.type === 'netmap') this.#tellNetmap(event.changes);
      else if (event.type === 'ping') this.#answerPing(nowMs, session, event.ping);
      else if (event.type === 'open-url') this.#tellUrl(event.url);
    }
    if (session.isMapOpen) this.#member.handleMap(nowMs, this.netmap);
  }

  #tellNetmap(changes: NetmapChanges): void {
    const waiting = this.#netmapEvent;
    if (waiting !== undefined) {
      waiting.changes = mergedChanges(waiting.changes, changes);
      return;
    }
    this.#netmapEvent = { type: 'netmap', changes };
    this.#events.push(this.#netmapEvent);
  }

  #tellUrl(url: string): void {
    if (url === this.#lastUrl || !isWebUrl(url)) return;
    this.#lastUrl = url;
    this.#events.push({ type: 'open-url', url });
  }

  #answerPing(nowMs: number, session: ControlSession, ping: MapPing): void {
    const answer = answerPing(ping);
    if (ping.url === this.#lastPing || session.hasCall('ping')) return; // CHECK: control-ping-repeat
    this.#lastPing = ping.url;
    if (answer === undefined) return;
    session.call(nowMs, 'ping', answer.method, answer.path, answer.body, CALL_TIMEOUT_MS);
  }

  #handleMapEnd(nowMs: number, session: ControlSession, event: Extract<SessionEvent, { type: 'map-ended' }>): void {
    const { answer } = event;
    this.#noteMapLife(nowMs, session);
    if (event.isSilent) return this.#lose(nowMs, event.error);
    this.#mapBackoff ??= new Backoff(this.#random);
    const retryInMs = answer === undefined ? this.#mapBackoff.next() : this.#delayMs(nowMs, answer, this.#mapBackoff);
    this.#mapDueMs = nowMs + retryInMs;
    let { error } = event;
    if (answer !== undefined) error = answerError(answer, 'the request for the map', this.#member.authKey);
    if (answer !== undefined && UNKNOWN_STATUS.includes(answer.status)) {
      this.#member.handleUnknown(this.#mapDueMs);
      error = new NetError('ERR_LOGIN', 'the coordinator does not know this device; it registers again');
    }
    this.#events.push({ type: 'error', error, retryInMs });
  }

  // Logging out.

  #askLogout(nowMs: number, session: ControlSession, key: SecretKey): void {
    if (session.hasCall('logout')) return;
    const request = this.#member.logoutRequest(this.#report.hostinfo, this.#member.keys.textOf(key));
    session.call(nowMs, 'logout', 'POST', REGISTER_PATH, jsonBytes(request), CALL_TIMEOUT_MS);
  }

  #handleLogout(nowMs: number, isConfirmed: boolean): void {
    this.#logoutKeys?.shift();
    if (!isConfirmed || this.#logoutKeys?.length === 0) this.#finishLogout(nowMs, isConfirmed);
  }

  #finishLogout(nowMs: number, isConfirmed: boolean): void {
    this.#logoutDueMs = Infinity;
    this.#switchOff(nowMs, 'logged-out');
    this.#events.push({ type: 'logged-out', isConfirmed });
  }
}

function jsonBytes(value: object): Uint8Array {
  return utf8Encode(JSON.stringify(value));
}
