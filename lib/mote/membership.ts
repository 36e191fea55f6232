/**
 * The tailnet side of a mote: joining as a promise, news as events, who has an address, leaving.
 *
 * Left out: everything that packets need, which is the device's.
 */
import { formatAddress, formatEndpoint } from '../base/address.ts';
import { toBase64 } from '../base/bytes.ts';
import { NetError } from '../base/errors.ts';
import type { SecretKey } from '../crypto/keys.ts';
import type { Device } from '../device/device.ts';
import type { NetcheckReport, Tailnet, TailnetEvent } from '../device/tailnet.ts';
import type { Driver } from '../driver.ts';
import { type NetcheckStatus, netcheckStatus } from '../netcheck/summary.ts';
import type { Host, Store } from '../ports.ts';
import type { MoteEvent } from './events.ts';
import { forgetNodeKey, promoteNodeKey, saveNextNodeKey } from './identity.ts';
import { keepSessions, MAX_SNAPSHOT_BYTES, removeSnapshot, saveSnapshot } from './snapshot-store.ts';
import type { PathPing, TailnetPeerStatus, TailnetStatus } from './status.ts';
import type { Whois } from './whois.ts';

/** How long `logout` waits for the coordinator. */
const LOGOUT_TIMEOUT_MS = 10_000;
/** How long a new member waits for its home relay before it counts as joined without. */
const HOME_WAIT_MS = 5000;

/** What a membership needs of its mote. */
export interface MembershipContext {
  readonly host: Pick<Host, 'retained'>;
  readonly device: Device;
  readonly driver: Driver;
  readonly store: Store | undefined;
  delay(ms: number, run: () => void): () => void;
  emit(event: MoteEvent): void;
}

interface Waiter {
  readonly resolve: () => void;
  readonly reject: (error: NetError) => void;
}

/** One membership. */
export class Membership {
  readonly #context: MembershipContext;
  readonly #tailnet: Tailnet;
  /** Address of the coordinator, as it was given. */
  readonly #control: string;
  /** Leave a snapshot in the store at the end, and sessions in what the host retains. */
  readonly #resumes: boolean;
  readonly #joins: Waiter[] = [];
  readonly #logouts: Waiter[] = [];
  #hasNetmap = false;
  #isWaiting = false;
  #hasWaited = false;
  readonly #reports: ((report: NetcheckReport) => void)[] = [];
  /** Pings that wait, and why relays could not be reached, by region; made when there is one. */
  #pings: Map<number, (answer: PathPing) => void> | undefined;
  #relayErrors: Map<number, string> | undefined;
  /** Why the coordinator could not be reached when it was last tried; undefined: it could. */
  #controlError: string | undefined;
  /** The coordinator's clock less the monotonic one. */
  #controlClockMs: number | undefined;

  constructor(context: MembershipContext, tailnet: Tailnet, settings: { control: string; resumes: boolean }) {
    this.#context = context;
    this.#tailnet = tailnet;
    this.#control = settings.control;
    this.#resumes = settings.resumes;
  }

  /** Resolves when the device is a member that runs; rejects with NetError `ERR_LOGIN` when it is refused. */
  joined(): Promise<void> {
    if (this.#isRunning) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.#joins.push({ resolve, reject });
    });
  }

  /** Gives the membership up: the coordinator forgets the node key, and so does the store. */
  async logout(): Promise<void> {
    const { driver, store } = this.#context;
    const tailnet = this.#tailnet;
    if (tailnet.state !== 'logged-out') {
      await new Promise<void>((resolve, reject) => {
        const cancel = this.#context.delay(LOGOUT_TIMEOUT_MS, () =>
          reject(
            new NetError('ERR_TIMED_OUT', 'the coordinator did not answer the logout: try again when it is there'),
          ),
        );
        const settle = (settled: () => void) => () => {
          cancel();
          settled();
        };
        this.#logouts.push({ resolve: settle(resolve), reject });
        tailnet.client.logout(driver.nowMs());
        driver.kick();
      });
    }
    forgetNodeKey(store);
  }

  /** The mote closes: who waits is told. */
  close(error: NetError): void {
    for (const { reject } of this.#joins.splice(0)) reject(error);
    for (const { reject } of this.#logouts.splice(0)) reject(error);
    this.#leaveSnapshot();
  }

  /** After the last packet: sessions that the next run can go on with are kept, where that is safe. */
  sleep(): void {
    const { device, driver, host } = this.#context;
    const { retained } = host;
    if (!this.#resumes || retained === undefined) return;
    this.#stored('sessions', () => keepSessions(retained, device.tunnel.takeSessions(driver.nowMs())));
  }

  /** What the next run goes on from. A member that is one no more leaves nothing. */
  #leaveSnapshot(): void {
    const { driver, store } = this.#context;
    const tailnet = this.#tailnet;
    if (!this.#resumes || store === undefined) return;
    const isMember = tailnet.state === 'running' || tailnet.isGoingOn;
    const bytes = isMember ? tailnet.snapshot(driver.local[0]?.port ?? 0, MAX_SNAPSHOT_BYTES) : undefined;
    this.#stored('a snapshot', () => (bytes === undefined ? removeSnapshot(store) : saveSnapshot(store, bytes)));
  }

  /** The best address of a name, or undefined. */
  resolve(name: string): Uint8Array | undefined {
    return this.#tailnet.resolve(name)?.[0];
  }

  /** Who has an address of 4 or 16 bytes. */
  whois(address: Uint8Array): Whois | undefined {
    const found = this.#tailnet.whois(address);
    if (found === undefined) return undefined;
    const { peer, user, capabilities } = found;
    return Object.freeze({
      publicKey: toBase64(peer.key),
      id: peer.id,
      name: peer.name.replace(/\.$/, ''),
      addresses: Object.freeze(peer.addresses.map(({ bytes }) => formatAddress(bytes))),
      user: user === undefined ? undefined : { id: user.ID, loginName: user.LoginName, displayName: user.DisplayName },
      tags: Object.freeze([...peer.tags]),
      capabilities: Object.freeze([...capabilities]),
    });
  }

  /** A snapshot for people and programs. `unixMs` is what this machine's wall clock says. */
  status(unixMs: number): TailnetStatus {
    const { device, driver } = this.#context;
    const tailnet = this.#tailnet;
    const { netmap } = tailnet;
    const peers = [];
    for (let slot = 0; slot < netmap.peers.count; slot++) {
      const peer = netmap.peers.peerAt(slot);
      const tunnelPeer = tailnet.tunnelPeer(peer.id);
      const traffic = tunnelPeer === undefined ? undefined : device.tunnel.peerStatus(tunnelPeer);
      const user = netmap.users.get(peer.user)?.LoginName;
      peers.push({
        id: peer.id,
        name: peer.name.replace(/\.$/, ''),
        publicKey: toBase64(peer.key),
        addresses: peer.addresses.map(({ bytes }) => formatAddress(bytes)),
        isOnline: peer.isOnline,
        isExpired: peer.isExpired,
        user,
        tags: [...peer.tags],
        relay: netmap.regions.codeOf(peer.homeRegion),
        ...this.#pathOf(tunnelPeer),
        rxBytes: traffic?.rxBytes ?? 0,
        txBytes: traffic?.txBytes ?? 0,
        lastHandshakeUnixMs: traffic?.lastHandshakeUnixMs,
      });
    }
    return {
      control: this.#control,
      state: tailnet.state,
      name: netmap.self?.name.replace(/\.$/, '') ?? '',
      domain: netmap.domain,
      user: netmap.users.get(netmap.self?.user ?? 0)?.LoginName,
      tags: [...(netmap.self?.tags ?? [])],
      keyExpiryUnixMs: (netmap.self?.keyExpiry ?? 0) * 1000,
      health: [...netmap.health],
      inboundRules: netmap.filterRules.filter(({ DstPorts = [] }) => DstPorts.length > 0).length,
      controlError: this.#controlError,
      clockAheadMs: this.#controlClockMs === undefined ? undefined : unixMs - driver.nowMs() - this.#controlClockMs,
      relays: tailnet.relays().map(relay => {
        const error = relay.isConnected ? undefined : this.#relayErrors?.get(relay.region);
        return error === undefined ? relay : { ...relay, error };
      }),
      peers,
    };
  }

  /** How packets reach a peer of the tunnel. */
  #pathOf(tunnelPeer: number | undefined): Pick<TailnetPeerStatus, 'path' | 'endpoint' | 'latencyMs' | 'why'> {
    if (tunnelPeer === undefined) return { path: 'idle' };
    const { endpoint, latencyMs, why } = this.#tailnet.paths.disco.status(tunnelPeer, this.#context.driver.nowMs());
    if (endpoint === undefined) return { path: 'relay', why };
    return { path: 'direct', endpoint: formatEndpoint(endpoint), ...(latencyMs === undefined ? {} : { latencyMs }) };
  }

  /** A look at the network, taken now. */
  async netcheck(): Promise<NetcheckStatus> {
    const { driver } = this.#context;
    const tailnet = this.#tailnet;
    const report = await new Promise<NetcheckReport>(resolve => {
      this.#reports.push(resolve);
      tailnet.paths.check(driver.nowMs());
      driver.kick();
    });
    return netcheckStatus(report, tailnet.netmap.regions, tailnet.homeRegion);
  }

  /** Pings a peer beneath the tunnel, on all of its paths: the first answer and the path that it came by. */
  async pingPath(address: Uint8Array, timeoutMs: number): Promise<PathPing> {
    const { driver } = this.#context;
    const ping = this.#tailnet.ping(driver.nowMs(), address);
    if (ping === undefined) throw new NetError('ERR_UNREACHABLE', 'no device of this tailnet has the address');
    driver.kick();
    return new Promise((resolve, reject) => {
      const cancel = this.#context.delay(timeoutMs, () => {
        this.#pings?.delete(ping);
        reject(new NetError('ERR_TIMED_OUT', `no answer within ${timeoutMs} ms on any path`));
      });
      this.#pings ??= new Map();
      this.#pings.set(ping, answer => {
        cancel();
        this.#pings?.delete(ping);
        resolve(answer);
      });
    });
  }

  /** News from the device. */
  handleEvent(event: TailnetEvent): void {
    switch (event.type) {
      case 'state':
        if (event.state !== 'expired') this.#controlError = undefined;
        this.#context.emit({ type: 'state', state: event.state });
        break;
      case 'auth-url':
      case 'open-url':
        this.#controlError = undefined;
        this.#context.emit({ type: event.type, url: event.url });
        break;
      case 'netmap':
        this.#hasNetmap = true;
        if (event.changes.isFirst) this.#noteStream();
        this.#context.emit({ type: 'netmap', peers: this.#tailnet.netmap.peers.count });
        break;
      case 'home':
        this.#context.emit({ type: 'home', relay: this.#tailnet.netmap.regions.codeOf(event.region) });
        break;
      case 'node-key':
        return this.#adopt(event.key);
      case 'key-changed':
        this.#stored('a new node key', () => promoteNodeKey(this.#context.store, event.nodeKey));
        this.#context.emit({ type: 'key-changed', publicKey: toBase64(this.#context.device.tunnel.publicKey) });
        break;
      case 'login-failed':
        return this.#refused(event.message);
      case 'logged-out':
        for (const { resolve } of this.#logouts.splice(0)) resolve();
        break;
      case 'path':
        this.#tellPath(event);
        break;
      case 'report':
        for (const resolve of this.#reports.splice(0)) resolve(event.report);
        break;
      case 'pong':
        this.#pings?.get(event.ping)?.(this.#pathPing(event));
        break;
      case 'expiring':
        this.#context.emit({ type: 'expiring', unixMs: event.unixMs });
        break;
      case 'error':
      case 'relay-error': {
        const { message } = event.error;
        const code = event.error.code === 'ERR_CLOSED' ? 'ERR_CONNECTION_RESET' : event.error.code; // theirs, not our socket
        if (event.type === 'error') this.#controlError = message;
        else this.#noteRelayError(event.region, message);
        this.#context.emit({
          type: 'error',
          code,
          message: `${message}; next try in ${Math.ceil(event.retryInMs / 1000)} s`,
        });
        break;
      }
    }
    if (this.#joins.length > 0 && this.#isRunning) this.#settleJoins();
  }

  #noteRelayError(region: number, message: string): void {
    this.#relayErrors ??= new Map();
    this.#relayErrors.set(region, message);
  }

  /** The coordinator answers: the first message of a map stream, which says what time it is. */
  #noteStream(): void {
    const { controlTimeMs } = this.#tailnet.netmap;
    this.#controlError = undefined;
    if (controlTimeMs > 0) this.#controlClockMs = controlTimeMs - this.#context.driver.nowMs();
  }

  /** The peer may have left the tunnel since. */
  #tellPath({ id, endpoint }: Extract<TailnetEvent, { type: 'path' }>): void {
    const key = this.#tailnet.peerKey(id);
    if (key === undefined) return;
    const text = endpoint === undefined ? undefined : formatEndpoint(endpoint);
    this.#context.emit({ type: 'path', publicKey: toBase64(key), endpoint: text });
  }

  #pathPing(event: Extract<TailnetEvent, { type: 'pong' }>): PathPing {
    const { latencyMs, endpoint, region } = event;
    if (endpoint !== undefined) return { path: 'direct', endpoint: formatEndpoint(endpoint), latencyMs };
    return { path: 'relay', relay: this.#tailnet.netmap.regions.codeOf(region ?? 0), latencyMs };
  }

  /** A member that peers can reach: its home relay is connected, or could not be for a while. */
  get #isRunning(): boolean {
    const tailnet = this.#tailnet;
    if (tailnet.addresses.length === 0) return false;
    if (tailnet.isGoingOn) return this.#hasNetmap;
    if (tailnet.state !== 'running') return false;
    if (tailnet.homeRegion !== 0 || tailnet.netmap.regions.size === 0 || this.#hasWaited) return true;
    if (this.#isWaiting) return false;
    this.#isWaiting = true;
    this.#context.delay(HOME_WAIT_MS, () => {
      this.#hasWaited = true;
      if (this.#isRunning) this.#settleJoins();
    });
    return false;
  }

  #settleJoins(): void {
    for (const { resolve } of this.#joins.splice(0)) resolve();
  }

  /** A new node key is durable before anything uses it; where it cannot be stored, the old one stays. */
  #adopt(key: SecretKey): void {
    const { store, driver } = this.#context;
    if (!this.#stored('a new node key', () => saveNextNodeKey(store, key))) return;
    this.#tailnet.adoptNodeKey(driver.nowMs(), key);
    driver.kick();
  }

  #stored(what: string, save: () => void): boolean {
    try {
      save();
      return true;
    } catch (cause) {
      const message = `the store did not take ${what}: ${cause instanceof Error ? cause.message : 'unknown'}`;
      this.#context.emit({ type: 'error', code: 'ERR_STORE', message });
      return false;
    }
  }

  #refused(message: string): void {
    const error = new NetError('ERR_LOGIN', `the coordinator refuses this device: ${message}`);
    this.#context.emit({ type: 'error', code: error.code, message: error.message });
    for (const { reject } of this.#joins.splice(0)) reject(error);
    for (const { reject } of this.#logouts.splice(0)) reject(error);
  }
}
