/**
 * A client's connection to a relay (DERP version 2), as a machine over one byte stream: HTTP upgrade, login, packets.
 *
 * The target opens the stream (TLS, verified or pinned) and carries bytes; a stream that ended needs a new machine.
 * Frames that the limits cannot hold are skipped as they stream. Packets towards the relay wait in a short queue whose
 * oldest gives way, packets from it in one whose bytes are bounded: a caller takes them after every `handleBytes`.
 * Left out: fast start, relay meshes, and the choice of a relay.
 */
import { copyBytes, readU32BE, utf8Decode } from '../base/bytes.ts';
import { NetError } from '../base/errors.ts';
import type { SecretKey } from '../crypto/keys.ts';
import type { CryptoSuite } from '../crypto/suite.ts';
import {
  DERP_CLIENT_LIMITS_LARGE,
  type DerpClientEvent,
  type DerpClientLimits,
  KEEPALIVE_TIMEOUT_MS,
} from './client-types.ts';
import {
  FRAME_CLIENT_INFO,
  FRAME_HEADER_BYTES,
  FRAME_HEALTH,
  FRAME_NOTE_PREFERRED,
  FRAME_PEER_GONE,
  FRAME_PING,
  FRAME_PONG,
  FRAME_RECV_PACKET,
  FRAME_RESTARTING,
  FRAME_SEND_PACKET,
  FRAME_SERVER_INFO,
  FRAME_SERVER_KEY,
  FrameDecoder,
  GONE_DISCONNECTED,
  KEY_BYTES,
  MAX_PACKET_BYTES,
  writeFrameHeader,
} from './frame.ts';
import { FrameQueue } from './frame-queue.ts';
import { UpgradeReader, upgradeRequest } from './http.ts';
import { clientInfoFields, isSameKey, openSealed, parseServerInfo, parseServerKey, sealedFrame } from './login.ts';
import { FrameStage } from './frame-stage.ts';
import { TokenBucket } from './token-bucket.ts';

const PING_BYTES = 8;
const MAX_HEALTH_BYTES = 512;
/** Memory for frames is given back when none has come or gone for this long. */
const QUIET_MS = 100;

/** What a {@link DerpClient} needs. */
export interface DerpClientOptions {
  readonly nowMs: number;
  readonly random: (out: Uint8Array) => void;
  readonly suite: CryptoSuite;
  /** The node key. */
  readonly privateKey: SecretKey;
  /** For the Host header; undefined when the stream is already upgraded (WebSocket): it starts with frames. */
  readonly host: string | undefined;
  /** Refuse a relay with another key; 32 bytes, not copied. */
  readonly serverKey?: Uint8Array;
  /** Whether this relay is the node's home. Default false. */
  readonly isPreferred?: boolean;
  readonly limits?: DerpClientLimits;
}

/** The machine; see the top of the file. */
export class DerpClient {
  /** Why the stream is dead; undefined while it is not. */
  error: NetError | undefined = undefined;
  /** Packets that were not sent because the relay's rate did not allow them. */
  rateLimited = 0;
  /** Frames that a relay should not send: too short, out of place. */
  malformed = 0;
  /** Events that nobody took in time. */
  droppedEvents = 0;
  /** After {@link pollPacket}: the packet is `packet[packetStart, packetEnd)`; it may be changed in place. */
  packetStart = 0;
  packetEnd = 0;
  /** After {@link pollPacket}: the sender's node key lies in {@link packet} from here, 32 bytes. */
  packetSource = 0;
  readonly #random: (out: Uint8Array) => void;
  readonly #suite: CryptoSuite;
  readonly #privateKey: SecretKey;
  readonly #limits: DerpClientLimits;
  readonly #pinnedKey: Uint8Array | undefined;
  #upgrade: UpgradeReader | undefined;
  readonly #decoder: FrameDecoder;
  /** From the relay's key until its information. */
  #boxKey: Uint8Array | undefined = undefined;
  #isLoggedIn = false;
  readonly #stage = new FrameStage();
  /** Undefined while they are not used. */
  #sendQueue: FrameQueue | undefined = undefined;
  #receiveQueue: FrameQueue | undefined = undefined;
  /** What queues that are no more had dropped. */
  #droppedBefore = 0;
  /** When all memory is given back unless something comes or goes before; Infinity: there is none. */
  #quietAtMs = Number.POSITIVE_INFINITY;
  #rate: TokenBucket | undefined = undefined;
  #preferred: boolean;
  #toldPreferred = false;
  #pong: Uint8Array | undefined = undefined;
  #ping: Uint8Array | undefined = undefined;
  #pingToSend = false;
  #pingSentMs = 0;
  #deadlineMs: number;
  readonly #events: DerpClientEvent[] = [];

  /** Throws RangeError for a host that is not one, or a server key that has not 32 bytes. */
  constructor(options: DerpClientOptions) {
    const { nowMs, host, serverKey } = options;
    if (serverKey !== undefined && serverKey.length !== KEY_BYTES)
      throw new RangeError(`"serverKey" expected ${KEY_BYTES} bytes, got ${serverKey.length}`);
    const limits = options.limits ?? DERP_CLIENT_LIMITS_LARGE;
    this.#random = options.random;
    this.#suite = options.suite;
    this.#privateKey = options.privateKey;
    this.#limits = limits;
    this.#pinnedKey = serverKey;
    this.#preferred = options.isPreferred ?? false;
    this.#decoder = new FrameDecoder(limits.frameBytes);
    this.#deadlineMs = nowMs + limits.loginTimeoutMs;
    if (host === undefined) return;
    this.#upgrade = new UpgradeReader(limits.headBytes);
    this.#stage.put(upgradeRequest(host));
  }

  /** Whether the relay is known and has been told who we are. Packets may be sent before. */
  get isLoggedIn(): boolean {
    return this.#isLoggedIn;
  }

  /** Packets that gave way to newer ones, in either direction, or were larger than the limits. */
  get droppedPackets(): number {
    const waiting = (this.#sendQueue?.dropped ?? 0) + (this.#receiveQueue?.dropped ?? 0);
    return this.#droppedBefore + waiting + this.#decoder.skipped;
  }

  /** Bytes that frames hold now, or held a moment ago. */
  get memoryBytes(): number {
    return (this.#sendQueue?.capacity ?? 0) + (this.#receiveQueue?.capacity ?? 0) + this.#decoder.capacity;
  }

  /** Our public key: 32 bytes, worked out. */
  get publicKey(): Uint8Array {
    const key = new Uint8Array(KEY_BYTES);
    this.#suite.publicKey(key, this.#privateKey.bytes);
    return key;
  }

  /** See {@link packetStart}; only after {@link pollPacket} gave a packet. */
  get packet(): Uint8Array {
    return this.#receiveQueue!.buf;
  }

  /** Bytes from the relay. Returns how many (all of them), or -1 when the stream is dead. */
  handleBytes(nowMs: number, buf: Uint8Array, start: number, end: number): number {
    if (this.error !== undefined) return -1;
    if (this.#isLoggedIn && end > start) this.#deadlineMs = nowMs + KEEPALIVE_TIMEOUT_MS;
    let at = start;
    if (this.#upgrade !== undefined) {
      at = this.#readUpgrade(this.#upgrade, buf, start, end);
      if (this.#upgrade !== undefined) return this.error === undefined ? end - start : -1;
    }
    for (;;) {
      const type = this.#decoder.decode(buf, at, end);
      if (type < 0) {
        this.#noteUse(nowMs);
        return end - start;
      }
      at = this.#decoder.offset;
      this.#handleFrame(nowMs, type);
      if (this.error !== undefined) return -1;
    }
  }

  /** The stream ended. */
  handleEnd(): void {
    this.#fail('ERR_CONNECTION_RESET', 'the relay closed the connection');
  }

  /** Writes what is to be sent to `out[start, end)`; returns the number of bytes, 0 when there is nothing now. */
  pollBytes(out: Uint8Array, start: number, end: number): number {
    if (this.error !== undefined) return 0;
    let at = start + this.#stage.take(out, start, end);
    while (this.#stage.isEmpty && this.#isLoggedIn && this.#stageNext()) at += this.#stage.take(out, at, end);
    return at - start;
  }

  /**
   * Queues a packet to a node (32 bytes of key). False when it is larger than a relay carries, the connection is dead,
   * or the relay's rate does not allow it. The oldest packet gives way when there are too many.
   */
  send(nowMs: number, destination: Uint8Array, buf: Uint8Array, start: number, end: number): boolean {
    if (destination.length !== KEY_BYTES)
      throw new RangeError(`"destination" expected ${KEY_BYTES} bytes, got ${destination.length}`);
    const length = KEY_BYTES + end - start;
    if (this.error !== undefined || end - start > MAX_PACKET_BYTES) return false;
    if (this.#rate?.take(nowMs, FRAME_HEADER_BYTES + length) === false) {
      this.rateLimited++;
      return false;
    }
    this.#sendQueue ??= new FrameQueue(this.#limits.sendPackets, this.#limits.sendBytes);
    const at = this.#sendQueue.push(FRAME_HEADER_BYTES + length);
    if (at < 0) return false;
    this.#noteUse(nowMs);
    const out = this.#sendQueue.buf;
    const payload = writeFrameHeader(out, at, FRAME_SEND_PACKET, length);
    out.set(destination, payload);
    copyBytes(out, payload + KEY_BYTES, buf, start, end);
    return true;
  }

  /** Tells the relay whether it is the node's home. */
  setPreferred(isPreferred: boolean): void {
    this.#preferred = isPreferred;
  }

  /** Asks the relay for a sign of life; a `pong` event says how long it took. One at a time: another one starts over. */
  ping(nowMs: number): void {
    this.#ping = new Uint8Array(PING_BYTES);
    this.#random(this.#ping);
    this.#pingToSend = true;
    this.#pingSentMs = nowMs;
  }

  /** Takes the oldest packet, until there is none. It is valid until the next call of any method. */
  pollPacket(): boolean {
    const queue = this.#receiveQueue;
    if (queue === undefined || queue.count === 0) return false;
    this.packetSource = queue.start;
    this.packetStart = queue.start + KEY_BYTES;
    this.packetEnd = queue.start + queue.length;
    queue.shift();
    return true;
  }

  /** Takes the oldest event. */
  pollEvent(): DerpClientEvent | undefined {
    return this.#events.shift();
  }

  /** When {@link handleTimeout} is due. */
  nextTimeout(): number {
    return this.error === undefined ? Math.min(this.#deadlineMs, this.#quietAtMs) : Infinity;
  }

  /** Gives memory back that is not used, and the relay up when it has been silent for too long. */
  handleTimeout(nowMs: number): void {
    if (this.error !== undefined) return;
    if (nowMs >= this.#quietAtMs) this.#rest(nowMs);
    if (nowMs < this.#deadlineMs) return;
    const what = this.#isLoggedIn ? 'the relay has been silent for 120 seconds' : 'the relay did not answer in time';
    this.#fail('ERR_TIMED_OUT', what);
  }

  /** Ends it from this side; nothing more is sent. */
  close(): void {
    this.#fail('ERR_CLOSED', 'the connection to the relay was closed');
  }

  #noteUse(nowMs: number): void {
    if (this.memoryBytes > 0) this.#quietAtMs = nowMs + QUIET_MS;
  }

  /** Nothing has come or gone for a while. */
  #rest(nowMs: number): void {
    const hasWork = this.#decoder.isBusy || (this.#sendQueue?.count ?? 0) + (this.#receiveQueue?.count ?? 0) > 0;
    this.#quietAtMs = hasWork ? nowMs + QUIET_MS : Infinity;
    if (hasWork) return;
    this.#droppedBefore = this.droppedPackets - this.#decoder.skipped;
    this.#sendQueue = undefined;
    this.#receiveQueue = undefined;
    this.#decoder.release();
  }

  #readUpgrade(reader: UpgradeReader, buf: Uint8Array, start: number, end: number): number {
    const isHttp = reader.read(buf, start, end);
    const { answer } = reader;
    if (!isHttp) this.#fail('ERR_PROTOCOL', 'the relay did not answer in HTTP');
    if (!isHttp || answer === undefined) return end;
    if (!answer.isUpgraded) {
      this.#fail('ERR_PROTOCOL', `the relay refused the upgrade to DERP with HTTP status ${answer.status}`);
      return end;
    }
    this.#upgrade = undefined;
    return reader.offset;
  }

  #handleFrame(nowMs: number, type: number): void {
    const { payload: buf, payloadStart: start, payloadEnd: end } = this.#decoder;
    if (!this.#isLoggedIn) {
      if (type === FRAME_SERVER_KEY) this.#logIn(nowMs, buf, start, end);
      else this.#fail('ERR_PROTOCOL', 'the relay did not begin with its key');
      return;
    }
    switch (type) {
      case FRAME_RECV_PACKET:
        return this.#handlePacket(buf, start, end);
      case FRAME_SERVER_INFO:
        return this.#handleServerInfo(buf, start, end);
      case FRAME_PING:
        if (end - start < PING_BYTES) this.malformed++;
        else this.#pong = buf.slice(start, start + PING_BYTES); // a newer ping replaces one that waits for its pong
        return;
      case FRAME_PONG:
        return this.#handlePong(nowMs, buf, start, end);
      case FRAME_PEER_GONE:
        return this.#handlePeerGone(buf, start, end);
      case FRAME_HEALTH:
        return this.#emit({ type: 'health', problem: printable(buf, start, Math.min(end, start + MAX_HEALTH_BYTES)) });
      case FRAME_RESTARTING:
        if (end - start < 8) this.malformed++;
        else
          this.#emit({ type: 'restarting', reconnectInMs: readU32BE(buf, start), tryForMs: readU32BE(buf, start + 4) });
        return;
      default: // a sign of life, a second server key, and what later versions add
    }
  }

  #logIn(nowMs: number, buf: Uint8Array, start: number, end: number): void {
    const key = parseServerKey(buf, start, end);
    const pinned = this.#pinnedKey;
    if (key === undefined) return this.#fail('ERR_PROTOCOL', 'the relay’s key frame is malformed');
    const isOther = pinned !== undefined && !isSameKey(pinned, 0, key, 0);
    if (isOther) return this.#fail('ERR_PROTOCOL', 'the relay has another key than expected'); // CHECK: derp-server-key
    const boxKey = new Uint8Array(KEY_BYTES);
    const hasKey = this.#suite.boxKey(boxKey, this.#privateKey.bytes, key);
    if (!hasKey) return this.#fail('ERR_PROTOCOL', 'the relay’s key is no key'); // CHECK: derp-server-low-order
    this.#boxKey = boxKey;
    this.#isLoggedIn = true;
    this.#deadlineMs = nowMs + KEEPALIVE_TIMEOUT_MS;
    const info = clientInfoFields(true);
    this.#stage.put(sealedFrame(this.#suite, this.#random, FRAME_CLIENT_INFO, this.publicKey, boxKey, info));
    this.#emit({ type: 'connected', serverKey: key });
  }

  #handlePacket(buf: Uint8Array, start: number, end: number): void {
    if (end - start < KEY_BYTES) {
      this.malformed++;
      return;
    }
    this.#receiveQueue ??= new FrameQueue(this.#limits.receivePackets, this.#limits.receiveBytes);
    const at = this.#receiveQueue.push(end - start);
    if (at >= 0) copyBytes(this.#receiveQueue.buf, at, buf, start, end);
  }

  /** Heard once; what comes after it is left alone. */
  #handleServerInfo(buf: Uint8Array, start: number, end: number): void {
    if (this.#boxKey === undefined) return;
    const fields = openSealed(this.#suite, this.#boxKey, buf, start, end);
    const isForged = fields === undefined;
    if (isForged) return this.#fail('ERR_PROTOCOL', 'the relay’s information is not sealed with its key'); // CHECK: derp-server-info
    this.#forgetBoxKey();
    const info = parseServerInfo(fields);
    const { bytesPerSecond, burstBytes } = info;
    this.#rate =
      bytesPerSecond === 0 ? undefined : new TokenBucket(bytesPerSecond, Math.max(burstBytes, FRAME_HEADER_BYTES));
    this.#emit({ type: 'server-info', info });
  }

  #handlePong(nowMs: number, buf: Uint8Array, start: number, end: number): void {
    const ping = this.#ping;
    const isOurs = ping !== undefined && end - start >= PING_BYTES && ping.every((byte, i) => buf[start + i] === byte);
    if (!isOurs) return; // CHECK: derp-pong
    this.#ping = undefined;
    this.#emit({ type: 'pong', rttMs: nowMs - this.#pingSentMs });
  }

  #handlePeerGone(buf: Uint8Array, start: number, end: number): void {
    if (end - start < KEY_BYTES) {
      this.malformed++;
      return;
    }
    const reason = end - start > KEY_BYTES ? buf[start + KEY_BYTES]! : GONE_DISCONNECTED;
    this.#emit({ type: 'peer-gone', peer: buf.slice(start, start + KEY_BYTES), reason });
  }

  /** Puts the most urgent frame on the stage; false when there is none. */
  #stageNext(): boolean {
    if (this.#preferred !== this.#toldPreferred) {
      this.#toldPreferred = this.#preferred;
      this.#stage.putFrame(FRAME_NOTE_PREFERRED, Uint8Array.of(this.#preferred ? 1 : 0));
    } else if (this.#pong !== undefined) {
      this.#stage.putFrame(FRAME_PONG, this.#pong);
      this.#pong = undefined;
    } else if (this.#pingToSend) {
      this.#pingToSend = false;
      if (this.#ping !== undefined) this.#stage.putFrame(FRAME_PING, this.#ping);
    } else if (this.#sendQueue !== undefined && this.#sendQueue.count > 0) {
      this.#stage.putRecord(this.#sendQueue);
    } else {
      return false;
    }
    return true;
  }

  #forgetBoxKey(): void {
    this.#boxKey?.fill(0);
    this.#boxKey = undefined;
  }

  #emit(event: DerpClientEvent): void {
    if (this.#events.length < this.#limits.events || event.type === 'closed') this.#events.push(event);
    else this.droppedEvents++;
  }

  #fail(code: 'ERR_CONNECTION_RESET' | 'ERR_PROTOCOL' | 'ERR_TIMED_OUT' | 'ERR_CLOSED', text: string): void {
    if (this.error !== undefined) return;
    this.error = new NetError(code, text);
    this.#forgetBoxKey();
    this.#sendQueue?.clear();
    this.#stage.clear();
    this.#decoder.release();
    this.#emit({ type: 'closed', error: this.error });
  }
}

/** Text for people: control characters, which could move a terminal's cursor, become blanks. */
function printable(buf: Uint8Array, start: number, end: number): string {
  return utf8Decode(buf, start, end).replace(/[\u0000-\u001f\u007f-\u009f]/g, ' ');
}
