/**
 * A steady trickle of numbered datagrams to an echo, and what became of each: how interop cases see a path come, go and
 * come back, from inside the tunnel.
 *
 * Times are of the wall clock, so that programs of one machine can compare them. Left out: anything about throughput.
 */
import type { UdpFace } from './peer-program.ts';

const PROBE_BYTES = 64;

/** What became of the datagrams; times in ms. */
export interface ProbeReport {
  readonly sent: number;
  readonly answered: number;
  /** Datagrams that came back once more. */
  readonly duplicates: number;
  /** When the first datagram (since the asked time) was sent, wall clock. */
  readonly startMs: number;
  /** From there to the first answer to a datagram of that time; -1 when there was none. */
  readonly firstMs: number;
  /** Longest time between two answers, the time after the last one counted. */
  readonly longestGapMs: number;
  /** Middle and worst round trip of the answered ones; -1 when there was none. */
  readonly medianMs: number;
  readonly worstMs: number;
}

/** One trickle. */
export class Probe {
  readonly #socket: UdpFace;
  readonly #sentMs: number[] = [];
  readonly #backMs: number[] = [];
  readonly #again: number[] = [];
  readonly #timer: NodeJS.Timeout;

  constructor(socket: UdpFace, to: { address: string; port: number }, everyMs: number) {
    this.#socket = socket;
    const send = () => {
      const data = Buffer.alloc(PROBE_BYTES);
      data.writeUInt32BE(this.#sentMs.length);
      this.#sentMs.push(Date.now());
      socket.send(data, to);
    };
    this.#timer = setInterval(send, everyMs);
    send();
    void this.#listen();
  }

  async #listen(): Promise<void> {
    for (;;) {
      const got = await this.#socket.receive();
      if (got === undefined) return;
      const number = Buffer.from(got.data).readUInt32BE();
      if (this.#backMs[number] !== undefined) this.#again.push(number);
      this.#backMs[number] ??= Date.now();
    }
  }

  /** About the datagrams sent since a time of the wall clock; those of the last second only if they were answered. */
  report(sinceMs: number): ProbeReport {
    const from = this.#sentMs.findIndex(ms => ms >= sinceMs);
    if (from < 0) {
      const none = { sent: 0, answered: 0, duplicates: 0, longestGapMs: 0 };
      return { ...none, startMs: sinceMs, firstMs: -1, medianMs: -1, worstMs: -1 };
    }
    const nowMs = Date.now();
    const startMs = this.#sentMs[from]!;
    const trips: number[] = [];
    const backs: number[] = [];
    let sent = 0;
    for (let i = from; i < this.#sentMs.length; i++) {
      const back = this.#backMs[i];
      if (back !== undefined) {
        trips.push(back - this.#sentMs[i]!);
        backs.push(back);
      }
      if (back !== undefined || nowMs - this.#sentMs[i]! > 1000) sent++;
    }
    trips.sort((a, b) => a - b);
    backs.sort((a, b) => a - b);
    let longestGapMs = 0;
    let previous = startMs;
    for (const ms of [...backs, nowMs]) {
      longestGapMs = Math.max(longestGapMs, ms - previous);
      previous = ms;
    }
    return {
      sent,
      answered: trips.length,
      duplicates: this.#again.filter(number => number >= from).length,
      startMs,
      firstMs: backs.length === 0 ? -1 : backs[0]! - startMs,
      longestGapMs,
      medianMs: trips[trips.length >> 1] ?? -1,
      worstMs: trips.at(-1) ?? -1,
    };
  }

  /** Ends it. */
  stop(): ProbeReport {
    clearInterval(this.#timer);
    const report = this.report(0);
    void this.#socket.close();
    return report;
  }
}
