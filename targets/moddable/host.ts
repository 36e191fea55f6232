/** The ports of a Moddable host, over injected ECMA-419 classes (`io.ts`). */
import { canonicalAddress, parseAddress, parsePrefix, prefixContains } from '../../lib/base/address.ts';
import { NetError } from '../../lib/base/errors.ts';
import type {
  Clock,
  DatagramOptions,
  Datagrams,
  DatagramSink,
  Host,
  HostStream,
  Random,
  Store,
  StreamOptions,
  StreamSink,
  Timer,
} from '../../lib/ports.ts';
import { parsePin } from './certificate.ts';
import { createClock, ModdableTimer } from './clock.ts';
import { openModdableDatagrams } from './datagrams.ts';
import type { ModdableIo } from './io.ts';
import { openModdableStream, type StreamHost } from './streams.ts';
import { createWatchedTcp } from './tls.ts';

/** Addresses that are of no use to others, or belong to a tailnet; the link-local one only where there is no other. */
const USELESS: readonly string[] = Object.freeze(['0.0.0.0/8', '127.0.0.0/8', '100.64.0.0/10', '224.0.0.0/3']);
const LINK_LOCAL = '169.254.0.0/16';

/** What {@link createModdableHost} takes beside the classes. */
export interface ModdableHostOptions {
  /**
   * Public keys of TLS servers, by the name that they are called by: `sha256//` and the base64 of SHA-256 of
   * SubjectPublicKeyInfo (`curl --pinnedpubkey`). Several may be given for one server, so that it can change its key.
   */
  readonly pins?: Readonly<Record<string, string | readonly string[]>>;
  /**
   * Leaves servers without a pin to Moddable's own verification of certificates. In Moddable 8.2.3 that accepts forged
   * certificates: only for a version of which you know better, or a network that you trust.
   */
  readonly trustsModdable?: boolean;
}

/** A {@link Host}. Throws RangeError for a pin that is none. */
export function createModdableHost(io: ModdableIo, options: ModdableHostOptions = {}): Host {
  return new ModdableHost(io, options);
}

/** One host: methods, because XS takes 160 bytes for each closure that an object of functions would hold. */
export class ModdableHost implements Host, StreamHost {
  readonly io: ModdableIo;
  readonly clock: Clock;
  readonly retained?: Store;
  readonly pins: ReadonlyMap<string, readonly Uint8Array[]> | undefined;
  readonly trustsModdable: boolean;
  #watchedTcp: ReturnType<typeof createWatchedTcp> | undefined;

  /** As {@link createModdableHost}. */
  constructor(io: ModdableIo, options: ModdableHostOptions = {}) {
    this.io = io;
    this.clock = createClock(io);
    if (io.retained !== undefined) this.retained = io.retained;
    this.pins = options.pins === undefined ? undefined : checkPins(options.pins);
    this.trustsModdable = options.trustsModdable ?? false;
  }

  get name(): string {
    return 'moddable';
  }

  get random(): Random {
    return this.io.random;
  }

  get self(): { readonly hostname: string; readonly os: string } {
    return this.io.self;
  }

  /** Made for the first stream with TLS. */
  get watchedTcp(): ReturnType<typeof createWatchedTcp> {
    this.#watchedTcp ??= createWatchedTcp(this.io.TCP);
    return this.#watchedTcp;
  }

  createTimer(fire: () => void): Timer {
    return new ModdableTimer(this.io.timer, this.clock, fire);
  }

  defer(run: () => void): void {
    this.io.timer.set(run, 0);
  }

  openDatagrams(options: DatagramOptions, sink: DatagramSink): Promise<Datagrams> {
    return openModdableDatagrams(this.io.UDP, this.io.random, options, sink);
  }

  openStream(options: StreamOptions, sink: StreamSink): HostStream {
    return openModdableStream(this, options, sink);
  }

  interfaces(): readonly string[] {
    return usableAddresses(this.io.addresses());
  }

  resolve(name: string): Promise<readonly string[]> {
    return resolveName(this.io, name);
  }
}

function checkPins(pins: NonNullable<ModdableHostOptions['pins']>): ReadonlyMap<string, readonly Uint8Array[]> {
  const out = new Map<string, readonly Uint8Array[]>();
  for (const [server, texts] of Object.entries(pins))
    out.set(
      server,
      (typeof texts === 'string' ? [texts] : texts).map(text => parsePin(text, server)),
    );
  return out;
}

function resolveName(io: ModdableIo, name: string): Promise<readonly string[]> {
  if (name === 'localhost') return Promise.resolve(['127.0.0.1']);
  return new Promise((resolve, reject) => {
    const fail = (cause?: unknown) =>
      reject(new NetError('ERR_NAME_NOT_FOUND', `the name ${name} does not resolve`, { cause }));
    try {
      io.resolve(name, address => {
        const found = address === undefined ? undefined : canonicalAddress(address);
        if (found === undefined) fail();
        else resolve([found]);
      });
    } catch (cause) {
      fail(cause);
    }
  });
}

/** Those that others could use, in canonical form, each once. */
function usableAddresses(all: readonly (string | undefined)[]): readonly string[] {
  const found = new Set<string>();
  const linkLocal = new Set<string>();
  for (const text of all) {
    const bytes = text === undefined ? undefined : parseAddress(text);
    if (bytes?.length !== 4 || USELESS.some(prefix => prefixContains(parsePrefix(prefix)!, bytes))) continue;
    const isLinkLocal = prefixContains(parsePrefix(LINK_LOCAL)!, bytes);
    (isLinkLocal ? linkLocal : found).add(canonicalAddress(text!)!);
  }
  return Object.freeze([...(found.size > 0 ? found : linkLocal)]);
}
