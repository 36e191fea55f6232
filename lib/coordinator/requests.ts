/**
 * Requests that have no answer yet: an answer goes out once, and none to a client that has gone. One source may have
 * only so many of them.
 */
import { sourceOf } from '../base/address.ts';

/** What an open request is answered with. */
export type RequestKind = 'reply' | 'stream' | 'outcome';

interface OpenRequest {
  readonly source: string;
  kind: RequestKind;
  /** Called when the client goes away. */
  onAbandon: (() => void) | undefined;
}

/** All open requests of a coordinator. */
export class Requests {
  readonly #mostPerSource: number;
  readonly #open = new Map<number, OpenRequest>();
  readonly #waiting = new Map<string, number>();
  #lastId = 0;

  constructor(mostPerSource: number) {
    this.#mostPerSource = mostPerSource;
  }

  /** Open requests, streams included. */
  get size(): number {
    return this.#open.size;
  }

  /** A new request of a source. */
  open(source: string): number {
    const id = ++this.#lastId;
    const from = sourceOf(source);
    this.#open.set(id, { source: from, kind: 'reply', onAbandon: undefined });
    this.#count(from, 1);
    return id;
  }

  /** A new command of an administrator; those are not counted. */
  openCommand(): number {
    const id = ++this.#lastId;
    this.#open.set(id, { source: '', kind: 'outcome', onAbandon: undefined });
    return id;
  }

  /** Whether the source has more requests waiting than it may. */
  isOverLimit(source: string): boolean {
    return (this.#waiting.get(sourceOf(source)) ?? 0) > this.#mostPerSource;
  }

  /** Whether the request still waits for its answer. */
  has(id: number): boolean {
    return this.#open.has(id);
  }

  /** Whether the request is a stream now. */
  isStream(id: number): boolean {
    return this.#open.get(id)?.kind === 'stream';
  }

  /** What to do when the client goes away while it waits. */
  whenAbandoned(id: number, act: () => void): void {
    const request = this.#open.get(id);
    if (request !== undefined) request.onAbandon = act;
  }

  /** The answer begins and goes on: the request waits no longer, and ends later. */
  startStream(id: number): void {
    const request = this.#open.get(id);
    if (request?.kind !== 'reply') return;
    request.kind = 'stream';
    this.#count(request.source, -1);
  }

  /** The answer has been given; false when nobody waits for it. */
  end(id: number): boolean {
    const request = this.#open.get(id);
    if (request === undefined) return false;
    this.#open.delete(id);
    if (request.kind === 'reply') this.#count(request.source, -1);
    return true;
  }

  /** The client has gone. */
  abandon(id: number): void {
    const onAbandon = this.#open.get(id)?.onAbandon;
    this.end(id);
    onAbandon?.();
  }

  /** Ends all; returns what they were. */
  endAll(): readonly { readonly id: number; readonly kind: RequestKind }[] {
    const all = [...this.#open].map(([id, { kind }]) => ({ id, kind }));
    this.#open.clear();
    this.#waiting.clear();
    return all;
  }

  #count(source: string, by: number): void {
    const count = (this.#waiting.get(source) ?? 0) + by;
    if (count === 0) this.#waiting.delete(source);
    else this.#waiting.set(source, count);
  }
}
