/**
 * What the control client takes, what it may hold, and what it says.
 */
import type { NetError } from '../base/errors.ts';
import type { SecretKey } from '../crypto/keys.ts';
import type { CryptoSuite } from '../crypto/suite.ts';
import { HTTP2_LIMITS_LARGE, HTTP2_LIMITS_SMALL, type Http2Limits } from '../http2/limits.ts';
import { MAP_LIMITS_LARGE, MAP_LIMITS_SMALL, type MapLimits } from './map-limits.ts';
import type { WireHostinfo } from './message.ts';
import type { NetmapChanges } from './netmap.ts';
import { TRANSPORT_LIMITS_LARGE, TRANSPORT_LIMITS_SMALL, type TransportLimits } from './transport.ts';

/** What a {@link ControlClient} may hold. Bytes and counts as the names say. */
export interface ControlClientLimits {
  readonly transport: TransportLimits;
  readonly http2: Http2Limits;
  readonly map: MapLimits;
  /** How much of a record HTTP/2 is given at once: it copies as much. */
  readonly pieceBytes: number;
  /** What is kept of the answer to a registration: about so many bytes. A larger one is refused. */
  readonly answerBytes: number;
}

/** For microcontrollers. */
export const CONTROL_LIMITS_SMALL: ControlClientLimits = Object.freeze({
  transport: TRANSPORT_LIMITS_SMALL,
  http2: HTTP2_LIMITS_SMALL,
  map: MAP_LIMITS_SMALL,
  pieceBytes: 512,
  answerBytes: 8192,
});
/** For everything else. */
export const CONTROL_LIMITS_LARGE: ControlClientLimits = Object.freeze({
  transport: TRANSPORT_LIMITS_LARGE,
  http2: HTTP2_LIMITS_LARGE,
  map: MAP_LIMITS_LARGE,
  pieceBytes: 8192,
  answerBytes: 65_536,
});

/** Where a device can be reached, for the coordinator to hand on. */
export interface LocalEndpoint {
  /** Address text without brackets. */
  readonly address: string;
  readonly port: number;
  /** 0 unknown, 1 local, 2 STUN, 3 mapped, 4 STUN with local port, 5 configured. */
  readonly type: number;
}

/** What a {@link ControlClient} needs. */
export interface ControlClientOptions {
  readonly nowMs: number;
  /** Milliseconds since 1970; may be wrong: the coordinator's clock is preferred as soon as it is known. */
  readonly unixMs: number;
  readonly random: (out: Uint8Array) => void;
  readonly suite: CryptoSuite;
  readonly machineKey: SecretKey;
  /** The node key in force: the stored one, or a new one that the caller has stored. */
  readonly nodeKey: SecretKey;
  /**
   * A node key out of a `node-key` event that was stored, and for which no `node-key-adopted` was seen before the
   * process ended: whether the coordinator has accepted it is found out first.
   */
  readonly nextNodeKey?: SecretKey;
  /** Public disco key of this process: 32 bytes. */
  readonly discoKey?: Uint8Array;
  /** `host[:port]` for Host headers. */
  readonly authority: string;
  /** Path of the upgrade; `/ts2021` unless told. */
  readonly path?: string;
  readonly hostinfo: WireHostinfo;
  readonly authKey?: string;
  /** Ask to be removed when this device goes away. */
  readonly isEphemeral?: boolean;
  /** `large` unless told. */
  readonly limits?: 'small' | 'large';
  /** What `snapshotOf` gave an earlier run: the netmap until the coordinator says more. Garbage is ignored. */
  readonly snapshot?: Uint8Array;
  /** How long the first connection waits; 0 unless told. */
  readonly startDelayMs?: number;
}

/**
 * Where a device stands with its coordinator. The state survives a lost connection: the netmap stays in force.
 * `starting`: the coordinator's key is not known yet. `connecting`: no netmap yet. `needs-login`: a person has to open
 * the page of `auth-url`, or the login was refused. `needs-approval`: an administrator has to let the device in.
 * `expired`: the node key has expired and is being renewed.
 */
export type ControlState =
  | 'starting'
  | 'connecting'
  | 'needs-login'
  | 'needs-approval'
  | 'running'
  | 'expired'
  | 'logged-out'
  | 'stopped';

/** What a {@link ControlClient} wants, and what has happened. */
export type ControlClientEvent =
  /** GET `<url>/key?v=113` and give the body to `handleServerKey`. */
  | { readonly type: 'fetch-key' }
  /** Open a stream to the coordinator and tell `handleOpened` or `handleFailed`. */
  | { readonly type: 'connect' }
  /** Close the stream, whatever became of it; nothing more of it is taken. */
  | { readonly type: 'disconnect' }
  /** A person is to open this page (http or https) and log in. */
  | { readonly type: 'auth-url'; readonly url: string }
  /** The netmap has changed; several messages may stand behind one event. */
  | { readonly type: 'netmap'; readonly changes: NetmapChanges }
  | { readonly type: 'state'; readonly state: ControlState }
  /**
   * A new node key. Store it beside the one in force, then call `adoptNodeKey`; before that nothing uses it. The one in
   * force stays so until `node-key-adopted`.
   */
  | { readonly type: 'node-key'; readonly key: SecretKey; readonly reason: 'expiring' | 'expired' }
  /** The coordinator has accepted that key: it is the node key now, and the older one can be forgotten. */
  | { readonly type: 'node-key-adopted'; readonly publicKey: Uint8Array }
  /** The node key will expire and the coordinator does not renew it without a person. */
  | { readonly type: 'expiring'; readonly unixMs: number }
  /** The coordinator has refused this device; `message` is its text, made printable. It is asked again later. */
  | { readonly type: 'login-failed'; readonly message: string; readonly retryInMs: number }
  /** Something failed that is tried again. */
  | { readonly type: 'error'; readonly error: NetError; readonly retryInMs: number }
  /** After `logout`. `isConfirmed`: the coordinator has heard of it. */
  | { readonly type: 'logged-out'; readonly isConfirmed: boolean }
  /** A page that the coordinator wants the user to see (http or https). */
  | { readonly type: 'open-url'; readonly url: string };
