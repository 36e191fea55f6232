/**
 * ECMA-419's TCP, Listener and Resolver, and Moddable's Timer, as far as these examples use them. On a board and on Node
 * the classes are those of `createTunnel(mote)`; a board's own would do as well, outside the tailnet.
 */

/** ECMA-419 TCP. */
export interface Tcp {
  format: 'buffer' | 'number';
  read(): ArrayBuffer | number | undefined;
  write(bytes: Uint8Array): number;
  close(): void;
}

/** What the constructor takes. */
export interface TcpOptions {
  address?: string;
  port?: number;
  from?: unknown;
  onReadable?: (bytes: number) => void;
  onWritable?: (bytes: number) => void;
  onError?: () => void;
}

/** The io classes of one network. */
export interface Io {
  readonly TCP: new (options: TcpOptions) => Tcp;
  readonly Listener: new (options: {
    port: number;
    onReadable: (connections: number) => void;
  }) => {
    read(): unknown;
    close(): void;
  };
  readonly Resolver: new (
    options: object,
  ) => {
    resolve(options: { host: string; onResolved: (host: string, address: string) => void; onError: () => void }): void;
    close(): void;
  };
}

/** Moddable's Timer. */
export interface Timers {
  set(run: () => void, ms: number): unknown;
  clear(timer: unknown): void;
}

/** Bytes of a text of ASCII. Throws RangeError for any other: these examples need no more, and XS has no TextEncoder. */
export function ascii(text: string): Uint8Array {
  const out = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code > 127) throw new RangeError(`expected ASCII, got '${text.slice(0, 40)}'`);
    out[i] = code;
  }
  return out;
}

/** Text of bytes, one character each. */
export function text(bytes: ArrayBuffer): string {
  let out = '';
  for (const byte of new Uint8Array(bytes)) out += String.fromCharCode(byte);
  return out;
}
