/**
 * The ports of runtimes with Node's modules: clocks, randomness, timer and deferral are here, UDP in `datagrams.ts`,
 * TCP and TLS in `streams.ts`, state on disk in `store.ts`.
 */
import { hostname, platform, uptime } from 'node:os';
import { setImmediate } from 'node:timers';
import type { Clock, Host, Timer } from '../../lib/ports.ts';
import { readInterfaces } from './interfaces.ts';
import { resolveName } from './names.ts';
import { openNodeStream } from './streams.ts';

/** How often the clock asks how long the machine has been up, suspend included. */
const SUSPEND_CHECK_MS = 1000;
/** The uptime is coarse; a smaller difference is not a suspend. */
const SUSPEND_LEAST_MS = 1500;
/** The longest single sleep: timeouts stand still during suspend, so the clock is asked again after this. */
const MAX_DELAY_MS = 30_000;
/** What getRandomValues gives at most per call. */
const MAX_RANDOM_BYTES = 65_536;

/** A {@link Host} with the given sockets. */
export function createHost(
  name: string,
  openDatagrams: Host['openDatagrams'],
  openStream: Host['openStream'] = openNodeStream,
): Host {
  const clock = createClock(() => performance.now(), uptime);
  return Object.freeze({
    name,
    clock,
    random,
    self: Object.freeze({ hostname: hostname(), os: platform() }),
    createTimer: (fire: () => void) => new NodeTimer(clock, fire),
    defer: (run: () => void) => {
      setImmediate(run);
    },
    openDatagrams,
    openStream,
    interfaces: readInterfaces,
    resolve: resolveName,
  });
}

/**
 * The two clocks. A monotonic clock stands still while the machine sleeps, its uptime on Linux does not: where the two
 * drift apart, the difference is added, so that sessions age during suspend.
 *
 * `monotonicMs` and `uptimeSeconds` are those of the runtime, or of a test.
 */
export function createClock(monotonicMs: () => number, uptimeSeconds: () => number): Clock {
  let sleptMs = 0;
  let checkedAt = monotonicMs();
  const awakeMs = () => uptimeSeconds() * 1000 - monotonicMs();
  const atStart = awakeMs();
  return Object.freeze({
    nowMs: () => {
      const now = monotonicMs();
      if (now - checkedAt >= SUSPEND_CHECK_MS) {
        checkedAt = now;
        const more = awakeMs() - atStart - sleptMs;
        if (more >= SUSPEND_LEAST_MS) sleptMs += more;
      }
      return now + sleptMs;
    },
    unixMs: () => Date.now(),
  });
}

function random(out: Uint8Array): void {
  for (let at = 0; at < out.length; at += MAX_RANDOM_BYTES)
    crypto.getRandomValues(out.subarray(at, at + MAX_RANDOM_BYTES) as Uint8Array<ArrayBuffer>);
}

/**
 * One timer. Deadlines mostly move later (every packet moves one), so a running timeout is kept when it ends before the
 * new deadline, and started anew for the rest when it fires: that is cheaper than a new timeout per packet.
 */
class NodeTimer implements Timer {
  readonly #clock: Clock;
  readonly #fire: () => void;
  #handle: ReturnType<typeof setTimeout> | undefined;
  #handleMs = Number.POSITIVE_INFINITY;
  #wantedMs = Number.POSITIVE_INFINITY;

  constructor(clock: Clock, fire: () => void) {
    this.#clock = clock;
    this.#fire = fire;
  }

  arm(atMs: number): void {
    if (atMs === Number.POSITIVE_INFINITY) return this.cancel();
    this.#wantedMs = atMs;
    if (this.#handle === undefined || atMs < this.#handleMs) this.#start();
  }

  cancel(): void {
    this.#wantedMs = Number.POSITIVE_INFINITY;
    clearTimeout(this.#handle);
    this.#handle = undefined;
  }

  #start(): void {
    clearTimeout(this.#handle);
    const delay = Math.min(MAX_DELAY_MS, Math.max(0, Math.ceil(this.#wantedMs - this.#clock.nowMs())));
    this.#handleMs = this.#wantedMs;
    this.#handle = setTimeout(() => this.#expire(), delay);
  }

  #expire(): void {
    this.#handle = undefined;
    if (this.#clock.nowMs() < this.#wantedMs) return this.#start();
    this.#wantedMs = Number.POSITIVE_INFINITY;
    this.#fire();
  }
}
