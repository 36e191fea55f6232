/** Small helpers for tests with sockets on loopback: pairs, servers, collected events, waiting for a condition. */
import { createSocket, type Socket as DatagramSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Events, Report } from '../../targets/cli/report.ts';
import { SERVICE_LIMITS, type ServiceContext, type ServiceLimits, type Tunnel } from '../../targets/cli/tunnel.ts';

/** A told event. */
export type Told = { [N in keyof Events]: { readonly event: N } & Events[N] }[keyof Events];

/** A context over `tunnel` that collects what is told. */
export function contextOf(
  tunnel: Tunnel,
  limits: Partial<ServiceLimits> = {},
  hosts: Readonly<Record<string, string>> = {},
): { context: ServiceContext; told: Told[] } {
  const told: Told[] = [];
  const report: Report = (event, fields) => void told.push({ event, ...fields } as unknown as Told);
  const resolveInside = (host: string) => (/^[0-9.]+$|:/.test(host) ? host : hosts[host]);
  return { context: { tunnel, report, limits: { ...SERVICE_LIMITS, ...limits }, resolveInside }, told };
}

/** Numbers from 1. */
export function counter(): () => number {
  let last = 0;
  return () => ++last;
}

/** A TCP server on a free loopback port. */
export async function serve(handle: (socket: Socket) => void): Promise<{ server: Server; port: number }> {
  const server = createServer({ allowHalfOpen: true }, socket => {
    socket.on('error', () => undefined);
    handle(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { server, port: (server.address() as AddressInfo).port };
}

/** Both ends of a TCP connection over loopback. */
export async function socketPair(): Promise<{ near: Socket; far: Socket; done(): void }> {
  const accepted: Socket[] = [];
  const { server, port } = await serve(socket => accepted.push(socket));
  const far = await open(port);
  await until(() => accepted.length > 0);
  const near = accepted[0]!;
  return {
    near,
    far,
    done: () => {
      far.destroy();
      near.destroy();
      server.close();
    },
  };
}

/** A client connection to a loopback port; it may be gone already where the server resets it at once. */
export async function open(port: number, host = '127.0.0.1'): Promise<Socket> {
  const socket = connect({ port, host, allowHalfOpen: true });
  socket.on('error', () => undefined);
  await new Promise<void>(resolve => {
    socket.once('connect', resolve);
    socket.once('close', () => resolve());
  });
  return socket;
}

/** Resolves when the socket is gone, whether by an error or not. */
export function closed(socket: Socket): Promise<void> {
  return new Promise(resolve => {
    if (socket.closed) resolve();
    else socket.once('close', () => resolve());
  });
}

/** Everything until the end of the stream; rejects when it is reset. */
export async function readAll(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  socket.on('data', chunk => chunks.push(chunk));
  await new Promise<void>((resolve, reject) => {
    socket.once('end', resolve);
    socket.once('error', reject);
    socket.once('close', () => reject(new Error('closed without an end')));
  });
  return Buffer.concat(chunks);
}

/** A bound loopback UDP socket that collects what it gets. */
export async function datagrams(
  address = '127.0.0.1',
): Promise<{ socket: DatagramSocket; port: number; got: string[] }> {
  const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
  socket.on('error', () => undefined);
  const got: string[] = [];
  socket.on('message', data => got.push(data.toString()));
  socket.bind(0, address);
  await once(socket, 'listening');
  return { socket, port: socket.address().port, got };
}

/** Waits until `isDone`; fails with `what` after 15 seconds. */
export async function until(isDone: () => boolean, what = 'the condition', timeoutMs = 15_000): Promise<void> {
  const endMs = performance.now() + timeoutMs;
  while (!isDone()) {
    if (performance.now() > endMs) throw new Error(`${what} did not come about in ${timeoutMs} ms`);
    await sleep(5);
  }
}
