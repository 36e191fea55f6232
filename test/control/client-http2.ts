/**
 * A small HTTP/2 server for the tests of the control client: whole requests come out, answers and endless streams go in.
 * It keeps to the client's windows, and counts what it had to hold back.
 */
import { concatBytes, readU16BE, readU32BE, utf8Encode } from '../../lib/base/bytes.ts';
import {
  CONNECTION_PREFACE,
  FLAG_ACK,
  FLAG_END_STREAM,
  FRAME_DATA,
  FRAME_GOAWAY,
  FRAME_HEADERS,
  FRAME_PING,
  FRAME_RST_STREAM,
  FRAME_SETTINGS,
  FRAME_WINDOW_UPDATE,
  SETTINGS_INITIAL_WINDOW_SIZE,
} from '../../lib/http2/frame.ts';
import { HpackDecoder } from '../../lib/http2/hpack-decoder.ts';
import type { Field } from '../../lib/http2/hpack-table.ts';
import { data, frame, goaway, headers, settings, u32, update } from '../http2/support.ts';

/** A request that has arrived whole. */
export interface TestRequest {
  readonly id: number;
  readonly method: string;
  readonly path: string;
  readonly authority: string;
  readonly body: Uint8Array;
}

interface Stream {
  fields: readonly Field[];
  body: Uint8Array;
  window: number;
  /** What waits for a window. */
  out: Uint8Array;
  isEnding: boolean;
}

const DATA_BYTES = 16_000;

/** The machine. */
export class TestHttp2Server {
  readonly requests: TestRequest[] = [];
  /** Ids that the client has reset. */
  readonly resets: number[] = [];
  pings = 0;
  #in: Uint8Array = new Uint8Array(0);
  #isBegun = false;
  #out: Uint8Array[] = [settings()];
  readonly #hpack = new HpackDecoder(4096, 65_536);
  readonly #streams = new Map<number, Stream>();
  #initialWindow = 65_535;
  #window = 65_535;

  /** Bytes of the client. */
  receive(bytes: Uint8Array): void {
    this.#in = concatBytes(this.#in, bytes);
    if (!this.#isBegun) {
      if (this.#in.length < CONNECTION_PREFACE.length) return;
      this.#in = this.#in.slice(CONNECTION_PREFACE.length);
      this.#isBegun = true;
    }
    while (this.#in.length >= 9) {
      const length = readU32BE(this.#in, 0) >>> 8;
      if (this.#in.length < 9 + length) return;
      const payload = this.#in.slice(9, 9 + length);
      this.#handle(this.#in[3]!, this.#in[4]!, readU32BE(this.#in, 5), payload);
      this.#in = this.#in.slice(9 + length);
    }
  }

  /** What is to be sent. */
  take(): Uint8Array {
    for (const [id, stream] of this.#streams) this.#flush(id, stream);
    const out = concatBytes(...this.#out);
    this.#out = [];
    return out;
  }

  /** Bytes of a stream that wait for a window. */
  waiting(id: number): number {
    return this.#streams.get(id)?.out.length ?? 0;
  }

  /** The head of an answer. */
  respond(id: number, status: number, fields: readonly Field[] = []): void {
    this.#out.push(headers(id, [[':status', String(status)], ...fields]));
  }

  /** A piece of an answer's body. */
  write(id: number, bytes: Uint8Array): void {
    const stream = this.#streams.get(id)!;
    stream.out = concatBytes(stream.out, bytes);
  }

  /** The end of an answer. */
  end(id: number): void {
    const stream = this.#streams.get(id);
    if (stream !== undefined) stream.isEnding = true;
  }

  /** A whole answer. */
  answer(id: number, status: number, body: string, fields: readonly Field[] = []): void {
    this.respond(id, status, fields);
    this.write(id, utf8Encode(body));
    this.end(id);
  }

  /** Breaks a stream off. */
  reset(id: number, code: number): void {
    this.#streams.delete(id);
    this.#out.push(frame(FRAME_RST_STREAM, 0, id, u32(code)));
  }

  /** Says that it goes away. */
  goAway(lastId: number): void {
    this.#out.push(goaway(lastId));
  }

  #flush(id: number, stream: Stream): void {
    while (stream.out.length > 0) {
      const length = Math.min(stream.out.length, stream.window, this.#window, DATA_BYTES);
      if (length <= 0) return;
      this.#out.push(data(id, stream.out.slice(0, length)));
      stream.out = stream.out.slice(length);
      stream.window -= length;
      this.#window -= length;
    }
    if (!stream.isEnding) return;
    this.#out.push(data(id, 0, true));
    this.#streams.delete(id);
  }

  #handle(type: number, flags: number, id: number, payload: Uint8Array): void {
    const stream = this.#streams.get(id);
    if (type === FRAME_SETTINGS && (flags & FLAG_ACK) === 0) {
      for (let at = 0; at < payload.length; at += 6)
        if (readU16BE(payload, at) === SETTINGS_INITIAL_WINDOW_SIZE) this.#initialWindow = readU32BE(payload, at + 2);
      this.#out.push(frame(FRAME_SETTINGS, FLAG_ACK, 0));
    } else if (type === FRAME_HEADERS) {
      const list = this.#hpack.decode(payload, 0, payload.length);
      if (list === undefined) throw new Error('a header block that is none');
      const window = this.#initialWindow;
      const begun = {
        fields: list.fields,
        body: new Uint8Array(0),
        window,
        out: new Uint8Array(0),
        isEnding: false,
      };
      this.#streams.set(id, begun);
      if ((flags & FLAG_END_STREAM) !== 0) this.#finish(id, begun);
    } else if (type === FRAME_DATA && stream !== undefined) {
      stream.body = concatBytes(stream.body, payload);
      if (payload.length > 0) this.#out.push(update(0, payload.length), update(id, payload.length));
      if ((flags & FLAG_END_STREAM) !== 0) this.#finish(id, stream);
    } else if (type === FRAME_WINDOW_UPDATE) {
      if (id === 0) this.#window += readU32BE(payload, 0);
      else if (stream !== undefined) stream.window += readU32BE(payload, 0);
    } else if (type === FRAME_PING && (flags & FLAG_ACK) === 0) {
      this.pings++;
      this.#out.push(frame(FRAME_PING, FLAG_ACK, 0, payload));
    } else if (type === FRAME_RST_STREAM) {
      this.resets.push(id);
      this.#streams.delete(id);
    } else if (type === FRAME_GOAWAY) {
      this.#streams.clear();
    }
  }

  #finish(id: number, { fields, body }: Stream): void {
    const value = (name: string) => fields.find(field => field[0] === name)?.[1] ?? '';
    const [method, path, authority] = [value(':method'), value(':path'), value(':authority')];
    this.requests.push({ id, method, path, authority, body });
  }
}
