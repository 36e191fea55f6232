/**
 * `--socks [BIND:]PORT`: a SOCKS5 server on this machine whose only way out is the tunnel (RFC 1928).
 *
 * CONNECT dials inside the tunnel, UDP ASSOCIATE opens a UDP socket inside it. Names are looked up inside only, so that
 * nothing about them leaves the tunnel; a name that is not known there is refused. Left out: BIND, authentication (the
 * port is for this machine, and binding it elsewhere gives a warning).
 */
import type { Socket as UdpSocket } from 'node:dgram';
import type { Socket } from 'node:net';
import { type Endpoint, formatEndpoint, parseAddress, parsePrefix, prefixContains } from '../../lib/base/address.ts';
import { NetError } from '../../lib/base/errors.ts';
import { codeOf, messageOf } from './errors.ts';
import { resetSocket, SocketReader } from './pipe.ts';
import {
  parseSocksDatagram,
  SOCKS_REPLY,
  SocksMachine,
  type SocksRequest,
  writeSocksDatagram,
} from './socks-machine.ts';
import { type Connections, dialFor, peerText, plainAddress, serveLocal } from './tcp-proxy.ts';
import type { Service, ServiceContext, TunnelUdp } from './tunnel.ts';
import { bindLocal, closeSocket, sendTo } from './udp-proxy.ts';

/** Addresses that one association may speak with; the one that was used first makes room. */
const REMOTES_LIMIT = 1024;
/** How long a refused client may take to close. */
const FINISH_MS = 1000;
/** Addresses that mean "this machine", nobody, or everybody: they never lead into a tunnel. */
const NEVER_INSIDE = /* @__PURE__ */ Object.freeze([
  ...['0.0.0.0/8', '127.0.0.0/8', '224.0.0.0/4', '255.255.255.255/32'],
  ...['::/128', '::1/128', 'ff00::/8'],
]);

/** Listens for SOCKS clients; RunError when the port cannot be had. */
export async function serveSocks(
  context: ServiceContext,
  bind: string,
  port: number,
  ids: () => number,
): Promise<Service> {
  const info = { service: 'socks', protocol: 'tcp', address: bind, port, target: '' } as const;
  return serveLocal(context, info, '--socks', ids, (socket, connections) => {
    new SocksClient(context, socket, ids).run(connections);
  });
}

/** The code that tells a client why its request failed (RFC 1928 §6). */
export function socksReplyCode(error: unknown): number {
  switch (codeOf(error)) {
    case 'ERR_CONNECTION_REFUSED':
    case 'ERR_CONNECTION_RESET':
      return SOCKS_REPLY.connectionRefused;
    case 'ERR_UNREACHABLE':
    case 'ERR_ADDRESS_UNAVAILABLE':
      return SOCKS_REPLY.networkUnreachable;
    case 'ERR_NAME_NOT_FOUND':
    case 'ERR_TIMED_OUT':
      return SOCKS_REPLY.hostUnreachable;
    case 'ERR_NOT_ALLOWED':
      return SOCKS_REPLY.notAllowed;
    default:
      return SOCKS_REPLY.generalFailure;
  }
}

/** One connection of a client. */
class SocksClient {
  readonly #context: ServiceContext;
  readonly #socket: Socket;
  readonly #reader: SocketReader;
  readonly #machine = new SocksMachine();
  readonly #ids: () => number;

  constructor(context: ServiceContext, socket: Socket, ids: () => number) {
    this.#context = context;
    this.#socket = socket;
    this.#reader = new SocketReader(socket);
    this.#ids = ids;
  }

  run(connections: Connections): void {
    const socket = this.#socket;
    connections.admit(
      peerText(socket),
      '',
      () => resetSocket(socket),
      async piped => {
        const request = await this.#negotiate();
        if (request === undefined) return;
        if (request.command === 'associate') return this.#associate(request);
        const target = formatEndpoint({ address: request.host, port: request.port });
        try {
          const stream = await dialFor(this.#context, socket, this.#insideAddress(request.host), request.port);
          this.#machine.reply(SOCKS_REPLY.succeeded, stream.local);
          this.#flush();
          this.#reader.unread(this.#machine.takeRest());
          await piped(stream, socket, this.#reader, target);
        } catch (error) {
          await this.#refuse(error, target);
        }
      },
    );
  }

  /** Reads up to the request; undefined when it was answered with a refusal. */
  async #negotiate(): Promise<SocksRequest | undefined> {
    const { negotiationTimeoutMs } = this.#context.limits;
    const timer = setTimeout(() => this.#socket.destroy(), negotiationTimeoutMs);
    try {
      for (;;) {
        const data = await this.#reader.next();
        if (data === undefined) return void this.#socket.destroy();
        this.#machine.handleData(data);
        this.#flush();
        const event = this.#machine.pollEvent();
        if (event?.type === 'request') return event;
        if (event?.type === 'failed') {
          this.#told('', new NetError('ERR_PROTOCOL', event.why));
          return await this.#finish();
        }
      }
    } catch {
      return void this.#socket.destroy(); // went away, or was too slow: nothing to tell
    } finally {
      clearTimeout(timer);
    }
  }

  /** The address inside for what the client asked for. Throws an error that {@link socksReplyCode} knows. */
  #insideAddress(host: string): string {
    const address = this.#context.resolveInside(plainAddress(host));
    if (address === undefined)
      throw new NetError('ERR_NAME_NOT_FOUND', `'${host}' is not a name inside the tunnel: use an address or --host`);
    if (isNeverInside(address)) throw notAllowed(host); // CHECK: socks-destination
    return address;
  }

  async #refuse(error: unknown, target: string): Promise<void> {
    this.#told(target, error);
    if (this.#socket.destroyed) return;
    this.#machine.reply(socksReplyCode(error));
    this.#flush();
    await this.#finish();
  }

  #told(to: string, error: unknown): void {
    const from = peerText(this.#socket);
    const message = to === '' ? messageOf(error) : `${to}: ${messageOf(error)}`;
    this.#context.report('refused', { service: 'socks', protocol: 'tcp', from, to, code: codeOf(error), message });
  }

  #flush(): void {
    for (let out = this.#machine.pollTransmit(); out !== undefined; out = this.#machine.pollTransmit())
      this.#socket.write(out);
  }

  /** Sends what is queued, then closes; what still comes is read, since a reset would take the answer along. */
  async #finish(): Promise<undefined> {
    const socket = this.#socket;
    socket.end();
    const timer = setTimeout(() => socket.destroy(), FINISH_MS);
    try {
      while ((await this.#reader.next()) !== undefined);
    } catch {
      // gone: nothing is left to say
    }
    clearTimeout(timer);
    socket.destroy();
  }

  /** UDP ASSOCIATE: lives as long as the TCP connection. */
  async #associate(request: SocksRequest): Promise<void> {
    const socket = this.#socket;
    const client = plainAddress(socket.remoteAddress ?? '');
    let local: UdpSocket | undefined;
    let inside: TunnelUdp | undefined;
    try {
      local = await bindLocal(plainAddress(socket.localAddress ?? ''), 0, '--socks');
      inside = await this.#context.tunnel.udp();
    } catch (error) {
      if (local !== undefined) await closeSocket(local);
      return this.#refuse(error, 'UDP ASSOCIATE');
    }
    const id = this.#ids();
    const startMs = performance.now();
    const from = peerText(socket);
    const relay = new UdpRelay(local, inside, { address: client, port: request.port }, host =>
      this.#insideAddress(host),
    );
    this.#context.report('open', { id, service: 'socks', protocol: 'udp', from, to: '' });
    const bound = local.address();
    this.#machine.reply(SOCKS_REPLY.succeeded, { address: bound.address, port: bound.port });
    this.#flush();
    const running = relay.run();
    try {
      while ((await this.#reader.next()) !== undefined);
    } catch {
      // reset by the client or by the end of the command: the association ends all the same
    }
    inside.close();
    await Promise.all([running, closeSocket(local)]);
    socket.destroy();
    const { sentBytes, receivedBytes } = relay;
    const durationMs = Math.round(performance.now() - startMs);
    this.#context.report('close', { id, sentBytes, receivedBytes, durationMs, code: null });
  }
}

/** Datagrams of one association. Only its client is heard, and only who was spoken to is passed on to the client. */
class UdpRelay {
  sentBytes = 0;
  receivedBytes = 0;
  readonly #local: UdpSocket;
  readonly #inside: TunnelUdp;
  readonly #remotes = new Set<string>();
  readonly #resolve: (host: string) => string;
  #client: Endpoint;

  /** `client.port` 0: the port of its first datagram. `resolve` throws for a destination that is refused. */
  constructor(local: UdpSocket, inside: TunnelUdp, client: Endpoint, resolve: (host: string) => string) {
    this.#local = local;
    this.#inside = inside;
    this.#client = client;
    this.#resolve = resolve;
    local.on('message', (data, from) => {
      try {
        this.#fromClient(data, from);
      } catch {
        // refused destination or closed socket: that datagram is lost
      }
    });
  }

  /** Passes on what comes out of the tunnel until the socket inside is closed. */
  async run(): Promise<void> {
    for (;;) {
      const got = await this.#inside.receive().catch(() => null);
      if (got === undefined) return;
      if (got !== null) this.#fromTunnel(got.data, got.from);
    }
  }

  #fromClient(data: Uint8Array, from: Endpoint): void {
    if (plainAddress(from.address) !== this.#client.address) return; // CHECK: socks-udp-client-address
    if (this.#client.port !== 0 && from.port !== this.#client.port) return; // CHECK: socks-udp-client-port
    const datagram = parseSocksDatagram(data);
    if (datagram === undefined) return;
    this.#client = { address: this.#client.address, port: from.port };
    const to = { address: this.#resolve(datagram.host), port: datagram.port };
    this.#remotes.delete(to.address);
    this.#remotes.add(to.address);
    if (this.#remotes.size > REMOTES_LIMIT) this.#remotes.delete(this.#remotes.values().next().value!);
    if (this.#inside.send(data.subarray(datagram.start), to)) this.sentBytes += data.length - datagram.start;
  }

  #fromTunnel(data: Uint8Array, from: Endpoint): void {
    if (!this.#remotes.has(from.address)) return; // CHECK: socks-udp-remote
    if (sendTo(this.#local, writeSocksDatagram(from, data), this.#client)) this.receivedBytes += data.length;
  }
}

function notAllowed(host: string): Error {
  return Object.assign(new Error(`${host} is this machine or everybody, never inside the tunnel`), {
    code: 'ERR_NOT_ALLOWED',
  });
}

function isNeverInside(address: string): boolean {
  const bytes = parseAddress(address);
  if (bytes === undefined) return true;
  return NEVER_INSIDE.some(text => {
    const prefix = parsePrefix(text)!;
    return prefix.bytes.length === bytes.length && prefixContains(prefix, bytes);
  });
}
