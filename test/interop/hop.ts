/**
 * A link in userspace: relays UDP datagrams between two sides with seeded loss, delay, jitter, reordering, duplication
 * and a rate limit, and counts what WireGuard sends over it. Replaces netem, which not every kernel has.
 *
 * Each side is one socket. Where a side's peer lives is learned from its last datagram, as a NAT would; `rebind` gives a
 * side a new port or address, which its peer sees as roaming. `attack` injects hostile datagrams towards side a, and a
 * `vanguard` of junk goes in front of each initiation.
 * Left out: anything below UDP; fragments and ICMP do not cross.
 */
import { createSocket, type Socket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import { type Json, serveJsonLines } from './json-lines.ts';
import { makeJunk } from './junk.ts';
import { seededRandom } from './pattern.ts';

const WHEEL_SLOTS = 4096;
/** Datagrams of data, and of handshakes, that are kept for attacks: the last ones. */
const RECORDED = 256;
const RECORDED_HANDSHAKES = 32;

/** One direction's behaviour; probabilities are 0 to 1. */
export interface LinkOptions {
  readonly loss?: number;
  readonly delayMs?: number;
  /** Adds 0 to this many ms, which also reorders. */
  readonly jitterMs?: number;
  /** Probability of being held back by `reorderMs`. */
  readonly reorder?: number;
  readonly reorderMs?: number;
  readonly duplicate?: number;
  /** Mbit/s; absent is unlimited. */
  readonly rateMbps?: number;
  /** Longest wait for the rate limit, in ms; what would wait longer is dropped. */
  readonly queueMs?: number;
  /** Loses everything. */
  readonly isCut?: boolean;
}

type Side = 'a' | 'b';

/** One side: its socket, its peer's endpoint, and the direction that leaves through it. */
class Port {
  readonly side: Side;
  socket: Socket | undefined;
  to: { address: string; port: number } | undefined;
  link: LinkOptions = {};
  freeAtMs = 0;
  /** Sent right before each initiation. */
  vanguard: readonly Buffer[] = [];
  readonly counts: Record<string, number> = {};
  readonly #data: Buffer[] = [];
  readonly #handshakes: Buffer[] = [];

  constructor(side: Side) {
    this.side = side;
  }

  record(data: Buffer): void {
    const [list, most] = data[0] === 4 ? [this.#data, RECORDED] : [this.#handshakes, RECORDED_HANDSHAKES];
    list.push(data);
    if (list.length > most) list.shift();
  }

  /** A recorded datagram; one in eight is of a handshake. */
  pick(below: (limit: number) => number): Buffer {
    const list =
      (below(8) === 0 && this.#handshakes.length > 0) || this.#data.length === 0 ? this.#handshakes : this.#data;
    return list.length === 0 ? Buffer.alloc(32) : list[below(list.length)]!;
  }

  add(name: string, amount = 1): void {
    this.counts[name] = (this.counts[name] ?? 0) + amount;
  }
}

class Hop {
  readonly ports = { a: new Port('a'), b: new Port('b') };
  random = seededRandom(1);
  readonly #wheel: { port: Port; data: Buffer }[][] = Array.from({ length: WHEEL_SLOTS }, () => []);
  #waiting = 0;
  #tickMs = 0;
  #isTicking = false;

  async bind(side: Side, address: string, port: number): Promise<{ address: string; port: number }> {
    const type = isIPv6(address) ? 'udp6' : 'udp4';
    const lookup = (host: string, _options: unknown, done: (error: null, address: string, family: number) => void) =>
      done(null, host, type === 'udp6' ? 6 : 4);
    const options = { type, recvBufferSize: 4 << 20, sendBufferSize: 4 << 20, lookup } as unknown as { type: 'udp4' };
    const socket = createSocket(options);
    const from = this.ports[side];
    const onto = this.ports[side === 'a' ? 'b' : 'a'];
    socket.on('message', (data, sender) => {
      if (from.to === undefined || from.to.port !== sender.port || from.to.address !== sender.address)
        from.to = { address: sender.address, port: sender.port };
      this.#pass(onto, data);
    });
    socket.on('error', error => process.stderr.write(`${error.message}\n`));
    await new Promise<void>(resolve => socket.bind(port, address, resolve));
    from.socket?.close();
    from.socket = socket;
    return { address, port: socket.address().port };
  }

  #chance(probability: number | undefined): boolean {
    return probability !== undefined && probability > 0 && this.random() / 2 ** 32 < probability;
  }

  #pass(port: Port, data: Buffer): void {
    this.#count(port, data);
    const { link } = port;
    if (data[0] === 1) for (const junk of port.vanguard) this.send(port, junk);
    if (link.isCut === true || this.#chance(link.loss)) return port.add('lost');
    if (this.#chance(link.duplicate)) {
      port.add('duplicated');
      this.#schedule(port, data);
    }
    this.#schedule(port, data);
  }

  #count(port: Port, data: Buffer): void {
    port.add('datagrams');
    port.add('bytes', data.length);
    const isLast16Zero = (from: number) => data.subarray(from, from + 16).every(byte => byte === 0);
    if (data[0] === 1 && data.length === 148) port.add(isLast16Zero(132) ? 'initiations' : 'initiationsWithMac2');
    else if (data[0] === 2 && data.length === 92) port.add(isLast16Zero(76) ? 'responses' : 'responsesWithMac2');
    else if (data[0] === 3 && data.length === 64) port.add('cookies');
    else if (data[0] === 4) port.add(data.length === 32 ? 'keepalives' : 'data');
    port.record(data);
  }

  #schedule(port: Port, data: Buffer): void {
    const { link } = port;
    const nowMs = performance.now();
    let delayMs = link.delayMs ?? 0;
    if (link.rateMbps !== undefined) {
      const startMs = Math.max(nowMs, port.freeAtMs);
      if (startMs - nowMs > (link.queueMs ?? 50)) return port.add('overflowed');
      port.freeAtMs = startMs + (data.length * 8) / (link.rateMbps * 1000);
      delayMs += port.freeAtMs - nowMs;
    }
    if (link.jitterMs !== undefined) delayMs += (this.random() / 2 ** 32) * link.jitterMs;
    if (this.#chance(link.reorder)) {
      port.add('reordered');
      delayMs += link.reorderMs ?? 4;
    }
    if (delayMs < 1) return this.send(port, data);
    if (this.#waiting++ === 0) this.#tickMs = Math.floor(nowMs);
    const atMs = Math.min(Math.ceil(nowMs + delayMs), this.#tickMs + WHEEL_SLOTS - 1);
    this.#wheel[atMs % WHEEL_SLOTS]!.push({ port, data });
    this.#tickLater();
  }

  #tickLater(): void {
    if (this.#isTicking) return;
    this.#isTicking = true;
    setTimeout(() => {
      this.#isTicking = false;
      const nowMs = Math.floor(performance.now());
      for (; this.#tickMs <= nowMs; this.#tickMs++) {
        const slot = this.#wheel[this.#tickMs % WHEEL_SLOTS]!;
        if (slot.length === 0) continue;
        this.#waiting -= slot.length;
        for (const { port, data } of slot) this.send(port, data);
        slot.length = 0;
      }
      if (this.#waiting > 0) this.#tickLater();
    }, 1);
  }

  send(port: Port, data: Buffer): void {
    if (port.to === undefined) return port.add('nowhere');
    port.socket?.send(data, port.to.port, port.to.address);
  }

  /**
   * Sends `count` hostile datagrams towards side a, `perMs` every millisecond, from the hop's own socket or from another
   * local address; returns how many of which kind.
   */
  async attack(total: number, perMs: number, from: string | undefined): Promise<Record<string, number>> {
    const port = this.ports.a;
    const kinds: Record<string, number> = {};
    const socket = from === undefined ? port.socket! : createSocket(isIPv6(from) ? 'udp6' : 'udp4');
    if (from !== undefined) await new Promise<void>(resolve => socket.bind(0, from, resolve));
    for (let sent = 0; sent < total; ) {
      for (let i = 0; i < perMs && sent < total; i++, sent++) {
        const [kind, data] = this.#hostile(port);
        kinds[kind] = (kinds[kind] ?? 0) + 1;
        socket.send(data, port.to!.port, port.to!.address);
      }
      await new Promise(resolve => setTimeout(resolve, 1));
    }
    if (from !== undefined) socket.close();
    return kinds;
  }

  #hostile(port: Port): [string, Buffer] {
    const below = (limit: number) => Math.floor((this.random() / 2 ** 32) * limit);
    const kind = below(6);
    const original = port.pick(below);
    if (kind === 0) {
      const data = Buffer.allocUnsafe(below(64) === 0 ? below(9000) : below(1500));
      for (let i = 0; i < data.length; i++) data[i] = this.random();
      return ['random', data];
    }
    if (kind === 1) return ['truncated', original.subarray(0, below(original.length))];
    if (kind === 2) return ['replayed', original];
    const copy = Buffer.from(original);
    if (kind === 3) {
      // One flipped bit: nothing else can undo it, so the datagram is surely not the original.
      const at = below(copy.length);
      copy[at] = copy[at]! ^ (1 << below(8));
      return ['mutated', copy];
    }
    if (kind === 4) return ['extended', Buffer.concat([copy, Buffer.alloc(1 + below(64))])];
    // A counter that was never used, so that nothing but the tag tells it from a real one.
    if (copy[0] === 4) copy.writeUInt32LE(below(2 ** 31), 8);
    else copy.writeUInt32LE(this.random(), 4);
    copy[20] = copy[20]! ^ 1;
    return ['forged', copy];
  }
}

const hop = new Hop();

function side(args: Json): Port {
  return hop.ports[args.side as Side];
}

serveJsonLines(async (op, args) => {
  if (op === 'bind') return hop.bind(args.side, args.address, args.port ?? 0);
  if (op === 'seed') hop.random = seededRandom(args.seed);
  else if (op === 'aim') side(args).to = args.to;
  else if (op === 'link') side(args).link = args.link;
  else if (op === 'vanguard') side(args).vanguard = makeJunk(args.publicKey, args.count);
  else if (op === 'stats') return { toA: hop.ports.a.counts, toB: hop.ports.b.counts };
  else if (op === 'attack') return hop.attack(args.count, args.perMs, args.from);
  else throw new RangeError(`"op" expected a known one, got ${op}`);
  return {};
});
