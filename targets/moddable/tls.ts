/**
 * Opens Moddable's TLSSocket so that a {@link TlsWatch} sees what passes beneath it, and so that what TLSSocket throws
 * from inside its callbacks (which would restart a board) becomes a failed connection.
 */
import type { TcpClass, TcpIo, TcpIoOptions, TlsIo } from './io.ts';
import type { TlsWatch } from './tls-watch.ts';

/** What the constructor of the watched TCP class finds in its options, because TLSSocket passes its own on. */
interface WatchedOptions extends TcpIoOptions {
  readonly watch: TlsWatch;
}

/** A TCP class for `TCP: { io }` of TLSSocket, which reports to the `watch` of its options. One per host. */
export function createWatchedTcp(TCP: TcpClass): new (options: WatchedOptions) => TcpIo {
  return class WatchedTcp extends TCP {
    readonly #watch: TlsWatch;

    constructor(options: WatchedOptions) {
      const { watch, onReadable, onWritable, onError } = options;
      const guard = (run: () => void) => {
        try {
          run();
        } catch (error) {
          watch.broke(error instanceof Error ? error.message : 'TLS failed');
          onError?.();
        }
      };
      super({
        address: options.address,
        port: options.port,
        nodelay: true,
        onReadable: bytes => guard(() => onReadable?.(bytes)),
        onWritable: bytes => guard(() => onWritable?.(bytes)),
        onError: () => guard(() => onError?.()),
      });
      this.#watch = watch;
    }

    override read(count?: number): ArrayBuffer | undefined;
    override read(into: Uint8Array): number | undefined;
    override read(what?: number | Uint8Array): ArrayBuffer | number | undefined {
      if (what instanceof Uint8Array) {
        const count = super.read(what);
        this.#watch.received(what);
        return count;
      }
      const got = super.read(what);
      if (got !== undefined) this.#watch.received(new Uint8Array(got));
      return got;
    }

    override write(buffer: Uint8Array): number | undefined {
      this.#watch.sent(buffer instanceof Uint8Array ? buffer : new Uint8Array(buffer));
      return super.write(buffer);
    }
  };
}

/** What {@link openTls} takes. */
export interface TlsOpening extends TcpIoOptions {
  readonly serverName: string;
  readonly watch: TlsWatch;
  /** Whether TLSSocket is to judge the certificate, for want of a pin. */
  readonly verifies: boolean;
}

/** A TLSSocket over a watched TCP class. Throws as its constructor does. */
export function openTls(tls: TlsIo, watched: ReturnType<typeof createWatchedTcp>, opening: TlsOpening): TcpIo {
  const { serverName, watch, verifies, ...rest } = opening;
  // A resumed session would show no certificate, so none is cached.
  const secure = { cache: false, ...(verifies ? {} : { verify: false }) };
  const options = { ...rest, host: serverName, TCP: { io: watched }, secure, watch };
  return new tls.TLSSocket(options);
}
