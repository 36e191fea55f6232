/**
 * Brings a mote up on injected classes: `index.ts` passes a board's, tests pass their own.
 *
 * The crypto suite is the native one where the host carries it, else the tuned one in JavaScript with a warning; either
 * proves itself first. The portable suite is left out: its curve module makes BigInt as it loads, so it cannot lie in
 * flash, and would take some 60 KB of RAM from every board, used or not.
 */
import { provesItself } from '../../lib/crypto/proof.ts';
import type { CryptoSuite } from '../../lib/crypto/suite.ts';
import type { DeviceParts } from '../../lib/device/device.ts';
import { Tailnet } from '../../lib/device/tailnet.ts';
import { BaseMote } from '../../lib/mote/base-mote.ts';
import type { MoteOptions } from '../../lib/mote/options.ts';
import { createSack } from '../../lib/netstack/tcp-sack.ts';
import type { Host, Store } from '../../lib/ports.ts';
import { createModdableHost, type ModdableHostOptions } from './host.ts';
import type { ModdableIo } from './io.ts';
import { fetchTime } from './sntp.ts';

/** Time servers unless told, and how long they may take. */
const TIME_SERVERS: readonly string[] = Object.freeze(['pool.ntp.org', 'time.google.com']);
const TIME_TIMEOUT_MS = 5000;
/** 2026: an earlier wall clock was never set. */
const PLAUSIBLE_MS = 1_767_225_600_000;

/** Parts of a board's mote: membership, selective acknowledgments. Reassembly is left out for its memory. */
export const MODDABLE_PARTS: DeviceParts = /* @__PURE__ */ Object.freeze({
  createTailnet: (options, owner) => new Tailnet(options, owner),
  createSack,
} satisfies DeviceParts);

/** What differs between hosts. */
export interface ModdableSetup {
  readonly io: ModdableIo;
  /** Where the identity is kept unless an option says so. */
  readonly store: Store;
  /** Sets the wall clock, in seconds since 1970 (Time.set). */
  setTime(seconds: number): void;
  /** The native suite; absent where the host does not carry it. */
  readonly createNative?: () => CryptoSuite;
  /** The suite in JavaScript that is made for XS. */
  readonly createTuned: () => CryptoSuite;
  /** One line for the person at the console. */
  warn(text: string): void;
}

/** Options of `up` on Moddable: those of every mote, pins, and time servers. `preset` is `small` unless told. */
export type ModdableMoteOptions = MoteOptions &
  ModdableHostOptions & {
    /** Asked for the time while the wall clock says that it was never set. Empty: nobody is asked. */
    readonly timeServers?: readonly string[];
  };

/** Brings a mote up. Rejects as `BaseMote.up` does; also when the host has no random generator, or no sound crypto. */
export async function upWith(setup: ModdableSetup, options: ModdableMoteOptions): Promise<BaseMote> {
  const host = createModdableHost(setup.io, options);
  host.random(new Uint8Array(32)); // fails here, in words, rather than at the first key
  await setClock(setup, host, options.timeServers ?? TIME_SERVERS);
  const own = { preset: 'small', store: setup.store, ...options } as MoteOptions;
  return BaseMote.up(host, chooseSuite(setup), own, MODDABLE_PARTS);
}

/** Without an answer it goes on: the stored floor keeps handshakes in order, and expiry waits for a right clock. */
async function setClock(setup: ModdableSetup, host: Host, servers: readonly string[]): Promise<void> {
  if (servers.length === 0 || host.clock.unixMs() >= PLAUSIBLE_MS) return;
  const { UDP, timer, random } = setup.io;
  const seconds = await fetchTime({ UDP, timer, random, resolve: host.resolve }, servers, TIME_TIMEOUT_MS);
  if (seconds !== undefined) setup.setTime(seconds);
  else setup.warn('no time server answered: the wall clock is not set');
}

function chooseSuite(setup: ModdableSetup): CryptoSuite {
  const native = proved(setup.createNative);
  if (native !== undefined) return native;
  const tuned = proved(setup.createTuned);
  if (tuned === undefined) throw new Error('no crypto suite computes its known vectors correctly on this board');
  setup.warn(`crypto in JavaScript (${tuned.name}), slow${tuned.warning === undefined ? '' : `: ${tuned.warning}`}`);
  return tuned;
}

function proved(create: (() => CryptoSuite) | undefined): CryptoSuite | undefined {
  try {
    const suite = create?.();
    return suite !== undefined && provesItself(suite) ? suite : undefined;
  } catch {
    return undefined; // the C behind it is missing
  }
}
