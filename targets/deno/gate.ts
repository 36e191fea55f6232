/**
 * What stands between TLS and TCP on Deno: its TLS reads on while it is paused, and would hold all that the other side
 * sends (seen with Deno 2.9). A closed gate reads no further, so that the other side is slowed down.
 */
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import type { Gate } from '../node/streams.ts';

/** A TCP connection whose reading can be stopped, whatever is built on it. */
export class SocketGate extends Duplex implements Gate {
  readonly #socket: Socket;
  #isHeld = false;

  /** Takes over a connected socket, its errors included. */
  constructor(socket: Socket) {
    super({ allowHalfOpen: true });
    this.#socket = socket;
    socket.on('data', (chunk: Uint8Array) => {
      if (!this.push(chunk) || this.#isHeld) socket.pause();
    });
    socket.on('end', () => this.push(null));
    socket.on('error', error => this.destroy(error));
    socket.on('close', () => this.destroy());
  }

  hold(): void {
    this.#isHeld = true;
    this.#socket.pause();
  }

  release(): void {
    this.#isHeld = false;
    this.#socket.resume();
  }

  unref(): void {
    this.#socket.unref();
  }

  override _read(): void {
    if (!this.#isHeld) this.#socket.resume();
  }

  override _write(chunk: Uint8Array, _encoding: string, done: (error?: Error | null) => void): void {
    this.#socket.write(chunk, done);
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#socket.end(done);
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#socket.destroy();
    done(error);
  }
}
