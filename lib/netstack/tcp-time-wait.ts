/**
 * TIME-WAIT (RFC 9293 §3.6.1): what is left of a connection that this side closed first. It answers stray segments of
 * the old connection, until none can come any more, and then goes without a word.
 *
 * A connection is over for its application when it comes here; what is kept of it is a {@link TimeWait}, a few numbers.
 * Resets are ignored (RFC 1337); a new SYN may take the place, which is the machine's business (RFC 6191).
 */
import { TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN, type TcpSegment } from '../packet/tcp.ts';
import type { IpPath } from './path.ts';
import { TCP_DROPS } from './tcp-drops.ts';
import { CHALLENGE_INTERVAL_MS } from './tcp-limits.ts';
import type { TcpSecrets } from './tcp-secrets.ts';
import { seqAfter, seqBefore } from './tcp-sequence.ts';
import { ConnectionTable, type TableEntry } from './tcp-table.ts';
import { DUE_ACK, HAS_TIMESTAMPS, type Tcb, type TcpOwner } from './tcp-tcb.ts';

/** One four-tuple that waits. Sequence numbers are int32, times absolute milliseconds. */
export class TimeWait implements TableEntry {
  readonly path: IpPath;
  readonly localPort: number;
  readonly remotePort: number;
  nextInBucket: TimeWait | undefined = undefined;
  readonly sndNxt: number;
  readonly rcvNxt: number;
  /** The window field that answers carry, and by how much it is to be shifted. */
  readonly window: number;
  readonly windowShift: number;
  readonly hasTimestamps: boolean;
  readonly tsRecent: number;
  readonly tsOffset: number;
  endMs: number;
  challengedMs = -Infinity;
  /** Those whose waits began right before and after it. */
  older: TimeWait | undefined = undefined;
  newer: TimeWait | undefined = undefined;

  constructor(t: Tcb, endMs: number) {
    this.path = t.path;
    this.localPort = t.localPort;
    this.remotePort = t.remotePort;
    this.sndNxt = t.sndNxt;
    this.rcvNxt = t.rcvNxt;
    this.window = Math.min(Math.max((t.rcvAdv - t.rcvNxt) | 0, 0) >>> t.rcvShift, 65_535);
    this.windowShift = t.rcvShift;
    this.hasTimestamps = (t.flags & HAS_TIMESTAMPS) !== 0;
    this.tsRecent = t.tsRecent;
    this.tsOffset = t.tsOffset;
    this.endMs = endMs;
  }
}

/** Everything of one machine that is in TIME-WAIT. Full: the oldest goes early. */
export class TimeWaitTable {
  readonly #owner: TcpOwner;
  readonly #table: ConnectionTable<TimeWait>;
  /** Both ends of a list in the order of their ends: the first is asked for often, and thousands may go in a row. */
  #oldest: TimeWait | undefined = undefined;
  #newest: TimeWait | undefined = undefined;

  constructor(owner: TcpOwner, secrets: TcpSecrets) {
    this.#owner = owner;
    this.#table = new ConnectionTable(secrets);
  }

  /** Four-tuples that wait. */
  get size(): number {
    return this.#table.size;
  }

  /** When the first wait ends, absolute milliseconds; Infinity when there is none. */
  get nextTimeout(): number {
    return this.#oldest?.endMs ?? Infinity;
  }

  /** Takes a connection's place whose two sides have finished. Acknowledges what it has not acknowledged yet. */
  add(nowMs: number, t: Tcb): void {
    const { limits } = this.#owner;
    const entry = new TimeWait(t, nowMs + limits.timeWaitMs);
    this.#table.add(entry);
    this.#append(entry);
    if (this.size > limits.timeWait) this.dropOldest(); // CHECK: tcp-time-wait-limit
    if ((t.due & DUE_ACK) !== 0) this.#answer(nowMs, entry);
  }

  /** Whether a segment for the entry is a SYN that cannot be an old duplicate (RFC 6191 §2). */
  isLaterSyn(entry: TimeWait, segment: TcpSegment): boolean {
    if ((segment.flags & (TCP_SYN | TCP_ACK | TCP_RST)) !== TCP_SYN) return false;
    const isLater = seqAfter(segment.seq, entry.rcvNxt);
    if (!segment.hasTimestamps || !entry.hasTimestamps) return isLater;
    const elapsed = (segment.tsVal - entry.tsRecent) | 0;
    return elapsed > 0 || (elapsed === 0 && isLater);
  }

  /** As `ConnectionTable.find`. */
  find(
    buf: Uint8Array,
    remoteAt: number,
    localAt: number,
    length: number,
    remotePort: number,
    localPort: number,
  ): TimeWait | undefined {
    return this.#table.find(buf, remoteAt, localAt, length, remotePort, localPort);
  }

  /** As `ConnectionTable.findByPath`. */
  findByPath(path: IpPath, remotePort: number, localPort: number): TimeWait | undefined {
    return this.#table.findByPath(path, remotePort, localPort);
  }

  /** Ends a wait. */
  remove(entry: TimeWait): void {
    this.#table.remove(entry);
    this.#unlink(entry);
  }

  /** Ends the wait that began first. */
  dropOldest(): void {
    const oldest = this.#oldest;
    if (oldest !== undefined) this.remove(oldest);
  }

  /** Ends the waits whose time is over. */
  handleTimeout(nowMs: number): void {
    while (this.nextTimeout <= nowMs) this.dropOldest();
  }

  /** Takes a segment in that is no later SYN. 0, or a negative drop reason, which has been counted. */
  handleSegment(nowMs: number, entry: TimeWait, segment: TcpSegment): number {
    const { drops } = this.#owner;
    const { flags, seq, dataStart, dataEnd } = segment;
    if ((flags & TCP_RST) !== 0) return drops.count(TCP_DROPS.badReset); // CHECK: tcp-time-wait-reset
    if ((flags & TCP_SYN) !== 0) return this.#challenge(nowMs, entry, TCP_DROPS.unexpectedSyn);
    const hasData = dataEnd > dataStart;
    const end = (seq + segment.sequenceLength) | 0;
    const isOld = end === seq ? seqBefore(seq, entry.rcvNxt) : !seqAfter(end, entry.rcvNxt);
    if (entry.hasTimestamps && !segment.hasTimestamps) return drops.count(TCP_DROPS.oldTimestamp);
    const isStale = entry.hasTimestamps && ((segment.tsVal - entry.tsRecent) | 0) < 0;
    if (isStale && !(isOld && hasData)) return this.#challenge(nowMs, entry, TCP_DROPS.oldTimestamp);
    if (isOld && (flags & TCP_FIN) !== 0) this.#restart(nowMs, entry);
    if (isOld && hasData) {
      this.#answer(nowMs, entry);
      return drops.count(TCP_DROPS.duplicate);
    }
    if (isOld) return this.#challenge(nowMs, entry, TCP_DROPS.duplicate);
    const isBeyond = seqAfter(seq, (entry.rcvNxt + (entry.window << entry.windowShift)) | 0);
    if (isBeyond) return this.#challenge(nowMs, entry, TCP_DROPS.outOfWindow);
    if ((flags & TCP_ACK) === 0) return drops.count(TCP_DROPS.malformed);
    if (seqAfter(segment.ack, entry.sndNxt)) return this.#challenge(nowMs, entry, TCP_DROPS.badAck);
    return hasData ? drops.count(TCP_DROPS.badState) : 0;
  }

  #append(entry: TimeWait): void {
    const last = this.#newest;
    entry.older = last;
    if (last === undefined) this.#oldest = entry;
    else last.newer = entry;
    this.#newest = entry;
  }

  #unlink(entry: TimeWait): void {
    const { older, newer } = entry;
    if (older === undefined) this.#oldest = newer;
    else older.newer = newer;
    if (newer === undefined) this.#newest = older;
    else newer.older = older;
    entry.older = entry.newer = undefined;
  }

  /** Our last acknowledgment was lost: the wait starts over (RFC 9293 §3.10.7.4, eighth). */
  #restart(nowMs: number, entry: TimeWait): void {
    this.#unlink(entry);
    this.#append(entry);
    entry.endMs = nowMs + this.#owner.limits.timeWaitMs;
  }

  /** Answers with an acknowledgment, but not too often (RFC 5961 §7). */
  #challenge(nowMs: number, entry: TimeWait, reason: number): number {
    if (nowMs - entry.challengedMs >= CHALLENGE_INTERVAL_MS) {
      entry.challengedMs = nowMs;
      this.#answer(nowMs, entry);
    }
    return this.#owner.drops.count(reason);
  }

  #answer(nowMs: number, entry: TimeWait): void {
    const { path, localPort, remotePort, sndNxt: seq, rcvNxt: ack, window, tsRecent: tsEcr } = entry;
    const tsVal = entry.hasTimestamps ? (Math.floor(nowMs) + entry.tsOffset) | 0 : undefined;
    this.#owner.sendReply({ path, localPort, remotePort, flags: TCP_ACK, seq, ack, window, tsVal, tsEcr });
  }
}
