/**
 * Why a packet was dropped. Network input never throws: a hot function returns a negative reason, and the reason is
 * counted and visible in `status()`. The names are stable: they are what users and tests read.
 */

/** Every reason, in the order of its number: reason `-(i + 1)` has the name `DROP_NAMES[i]`. */
export const DROP_NAMES = Object.freeze([
  // WireGuard framing
  'wg-too-short',
  'wg-unknown-type',
  'wg-bad-length',
  // WireGuard handshake
  'wg-bad-mac1',
  'wg-cookie-required',
  'wg-rate-limited',
  'wg-handshake-decrypt',
  'wg-unknown-peer',
  'wg-low-order-key',
  'wg-stale-timestamp',
  'wg-flood',
  'wg-unknown-receiver',
  'wg-unexpected-response',
  'wg-unexpected-cookie',
  'wg-cookie-decrypt',
  // WireGuard transport data
  'wg-data-decrypt',
  'wg-replay',
  'wg-session-expired',
  'wg-counter-limit',
  'wg-inner-malformed',
  'wg-inner-source',
  // WireGuard sending
  'wg-no-route',
  'wg-no-endpoint',
  'wg-staged-overflow',
  'wg-gave-up',
  'wg-too-big',
  // IP
  'ip-malformed',
  'ip-checksum',
  'ip-not-local',
  'ip-bad-source',
  'ip-options',
  'ip-unknown-protocol',
  'ip-reassembly-limit',
  'ip-reassembly-timeout',
  'ip-reassembly-overlap',
  'ip-fragments-unsupported',
  // ICMP
  'icmp-malformed',
  'icmp-checksum',
  'icmp-rate-limited',
  'icmp-ignored',
  // UDP
  'udp-malformed',
  'udp-checksum',
  'udp-no-socket',
  'udp-queue-full',
  // TCP
  'tcp-malformed',
  'tcp-checksum',
  'tcp-no-connection',
  'tcp-out-of-window',
  'tcp-bad-state',
  'tcp-backlog-full',
  'tcp-limit',
  // the socket outside
  'socket-full',
  // IP, sending and flows
  'ip-no-source',
  'ip-queue-full',
  'icmp-no-flow',
  'udp-too-big',
  // TCP, by the rule that was broken
  'tcp-bad-ack',
  'tcp-bad-reset',
  'tcp-unexpected-syn',
  'tcp-old-timestamp',
  'tcp-duplicate',
  'tcp-icmp-mismatch',
  // a sender outside that cannot be answered
  'wg-source-port',
  // the packet filter
  'filter-no-rule',
  'filter-not-local',
  'filter-multicast',
  'filter-link-local',
  'filter-fragment',
  'filter-truncated',
  'filter-extension-header',
  'filter-cut',
  // no relay carries it: the peer has none, its queue is full, or it is not connected
  'derp-no-relay',
  // path discovery
  'disco-too-short',
  'disco-too-long',
  'disco-unknown-key',
  'disco-rate-limited',
  'disco-bad-key',
  'disco-decrypt',
  'disco-malformed',
  'disco-unknown-type',
  'disco-unknown-peer',
  'disco-reflected',
  'disco-duplicate',
  'disco-unexpected-pong',
  'disco-not-relayed',
  'disco-queue-full',
] as const);

/** Name of a drop reason. */
export type DropName = (typeof DROP_NAMES)[number];

/** A drop reason: a negative number, as hot functions return it. */
export type DropReason = number;

/** The negative number of a reason; made once per module, not per packet. Throws RangeError for an unknown name. */
export function dropReason(name: DropName): DropReason {
  const index = DROP_NAMES.indexOf(name);
  if (index < 0) throw new RangeError(`"name" expected a drop reason, got ${name}`);
  return -(index + 1);
}

/** Name of a negative reason number. */
export function dropName(reason: DropReason): DropName {
  const name = DROP_NAMES[-reason - 1];
  if (name === undefined) throw new RangeError(`"reason" expected a drop reason, got ${reason}`);
  return name;
}

/** Counters, one per reason. */
export class DropCounters {
  /** Made with the first drop: most machines of a microcontroller never have one. */
  #counts: Float64Array | undefined;

  /** Counts one drop and returns the reason, so that a hot function can write `return drops.count(REASON)`. */
  count(reason: DropReason): DropReason {
    this.#counts ??= new Float64Array(DROP_NAMES.length);
    this.#counts[-reason - 1]! += 1;
    return reason;
  }

  /** Adds what other counters have counted. */
  add(other: DropCounters): void {
    const counts = other.#counts;
    if (counts === undefined) return;
    this.#counts ??= new Float64Array(DROP_NAMES.length);
    for (let i = 0; i < counts.length; i++) this.#counts[i]! += counts[i]!;
  }

  /** How often a reason was counted. */
  get(name: DropName): number {
    return this.#counts?.[DROP_NAMES.indexOf(name)] ?? 0;
  }

  /** All drops together. */
  get total(): number {
    let sum = 0;
    for (const count of this.#counts ?? []) sum += count;
    return sum;
  }

  /** The reasons that occurred, with their counts. */
  snapshot(): { [name in DropName]?: number } {
    const out: { [name in DropName]?: number } = {};
    this.#counts?.forEach((count, i) => {
      if (count > 0) out[DROP_NAMES[i]!] = count;
    });
    return out;
  }
}
