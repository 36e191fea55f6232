/**
 * What a device is to its coordinator: registered or not, with which node key, until when, and what to do about it.
 *
 * A registration is chosen by what is known (not registered: join; expired: renew; about to expire: rotate), lives over
 * lost connections, and is dropped when it has lost its reason. What the user has to know is an event.
 */
import { NetError } from '../base/errors.ts';
import type { SecretKey } from '../crypto/keys.ts';
import { type AnswerReader, answerError, shownText } from './client-answer.ts';
import { ExpiryClock } from './client-expiry.ts';
import { NodeKeys } from './client-keys.ts';
import { Login, type LoginPurpose, type LoginStep } from './client-login.ts';
import { answerDelayMs, Backoff } from './client-retry.ts';
import type { ControlClientEvent, ControlClientOptions, ControlState } from './client-types.ts';
import type { NetmapSelf } from './map-values.ts';
import { CAPABILITY_VERSION, type WireHostinfo, type WireRegisterRequest } from './message.ts';
import type { Netmap } from './netmap.ts';

/** Delays after a refused login. */
const REFUSED_FIRST_MS = 10_000;
const REFUSED_MAX_MS = 600_000;
/** A key that has expired is replaced again not before this, and later each time, unless the last one lived for a day. */
const RENEWED_FIRST_MS = 10_000;
const RENEWED_MAX_MS = 3_600_000;
const GOOD_LIFE_MS = 86_400_000;
/** An answer is due within this time; while a person decides, within the other. */
const REGISTER_TIMEOUT_MS = 30_000;
const FOLLOWUP_TIMEOUT_MS = 3_600_000;
/** The expiry that means logging out: in the past. */
const LOGOUT_EXPIRY = '1970-01-01T00:02:03Z';

/** See the top of the file. */
export class Membership {
  readonly keys: NodeKeys;
  readonly clock: ExpiryClock;
  /** The coordinator has accepted the key in force. */
  isJoined = false;
  readonly #random: (out: Uint8Array) => void;
  readonly #isEphemeral: boolean;
  readonly #events: ControlClientEvent[];
  /** Delays of what is failing now. */
  #loginBackoff: Backoff | undefined = undefined;
  #refusedBackoff: Backoff | undefined = undefined;
  #renewedBackoff: Backoff | undefined = undefined;
  #renewedMs = -Infinity;
  /** Not before this: the next renewal. */
  #renewDueMs = -Infinity;
  #authKey: string | undefined;
  /** Why the device has to register, when it was last looked at. */
  #purpose: LoginPurpose | undefined = undefined;
  #login: Login | undefined = undefined;
  /** Not before this: the next request. */
  #dueMs = -Infinity;
  #needsLogin = false;
  /** This device as the coordinator has described it since the last registration, and its key then. */
  #self: NetmapSelf | undefined = undefined;
  #selfKey: SecretKey | undefined = undefined;

  /** Events are appended to `events`. */
  constructor(options: ControlClientOptions, events: ControlClientEvent[]) {
    const { nowMs, unixMs, random, suite, nodeKey, nextNodeKey, authKey } = options;
    this.#random = random;
    this.#isEphemeral = options.isEphemeral === true;
    this.#events = events;
    this.keys = new NodeKeys(suite, nodeKey, nextNodeKey);
    this.clock = new ExpiryClock(random, nowMs, unixMs);
    this.#authKey = authKey || undefined;
  }

  /** A secret that no text may show. */
  get authKey(): string | undefined {
    return this.#authKey;
  }

  /** Whether a registration is to be asked for now, if none is under way. */
  isDue(nowMs: number): boolean {
    return this.#login !== undefined && !this.#login.needsKey && nowMs >= this.#dueMs;
  }

  /** When it is to be asked for; Infinity: not at all. */
  get dueMs(): number {
    return this.#login === undefined || this.#login.needsKey ? Infinity : this.#dueMs;
  }

  /** How long the answer to it may take. */
  get timeoutMs(): number {
    return this.#login?.followup ? FOLLOWUP_TIMEOUT_MS : REGISTER_TIMEOUT_MS;
  }

  /** What to ask for. */
  request(hostinfo: WireHostinfo): WireRegisterRequest {
    const common = this.#common(hostinfo);
    return this.#login?.request(common, this.#authKey) ?? common;
  }

  /** The request that logs a key out. */
  logoutRequest(hostinfo: WireHostinfo, nodeKey: string): WireRegisterRequest {
    return { ...this.#common(hostinfo), NodeKey: nodeKey, Expiry: LOGOUT_EXPIRY };
  }

  /** The request could not be sent; it is tried again at `dueMs`. */
  delay(dueMs: number): void {
    this.#dueMs = dueMs;
  }

  /** No more registrations: credentials are forgotten. */
  leave(): void {
    this.#login = undefined;
    this.#needsLogin = false;
    this.#authKey = undefined;
  }

  /** Begins a registration where one is due. True: one that is under way has lost its reason and is to be cancelled. */
  choose(nowMs: number): boolean {
    const purpose = this.#purposeAt(nowMs);
    this.#purpose = purpose;
    const isMoot = this.#login !== undefined && this.#login.purpose !== purpose;
    if (isMoot) {
      this.#login = undefined;
      this.#dueMs = nowMs;
    }
    if (isMoot || purpose === undefined) this.#needsLogin = false;
    if (this.#login === undefined && purpose !== undefined && nowMs >= this.#beginMs(purpose))
      this.#login = new Login(this.keys, purpose, this.#authKey !== undefined);
    if (this.#login?.needsKey === true) this.#offerKey(this.#login.purpose);
    return isMoot;
  }

  /** The answer to a registration. True: another node key is in force now. */
  handleAnswer(nowMs: number, answer: AnswerReader): boolean {
    const login = this.#login;
    if (login === undefined) return false;
    const step = answer.status === 200 ? login.handleAnswer(answer) : undefined;
    if (step !== undefined) return this.#take(nowMs, login, step);
    this.#loginBackoff ??= new Backoff(this.#random);
    const delayMs = answerDelayMs(answer, this.#loginBackoff, this.clock.unixMs(nowMs), this.#random);
    this.#repeat(nowMs, answerError(answer, 'the registration', this.#authKey), delayMs);
    return false;
  }

  /** There was no answer. */
  handleFailure(nowMs: number, error: NetError): void {
    this.#loginBackoff ??= new Backoff(this.#random);
    this.#repeat(nowMs, error, this.#loginBackoff.next());
  }

  /** The coordinator does not know this device (any more): it registers again, not before `dueMs`. */
  handleUnknown(dueMs: number): void {
    this.isJoined = false;
    this.#self = undefined;
    this.#dueMs = Math.max(this.#dueMs, dueMs);
  }

  /** The map stream has brought messages. */
  handleMap(nowMs: number, netmap: Netmap): void {
    const { self } = netmap;
    if (self === undefined || !this.isJoined) return;
    this.clock.setControlTime(nowMs, netmap.controlTimeMs);
    const key = this.keys.current;
    if (this.#self !== self) this.clock.setExpiry(nowMs, self.keyExpiry, key !== this.#selfKey);
    this.#self = self;
    this.#selfKey = key;
  }

  /** Where the device stands, and stood before. `hasKey`: the coordinator's key is known. */
  state(nowMs: number, before: ControlState, hasKey: boolean): ControlState {
    const isKept = this.isJoined && this.#self === undefined && before === 'running';
    if (this.#needsLogin) return 'needs-login';
    if (isKept) return 'running';
    if (!this.isJoined || this.#self === undefined) return hasKey || before !== 'starting' ? 'connecting' : 'starting';
    if (this.#isExpired(nowMs)) return 'expired';
    return this.#self.isAuthorized ? 'running' : 'needs-approval';
  }

  /** When {@link choose} has something to do without anything else happening. */
  nextTimeout(): number {
    if (this.#login === undefined && this.#purpose !== undefined) return this.#beginMs(this.#purpose);
    if (this.#self === undefined || this.#purpose === 'renew') return Infinity;
    const { expiresUnixMs, rotatesUnixMs } = this.clock;
    const isRotating = this.#login !== undefined;
    return this.clock.dueMs(isRotating ? expiresUnixMs : Math.min(expiresUnixMs, rotatesUnixMs));
  }

  #purposeAt(nowMs: number): LoginPurpose | undefined {
    if (!this.isJoined) return 'join';
    if (this.#isExpired(nowMs)) return 'renew';
    return this.#self !== undefined && this.clock.isRotationDue(nowMs) ? 'rotate' : undefined;
  }

  /** When a registration may begin. */
  #beginMs(purpose: LoginPurpose): number {
    if (purpose === 'renew') return Math.max(this.#dueMs, this.#renewDueMs); // CHECK: control-renew-rate
    return this.#dueMs;
  }

  #isExpired(nowMs: number): boolean {
    return this.#self !== undefined && (this.#self.isExpired || this.clock.isExpired(nowMs));
  }

  #common(Hostinfo: WireHostinfo): WireRegisterRequest {
    return { Version: CAPABILITY_VERSION, NodeKey: '', Hostinfo, ...(this.#isEphemeral ? { Ephemeral: true } : {}) };
  }

  #offerKey(purpose: LoginPurpose): void {
    const key = this.keys.offer(this.#random);
    const reason = purpose === 'rotate' ? 'expiring' : 'expired';
    if (key !== undefined) this.#events.push({ type: 'node-key', key, reason });
  }

  #repeat(nowMs: number, error: NetError, retryInMs: number): void {
    this.#dueMs = nowMs + retryInMs;
    this.#events.push({ type: 'error', error, retryInMs });
  }

  #take(nowMs: number, login: Login, step: LoginStep): boolean {
    const isAgain = step.type === 'pending' || (step.type === 'auth-url' && !step.isFirst);
    this.#dueMs = nowMs;
    this.#loginBackoff = isAgain ? (this.#loginBackoff ?? new Backoff(this.#random)) : undefined;
    if (isAgain) this.#dueMs += this.#loginBackoff!.next(); // CHECK: control-page-rate
    if (step.type === 'done') return this.#finish(nowMs, login.purpose, step.isNewKey);
    if (step.type === 'auth-url') {
      this.#needsLogin = true;
      this.#events.push({ type: 'auth-url', url: step.url });
    } else if (step.type === 'person') {
      this.#login = undefined;
      this.#events.push({ type: 'expiring', unixMs: this.clock.expiresUnixMs });
      this.clock.plan(nowMs);
    } else if (step.type === 'refused') {
      this.#login = undefined;
      this.#refuse(nowMs, login.purpose, shownText(step.text, this.#authKey));
    }
    return false;
  }

  #finish(nowMs: number, purpose: LoginPurpose, isNewKey: boolean): boolean {
    this.#login = undefined;
    // A coordinator that calls every key expired must not have a new one made, and stored, with every message.
    if (purpose === 'renew') {
      if (nowMs - this.#renewedMs >= GOOD_LIFE_MS) this.#renewedBackoff = undefined;
      this.#renewedBackoff ??= new Backoff(this.#random, RENEWED_FIRST_MS, RENEWED_MAX_MS);
      this.#renewedMs = nowMs;
      this.#renewDueMs = nowMs + this.#renewedBackoff.next();
    }
    this.isJoined = true;
    this.#needsLogin = false;
    this.#self = undefined;
    this.#refusedBackoff = undefined;
    if (isNewKey) this.#events.push({ type: 'node-key-adopted', publicKey: this.keys.publicOf(this.keys.current) });
    return isNewKey;
  }

  #refuse(nowMs: number, purpose: LoginPurpose, message: string): void {
    if (purpose === 'rotate') {
      this.clock.plan(nowMs);
      const error = new NetError('ERR_LOGIN', `the coordinator does not renew the node key: ${message}`);
      this.#events.push({ type: 'error', error, retryInMs: this.clock.dueMs(this.clock.rotatesUnixMs) - nowMs });
      return;
    }
    this.#refusedBackoff ??= new Backoff(this.#random, REFUSED_FIRST_MS, REFUSED_MAX_MS);
    const retryInMs = this.#refusedBackoff.next();
    this.#dueMs = nowMs + retryInMs;
    this.#needsLogin = true;
    this.#events.push({ type: 'login-failed', message, retryInMs });
  }
}
