/** What the protocols of one stack share: one object for all of them. */
import type { DropCounters } from '../base/drop.ts';
import type { Packet } from '../packet/classify.ts';
import type { Addresses } from './addresses.ts';
import type { EchoErrorEvent, EchoReplyEvent, UdpErrorEvent } from './events.ts';
import type { PathMtuTable } from './path-mtu.ts';
import type { StackLimits } from './stack-limits.ts';

/** Who knows the flows that an error can be about. `quote` is classified in `buf`; the result is 0 or a counted reason. */
export interface IcmpFlows {
  /** A packet of ours did not arrive; `type` and `code` as the family's ICMP has them. */
  handleFlowError(nowMs: number, buf: Uint8Array, quote: Packet, type: number, code: number): number;
  /** A packet of ours was larger than the `mtu` of a link on its way. */
  handleFlowTooBig(nowMs: number, buf: Uint8Array, quote: Packet, mtu: number): number;
  /** Queues an event; false when too many wait. */
  pushEvent(event: UdpErrorEvent | EchoReplyEvent | EchoErrorEvent): boolean;
}

/** What ICMP and UDP use of their stack. */
export interface StackContext {
  readonly random: (out: Uint8Array) => void;
  readonly limits: StackLimits;
  readonly drops: DropCounters;
  readonly mtus: PathMtuTable;
  readonly addresses: Addresses;
  readonly flows: IcmpFlows;
  /** Absent: everybody may report errors. */
  readonly routes: PacketRoutes | undefined;
}

/** Who knows the way of packets. */
export interface PacketRoutes {
  /**
   * Whether packets to the two hosts go the same way (offsets of addresses of `length` bytes in `buf`): one of them may
   * report errors about packets to the other.
   */
  isSamePeer(buf: Uint8Array, one: number, other: number, length: number): boolean;
}
