/**
 * TCP services of `motenet wg`: `--expose` leads connections from the tunnel to a service on this network,
 * `--forward` leads connections on this machine into the tunnel.
 */
import { connect, createServer, type Server, type Socket } from 'node:net';
import { formatEndpoint } from '../../lib/base/address.ts';
import { NetError } from '../../lib/base/errors.ts';
import type { ByteStream } from '../../lib/mote/byte-stream.ts';
import { codeOf, describeConnectError, describeListenError, messageOf, RunError } from './errors.ts';
import { pipe, resetSocket, type SocketReader } from './pipe.ts';
import type { Service, ServiceContext, ServiceInfo } from './tunnel.ts';

/** From where to where a service leads. */
export interface Mapping {
  /** Local address to listen on; empty for `expose`. */
  readonly bind: string;
  readonly port: number;
  /** Where it leads. */
  readonly host: string;
  readonly targetPort: number;
}

/** The connections of one service: counts, bounds, tells, and resets them all at the end. */
export class Connections {
  readonly #context: ServiceContext;
  readonly #info: ServiceInfo;
  readonly #open = new Set<() => void>();
  readonly #running = new Set<Promise<void>>();
  readonly #ids: () => number;

  /** `ids` numbers connections over all services. */
  constructor(context: ServiceContext, info: ServiceInfo, ids: () => number) {
    this.#context = context;
    this.#info = info;
    this.#ids = ids;
  }

  /**
   * Runs `carry` for a connection that has just come in, unless there are too many. `reset` drops it at once. `carry`
   * gets a function to call when both ends stand, and a rejection of it is told as a refusal; it never rejects here.
   */
  admit(from: string, to: string, reset: () => void, carry: (piped: Piped) => Promise<void>): void {
    const running = this.#admit(from, to, reset, carry).finally(() => this.#running.delete(running));
    this.#running.add(running);
  }

  async #admit(from: string, to: string, reset: () => void, carry: (piped: Piped) => Promise<void>): Promise<void> {
    const { report, limits } = this.#context;
    const { service, protocol } = this.#info;
    if (this.#open.size >= limits.connections) {
      const message = `refused, ${limits.connections} connections are open`;
      report('refused', { service, protocol, from, to, code: 'ERR_LIMIT', message });
      return reset();
    }
    this.#open.add(reset);
    try {
      await carry(async (stream, socket, reader, target = to) => {
        const id = this.#ids();
        const startMs = performance.now();
        report('open', { id, service, protocol, from, to: target });
        const { sentBytes, receivedBytes, error } = await pipe(stream, socket, reader);
        const durationMs = Math.round(performance.now() - startMs);
        report('close', { id, sentBytes, receivedBytes, durationMs, code: error === undefined ? null : codeOf(error) });
      });
    } catch (error) {
      reset();
      report('refused', { service, protocol, from, to, code: codeOf(error), message: messageOf(error) });
    } finally {
      this.#open.delete(reset);
    }
  }

  /** Resets all; resolves when their ends were told. */
  async close(): Promise<void> {
    for (const reset of [...this.#open]) reset();
    await Promise.all(this.#running);
  }
}

type Piped = (stream: ByteStream, socket: Socket, reader?: SocketReader, target?: string) => Promise<void>;

/** `--expose PORT=HOST:PORT`: whoever connects to the port inside the tunnel reaches HOST:PORT from this machine. */
export async function exposeTcp(context: ServiceContext, mapping: Mapping, ids: () => number): Promise<Service> {
  const target = formatEndpoint({ address: mapping.host, port: mapping.targetPort });
  const listener = await context.tunnel.listen(mapping.port);
  const info: ServiceInfo = { service: 'expose', protocol: 'tcp', address: '', port: listener.port, target };
  const connections = new Connections(context, info, ids);
  const run = async () => {
    for (let stream = await listener.accept(); stream !== undefined; stream = await listener.accept()) {
      const accepted = stream;
      let socket: Socket | undefined;
      const reset = () => {
        accepted.abort();
        if (socket !== undefined) resetSocket(socket);
      };
      connections.admit(formatEndpoint(accepted.remote), target, reset, async piped => {
        socket = connectLocal(mapping.host, mapping.targetPort);
        void accepted.closed?.then(() => socket?.connecting && socket.destroy());
        await connected(socket, target, context.limits.dialTimeoutMs);
        await piped(accepted, socket);
      });
    }
  };
  const running = run();
  return {
    info,
    close: async () => {
      await listener.close();
      await running;
      await connections.close();
    },
  };
}

/** `--forward [BIND:]PORT=HOST:PORT`: whoever connects to the local port reaches HOST:PORT inside the tunnel. */
export async function forwardTcp(context: ServiceContext, mapping: Mapping, ids: () => number): Promise<Service> {
  const target = formatEndpoint({ address: mapping.host, port: mapping.targetPort });
  const info = { service: 'forward', protocol: 'tcp', address: mapping.bind, port: mapping.port, target } as const;
  return serveLocal(context, info, '--forward', ids, (socket, connections) =>
    connections.admit(
      peerText(socket),
      target,
      () => resetSocket(socket),
      async piped => {
        await piped(await dialFor(context, socket, mapping.host, mapping.targetPort), socket);
      },
    ),
  );
}

/** Listens on this machine for `info` (port 0: the system chooses) and hands every connection to `handle`. */
export async function serveLocal(
  context: ServiceContext,
  info: ServiceInfo,
  flag: string,
  ids: () => number,
  handle: (socket: Socket, connections: Connections) => void,
): Promise<Service> {
  const connections = new Connections(context, info, ids);
  const server = createServer({ allowHalfOpen: true, noDelay: true }, socket => {
    socket.on('error', () => undefined); // whoever reads the socket hears of it, too
    handle(socket, connections);
  });
  const bound = await listenLocal(server, info.address, info.port, flag);
  server.on('error', error => context.report('trouble', { code: codeOf(error), message: messageOf(error) }));
  return {
    info: { ...info, ...bound },
    close: async () => {
      const closed = new Promise<void>(resolve => server.close(() => resolve()));
      await connections.close();
      await closed;
    },
  };
}

/** Dials inside the tunnel on behalf of `socket`; gives up when that goes away meanwhile. */
export async function dialFor(
  context: ServiceContext,
  socket: Socket,
  host: string,
  port: number,
): Promise<ByteStream> {
  const address = context.resolveInside(host);
  if (address === undefined) throw new NetError('ERR_NAME_NOT_FOUND', `'${host}' is not a name inside the tunnel`);
  const abort = new AbortController();
  const onClose = () => abort.abort();
  socket.once('close', onClose);
  try {
    if (socket.destroyed) throw new NetError('ERR_CLOSED', 'the client went away');
    return await context.tunnel.dial(address, port, { signal: abort.signal, timeoutMs: context.limits.dialTimeoutMs });
  } finally {
    socket.off('close', onClose);
  }
}

/** The client of a local connection, `address:port`. */
export function peerText(socket: Socket): string {
  return formatEndpoint({ address: plainAddress(socket.remoteAddress ?? ''), port: socket.remotePort ?? 0 });
}

/** An address without the IPv4-mapped form that sockets of both families give (`::ffff:1.2.3.4`). */
export function plainAddress(address: string): string {
  return address.startsWith('::ffff:') && address.includes('.') ? address.slice(7) : address;
}

async function listenLocal(
  server: Server,
  address: string,
  port: number,
  flag: string,
): Promise<{ address: string; port: number }> {
  await new Promise<void>((resolve, reject) => {
    const failed = (error: Error) =>
      reject(new RunError(describeListenError(error, address, port, flag), { cause: error }));
    server.once('error', failed);
    server.listen({ host: address, port }, () => {
      server.off('error', failed);
      resolve();
    });
  });
  const bound = server.address();
  return typeof bound === 'object' && bound !== null ? { address: bound.address, port: bound.port } : { address, port };
}

function connectLocal(host: string, port: number): Socket {
  return connect({ host, port, allowHalfOpen: true, noDelay: true, autoSelectFamily: true });
}

/** Resolves when `socket` is connected; rejects with a NetError that names the target and the next step. */
function connected(socket: Socket, target: string, timeoutMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    let failure: unknown = new NetError('ERR_CLOSED', 'the client went away');
    const timer = setTimeout(() => {
      failure = new NetError('ERR_TIMED_OUT', `${target} did not answer within ${timeoutMs} ms`);
      socket.destroy();
    }, timeoutMs);
    socket.on('error', error => {
      failure = error;
    });
    const onClose = () => {
      clearTimeout(timer);
      const text = describeConnectError(failure, target);
      reject(Object.assign(new RunError(text, { cause: failure }), { code: codeOf(failure) }));
    };
    socket.once('close', onClose);
    socket.once('connect', () => {
      clearTimeout(timer);
      socket.off('close', onClose);
      resolve();
    });
  });
}
