/**
 * One member of the network as a machine: WireGuard below, IP and TCP above (design: "The shape").
 *
 * No I/O, no clock, no randomness of its own. The order for whoever drives it, after each batch of input: drain
 * `pollEvent`, then `pollTransmit` until it is empty, saving what `pollSave` gives before the datagram in hand is
 * sent, then arm one timer for `nextTimeout`.
 * Data goes one way down and one way up: a segment is written into the slot, sealed in place and handed out; a
 * datagram is opened in place and read by the stack. Nothing is copied between.
 *
 * Left out here: path choice, relays, the packet filter and the control client, which join in the same manner.
 */
import type { Endpoint } from '../base/address.ts';
import { parseAddress, parseDecimal } from '../base/address.ts';
import { type DropName, dropReason } from '../base/drop.ts';
import { HEADROOM_BYTES, Slot, TAILROOM_BYTES } from '../base/slot.ts';
import type { SecretKey } from '../crypto/keys.ts';
import type { CryptoSuite } from '../crypto/suite.ts';
import type { FragmentStore } from '../netstack/reassembly.ts';
import {
  STACK_LIMITS_LARGE,
  STACK_LIMITS_SMALL,
  Stack,
  type StackEvent,
  type StackOptions,
} from '../netstack/stack.ts';
import { TUNNEL_LIMITS_LARGE, TUNNEL_LIMITS_SMALL, Tunnel, type TunnelEvent } from '../wireguard/tunnel.ts';

/** Sizes for a microcontroller or for a server; every limit behind them has a name in its own layer. */
export type Preset = 'small' | 'large';

/** An address of this device inside the tunnel, host bits kept: `10.0.0.2/24`. */
export interface InterfaceAddress {
  /** 4 or 16. */
  readonly bytes: Uint8Array;
  /** Prefix length. */
  readonly bits: number;
}

/** Parts that a small build leaves out: see parts.ts, which names them all. */
export interface DeviceParts {
  /** Without it fragments are dropped. */
  readonly createReassembly?: (preset: Preset) => FragmentStore;
  /** Without it TCP has no selective acknowledgments. */
  readonly createSack?: NonNullable<StackOptions['createSack']>;
}

/** What {@link Device} is made of. */
export interface DeviceOptions {
  /** Monotonic milliseconds. */
  readonly nowMs: number;
  /** Milliseconds since 1970; may be wrong. */
  readonly unixMs: number;
  readonly random: (out: Uint8Array) => void;
  readonly suite: CryptoSuite;
  readonly privateKey: SecretKey;
  readonly addresses: readonly InterfaceAddress[];
  /** Largest inner packet in bytes, 576 (1280 with IPv6) to 65,535. */
  readonly mtu: number;
  readonly preset: Preset;
  /** The TAI64N floor that an earlier run saved (12 bytes). */
  readonly timestampFloor?: Uint8Array;
  /** Parts that a small build leaves out; none unless given. */
  readonly parts?: DeviceParts;
}

/** Something that the application or the operator may want to know. */
export type DeviceEvent = StackEvent | Exclude<TunnelEvent, { type: 'timestamp' }>;

const NO_ROUTE = /* @__PURE__ */ dropReason('wg-no-route');
const NO_ENDPOINT = /* @__PURE__ */ dropReason('wg-no-endpoint');

/** A WireGuard member with a TCP/IP stack on top. */
export class Device {
  readonly tunnel: Tunnel;
  readonly stack: Stack;
  readonly #slot: Slot;
  #tunnelEvents: Exclude<TunnelEvent, { type: 'timestamp' }>[] = [];
  #unsavedFloor: Uint8Array | undefined;

  constructor(options: DeviceOptions) {
    const { nowMs, unixMs, random, suite, privateKey, mtu, preset, timestampFloor } = options;
    const { createReassembly, createSack } = options.parts ?? {};
    const isSmall = preset === 'small';
    this.tunnel = new Tunnel({
      nowMs,
      unixMs,
      random,
      suite,
      privateKey,
      mtu,
      limits: isSmall ? TUNNEL_LIMITS_SMALL : TUNNEL_LIMITS_LARGE,
      ...(timestampFloor === undefined ? {} : { timestampFloor }),
    });
    this.stack = new Stack({
      nowMs,
      random,
      mtu,
      limits: isSmall ? STACK_LIMITS_SMALL : STACK_LIMITS_LARGE,
      // A packet goes through one peer only: the others cannot know what became of it.
      mayReport: (buf, source, destination, length) => this.tunnel.isSamePeer(buf, source, destination, length),
      ...(createReassembly === undefined ? {} : { reassembly: createReassembly(preset) }),
      ...(createSack === undefined ? {} : { createSack }),
    });
    for (const address of options.addresses) this.stack.addAddress(address);
    this.#slot = new Slot(mtu, suite.allocate?.(HEADROOM_BYTES + mtu + TAILROOM_BYTES));
  }

  /** Tells the wall clock, for TAI64N only. Worth calling when it may have been set, stepped or slept through. */
  setWallClock(nowMs: number, unixMs: number): void {
    this.tunnel.setWallClock(nowMs, unixMs);
  }

  /** Removes a peer, erases its keys and forgets its events. RangeError unless there is a peer with the id. */
  removePeer(nowMs: number, id: number): void {
    this.tunnel.removePeer(nowMs, id);
    this.#tunnelEvents = this.#tunnelEvents.filter(event => event.peer !== id);
  }

  /** Removes all peers and erases all secrets but the private key, which is the caller's. */
  close(nowMs: number): void {
    this.tunnel.close(nowMs);
    this.#tunnelEvents = [];
  }

  /**
   * Takes one UDP datagram `buf[start, end)`, which is opened in place.
   * Returns 0 or more when it was used, else a negative drop reason, which is counted.
   */
  handleDatagram(nowMs: number, buf: Uint8Array, start: number, end: number, from: Endpoint): number {
    const length = this.tunnel.decapsulate(nowMs, buf, start, end, from);
    if (length <= 0) return length;
    return this.stack.handlePacket(nowMs, buf, start + 16, start + 16 + length);
  }

  /** Lets due timers act. Early and late calls are harmless. */
  handleTimeout(nowMs: number): void {
    this.tunnel.handleTimeout(nowMs);
    this.stack.handleTimeout(nowMs);
  }

  /** When {@link handleTimeout} wants to be called: absolute ms, `Infinity` for never. */
  nextTimeout(): number {
    return Math.min(this.tunnel.nextTimeout(), this.stack.nextTimeout());
  }

  /** The next datagram to send, with its destination in `slot.to`; valid until the next poll. */
  pollTransmit(nowMs: number): Slot | undefined {
    const slot = this.#slot;
    for (;;) {
      if (this.tunnel.pollTransmit(nowMs, slot)) {
        this.#collectTunnelEvents();
        return slot;
      }
      if (!this.stack.pollTransmit(nowMs, slot)) return undefined;
      const length = this.tunnel.encapsulate(nowMs, slot);
      if (length > 0) return slot;
      // The flow learns at once that nobody carries its packets; other reasons pass and are retransmitted.
      if (length === NO_ROUTE || length === NO_ENDPOINT)
        this.stack.handleUnreachable(nowMs, slot.buf, slot.start, slot.end);
    }
  }

  /** A TAI64N floor that must be durable before the datagram last polled is sent, once; otherwise undefined. */
  pollSave(): Uint8Array | undefined {
    const floor = this.#unsavedFloor;
    this.#unsavedFloor = undefined;
    return floor;
  }

  /** The next event; a `tcp` or `udp` event object is valid until the next call. */
  pollEvent(): DeviceEvent | undefined {
    this.#collectTunnelEvents();
    return this.#tunnelEvents.shift() ?? this.stack.pollEvent();
  }

  #collectTunnelEvents(): void {
    for (let event = this.tunnel.pollEvent(); event !== undefined; event = this.tunnel.pollEvent()) {
      if (event.type === 'timestamp') this.#unsavedFloor = event.floor;
      else this.#tunnelEvents.push(event);
    }
  }

  /** All drops of all layers by reason. */
  drops(): { [name in DropName]?: number } {
    const out = this.tunnel.drops.snapshot();
    const above = this.stack.drops.snapshot();
    for (const name of Object.keys(above) as DropName[]) out[name] = (out[name] ?? 0) + above[name]!;
    return out;
  }
}

/** Parses `10.0.0.2/24` or an address alone (its whole length), host bits kept; `undefined` when it is not one. */
export function parseInterfaceAddress(text: string): InterfaceAddress | undefined {
  const slash = text.indexOf('/');
  const bytes = parseAddress(slash < 0 ? text : text.slice(0, slash));
  if (bytes === undefined) return undefined;
  const bits = slash < 0 ? bytes.length * 8 : parseDecimal(text.slice(slash + 1), bytes.length * 8);
  return bits === undefined ? undefined : { bytes, bits };
}
