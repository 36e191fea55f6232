/**
 * What runs over one connection to a coordinator: short requests with their answers, and the map stream into the
 * decoder, whose every byte is consumed as it is decoded. A stream without a message for 120 seconds is dead.
 *
 * Left out: when to ask for what, and what an answer means.
 */
import { NetError } from '../base/errors.ts';
import type { Http2Event } from '../http2/client-types.ts';
import { AnswerReader } from './client-answer.ts';
import { ControlLink, type ControlLinkOptions, type ControlLinkOwner } from './client-link.ts';
import type { MapDecoder } from './map-decoder.ts';

/** A map stream without any message for this long is given up; keepalives are due every 60 seconds. */
export const WATCHDOG_MS = 120_000;
/** Where the two requests of the protocol go. */
export const REGISTER_PATH = '/machine/register';
export const MAP_PATH = '/machine/map';

/** Kinds of short requests; at most one of each is under way. */
export type CallKind = 'register' | 'update' | 'ping' | 'logout';

/** What has happened. */
export type SessionEvent =
  /** The answer is there, whatever its status. */
  | { readonly type: 'answer'; readonly kind: CallKind; readonly answer: AnswerReader }
  /** There is none. */
  | { readonly type: 'call-failed'; readonly kind: CallKind; readonly error: NetError }
  /** The coordinator has opened the map stream. */
  | { readonly type: 'map-open' }
  /** Messages have been applied to the netmap; the decoder has events. */
  | { readonly type: 'map-message' }
  /** The stream is over, `answer` where it was refused. `isSilent`: the watchdog has ended it. */
  | {
      readonly type: 'map-ended';
      readonly error: NetError;
      readonly answer: AnswerReader | undefined;
      readonly isSilent: boolean;
    }
  /** The coordinator wants this connection to end. */
  | { readonly type: 'goaway' };

interface Call {
  readonly kind: CallKind;
  readonly id: number;
  readonly answer: AnswerReader;
  readonly deadlineMs: number;
}

interface MapStream {
  readonly id: number;
  /** What the coordinator says instead of a map; undefined: the stream is open. */
  answer: AnswerReader | undefined;
  lastMessageMs: number;
}

/** What a session needs. */
export interface ControlSessionOptions extends ControlLinkOptions {
  readonly decoder: MapDecoder;
}

/** See the top of the file. */
export class ControlSession implements ControlLinkOwner {
  /** When the map stream brought its first message; Infinity before. */
  mapSinceMs = Infinity;
  readonly #link: ControlLink;
  readonly #decoder: MapDecoder;
  readonly #authority: string;
  readonly #answerBytes: number;
  #calls: Call[] = [];
  #map: MapStream | undefined = undefined;
  readonly #events: SessionEvent[] = [];

  constructor(options: ControlSessionOptions) {
    this.#link = new ControlLink(options, this);
    this.#decoder = options.decoder;
    this.#authority = options.host;
    this.#answerBytes = options.limits.answerBytes;
  }

  /** Why the connection is dead. */
  get error(): NetError | undefined {
    return this.#link.error;
  }

  /** Whether the coordinator has proved its key. */
  get isEstablished(): boolean {
    return this.#link.isEstablished;
  }

  /** About how many bytes of memory the connection holds for what is under way. */
  get heldBytes(): number {
    return this.#link.heldBytes;
  }

  /** Whether a map stream was asked for, and whether it was granted. */
  get hasMap(): boolean {
    return this.#map !== undefined;
  }

  get isMapOpen(): boolean {
    return this.#map !== undefined && this.#map.answer === undefined;
  }

  /** Whether a request of this kind is under way. */
  hasCall(kind: CallKind): boolean {
    return this.#calls.some(call => call.kind === kind);
  }

  /** Asks for something; an answer has to be complete within `timeoutMs`. False when it cannot be asked now. */
  call(nowMs: number, kind: CallKind, method: string, path: string, body: Uint8Array, timeoutMs: number): boolean {
    const id = this.#request(nowMs, method, path, body);
    const answer = new AnswerReader(kind === 'register' ? 'RegisterResponse' : undefined, this.#answerBytes);
    if (id >= 0) this.#calls.push({ kind, id, answer, deadlineMs: nowMs + timeoutMs });
    return id >= 0;
  }

  /** Gives requests of this kind up; nothing more is heard of them. */
  cancelCall(nowMs: number, kind: CallKind): void {
    for (const call of this.#calls) if (call.kind === kind) this.#link.http2.cancel(nowMs, call.id);
    this.#calls = this.#calls.filter(call => call.kind !== kind);
  }

  /** Asks for the map stream. False when it cannot be asked for now. */
  openMap(nowMs: number, body: Uint8Array): boolean {
    this.closeMap(nowMs);
    const id = this.#request(nowMs, 'POST', MAP_PATH, body);
    if (id < 0) return false;
    this.#decoder.startStream();
    this.mapSinceMs = Infinity;
    this.#map = { id, answer: new AnswerReader(undefined, 0), lastMessageMs: nowMs };
    return true;
  }

  /** Gives the map stream up; nothing more is heard of it. */
  closeMap(nowMs: number): void {
    if (this.#map !== undefined) this.#link.http2.cancel(nowMs, this.#map.id);
    this.#map = undefined;
  }

  /** Bytes of the connection, lent for the call and overwritten. */
  handleBytes(nowMs: number, buf: Uint8Array, start: number, end: number): void {
    this.#link.handleBytes(nowMs, buf, start, end);
    this.drain(nowMs);
  }

  /** The connection has ended. */
  handleEnd(nowMs: number): void {
    this.#link.handleEnd(nowMs);
    this.drain(nowMs);
  }

  /** Writes what is to go to the coordinator into `out[start, end)`; returns how many bytes. */
  pollBytes(nowMs: number, out: Uint8Array, start: number, end: number): number {
    return this.#link.pollBytes(nowMs, out, start, end);
  }

  /** The next event. */
  pollEvent(): SessionEvent | undefined {
    return this.#events.shift();
  }

  handleTimeout(nowMs: number): void {
    this.#link.handleTimeout(nowMs);
    this.drain(nowMs);
    const silentMs = this.#map === undefined ? 0 : nowMs - this.#map.lastMessageMs;
    if (silentMs >= WATCHDOG_MS) this.#endMap(nowMs, silenceError(), true); // CHECK: control-watchdog
    for (const call of [...this.#calls]) if (nowMs >= call.deadlineMs) this.#giveUp(nowMs, call); // CHECK: control-call-timeout
  }

  nextTimeout(): number {
    let dueMs = Math.min(this.#link.nextTimeout(), (this.#map?.lastMessageMs ?? Infinity) + WATCHDOG_MS);
    for (const call of this.#calls) dueMs = Math.min(dueMs, call.deadlineMs);
    return dueMs;
  }

  /** Erases keys and queues. */
  close(): void {
    this.#link.close();
  }

  #request(nowMs: number, method: string, path: string, body: Uint8Array): number {
    const head = { method, path, authority: this.#authority };
    return this.#link.http2.request(nowMs, body.length === 0 ? head : { ...head, body });
  }

  /** Takes what HTTP/2 has brought. */
  drain(nowMs: number): void {
    for (let event = this.#link.pollEvent(); event !== undefined; event = this.#link.pollEvent()) {
      if (event.type === 'goaway') this.#events.push({ type: 'goaway' });
      else if (event.type !== 'closed') this.#dispatch(nowMs, event);
    }
  }

  #dispatch(nowMs: number, event: Exclude<Http2Event, { type: 'goaway' | 'closed' }>): void {
    const map = this.#map;
    if (map?.id === event.id) return this.#handleMap(nowMs, map, event);
    const call = this.#calls.find(({ id }) => id === event.id);
    if (event.type === 'data') {
      call?.answer.handleData(event.buf, event.start, event.end);
      this.#link.http2.consumed(nowMs, event.id, event.end - event.start);
    }
    if (call === undefined) return;
    const { kind, answer } = call;
    if (event.type === 'headers') answer.handleHead(event.status, event.headers);
    if (event.type !== 'end' && event.type !== 'reset') return;
    this.#calls = this.#calls.filter(other => other !== call);
    if (event.type === 'end') this.#events.push({ type: 'answer', kind, answer });
    else this.#events.push({ type: 'call-failed', kind, error: event.error });
  }

  #handleMap(nowMs: number, map: MapStream, event: Http2Event): void {
    if (event.type === 'headers') {
      map.answer?.handleHead(event.status, event.headers);
      if (event.status !== 200) return;
      map.answer = undefined;
      this.#events.push({ type: 'map-open' });
    } else if (event.type === 'data') {
      const { buf, start, end } = event;
      if (map.answer === undefined) this.#decode(nowMs, map, buf, start, end);
      else map.answer.handleData(buf, start, end);
      this.#link.http2.consumed(nowMs, event.id, end - start);
    } else if (event.type === 'end') {
      if (map.answer === undefined) this.#decoder.handleEnd();
      this.#endMap(nowMs, this.#decoder.error ?? endError(), false);
    } else if (event.type === 'reset') {
      this.#endMap(nowMs, event.error, false);
    }
  }

  #decode(nowMs: number, map: MapStream, buf: Uint8Array, start: number, end: number): void {
    const decoder = this.#decoder;
    const before = decoder.messages;
    const result = decoder.handleBytes(buf, start, end);
    if (decoder.messages > before) {
      map.lastMessageMs = nowMs;
      this.mapSinceMs = Math.min(this.mapSinceMs, nowMs);
      if (this.#events.at(-1)?.type !== 'map-message') this.#events.push({ type: 'map-message' });
    }
    if (result < 0) this.#endMap(nowMs, decoder.error!, false);
  }

  #endMap(nowMs: number, error: NetError, isSilent: boolean): void {
    const refusal = this.#map?.answer;
    const answer = refusal !== undefined && refusal.status > 0 ? refusal : undefined;
    this.closeMap(nowMs);
    this.#events.push({ type: 'map-ended', error, answer, isSilent });
  }

  #giveUp(nowMs: number, call: Call): void {
    this.#link.http2.cancel(nowMs, call.id);
    this.#calls = this.#calls.filter(other => other !== call);
    const error = new NetError('ERR_TIMED_OUT', 'the coordinator did not answer in time');
    this.#events.push({ type: 'call-failed', kind: call.kind, error });
  }
}

function silenceError(): NetError {
  return new NetError('ERR_TIMED_OUT', 'the coordinator was silent for two minutes');
}

function endError(): NetError {
  return new NetError('ERR_CONNECTION_RESET', 'the coordinator ended the map stream');
}
