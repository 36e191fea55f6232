/**
 * Named limits of the TCP machine with its two presets, and the times that RFCs leave to the implementation.
 *
 * Every table says here what happens when it is full. Nothing a remote side does makes a table grow past its limit.
 */

/** What one TCP machine may use. Bytes, milliseconds and counts as the names say. */
export interface TcpLimits {
  /** Connections of all states together. Full: the oldest TIME-WAIT goes, else a new SYN is dropped and `connect` throws. */
  readonly connections: number;
  /** Connections in SYN-RECEIVED over all listeners. Full: the oldest half-open one is dropped without a word. */
  readonly halfOpen: number;
  /** Most connections that one listener may have half-open or not yet taken. Taken ones full: a new SYN is dropped. */
  readonly backlog: number;
  /** Connections in TIME-WAIT, some 450 bytes each on a microcontroller. Full: the oldest goes early. */
  readonly timeWait: number;
  /** How long TIME-WAIT lasts (2 MSL). */
  readonly timeWaitMs: number;
  /** Resets and other answers without a connection that wait for the next poll. Full: the newest is dropped. */
  readonly replies: number;
  /** Largest send buffer of a connection. Full: `write` takes less, down to nothing. */
  readonly sendBufferBytes: number;
  /** Largest receive buffer of a connection, and so its largest window. */
  readonly receiveBufferBytes: number;
  /** Send buffer that a connection may use before its congestion window asks for more. */
  readonly initialSendBytes: number;
  /** Receive window that a connection starts with; it grows with what the application reads. */
  readonly initialWindowBytes: number;
  /** First size of a ring; it is made when bytes arrive, doubles on demand, and is freed when the connection idles. */
  readonly ringBytes: number;
  /** An empty ring of at most this size is given back at once; a larger one when the connection idles. */
  readonly idleRingBytes: number;
  /** All rings together, first sizes not counted. Full: rings stop growing; data beyond them is dropped and sent again. */
  readonly totalBufferBytes: number;
  /** Gaps that a receiver keeps track of. Full: a segment that would open one more is dropped. */
  readonly outOfOrderRanges: number;
  /** Segments in flight per connection. Full: nothing new is sent until an acknowledgment arrives. */
  readonly segmentsInFlight: number;
  /** Unacknowledged data ends the connection after this time (R2 of RFC 9293 §3.8.3; at least 100 s). */
  readonly giveUpMs: number;
  /** An unanswered SYN ends the connection after this time (RFC 9293 MUST-23: at least 3 minutes). */
  readonly connectGiveUpMs: number;
  /** A closed-and-discarding connection waits this long in FIN-WAIT-2 without hearing anything. */
  readonly finWaitMs: number;
}

/** For a microcontroller: about 8 KiB each way per busy connection, 64 KiB in all. */
export const TCP_LIMITS_SMALL: TcpLimits = /* @__PURE__ */ Object.freeze({
  connections: 24,
  halfOpen: 8,
  backlog: 8,
  timeWait: 4,
  timeWaitMs: 10_000,
  replies: 4,
  sendBufferBytes: 8192,
  receiveBufferBytes: 8192,
  initialSendBytes: 2048,
  initialWindowBytes: 5840,
  ringBytes: 512,
  idleRingBytes: 512,
  totalBufferBytes: 65_536,
  outOfOrderRanges: 4,
  segmentsInFlight: 32,
  giveUpMs: 900_000,
  connectGiveUpMs: 180_000,
  finWaitMs: 30_000,
});

/** For a server or a desktop: windows of up to 4 MiB, enough for 1 Gbit/s at 30 ms. */
export const TCP_LIMITS_LARGE: TcpLimits = /* @__PURE__ */ Object.freeze({
  connections: 65_536,
  halfOpen: 1024,
  backlog: 512,
  timeWait: 16_384,
  timeWaitMs: 60_000,
  replies: 256,
  sendBufferBytes: 4_194_304,
  receiveBufferBytes: 4_194_304,
  initialSendBytes: 65_536,
  initialWindowBytes: 65_535,
  ringBytes: 4096,
  idleRingBytes: 1,
  totalBufferBytes: 268_435_456,
  outOfOrderRanges: 64,
  segmentsInFlight: 8192,
  giveUpMs: 900_000,
  connectGiveUpMs: 180_000,
  finWaitMs: 60_000,
});

/** Lower bound of what is added to the smoothed round trip for a retransmission timeout (Linux: the same 200 ms). */
export const RTO_MIN_MS = 200;
/** Upper bound of a retransmission timeout (RFC 6298 §2.5: at least 60 s). */
export const RTO_MAX_MS = 60_000;
/** Retransmission timeout before the first measurement (RFC 6298 §2.1). */
export const RTO_INITIAL_MS = 1000;
/** Retransmission timeout after a handshake whose SYN was lost (RFC 6298 §5.7). */
export const RTO_AFTER_SYN_LOSS_MS = 3000;
/** Longest wait with an acknowledgment (RFC 9293 §3.8.6.3 allows 500 ms). */
export const DELAYED_ACK_MS = 40;
/** Segments acknowledged at once at the start and after a silence, so that the sender's window opens. */
export const QUICK_ACKS = 16;
/** Sender's silly window: longest wait with a short segment (RFC 9293 §3.8.6.2.1: 0.1 to 1 s). */
export const SEND_OVERRIDE_MS = 200;
/** Challenge ACKs and answers to segments outside the window: at most one per connection in this time (RFC 5961 §7). */
export const CHALLENGE_INTERVAL_MS = 250;
/** Unanswered keep-alive probes that end the connection. */
export const KEEPALIVE_PROBES = 9;
/** Longest wait between keep-alive probes, once the first went unanswered. */
export const KEEPALIVE_PROBE_MS = 75_000;
/** Retransmissions of a SYN-ACK before a half-open connection is forgotten (1+2+4+8+16+32 s). */
export const SYN_ACK_RETRIES = 5;
/** A connection without traffic for this time gives its empty rings back. */
export const IDLE_RELEASE_MS = 5000;
/** Timestamps older than this are not compared any more (RFC 7323 §5.5: 24 days). */
export const PAWS_IDLE_MS = 2_073_600_000;
/** Smallest payload per segment that a peer or a router can talk a sender into (Linux: the same 48, CVE-2019-11479). */
export const MSS_MIN = 48;
/** Segment size towards a peer that names none: IPv4 and IPv6 (RFC 9293 MUST-15). */
export const MSS_DEFAULT_V4 = 536;
export const MSS_DEFAULT_V6 = 1220;
