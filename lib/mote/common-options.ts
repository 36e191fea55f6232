/** The options that every mote takes, whoever says who its peers are. */
import type { Preset } from '../device/device.ts';
import type { Store } from '../ports.ts';
import type { MoteEvent } from './events.ts';

/** The part of AbortSignal that the library uses, so that any look-alike serves. */
export interface AbortSignalLike {
  readonly aborted: boolean;
  addEventListener(type: 'abort', listener: () => void): void;
  removeEventListener(type: 'abort', listener: () => void): void;
}

/** What every mote takes. */
export interface CommonMoteOptions {
  /** UDP port outside; 0 or absent: the system chooses. */
  readonly listenPort?: number;
  /** Local address outside to bind; absent: all addresses, IPv4 and IPv6. */
  readonly listenAddress?: string;
  /**
   * Largest inner packet in bytes; 1420 unless told, 1280 in a tailnet. At least 576, with an IPv6 address and in a
   * tailnet 1280.
   */
  readonly mtu?: number;
  /** Table sizes; `large` unless told. */
  readonly preset?: Preset;
  /** Names for `dial`, `fetch` and `ping`: name to address. */
  readonly hosts?: Readonly<Record<string, string>>;
  /**
   * Keeps the handshake clock over restarts (needed where the wall clock may be wrong at start), and the identity of a
   * tailnet's member, which is somebody new at every start without it.
   */
  readonly store?: Store;
  /** Hears of every event from the very beginning, as a watcher of `on` does later. */
  readonly onEvent?: (event: MoteEvent) => void;
  /** Gives up what `up` waits for. */
  readonly signal?: AbortSignalLike;
}
