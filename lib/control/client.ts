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
import { type AnswerReader, isWebUrl, parseServerKey, shownText } from './client-answer.ts';
import { ExpiryClock } from './client-expiry.ts';
import { NodeKeys } from './client-keys.ts';
import { Login, type LoginPurpose, type LoginStep } from './client-login.ts';
import { answerPing } from './client-ping.ts';
import { Report } from './client-report.ts';
import { Backoff, retryAfterMs } from './client-retry.ts';
import { ControlSession, MAP_PATH, REGISTER_PATH, type SessionEvent } from './client-session.ts';
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
import type { MapPing, NetmapSelf } from './map-values.ts';
import { CAPABILITY_VERSION, type WireHostinfo, type WireRegisterRequest } from './message.ts';
import type { Netmap, NetmapChanges } from './netmap.ts';

export type {
  ControlClientEvent,
  ControlClientLimits,
  ControlClientOptions,
  ControlState,
  LocalEndpoint,
} from './client-types.ts';

/** The caller has this long to fetch the key or to open the stream. */
const CALLER_TIMEOUT_MS = 60_000;
/** An answer is due within this time; while a person decides, within the other. */
const CALL_TIMEOUT_MS = 30_000;
const FOLLOWUP_TIMEOUT_MS = 3_600_000;
/** A map stream that lived this long was a good one: the next failure starts with short delays. */
const GOOD_MAP_MS = 60_000;
/** A request that HTTP/2 does not take now is tried again after this time. */
const FULL_RETRY_MS = 1000;
/** Delays after a refused login. */
const REFUSED_FIRST_MS = 10_000;
const REFUSED_MAX_MS = 600_000;
/** How long logging out may take; the coordinator is then not asked any more. */
const LOGOUT_TIMEOUT_MS = 15_000;
/** The expiry that means logging out: in the past. */
const LOGOUT_EXPIRY = '1970-01-01T00:02:03Z';

/** See the top of the file. */
export class ControlClient {
  readonly #options: ControlClientOptions;
  readonly #limits: ControlClientLimits;
  readonly #decoder: MapDecoder;
  readonly #keys: NodeKeys;
  readonly #report: Report;
  readonly #clock: ExpiryClock;
  readonly #events: ControlClientEvent[] = [];
  /** The last event that nobody has taken yet, where it is a netmap. */
  #netmapEvent: { readonly type: 'netmap'; changes: NetmapChanges } | undefined = undefined;
  #authKey: string | undefined;
  #serverKey: Uint8Array | undefined = undefined;
  #state: ControlState = 'starting';
  #phase: 'idle' | 'key' | 'opening' | 'open' | 'off' = 'idle';
  /** Without a session: when to connect, or when to give up waiting for the caller. */
  #dueMs: number;
  #session: ControlSession | undefined = undefined;
  #login: Login | undefined = undefined;
  /** Not before this: the next registration, the next map stream. */
  #loginDueMs = -Infinity;
  #mapDueMs = -Infinity;
  /** The coordinator has accepted the key in force. */
  #isJoined = false;
  #needsLogin = false;
  /** This device as the coordinator has described it since the last registration, and its key as text. */
  #self: NetmapSelf | undefined = undefined;
  #selfKey = '';
  /** Keys that are still to be logged out; undefined: not logging out. */
  #logoutKeys: SecretKey[] | undefined = undefined;
  #logoutDueMs = Infinity;
  #lastPing = '';
  #lastUrl = '';
  readonly #connectBackoff: Backoff;
  readonly #mapBackoff: Backoff;
  readonly #loginBackoff: Backoff;
  readonly #refusedBackoff: Backoff;
  readonly #updateBackoff: Backoff;

  constructor(options: ControlClientOptions) {
    const { nowMs, unixMs, random } = options;
    if (options.discoKey !== undefined && options.discoKey.length !== 32)
      throw new RangeError(`"discoKey" expected 32 bytes, got ${options.discoKey.length}`);
    this.#options = options;
    this.#limits = options.limits === 'small' ? CONTROL_LIMITS_SMALL : CONTROL_LIMITS_LARGE;
    this.#decoder = new MapDecoder(this.#limits.map);
    this.#keys = new NodeKeys(options.suite, options.nodeKey, options.nextNodeKey);
    this.#report = new Report(options.hostinfo, options.discoKey);
    this.#clock = new ExpiryClock(random, nowMs, unixMs);
    this.#authKey = options.authKey || undefined;
    this.#connectBackoff = new Backoff(random);
    this.#mapBackoff = new Backoff(random);
    this.#loginBackoff = new Backoff(random);
    this.#refusedBackoff = new Backoff(random, REFUSED_FIRST_MS, REFUSED_MAX_MS);
    this.#updateBackoff = new Backoff(random);
    this.#dueMs = nowMs;
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

  /** The node key in force: 32 bytes of its public half. */
  get publicKey(): Uint8Array {
    return this.#keys.publicOf(this.#keys.current);
  }

  /** How many bytes {@link handleBytes} takes now. */
  get receiveRoom(): number {
    return this.#session?.receiveRoom ?? 0;
  }

  /** The body of GET /key, or undefined where it could not be fetched. */
  handleServerKey(nowMs: number, body: Uint8Array | undefined): void {
    if (this.#phase !== 'key') return;
    const key =
      body === undefined ? 'the coordinator’s key cannot be fetched; check its address' : parseServerKey(body);
    if (typeof key === 'string') {
      const code = body === undefined ? 'ERR_UNREACHABLE' : 'ERR_PROTOCOL';
      this.#retryConnect(nowMs, new NetError(code, key));
    } else {
      this.#serverKey = key;
      this.#connect(nowMs);
    }
    this.#advance(nowMs);
  }

  /** The stream is open. */
  handleOpened(nowMs: number): void {
    const { suite, random, machineKey, authority, path } = this.#options;
    if (this.#phase !== 'opening' || this.#serverKey === undefined) return;
    this.#phase = 'open';
    this.#session = new ControlSession({
      nowMs,
      suite,
      random,
      machineKey,
      serverKey: this.#serverKey,
      host: authority,
      ...(path === undefined ? {} : { path }),
      limits: this.#limits,
      decoder: this.#decoder,
    });
    this.#report.dueMs = nowMs; // everything is told again
    this.#advance(nowMs);
  }

  /** Bytes of the stream, lent for the call, at most {@link receiveRoom} (RangeError). `unixMs` is the wall clock. */
  handleBytes(nowMs: number, unixMs: number, buf: Uint8Array, start: number, end: number): void {
    this.#clock.setClock(nowMs, unixMs);
    this.#session?.handleBytes(nowMs, this.#clock.unixMs(nowMs), buf, start, end);
    this.#advance(nowMs);
  }

  /** The other side has ended the stream. */
  handleEnd(nowMs: number): void {
    this.#session?.handleEnd(nowMs, this.#clock.unixMs(nowMs));
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
    this.#clock.setClock(nowMs, unixMs);
    if (this.#phase === 'off') return;
    this.#session?.handleTimeout(nowMs, this.#clock.unixMs(nowMs));
    const isLate = (this.#phase === 'key' || this.#phase === 'opening') && nowMs >= this.#dueMs;
    if (isLate) this.#giveUpWaiting(nowMs); // CHECK: control-caller-timeout
    this.#advance(nowMs);
  }

  /** When {@link handleTimeout} is due. */
  nextTimeout(): number {
    if (this.#phase === 'off') return Infinity;
    const session = this.#session;
    let dueMs = Math.min(session?.nextTimeout() ?? this.#dueMs, this.#logoutDueMs);
    if (this.#logoutKeys !== undefined) return dueMs;
    const isWanted = this.#login === undefined ? this.#purpose(dueMs) !== undefined : !this.#login.needsKey;
    if (session !== undefined) {
      if (isWanted && !session.hasCall('register')) dueMs = Math.min(dueMs, this.#loginDueMs);
      if (this.#isJoined && !session.hasMap) dueMs = Math.min(dueMs, this.#mapDueMs);
      if (session.isMapOpen && !session.hasCall('update')) dueMs = Math.min(dueMs, this.#report.dueMs);
    }
    if (this.#self === undefined || this.#state === 'expired') return dueMs;
    const { expiresUnixMs, rotatesUnixMs } = this.#clock;
    const dueUnixMs = this.#login === undefined ? Math.min(expiresUnixMs, rotatesUnixMs) : expiresUnixMs;
    return Math.min(dueMs, this.#clock.dueMs(dueUnixMs));
  }

  /** The caller has stored the key of the last `node-key` event: now it may be used. RangeError for any other key. */
  adoptNodeKey(nowMs: number, key: SecretKey): void {
    this.#keys.adopt(key);
    this.#advance(nowMs);
  }

  /** Where this device can be reached from outside, best first. */
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

  /** Leaves the network: the coordinator is told, for at most 15 seconds; the event `logged-out` follows. */
  logout(nowMs: number): void {
    if (this.#phase === 'off' || this.#logoutKeys !== undefined) return;
    const { current, next } = this.#keys;
    this.#logoutKeys = next === undefined ? [current] : [current, next];
    this.#logoutDueMs = nowMs + LOGOUT_TIMEOUT_MS;
    this.#login = undefined;
    this.#session?.cancelCall(nowMs, 'register');
    this.#session?.closeMap(nowMs);
    if (this.#phase === 'idle') this.#dueMs = nowMs;
    this.#advance(nowMs);
  }

  /** Ends everything from this side; the coordinator is told nothing. */
  stop(nowMs: number): void {
    if (this.#phase === 'off') return;
    this.#switchOff(nowMs, 'stopped');
  }

  /** After everything that happened: reads what the session has, decides what is due, and says where the device stands. */
  #advance(nowMs: number): void {
    this.#readSession(nowMs);
    this.#chooseLogin(nowMs);
    if (nowMs >= this.#logoutDueMs) this.#finishLogout(nowMs, false); // CHECK: control-logout-timeout
    if (this.#phase === 'idle' && nowMs >= this.#dueMs) this.#connect(nowMs);
    if (this.#session !== undefined && this.#phase === 'open') this.#ask(nowMs, this.#session);
    if (this.#phase === 'off') return;
    this.#setState(this.#judge(nowMs));
  }

  #judge(nowMs: number): ControlState {
    if (this.#needsLogin) return 'needs-login';
    const isKept = this.#isJoined && this.#self === undefined && this.#state === 'running';
    if (isKept) return 'running';
    if (!this.#isJoined || this.#self === undefined) return this.#hasStarted ? 'connecting' : 'starting';
    if (this.#isExpired(nowMs)) return 'expired';
    return this.#self.isAuthorized ? 'running' : 'needs-approval';
  }

  get #hasStarted(): boolean {
    return this.#serverKey !== undefined || this.#state !== 'starting';
  }

  #isExpired(nowMs: number): boolean {
    return this.#self !== undefined && (this.#self.isExpired || this.#clock.isExpired(nowMs));
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
    this.#connectBackoff.reset();
    this.#mapBackoff.reset();
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
    this.#login = undefined;
    this.#authKey = undefined;
    this.#setState(state);
  }

  // What is due on an open connection.

  #ask(nowMs: number, session: ControlSession): void {
    if (this.#logoutKeys !== undefined) return this.#askLogout(nowMs, session, this.#logoutKeys[0]!);
    const login = this.#login;
    if (login !== undefined && !login.needsKey && nowMs >= this.#loginDueMs && !session.hasCall('register')) {
      const timeoutMs = login.followup === '' ? CALL_TIMEOUT_MS : FOLLOWUP_TIMEOUT_MS;
      const body = jsonBytes(login.request(this.#registerRequest(), this.#authKey));
      const isAsked = session.call(nowMs, 'register', 'POST', REGISTER_PATH, body, timeoutMs);
      if (!isAsked) this.#loginDueMs = nowMs + FULL_RETRY_MS;
    }
    const nodeKey = this.#isJoined ? this.#keys.textOf(this.#keys.current) : '';
    if (this.#isJoined && !session.hasMap && nowMs >= this.#mapDueMs) {
      const isAsked = session.openMap(nowMs, jsonBytes(this.#report.request(nodeKey, true)));
      if (!isAsked) this.#mapDueMs = nowMs + FULL_RETRY_MS;
    }
    if (session.isMapOpen && nowMs >= this.#report.dueMs && !session.hasCall('update')) {
      const body = jsonBytes(this.#report.request(nodeKey, false));
      const isAsked = session.call(nowMs, 'update', 'POST', MAP_PATH, body, CALL_TIMEOUT_MS);
      this.#report.dueMs = isAsked ? Infinity : nowMs + FULL_RETRY_MS;
    }
  }

  #registerRequest(): WireRegisterRequest {
    return {
      Version: CAPABILITY_VERSION,
      NodeKey: '',
      Hostinfo: this.#report.hostinfo,
      ...(this.#options.isEphemeral === true ? { Ephemeral: true } : {}),
    };
  }

  #askLogout(nowMs: number, session: ControlSession, key: SecretKey): void {
    if (session.hasCall('logout')) return;
    const request = { ...this.#registerRequest(), NodeKey: this.#keys.textOf(key), Expiry: LOGOUT_EXPIRY };
    session.call(nowMs, 'logout', 'POST', REGISTER_PATH, jsonBytes(request), CALL_TIMEOUT_MS);
  }

  /** Why the device has to register, if it has to. */
  #purpose(nowMs: number): LoginPurpose | undefined {
    if (!this.#isJoined) return 'join';
    if (this.#isExpired(nowMs)) return 'renew';
    return this.#self !== undefined && this.#clock.isRotationDue(nowMs) ? 'rotate' : undefined;
  }

  /** Starts an attempt to register where one is due, and ends one that has lost its reason. */
  #chooseLogin(nowMs: number): void {
    if (this.#phase === 'off' || this.#logoutKeys !== undefined) return;
    const purpose = this.#purpose(nowMs);
    if (this.#login !== undefined && this.#login.purpose !== purpose) {
      this.#session?.cancelCall(nowMs, 'register');
      this.#login = undefined;
      this.#loginDueMs = nowMs;
      this.#needsLogin = false;
    }
    if (this.#login === undefined && purpose === undefined) this.#needsLogin = false;
    if (this.#login === undefined && purpose !== undefined && nowMs >= this.#loginDueMs)
      this.#login = new Login(this.#keys, purpose, this.#authKey !== undefined);
    if (this.#login?.needsKey !== true) return;
    const key = this.#keys.offer(this.#options.random);
    const reason = this.#login.purpose === 'rotate' ? 'expiring' : 'expired';
    if (key !== undefined) this.#events.push({ type: 'node-key', key, reason });
  }

  // What the session brings.

  #readSession(nowMs: number): void {
    let session = this.#session;
    for (let event = session?.pollEvent(); event !== undefined; event = session?.pollEvent()) {
      this.#handleEvent(nowMs, session!, event);
      session = this.#session;
    }
    if (session?.error !== undefined) this.#lose(nowMs, session.error);
  }

  #handleEvent(nowMs: number, session: ControlSession, event: SessionEvent): void {
    if (event.type === 'answer') this.#handleAnswer(nowMs, event.kind, event.answer);
    else if (event.type === 'call-failed') this.#handleFailedCall(nowMs, event.kind, event.error);
    else if (event.type === 'map-message') this.#readMap(nowMs, session);
    else if (event.type === 'map-ended') this.#handleMapEnd(nowMs, session, event);
    else if (event.type === 'goaway')
      this.#lose(nowMs, new NetError('ERR_CLOSED', 'the coordinator has asked to connect anew'));
  }

  #handleAnswer(nowMs: number, kind: string, answer: AnswerReader): void {
    if (kind === 'logout') return this.#handleLogout(nowMs, answer.status === 200);
    if (kind === 'update') {
      if (answer.status < 300) this.#updateBackoff.reset();
      else this.#repeatUpdate(nowMs, this.#delayFor(nowMs, answer, this.#updateBackoff));
    }
    if (kind !== 'register' || this.#login === undefined) return;
    const step = answer.status === 200 ? this.#login.handleAnswer(answer) : undefined;
    if (step !== undefined) return this.#takeStep(nowMs, this.#login, step);
    const error = this.#errorOf(answer, 'the registration');
    this.#repeatLogin(nowMs, error, this.#delayFor(nowMs, answer, this.#loginBackoff));
  }

  #handleFailedCall(nowMs: number, kind: string, error: NetError): void {
    if (kind === 'register') this.#repeatLogin(nowMs, error, this.#loginBackoff.next());
    if (kind === 'update') this.#repeatUpdate(nowMs, this.#updateBackoff.next());
    if (kind === 'logout') this.#lose(nowMs, error);
  }

  #repeatLogin(nowMs: number, error: NetError, retryInMs: number): void {
    this.#loginDueMs = nowMs + retryInMs;
    this.#events.push({ type: 'error', error, retryInMs });
  }

  #repeatUpdate(nowMs: number, delayMs: number): void {
    this.#report.dueMs = nowMs + delayMs;
  }

  #delayFor(nowMs: number, answer: AnswerReader, backoff: Backoff): number {
    const isBusy = answer.status === 429 || answer.status === 503;
    if (!isBusy) return backoff.next();
    return retryAfterMs(answer.headers, this.#clock.unixMs(nowMs), this.#options.random);
  }

  /** An answer that is not what was asked for, as an error. */
  #errorOf(answer: AnswerReader, what: string): NetError {
    const text = shownText(answer.text, this.#authKey);
    const says = text === '' ? '' : `: ${text}`;
    if (answer.status === 200) return new NetError('ERR_PROTOCOL', `the answer to ${what} cannot be read`);
    return new NetError('ERR_PROTOCOL', `the coordinator answered ${answer.status} to ${what}${says}`);
  }

  #takeStep(nowMs: number, login: Login, step: LoginStep): void {
    this.#loginDueMs = nowMs;
    if (step.type !== 'pending') this.#loginBackoff.reset();
    if (step.type === 'done') return this.#finishLogin(nowMs, step.isNewKey);
    if (step.type === 'auth-url') {
      this.#needsLogin = true;
      this.#events.push({ type: 'auth-url', url: step.url });
    } else if (step.type === 'pending') {
      this.#loginDueMs = nowMs + this.#loginBackoff.next();
    } else if (step.type === 'person') {
      this.#login = undefined;
      this.#events.push({ type: 'expiring', unixMs: this.#clock.expiresUnixMs });
      this.#clock.plan(nowMs);
    } else if (step.type === 'refused') {
      this.#refuse(nowMs, login.purpose, shownText(step.text, this.#authKey));
    }
  }

  #finishLogin(nowMs: number, isNewKey: boolean): void {
    this.#login = undefined;
    this.#isJoined = true;
    this.#needsLogin = false;
    this.#self = undefined;
    this.#refusedBackoff.reset();
    if (!isNewKey) return;
    this.#events.push({ type: 'node-key-adopted', publicKey: this.publicKey });
    this.#session?.closeMap(nowMs);
    this.#mapDueMs = nowMs;
    this.#report.dueMs = nowMs;
  }

  #refuse(nowMs: number, purpose: LoginPurpose, message: string): void {
    this.#login = undefined;
    const retryInMs = this.#refusedBackoff.next();
    this.#loginDueMs = nowMs + retryInMs;
    if (purpose === 'rotate') {
      const error = new NetError('ERR_LOGIN', `the coordinator does not renew the node key: ${message}`);
      this.#clock.plan(nowMs);
      this.#events.push({ type: 'error', error, retryInMs: this.#clock.dueMs(this.#clock.rotatesUnixMs) - nowMs });
      return;
    }
    this.#needsLogin = true;
    this.#events.push({ type: 'login-failed', message, retryInMs });
  }

  #readMap(nowMs: number, session: ControlSession): void {
    const { netmap } = this.#decoder;
    for (let event = this.#decoder.pollEvent(); event !== undefined; event = this.#decoder.pollEvent()) {
      if (event.type === 'netmap') this.#tellNetmap(event.changes);
      else if (event.type === 'ping') this.#answerPing(nowMs, session, event.ping);
      else if (event.type === 'open-url') this.#tellUrl(event.url);
    }
    if (!session.isMapOpen || netmap.self === undefined || !this.#isJoined) return;
    this.#clock.setControlTime(nowMs, netmap.controlTimeMs);
    const selfKey = this.#keys.textOf(this.#keys.current);
    if (this.#self !== netmap.self) this.#clock.setExpiry(nowMs, netmap.self.keyExpiry, selfKey !== this.#selfKey);
    this.#self = netmap.self;
    this.#selfKey = selfKey;
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
    if (answer !== undefined) session.call(nowMs, 'ping', answer.method, answer.path, answer.body, CALL_TIMEOUT_MS);
  }

  #handleMapEnd(nowMs: number, session: ControlSession, event: Extract<SessionEvent, { type: 'map-ended' }>): void {
    const { answer } = event;
    this.#noteMapLife(nowMs, session);
    if (event.isSilent) return this.#lose(nowMs, event.error);
    const retryInMs = answer === undefined ? this.#mapBackoff.next() : this.#delayFor(nowMs, answer, this.#mapBackoff);
    this.#mapDueMs = nowMs + retryInMs;
    const isUnknown = answer !== undefined && [401, 403, 404].includes(answer.status);
    let error = answer === undefined ? event.error : this.#errorOf(answer, 'the request for the map');
    if (isUnknown) {
      this.#isJoined = false;
      this.#self = undefined;
      this.#loginDueMs = Math.max(this.#loginDueMs, this.#mapDueMs);
      error = new NetError('ERR_LOGIN', `the coordinator does not know this device; it registers again`);
    }
    this.#events.push({ type: 'error', error, retryInMs });
  }

  // Logging out.

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
