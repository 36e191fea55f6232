/**
 * The relay: a machine that carries packets between clients by their node keys (DERP version 2), many byte streams at
 * once. It sees sealed packets only.
 *
 * A client proves its node key; then the target is asked whether, and into which tailnet, it is admitted. Packets pass
 * only between members of one tailnet, and nothing tells whether a key is present in another. A sender never waits for
 * a receiver: packets for a slow one give way to newer ones, and one that takes nothing is closed.
 *
 * The target parses the HTTP request (http.ts says what to answer) or the WebSocket, and carries the raw bytes. It
 * closes a stream on the event, and asks for bytes only when it can write them. Left out: meshes of relays.
 */
import type { SecretKey } from '../crypto/keys.ts';
import type { CryptoSuite } from '../crypto/suite.ts';
import { DeadlineHeap } from './deadline-heap.ts';
import {
  FRAME_CLIENT_INFO,
  FRAME_HEADER_BYTES,
  FRAME_NOTE_PREFERRED,
  FRAME_PING,
  FRAME_SEND_PACKET,
  FRAME_SERVER_INFO,
  FRAME_SERVER_KEY,
  GONE_DISCONNECTED,
  GONE_NOT_HERE,
  KEY_BYTES,
  MAX_PACKET_BYTES,
  writeFrameHeader,
} from './frame.ts';
import { DERP_VERSION } from './http.ts';
import { openSealed, parseClientInfo, sealedFrame, serverKeyPayload } from './login.ts';
import { MemoryBudget } from './memory-budget.ts';
import { PING_BYTES, RelayConnection } from './relay-connection.ts';
import { type RelayMember, RelayMembers } from './relay-members.ts';
import {
  RELAY_LIMITS_LARGE,
  type RelayCloseReason,
  type RelayEvent,
  type RelayLimits,
  type RelayStatus,
} from './relay-types.ts';

/** A sign of life goes out this often, plus up to {@link KEEPALIVE_JITTER_MS}. */
export const KEEPALIVE_MS = 60_000;
const KEEPALIVE_JITTER_MS = 5000;
const MAX_PING_BYTES = 1000;
/** Frames between relays; a client that sends one is mistaken. */
const MESH_FRAMES = Object.freeze([0x0a, 0x10, 0x11]);
/** How a disco packet begins, and the least it has: magic, sender's key, nonce. */
const DISCO_MAGIC = Object.freeze([0x54, 0x53, 0xf0, 0x9f, 0x92, 0xac]);
const DISCO_BYTES = 62;

/** What a {@link DerpRelay} needs. */
export interface DerpRelayOptions {
  readonly random: (out: Uint8Array) => void;
  readonly suite: CryptoSuite;
  /** The relay's own key. */
  readonly privateKey: SecretKey;
  readonly limits?: Partial<RelayLimits>;
}

/** The machine; see the top of the file. */
export class DerpRelay {
  /** The relay's public key. */
  readonly publicKey = new Uint8Array(KEY_BYTES);
  readonly #random: (out: Uint8Array) => void;
  readonly #suite: CryptoSuite;
  readonly #privateKey: SecretKey;
  readonly #limits: RelayLimits;
  readonly #budget: MemoryBudget;
  readonly #serverKeyFrame: Uint8Array;
  readonly #connections = new Map<number, RelayConnection>();
  readonly #members: RelayMembers<RelayConnection>;
  readonly #deadlines = new DeadlineHeap<RelayConnection>();
  readonly #events: RelayEvent[] = [];
  readonly #ready = new Set<RelayConnection>();
  #lastId = 0;
  #unadmitted = 0;
  #forwardedPackets = 0;
  #forwardedBytes = 0;
  #noDestination = 0;
  #queueFull = 0;

  /** Throws RangeError for limits under which a largest packet could never pass. */
  constructor(options: DerpRelayOptions) {
    const limits = { ...RELAY_LIMITS_LARGE, ...options.limits };
    const frameBytes = FRAME_HEADER_BYTES + KEY_BYTES + MAX_PACKET_BYTES;
    if (limits.burstBytes < frameBytes)
      throw new RangeError(`"burstBytes" expected at least ${frameBytes}, got ${limits.burstBytes}`);
    this.#random = options.random;
    this.#suite = options.suite;
    this.#privateKey = options.privateKey;
    this.#limits = limits;
    this.#budget = new MemoryBudget(limits.memoryBytes);
    this.#members = new RelayMembers<RelayConnection>(this.#randomU32(), limits.pairs, limits.pairsPerSender);
    this.#suite.publicKey(this.publicKey, this.#privateKey.bytes);
    const payload = serverKeyPayload(this.publicKey);
    this.#serverKeyFrame = new Uint8Array(FRAME_HEADER_BYTES + payload.length);
    this.#serverKeyFrame.set(payload, writeFrameHeader(this.#serverKeyFrame, 0, FRAME_SERVER_KEY, payload.length));
  }

  /** A new stream, behind the HTTP answer. Returns its id, or -1 when there are too many: close it. */
  open(nowMs: number): number {
    if (this.#connections.size >= this.#limits.connections) return -1; // CHECK: derp-connections
    if (this.#unadmitted >= this.#limits.unadmitted) return -1; // CHECK: derp-unadmitted
    const id = ++this.#lastId;
    const keepAliveMs = KEEPALIVE_MS + Math.floor((this.#randomU32() / 2 ** 32) * (KEEPALIVE_JITTER_MS + 1));
    const connection = new RelayConnection(id, nowMs, keepAliveMs, this.#limits, this.#budget);
    this.#connections.set(id, connection);
    this.#unadmitted++;
    connection.sendWhole(this.#serverKeyFrame);
    this.#wake(nowMs, connection);
    return id;
  }

  /** Bytes from a client. Returns how many (all of them), or -1 when the stream is closed or unknown. */
  handleBytes(nowMs: number, id: number, buf: Uint8Array, start: number, end: number): number {
    const connection = this.#connections.get(id);
    if (connection === undefined) return -1;
    this.#charge(nowMs, connection, end - start);
    let at = start;
    for (;;) {
      const { decoder } = connection;
      const type = decoder.decode(buf, at, end);
      const isOversized = connection.nodeKey === undefined ? decoder.skipped > 0 : decoder.oversizedPackets > 0;
      if (isOversized) return this.#closeMalformed(nowMs, connection); // CHECK: derp-oversized
      if (type < 0) return end - start;
      at = decoder.offset;
      this.#handleFrame(nowMs, connection, type);
      if (!this.#connections.has(id)) return -1;
    }
  }

  /** The target's stream ended. */
  handleEnd(nowMs: number, id: number): void {
    const connection = this.#connections.get(id);
    if (connection !== undefined) this.#remove(nowMs, connection);
  }

  /** Lets the client of an `admission` event into a tailnet. False when it has gone, or was admitted before. */
  admit(nowMs: number, id: number, tailnet: string): boolean {
    const connection = this.#connections.get(id);
    if (connection?.nodeKey === undefined || connection.member !== undefined) return false;
    this.#unadmitted--;
    connection.loginUntilMs = Infinity;
    connection.keepAliveAtMs = nowMs + connection.keepAliveEveryMs;
    const member = this.#members.join(tailnet, connection.nodeKey, connection);
    connection.member = member;
    if (member.connections.length > this.#limits.connectionsPerKey) this.#replace(nowMs, member, connection); // CHECK: derp-per-key
    connection.sendWhole(connection.serverInfo!);
    connection.serverInfo = undefined;
    this.#wake(nowMs, connection);
    const { early } = connection;
    for (; early.count > 0; early.shift())
      this.#forward(nowMs, connection, member, early.buf, early.start, early.start + early.length);
    early.clear();
    return true;
  }

  /** Sends the client of an `admission` event away. */
  refuse(nowMs: number, id: number): void {
    const connection = this.#connections.get(id);
    if (connection !== undefined && connection.member === undefined) this.#close(nowMs, connection, 'refused');
  }

  /** Closes all connections of a node key (32 bytes) in a tailnet, because it is no longer a member. Returns how many. */
  disconnect(nowMs: number, tailnet: string, nodeKey: Uint8Array): number {
    const connections = [...(this.#members.find(tailnet, nodeKey, 0)?.connections ?? [])];
    for (const connection of connections) this.#close(nowMs, connection, 'disconnected');
    return connections.length;
  }

  /** Takes the id of a stream that has something to send; ask it for bytes until there are none. -1: none. */
  pollReady(): number {
    for (const connection of this.#ready) {
      this.#ready.delete(connection);
      return connection.id;
    }
    return -1;
  }

  /**
   * Writes what a client is to be sent to `out[start, end)`; returns the number of bytes. After 0, {@link pollReady}
   * names the stream again when there is more; after another number, ask again once the stream takes bytes.
   */
  pollBytes(nowMs: number, id: number, out: Uint8Array, start: number, end: number): number {
    const connection = this.#connections.get(id);
    if (connection === undefined) return 0;
    const length = connection.take(out, start, end);
    const waits = connection.hasOutput;
    if (length > 0 || !waits) connection.takeUntilMs = waits ? nowMs + this.#limits.writeTimeoutMs : Infinity;
    if (length === 0 && !waits) connection.isAnnounced = false;
    if (waits) this.#schedule(connection);
    return length;
  }

  /** Takes the oldest event. */
  pollEvent(): RelayEvent | undefined {
    return this.#events.shift();
  }

  /** When {@link handleTimeout} is due. */
  nextTimeout(): number {
    return this.#deadlines.nextMs;
  }

  /** Closes who is late, resumes who has paid, and sends signs of life. */
  handleTimeout(nowMs: number): void {
    while (this.#deadlines.nextMs <= nowMs) {
      const connection = this.#deadlines.first!;
      this.#deadlines.remove(connection);
      this.#handleDeadline(nowMs, connection);
    }
  }

  /** Counters and sizes. */
  status(): RelayStatus {
    return {
      connections: this.#connections.size,
      unadmitted: this.#unadmitted,
      members: this.#members.size,
      forwardedPackets: this.#forwardedPackets,
      forwardedBytes: this.#forwardedBytes,
      droppedNoDestination: this.#noDestination,
      droppedQueueFull: this.#queueFull,
      memoryBytes: this.#budget.usedBytes,
      pairs: this.#members.pairs,
    };
  }

  #handleFrame(nowMs: number, connection: RelayConnection, type: number): void {
    const { payload: buf, payloadStart: start, payloadEnd: end } = connection.decoder;
    connection.lastFrameMs = nowMs;
    const { member } = connection;
    if (connection.nodeKey === undefined) return this.#logIn(nowMs, connection, type, buf, start, end);
    if (member !== undefined) member.active = connection;
    switch (type) {
      case FRAME_SEND_PACKET:
        if (end - start < KEY_BYTES) return this.#close(nowMs, connection, 'malformed');
        if (member === undefined) return this.#keepEarly(connection, buf, start, end); // CHECK: derp-unadmitted-send
        return this.#forward(nowMs, connection, member, buf, start, end);
      case FRAME_PING:
        if (end - start < PING_BYTES || end - start > MAX_PING_BYTES)
          return this.#close(nowMs, connection, 'malformed');
        connection.sendPong(buf, start);
        return this.#wake(nowMs, connection);
      case FRAME_NOTE_PREFERRED:
        if (end - start !== 1) return this.#close(nowMs, connection, 'malformed');
        connection.isPreferred = buf[start] !== 0;
        return;
      default:
        if (MESH_FRAMES.includes(type)) this.#close(nowMs, connection, 'malformed');
    }
  }

  #logIn(nowMs: number, connection: RelayConnection, type: number, buf: Uint8Array, start: number, end: number): void {
    if (type !== FRAME_CLIENT_INFO || end - start < KEY_BYTES) return this.#close(nowMs, connection, 'login-malformed');
    const nodeKey = buf.slice(start, start + KEY_BYTES);
    const boxKey = new Uint8Array(KEY_BYTES);
    const hasKey = this.#suite.boxKey(boxKey, this.#privateKey.bytes, nodeKey);
    if (!hasKey) return this.#close(nowMs, connection, 'login-forged'); // CHECK: derp-client-low-order
    const fields = openSealed(this.#suite, boxKey, buf, start + KEY_BYTES, end);
    if (fields === undefined) return this.#close(nowMs, connection, 'login-forged'); // CHECK: derp-client-info
    const info = parseClientInfo(fields);
    if (info === undefined) return this.#close(nowMs, connection, 'login-malformed');
    connection.nodeKey = nodeKey;
    const none = new Uint8Array(0);
    const own = { version: DERP_VERSION };
    connection.serverInfo = sealedFrame(this.#suite, this.#random, FRAME_SERVER_INFO, none, boxKey, own);
    boxKey.fill(0);
    connection.expectPackets();
    this.#events.push({ type: 'admission', id: connection.id, nodeKey: nodeKey.slice(), info });
  }

  #keepEarly(connection: RelayConnection, buf: Uint8Array, start: number, end: number): void {
    const { early } = connection;
    const { dropped } = early;
    const at = early.push(end - start);
    if (at >= 0) early.buf.set(buf.subarray(start, end), at);
    this.#queueFull += early.dropped - dropped;
  }

  /** Carries `buf[start, end)`, a destination key and a packet, within the sender's tailnet. */
  #forward(
    nowMs: number,
    from: RelayConnection,
    sender: RelayMember<RelayConnection>,
    buf: Uint8Array,
    start: number,
    end: number,
  ): void {
    const packet = start + KEY_BYTES;
    const isDisco = looksLikeDisco(buf, packet, end);
    const receiver = this.#members.find(sender.tailnet, buf, start);
    if (receiver === undefined) {
      this.#noDestination++;
      if (!isDisco || !from.notHere.take(nowMs, 1)) return; // CHECK: derp-not-here-rate
      from.sendPeerGone(buf, start, GONE_NOT_HERE);
      return this.#wake(nowMs, from);
    }
    this.#members.pair(sender, receiver);
    this.#queueFull += receiver.active.sendPacket(sender.key, isDisco, buf, packet, end);
    this.#forwardedPackets++;
    this.#forwardedBytes += end - packet;
    this.#wake(nowMs, receiver.active);
  }

  /** Closes the connection of a member that was quiet for longest, other than `except`. */
  #replace(nowMs: number, member: RelayMember<RelayConnection>, except: RelayConnection): void {
    const others = member.connections.filter(connection => connection !== except);
    this.#close(
      nowMs,
      others.reduce((best, other) => (other.lastFrameMs < best.lastFrameMs ? other : best)),
      'replaced',
    );
  }

  /** Takes bytes from a client's rate, and has its stream paused when it owes. */
  #charge(nowMs: number, connection: RelayConnection, bytes: number): void {
    const untilMs = connection.rate?.owe(nowMs, bytes) ?? nowMs;
    if (untilMs <= nowMs) return;
    if (connection.resumeAtMs === Infinity) this.#events.push({ type: 'pause', id: connection.id });
    connection.resumeAtMs = untilMs;
    this.#schedule(connection);
  }

  #handleDeadline(nowMs: number, connection: RelayConnection): void {
    if (connection.loginUntilMs <= nowMs) return this.#close(nowMs, connection, 'login-timeout'); // CHECK: derp-login-timeout
    if (connection.takeUntilMs <= nowMs) return this.#close(nowMs, connection, 'stuck'); // CHECK: derp-stuck
    if (connection.resumeAtMs <= nowMs) {
      connection.resumeAtMs = Infinity;
      this.#events.push({ type: 'resume', id: connection.id });
    }
    if (connection.keepAliveAtMs <= nowMs) {
      connection.keepAliveAtMs = nowMs + connection.keepAliveEveryMs;
      connection.trim();
      connection.sendKeepAlive();
      this.#wake(nowMs, connection);
    }
    this.#schedule(connection);
  }

  /** Something waits for this client: tell the target once, and expect that it is taken in time. */
  #wake(nowMs: number, connection: RelayConnection): void {
    if (!connection.hasOutput) return;
    if (connection.takeUntilMs === Infinity) {
      connection.takeUntilMs = nowMs + this.#limits.writeTimeoutMs;
      this.#schedule(connection);
    }
    if (connection.isAnnounced) return;
    connection.isAnnounced = true;
    this.#ready.add(connection);
  }

  /** Notes the earliest deadline of a connection; an earlier one that was noted stays, and will look again. */
  #schedule(connection: RelayConnection): void {
    const { loginUntilMs, takeUntilMs, resumeAtMs, keepAliveAtMs } = connection;
    const dueMs = Math.min(loginUntilMs, takeUntilMs, resumeAtMs, keepAliveAtMs);
    if (dueMs < connection.dueMs) this.#deadlines.set(connection, dueMs);
  }

  #closeMalformed(nowMs: number, connection: RelayConnection): number {
    this.#close(nowMs, connection, connection.nodeKey === undefined ? 'login-malformed' : 'malformed');
    return -1;
  }

  #close(nowMs: number, connection: RelayConnection, reason: RelayCloseReason): void {
    this.#remove(nowMs, connection);
    this.#events.push({ type: 'close', id: connection.id, reason });
  }

  #remove(nowMs: number, connection: RelayConnection): void {
    this.#connections.delete(connection.id);
    this.#ready.delete(connection);
    this.#deadlines.remove(connection);
    connection.clear();
    const { member } = connection;
    if (member === undefined) {
      this.#unadmitted--;
      return;
    }
    if (!this.#members.leave(member, connection)) return;
    for (const receiver of member.sentTo) {
      receiver.active.sendPeerGone(member.key, 0, GONE_DISCONNECTED);
      this.#wake(nowMs, receiver.active);
    }
    this.#members.forget(member);
  }

  #randomU32(): number {
    const bytes = new Uint8Array(4);
    this.#random(bytes);
    return ((bytes[0]! << 24) | (bytes[1]! << 16) | (bytes[2]! << 8) | bytes[3]!) >>> 0;
  }
}

function looksLikeDisco(buf: Uint8Array, start: number, end: number): boolean {
  return end - start >= DISCO_BYTES && DISCO_MAGIC.every((byte, i) => buf[start + i] === byte);
}
