/**
 * The segments in flight: when each was sent, and what became of it. RFC 6675 §3 calls it the scoreboard; RFC 8985 §4
 * adds the send times.
 *
 * One record per segment, in sequence order, in parallel typed arrays that double on demand; a record is 13 bytes.
 * Records are known by their place from the oldest one (0 to count - 1) or, where they are remembered longer, by an id
 * that wraps at 2^32. What one acknowledgment delivered is collected in the fields that {@link Scoreboard.beginAck}
 * clears. Bytes "in flight" are those sent, not lost, not acknowledged and not sacked: RFC 6675's pipe.
 */

/** The receiver reported the segment beyond a gap. */
export const SENT_SACKED = 1;
/** Believed lost, and not sent again since. */
export const SENT_LOST = 2;
/** Sent more than once. */
export const SENT_RETRANSMITTED = 4;

const FIRST_RECORDS = 16;

/** What is in flight on one connection. */
export class Scoreboard {
  /** Number of records. */
  count = 0;
  /** Id of the oldest record, int32. */
  firstId = 0;
  /** Start of the oldest record (SND.UNA), int32. */
  headSeq = 0;
  inFlightBytes = 0;
  lostBytes = 0;
  sackedBytes = 0;
  /** Records that the receiver reported beyond a gap. */
  sackedCount = 0;

  /** Bytes that this acknowledgment reported for the first time, in order or not. */
  deliveredBytes = 0;
  /** Send time of the oldest and the newest segment in it that was sent only once; NaN when there is none. */
  oldestSentMs = Number.NaN;
  newestSentMs = Number.NaN;
  /**
   * Latest send time of a segment in it that was sent more than once and that SND.UNA moved over; -Infinity when there
   * is none. What such an acknowledgment says about time is ambiguous (Karn).
   */
  repeatedSentMs = -Infinity;
  /** Send time and end of the segment sent last among those delivered (RFC 8985 §6.2 step 2); -Infinity when none. */
  rackSentMs = -Infinity;
  rackEnd = 0;
  /** A segment sent once arrived after one that was sent later (RFC 8985 §6.2 step 3). Never cleared here. */
  hasReordering = false;

  #mask = -1;
  #ends: Int32Array | undefined = undefined;
  #sentMs: Float64Array | undefined = undefined;
  #flags: Uint8Array | undefined = undefined;
  /** No record before this one (by id) is lost. */
  #lostHint = 0;
  #highest = 0;
  #highestBefore = 0;
  #nowMs = 0;
  #echoMs = Infinity;
  #minRttMs = 0;

  /** Starts empty at `seq`. */
  reset(seq: number): void {
    this.headSeq = seq;
    this.#highest = seq;
  }

  /** Adds a segment that ends at `end`, sent now. */
  push(end: number, nowMs: number): void {
    if (this.count > this.#mask) this.#resize((this.#mask + 1) * 2);
    const at = (this.firstId + this.count) & this.#mask;
    this.inFlightBytes += (end - this.#endSeq) | 0;
    this.#ends![at] = end;
    this.#sentMs![at] = nowMs;
    this.#flags![at] = 0;
    this.count++;
  }

  /** First sequence number of record `i`. */
  startOf(i: number): number {
    return i === 0 ? this.headSeq : this.#ends![(this.firstId + i - 1) & this.#mask];
  }

  /** One past the last sequence number of record `i`. */
  endOf(i: number): number {
    return this.#ends![(this.firstId + i) & this.#mask];
  }

  /** Flags of record `i`. */
  flagsOf(i: number): number {
    return this.#flags![(this.firstId + i) & this.#mask];
  }

  /** When record `i` was sent last. */
  sentMsOf(i: number): number {
    return this.#sentMs![(this.firstId + i) & this.#mask];
  }

  /** Place of the first record that starts at or after `seq`; `count` when there is none. */
  indexFrom(seq: number): number {
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (((this.startOf(middle) - seq) | 0) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /**
   * Clears what the last acknowledgment delivered. `echoMs` is when the segment that caused the new one was sent, by
   * its echoed timestamp (whole milliseconds; Infinity when unknown), `minRttMs` the smallest round trip so far.
   */
  beginAck(nowMs: number, echoMs: number, minRttMs: number): void {
    this.deliveredBytes = 0;
    this.oldestSentMs = this.newestSentMs = Number.NaN;
    this.repeatedSentMs = -Infinity;
    this.rackSentMs = -Infinity;
    this.#highestBefore = this.#highest;
    this.#nowMs = nowMs;
    this.#echoMs = echoMs;
    this.#minRttMs = minRttMs;
  }

  /** Removes what lies before `una`, which the caller has checked to be in flight. */
  ackTo(una: number): void {
    while (this.count > 0) {
      const at = this.firstId & this.#mask;
      const end = this.#ends![at];
      if (((end - una) | 0) > 0) break;
      const isRepeated = (this.#flags![at] & SENT_RETRANSMITTED) !== 0;
      if (isRepeated && this.#sentMs![at] > this.repeatedSentMs) this.repeatedSentMs = this.#sentMs![at];
      this.#deliver(at, (end - this.headSeq) | 0, end);
      this.headSeq = end;
      this.firstId = (this.firstId + 1) | 0;
      this.count--;
    }
    const part = (una - this.headSeq) | 0;
    if (part > 0 && this.count > 0) this.#subtract(this.#flags![this.firstId & this.#mask], part);
    this.deliveredBytes += part;
    this.headSeq = una;
    if (((this.#highest - una) | 0) < 0) this.#highest = una;
  }

  /** The receiver has record `i` beyond a gap. */
  markSacked(i: number): void {
    const at = (this.firstId + i) & this.#mask;
    if ((this.#flags![at] & SENT_SACKED) !== 0) return;
    const length = (this.#ends![at] - this.startOf(i)) | 0;
    this.#deliver(at, length, this.#ends![at]);
    this.#flags![at] = (this.#flags![at] & ~SENT_LOST) | SENT_SACKED;
    this.sackedBytes += length;
    this.sackedCount++;
  }

  /** Record `i` is believed lost. */
  markLost(i: number): void {
    const at = (this.firstId + i) & this.#mask;
    if ((this.#flags![at] & (SENT_SACKED | SENT_LOST)) !== 0) return;
    const length = (this.#ends![at] - this.startOf(i)) | 0;
    if (this.lostBytes === 0 || ((this.firstId + i - this.#lostHint) | 0) < 0) this.#lostHint = (this.firstId + i) | 0;
    this.#flags![at] |= SENT_LOST;
    this.inFlightBytes -= length;
    this.lostBytes += length;
  }

  /** Record `i` was sent again now. */
  markRetransmitted(i: number, nowMs: number): void {
    const at = (this.firstId + i) & this.#mask;
    const length = (this.#ends![at] - this.startOf(i)) | 0;
    if ((this.#flags![at] & SENT_LOST) !== 0) {
      this.lostBytes -= length;
      this.inFlightBytes += length;
    }
    this.#flags![at] = (this.#flags![at] & ~SENT_LOST) | SENT_RETRANSMITTED;
    this.#sentMs![at] = nowMs;
  }

  /** Place of the first lost record, -1 when none is. */
  nextLost(): number {
    if (this.lostBytes === 0) return -1;
    let i = Math.max((this.#lostHint - this.firstId) | 0, 0);
    while (i < this.count && (this.flagsOf(i) & SENT_LOST) === 0) i++;
    this.#lostHint = (this.firstId + i) | 0;
    return i < this.count ? i : -1;
  }

  /** Nothing was lost after all: whatever was believed lost is in flight. */
  clearLost(): void {
    for (let i = 0; i < this.count; i++) this.#flags![(this.firstId + i) & this.#mask] &= ~SENT_LOST;
    this.inFlightBytes += this.lostBytes;
    this.lostBytes = 0;
  }

  /** The receiver may have thrown away what it reported (RFC 2018 §8): all of it counts as in flight again. */
  clearSacked(): void {
    for (let i = 0; i < this.count; i++) this.#flags![(this.firstId + i) & this.#mask] &= ~SENT_SACKED;
    this.inFlightBytes += this.sackedBytes;
    this.sackedBytes = this.sackedCount = 0;
  }

  /** Cuts records longer than `maxBytes` and marks their parts lost (a router dropped them: path MTU). */
  split(maxBytes: number): void {
    const ends: number[] = [];
    const sentMs: number[] = [];
    const flags: number[] = [];
    const lost: number[] = [];
    for (let i = 0; i < this.count; i++) {
      const end = this.endOf(i);
      const isLong = ((end - this.startOf(i)) | 0) > maxBytes;
      for (let cut = this.startOf(i); cut !== end; ) {
        cut = ((end - cut) | 0) > maxBytes ? (cut + maxBytes) | 0 : end;
        if (isLong) lost.push(ends.length);
        ends.push(cut);
        sentMs.push(this.sentMsOf(i));
        flags.push(this.flagsOf(i));
      }
    }
    this.#resize(Math.max(FIRST_RECORDS, 2 ** Math.ceil(Math.log2(Math.max(ends.length, 1)))));
    this.firstId = 0;
    this.#lostHint = 0;
    this.count = ends.length;
    this.#ends!.set(ends);
    this.#sentMs!.set(sentMs);
    this.#flags!.set(flags);
    this.sackedCount = flags.filter(flag => (flag & SENT_SACKED) !== 0).length;
    for (const i of lost) this.markLost(i);
  }

  /** Forgets everything and frees the memory. */
  clear(): void {
    this.count = this.inFlightBytes = this.lostBytes = this.sackedBytes = this.sackedCount = 0;
    this.trim();
  }

  /** Frees the memory if nothing is in flight. */
  trim(): void {
    if (this.count > 0 || this.#mask < 0) return;
    this.#mask = -1;
    this.#ends = this.#sentMs = this.#flags = undefined;
  }

  get #endSeq(): number {
    return this.count === 0 ? this.headSeq : this.endOf(this.count - 1);
  }

  #subtract(flags: number, bytes: number): void {
    if ((flags & SENT_SACKED) !== 0) this.sackedBytes -= bytes;
    else if ((flags & SENT_LOST) !== 0) this.lostBytes -= bytes;
    else this.inFlightBytes -= bytes;
  }

  /** The record in place `at` arrived, `length` bytes up to `end`. */
  #deliver(at: number, length: number, end: number): void {
    const flags = this.#flags![at];
    this.#subtract(flags, length);
    if ((flags & SENT_SACKED) !== 0) {
      this.sackedCount--;
      return;
    }
    this.deliveredBytes += length;
    const sentMs = this.#sentMs![at];
    if ((flags & SENT_RETRANSMITTED) === 0) {
      if (!(this.oldestSentMs <= sentMs)) this.oldestSentMs = sentMs;
      if (!(this.newestSentMs >= sentMs)) this.newestSentMs = sentMs;
      if (((end - this.#highestBefore) | 0) < 0) this.hasReordering = true;
    } else if (sentMs >= this.#echoMs + 1 || this.#nowMs - sentMs < this.#minRttMs) return;
    if (((end - this.#highest) | 0) > 0) this.#highest = end;
    if (sentMs > this.rackSentMs || (sentMs === this.rackSentMs && ((end - this.rackEnd) | 0) > 0)) {
      this.rackSentMs = sentMs;
      this.rackEnd = end;
    }
  }

  #resize(wanted: number): void {
    const size = Math.max(wanted, FIRST_RECORDS);
    const ends = new Int32Array(size);
    const sentMs = new Float64Array(size);
    const flags = new Uint8Array(size);
    for (let i = 0; i < this.count; i++) {
      const from = (this.firstId + i) & this.#mask;
      const to = (this.firstId + i) & (size - 1);
      ends[to] = this.#ends![from];
      sentMs[to] = this.#sentMs![from];
      flags[to] = this.#flags![from];
    }
    this.#ends = ends;
    this.#sentMs = sentMs;
    this.#flags = flags;
    this.#mask = size - 1;
  }
}
