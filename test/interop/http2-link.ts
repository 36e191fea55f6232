/**
 * The HTTP/2 client of lib/http2 on a real socket, for the cases of the suite `http2`: what it was answered, what it said,
 * and how much memory it held at most.
 */
import net from 'node:net';
import type { NetError } from '../../lib/base/errors.ts';
import { Http2Client } from '../../lib/http2/client.ts';
import type { Http2Request } from '../../lib/http2/client-types.ts';
import type { Http2Limits } from '../../lib/http2/limits.ts';

/** What came for one request. */
export interface Answer {
  status: number;
  body: Uint8Array[];
  bytes: number;
  /** Why it was reset. */
  notes: NetError[];
  isDone: boolean;
}

/** One connection; answers by stream. */
export class Http2Link {
  readonly client: Http2Client;
  readonly answers = new Map<number, Answer>();
  readonly socket: net.Socket;
  mostMemory = 0;
  holds = false;
  onWritable = () => {};
  readonly log: string[] = [];
  readonly #isByteByByte: boolean;

  constructor(port: number, limits: Http2Limits, isByteByByte: boolean) {
    this.#isByteByByte = isByteByByte;
    this.client = new Http2Client({ nowMs: performance.now(), limits, keepAliveMs: 100 });
    this.socket = net.connect(port, '127.0.0.1', () => this.pump());
    this.socket.on('data', chunk => {
      const step = this.#isByteByByte ? 1 : chunk.length;
      for (let at = 0; at < chunk.length; at += step) {
        this.client.handleBytes(performance.now(), chunk, at, at + step);
        this.mostMemory = Math.max(this.mostMemory, this.client.memoryBytes);
      }
      this.pump();
    });
    this.socket.on('drain', () => this.pump());
    this.socket.on('close', () => {
      this.client.handleEnd();
      this.pump();
    });
  }

  pump(): void {
    const out = new Uint8Array(4096);
    this.client.handleTimeout(performance.now());
    for (let isBusy = true; isBusy; ) {
      isBusy = false;
      for (let event = this.client.pollEvent(); event !== undefined; event = this.client.pollEvent()) {
        const answer = 'id' in event ? this.answers.get(event.id)! : undefined;
        if (event.type === 'headers') answer!.status = event.status;
        else if (event.type === 'data') {
          answer!.body.push(event.buf.slice(event.start, event.end));
          answer!.bytes += event.end - event.start;
          if (!this.holds) this.client.consumed(performance.now(), event.id, event.end - event.start);
        } else if (event.type === 'writable') this.onWritable();
        else if (event.type === 'end') answer!.isDone = true;
        else this.log.push(JSON.stringify(event));
        if (event.type === 'reset' && answer !== undefined) {
          answer.isDone = true;
          answer.notes.push(event.error);
        }
      }
      while (this.socket.writableLength < 65_536) {
        const length = this.client.pollBytes(out, 0, out.length);
        if (length === 0) break;
        this.socket.write(out.slice(0, length));
        isBusy = true;
      }
    }
  }

  request(request: Partial<Http2Request>): Answer & { id: number } {
    const id = this.client.request(performance.now(), { method: 'GET', path: '/', authority: 'unused', ...request });
    const answer = { id, status: 0, body: [], bytes: 0, notes: [], isDone: false };
    this.answers.set(id, answer);
    this.pump();
    return answer;
  }

  async until(what: string, holds: () => boolean): Promise<void> {
    const deadline = performance.now() + 20_000;
    while (!holds()) {
      if (performance.now() > deadline) throw new Error(`${what} did not happen; ${this.client.error?.message}`);
      await new Promise(resolve => setTimeout(resolve, 5));
      this.pump();
    }
  }
}
