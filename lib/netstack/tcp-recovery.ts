/**
 * What a sender does about loss: fast retransmit and recovery (RFC 5681 §3.2, RFC 6582 without SACK), limited
 * transmit (RFC 3042), proportional rate reduction (RFC 6937), the state after a timeout, and taking a reduction back
 * when it was a mistake (Eifel, RFC 3522 and RFC 4015; DSACK, RFC 3708).
 *
 * Finding lost segments with selective acknowledgments is the {@link SackPart}'s work (tcp-sack.ts), which a small
 * build leaves out; then three duplicate acknowledgments are the only sign of loss, besides the timer.
 */
import type { TcpSegment } from '../packet/tcp.ts';
import type { Cubic } from './tcp-congestion.ts';
import { SENT_SACKED, type Scoreboard } from './tcp-scoreboard.ts';
import { seqBefore } from './tcp-sequence.ts';

/** Nothing is known to be lost. */
export const PHASE_OPEN = 0;
/** Fast recovery: lost segments are being sent again at a reduced rate. */
export const PHASE_RECOVERY = 1;
/** The retransmission timer ran out: slow start over what was in flight. */
export const PHASE_LOSS = 2;

const DUPLICATE_ACKS = 3;

/** The selective-acknowledgment part of one connection, both directions. A build without SACK passes none. */
export interface SackPart {
  /** When {@link detect} wants to be called again, absolute milliseconds; Infinity for never. */
  readonly reorderAt: number;
  /** Whether a tail loss probe is out that was not answered (RFC 8985 §7): no other may be sent. */
  readonly isProbeOut: boolean;
  /** A tail loss probe left: `end` is SND.NXT, `isNew` whether it carried new data. */
  onProbe(end: number, isNew: boolean): void;
  /** The segment with `id` was sent again. */
  onRetransmit(id: number, nowMs: number): void;
  /**
   * Reads the SACK blocks of an acknowledgment that moved SND.UNA from `previousUna`, before {@link detect}.
   * Returns bits: {@link SACK_DUPLICATE} when it reports a duplicate arrival, {@link SACK_TAIL_LOST} when it shows that
   * a tail loss probe repaired a loss.
   */
  handleBlocks(segment: TcpSegment, previousUna: number, next: number): number;
  /** Marks lost segments. `inRecovery` is whether a recovery or loss phase is on. Returns whether any is new. */
  detect(nowMs: number, smoothedRttMs: number, minRttMs: number, inRecovery: boolean): boolean;
  /** Marks on a timeout (RFC 8985 §6.3). */
  detectOnTimeout(nowMs: number, smoothedRttMs: number, minRttMs: number): void;
  /** A recovery is over (RFC 8985 §6.2 step 4: the reordering window's persistence). */
  onRecoveryEnd(): void;
  /** Records were cut: remembered ids are void. */
  onSplit(): void;
  /** Flags were cleared from outside: look at all records again. */
  rescan(): void;

  /** Receiver: `[start, end)` arrived a second time (RFC 2883). */
  noteDuplicate(start: number, end: number): void;
  /** Receiver: whether there is such a duplicate to report. */
  readonly hasDuplicate: boolean;
  /** Receiver: writes a SACK option of at most `room` bytes at `at`; returns where it ends (`at` when there is none). */
  writeBlocks(ranges: SackRanges, buf: Uint8Array, at: number, room: number): number;
}

/** {@link SackPart.handleBlocks}: the acknowledgment reports a segment that arrived twice. */
export const SACK_DUPLICATE = 1;
/** {@link SackPart.handleBlocks}: a tail loss probe repaired a loss. */
export const SACK_TAIL_LOST = 2;

/** Ranges beyond a gap, as the receive ring keeps them. */
export interface SackRanges {
  readonly rangeCount: number;
  rangeStart(i: number): number;
  rangeEnd(i: number): number;
  rangeTouched(i: number): number;
}

/** What a recovery works on: a connection. */
export interface RecoveryOwner {
  readonly board: Scoreboard;
  readonly cubic: Cubic;
  readonly sack: SackPart | undefined;
}

/** The recovery state of one connection; there is one from the first sign of a loss on. */
export class Recovery {
  /** One of the PHASE constants. */
  phase = PHASE_OPEN;
  /** The first segment of this recovery leaves whatever the window says (RFC 6675 §5 step 4.3). */
  mustRetransmit = false;
  /** Reductions taken back since the start. */
  undone = 0;
  /** Segments sent again since the start, and times that the retransmission timer ran out. */
  retransmits = 0;
  timeouts = 0;
  /** Bytes that duplicate acknowledgments reported as having left the network (without SACK only). */
  duplicateBytes = 0;
  #duplicates = 0;
  /** SND.NXT at the start of this phase; the phase ends when it is acknowledged. */
  #point: number;
  /** SND.UNA at the start of the phase. */
  #start: number;
  #threshold = 0;
  #flightAtStart = 1;
  #prrDelivered = 0;
  #prrOut = 0;
  /** First retransmission of the phase: when, and up to where; NaN before it. */
  #retransmittedMs = Number.NaN;
  #retransmittedEnd = 0;
  /** Retransmissions of the phase that no duplicate report has answered yet. */
  #unanswered = 0;
  readonly #owner: RecoveryOwner;

  constructor(owner: RecoveryOwner) {
    this.#owner = owner;
    this.#point = owner.board.headSeq;
    this.#start = owner.board.headSeq;
  }

  /** Bytes believed to be in the network. */
  get pipeBytes(): number {
    return this.#owner.board.inFlightBytes - this.duplicateBytes;
  }

  /** Counts a duplicate acknowledgment (no SACK). Marks the first segment lost when it is the third. */
  onDuplicateAck(mss: number): void {
    this.#duplicates++;
    const board = this.#owner.board;
    this.duplicateBytes = Math.min(this.duplicateBytes + mss, Math.max(board.inFlightBytes - mss, 0));
    board.delivery.bytes += mss;
    // RFC 6582 §3.2 step 2: duplicates of what a timeout sent again are no sign of a new loss.
    const isFresh = !seqBefore(board.headSeq, this.#point);
    if (this.phase === PHASE_OPEN && this.#duplicates === DUPLICATE_ACKS && isFresh) board.markLost(0);
  }

  /** SND.UNA moved by `bytes` (no SACK). In a recovery, the segment that is now first is lost as well. */
  onAdvanceWithoutSack(bytes: number, mss: number): void {
    this.#duplicates = 0;
    if (this.phase !== PHASE_RECOVERY) this.duplicateBytes = 0;
    else {
      this.duplicateBytes = Math.max(this.duplicateBytes - Math.max(bytes - mss, 0), 0);
      if (seqBefore(this.#owner.board.headSeq, this.#point) && this.#owner.board.count > 0)
        this.#owner.board.markLost(0);
    }
    this.duplicateBytes = Math.min(this.duplicateBytes, this.#owner.board.inFlightBytes);
  }

  /**
   * The end of an acknowledgment's way: changes phase and sets the window. `advance` is by how much SND.UNA moved,
   * `next` SND.NXT, `flightBefore` the pipe before it, `isNewLoss` whether it showed a new loss, `echoMs` when the
   * segment behind it was sent. Returns whether congestion avoidance may count it (no fast recovery is on).
   */
  onAck(advance: number, next: number, flightBefore: number, isNewLoss: boolean, echoMs: number, mss: number): boolean {
    const una = this.#owner.board.headSeq;
    if (advance > 0 && this.#isMistake(una, echoMs)) this.#undo();
    if (this.phase !== PHASE_OPEN && !seqBefore(una, this.#point)) this.#leave();
    if (this.phase === PHASE_OPEN && this.#owner.board.lostBytes > 0) this.#enter(next, flightBefore);
    if (this.phase !== PHASE_RECOVERY) return true;
    this.#reduce(advance > 0 && !isNewLoss, mss);
    return false;
  }

  /** `[start, end)` arrived twice (RFC 2883). Once all that was sent again in the phase did, nothing had been lost. */
  onDuplicateReport(start: number, end: number): void {
    if (seqBefore(start, this.#start) || seqBefore(this.#point, end)) return;
    if (this.#unanswered > 0 && --this.#unanswered === 0) this.#undo();
  }

  /** `bytes` are about to leave, `isRetransmission` or new. */
  onSend(bytes: number, end: number, isRetransmission: boolean, nowMs: number): void {
    if (isRetransmission) this.mustRetransmit = false;
    if (this.phase === PHASE_OPEN) return;
    this.#prrOut += bytes;
    if (!isRetransmission) return;
    this.#unanswered++;
    if (Number.isNaN(this.#retransmittedMs)) {
      this.#retransmittedMs = nowMs;
      this.#retransmittedEnd = end;
    }
  }

  /** The retransmission timer ran out. Losses are marked by the caller; `isFirst` is false for a repeated timeout. */
  onTimeout(next: number, mss: number, isFirst: boolean): void {
    this.#duplicates = 0;
    this.duplicateBytes = 0;
    if (isFirst) {
      this.#startEpisode();
      this.#owner.cubic.onTimeout(this.pipeBytes + mss);
    } else this.#owner.cubic.window = this.pipeBytes + mss;
    this.phase = PHASE_LOSS;
    this.#point = next;
    this.mustRetransmit = true;
  }

  /** What is marked lost was too big for the path: it is sent again without a reduction. `next` is SND.NXT. */
  repair(next: number): void {
    this.mustRetransmit = true;
    if (this.phase !== PHASE_OPEN) return;
    this.#startEpisode();
    this.phase = PHASE_RECOVERY;
    this.#point = next;
    this.#threshold = this.#owner.cubic.window;
    this.#flightAtStart = Math.max(this.#owner.cubic.window, 1);
    this.#prrDelivered = this.#prrOut = 0;
  }

  /** A tail loss probe repaired a loss: one reduction, nothing to send again (RFC 8985 §7.4.2). */
  onTailLoss(): void {
    if (this.phase !== PHASE_OPEN) return;
    this.#owner.cubic.window = this.#owner.cubic.onLoss();
  }

  #enter(next: number, flightBefore: number): void {
    this.#startEpisode();
    this.phase = PHASE_RECOVERY;
    this.#point = next;
    this.#threshold = this.#owner.cubic.onLoss();
    this.#flightAtStart = Math.max(flightBefore, 1);
    this.#prrDelivered = 0;
    this.#prrOut = 0;
    this.mustRetransmit = true;
  }

  #startEpisode(): void {
    this.#start = this.#owner.board.headSeq;
    this.#retransmittedMs = Number.NaN;
    this.#unanswered = 0;
  }

  #leave(): void {
    if (this.phase === PHASE_RECOVERY) this.#owner.cubic.window = this.#threshold;
    this.#owner.sack?.onRecoveryEnd();
    this.phase = PHASE_OPEN;
    this.duplicateBytes = 0;
    this.mustRetransmit = false;
  }

  /** RFC 6937 §3, with the conservative bound while losses keep turning up. */
  #reduce(isSafe: boolean, mss: number): void {
    const delivered = this.#owner.board.delivery.bytes;
    this.#prrDelivered += delivered;
    const pipe = this.pipeBytes;
    let send: number;
    if (pipe > this.#threshold)
      send = Math.ceil((this.#prrDelivered * this.#threshold) / this.#flightAtStart) - this.#prrOut;
    else {
      const limit = Math.max(this.#prrDelivered - this.#prrOut, delivered) + (isSafe ? mss : 0);
      send = Math.min(this.#threshold - pipe, limit);
    }
    this.#owner.cubic.window = pipe + Math.max(send, 0);
  }

  /** Whether what was sent again had arrived: the answer was caused by a segment that left before (RFC 3522 §3.2). */
  #isMistake(una: number, echoMs: number): boolean {
    return (
      this.phase !== PHASE_OPEN && echoMs < Math.floor(this.#retransmittedMs) && !seqBefore(una, this.#retransmittedEnd)
    );
  }

  #undo(): void {
    this.undone++;
    this.#startEpisode();
    this.#owner.board.clearLost();
    this.#owner.sack?.rescan();
    this.#owner.cubic.undo();
    this.phase = PHASE_OPEN;
    this.duplicateBytes = 0;
    this.mustRetransmit = false;
  }
}

/** Marks everything in flight lost that was not reported as arrived: the timer ran out, and nothing better is known. */
export function markAllLost(board: Scoreboard): void {
  for (let i = 0; i < board.count; i++) if ((board.flagsOf(i) & SENT_SACKED) === 0) board.markLost(i);
}
