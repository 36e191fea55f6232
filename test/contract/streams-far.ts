/** The other side of stream tests on real sockets of the loopback interface: plain, and with TLS. */
import { readFileSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import type { Host } from '../../lib/ports.ts';
import { type FarEnd, isPattern, type StreamWorld } from './streams.ts';
import { eventually, pause } from './wait.ts';

const fixture = (name: string) => readFileSync(new URL(`../fixtures/test-only${name}.pem`, import.meta.url), 'utf8');

/** An authority's certificate (PEM). */
export const AUTHORITY = fixture('-authority.cert');
/** Certificates (PEM) of the same key: its own signature, the authority's, and the authority's but expired. */
export const CERTIFICATES = Object.freeze({
  own: fixture('.cert'),
  signed: fixture('-signed.cert'),
  expired: fixture('-expired.cert'),
});

/** A connection as a server has it. */
class SocketEnd implements FarEnd {
  received = 0;
  isIntact = true;
  hasEnded = false;
  isGone = false;
  readonly #socket: Socket;
  readonly #waiting: Uint8Array[] = [];
  #isSending = false;
  #isEnding = false;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (chunk: Uint8Array) => {
      this.isIntact &&= isPattern(chunk, this.received);
      this.received += chunk.length;
    });
    socket.on('end', () => {
      this.hasEnded = true;
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.isGone = true;
    });
  }

  get unsent(): number {
    return this.#waiting.reduce((sum, bytes) => sum + bytes.length, 0);
  }

  /** In parts: what a runtime says about a single large write is not comparable. */
  write(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; at += 65_536) this.#waiting.push(bytes.subarray(at, at + 65_536));
    if (!this.#isSending) this.#send();
  }

  end(): void {
    this.#isEnding = true;
    if (!this.#isSending) this.#send();
  }

  #send(): void {
    const next = this.#waiting.shift();
    this.#isSending = next !== undefined;
    if (next !== undefined) this.#socket.write(next, () => this.#send());
    else if (this.#isEnding) this.#socket.end();
  }

  reset(): void {
    this.#socket.resetAndDestroy();
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }
}

/** What a TLS server of the tests is told and shows. */
export interface TlsFar {
  readonly port: number;
  /** Names that clients asked for (SNI), empty text for none. */
  readonly names: string[];
  /** Streams whose handshake this side has completed. */
  readonly ends: FarEnd[];
}

/** Servers that live until {@link RealWorld.clean}. */
export class RealWorld implements StreamWorld {
  readonly host: Host;
  /** Send and receive buffers of the kernel on loopback: `tcp_wmem` and `tcp_rmem` at most, twice for tests' own reading. */
  readonly slackBytes = 16 << 20;
  readonly eventually = eventually;
  readonly pause = pause;
  readonly #servers: Server[] = [];
  readonly #sockets: Socket[] = [];

  constructor(host: Host) {
    this.host = host;
  }

  async listen(accept: (end: FarEnd) => void): Promise<{ address: string; port: number }> {
    return { address: '127.0.0.1', port: await this.accept(socket => accept(new SocketEnd(socket))) };
  }

  /** Listens for bare sockets, which nobody reads. */
  accept(accepted: (socket: Socket) => void): Promise<number> {
    return this.#open(
      createServer({ allowHalfOpen: true }, socket => {
        this.#sockets.push(socket);
        accepted(socket);
      }),
    );
  }

  async refusing(): Promise<{ address: string; port: number }> {
    const server = createServer();
    const port = await this.#open(server);
    await new Promise(resolve => server.close(resolve));
    return { address: '127.0.0.1', port };
  }

  /** A port that leads to another one, whose way there can be stopped: Deno's TLS servers read on while paused. */
  async passage(to: number): Promise<{ port: number; hold(): void; release(): void }> {
    let arrived: Socket | undefined;
    let isHeld = false;
    const port = await this.accept(socket => {
      arrived = socket;
      const onward = connect({ host: '127.0.0.1', port: to });
      this.#sockets.push(onward);
      socket.on('error', () => onward.destroy());
      onward.on('error', () => socket.destroy());
      onward.pipe(socket);
      socket.on('data', chunk => {
        if (!onward.write(chunk)) socket.pause();
      });
      onward.on('drain', () => isHeld || socket.resume());
      socket.on('end', () => onward.end());
    });
    const hold = () => {
      isHeld = true;
      arrived!.pause();
    };
    const release = () => {
      isHeld = false;
      arrived!.resume();
    };
    return { port, hold, release };
  }

  /** Listens with TLS and a certificate (PEM). */
  async listenTls(cert: string): Promise<TlsFar> {
    const far = { port: 0, names: [] as string[], ends: [] as FarEnd[] };
    const server = createTlsServer({ cert, key: fixture('.key'), allowHalfOpen: true }, socket => {
      this.#sockets.push(socket);
      far.names.push(socket.servername || '');
      far.ends.push(new SocketEnd(socket));
    });
    server.on('tlsClientError', () => undefined);
    far.port = await this.#open(server);
    return far;
  }

  #open(server: Server): Promise<number> {
    this.#servers.push(server);
    return new Promise(resolve => {
      server.listen(0, '127.0.0.1', () => resolve((server.address() as { port: number }).port));
    });
  }

  clean(): void {
    for (const socket of this.#sockets.splice(0)) socket.destroy();
    for (const server of this.#servers.splice(0)) server.close();
  }
}
