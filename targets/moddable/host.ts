/** The ports of a Moddable host, over injected ECMA-419 classes (`io.ts`). */
import { canonicalAddress, parseAddress, parsePrefix, prefixContains } from '../../lib/base/address.ts';
import { NetError } from '../../lib/base/errors.ts';
import type { Host } from '../../lib/ports.ts';
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
  const clock = createClock(io);
  const resolve = (name: string) => resolveName(io, name);
  const streams: StreamHost = {
    io,
    watchedTcp: createWatchedTcp(io.TCP),
    pins: checkPins(options.pins ?? {}),
    trustsModdable: options.trustsModdable ?? false,
    resolve,
    after: (ms, run) => {
      let isOver = false;
      const timer = io.timer.set(() => {
        isOver = true;
        run();
      }, Math.ceil(ms));
      return () => {
        if (!isOver) io.timer.clear(timer);
        isOver = true;
      };
    },
  };
  return Object.freeze({
    name: 'moddable',
    clock,
    random: io.random,
    ...(io.retained === undefined ? {} : { retained: io.retained }),
    self: io.self,
    createTimer: (fire: () => void) => new ModdableTimer(io.timer, clock, fire),
    defer: (run: () => void) => {
      io.timer.set(run, 0);
    },
    openDatagrams: (datagrams, sink) => openModdableDatagrams(io.UDP, io.random, datagrams, sink),
    openStream: (stream, sink) => openModdableStream(streams, stream, sink),
    interfaces: () => usableAddresses(io.addresses()),
    resolve,
    secureFetchAdvice: 'give Moddable’s HTTPS client the TCP class of createTunnel()',
  } satisfies Host);
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
