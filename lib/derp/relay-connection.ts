/**
 * One client's stream at the relay: what has come in of a frame, and what waits to go out.
 *
 * Out go, in this order: what was begun, news of peers, a pong, a sign of life, then disco and other packets in turn,
 * so that path discovery does not starve under load, nor traffic under discovery.
 */
import { copyBytes } from '../base/bytes.ts';
import type { DeadlineOwner } from './deadline-heap.ts';
import {
  FRAME_HEADER_BYTES,
  FRAME_KEEP_ALIVE,
  FRAME_PEER_GONE,
  FRAME_PONG,
  FRAME_RECV_PACKET,
  FrameDecoder,
  KEY_BYTES,
  MAX_PACKET_BYTES,
  writeFrameHeader,
} from './frame.ts';
import { FrameQueue } from './frame-queue.ts';
import { FrameStage } from './frame-stage.ts';
import type { MemoryBudget } from './memory-budget.ts';
import type { RelayMember } from './relay-members.ts';
import type { RelayLimits } from './relay-types.ts';
import { TokenBucket } from './token-bucket.ts';

/** Bytes of a ping that are answered, and of a pong. */
export const PING_BYTES = 8;
/** "Not here" is told so often per second, and so often at once. */
const NOT_HERE_PER_SECOND = 1;
const NOT_HERE_BURST = 3;
/** News of peers that wait. */
const NEWS_FRAMES = 256;
const NEWS_BYTES = 16_384;
const NONE = /* @__PURE__ */ new Uint8Array(0);

/** A client's stream. */
export class RelayConnection implements DeadlineOwner {
  readonly id: number;
  decoder: FrameDecoder;
  /** Known after the login. */
  nodeKey: Uint8Array | undefined = undefined;
  /** Sealed for it, to be sent at admission. */
  serverInfo: Uint8Array | undefined = undefined;
  /** Known after admission. */
  member: RelayMember<RelayConnection> | undefined = undefined;
  /** Whether it calls this relay its home. */
  isPreferred = false;
  lastFrameMs: number;
  /** When it must have been admitted; Infinity once it is. */
  loginUntilMs: number;
  keepAliveAtMs = Infinity;
  readonly keepAliveEveryMs: number;
  /** When it must have taken something; Infinity while nothing waits. */
  takeUntilMs = Infinity;
  /** When its stream may be read again; Infinity while it may. */
  resumeAtMs = Infinity;
  dueMs = Infinity;
  heapIndex = -1;
  /** Whether the target was told, or asks by itself, that something waits. */
  isAnnounced = false;
  readonly rate: TokenBucket | undefined;
  readonly notHere = new TokenBucket(NOT_HERE_PER_SECOND, NOT_HERE_BURST);
  /** Packets that came before admission: destination and packet. */
  readonly early: FrameQueue;
  readonly #budget: MemoryBudget;
  readonly #stage = new FrameStage();
  readonly #news: FrameQueue;
  readonly #disco: FrameQueue;
  readonly #data: FrameQueue;
  #isDiscoNext = true;
  #pong: Uint8Array | undefined = undefined;
  #owesKeepAlive = false;

  /** `keepAliveEveryMs` is fixed per connection, so that not all are told at the same time. */
  constructor(id: number, nowMs: number, keepAliveEveryMs: number, limits: RelayLimits, budget: MemoryBudget) {
    this.id = id;
    this.lastFrameMs = nowMs;
    this.loginUntilMs = nowMs + limits.loginTimeoutMs;
    this.keepAliveEveryMs = keepAliveEveryMs;
    this.decoder = new FrameDecoder(limits.clientInfoBytes);
    this.rate = limits.bytesPerSecond > 0 ? new TokenBucket(limits.bytesPerSecond, limits.burstBytes) : undefined;
    this.early = new FrameQueue(limits.queuePackets, limits.queueBytes, budget);
    this.#budget = budget;
    this.#news = new FrameQueue(NEWS_FRAMES, NEWS_BYTES, budget);
    this.#disco = new FrameQueue(limits.queuePackets, limits.queueBytes, budget);
    this.#data = new FrameQueue(limits.queuePackets, limits.queueBytes, budget);
  }

  /** From the login on, whole packets are expected. */
  expectPackets(): void {
    this.decoder = new FrameDecoder(KEY_BYTES + MAX_PACKET_BYTES, this.#budget);
  }

  /** Whether something waits to go out. */
  get hasOutput(): boolean {
    return !this.#stage.isEmpty || this.#hasFrames();
  }

  /** Sends whole frames, behind what was begun. */
  sendWhole(bytes: Uint8Array): void {
    this.#stage.put(bytes);
  }

  /** Queues a packet from a key; returns how many packets gave way, this one included. */
  sendPacket(source: Uint8Array, isDisco: boolean, buf: Uint8Array, start: number, end: number): number {
    const queue = isDisco ? this.#disco : this.#data;
    const { dropped } = queue;
    const length = KEY_BYTES + end - start;
    const at = queue.push(FRAME_HEADER_BYTES + length);
    if (at >= 0) {
      const payload = writeFrameHeader(queue.buf, at, FRAME_RECV_PACKET, length);
      queue.buf.set(source, payload);
      copyBytes(queue.buf, payload + KEY_BYTES, buf, start, end);
    }
    return queue.dropped - dropped;
  }

  /** Tells that packets to the key at `key[keyAt, keyAt + 32)` go nowhere. */
  sendPeerGone(key: Uint8Array, keyAt: number, reason: number): void {
    const length = KEY_BYTES + 1;
    const at = this.#news.push(FRAME_HEADER_BYTES + length);
    if (at < 0) return;
    const payload = writeFrameHeader(this.#news.buf, at, FRAME_PEER_GONE, length);
    copyBytes(this.#news.buf, payload, key, keyAt, keyAt + KEY_BYTES);
    this.#news.buf[payload + KEY_BYTES] = reason;
  }

  /** Answers a ping, unless another answer is still waiting. */
  sendPong(buf: Uint8Array, start: number): void {
    if (this.#pong !== undefined) return; // CHECK: derp-pong-pending
    this.#pong = buf.slice(start, start + PING_BYTES);
  }

  /** Sends a sign of life. */
  sendKeepAlive(): void {
    this.#owesKeepAlive = true;
  }

  /** Writes what waits to `out[start, end)`; returns the number of bytes. */
  take(out: Uint8Array, start: number, end: number): number {
    let at = start + this.#stage.take(out, start, end);
    while (at < end && this.#stage.isEmpty && this.#stageNext()) at += this.#stage.take(out, at, end);
    if (at === start && this.#budget.isTight) this.trim();
    return at - start;
  }

  /** Gives the memory of empty queues back: once in a while, for a queue that is filled again would have to grow. */
  trim(): void {
    this.#news.trim();
    this.#disco.trim();
    this.#data.trim();
  }

  /** Gives all memory back. */
  clear(): void {
    for (const queue of [this.early, this.#news, this.#disco, this.#data]) queue.clear();
    this.#stage.clear();
    this.decoder.release();
  }

  #hasFrames(): boolean {
    const waiting = this.#news.count + this.#disco.count + this.#data.count;
    return waiting > 0 || this.#pong !== undefined || this.#owesKeepAlive;
  }

  #stageNext(): boolean {
    if (this.#news.count > 0) {
      this.#stage.putRecord(this.#news);
    } else if (this.#pong !== undefined) {
      this.#stage.putFrame(FRAME_PONG, this.#pong);
      this.#pong = undefined;
    } else if (this.#owesKeepAlive) {
      this.#stage.putFrame(FRAME_KEEP_ALIVE, NONE);
      this.#owesKeepAlive = false;
    } else {
      const isDisco = this.#disco.count > 0 && (this.#isDiscoNext || this.#data.count === 0);
      const queue = isDisco ? this.#disco : this.#data;
      if (queue.count === 0) return false;
      this.#isDiscoNext = !isDisco;
      this.#stage.putRecord(queue);
    }
    return true;
  }
}
