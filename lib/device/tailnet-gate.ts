/**
 * What passes between the tunnel and the stack of a tailnet's member: inbound packets are judged by the packet filter,
 * pings of the tailnet's own protocol (TSMP) are answered, outbound flows are remembered so that their replies pass, and
 * connections that rules do not allow any more are named.
 *
 * Left out: routing of packets, which is cryptokey routing; rejections and key advertisements, which are not acted on.
 */
import type { Prefix } from '../base/address.ts';
import { copyBytes } from '../base/bytes.ts';
import type { DropCounters } from '../base/drop.ts';
import type { ErrorCode } from '../base/errors.ts';
import { Slot } from '../base/slot.ts';
import type { NetmapPeer } from '../control/peer-record.ts';
import { PacketFilter } from '../filter/filter.ts';
import type { FilterLimits } from '../filter/limits.ts';
import type { WireFilterRule } from '../filter/rule.ts';
import type { TcpConnection } from '../netstack/tcp.ts';
import { classify, type Packet } from '../packet/classify.ts';
import { PROTOCOL_TCP } from '../packet/protocol.ts';
import { answerTsmpPing, PROTOCOL_TSMP } from '../packet/tsmp.ts';

/** Answers to pings that wait to be sent; what is beyond is dropped, as pings are. */
const MAX_REPLIES = 8;
/** An IPv6 header and the longest answer. */
const REPLY_BYTES = 128;

/** The gate of one device. */
export class TailnetGate {
  readonly filter: PacketFilter;
  readonly #drops: DropCounters;
  readonly #replies: Slot[] = [];

  constructor(limits: FilterLimits, drops: DropCounters) {
    this.#drops = drops;
    this.filter = new PacketFilter({ limits, drops });
  }

  /** The rules and the own addresses, as the netmap has them now. Nothing else is a destination, the resolver neither. */
  setRules(rules: readonly WireFilterRule[], addresses: readonly Prefix[]): void {
    this.filter.setRules(rules, addresses);
  }

  /**
   * Judges the inner packet `buf[start, end)` of a peer whose address it bears; its fields come into `packet`. 0: it goes
   * to the stack; 1: it was settled here; negative: the reason why it was dropped, counted.
   */
  handleInbound(nowMs: number, packet: Packet, buf: Uint8Array, start: number, end: number, isJailed: boolean): number {
    const parsed = classify(buf, start, end, packet);
    if (parsed < 0) return this.#drops.count(parsed);
    const verdict = this.filter.handleInbound(nowMs, packet, buf, start, end, isJailed);
    if (verdict < 0 || packet.protocol !== PROTOCOL_TSMP) return verdict;
    this.#answerPing(buf, packet);
    return 1;
  }

  /** Takes note of an outbound packet, whose fields come into `packet`: 0, or the reason why it may not leave, counted. */
  handleOutbound(
    nowMs: number,
    packet: Packet,
    buf: Uint8Array,
    start: number,
    end: number,
    isJailed: boolean,
  ): number {
    if (classify(buf, start, end, packet) < 0) return 0;
    return this.filter.handleOutbound(nowMs, packet, buf, start, end, isJailed);
  }

  /**
   * Why a connection with a peer may not go on: the peer has left, or, where the peer has opened it, no rule allows that
   * any more. Undefined: it may. The filter alone would not end it, since it judges only segments that open connections.
   */
  objectionTo({ path, localPort, listener }: TcpConnection, peer: NetmapPeer | undefined): ErrorCode | undefined {
    if (peer === undefined) return 'ERR_UNREACHABLE'; // CHECK: gate-cut-left
    if (listener === undefined) return undefined;
    if (peer.isJailed) return 'ERR_NOT_ALLOWED'; // CHECK: gate-cut-jailed
    const isAllowed = this.filter.allows(path.remote, path.local, PROTOCOL_TCP, localPort);
    return isAllowed ? undefined : 'ERR_NOT_ALLOWED';
  }

  /** Writes an answer that is due into the slot (which is reset); false when there is none. */
  pollTransmit(slot: Slot): boolean {
    const reply = this.#replies.shift();
    if (reply === undefined) return false;
    slot.reset();
    slot.end = slot.start + reply.end - reply.start;
    copyBytes(slot.buf, slot.start, reply.buf, reply.start, reply.end);
    return true;
  }

  #answerPing(buf: Uint8Array, packet: Packet): void {
    if (this.#replies.length >= MAX_REPLIES) return;
    const reply = new Slot(REPLY_BYTES);
    if (answerTsmpPing(packet, buf, reply) > 0) this.#replies.push(reply);
  }
}
