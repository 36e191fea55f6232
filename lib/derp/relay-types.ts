/**
 * What a relay says, and its limits.
 */
import type { ClientInfo } from './login.ts';

/** What happened. Every connection that was opened ends with `close`, or with the target's `handleEnd`. */
export type RelayEvent =
  /** A client proved that it holds `nodeKey`. Answer with `admit` or `refuse`; until then it reaches nobody. */
  | { readonly type: 'admission'; readonly id: number; readonly nodeKey: Uint8Array; readonly info: ClientInfo }
  /** Close the stream; the id is gone. `reason` is for logs. */
  | { readonly type: 'close'; readonly id: number; readonly reason: RelayCloseReason }
  /** The client exceeds its rate: read no more of its stream until `resume`. */
  | { readonly type: 'pause'; readonly id: number }
  | { readonly type: 'resume'; readonly id: number };

/** Why the relay closes a connection. */
export type RelayCloseReason =
  /** No login, or no answer to the question of admission, in time. */
  | 'login-timeout'
  /** The first frame was not a client's information, or too large. */
  | 'login-malformed'
  /** The information was not sealed with the key that it names. */
  | 'login-forged'
  | 'refused'
  /** A frame that no client may send, or of a wrong size. */
  | 'malformed'
  /** It took nothing for two seconds. */
  | 'stuck'
  /** The same key has too many connections; this was the one that has been quiet for longest. */
  | 'replaced'
  /** `disconnect` was called for its key. */
  | 'disconnected';

/** Limits of a relay. Memory: connections, times what each holds at rest, plus `memoryBytes`. */
export interface RelayLimits {
  /** Streams; `open` refuses more. */
  readonly connections: number;
  /** Of these, streams that are not admitted. */
  readonly unadmitted: number;
  /** Connections of one node key in one tailnet; the one that was quiet for longest is closed for a new one. */
  readonly connectionsPerKey: number;
  /** Largest ClientInfo. */
  readonly clientInfoBytes: number;
  /** Packets that wait for one client, of each kind (disco, and all other); the oldest gives way. */
  readonly queuePackets: number;
  /** Bytes of each of these queues. */
  readonly queueBytes: number;
  /** Bytes of all queues and of frames that come in pieces, beyond the first 4 KB of each. */
  readonly memoryBytes: number;
  /** Pairs of sender and receiver that are remembered, to tell the receiver when the sender leaves. */
  readonly pairs: number;
  /** Of these, pairs with the same sender. */
  readonly pairsPerSender: number;
  /** Time from `open` to admission. */
  readonly loginTimeoutMs: number;
  /** A client that takes nothing for this long, while something waits for it, is closed. */
  readonly writeTimeoutMs: number;
  /** Bytes per second that one client may send; 0 for no limit. */
  readonly bytesPerSecond: number;
  /** What it may send at once; at least one largest frame. */
  readonly burstBytes: number;
}

/** A handful of devices. */
export const RELAY_LIMITS_SMALL: RelayLimits = Object.freeze({
  connections: 64,
  unadmitted: 16,
  connectionsPerKey: 4,
  clientInfoBytes: 2048,
  queuePackets: 32,
  queueBytes: 65_536 + 64,
  memoryBytes: 1_048_576,
  pairs: 1024,
  pairsPerSender: 64,
  loginTimeoutMs: 10_000,
  writeTimeoutMs: 2000,
  bytesPerSecond: 0,
  burstBytes: 131_072,
});

/** A server. */
export const RELAY_LIMITS_LARGE: RelayLimits = Object.freeze({
  connections: 65_536,
  unadmitted: 4096,
  connectionsPerKey: 16,
  clientInfoBytes: 4096,
  queuePackets: 32,
  queueBytes: 262_144,
  memoryBytes: 268_435_456,
  pairs: 1_000_000,
  pairsPerSender: 4096,
  loginTimeoutMs: 10_000,
  writeTimeoutMs: 2000,
  bytesPerSecond: 0,
  burstBytes: 131_072,
});

/** What a relay has done, and holds. */
export interface RelayStatus {
  readonly connections: number;
  readonly unadmitted: number;
  /** Node keys with at least one connection, per tailnet. */
  readonly members: number;
  readonly forwardedPackets: number;
  readonly forwardedBytes: number;
  /** Packets to a key that is not here. */
  readonly droppedNoDestination: number;
  /** Packets that gave way in a full queue, or for which there was no memory. */
  readonly droppedQueueFull: number;
  /** Bytes in use of {@link RelayLimits.memoryBytes}. */
  readonly memoryBytes: number;
  readonly pairs: number;
}
