/**
 * UDP services of `motenet wg`: `--expose PORT=HOST:PORT/udp` and `--forward [BIND:]PORT=HOST:PORT/udp`.
 *
 * Each client gets a flow with a socket of its own on the far side, so that answers find their way back (the mapping of
 * RFC 4787 §4.1). Flows are bounded per client and in total, and forgotten when silent; a full queue drops the newest.
 */
import { createSocket, type Socket } from 'node:dgram';
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { type Endpoint, formatEndpoint, sameEndpoint } from '../../lib/base/address.ts';
import { NetError } from '../../lib/base/errors.ts';
import { codeOf, describeConnectError, describeListenError, RunError } from './errors.ts';
import type { Mapping } from './tcp-proxy.ts';
import type { Service, ServiceContext, ServiceInfo } from './tunnel.ts';

/** Datagrams that wait while the far side of a flow is opened. */
const OPENING_QUEUE = 32;
/** A flow whose far side cannot be opened drops everything for so long, before it is tried again. */
const RETRY_MS = 1000;
/** Bytes that may wait in a local socket's send queue. */
const SEND_QUEUE_BYTES = 1_048_576;

/** The far side of a flow. */
interface FarSide {
  /** False: dropped. */
  send(data: Uint8Array): boolean;
  close(): void;
}

interface Flow {
  readonly id: number;
  readonly client: Endpoint;
  readonly startMs: number;
  /** Datagrams that wait for `far`; undefined when it cannot be opened, and all are dropped until the flow is forgotten. */
  waiting: Uint8Array[] | undefined;
  far: FarSide | undefined;
  lastMs: number;
  /** Bytes from the client, and to it. */
  fromClient: number;
  toClient: number;
  isClosed: boolean;
}

/** The flows of one service. */
export class FlowTable {
  readonly #context: ServiceContext;
  readonly #info: ServiceInfo;
  readonly #ids: () => number;
  readonly #open: (client: Endpoint, reply: (data: Uint8Array) => boolean) => Promise<FarSide>;
  readonly #reply: (client: Endpoint, data: Uint8Array) => boolean;
  readonly #flows = new Map<string, Flow>();
  readonly #perClient = new Map<string, Set<Flow>>();
  readonly #sweeper: NodeJS.Timeout;
  #dropped = 0;

  /** `open` makes the far side for a client; `reply` sends a datagram back to one. Both say false for a drop. */
  constructor(
    context: ServiceContext,
    info: ServiceInfo,
    ids: () => number,
    open: (client: Endpoint, reply: (data: Uint8Array) => boolean) => Promise<FarSide>,
    reply: (client: Endpoint, data: Uint8Array) => boolean,
  ) {
    this.#context = context;
    this.#info = info;
    this.#ids = ids;
    this.#open = open;
    this.#reply = reply;
    const { flowIdleMs } = context.limits;
    this.#sweeper = setInterval(() => this.#sweep(), Math.max(10, Math.min(5000, flowIdleMs / 4)));
  }

  /** Datagrams dropped since the start: no room, no far side, a full queue. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Flows now. */
  get size(): number {
    return this.#flows.size;
  }

  /** A datagram of a client; `data` is kept. */
  handleDatagram(client: Endpoint, data: Uint8Array): void {
    const flow = this.#flows.get(formatEndpoint(client)) ?? this.#create(client);
    if (flow === undefined) this.#drop();
    else this.#pass(flow, data);
  }

  #pass(flow: Flow, data: Uint8Array): void {
    flow.lastMs = performance.now();
    flow.fromClient += data.length;
    if (flow.far !== undefined) {
      this.#hand(flow.far, data);
    } else if (flow.waiting !== undefined && flow.waiting.length < OPENING_QUEUE) flow.waiting.push(data);
    else this.#drop();
  }

  /** Forgets all flows. */
  close(): void {
    clearInterval(this.#sweeper);
    for (const flow of [...this.#flows.values()]) this.#remove(flow);
  }

  #create(client: Endpoint): Flow | undefined {
    const { limits, report } = this.#context;
    const own = this.#perClient.get(client.address);
    if (own !== undefined && own.size >= limits.flowsPerClient) this.#removeQuietest(own);
    if (this.#flows.size >= limits.flows) return undefined;
    const nowMs = performance.now();
    const flow: Flow = {
      id: this.#ids(),
      client,
      startMs: nowMs,
      waiting: [],
      far: undefined,
      lastMs: nowMs,
      fromClient: 0,
      toClient: 0,
      isClosed: false,
    };
    this.#flows.set(formatEndpoint(client), flow);
    const siblings = this.#perClient.get(client.address);
    if (siblings === undefined) this.#perClient.set(client.address, new Set([flow]));
    else siblings.add(flow);
    const { service, protocol, target } = this.#info;
    report('open', { id: flow.id, service, protocol, from: formatEndpoint(client), to: target });
    void this.#openFar(flow);
    return flow;
  }

  async #openFar(flow: Flow): Promise<void> {
    try {
      const far = await this.#open(flow.client, data => this.#answer(flow, data));
      if (flow.isClosed) return far.close();
      flow.far = far;
      for (const data of flow.waiting ?? []) this.#hand(far, data);
    } catch (error) {
      this.#dropped += flow.waiting?.length ?? 0;
      const { service, protocol, target } = this.#info;
      const message = describeConnectError(error, target);
      const from = formatEndpoint(flow.client);
      this.#context.report('refused', { service, protocol, from, to: target, code: codeOf(error), message });
      setTimeout(() => this.#remove(flow), RETRY_MS).unref();
    } finally {
      flow.waiting = undefined;
    }
  }

  #answer(flow: Flow, data: Uint8Array): boolean {
    if (flow.isClosed) return false;
    flow.lastMs = performance.now();
    flow.toClient += data.length;
    const isSent = attempt(() => this.#reply(flow.client, data));
    if (!isSent) this.#drop();
    return isSent;
  }

  #hand(far: FarSide, data: Uint8Array): void {
    if (!attempt(() => far.send(data))) this.#drop();
  }

  #drop(): void {
    this.#dropped++;
  }

  #removeQuietest(flows: ReadonlySet<Flow>): void {
    let quietest: Flow | undefined;
    for (const flow of flows) if (quietest === undefined || flow.lastMs < quietest.lastMs) quietest = flow;
    if (quietest !== undefined) this.#remove(quietest);
  }

  #sweep(): void {
    const oldest = performance.now() - this.#context.limits.flowIdleMs;
    for (const flow of [...this.#flows.values()]) if (flow.lastMs < oldest) this.#remove(flow);
  }

  #remove(flow: Flow): void {
    if (flow.isClosed) return;
    flow.isClosed = true;
    flow.far?.close();
    this.#flows.delete(formatEndpoint(flow.client));
    const siblings = this.#perClient.get(flow.client.address);
    siblings?.delete(flow);
    if (siblings?.size === 0) this.#perClient.delete(flow.client.address);
    const isInside = this.#info.service === 'expose';
    const durationMs = Math.round(performance.now() - flow.startMs);
    const sentBytes = isInside ? flow.toClient : flow.fromClient;
    const receivedBytes = isInside ? flow.fromClient : flow.toClient;
    this.#context.report('close', { id: flow.id, sentBytes, receivedBytes, durationMs, code: null });
  }
}

/** `--expose PORT=HOST:PORT/udp`: datagrams to the port inside the tunnel go to HOST:PORT, and answers back. */
export async function exposeUdp(context: ServiceContext, mapping: Mapping, ids: () => number): Promise<Service> {
  const target = formatEndpoint({ address: mapping.host, port: mapping.targetPort });
  const inside = await context.tunnel.udp(mapping.port);
  const info: ServiceInfo = { service: 'expose', protocol: 'udp', address: '', port: inside.port, target };
  const open = (_client: Endpoint, reply: (data: Uint8Array) => boolean) => openLocal(mapping, reply);
  const flows = new FlowTable(context, info, ids, open, (client, data) => inside.send(data, client));
  let isClosed = false;
  const run = async () => {
    while (!isClosed) {
      const got = await inside.receive().catch(() => null);
      if (got === undefined) return;
      if (got !== null) flows.handleDatagram(got.from, got.data);
    }
  };
  const running = run();
  return {
    info,
    dropped: () => flows.dropped,
    close: async () => {
      isClosed = true;
      inside.close();
      flows.close();
      await running;
    },
  };
}

/** `--forward [BIND:]PORT=HOST:PORT/udp`: datagrams to the local port go to HOST:PORT inside the tunnel. */
export async function forwardUdp(context: ServiceContext, mapping: Mapping, ids: () => number): Promise<Service> {
  const target = formatEndpoint({ address: mapping.host, port: mapping.targetPort });
  const socket = await bindLocal(mapping.bind, mapping.port, '--forward');
  const bound = socket.address();
  const info: ServiceInfo = { service: 'forward', protocol: 'udp', address: bound.address, port: bound.port, target };
  const open = (_client: Endpoint, reply: (data: Uint8Array) => boolean) => openInside(context, mapping, reply);
  const flows = new FlowTable(context, info, ids, open, (client, data) => sendTo(socket, data, client));
  socket.on('message', (data, from) => flows.handleDatagram({ address: from.address, port: from.port }, data));
  return {
    info,
    dropped: () => flows.dropped,
    close: async () => {
      flows.close();
      await closeSocket(socket);
    },
  };
}

/** Binds a local UDP socket; RunError with the next step. Later errors are of single datagrams and not fatal. */
export async function bindLocal(address: string, port: number, flag: string): Promise<Socket> {
  try {
    const { address: host, family } = await lookup(address);
    const socket = createSocket({ type: family === 6 ? 'udp6' : 'udp4', ipv6Only: false });
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject);
      socket.bind({ address: host, port }, () => {
        socket.off('error', reject);
        resolve();
      });
    });
    socket.on('error', () => undefined);
    return socket;
  } catch (error) {
    throw new RunError(describeListenError(error, address, port, flag), { cause: error });
  }
}

/** Sends from a bound socket; false when its queue is full or it is closed. */
export function sendTo(socket: Socket, data: Uint8Array, to: Endpoint): boolean {
  return attempt(() => {
    if (socket.getSendQueueSize() > SEND_QUEUE_BYTES) return false;
    socket.send(data, to.port, to.address, () => undefined);
    return true;
  });
}

/** Closes a socket once; resolves when it is closed. */
export function closeSocket(socket: Socket): Promise<void> {
  return new Promise(resolve => {
    try {
      socket.close(() => resolve());
    } catch {
      resolve();
    }
  });
}

/** A local socket that is connected to the target: the kernel then drops what others send to it. */
async function openLocal(mapping: Mapping, reply: (data: Uint8Array) => boolean): Promise<FarSide> {
  const { address, family } = isIP(mapping.host)
    ? { address: mapping.host, family: isIP(mapping.host) }
    : await lookup(mapping.host);
  const socket = createSocket(family === 6 ? 'udp6' : 'udp4');
  await new Promise<void>((resolve, reject) => {
    socket.once('error', error => {
      void closeSocket(socket);
      reject(error);
    });
    socket.connect(mapping.targetPort, address, resolve);
  });
  socket.removeAllListeners('error');
  socket.on('error', () => undefined); // "connection refused": that datagram is lost, the service may come back
  socket.on('message', data => reply(data));
  return {
    send: data => {
      if (socket.getSendQueueSize() > SEND_QUEUE_BYTES) return false;
      socket.send(data, () => undefined);
      return true;
    },
    close: () => void closeSocket(socket),
  };
}

/** A socket inside the tunnel that speaks with the target only. */
async function openInside(
  context: ServiceContext,
  { host, targetPort }: Mapping,
  reply: (data: Uint8Array) => boolean,
): Promise<FarSide> {
  const address = context.resolveInside(host);
  if (address === undefined) throw new NetError('ERR_NAME_NOT_FOUND', `'${host}' is not a name inside the tunnel`);
  const to = { address, port: targetPort };
  const socket = await context.tunnel.udp();
  let isClosed = false;
  const run = async () => {
    while (!isClosed) {
      const got = await socket.receive().catch(() => null);
      if (got === undefined) return;
      if (got === null) continue;
      if (!sameEndpoint(got.from, to)) continue; // CHECK: forward-udp-remote
      reply(got.data);
    }
  };
  void run();
  return {
    send: data => socket.send(data, to),
    close: () => {
      isClosed = true;
      socket.close();
    },
  };
}

/** A closed socket or a port of 0 throws: that datagram is lost, like any other that cannot be sent. */
function attempt(send: () => boolean): boolean {
  try {
    return send();
  } catch {
    return false;
  }
}
