/**
 * What users of {@link Disco} hand in and get back: options, peers, events, status. Types only.
 */
import type { Endpoint } from '../base/address.ts';
import type { DropCounters } from '../base/drop.ts';
import type { SecretKey } from '../crypto/keys.ts';
import type { CryptoSuite } from '../crypto/suite.ts';
import type { DiscoLimits } from './limits.ts';

/** What a {@link Disco} is made of. */
export interface DiscoOptions {
  readonly nowMs: number;
  readonly random: (out: Uint8Array) => void;
  readonly suite: CryptoSuite;
  /** The disco key: a new one for each run, never stored. */
  readonly privateKey: SecretKey;
  /** Own public node key, 32 bytes. */
  readonly nodeKey: Uint8Array;
  readonly limits: DiscoLimits;
  readonly drops: DropCounters;
  readonly owner: DiscoOwner;
}

/** Who knows all peers, in use or not. Keys are 32 bytes, lent. */
export interface DiscoOwner {
  /**
   * Whether a peer that we could talk to, in use or not, has this disco key. Asked, no more often than the limits
   * allow, about senders that no peer in use has, before anything is decrypted.
   */
  knowsPeer(discoKey: Uint8Array): boolean;
  /**
   * Asked when an authentic message came of a disco key, or of one and a node key, that no peer in use has. With a node
   * key: the id of the peer that has both. Without: of the only peer that has this disco key. The call may add the peer
   * (`addPeer`) first, give the disco key to one that had none (`updatePeer`), and remove others. Undefined: there is
   * none, or it shall not be used.
   */
  resolvePeer(nowMs: number, discoKey: Uint8Array, nodeKey: Uint8Array | undefined): number | undefined;
}

/** A peer in use. */
export interface DiscoPeerConfig {
  /** Public node key, 32 bytes. */
  readonly nodeKey: Uint8Array;
  /**
   * Public disco key, 32 bytes; undefined for a peer that is reached through relays only, or whose key is not known yet:
   * see {@link DiscoOwner.resolvePeer}.
   */
  readonly discoKey: Uint8Array | undefined;
  /** Where the netmap says that it is. */
  readonly endpoints: readonly Endpoint[];
  /** Home relay; 0 for unknown. */
  readonly region: number;
}

/** Something that happened. */
export type DiscoEvent =
  /** The best direct path to a peer is another one now, or (undefined) there is none. */
  | {
      readonly type: 'path';
      readonly id: number;
      readonly endpoint: Endpoint | undefined;
      readonly latencyMs: number | undefined;
    }
  /** A peer is to be told where we are, and what we know is too old: find out, then call `setOwnEndpoints`. */
  | { readonly type: 'endpoints-wanted' }
  /** An answer to `ping`, by a direct path (`endpoint`) or by a relay (`endpoint` undefined, `region` above 0). */
  | {
      readonly type: 'pong';
      readonly id: number;
      readonly ping: number;
      readonly endpoint: Endpoint | undefined;
      readonly region: number;
      readonly latencyMs: number;
    };

/** How a peer is reached. */
export interface DiscoStatus {
  /** The direct path that packets take; undefined while a relay is needed, be it beside a path that is in doubt. */
  readonly endpoint: Endpoint | undefined;
  /** Of that path, from its last ping to the pong. */
  readonly latencyMs: number | undefined;
  /** Addresses that the peer may be at. */
  readonly candidates: number;
  /** Why a relay is needed, in a few words; empty when it is not. */
  readonly why: string;
}
