/**
 * What users of {@link Tunnel} hand in and get back: configuration, events, status. Types only.
 */
import type { Endpoint, Prefix } from '../base/address.ts';
import type { SecretKey } from '../crypto/keys.ts';
import type { CryptoSuite } from '../crypto/suite.ts';
import type { TunnelLimits } from './constants.ts';

/** What a tunnel is made of. */
export interface TunnelOptions {
  /** Monotonic ms, which should go on during suspend: keys age while a device sleeps. */
  readonly nowMs: number;
  /** Wall clock in ms since 1970; may be wrong. For TAI64N and `lastHandshakeUnixMs` only. */
  readonly unixMs: number;
  /** A cryptographically secure generator; what it throws passes through. */
  readonly random: (out: Uint8Array) => void;
  readonly suite: CryptoSuite;
  readonly privateKey: SecretKey;
  /** Bounds; those left out are taken from `TUNNEL_LIMITS_LARGE`. */
  readonly limits?: Partial<TunnelLimits>;
  /** Largest inner packet in bytes, up to which packets are padded; 1420 unless given. */
  readonly mtu?: number;
  /** The last `timestamp` event's floor, 12 bytes, from the store; without it stamps start at the wall clock. */
  readonly timestampFloor?: Uint8Array;
  /** For callers that know more peers than they add. */
  readonly resolver?: PeerResolver | undefined;
  /** Sessions can be saved by `takeSessions`: their keys are kept as bytes, too. False unless given. */
  readonly keepsSessions?: boolean;
}

/** Who knows more peers than a tunnel has. */
export interface PeerResolver {
  /**
   * Asked about a key (32 bytes, lent) that no peer has, when a handshake with it arrives; it may add the peer, and
   * returns whether it did. What it throws passes through.
   */
  resolveKey(nowMs: number, publicKey: Uint8Array): boolean;
}

/** A session that can go on in another run, once; secret. */
export interface SavedSession {
  /** Of the peer, 32 bytes. */
  readonly publicKey: Uint8Array;
  /** See saved-session.ts. */
  readonly bytes: Uint8Array;
}

/** A peer, as it is added. */
export interface PeerConfig {
  /** 32 bytes, not our own. */
  readonly publicKey: Uint8Array;
  /** 32 bytes; absent, undefined and all zero mean none. */
  readonly presharedKey?: Uint8Array | undefined;
  /** Where to send before the peer has been heard; must not change afterwards. */
  readonly endpoint?: Endpoint | undefined;
  /** Inner addresses that the peer may use. A prefix that another peer has moves to this one. */
  readonly allowedIPs: readonly Prefix[];
  /** An empty packet after so much silence, 1,000 to 65,535,000 ms; 0 for off. */
  readonly persistentKeepaliveMs?: number;
  /** Whether authenticated packets move the endpoint; true unless given. False leaves the path to the caller. */
  readonly roams?: boolean;
}

/** Changes of a peer; what is absent stays. `endpoint: undefined` forgets it, `presharedKey: undefined` removes it. */
export type PeerChanges = Partial<Omit<PeerConfig, 'publicKey'>>;

/** Something that happened. */
export type TunnelEvent =
  /** A session is ready in both directions. */
  | { readonly type: 'handshake'; readonly peer: number; readonly isInitiator: boolean }
  /** Nobody answered for 90 s; what waited is dropped. New traffic starts anew. */
  | { readonly type: 'gave-up'; readonly peer: number }
  /** An authenticated packet came from a new address, where packets go from now on. */
  | { readonly type: 'endpoint'; readonly peer: number; readonly endpoint: Endpoint }
  /** The current session is too old to be used and none has taken its place. */
  | { readonly type: 'session-expired'; readonly peer: number }
  /**
   * This floor must be durable before the datagram last polled leaves: poll events after each `pollTransmit`, before
   * sending. Hand it in as `timestampFloor` after a restart.
   */
  | { readonly type: 'timestamp'; readonly floor: Uint8Array };

/** What is known of a peer. */
export interface PeerStatus {
  readonly publicKey: Uint8Array;
  readonly hasPresharedKey: boolean;
  readonly endpoint: Endpoint | undefined;
  readonly allowedIPs: readonly Prefix[];
  readonly persistentKeepaliveMs: number;
  readonly roams: boolean;
  /** Wall clock of the last completed handshake; undefined for none. */
  readonly lastHandshakeUnixMs: number | undefined;
  /** Bytes of datagrams, handshakes and tunnel headers included. */
  readonly rxBytes: number;
  readonly txBytes: number;
  /** Whether packets can be sent at once. */
  readonly hasSession: boolean;
  readonly isHandshaking: boolean;
  /** Packets that wait for a session. */
  readonly stagedPackets: number;
}
