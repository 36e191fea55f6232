/**
 * motenet on Moddable (ESP32 and Linux): the board's own classes put into the adapters of this folder.
 *
 * TLS, the native crypto and the random generator are looked up by name when `up` is called, so that an image carries
 * them only when its manifest says so: without TLS there are no `https:` coordinators and no TLS relays, without the
 * native crypto it is slow, without the generator `up` fails.
 */
import TCP from 'embedded:io/socket/tcp';
import UDP from 'embedded:io/socket/udp';
import Modules from 'modules';
// biome-ignore lint/style/useNodejsImportProtocol: Moddable's module of this name
import Net from 'net';
import Preference from 'preference';
import Time from 'time';
import Timer from 'timer';
import { createTunedSuite } from '../../lib/crypto/tuned.ts';
import type { BaseMote } from '../../lib/mote/base-mote.ts';
import { createRandom } from './entropy.ts';
import type { ModdableIo, TcpClass, TcpIo, TcpIoOptions, TlsIo, UdpClass, UdpIo, UdpIoOptions } from './io.ts';
import { createNativeSuite, type NativeCrypto } from './native-suite.ts';
import { type RetainedMemory, retainedStore } from './retained-store.ts';
import { preferenceStore } from './store.ts';
import { type ModdableMoteOptions, type ModdableSetup, upWith } from './up.ts';

export { type Endpoint, formatEndpoint, parseEndpoint } from '../../lib/base/address.ts';
export { type ErrorCode, NetError } from '../../lib/base/errors.ts';
export { SecretKey } from '../../lib/crypto/keys.ts';
export type { MoteEvent } from '../../lib/mote/events.ts';
export { BaseMote as Mote } from '../../lib/mote/base-mote.ts';
export type { MoteStatus } from '../../lib/mote/status.ts';
export type { Store } from '../../lib/ports.ts';
export { configOptions, type DeviceConfig, forgetAuthKey, readDeviceConfig } from './device-config.ts';
export { keyValueStore, preferenceStore } from './store.ts';
export { createTunnel, type Tunnel } from './tunnel.ts';
export type { ModdableMoteOptions } from './up.ts';

/** Names of modules that an image may or may not carry. `manifest.json` has the first three. */
const RANDOM_MODULE = 'motenet-random';
const RETAINED_MODULE = 'motenet-retained';
const CRYPTO_MODULE = 'motenet-crypto';
const TLS_MODULE = 'embedded:io/socket/tcp/tls';
const DIGEST_MODULE = 'crypt';

/**
 * Brings a mote up on this board, once it has an address. Options: those of every mote, `pins` for TLS servers,
 * `timeServers`. Rejects with NetError (`ERR_ADDRESS_IN_USE`, `ERR_LOGIN`, …), with TypeError or RangeError for options
 * that cannot work, and with Error when the image has no random generator.
 */
export async function up(options: ModdableMoteOptions): Promise<BaseMote> {
  return upWith(await setup(), options);
}

async function setup(): Promise<ModdableSetup> {
  const native = Modules.has(CRYPTO_MODULE) ? ((await import(CRYPTO_MODULE)) as NativeCrypto) : undefined;
  return {
    io: moddableIo(),
    store: preferenceStore(Preference),
    setTime: seconds => Time.set(seconds),
    ...(native === undefined ? {} : { createNative: () => createNativeSuite(native) }),
    createTuned: createTunedSuite,
    warn: text => trace(`motenet: ${text}\n`),
  };
}

/** What every image has: in flash, as are these functions. */
const BOARD = Object.freeze({
  // The typings know neither `close` of UDP nor what `write` returns.
  UDP: UDP satisfies new (options: UdpIoOptions) => Pick<UdpIo, 'write'> as unknown as UdpClass,
  TCP: TCP satisfies new (options: TcpIoOptions) => Pick<TcpIo, 'close'> as unknown as TcpClass,
  timer: Object.freeze({
    set: (run: () => void, ms = 0) => Timer.set(run, ms),
    clear: (timer: unknown) => Timer.clear(timer as Timer),
  }),
  ticks: () => Time.ticks,
  unixMs: () => Date.now(),
  resolve: (name: string, done: (address: string | undefined) => void) =>
    Net.resolve(name, (_name, address) => done(address)),
  addresses: () => [Net.get('IP')],
  self: Object.freeze({ hostname: 'mote', os: 'moddable' }),
});

/** The classes and functions of this board. */
function moddableIo(): ModdableIo {
  const fill = moduleOf<(out: Uint8Array) => void>(RANDOM_MODULE);
  const tls = moddableTls();
  const retained = moduleOf<RetainedMemory>(RETAINED_MODULE);
  return {
    ...BOARD,
    ...(tls === undefined ? {} : { tls }),
    random: createRandom(fill),
    ...(retained === undefined ? {} : { retained: retainedStore(retained) }),
  };
}

/** TLSSocket and SHA-256, where the image has both. */
function moddableTls(): TlsIo | undefined {
  const TLSSocket = moduleOf<TlsIo['TLSSocket']>(TLS_MODULE);
  const crypt = moduleOf<{ readonly Digest: new (name: string) => { process(bytes: Uint8Array): ArrayBuffer } }>(
    DIGEST_MODULE,
  );
  if (TLSSocket === undefined || crypt === undefined) return undefined;
  return { TLSSocket, sha256: bytes => new Uint8Array(new crypt.Digest('SHA256').process(bytes)) };
}

/** The default export of a module that may be there. */
function moduleOf<T>(name: string): T | undefined {
  return Modules.has(name) ? (Modules.importNow(name) as T) : undefined;
}
