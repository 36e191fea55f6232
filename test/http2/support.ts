/** Helpers of the HTTP/2 tests: a server's frames, a client's output taken apart, and a connection that has begun. */
import { concatBytes, fromHex, readU32BE, toHex, utf8Encode, writeU16BE, writeU32BE } from '../../lib/base/bytes.ts';
import { Http2Client } from '../../lib/http2/client.ts';
import type { Http2Event, Http2Request } from '../../lib/http2/client-types.ts';
import {
  CONNECTION_PREFACE,
  FLAG_ACK,
  FLAG_END_HEADERS,
  FLAG_END_STREAM,
  FRAME_DATA,
  FRAME_GOAWAY,
  FRAME_HEADERS,
  FRAME_RST_STREAM,
  FRAME_SETTINGS,
  FRAME_WINDOW_UPDATE,
  writeFrameHeader,
} from '../../lib/http2/frame.ts';
import { encodeFields } from '../../lib/http2/hpack-encoder.ts';
import type { Field } from '../../lib/http2/hpack-table.ts';
import { HTTP2_LIMITS_LARGE, type Http2Limits } from '../../lib/http2/limits.ts';

/** Bytes of a hex text; throws when it is none. */
export function hex(text: string): Uint8Array {
  const bytes = fromHex(text.replaceAll(' ', ''));
  if (bytes === undefined) throw new Error(`not hex: ${text}`);
  return bytes;
}

/** A whole frame. */
export function frame(type: number, flags: number, id: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const payload = concatBytes(...parts);
  const out = new Uint8Array(9 + payload.length);
  out.set(payload, writeFrameHeader(out, 0, type, flags, id, payload.length));
  return out;
}

/** Four bytes. */
export function u32(...values: readonly number[]): Uint8Array {
  const out = new Uint8Array(4 * values.length);
  values.forEach((value, index) => writeU32BE(out, 4 * index, value));
  return out;
}

/** A SETTINGS frame. */
export function settings(...pairs: readonly (readonly [id: number, value: number])[]): Uint8Array {
  const payload = new Uint8Array(6 * pairs.length);
  pairs.forEach(([id, value], index) => {
    writeU16BE(payload, 6 * index, id);
    writeU32BE(payload, 6 * index + 2, value);
  });
  return frame(FRAME_SETTINGS, 0, 0, payload);
}

/** The server's acknowledgment. */
export const settingsAck = (): Uint8Array => frame(FRAME_SETTINGS, FLAG_ACK, 0);

/** A response's HEADERS in one frame. */
export function headers(id: number, fields: readonly Field[], isEnd = false): Uint8Array {
  return frame(FRAME_HEADERS, FLAG_END_HEADERS | (isEnd ? FLAG_END_STREAM : 0), id, encodeFields(fields));
}

/** A plain 200. */
export const ok = (id: number, isEnd = false): Uint8Array => headers(id, [[':status', '200']], isEnd);

/** A DATA frame. */
export function data(id: number, bytes: number | Uint8Array, isEnd = false): Uint8Array {
  const payload = typeof bytes === 'number' ? new Uint8Array(bytes).fill(id) : bytes;
  return frame(FRAME_DATA, isEnd ? FLAG_END_STREAM : 0, id, payload);
}

/** A WINDOW_UPDATE frame. */
export const update = (id: number, increment: number): Uint8Array => frame(FRAME_WINDOW_UPDATE, 0, id, u32(increment));

/** A GOAWAY frame. */
export const goaway = (lastId: number, code = 0): Uint8Array => frame(FRAME_GOAWAY, 0, 0, u32(lastId, code));

/** A frame taken apart. */
export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly id: number;
  readonly payload: Uint8Array;
}

/** A client's frames, the preface left away. Throws when the bytes do not end with a frame. */
export function framesOf(bytes: Uint8Array): Frame[] {
  const preface = utf8Encode(CONNECTION_PREFACE);
  const frames: Frame[] = [];
  let at = toHex(bytes.subarray(0, preface.length)) === toHex(preface) ? preface.length : 0;
  while (at < bytes.length) {
    const length = readU32BE(bytes, at) >>> 8;
    if (at + 9 + length > bytes.length) throw new Error('a frame is cut short');
    const payload = bytes.slice(at + 9, at + 9 + length);
    frames.push({ type: bytes[at + 3]!, flags: bytes[at + 4]!, id: readU32BE(bytes, at + 5), payload });
    at += 9 + length;
  }
  return frames;
}

/** Everything that the client has to say, in pulls of `room` bytes. */
export function drain(client: Http2Client, room = 4096): Uint8Array {
  const parts: Uint8Array[] = [];
  const out = new Uint8Array(room + 2);
  for (;;) {
    const length = client.pollBytes(out, 1, 1 + room);
    if (length === 0) return concatBytes(...parts);
    parts.push(out.slice(1, 1 + length));
  }
}

/** The events that wait; data pieces are copied. */
export function eventsOf(client: Http2Client): Http2Event[] {
  const events: Http2Event[] = [];
  for (let event = client.pollEvent(); event !== undefined; event = client.pollEvent())
    events.push(event.type === 'data' ? { ...event, buf: event.buf.slice() } : event);
  return events;
}

/** Events in short: `headers 1 200`, `data 1 5`, `end 1`, `reset 1 8`, `closed ERR_PROTOCOL`. */
export function shortEvents(client: Http2Client): string[] {
  return eventsOf(client).map(event => {
    if (event.type === 'closed') return `closed ${event.error.code}`;
    if (event.type === 'goaway') return `goaway ${event.lastId} ${event.code}`;
    if (event.type === 'headers') return `headers ${event.id} ${event.status}`;
    if (event.type === 'data') return `data ${event.id} ${event.end - event.start}`;
    if (event.type === 'reset') return `reset ${event.id} ${event.code}${event.isRetryable ? ' again' : ''}`;
    return `${event.type} ${event.id}`;
  });
}

/** A plain GET. */
export const GET: Http2Request = Object.freeze({ method: 'GET', path: '/', authority: 'unused' });

/** Feeds bytes. */
export function feed(client: Http2Client, ...parts: readonly Uint8Array[]): number {
  const bytes = concatBytes(...parts);
  return client.handleBytes(0, bytes, 0, bytes.length);
}

/** A client whose settings and whose server's are acknowledged, with `requests` GETs sent; its output so far is gone. */
export function begun(limits: Partial<Http2Limits> = {}, requests = 0): Http2Client {
  const client = new Http2Client({ nowMs: 0, limits: { ...HTTP2_LIMITS_LARGE, ...limits } });
  feed(client, settings(), settingsAck());
  for (let i = 0; i < requests; i++) client.request(0, GET);
  drain(client);
  return client;
}

/** The code of the GOAWAY that the client sent last; undefined without one. */
export function goawayCode(client: Http2Client): number | undefined {
  const last = framesOf(drain(client)).filter(({ type }) => type === FRAME_GOAWAY);
  return last.length === 0 ? undefined : readU32BE(last.at(-1)!.payload, 4);
}

/** `id:code` of the RST_STREAM frames among the client's output. */
export function resetsOf(client: Http2Client): string[] {
  return framesOf(drain(client))
    .filter(({ type }) => type === FRAME_RST_STREAM)
    .map(({ id, payload }) => `${id}:${readU32BE(payload, 0)}`);
}
