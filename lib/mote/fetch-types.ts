/**
 * The Fetch API's classes as this library uses them: taken from the runtime when they are needed, never at load.
 *
 * The core compiles without the types of any runtime, so the parts in use are written down here as plain interfaces.
 * Where a runtime's own types are present, {@link RuntimeRequest} and its siblings are the runtime's types, so that
 * a user sees `Request` and `Response` and not a look-alike. Left out: everything that HTTP over a mote does not touch.
 */

/** The part of `Headers` in use. */
export interface FetchHeaders {
  append(name: string, value: string): void;
  delete(name: string): void;
  get(name: string): string | null;
  has(name: string): boolean;
  set(name: string, value: string): void;
  forEach(callback: (value: string, name: string) => void): void;
}

/** The part of `ReadableStreamDefaultReader` in use. */
export interface FetchReader {
  read(): Promise<{ done: boolean; value?: unknown }>;
  cancel(reason?: unknown): Promise<void>;
  releaseLock(): void;
}

/** The part of `ReadableStream` in use. */
export interface FetchStream {
  readonly locked: boolean;
  getReader(): FetchReader;
  cancel(reason?: unknown): Promise<void>;
}

/** The part of `ReadableStreamDefaultController` in use. */
export interface FetchStreamController {
  enqueue(chunk: Uint8Array): void;
  close(): void;
  error(reason: unknown): void;
}

/** What a stream is made of. */
export interface FetchStreamSource {
  start?(controller: FetchStreamController): void;
  pull?(controller: FetchStreamController): Promise<void> | void;
  cancel?(reason: unknown): Promise<void> | void;
}

/** The part of `AbortSignal` in use. */
export interface FetchSignal {
  readonly aborted: boolean;
  readonly reason?: unknown;
  addEventListener(type: 'abort', listener: () => void): void;
  removeEventListener(type: 'abort', listener: () => void): void;
}

/** The part of `Request` in use. */
export interface FetchRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: FetchHeaders;
  readonly body: FetchStream | null;
  readonly bodyUsed: boolean;
  readonly redirect?: string;
  readonly integrity?: string;
  readonly signal?: FetchSignal;
  arrayBuffer(): Promise<ArrayBuffer>;
}

/** The part of `Response` in use. */
export interface FetchResponse {
  readonly status: number;
  readonly statusText: string;
  readonly headers: FetchHeaders;
  readonly body: FetchStream | null;
  readonly bodyUsed: boolean;
}

/** The part of `URL` in use. */
export interface FetchUrl {
  readonly href: string;
  readonly origin: string;
  readonly protocol: string;
  readonly hostname: string;
  readonly host: string;
  readonly port: string;
  readonly pathname: string;
  readonly search: string;
  readonly username: string;
  readonly password: string;
  hash: string;
}

/** What the second argument of `fetch` may hold, as far as this library reads it itself. */
export interface FetchInit {
  body?: unknown;
  integrity?: string;
  signal?: FetchSignal | null;
}

/** The classes, as a runtime has them or as a test or a small runtime supplies them. */
export interface FetchClasses {
  readonly Headers: new (init?: FetchHeaders) => FetchHeaders;
  readonly Request: new (input: unknown, init?: object) => FetchRequest;
  readonly Response: new (body: FetchStream | Uint8Array | null, init?: object) => FetchResponse;
  readonly ReadableStream: new (source: FetchStreamSource, strategy?: { highWaterMark: number }) => FetchStream;
  readonly URL: new (url: string, base?: string) => FetchUrl;
  readonly AbortController: new () => { readonly signal: FetchSignal; abort(reason?: unknown): void };
}

/** The runtime's `Request` where its types are known, {@link FetchRequest} otherwise. */
export type RuntimeRequest = typeof globalThis extends { Request: { prototype: infer T } } ? T : FetchRequest;
/** The runtime's `Response` where its types are known, {@link FetchResponse} otherwise. */
export type RuntimeResponse = typeof globalThis extends { Response: { prototype: infer T } } ? T : FetchResponse;
/** What the runtime's `fetch` takes first: a text, a `URL` or a `Request`. */
export type RuntimeRequestInput = string | { readonly href: string } | RuntimeRequest;
/** What the runtime's `fetch` takes second. */
export type RuntimeRequestInit = typeof globalThis extends {
  Request: { new (input: never, init?: infer T): unknown };
}
  ? T
  : FetchInit & Record<string, unknown>;

/** The names that {@link fetchClasses} looks for. */
const FETCH_CLASS_NAMES = Object.freeze(['Headers', 'Request', 'Response', 'ReadableStream', 'URL', 'AbortController']);

/** The runtime's own classes. Throws TypeError with the missing name where the runtime has no Fetch API. */
export function fetchClasses(): FetchClasses {
  const realm = globalThis as unknown as Record<string, unknown>;
  for (const name of FETCH_CLASS_NAMES)
    if (typeof realm[name] !== 'function')
      throw new TypeError(
        `"classes" expected where the runtime has no global ${name}: pass { classes: { ${name}, … } }`,
      );
  return realm as unknown as FetchClasses;
}
