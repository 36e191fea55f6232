/** Shared by the tests of packet, netstack and base: a seeded generator, two wired stacks, small conveniences. */
import { parseAddress } from '../../lib/base/address.ts';
import { Slot } from '../../lib/base/slot.ts';
import { REASSEMBLY_LIMITS_LARGE, Reassembly } from '../../lib/netstack/reassembly.ts';
import { Stack, type StackEvent, type StackLimits, type StackOptions } from '../../lib/netstack/stack.ts';

/** A seeded generator with the signature of the `random` port (xorshift128+-like, 32-bit state words). */
export function seededRandom(seed: number): (out: Uint8Array) => void {
  let a = (seed ^ 0x9e3779b9) >>> 0 || 1;
  return out => {
    for (let i = 0; i < out.length; i++) {
      a ^= a << 13;
      a ^= a >>> 17;
      a ^= a << 5;
      out[i] = a >>> 11;
    }
  };
}

/** What a test may want of two wired stacks. */
export interface PairOptions {
  mtu?: number;
  limits?: Partial<StackLimits>;
  seed?: number;
  /** Constructor options of both beyond the usual ones. */
  extra?: Partial<StackOptions>;
  reassembly?: boolean;
}

/** Two stacks back to back, `a` (10.0.0.1, fd00::1) and `b` (10.0.0.2, fd00::2), with a clock that tests move. */
export class StackPair {
  nowMs = 1000;
  readonly a: Stack;
  readonly b: Stack;
  readonly #slot: Slot;
  /** Packets that crossed, newest last, when {@link isRecording}. */
  readonly seen: { from: 'a' | 'b'; packet: Uint8Array }[] = [];
  isRecording = false;
  /** Says whether a packet is lost. */
  loses: (from: 'a' | 'b', packet: Uint8Array) => boolean = () => false;

  constructor(options: PairOptions = {}) {
    const { mtu = 1420, seed = 1, limits = {}, extra = {}, reassembly = true } = options;
    const make = (offset: number, v4: number[], v6: string) => {
      const parts = reassembly ? { reassembly: new Reassembly(REASSEMBLY_LIMITS_LARGE) } : {};
      const stack = new Stack({ nowMs: 1000, random: seededRandom(seed + offset), mtu, limits, ...parts, ...extra });
      stack.addAddress({ bytes: Uint8Array.from(v4), bits: 24 });
      if (mtu >= 1280) stack.addAddress({ bytes: parseAddress(v6)!, bits: 64 });
      return stack;
    };
    this.a = make(0, [10, 0, 0, 1], 'fd00::1');
    this.b = make(1000, [10, 0, 0, 2], 'fd00::2');
    this.#slot = new Slot(mtu);
  }

  /** Carries packets to and fro until both are silent; returns how many crossed. */
  run(most = 100_000): number {
    let crossed = 0;
    for (let moved = true; moved && crossed < most; ) {
      moved = false;
      for (const from of ['a', 'b'] as const) {
        const [sender, receiver] = from === 'a' ? [this.a, this.b] : [this.b, this.a];
        while (crossed < most && sender.pollTransmit(this.nowMs, this.#slot)) {
          const { buf, start, end } = this.#slot;
          const packet = buf.slice(start, end);
          if (this.isRecording) this.seen.push({ from, packet });
          crossed++;
          moved = true;
          if (!this.loses(from, packet)) receiver.handlePacket(this.nowMs, packet, 0, packet.length);
        }
      }
    }
    return crossed;
  }

  /** Moves the clock from deadline to deadline, carrying packets, until `untilMs` from now or until nothing is due. */
  advance(untilMs: number): void {
    const end = this.nowMs + untilMs;
    for (;;) {
      this.run();
      const next = Math.min(this.a.nextTimeout(), this.b.nextTimeout());
      if (next > end) break;
      this.nowMs = Math.max(next, this.nowMs + 1);
      this.a.handleTimeout(this.nowMs);
      this.b.handleTimeout(this.nowMs);
    }
    this.nowMs = Math.max(end, this.nowMs);
  }
}

/** All events that wait in a stack; `tcp` and `udp` events are copied. */
export function eventsOf(stack: Stack): StackEvent[] {
  const out: StackEvent[] = [];
  for (let event = stack.pollEvent(); event !== undefined; event = stack.pollEvent()) out.push({ ...event });
  return out;
}

/** All packets that a stack wants to send now. */
export function packetsOf(stack: Stack, nowMs: number, most = 100_000): Uint8Array[] {
  const slot = new Slot(stack.mtu);
  const out: Uint8Array[] = [];
  while (out.length < most && stack.pollTransmit(nowMs, slot)) out.push(slot.buf.slice(slot.start, slot.end));
  return out;
}
