/**
 * Scripted segments: one TCP machine under test, and a peer that says exactly what the script says. Test-only.
 *
 * A script is a list of lines. Sequence numbers are relative: 0 is the SYN of whoever sends, 1 its first byte.
 *
 *   `< SA 0 ack 1 win 65535 mss 1000 ws 7 sackOK ts 1 2`   the peer sends
 *   `> A 1 ack 1 len 100 sack 201-301`                      the machine must send this next
 *   `> nothing`                                             the machine must have nothing to send
 *   `+ 200`                                                 200 ms pass; timers fire on their way
 *   `write 100`, `read 100`, `shutdown`, `close`, `abort`, `nodelay`, `keepalive 1000`, `info cwnd 10`
 *   `state ESTABLISHED`, `ready readable ended`, `error ERR_TIMED_OUT`, `drop tcp-paws 1`
 *
 * In `>` lines only what is written is compared, but flags (PSH aside) and length always. `<` lines get the peer's
 * timestamps by themselves once both sides use them (`nots` leaves them out).
 */
import * as assert from 'uvu/assert';
import { readU16BE, readU32BE } from '../../lib/base/bytes.ts';
import { foldChecksum, pseudoSum, sumBytes } from '../../lib/base/checksum.ts';
import { DropCounters, type DropName } from '../../lib/base/drop.ts';
import { Slot } from '../../lib/base/slot.ts';
import { IpPath, writeIpHeader } from '../../lib/netstack/path.ts';
import {
  READY_ACCEPTED,
  READY_CLOSED,
  READY_CONNECTED,
  READY_ENDED,
  READY_READABLE,
  READY_WRITABLE,
  Tcp,
  type TcpConnection,
} from '../../lib/netstack/tcp.ts';
import { TCP_LIMITS_LARGE, type TcpLimits } from '../../lib/netstack/tcp-limits.ts';
import { createSack } from '../../lib/netstack/tcp-sack.ts';
import {
  PROTOCOL_TCP,
  TcpSegment,
  writeMss,
  writeSackHead,
  writeSackPermitted,
  writeTcpChecksum,
  writeTcpHeader,
  writeTimestamps,
  writeWindowShift,
} from '../../lib/packet/tcp.ts';
import { writeU32BE } from '../../lib/base/bytes.ts';
import { SeededRandom } from '../sim/link.ts';

const V4_US = Uint8Array.of(10, 0, 0, 1);
const V4_PEER = Uint8Array.of(10, 0, 0, 2);
const V6_US = Uint8Array.of(0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1);
const V6_PEER = Uint8Array.of(0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2);
/** The peer's initial sequence number: close to the wrap, so that every script crosses it. */
const PEER_ISN = -500 | 0;
const PEER_CLOCK = 7_000_000;
const READY_NAMES: { readonly [name: string]: number } = {
  accepted: READY_ACCEPTED,
  connected: READY_CONNECTED,
  readable: READY_READABLE,
  writable: READY_WRITABLE,
  ended: READY_ENDED,
  closed: READY_CLOSED,
};
const FLAG_BITS: { readonly [letter: string]: number } = { F: 1, S: 2, R: 4, P: 8, A: 16 };

export interface ScriptOptions {
  readonly family?: 4 | 6;
  readonly hasSack?: boolean;
  readonly mtu?: number;
  readonly limits?: Partial<TcpLimits>;
  readonly seed?: number;
  readonly startMs?: number;
  readonly localPort?: number;
  readonly remotePort?: number;
}

interface Sent {
  readonly flags: string;
  readonly seq: number;
  readonly ack: number;
  readonly length: number;
  readonly window: number;
  readonly mss: number;
  readonly ws: number;
  readonly sackOK: boolean;
  readonly ts: string;
  readonly sack: string;
  readonly bytes: Uint8Array;
  readonly packetBytes: number;
  readonly isPushed: boolean;
  /** Destination port. */
  readonly to: number;
}

/** One machine and one scripted peer. */
export class Script {
  readonly tcp: Tcp;
  readonly drops = new DropCounters();
  nowMs: number;
  connection: TcpConnection | undefined = undefined;
  /** Result of the last injected segment: 0 or a negative reason. */
  result = 0;
  /** Bytes read so far; they are checked against the peer's stream. */
  received = 0;
  /** Ready bits taken since the last `ready` line. */
  readyBits = 0;
  /** What the machine sends is checked against this stream. */
  written = 0;
  readonly us: Uint8Array;
  readonly peer: Uint8Array;
  readonly family: 4 | 6;
  readonly mtu: number;
  readonly localPort: number;
  readonly remotePort: number;
  readonly #slot: Slot;
  #ourIsn = 0;
  #hasIsn = false;
  #hasTimestamps = false;
  #offersTimestamps = false;
  #lastTsVal = 0;

  constructor(options: ScriptOptions = {}) {
    const { family = 4, hasSack = true, mtu = 1040, limits, seed = 5, startMs = 10_000 } = options;
    this.family = family;
    this.mtu = mtu;
    this.us = family === 4 ? V4_US : V6_US;
    this.peer = family === 4 ? V4_PEER : V6_PEER;
    this.localPort = options.localPort ?? 80;
    this.remotePort = options.remotePort ?? 5000;
    this.nowMs = startMs;
    this.#slot = new Slot(mtu);
    this.tcp = new Tcp({
      nowMs: startMs,
      random: new SeededRandom(seed).fill,
      limits: { ...TCP_LIMITS_LARGE, ...limits },
      drops: this.drops,
      mtu,
      ...(hasSack ? { createSack } : {}),
    });
  }

  /** The connection's state. One that is closed in good order while a four-tuple waits is said to be in TIME-WAIT. */
  get #state(): string {
    const { state, error } = this.connection!;
    return state === 'CLOSED' && error === undefined && this.tcp.timeWaitCount > 0 ? 'TIME-WAIT' : state;
  }

  /** Opens actively. */
  connect(): this {
    const path = new IpPath(this.us, this.peer, this.mtu);
    this.connection = this.tcp.connect(this.nowMs, path, this.remotePort, this.localPort);
    return this;
  }

  /** Runs lines. */
  run(...lines: string[]): this {
    for (const line of lines) this.#line(line);
    return this;
  }

  /** Moves the clock, firing timers when they are due. Output stays queued. */
  advance(ms: number): void {
    const end = this.nowMs + ms;
    while (this.tcp.nextTimeout() <= end) {
      this.nowMs = Math.max(this.nowMs, this.tcp.nextTimeout());
      this.tcp.handleTimeout(this.nowMs);
    }
    this.nowMs = end;
    this.tcp.handleTimeout(end);
  }

  /** The next packet that the machine sends; undefined when there is none. */
  poll(): Sent | undefined {
    const slot = this.#slot;
    slot.reset();
    if (!this.tcp.pollTransmit(this.nowMs, slot)) return undefined;
    return this.#read(slot.buf.slice(slot.start, slot.end));
  }

  /** All packets that the machine sends now. */
  pollAll(): Sent[] {
    const all: Sent[] = [];
    for (let sent = this.poll(); sent !== undefined; sent = this.poll()) all.push(sent);
    return all;
  }

  /** Injects a segment written as in a script; returns 0 or the drop reason. */
  inject(text: string): number {
    const packet = this.build(text);
    this.result = this.deliver(packet);
    return this.result;
  }

  /** Hands a whole IP packet over. */
  deliver(packet: Uint8Array): number {
    const headerBytes = this.family === 4 ? 20 : 40;
    const result = this.tcp.handleSegment(this.nowMs, packet, 0, this.family, headerBytes, packet.length);
    this.collect();
    return result;
  }

  /** Takes events. */
  collect(): void {
    for (let event = this.tcp.pollEvent(); event !== undefined; event = this.tcp.pollEvent()) {
      const bits = event.takeReady();
      if ((bits & READY_ACCEPTED) !== 0) this.connection = event;
      if (event === this.connection) this.readyBits |= bits;
    }
  }

  /** The bytes of a segment from the peer, as a whole IP packet. */
  build(text: string): Uint8Array {
    const words = text.trim().split(/\s+/);
    const flags = [...words[0]!].reduce((bits, letter) => bits | FLAG_BITS[letter]!, 0);
    const seq = (PEER_ISN + Number(words[1] ?? 0)) | 0;
    const field = (name: string) => (words.includes(name) ? words[words.indexOf(name) + 1]! : undefined);
    const length = Number(field('len') ?? 0);
    const ack = ((this.#ourIsn + Number(field('ack') ?? 0)) | 0) * (field('ack') === undefined ? 0 : 1);
    const path = new IpPath(this.peer, this.us, 65_535);
    const buf = new Uint8Array(path.headerBytes + 60 + length);
    const start = path.headerBytes;
    let at = start + 20;
    if (field('mss') !== undefined) at = writeMss(buf, at, Number(field('mss')));
    if (words.includes('sackOK')) at = writeSackPermitted(buf, at);
    at = this.#buildTimestamps(buf, at, words, flags);
    if (field('ws') !== undefined) at = writeWindowShift(buf, at, Number(field('ws')));
    if (field('sack') !== undefined) at = this.#buildSack(buf, at, words);
    for (let i = 0; i < length; i++) buf[at + i] = streamByte(seq - PEER_ISN - 1 + i);
    const window = Number(field('win') ?? 65_535);
    const port = Number(field('from') ?? this.remotePort);
    writeTcpHeader(buf, start, port, Number(field('to') ?? this.localPort), seq, ack, at - start, flags, window);
    const end = at + length;
    const sum = sumBytes(buf, start, end, pseudoSum(PROTOCOL_TCP, end - start, path.addressSum));
    writeTcpChecksum(buf, start, foldChecksum(sum));
    writeIpHeader(path, PROTOCOL_TCP, buf, 0, end - start);
    return buf.slice(0, end);
  }

  /** Our sequence number for a relative one, as it stands on the wire (int32). */
  absolute(relative: number): number {
    return (this.#ourIsn + relative) | 0;
  }

  /** What the machine's last timestamp was. */
  get lastTsVal(): number {
    return this.#lastTsVal;
  }

  #buildTimestamps(buf: Uint8Array, at: number, words: string[], flags: number): number {
    const i = words.indexOf('ts');
    if (i >= 0) {
      if ((flags & 2) !== 0) this.#offersTimestamps = true;
      const value = words[i + 1] === 'now' ? PEER_CLOCK + this.nowMs : Number(words[i + 1]);
      const echo = words[i + 2] === 'last' ? this.#lastTsVal : Number(words[i + 2] ?? 0);
      return writeTimestamps(buf, at, value | 0, echo | 0);
    }
    if (!this.#hasTimestamps || words.includes('nots')) return at;
    return writeTimestamps(buf, at, (PEER_CLOCK + Math.floor(this.nowMs)) | 0, this.#lastTsVal);
  }

  #buildSack(buf: Uint8Array, at: number, words: string[]): number {
    const blocks: string[] = [];
    for (let i = words.indexOf('sack') + 1; i < words.length && /^-?\d+-/.test(words[i]!); i++) blocks.push(words[i]!);
    let to = writeSackHead(buf, at, blocks.length);
    for (const block of blocks) {
      const [left, right] = /^(-?\d+)-(-?\d+)$/.exec(block)!.slice(1).map(Number);
      writeU32BE(buf, to, this.absolute(left!));
      writeU32BE(buf, to + 4, this.absolute(right!));
      to += 8;
    }
    return to;
  }

  #read(packet: Uint8Array): Sent {
    const start = packet[0]! >> 4 === 6 ? 40 : 20;
    const segment = new TcpSegment();
    assert.ok(segment.parse(packet, start, packet.length), 'the machine sends well-formed segments');
    const addressAt = start === 20 ? 12 : 8;
    const addresses = sumBytes(packet, addressAt, start);
    const sum = sumBytes(packet, start, packet.length, pseudoSum(PROTOCOL_TCP, packet.length - start, addresses));
    assert.is(foldChecksum(sum), 0, 'the machine sends correct checksums');
    assert.ok(packet.length <= this.mtu, 'the machine respects the MTU');
    const isSyn = (segment.flags & 2) !== 0;
    if (isSyn && !this.#hasIsn) {
      this.#ourIsn = segment.seq;
      this.#hasIsn = true;
    }
    if (segment.hasTimestamps) this.#lastTsVal = segment.tsVal;
    if (segment.hasTimestamps && (!isSyn || (segment.flags & 16) !== 0 || this.#offersTimestamps))
      this.#hasTimestamps = true;
    const flags = [...'SFRA'].filter(letter => (segment.flags & FLAG_BITS[letter]!) !== 0).join('');
    const blocks: string[] = [];
    for (let i = 0; i < segment.sackCount; i++) {
      const left = (segment.sackLeft(i) - PEER_ISN) | 0;
      blocks.push(`${left}-${(segment.sackRight(i) - PEER_ISN) | 0}`);
    }
    return {
      flags,
      seq: (segment.seq - this.#ourIsn) | 0,
      ack: (segment.flags & 16) === 0 ? 0 : (segment.ack - PEER_ISN) | 0,
      length: segment.dataEnd - segment.dataStart,
      window: readU16BE(packet, start + 14),
      mss: isSyn ? segment.mss : 0,
      ws: isSyn ? segment.windowShift : -1,
      sackOK: isSyn && segment.isSackPermitted,
      ts: segment.hasTimestamps ? `${readU32BE(packet, start)}` : 'no',
      sack: blocks.join(' '),
      bytes: packet.slice(segment.dataStart, segment.dataEnd),
      packetBytes: packet.length,
      to: segment.destinationPort,
      isPushed: (segment.flags & 8) !== 0,
    };
  }

  #line(line: string): void {
    const [verb, ...rest] = line.trim().split(/\s+/);
    const text = rest.join(' ');
    if (verb === '<') this.inject(text);
    else if (verb === '>') this.#expect(line, rest);
    else if (verb === '+') this.advance(Number(rest[0]));
    else if (verb === 'state') assert.is(this.#state, rest[0], line);
    else if (verb === 'ready') this.#expectReady(line, rest);
    else if (verb === 'error') assert.is(this.connection!.error, rest[0] === 'none' ? undefined : rest[0], line);
    else if (verb === 'drop') assert.is(this.drops.get(rest[0] as DropName), Number(rest[1]), line);
    else this.#command(verb!, rest);
    this.collect();
  }

  #command(verb: string, rest: string[]): void {
    const connection = this.connection!;
    const count = Number(rest[0]);
    if (verb === 'write') {
      const bytes = Uint8Array.from({ length: count }, (_, i) => streamByte(this.written + i));
      const taken = connection.write(this.nowMs, bytes, 0, count);
      if (rest[1] !== undefined) assert.is(taken, Number(rest[1]), `write ${rest.join(' ')}`);
      else assert.is(taken, count, `write ${count}`);
      this.written += taken;
    } else if (verb === 'read') {
      const out = new Uint8Array(count);
      const got = connection.read(this.nowMs, out, 0, count);
      assert.is(got, Number(rest[1] ?? count), `read ${rest.join(' ')}`);
      for (let i = 0; i < got; i++) {
        const expected = streamByte(this.received++);
        if (out[i] !== expected) assert.is(out[i], expected, `byte ${this.received - 1} of what the peer sent`);
      }
    } else if (verb === 'shutdown') connection.shutdown(this.nowMs);
    else if (verb === 'close') connection.close(this.nowMs);
    else if (verb === 'abort') connection.abort(this.nowMs);
    else if (verb === 'nodelay') connection.setNoDelay(true);
    else if (verb === 'keepalive') connection.setKeepAlive(this.nowMs, count);
    else throw new Error(`unknown line: ${verb}`);
  }

  #expectReady(line: string, names: string[]): void {
    const expected = names[0] === 'none' ? 0 : names.reduce((bits, name) => bits | READY_NAMES[name]!, 0);
    const shown = Object.keys(READY_NAMES).filter(name => (this.readyBits & READY_NAMES[name]!) !== 0);
    assert.is(this.readyBits, expected, `${line}: got ${shown.join(' ') || 'none'}`);
    this.readyBits = 0;
  }

  #expect(line: string, words: string[]): void {
    const sent = this.poll();
    if (words[0] === 'nothing') {
      assert.is(sent === undefined ? 'nothing' : describe(sent), 'nothing', line);
      return;
    }
    if (sent === undefined) assert.unreachable(`${line}: the machine sends nothing`);
    const field = (name: string) => (words.includes(name) ? words[words.indexOf(name) + 1]! : undefined);
    const context = `${line}: got ${describe(sent!)}`;
    assert.is(sent!.flags, [...'SFRA'].filter(letter => words[0]!.includes(letter)).join(''), context);
    if (words[1] !== undefined && /^-?\d+$/.test(words[1])) assert.is(sent!.seq, Number(words[1]), context);
    assert.is(sent!.length, Number(field('len') ?? 0), context);
    if (field('ack') !== undefined) assert.is(sent!.ack, Number(field('ack')), context);
    if (field('win') !== undefined) assert.is(sent!.window, Number(field('win')), context);
    if (field('mss') !== undefined) assert.is(sent!.mss, Number(field('mss')), context);
    if (field('ws') !== undefined) assert.is(sent!.ws, Number(field('ws')), context);
    if (words.includes('sackOK')) assert.ok(sent!.sackOK, context);
    if (words.includes('nosack')) assert.is(sent!.sack, '', context);
    if (words.includes('nots')) assert.is(sent!.ts, 'no', context);
    if (words.includes('sack')) {
      const blocks = words.slice(words.indexOf('sack') + 1).filter(word => /^-?\d+-/.test(word));
      assert.is(sent!.sack, blocks.join(' '), context);
    }
    if (sent!.seq > 0 && (words[0] ?? '').includes('S') === false)
      sent!.bytes.forEach((byte, i) => assert.is(byte, streamByte(sent!.seq - 1 + i), `${context}: payload`));
  }
}

/** Byte `i` of either side's stream. */
export function streamByte(i: number): number {
  return (Math.imul(i, 0x9e3779b1) >>> 24) & 0xff;
}

function describe(sent: Sent): string {
  const { flags, seq, ack, length, window, sack } = sent;
  return `${flags} ${seq} ack ${ack} len ${length} win ${window}${sack === '' ? '' : ` sack ${sack}`}`;
}

/** A peer that is connected, without timestamps, window scale or SACK: the plainest there is. */
export function plain(options: ScriptOptions = {}): Script {
  const script = new Script({ hasSack: false, ...options });
  return script.connect().run('> S 0', '+ 100', '< SA 0 ack 1 win 65535 mss 1000', '> A 1 ack 1', 'ready connected');
}

/** A peer that is connected with every option. Its window scale is 7. */
export function modern(options: ScriptOptions = {}): Script {
  const script = new Script(options);
  return script
    .connect()
    .run(
      '> S 0 sackOK',
      '+ 100',
      '< SA 0 ack 1 win 65535 mss 1000 sackOK ts now last ws 7',
      '> A 1 ack 1',
      'ready connected',
    );
}

/** A connection that the peer opened. */
export function accepted(options: ScriptOptions = {}): Script {
  const script = new Script(options);
  script.tcp.listen(script.localPort);
  return script.run(
    '< S 0 win 65535 mss 1000 sackOK ts now 0 ws 7',
    '> SA 0 ack 1 sackOK',
    '+ 100',
    '< A 1 ack 1 win 512',
    'ready accepted',
  );
}
