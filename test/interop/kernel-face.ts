/**
 * The kernel's own sockets as the face that the peer program (see peer-program.ts) is written against.
 */
import { execFile } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { connect, createServer as createTcpServer, isIPv6, type Socket } from 'node:net';
import { Readable } from 'node:stream';
import type { Acceptor, Face, Flow, UdpFace } from './peer-program.ts';

/** A node socket as a flow; reads only when asked, so that back-pressure is the kernel's. */
export class KernelFlow implements Flow {
  readonly socket: Socket;
  readonly closed: Promise<void>;
  #error: Error | undefined;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on('error', error => {
      this.#error = error;
    });
    this.closed = new Promise(resolve => socket.once('close', () => resolve()));
  }

  get remote() {
    return { address: this.socket.remoteAddress ?? '', port: this.socket.remotePort ?? 0 };
  }

  async read(): Promise<Uint8Array | undefined> {
    for (;;) {
      if (this.#error !== undefined) throw this.#error;
      const chunk = this.socket.read() as Uint8Array | null;
      if (chunk !== null) return chunk;
      if (this.socket.readableEnded || this.socket.destroyed) return undefined;
      await this.#event('readable', 'end');
    }
  }

  async write(data: Uint8Array): Promise<void> {
    if (this.#error !== undefined) throw this.#error;
    if (!this.socket.write(data)) await this.#event('drain');
    if (this.#error !== undefined) throw this.#error;
  }

  async end(): Promise<void> {
    this.socket.end();
  }

  abort(): void {
    this.socket.resetAndDestroy();
  }

  async close(): Promise<void> {
    this.socket.end();
    this.socket.resume();
    await this.closed;
  }

  #event(...names: readonly string[]): Promise<void> {
    return new Promise(resolve => {
      const all = [...names, 'error', 'close'];
      const done = () => {
        for (const name of all) this.socket.off(name, done);
        resolve();
      };
      for (const name of all) this.socket.once(name, done);
    });
  }
}

/** A queue between events and promises. */
export class Queue<T> {
  readonly #items: T[] = [];
  readonly #waiters: ((item: T) => void)[] = [];

  push(item: T): void {
    const waiter = this.#waiters.shift();
    if (waiter !== undefined) waiter(item);
    else this.#items.push(item);
  }

  take(): Promise<T> {
    const item = this.#items.shift();
    return item !== undefined ? Promise.resolve(item) : new Promise(resolve => this.#waiters.push(resolve));
  }
}

function listen(port: number): Promise<Acceptor> {
  return new Promise((resolve, reject) => {
    const accepted = new Queue<Flow>();
    const server = createTcpServer({ allowHalfOpen: true }, socket => accepted.push(new KernelFlow(socket)));
    server.once('error', reject);
    server.listen({ port, host: '::', backlog: 511 }, () => {
      const address = server.address() as { port: number };
      resolve({ port: address.port, accept: () => accepted.take(), close: () => void server.close() });
    });
  });
}

function dial(host: string, port: number, timeoutMs: number): Promise<Flow> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, allowHalfOpen: true });
    const timer = setTimeout(() => socket.destroy(new Error('timed out')), timeoutMs);
    socket.once('error', reject);
    socket.once('connect', () => {
      clearTimeout(timer);
      socket.off('error', reject);
      resolve(new KernelFlow(socket));
    });
  });
}

function udp(port: number): Promise<UdpFace> {
  return new Promise((resolve, reject) => {
    const received = new Queue<{ data: Uint8Array; from: { address: string; port: number } }>();
    const socket = createSocket({ type: 'udp6', recvBufferSize: 1 << 20 });
    const plain = (address: string) => address.replace(/^::ffff:/, '');
    socket.on('message', (data, from) =>
      received.push({ data, from: { address: plain(from.address), port: from.port } }),
    );
    socket.once('error', reject);
    socket.bind(port, () => {
      socket.off('error', reject);
      socket.on('error', error => process.stderr.write(`${error.message}\n`));
      resolve({
        port: socket.address().port,
        send: (data, to) => {
          socket.send(data, to.port, isIPv6(to.address) ? to.address : `::ffff:${to.address}`);
          return true;
        },
        receive: () => received.take(),
        close: () => void socket.close(),
      });
    });
  });
}

function ping(host: string, o: { timeoutMs: number; payloadBytes: number }): Promise<number> {
  const args = ['-n', '-c', '1', '-s', `${o.payloadBytes}`, '-W', `${Math.ceil(o.timeoutMs / 1000)}`, host];
  return new Promise((resolve, reject) => {
    execFile('ping', args, (error, stdout) => {
      const time = /time=([\d.]+) ms/.exec(stdout);
      // Below 16 bytes there is no room for a time stamp, and ping prints none.
      if (time !== null || / 1 received/.test(stdout)) resolve(Number(time?.[1] ?? 0));
      else reject(error ?? new Error(stdout));
    });
  });
}

function serve(port: number, handler: (request: Request) => Response | Promise<Response>): Promise<{ port: number }> {
  return new Promise((resolve, reject) => {
    const server = createServer(async (message, answer) => {
      const method = message.method ?? 'GET';
      const hasBody = method === 'PUT' || method === 'POST';
      const init = hasBody ? { method, body: Readable.toWeb(message), duplex: 'half' } : { method };
      const response = await handler(new Request(`http://localhost${message.url}`, init as unknown as RequestInit));
      answer.writeHead(response.status, Object.fromEntries(response.headers));
      if (response.body === null) answer.end();
      else Readable.fromWeb(response.body as Parameters<typeof Readable.fromWeb>[0]).pipe(answer);
    });
    server.once('error', reject);
    server.listen({ port, host: '::' }, () => resolve({ port: (server.address() as { port: number }).port }));
  });
}

/** Connections of this namespace in any state but LISTEN (0A) and TIME-WAIT (06). */
function connections(): number {
  const lines = ['tcp', 'tcp6'].flatMap(name =>
    readFileSync(`/proc/self/net/${name}`, 'utf8').trim().split('\n').slice(1),
  );
  return lines.filter(line => !['0A', '06'].includes(line.trim().split(/\s+/)[3]!)).length;
}

/** Everything by the kernel of the namespace that the program runs in. */
export const kernelFace: Face = Object.freeze({
  listen,
  dial,
  udp,
  ping,
  serve,
  fetch: (url: string, init?: RequestInit) => fetch(url, init),
  connections,
  status: () => ({}),
  change: () => {},
  close: async () => {},
});
