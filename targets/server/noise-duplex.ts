/**
 * A ControlResponder between a socket and HTTP/2: a Node stream with the plaintext, back-pressure in both directions.
 */
import { Duplex } from 'node:stream';
import type { ControlResponder } from '../../lib/control/responder.ts';

/** Plaintext that is handed over at once. */
const PIECE_BYTES = 16_384;
/** What records add to plaintext, at most, for the pieces that are written at once. */
const SEALED_BYTES = PIECE_BYTES + 256;

/** The stream inside a control connection. It owns the socket: it goes when this goes, and the other way round. */
export class NoiseDuplex extends Duplex {
  readonly #socket: Duplex;
  readonly #responder: ControlResponder;
  readonly #now: () => number;
  /** Bytes of the socket that the responder has no room for. */
  #rest: Uint8Array = new Uint8Array(0);
  #isWanted = false;
  #isEnded = false;
  #write: { readonly chunk: Uint8Array; at: number; readonly done: (error?: Error) => void } | undefined;

  /** `head` are bytes that came behind the request. */
  constructor(socket: Duplex, responder: ControlResponder, head: Uint8Array, now: () => number) {
    super({ readableHighWaterMark: PIECE_BYTES, writableHighWaterMark: PIECE_BYTES });
    this.#socket = socket;
    this.#responder = responder;
    this.#now = now;
    socket.on('data', (chunk: Uint8Array) => this.#receive(chunk));
    socket.on('end', () => {
      this.#isEnded = true;
      this.#deliver();
    });
    socket.on('drain', () => this.#flush());
    socket.on('error', error => this.destroy(error));
    socket.on('close', () => this.destroy());
    this.#flush();
    // Node's HTTP/2 session must be there before the first bytes.
    if (head.length > 0) setImmediate(() => this.#receive(head));
  }

  override _read(): void {
    // Node's HTTP/2 session aborts the process when it is given bytes while it writes some.
    this.#isWanted = true;
    setImmediate(() => this.#deliver());
  }

  override _write(chunk: Uint8Array, _encoding: string, done: (error?: Error) => void): void {
    this.#write = { chunk, at: 0, done: error => setImmediate(() => done(error)) };
    this.#flush();
  }

  override _final(done: (error?: Error) => void): void {
    this.#socket.end();
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#responder.close();
    this.#socket.destroy();
    this.#write?.done(error ?? new Error('the connection is closed'));
    this.#write = undefined;
    done(error);
  }

  #receive(chunk: Uint8Array): void {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    this.#deliver();
  }

  /** Moves what there is inwards: as much as is wanted. */
  #deliver(): void {
    if (this.destroyed) return;
    for (let isMoving = true; isMoving; ) {
      isMoving = this.#feed();
      while (this.#isWanted) {
        const piece = Buffer.allocUnsafe(PIECE_BYTES);
        const length = this.#responder.pollPlain(piece, 0, piece.length);
        if (length === 0) break;
        this.#isWanted = this.push(piece.subarray(0, length));
        isMoving = true;
      }
    }
    if (this.#rest.length > 0) this.#socket.pause();
    else if (this.#isEnded) this.#end();
    else this.#socket.resume();
  }

  /** Gives the responder what it has room for; whether that was anything. */
  #feed(): boolean {
    const take = Math.min(this.#rest.length, this.#responder.receiveRoom);
    if (take === 0) {
      if (this.#responder.error !== undefined) this.destroy(this.#responder.error);
      return false;
    }
    const result = this.#responder.handleBytes(this.#now(), this.#rest, 0, take);
    this.#rest = this.#rest.subarray(take);
    if (result < 0) this.destroy(this.#responder.error ?? new Error('the connection is closed'));
    return result >= 0;
  }

  /** The socket has ended, and everything that came over it has been delivered or waits for `_read`. */
  #end(): void {
    this.#responder.handleEnd(this.#now());
    if (this.#responder.error !== undefined) this.destroy(this.#responder.error);
    else if (this.#isWanted) this.push(null);
  }

  /** Writes what there is outwards, as far as the socket takes it. */
  #flush(): void {
    while (!this.#socket.writableNeedDrain && !this.#socket.destroyed) {
      const write = this.#write;
      if (write !== undefined) {
        const end = Math.min(write.chunk.length, write.at + PIECE_BYTES);
        write.at += this.#responder.handlePlain(this.#now(), write.chunk, write.at, end);
      }
      const sealed = Buffer.allocUnsafe(SEALED_BYTES);
      const length = this.#responder.pollBytes(sealed, 0, sealed.length);
      if (length > 0) this.#socket.write(sealed.subarray(0, length));
      if (write !== undefined && write.at === write.chunk.length && this.#responder.isDrained) {
        this.#write = undefined;
        write.done();
      }
      if (length === 0) return;
    }
  }
}
