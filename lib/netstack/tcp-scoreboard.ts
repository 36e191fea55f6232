/**
 * The segments in flight: when each was sent, and what became of it. RFC 6675 §3 calls it the scoreboard; RFC 8985 §4
 * adds the send times.
 *
 * One record per segment, in sequence order, in a typed array that doubles on demand: 16 bytes each, and one more for
 * flags from the first loss on. Records are known by their place from the oldest one (0 to count - 1) or, where they are
 * remembered longer, by an id that wraps at 2^32. What one acknowledgment delivered is collected in a {@link Delivery},
 * which all connections share. Bytes "in flight" are those sent, not lost, not acknowledged and not sacked: RFC 6675's
 * pipe.
 */

/** The receiver reported the segment beyond a gap. */
export const SENT_SACKED = 1;
/** Believed lost, and not sent again since. */
export const SENT_LOST = 2;
/** Sent more than once. */
export const SENT_RETRANSMITTED = 4;

const FIRST_RECORDS = 4;
/** Bytes of a record, for counting memory. */
export const RECORD_BYTES = 16;

/** What one acknowledgment delivered. Cleared by {@link Scoreboard.beginAck}, good until the next acknowledgment. */
export class Delivery {
  /** Bytes that it reported for the first time, in order or not. */
  bytes = 0;
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
  /** As given to {@link Scoreboard.beginAck}. */
  nowMs = 0;
  echoMs = Infinity;
  minRttMs = 0;
  /** The highest sequence number that had arrived before. */
  highestBefore = 0;
}

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

  /** What the acknowledgment delivered that is being handled. */
  readonly delivery: Delivery;
  /** A segment sent once arrived after one that was sent later (RFC 8985 §6.2 step 3). Never cleared here. */
  hasReordering = false;

  #mask = -1;
  /** End and send time of each record. */
  #records: Float64Array | undefined = undefined;
  /** Flags of each record, from the first on that has any. */
  #flags: Uint8Array | undefined = undefined;
  /** No record before this one (by id) is lost. */
  #lostHint = 0;
  #highest = 0;

  constructor(delivery: Delivery) {
    this.delivery = delivery;
  }

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
    this.#records![2 * at] = end;
    this.#records![2 * at + 1] = nowMs;
    if (this.#flags !== undefined) this.#flags[at] = 0;
    this.count++;
  }

  /** First sequence number of record `i`. */
  startOf(i: number): number {
    return i === 0 ? this.headSeq : this.endOf(i - 1);
  }

  /** One past the last sequence number of record `i`. */
  endOf(i: number): number {
    return this.#records![2 * this.#placeOf(i)] | 0;
  }

  /** Flags of record `i`. */
  flagsOf(i: number): number {
    return this.#flags === undefined ? 0 : this.#flags[this.#placeOf(i)];
  }

  /** When record `i` was sent last. */
  sentMsOf(i: number): number {
    return this.#records![2 * this.#placeOf(i) + 1];
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
    const { delivery } = this;
    delivery.bytes = 0;
    delivery.oldestSentMs = delivery.newestSentMs = Number.NaN;
    delivery.repeatedSentMs = -Infinity;
    delivery.rackSentMs = -Infinity;
    delivery.nowMs = nowMs;
    delivery.echoMs = echoMs;
    delivery.minRttMs = minRttMs;
    delivery.highestBefore = this.#highest;
  }

  /** Removes what lies before `una`, which the caller has checked to be in flight. */
  ackTo(una: number): void {
    const { delivery } = this;
    while (this.count > 0) {
      const end = this.endOf(0);
      if (((end - una) | 0) > 0) break;
      const isRepeated = (this.flagsOf(0) & SENT_RETRANSMITTED) !== 0;
      if (isRepeated) delivery.repeatedSentMs = Math.max(delivery.repeatedSentMs, this.sentMsOf(0));
      this.#deliver(0, (end - this.headSeq) | 0, end);
      this.headSeq = end;
      this.firstId = (this.firstId + 1) | 0;
      this.count--;
    }
    const part = (una - this.headSeq) | 0;
    if (part > 0 && this.count > 0) this.#subtract(this.flagsOf(0), part);
    delivery.bytes += part;
    this.headSeq = una;
    if (((this.#highest - una) | 0) < 0) this.#highest = una;
  }

  /** The receiver has record `i` beyond a gap. */
  markSacked(i: number): void {
    const flags = this.flagsOf(i);
    if ((flags & SENT_SACKED) !== 0) return;
    const end = this.endOf(i);
    const length = (end - this.startOf(i)) | 0;
    this.#deliver(i, length, end);
    this.#setFlags(i, (flags & ~SENT_LOST) | SENT_SACKED);
    this.sackedBytes += length;
    this.sackedCount++;
  }

  /** Record `i` is believed lost. */
  markLost(i: number): void {
    const flags = this.flagsOf(i);
    if ((flags & (SENT_SACKED | SENT_LOST)) !== 0) return;
    const length = (this.endOf(i) - this.startOf(i)) | 0;
    if (this.lostBytes === 0 || ((this.firstId + i - this.#lostHint) | 0) < 0) this.#lostHint = (this.firstId + i) | 0;
    this.#setFlags(i, flags | SENT_LOST);
    this.inFlightBytes -= length;
    this.lostBytes += length;
  }

  /** Record `i` was sent again now. */
  markRetransmitted(i: number, nowMs: number): void {
    const flags = this.flagsOf(i);
    const length = (this.endOf(i) - this.startOf(i)) | 0;
    if ((flags & SENT_LOST) !== 0) {
      this.lostBytes -= length;
      this.inFlightBytes += length;
    }
    this.#setFlags(i, (flags & ~SENT_LOST) | SENT_RETRANSMITTED);
    this.#records![2 * this.#placeOf(i) + 1] = nowMs;
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
    for (let i = 0; i < this.count; i++) this.#setFlags(i, this.flagsOf(i) & ~SENT_LOST);
    this.inFlightBytes += this.lostBytes;
    this.lostBytes = 0;
  }

  /** The receiver may have thrown away what it reported (RFC 2018 §8): all of it counts as in flight again. */
  clearSacked(): void {
    for (let i = 0; i < this.count; i++) this.#setFlags(i, this.flagsOf(i) & ~SENT_SACKED);
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
    for (const [i, end] of ends.entries()) {
      this.#records![2 * i] = end;
      this.#records![2 * i + 1] = sentMs[i];
      this.#setFlags(i, flags[i]);
    }
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
    this.#records = this.#flags = undefined;
  }

  /** Where in the arrays record `i` is. */
  #placeOf(i: number): number {
    return (this.firstId + i) & this.#mask;
  }

  #setFlags(i: number, flags: number): void {
    if (this.#flags === undefined && flags === 0) return;
    this.#flags ??= new Uint8Array(this.#mask + 1);
    this.#flags[this.#placeOf(i)] = flags;
  }

  get #endSeq(): number {
    return this.count === 0 ? this.headSeq : this.endOf(this.count - 1);
  }

  #subtract(flags: number, bytes: number): void {
    if ((flags & SENT_SACKED) !== 0) this.sackedBytes -= bytes;
    else if ((flags & SENT_LOST) !== 0) this.lostBytes -= bytes;
    else this.inFlightBytes -= bytes;
  }

  /** Record `i` arrived, `length` bytes up to `end`. */
  #deliver(i: number, length: number, end: number): void {
    const { delivery } = this;
    const flags = this.flagsOf(i);
    this.#subtract(flags, length);
    if ((flags & SENT_SACKED) !== 0) {
      this.sackedCount--;
      return;
    }
    delivery.bytes += length;
    const sentMs = this.sentMsOf(i);
    if ((flags & SENT_RETRANSMITTED) === 0) {
      if (!(delivery.oldestSentMs <= sentMs)) delivery.oldestSentMs = sentMs;
      if (!(delivery.newestSentMs >= sentMs)) delivery.newestSentMs = sentMs;
      if (((end - delivery.highestBefore) | 0) < 0) this.hasReordering = true;
    } else if (sentMs >= delivery.echoMs + 1 || delivery.nowMs - sentMs < delivery.minRttMs) return;
    if (((end - this.#highest) | 0) > 0) this.#highest = end;
    const isSameTime = sentMs === delivery.rackSentMs;
    if (sentMs > delivery.rackSentMs || (isSameTime && ((end - delivery.rackEnd) | 0) > 0)) {
      delivery.rackSentMs = sentMs;
      delivery.rackEnd = end;
    }
  }

  #resize(wanted: number): void {
    const size = Math.max(wanted, FIRST_RECORDS);
    const records = new Float64Array(2 * size);
    const flags = this.#flags === undefined ? undefined : new Uint8Array(size);
    for (let i = 0; i < this.count; i++) {
      const to = (this.firstId + i) & (size - 1);
      records[2 * to] = this.endOf(i);
      records[2 * to + 1] = this.sentMsOf(i);
      if (flags !== undefined) flags[to] = this.flagsOf(i);
    }
    this.#records = records;
    this.#flags = flags;
    this.#mask = size - 1;
  }
}
