/**
 * Flows of UDP, SCTP and other protocols without a handshake of their own: those that this device has opened, so that
 * replies pass although no rule allows them; and, apart from these, those that rules allow, with who opened them, so that
 * a peer's flow ends with the rule. TCP needs none of this: only a segment that opens a connection is judged by rules.
 *
 * The table is bounded, in buckets of eight: it doubles while a bucket is full of live flows; from its limit on a new
 * flow takes the place of the one in its bucket that has been quiet longest. A flow that was quiet both ways for {@link FLOW_IDLE_MS} is over (RFC 4787 §4.3). New rules leave flows as
 * they are.
 *
 * Whoever opens many flows makes a table forget. What must not be forgotten, who opened a flow, is then kept of several
 * flows at once: of all to one local port, and, where there are too many of these as well, of all from one address.
 */

/** A flow without a packet for so long is forgotten; RFC 4787 REQ-5 wants at least two minutes, better five. */
export const FLOW_IDLE_MS = 300_000;

const WAYS = 8;
/** Words of a key: remote and local address, ports, protocol and family. */
const KEY_WORDS = 10;
/** A key and the mark behind it. */
const SLOT_WORDS = KEY_WORDS + 1;

const LEAST_FLOWS = 32;
/** How much of a key a table tells apart: both ports, the local one, none. */
const DETAILS = /* @__PURE__ */ Object.freeze([0xffff_ffff, 0xffff, 0]);

/** RangeError unless `flows` is a power of two of at least 32: so many a table can hold. */
export function expectFlows(flows: number): void {
  if (flows < LEAST_FLOWS || !Number.isInteger(Math.log2(flows)))
    throw new RangeError(`"flows" expected a power of two of at least ${LEAST_FLOWS}, got ${flows}`);
}

/** A table of flows. */
export class FlowTable {
  readonly #limit: number;
  /** How many there is room for now. */
  #slots = 0;
  /** Index of {@link DETAILS}. */
  readonly #level: number;
  readonly #remembers: boolean;
  /** Has what those flows were that gave way while they were alive, if their mark was 0; made with the first of them. */
  #behind: FlowTable | undefined = undefined;
  #keys = new Int32Array(0);
  #usedMs = new Float64Array(0);
  readonly #key = new Int32Array(KEY_WORDS);
  #hash = 0;

  /**
   * `flows` as {@link expectFlows} wants it. `remembers`: flows with mark 0 that give way leave
   * it to what has no entry of its own: flows to the same local port, or at least from the same address.
   */
  constructor(flows: number, remembers = false, level = 0) {
    this.#limit = flows;
    this.#level = level;
    this.#remembers = remembers && level + 1 < DETAILS.length;
  }

  /** Bytes of memory that the table takes now. */
  get heldBytes(): number {
    return this.#keys.byteLength + this.#usedMs.byteLength + (this.#behind?.heldBytes ?? 0);
  }

  /**
   * Remembers a flow, or that it is alive. The addresses of `addressBytes` each lie at `remote` and `local` in `buf`;
   * ports are 0 where the protocol has none. `mark` (0 or more) is that of a new flow; one that is alive keeps its own,
   * and one that may have given way has mark 0.
   */
  note(
    nowMs: number,
    buf: Uint8Array,
    remote: number,
    local: number,
    addressBytes: number,
    protocol: number,
    remotePort: number,
    localPort: number,
    mark = 0,
  ): void {
    if (this.#slots === 0) this.#resize(WAYS);
    this.#setKey(buf, remote, local, addressBytes, protocol, remotePort, localPort);
    let slot = this.#find();
    if (!this.#isAlive(nowMs, slot)) {
      const kept = this.#behind?.markOf(
        nowMs,
        buf,
        remote,
        local,
        addressBytes,
        protocol,
        remotePort,
        localPort,
        false,
      );
      if (slot < 0) slot = this.#takePlace(nowMs);
      this.#keys[slot * SLOT_WORDS + KEY_WORDS] = mark;
      if (kept === 0) this.#keys[slot * SLOT_WORDS + KEY_WORDS] = kept; // CHECK: filter-flow-heir
    }
    this.#usedMs[slot] = nowMs;
  }

  /** Whether a packet belongs to a live flow, which then stays alive. Arguments as for {@link note}. */
  isKnown(
    nowMs: number,
    buf: Uint8Array,
    remote: number,
    local: number,
    addressBytes: number,
    protocol: number,
    remotePort: number,
    localPort: number,
  ): boolean {
    return this.markOf(nowMs, buf, remote, local, addressBytes, protocol, remotePort, localPort, true) >= 0;
  }

  /** The mark of a live flow, or of those that it may be one of, or -1. With `isUse` they stay alive. See {@link note}. */
  markOf(
    nowMs: number,
    buf: Uint8Array,
    remote: number,
    local: number,
    addressBytes: number,
    protocol: number,
    remotePort: number,
    localPort: number,
    isUse: boolean,
  ): number {
    if (this.#slots === 0) return -1;
    this.#setKey(buf, remote, local, addressBytes, protocol, remotePort, localPort);
    const slot = this.#find();
    const behind = this.#behind;
    if (!this.#isAlive(nowMs, slot) && behind !== undefined)
      return behind.markOf(nowMs, buf, remote, local, addressBytes, protocol, remotePort, localPort, isUse);
    if (!this.#isAlive(nowMs, slot)) return -1; // CHECK: filter-flow-idle
    if (isUse) this.#usedMs[slot] = nowMs;
    return this.#keys[slot * SLOT_WORDS + KEY_WORDS]!;
  }

  /** A flow of the table in front, with its key at `at` and mark 0, gives way; it was used last at `usedMs`. */
  inherit(nowMs: number, keys: Int32Array, at: number, usedMs: number): void {
    if (this.#slots === 0) this.#resize(WAYS);
    for (let i = 0; i < KEY_WORDS; i++) this.#key[i] = keys[at + i]!;
    this.#place();
    let slot = this.#find();
    const knownMs = slot < 0 ? usedMs : this.#usedMs[slot]!;
    if (slot < 0) slot = this.#takePlace(nowMs);
    this.#keys[slot * SLOT_WORDS + KEY_WORDS] = 0;
    this.#usedMs[slot] = Math.max(usedMs, knownMs);
  }

  /** Room for so many, which all flows that are there find: a bucket becomes two. */
  #resize(slots: number): void {
    const [keys, usedMs] = [this.#keys, this.#usedMs];
    this.#slots = slots;
    this.#keys = new Int32Array(slots * SLOT_WORDS);
    this.#usedMs = new Float64Array(slots).fill(-Infinity);
    for (let from = 0; from < usedMs.length; from++) {
      if (usedMs[from] === -Infinity) continue;
      const at = from * SLOT_WORDS;
      const slot = this.#oldest(hashOf(keys, at));
      this.#keys.set(keys.subarray(at, at + SLOT_WORDS), slot * SLOT_WORDS);
      this.#usedMs[slot] = usedMs[from]!;
    }
  }

  #setKey(
    buf: Uint8Array,
    remote: number,
    local: number,
    addressBytes: number,
    protocol: number,
    remotePort: number,
    localPort: number,
  ): void {
    const key = this.#key;
    for (let i = 0; i < 4; i++) {
      const isThere = i * 4 < addressBytes;
      key[i] = isThere ? readWord(buf, remote + i * 4) : 0;
      key[i + 4] = isThere ? readWord(buf, local + i * 4) : 0;
    }
    key[8] = (remotePort << 16) | localPort;
    key[9] = (protocol << 8) | addressBytes;
    this.#place();
  }

  #place(): void {
    const key = this.#key;
    key[8]! &= DETAILS[this.#level]!;
    this.#hash = hashOf(key, 0);
  }

  #isAlive(nowMs: number, slot: number): boolean {
    return slot >= 0 && nowMs - this.#usedMs[slot]! < FLOW_IDLE_MS;
  }

  /** A slot that has the key from now on; what was in it is left to the table behind. */
  #takePlace(nowMs: number): number {
    let slot = this.#oldest(this.#hash);
    while (this.#isAlive(nowMs, slot) && this.#slots < this.#limit) {
      this.#resize(this.#slots * 2);
      slot = this.#oldest(this.#hash);
    }
    const at = slot * SLOT_WORDS;
    const isToKeep = this.#remembers && this.#isAlive(nowMs, slot) && this.#keys[at + KEY_WORDS] === 0;
    if (isToKeep) {
      this.#behind ??= new FlowTable(Math.max(LEAST_FLOWS, this.#limit / 2), true, this.#level + 1);
      this.#behind.inherit(nowMs, this.#keys, at, this.#usedMs[slot]!);
    }
    this.#keys.set(this.#key, at);
    return slot;
  }

  /** Slot of the key, or -1. */
  #find(): number {
    const keys = this.#keys;
    const key = this.#key;
    const first = this.#bucketOf(this.#hash);
    for (let slot = first; slot < first + WAYS; slot++) {
      const at = slot * SLOT_WORDS;
      let i = 0;
      while (i < KEY_WORDS && keys[at + i] === key[i]) i++;
      if (i === KEY_WORDS) return slot;
    }
    return -1;
  }

  /** First slot of the bucket that keys of a hash are in. */
  #bucketOf(hash: number): number {
    return (hash & (this.#slots / WAYS - 1)) * WAYS;
  }

  /** The slot that comes next in a bucket: a free one, or the one that has been quiet longest. */
  #oldest(hash: number): number {
    const first = this.#bucketOf(hash);
    let oldest = first;
    for (let slot = first + 1; slot < first + WAYS; slot++)
      if (this.#usedMs[slot]! < this.#usedMs[oldest]!) oldest = slot;
    return oldest;
  }
}

function readWord(buf: Uint8Array, at: number): number {
  return (buf[at]! << 24) | (buf[at + 1]! << 16) | (buf[at + 2]! << 8) | buf[at + 3]!;
}

/** Hash of the key at `keys[at]`. */
function hashOf(keys: Int32Array, at: number): number {
  let hash = 0;
  for (let i = 0; i < KEY_WORDS; i++) hash = mix(hash, keys[at + i]!);
  return hash;
}

/** A step of a multiplicative hash: spreads flows, keeps no secret. */
function mix(hash: number, word: number): number {
  const mixed = Math.imul(hash ^ word, 0x9e37_79b1);
  return mixed ^ (mixed >>> 15);
}
