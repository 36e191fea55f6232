/**
 * Named limits of the stack with its two presets. Every table says here what happens when it is full.
 */
import { TCP_LIMITS_LARGE, TCP_LIMITS_SMALL, type TcpLimits } from './tcp-limits.ts';

/** What one stack may use. Bytes, milliseconds and counts as the names say. */
export interface StackLimits {
  /** Own addresses. Full: `addAddress` throws. */
  readonly addresses: number;
  /** ICMP packets that wait to be sent. Full: the newest is dropped (`ip-queue-full`). */
  readonly icmpQueueBytes: number;
  /** ICMP errors sent in a second, at most; a random share below it, at least three quarters. Beyond: not sent. */
  readonly icmpErrorsPerSecond: number;
  /** Echo requests whose reply is awaited. Full: the oldest is forgotten. */
  readonly pings: number;
  /** Path MTUs below our own. Full: the oldest is forgotten. */
  readonly pathMtus: number;
  /** Echo and UDP error events that wait to be polled. Full: the newest is dropped. */
  readonly events: number;
  /** UDP sockets. Full: `udpBind` throws NetError `ERR_LIMIT`. */
  readonly udpSockets: number;
  /** Received datagrams that wait in one UDP socket, 40 bytes of overhead each. Full: the newest is dropped. */
  readonly udpReceiveBytes: number;
  /** Datagrams that wait in one UDP socket, besides the bound in bytes. */
  readonly udpReceiveDatagrams: number;
  /** Packets of one UDP socket that wait to be sent. Full: `send` returns `udp-queue-full`. */
  readonly udpSendBytes: number;
  /** The same for all UDP sockets together. */
  readonly udpSendTotalBytes: number;
  /** Destinations per UDP socket about which ICMP errors are believed: the last ones sent to. */
  readonly udpRecentDestinations: number;
  /** Packets to our own addresses that one `pollTransmit` delivers. More wait for the next. */
  readonly loopbackBurst: number;
  readonly tcp: TcpLimits;
}

/** For a microcontroller. */
export const STACK_LIMITS_SMALL: StackLimits = /* @__PURE__ */ Object.freeze({
  addresses: 4,
  icmpQueueBytes: 4096,
  icmpErrorsPerSecond: 10,
  pings: 8,
  pathMtus: 16,
  events: 16,
  udpSockets: 8,
  udpReceiveBytes: 8192,
  udpReceiveDatagrams: 16,
  udpSendBytes: 8192,
  udpSendTotalBytes: 16_384,
  udpRecentDestinations: 4,
  loopbackBurst: 16,
  tcp: TCP_LIMITS_SMALL,
});

/** For a server or a desktop. */
export const STACK_LIMITS_LARGE: StackLimits = /* @__PURE__ */ Object.freeze({
  addresses: 64,
  icmpQueueBytes: 262_144,
  icmpErrorsPerSecond: 1000,
  pings: 1024,
  pathMtus: 1024,
  events: 1024,
  udpSockets: 16_384,
  udpReceiveBytes: 1_048_576,
  udpReceiveDatagrams: 4096,
  udpSendBytes: 262_144,
  udpSendTotalBytes: 16_777_216,
  udpRecentDestinations: 32,
  loopbackBurst: 256,
  tcp: TCP_LIMITS_LARGE,
});
