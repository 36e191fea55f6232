/**
 * The friendly face: one member of a private network, with `listen`, `dial`, `udp`, `serve` and `fetch` as promises.
 *
 * A mote owns one device, one driver and one UDP socket. Everything that the network does wrong arrives as an event
 * or as the NetError of the call that waits; everything that the caller does wrong throws at once.
 */
import { formatAddress, formatEndpoint, formatPrefix, parseAddress } from '../base/address.ts';
import { fromBase64, toBase64 } from '../base/bytes.ts';
import { NetError } from '../base/errors.ts';
import type { CryptoSuite } from '../crypto/suite.ts';
import { Device, type DeviceEvent, type DeviceParts } from '../device/device.ts';
import { Driver, loadTimestampFloor } from '../driver.ts';
import { READY_ACCEPTED, type TcpConnection, type TcpListener } from '../netstack/tcp.ts';
import type { UdpSocket as UdpMachine } from '../netstack/udp.ts';
import type { StackEvent } from '../netstack/stack.ts';
import type { Host, Timer } from '../ports.ts';
import type { Timers } from './byte-stream.ts';
import { Connection, type ConnectionContext } from './connection.ts';
import { EndpointKeeper } from './endpoint-keeper.ts';
import type { RuntimeRequestInit, RuntimeRequestInput, RuntimeResponse } from './fetch-types.ts';
import { HttpClient } from './http-client.ts';
import { HttpServer } from './http-server.ts';
import type { HttpHandler, HttpServerOptions } from './http-server-options.ts';
import type { MoteEvent } from './events.ts';
import { HTTP_LIMITS_SMALL } from './http-syntax.ts';
import { closedError, DEFAULT_BACKLOG, Listener } from './listener.ts';
import {
  checkAllowedIPs,
  checkEndpoint,
  checkMoteOptions,
  checkPeerOptions,
  duration,
  integer,
  key,
  type MoteOptions,
  type MoteSettings,
  mustBeFunction,
  type PeerOptions,
  type PeerSettings,
} from './options.ts';
import { Pings } from './pings.ts';
import { type MoteStatus, peerStatuses } from './status.ts';
import { UdpSocket } from './udp-socket.ts';

/** How long `dial` waits unless told. */
const DIAL_TIMEOUT_MS = 30_000;
/** Sizes of HTTP on the small preset. */
const HTTP_SERVER_SMALL = /* @__PURE__ */ Object.freeze({ limits: HTTP_LIMITS_SMALL, maxConnections: 8 });
const HTTP_CLIENT_SMALL = /* @__PURE__ */ Object.freeze({ limits: HTTP_LIMITS_SMALL, maxIdlePerHost: 1, maxIdle: 2 });
/** How long `ping` waits unless told. */
const PING_TIMEOUT_MS = 5_000;

/** The part of AbortSignal that the library uses, so that any look-alike serves. */
export interface AbortSignalLike {
  readonly aborted: boolean;
  addEventListener(type: 'abort', listener: () => void): void;
  removeEventListener(type: 'abort', listener: () => void): void;
}

/** An HTTP server inside the tunnel. Made by `serve`. */
export interface MoteServer {
  /** The port inside the tunnel. */
  readonly port: number;
  /** Stops accepting and lets requests under way finish for `graceMs` (5,000); then resets what is left. */
  close(graceMs?: number): Promise<void>;
}

/** One member of a private network. */
export class Mote {
  /** Base64 of the own public key. */
  readonly publicKey: string;
  /** Own addresses inside the tunnel, `10.0.0.2/24`. */
  readonly addresses: readonly string[];
  readonly #host: Host;
  readonly #suite: CryptoSuite;
  readonly #settings: MoteSettings;
  readonly #device: Device;
  readonly #driver: Driver;
  readonly #endpoints: EndpointKeeper;
  readonly #context: ConnectionContext;
  readonly #connections = new Map<TcpConnection, Connection>();
  readonly #listeners = new Map<TcpListener, Listener>();
  readonly #udpSockets = new Map<UdpMachine, UdpSocket>();
  readonly #pings = new Pings((ms, run) => this.#delay(ms, run));
  readonly #watchers = new Set<(event: MoteEvent) => void>();
  readonly #timers = new Set<Timer>();
  #http: HttpClient | undefined;
  /** Whether the private key came as text: then this copy of it is erased at the end. */
  readonly #isKeyOwn: boolean;
  #isClosed = false;

  private constructor(
    host: Host,
    suite: CryptoSuite,
    settings: MoteSettings,
    options: MoteOptions,
    parts: DeviceParts,
  ) {
    const timestampFloor = loadTimestampFloor(options.store);
    this.#host = host;
    if (options.onEvent !== undefined) this.#watchers.add(options.onEvent);
    this.#suite = suite;
    this.#settings = settings;
    this.#isKeyOwn = options.privateKey !== settings.privateKey;
    this.#device = new Device({
      nowMs: host.clock.nowMs(),
      unixMs: host.clock.unixMs(),
      random: host.random,
      suite,
      privateKey: settings.privateKey,
      addresses: settings.addresses,
      mtu: settings.mtu,
      preset: settings.preset,
      ...(timestampFloor === undefined ? {} : { timestampFloor }),
      parts,
    });
    this.#driver = new Driver(
      host,
      this.#device,
      { event: event => this.#handleEvent(event), failed: error => this.#report(error) },
      options.store,
    );
    this.#context = { driver: this.#driver, delay: (ms, run) => this.#delay(ms, run) };
    this.#endpoints = new EndpointKeeper({
      resolve: name => host.resolve(name),
      delay: (ms, run) => this.#delay(ms, run),
      found: (id, endpoint) => {
        this.#device.tunnel.updatePeer(this.#driver.nowMs(), id, { endpoint });
        this.#driver.kick();
      },
      failed: error => this.#report(error),
    });
    this.publicKey = toBase64(this.#device.tunnel.publicKey);
    this.addresses = Object.freeze(settings.addresses.map(formatPrefix));
  }

  /**
   * Brings a mote up: checks the options, opens the UDP socket, adds the peers. Each runtime's `up` calls this with its
   * host, its fastest suite and all optional parts.
   * Throws TypeError or RangeError for a mistake in the options; rejects with NetError `ERR_ADDRESS_IN_USE` or
   * `ERR_ADDRESS_UNAVAILABLE` when the port cannot be had, `ERR_STORE` when the store cannot be read.
   */
  static async up(host: Host, suite: CryptoSuite, options: MoteOptions, parts: DeviceParts = {}): Promise<Mote> {
    const settings = checkMoteOptions(options);
    const mote = new Mote(host, suite, settings, options, parts);
    await mote.#driver.open({
      port: settings.listenPort,
      ...(settings.listenAddress === undefined ? {} : { address: settings.listenAddress }),
    });
    try {
      for (const peer of settings.peers) mote.#addPeer(peer);
    } catch (error) {
      await mote.close();
      throw error;
    }
    return mote;
  }

  /** The UDP port outside that is really in use; 0 once closed. */
  get listenPort(): number {
    return this.#driver.local[0]?.port ?? 0;
  }

  /**
   * Listens on a TCP port inside the tunnel. `address` limits it to one own address; `backlog` (128) is how many
   * accepted connections may wait. Rejects with NetError `ERR_ADDRESS_IN_USE`.
   */
  async listen(port: number, options: { address?: string; backlog?: number } = {}): Promise<Listener> {
    this.#mustBeOpen();
    integer(port, 'port', 1, 65535);
    const backlog = integer(options.backlog ?? DEFAULT_BACKLOG, 'backlog', 1, 65535);
    const address = options.address === undefined ? undefined : this.#ownAddress(options.address);
    const tcp = this.#device.stack.tcpListen(port, { backlog, ...(address === undefined ? {} : { address }) });
    const listener = new Listener(tcp, options.address, backlog, () => {
      this.#listeners.delete(tcp);
      tcp.close();
      this.#driver.kick();
    });
    this.#listeners.set(tcp, listener);
    return listener;
  }

  /**
   * Opens a TCP connection to an address inside the tunnel, or to a name of the `hosts` option. Rejects with NetError:
   * `ERR_CONNECTION_REFUSED`, `ERR_TIMED_OUT` (after `timeoutMs`, 30 s), `ERR_UNREACHABLE` (no peer carries it),
   * `ERR_NAME_NOT_FOUND`, `ERR_ABORTED` (by the signal), `ERR_LIMIT`.
   */
  async dial(
    host: string,
    port: number,
    options: { signal?: AbortSignalLike; timeoutMs?: number; localPort?: number } = {},
  ): Promise<Connection> {
    this.#mustBeOpen();
    integer(port, 'port', 1, 65535);
    const { signal, localPort } = options;
    const timeoutMs = duration(options.timeoutMs ?? DIAL_TIMEOUT_MS, 'timeoutMs');
    if (signal !== undefined) mustBeFunction(signal.addEventListener, 'signal.addEventListener');
    if (signal !== undefined) mustBeFunction(signal.removeEventListener, 'signal.removeEventListener');
    const remote = this.#lookUp(host);
    if (signal?.aborted === true) throw new NetError('ERR_ABORTED', `the dial to ${host} was aborted before it began`);
    const tcp = this.#device.stack.tcpConnect(
      this.#driver.nowMs(),
      remote,
      port,
      localPort === undefined ? {} : { localPort },
    );
    return new Promise((resolve, reject) => {
      let givenUp: NetError | undefined;
      const connection = new Connection(this.#context, tcp, error => {
        cancelTimeout();
        signal?.removeEventListener('abort', onAbort);
        if (error === undefined) resolve(connection);
        else reject(givenUp ?? error);
      });
      const giveUp = (error: NetError) => {
        givenUp = error;
        connection.abort();
      };
      const onAbort = () => giveUp(new NetError('ERR_ABORTED', `the dial to ${host} port ${port} was aborted`));
      const cancelTimeout = this.#delay(timeoutMs, () =>
        giveUp(new NetError('ERR_TIMED_OUT', `${host} port ${port} did not answer within ${timeoutMs} ms`)),
      );
      signal?.addEventListener('abort', onAbort);
      this.#adopt(tcp, connection);
      this.#driver.kick();
    });
  }

  /** Opens a UDP socket inside the tunnel; without a port a random free one. Rejects with NetError `ERR_ADDRESS_IN_USE`. */
  async udp(port = 0): Promise<UdpSocket> {
    this.#mustBeOpen();
    const machine = this.#device.stack.udpBind(integer(port, 'port', 0, 65535));
    const socket = new UdpSocket(this.#driver, machine, () => {
      this.#udpSockets.delete(machine);
    });
    this.#udpSockets.set(machine, socket);
    return socket;
  }

  /**
   * Serves HTTP/1.1 inside the tunnel on `port` (80): the handler takes a Request and returns a Response. Rejects with
   * NetError `ERR_ADDRESS_IN_USE`, and with TypeError where the runtime has no Fetch API.
   */
  async serve(handler: HttpHandler, options: HttpServerOptions & { port?: number } = {}): Promise<MoteServer> {
    const { port = 80, ...rest } = options;
    const { timers } = this;
    const sizes = this.#settings.preset === 'small' ? HTTP_SERVER_SMALL : {};
    const server = new HttpServer(handler, { timers, unixMs: () => this.#host.clock.unixMs(), ...sizes, ...rest });
    const listener = await this.listen(port);
    void server.listen(listener);
    return { port, close: graceMs => server.close(graceMs) };
  }

  /**
   * The Fetch API's `fetch` inside the tunnel, for `http:` URLs with an address or a name of the `hosts` option.
   * Rejects as `fetch` does, and with NetError as {@link dial} does.
   */
  async fetch(input: RuntimeRequestInput, init?: RuntimeRequestInit): Promise<RuntimeResponse> {
    this.#mustBeOpen();
    this.#http ??= new HttpClient({
      connect: ({ host, port }, signal) => this.dial(host, port, signal === undefined ? {} : { signal }),
      timers: this.timers,
      ...(this.#settings.preset === 'small' ? HTTP_CLIENT_SMALL : {}),
      secureAdvice: this.#host.secureFetchAdvice ?? 'speak TLS over a connection of dial()',
    });
    return this.#http.fetch(input, init);
  }

  /** Timers of the host for protocols on top; they end with the mote. */
  get timers(): Timers {
    return { after: (ms, run) => this.#delay(ms, run) };
  }

  /** Sends an ICMP echo request inside the tunnel; resolves with the round-trip time in milliseconds. */
  async ping(host: string, options: { timeoutMs?: number; payloadBytes?: number } = {}): Promise<number> {
    this.#mustBeOpen();
    const remote = this.#lookUp(host);
    const timeoutMs = duration(options.timeoutMs ?? PING_TIMEOUT_MS, 'timeoutMs');
    const payloadBytes = integer(options.payloadBytes ?? 56, 'payloadBytes', 0, 65_000);
    return this.#pings.start(host, timeoutMs, (id, sequence) => {
      this.#device.stack.ping(this.#driver.nowMs(), remote, id, sequence, payloadBytes);
      this.#driver.kick();
    });
  }

  /** Adds a peer while running. Throws RangeError for a duplicate or a mistake. */
  addPeer(peer: PeerOptions): void {
    this.#mustBeOpen();
    this.#addPeer(checkPeerOptions(peer));
    this.#driver.kick();
  }

  /** Changes some settings of a peer while running. Throws RangeError when there is none with this key. */
  updatePeer(publicKey: string, changes: Partial<Omit<PeerOptions, 'publicKey'>>): void {
    this.#mustBeOpen();
    const id = this.#peerId(publicKey);
    const endpoint = changes.endpoint === undefined ? undefined : checkEndpoint(changes.endpoint);
    this.#device.tunnel.updatePeer(this.#driver.nowMs(), id, {
      ...(changes.presharedKey === undefined ? {} : { presharedKey: key(changes.presharedKey, 'presharedKey') }),
      ...(changes.allowedIPs === undefined ? {} : { allowedIPs: checkAllowedIPs(changes.allowedIPs) }),
      ...(changes.persistentKeepaliveMs === undefined
        ? {}
        : { persistentKeepaliveMs: integer(changes.persistentKeepaliveMs, 'persistentKeepaliveMs', 0, 65_535_000) }),
    });
    if (endpoint !== undefined) this.#endpoints.add(id, endpoint);
    this.#driver.kick();
  }

  /** Removes a peer and erases its keys. Throws RangeError when there is none with this key. */
  removePeer(publicKey: string): void {
    this.#mustBeOpen();
    const id = this.#peerId(publicKey);
    this.#endpoints.remove(id);
    this.#device.removePeer(this.#driver.nowMs(), id);
    this.#driver.kick();
  }

  /**
   * Calls `watcher` for every event until the returned function is called. What it throws stops neither the mote nor
   * other watchers: the runtime hears of it a moment later, as of any uncaught error.
   */
  on(watcher: (event: MoteEvent) => void): () => void {
    mustBeFunction(watcher, 'watcher');
    this.#watchers.add(watcher);
    return () => {
      this.#watchers.delete(watcher);
    };
  }

  /** A plain snapshot: addresses, peers, counters, drops by reason. */
  status(): MoteStatus {
    return {
      publicKey: this.publicKey,
      addresses: this.addresses,
      listenPort: this.listenPort,
      local: this.#driver.local.map(formatEndpoint),
      mtu: this.#settings.mtu,
      suite: this.#suite.name,
      connections: this.#connections.size,
      listeners: this.#listeners.size,
      udpSockets: this.#udpSockets.size,
      drops: this.#device.drops(),
      peers: peerStatuses(this.#device),
    };
  }

  /** Resets what is open, closes the socket, erases the session keys. Safe to call twice. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#http?.close();
    for (const listener of [...this.#listeners.values()]) listener.close();
    for (const socket of [...this.#udpSockets.values()]) socket.close();
    for (const connection of [...this.#connections.values()]) connection.abort();
    this.#isClosed = true;
    this.#endpoints.close();
    this.#pings.close(closedError('the mote'));
    this.#driver.close();
    for (const timer of this.#timers) timer.cancel();
    this.#device.close(this.#driver.nowMs());
    if (this.#isKeyOwn) this.#settings.privateKey.wipe();
  }

  #addPeer(peer: PeerSettings): void {
    const id = this.#device.tunnel.addPeer(this.#driver.nowMs(), {
      publicKey: peer.publicKey,
      allowedIPs: peer.allowedIPs,
      persistentKeepaliveMs: peer.persistentKeepaliveMs,
      ...(peer.presharedKey === undefined ? {} : { presharedKey: peer.presharedKey }),
    });
    // The tunnel has its own copy, which goes with the peer.
    peer.presharedKey?.fill(0);
    if (peer.endpoint !== undefined) this.#endpoints.add(id, peer.endpoint);
  }

  #peerId(publicKey: string): number {
    const bytes = fromBase64(publicKey);
    const id = bytes?.length === 32 ? this.#device.tunnel.findPeer(bytes) : undefined;
    if (id === undefined)
      throw new RangeError(`"publicKey" expected the key of a peer, got '${publicKey.slice(0, 44)}'`);
    return id;
  }

  #ownAddress(text: string): Uint8Array {
    const bytes = parseAddress(text);
    const isOwn = bytes !== undefined && this.addresses.some(own => own.startsWith(`${formatAddress(bytes)}/`));
    if (!isOwn) throw new RangeError(`"address" expected one of ${this.addresses.join(', ')}, got '${text}'`);
    return bytes;
  }

  #lookUp(host: string): Uint8Array {
    const bare = host.startsWith('[') && host.endsWith(']') ? host.slice(1, -1) : host;
    const address = parseAddress(bare) ?? this.#settings.hosts.get(bare.toLowerCase());
    if (address === undefined)
      throw new NetError('ERR_NAME_NOT_FOUND', `'${host}' is neither an address nor a name of the "hosts" option`);
    return address;
  }

  #mustBeOpen(): void {
    if (this.#isClosed) throw closedError('the mote');
  }

  #adopt(tcp: TcpConnection, connection: Connection): void {
    this.#connections.set(tcp, connection);
    void connection.closed.then(() => this.#connections.delete(tcp));
  }

  /** Runs once after `ms`, unless the returned function is called or the mote is closed before. */
  #delay(ms: number, run: () => void): () => void {
    const timer = this.#host.createTimer(() => {
      this.#timers.delete(timer);
      run();
    });
    this.#timers.add(timer);
    timer.arm(this.#host.clock.nowMs() + ms);
    return () => {
      this.#timers.delete(timer);
      timer.cancel();
    };
  }

  #report(error: NetError): void {
    this.#emit({ type: 'error', code: error.code, message: error.message });
  }

  #emit(event: MoteEvent): void {
    for (const watcher of [...this.#watchers]) {
      try {
        watcher(event);
      } catch (error) {
        this.#host.defer(() => {
          throw error;
        });
      }
    }
  }

  #handleEvent(event: DeviceEvent): void {
    switch (event.type) {
      case 'tcp':
        return this.#handleTcp(event.connection);
      case 'udp':
        return this.#udpSockets.get(event.socket)?.handleReadable();
      case 'udp-error': {
        const to = formatEndpoint(event.remote);
        return this.#udpSockets
          .get(event.socket)
          ?.handleError(new NetError(event.code, `${to} does not take datagrams`));
      }
      case 'echo-reply':
      case 'echo-error':
        return this.#pings.handleEcho(event);
      default:
        return this.#handlePeerEvent(event);
    }
  }

  #handleTcp(tcp: TcpConnection): void {
    const ready = tcp.takeReady();
    let connection = this.#connections.get(tcp);
    if (connection === undefined && (ready & READY_ACCEPTED) !== 0 && tcp.listener !== undefined) {
      const listener = this.#listeners.get(tcp.listener);
      connection = new Connection(this.#context, tcp);
      this.#adopt(tcp, connection);
      if (listener === undefined) connection.abort();
      else listener.handleConnection(connection);
    }
    connection?.handleReady(ready);
  }

  #handlePeerEvent(event: Exclude<DeviceEvent, { type: StackEvent['type'] }>): void {
    const publicKey = toBase64(this.#device.tunnel.peerStatus(event.peer).publicKey);
    switch (event.type) {
      case 'handshake':
        return this.#emit({ type: 'handshake', publicKey, isInitiator: event.isInitiator });
      case 'gave-up':
        this.#endpoints.refresh(event.peer);
        return this.#emit({ type: 'gave-up', publicKey });
      case 'endpoint':
        return this.#emit({ type: 'endpoint', publicKey, endpoint: formatEndpoint(event.endpoint) });
      case 'session-expired':
        return this.#emit({ type: 'session-expired', publicKey });
    }
  }
}
