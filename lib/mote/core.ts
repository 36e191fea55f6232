/**
 * What one mote is made of, shared by its parts: device, driver, timers, watchers, and who waits for what inside the
 * tunnel. Its parts keep this one object instead of functions of their own.
 *
 * Left out: the promises that users call (base-mote.ts).
 */
import { formatEndpoint, parseAddress } from '../base/address.ts';
import { toBase64 } from '../base/bytes.ts';
import { NetError } from '../base/errors.ts';
import type { SecretKey } from '../crypto/keys.ts';
import type { CryptoSuite } from '../crypto/suite.ts';
import { Device, type DeviceEvent, type DeviceParts, type InterfaceAddress, type Preset } from '../device/device.ts';
import { Driver, type DriverEvents, loadTimestampFloor } from '../driver.ts';
import type { StackEvent } from '../netstack/stack.ts';
import { READY_ACCEPTED, type TcpConnection, type TcpListener } from '../netstack/tcp.ts';
import type { UdpSocket as UdpMachine } from '../netstack/udp.ts';
import type { Host, Store } from '../ports.ts';
import type { AbortSignalLike } from './common-options.ts';
import { ConfiguredPeers, type ConfiguredPeersContext } from './configured-peers.ts';
import { Connection, type ConnectionOwner } from './connection.ts';
import { Delays } from './delays.ts';
import type { MoteEvent } from './events.ts';
import { loadIdentity } from './identity.ts';
import { closedError, type Listener, type ListenerOwner } from './listener.ts';
import { Membership, type MembershipContext } from './membership.ts';
import { openSocket } from './open-socket.ts';
import { checkMoteOptions, type MoteOptions, type MoteSettings } from './options.ts';
import { Pings } from './pings.ts';
import { tailnetOptions } from './tailnet-options.ts';
import type { UdpSocket, UdpSocketOwner } from './udp-socket.ts';
import { Watchers } from './watchers.ts';
import { configuredWhois, type Whois } from './whois.ts';

/** One mote, for its parts. */
export class MoteCore
  implements DriverEvents, ConfiguredPeersContext, MembershipContext, ConnectionOwner, ListenerOwner, UdpSocketOwner
{
  readonly host: Host;
  readonly suite: CryptoSuite;
  readonly device: Device;
  readonly driver: Driver;
  readonly store: Store | undefined;
  readonly mtu: number;
  readonly preset: Preset;
  /** Of a mote with peers of its own; a tailnet's are the device's. */
  readonly configured: readonly InterfaceAddress[];
  readonly hosts: ReadonlyMap<string, Uint8Array> | undefined;
  /** Undefined in a tailnet. */
  readonly peers: ConfiguredPeers | undefined;
  /** Undefined without a tailnet. */
  readonly membership: Membership | undefined;
  readonly connections = new Map<TcpConnection, Connection>();
  readonly listeners = new Map<TcpListener, Listener>();
  #udpSockets: Map<UdpMachine, UdpSocket> | undefined;
  #pings: Pings | undefined;
  readonly watchers: Watchers;
  readonly #delays: Delays;
  readonly #privateKey: SecretKey;
  /** Whether the private key is this mote's own copy, which is erased at the end. */
  readonly #isKeyOwn: boolean;
  #isClosed = false;

  private constructor(
    host: Host,
    suite: CryptoSuite,
    settings: MoteSettings,
    options: MoteOptions,
    parts: DeviceParts,
  ) {
    const { store } = options;
    const timestampFloor = loadTimestampFloor(store);
    const { tailnet } = settings;
    const identity = tailnet === undefined ? undefined : loadIdentity(store, host.random);
    const privateKey = identity?.nodeKey ?? settings.privateKey!;
    this.host = host;
    this.suite = suite;
    this.store = store;
    this.mtu = settings.mtu;
    this.preset = settings.preset;
    this.configured = settings.addresses;
    this.hosts = settings.hosts.size === 0 ? undefined : settings.hosts;
    this.#delays = new Delays(host);
    this.watchers = new Watchers(host, options.onEvent);
    this.#privateKey = privateKey;
    this.#isKeyOwn = options.privateKey !== privateKey;
    this.device = new Device({
      nowMs: host.clock.nowMs(),
      unixMs: host.clock.unixMs(),
      random: host.random,
      suite,
      privateKey,
      addresses: settings.addresses,
      mtu: settings.mtu,
      preset: settings.preset,
      ...(timestampFloor === undefined ? {} : { timestampFloor }),
      parts,
      ...(tailnet === undefined || identity === undefined
        ? {}
        : { tailnet: tailnetOptions(tailnet, identity, host, suite, store) }),
    });
    this.driver = new Driver(host, this.device, this, store, tailnet?.authorities);
    if (tailnet === undefined || this.device.tailnet === undefined) this.peers = new ConfiguredPeers(this);
    else this.membership = new Membership(this, this.device.tailnet, tailnet);
  }

  /** As {@link BaseMote.up}. */
  static async up(host: Host, suite: CryptoSuite, options: MoteOptions, parts: DeviceParts): Promise<MoteCore> {
    const settings = checkMoteOptions(options);
    const core = new MoteCore(host, suite, settings, options, parts);
    await openSocket(core.driver, settings, core.device.tailnet?.resume.port ?? 0);
    try {
      for (const peer of settings.peers) core.peers?.add(peer);
      core.driver.kick();
      await core.#joined(options.signal);
    } catch (error) {
      core.close();
      throw error;
    }
    return core;
  }

  /** A tailnet's mote is up when it is a member; the signal gives it up. */
  async #joined(signal: AbortSignalLike | undefined): Promise<void> {
    const { membership } = this;
    if (membership === undefined) return;
    const onAbort = () => membership.close(new NetError('ERR_ABORTED', 'joining was aborted'));
    if (signal?.aborted === true) throw new NetError('ERR_ABORTED', 'joining was aborted before it began');
    signal?.addEventListener('abort', onAbort);
    try {
      await membership.joined();
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
  }

  get nowMs(): number {
    return this.driver.nowMs();
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Open UDP sockets; made when there is the first. */
  get udpSockets(): Map<UdpMachine, UdpSocket> {
    this.#udpSockets ??= new Map();
    return this.#udpSockets;
  }

  get udpSocketCount(): number {
    return this.#udpSockets?.size ?? 0;
  }

  /** Echo requests; made with the first. */
  get pings(): Pings {
    this.#pings ??= new Pings(this);
    return this.#pings;
  }

  /** Runs once after `ms`, unless the returned function is called or the mote is closed before. */
  delay(ms: number, run: () => void): () => void {
    return this.#delays.after(ms, run);
  }

  /** Resets what is open, closes the socket, erases the session keys. Safe to call twice. */
  close(): void {
    if (this.#isClosed) return;
    for (const listener of [...this.listeners.values()]) listener.close();
    for (const socket of [...(this.#udpSockets?.values() ?? [])]) socket.close();
    for (const connection of [...this.connections.values()]) connection.abort();
    this.#isClosed = true;
    this.peers?.close();
    this.membership?.close(closedError('the mote'));
    this.#pings?.close(closedError('the mote'));
    this.driver.close();
    this.#delays.close();
    this.membership?.sleep();
    this.device.close(this.driver.nowMs());
    if (this.#isKeyOwn) this.#privateKey.wipe();
  }

  /** The bytes of an address, of a name of the `hosts` option, or of one of the tailnet. Throws `ERR_NAME_NOT_FOUND`. */
  lookUp(host: string): Uint8Array {
    const bare = host.startsWith('[') && host.endsWith(']') ? host.slice(1, -1) : host;
    const name = bare.toLowerCase();
    const address = parseAddress(bare) ?? this.hosts?.get(name) ?? this.membership?.resolve(name);
    if (address !== undefined) return address;
    const where = this.membership === undefined ? 'name of the "hosts" option' : 'name in this tailnet';
    throw new NetError('ERR_NAME_NOT_FOUND', `'${host}' is neither an address nor a ${where}`);
  }

  /** Who has an address; RangeError for what is none. */
  whois(address: string): Whois | undefined {
    const bytes = parseAddress(address);
    if (bytes === undefined) throw new RangeError(`"address" expected an IP address, got '${address}'`);
    if (this.membership !== undefined) return this.membership.whois(bytes);
    const { tunnel } = this.device;
    const id = tunnel.peerOf(bytes);
    return id === undefined ? undefined : configuredWhois(tunnel.peerStatus(id));
  }

  forgetConnection(tcp: TcpConnection): void {
    this.connections.delete(tcp);
  }

  closeListener(tcp: TcpListener): void {
    this.listeners.delete(tcp);
    tcp.close();
    this.driver.kick();
  }

  forgetUdpSocket(socket: UdpMachine): void {
    this.#udpSockets?.delete(socket);
  }

  /** Tells the watchers. */
  emit(event: MoteEvent): void {
    this.watchers.emit(event);
  }

  failed(error: NetError): void {
    this.emit({ type: 'error', code: error.code, message: error.message });
  }

  event(event: DeviceEvent): void {
    switch (event.type) {
      case 'tcp':
        return this.#handleTcp(event.connection);
      case 'udp':
        return this.#udpSockets?.get(event.socket)?.handleReadable();
      case 'udp-error': {
        const to = formatEndpoint(event.remote);
        return this.#udpSockets
          ?.get(event.socket)
          ?.handleError(new NetError(event.code, `${to} does not take datagrams`));
      }
      case 'tailnet':
        return this.membership?.handleEvent(event.event);
      case 'echo-reply':
      case 'echo-error':
        return this.#pings?.handleEcho(event);
      default:
        return this.#handlePeerEvent(event);
    }
  }

  #handleTcp(tcp: TcpConnection): void {
    const ready = tcp.takeReady();
    let connection = this.connections.get(tcp);
    if (connection === undefined && (ready & READY_ACCEPTED) !== 0 && tcp.listener !== undefined) {
      const listener = this.listeners.get(tcp.listener);
      connection = new Connection(this, tcp);
      this.connections.set(tcp, connection);
      if (listener === undefined) connection.abort();
      else listener.handleConnection(connection);
    }
    connection?.handleReady(ready);
  }

  #handlePeerEvent(event: Exclude<DeviceEvent, { type: StackEvent['type'] | 'tailnet' }>): void {
    const publicKey = toBase64(this.device.tunnel.peerStatus(event.peer).publicKey);
    switch (event.type) {
      case 'handshake':
        return this.emit({ type: 'handshake', publicKey, isInitiator: event.isInitiator });
      case 'gave-up':
        this.peers?.refresh(event.peer);
        return this.emit({ type: 'gave-up', publicKey });
      case 'endpoint':
        return this.emit({ type: 'endpoint', publicKey, endpoint: formatEndpoint(event.endpoint) });
      case 'session-expired':
        return this.emit({ type: 'session-expired', publicKey });
    }
  }
}
