/**
 * Web Streams as a connection offers them, without the types of any runtime (see fetch-types.ts for why and how).
 * The classes are taken from the runtime when a stream is first asked for, never at load.
 */
import type { FetchStream, FetchStreamSource } from './fetch-types.ts';

/** The part of `WritableStream` in use. */
export interface SinkStream {
  readonly locked: boolean;
  abort(reason?: unknown): Promise<void>;
  close(): Promise<void>;
  getWriter(): { write(chunk: Uint8Array): Promise<void>; close(): Promise<void>; releaseLock(): void };
}

/** The runtime's `ReadableStream` where its types are known, the part in use otherwise. */
export type RuntimeReadableStream = typeof globalThis extends { ReadableStream: { prototype: infer T } }
  ? T
  : FetchStream;
/** The runtime's `WritableStream` where its types are known, the part in use otherwise. */
export type RuntimeWritableStream = typeof globalThis extends { WritableStream: { prototype: infer T } }
  ? T
  : SinkStream;

/** What a writable stream does with its chunks. */
interface Sink {
  write(chunk: Uint8Array): Promise<void>;
  close(): Promise<void>;
  abort(): void;
}

interface StreamClasses {
  readonly ReadableStream: new (
    source: FetchStreamSource,
    strategy: { highWaterMark: number },
  ) => RuntimeReadableStream;
  readonly WritableStream: new (sink: Sink) => RuntimeWritableStream;
}

/** The runtime's stream classes. Throws TypeError where it has none: use `read` and `write` there. */
export function streamClasses(): StreamClasses {
  const realm = globalThis as unknown as Partial<StreamClasses>;
  if (typeof realm.ReadableStream !== 'function' || typeof realm.WritableStream !== 'function')
    throw new TypeError('this runtime has no Web Streams: use read(), write() and end()');
  return realm as StreamClasses;
}
