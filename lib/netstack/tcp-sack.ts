/**
 * Selective acknowledgments, both directions (RFC 2018, RFC 2883), with loss detection by time instead of by count:
 * RACK and tail loss probes (RFC 8985), over the scoreboard of RFC 6675.
 *
 * An optional part: {@link createSack} is handed to the TCP machine, and a build that does not hand it over does not
 * contain this file. RACK wants the segments in the order of their send time. Segments sent once are in that order
 * already; those sent again wait in a queue of their own, so that no linked list is needed.
 */
import { writeU32BE } from '../base/bytes.ts';
import { type TcpSegment, writeSackHead } from '../packet/tcp.ts';
import { SACK_DUPLICATE, SACK_TAIL_LOST, type SackPart, type SackRanges } from './tcp-recovery.ts';
import { SENT_LOST, SENT_RETRANSMITTED, SENT_SACKED, type Scoreboard } from './tcp-scoreboard.ts';
import { seqAfter, seqBefore, seqMin } from './tcp-sequence.ts';

const DUPLICATE_THRESHOLD = 3;
/** Recoveries without a duplicate report after which the reordering window shrinks back (RFC 8985 §6.2 step 4). */
const REORDER_PERSISTENCE = 16;
const MAX_BLOCKS = 4;
/** DEVIATES from RFC 8985 §6.2 step 4: clocks here tell milliseconds, and a batch of packets shares one reading. */
const MIN_REORDER_MS = 1;

/**
 * Makes the SACK part of one connection, when it first needs one; pass it to the TCP machine to have SACK. `rttMs` is
 * the latest round trip that was measured.
 */
export function createSack(board: Scoreboard, rttMs: number): SackPart {
  return new Sack(board, rttMs);
}

class Sack implements SackPart {
  reorderAt = Infinity;
  readonly #board: Scoreboard;

  /** RACK: the segment sent last among those delivered, and the round trip that it showed. */
  #rackSentMs = -Infinity;
  #rackEnd = 0;
  #rackRttMs: number;
  #reorderScale = 1;
  #reorderPersistence = 0;
  /** SND.NXT when the reordering window was last widened; widened once per round trip. */
  #roundEnd = 0;
  #isRoundOpen = false;
  /** Id of the first segment sent once that is not known to be delivered or lost. */
  #onceId: number;
  /** Segments sent again, oldest first: ids and times. */
  #againIds: number[] | undefined = undefined;
  #againMs: number[] | undefined = undefined;
  #againHead = 0;

  isProbeOut = false;
  #probeEnd = 0;
  #isProbeNew = false;

  /** Blocks of the acknowledgment before, all marked already. */
  #seen: Int32Array | undefined = undefined;
  #seenCount = 0;
  #fresh: Int32Array | undefined = undefined;

  /** Receiver: what arrived twice, to be reported once. */
  hasDuplicate = false;
  #duplicateStart = 0;
  #duplicateEnd = 0;

  constructor(board: Scoreboard, rttMs: number) {
    this.#board = board;
    this.#rackRttMs = rttMs;
    this.#onceId = board.firstId;
  }

  onProbe(end: number, isNew: boolean): void {
    this.isProbeOut = true;
    this.#isProbeNew = isNew;
    this.#probeEnd = end;
  }

  onRetransmit(id: number, nowMs: number): void {
    this.#againIds ??= [];
    this.#againMs ??= [];
    this.#againIds.push(id);
    this.#againMs.push(nowMs);
  }

  handleBlocks(segment: TcpSegment, previousUna: number, next: number): number {
    let hasDuplicate = false;
    if (segment.sackCount === 0) this.#seenCount = 0;
    else {
      hasDuplicate = isDuplicateReport(segment, this.#board.headSeq);
      if (hasDuplicate) this.#widen(next);
      this.#markBlocks(segment, hasDuplicate ? 1 : 0, next);
    }
    const isTailLost = this.isProbeOut && this.#endProbe(segment, previousUna, hasDuplicate);
    return (hasDuplicate ? SACK_DUPLICATE : 0) | (isTailLost ? SACK_TAIL_LOST : 0);
  }

  detect(nowMs: number, smoothedRttMs: number, minRttMs: number, inRecovery: boolean): boolean {
    const board = this.#board;
    const { rackSentMs: sentMs, rackEnd } = board.delivery;
    if (sentMs > this.#rackSentMs || (sentMs === this.#rackSentMs && seqAfter(rackEnd, this.#rackEnd))) {
      this.#rackSentMs = sentMs;
      this.#rackEnd = rackEnd;
      this.#rackRttMs = nowMs - sentMs;
    }
    board.delivery.rackSentMs = -Infinity;
    this.reorderAt = Infinity;
    if (this.#rackSentMs === -Infinity || board.count === 0) return false;
    return this.#markLate(nowMs, this.#rackRttMs + this.#reorderWindowMs(smoothedRttMs, minRttMs, inRecovery));
  }

  detectOnTimeout(nowMs: number, smoothedRttMs: number, minRttMs: number): void {
    const board = this.#board;
    this.reorderAt = Infinity;
    this.isProbeOut = false;
    const late = this.#rackRttMs + this.#reorderWindowMs(smoothedRttMs, minRttMs, true);
    for (let i = 0; i < board.count; i++) {
      if ((board.flagsOf(i) & (SENT_SACKED | SENT_LOST)) !== 0) continue;
      if (i === 0 || board.sentMsOf(i) + late <= nowMs) board.markLost(i);
    }
  }

  onRecoveryEnd(): void {
    if (this.#reorderPersistence > 0 && --this.#reorderPersistence === 0) this.#reorderScale = 1;
  }

  onSplit(): void {
    const board = this.#board;
    this.#onceId = board.firstId;
    this.#seenCount = 0;
    const again: number[] = [];
    for (let i = 0; i < board.count; i++)
      if ((board.flagsOf(i) & (SENT_RETRANSMITTED | SENT_SACKED | SENT_LOST)) === SENT_RETRANSMITTED) again.push(i);
    again.sort((a, b) => board.sentMsOf(a) - board.sentMsOf(b) || a - b);
    this.#againIds = again.map(i => (board.firstId + i) | 0);
    this.#againMs = again.map(i => board.sentMsOf(i));
    this.#againHead = 0;
  }

  rescan(): void {
    this.#seenCount = 0;
    this.#onceId = this.#board.firstId;
  }

  noteDuplicate(start: number, end: number): void {
    this.hasDuplicate = true;
    this.#duplicateStart = start;
    this.#duplicateEnd = end;
  }

  writeBlocks(ranges: SackRanges, buf: Uint8Array, at: number, room: number): number {
    const most = Math.min(MAX_BLOCKS, (room - 4) >> 3);
    const duplicates = this.hasDuplicate && most > 0 ? 1 : 0;
    const count = Math.min(most, ranges.rangeCount + duplicates);
    if (count <= 0) return at;
    let to = writeSackHead(buf, at, count);
    if (duplicates === 1) to = writeBlock(buf, to, this.#duplicateStart, this.#duplicateEnd);
    this.hasDuplicate = false;
    let before = 0x7fffffff;
    for (let n = duplicates; n < count; n++) {
      let best = -1;
      let touched = -1;
      for (let i = 0; i < ranges.rangeCount; i++) {
        const value = ranges.rangeTouched(i);
        if (value < before && value > touched) {
          best = i;
          touched = value;
        }
      }
      before = touched;
      to = writeBlock(buf, to, ranges.rangeStart(best), ranges.rangeEnd(best));
    }
    return to;
  }

  /** Marks what the blocks from number `first` on report, and remembers them. */
  #markBlocks(segment: TcpSegment, first: number, next: number): void {
    const board = this.#board;
    const fresh = (this.#fresh ??= new Int32Array(2 * MAX_BLOCKS));
    let count = 0;
    for (let i = first; i < segment.sackCount; i++) {
      const left = segment.sackLeft(i);
      const right = segment.sackRight(i);
      if (!seqBefore(left, right) || seqBefore(left, board.headSeq) || seqAfter(right, next)) continue; // CHECK: tcp-sack-range
      this.#mark(left, right);
      fresh[2 * count] = left;
      fresh[2 * count + 1] = right;
      count++;
    }
    this.#fresh = this.#seen;
    this.#seen = fresh;
    this.#seenCount = count;
  }

  /** Marks the segments in `[left, right)`, jumping over what the acknowledgment before had marked. */
  #mark(left: number, right: number): void {
    let from = left;
    while (seqBefore(from, right)) {
      let to = right;
      let isSeen = false;
      for (let i = 0; i < this.#seenCount; i++) {
        const seenLeft = this.#seen![2 * i];
        const seenRight = this.#seen![2 * i + 1];
        if (!seqBefore(from, seenLeft) && seqBefore(from, seenRight)) {
          from = seenRight;
          isSeen = true;
          break;
        }
        if (seqAfter(seenLeft, from)) to = seqMin(to, seenLeft);
      }
      if (isSeen) continue;
      this.#markRange(from, to, right);
      from = to;
    }
  }

  /** Marks the segments that start in `[from, to)` and end by `right`. */
  #markRange(from: number, to: number, right: number): void {
    const board = this.#board;
    for (let i = board.indexFrom(from); i < board.count; i++) {
      if (!seqBefore(board.startOf(i), to) || seqAfter(board.endOf(i), right)) return;
      board.markSacked(i);
    }
  }

  /** A duplicate report: the reordering window was too small (RFC 8985 §6.2 step 4). */
  #widen(next: number): void {
    if (this.#isRoundOpen && seqBefore(this.#board.headSeq, this.#roundEnd)) return;
    this.#isRoundOpen = true;
    this.#roundEnd = next;
    this.#reorderScale++;
    this.#reorderPersistence = REORDER_PERSISTENCE;
  }

  #reorderWindowMs(smoothedRttMs: number, minRttMs: number, inRecovery: boolean): number {
    const board = this.#board;
    if (!board.hasReordering && (inRecovery || board.sackedCount >= DUPLICATE_THRESHOLD)) return 0;
    if (smoothedRttMs === 0) return 0;
    const window = Math.max((this.#reorderScale * minRttMs) / 4, MIN_REORDER_MS);
    return Math.min(window, Math.max(smoothedRttMs, MIN_REORDER_MS));
  }

  /** Marks what was sent before the RACK segment and more than `lateMs` ago (RFC 8985 §6.2 step 5). */
  #markLate(nowMs: number, lateMs: number): boolean {
    const before = this.#board.lostBytes;
    this.#markLateOnce(nowMs, lateMs);
    this.#markLateAgain(nowMs, lateMs);
    return this.#board.lostBytes > before;
  }

  #markLateOnce(nowMs: number, lateMs: number): void {
    const board = this.#board;
    let i = Math.max((this.#onceId - board.firstId) | 0, 0);
    for (; i < board.count; i++) {
      if ((board.flagsOf(i) & (SENT_SACKED | SENT_LOST | SENT_RETRANSMITTED)) !== 0) continue;
      const sentMs = board.sentMsOf(i);
      if (!this.#wasSentBeforeRack(sentMs, board.endOf(i))) break;
      if (sentMs + lateMs > nowMs) {
        this.reorderAt = Math.min(this.reorderAt, sentMs + lateMs);
        break;
      }
      board.markLost(i);
    }
    this.#onceId = (board.firstId + i) | 0;
  }

  #markLateAgain(nowMs: number, lateMs: number): void {
    const board = this.#board;
    const ids = this.#againIds;
    const times = this.#againMs;
    if (ids === undefined || times === undefined) return;
    let head = this.#againHead;
    for (; head < ids.length; head++) {
      const i = (ids[head] - board.firstId) | 0;
      const sentMs = times[head];
      if (i < 0 || i >= board.count || board.sentMsOf(i) !== sentMs) continue;
      if ((board.flagsOf(i) & (SENT_SACKED | SENT_LOST)) !== 0) continue;
      if (!this.#wasSentBeforeRack(sentMs, board.endOf(i))) break;
      if (sentMs + lateMs > nowMs) {
        this.reorderAt = Math.min(this.reorderAt, sentMs + lateMs);
        break;
      }
      board.markLost(i);
    }
    this.#againHead = head;
    if (head === ids.length) {
      this.#againIds = this.#againMs = undefined;
      this.#againHead = 0;
    } else if (head > 64 && head * 2 > ids.length) {
      ids.splice(0, head);
      times.splice(0, head);
      this.#againHead = 0;
    }
  }

  #wasSentBeforeRack(sentMs: number, end: number): boolean {
    return sentMs < this.#rackSentMs || (sentMs === this.#rackSentMs && seqBefore(end, this.#rackEnd));
  }

  /** Whether the probe that is out has just shown that it repaired a loss (RFC 8985 §7.4.2). */
  #endProbe(segment: TcpSegment, previousUna: number, hasDuplicate: boolean): boolean {
    if (seqBefore(segment.ack, this.#probeEnd)) return false;
    if (this.#isProbeNew || hasDuplicate) {
      this.isProbeOut = false;
      return false;
    }
    if (seqAfter(segment.ack, this.#probeEnd)) {
      this.isProbeOut = false;
      return true;
    }
    // Acknowledged exactly up to the probe: a second such acknowledgment means that both copies arrived.
    if (segment.ack === previousUna && segment.sackCount === 0) this.isProbeOut = false;
    return false;
  }
}

/** Whether the first block tells of a duplicate: below the acknowledgment, or inside the second block (RFC 2883 §4). */
function isDuplicateReport(segment: TcpSegment, una: number): boolean {
  const left = segment.sackLeft(0);
  const right = segment.sackRight(0);
  if (seqBefore(left, una)) return !seqAfter(right, una);
  return segment.sackCount > 1 && !seqBefore(left, segment.sackLeft(1)) && !seqAfter(right, segment.sackRight(1));
}

function writeBlock(buf: Uint8Array, at: number, start: number, end: number): number {
  writeU32BE(buf, at, start);
  writeU32BE(buf, at + 4, end);
  return at + 8;
}
