/** Helpers of the netcheck tests: relay maps, and a world of STUN servers on a virtual clock. */
import type { Endpoint } from '../../lib/base/address.ts';
import { Slot } from '../../lib/base/slot.ts';
import type { WireDerpNode, WireDerpRegion } from '../../lib/derp/map.ts';
import { RegionTable } from '../../lib/derp/region-table.ts';
import { NETCHECK_LIMITS_LARGE, type NetcheckLimits, type NetcheckReport } from '../../lib/netcheck/limits.ts';
import { Netcheck } from '../../lib/netcheck/netcheck.ts';
import { parseBindingRequest, writeBindingResponse } from '../../lib/stun/message.ts';
import { Seeded } from '../crypto/support.ts';

/** A region whose relay has the addresses 10.0.0.ID and 2001:db8::ID. */
export function region(
  id: number,
  node: Partial<WireDerpNode> = {},
  more: Partial<WireDerpRegion> = {},
): WireDerpRegion {
  return {
    RegionID: id,
    RegionCode: `r${id}`,
    RegionName: `Region ${id}`,
    Nodes: [
      {
        Name: `${id}a`,
        RegionID: id,
        HostName: `relay${id}.example`,
        IPv4: `10.0.0.${id}`,
        IPv6: `2001:db8::${id}`,
        ...node,
      },
    ],
    ...more,
  };
}

/** A map of regions by id. */
export function mapOf(...regions: readonly WireDerpRegion[]): RegionTable {
  return RegionTable.of(...regions);
}

/** A request that left. */
export interface Sent {
  readonly atMs: number;
  readonly to: Endpoint;
  readonly request: Uint8Array;
}

/** How a server answers: after `latencyMs`, naming `seen`; undefined: not at all. */
export interface Reply {
  readonly latencyMs: number;
  readonly seen?: Endpoint;
}

/** Where everybody sees this machine unless a test says otherwise. */
export const SEEN_V4: Endpoint = Object.freeze({ address: '198.51.100.7', port: 41_000 });
export const SEEN_V6: Endpoint = Object.freeze({ address: '2001:db8:7::7', port: 41_641 });

/** A machine, its servers, and time. */
export class World {
  nowMs = 1000;
  readonly check: Netcheck;
  readonly sent: Sent[] = [];
  readonly reports: NetcheckReport[] = [];
  /** How the server at an address answers; by default none does. */
  reply: (to: Endpoint, tries: number) => Reply | undefined = () => undefined;
  readonly #slot = new Slot(100);
  readonly #arriving: { atMs: number; bytes: Uint8Array; from: Endpoint }[] = [];

  constructor(limits: Partial<NetcheckLimits> = {}) {
    const seeded = new Seeded(9);
    const random = (out: Uint8Array) => out.set(seeded.bytes(out.length));
    this.check = new Netcheck({ nowMs: this.nowMs, random, limits: { ...NETCHECK_LIMITS_LARGE, ...limits } });
  }

  /** Every region's server answers after so many ms on IPv4, and IPv6 if told. */
  latencies(v4: Readonly<Record<number, number>>, v6: Readonly<Record<number, number>> = {}): void {
    this.reply = ({ address }) => {
      const isV6 = address.includes(':');
      const id = Number(address.split(isV6 ? ':' : '.').at(-1));
      const latencyMs = (isV6 ? v6 : v4)[id];
      return latencyMs === undefined ? undefined : { latencyMs };
    };
  }

  /** Sends what is due now. */
  flush(): Sent[] {
    const out: Sent[] = [];
    while (this.check.pollTransmit(this.nowMs, this.#slot)) {
      const { buf, start, end, to } = this.#slot;
      const sent = { atMs: this.nowMs, to: to!, request: buf.slice(start, end) };
      out.push(sent);
      this.sent.push(sent);
      const tries = this.sent.filter(each => each.to.address === to!.address).length;
      const reply = this.reply(to!, tries);
      if (reply === undefined) continue;
      const bytes = answerTo(sent, reply.seen ?? (to!.address.includes(':') ? SEEN_V6 : SEEN_V4));
      this.#arriving.push({ atMs: this.nowMs + reply.latencyMs, bytes, from: to! });
    }
    this.#collect();
    return out;
  }

  /** Lets time pass, event by event. */
  advance(ms: number): void {
    const untilMs = this.nowMs + ms;
    this.flush();
    for (let steps = 0; ; steps++) {
      if (steps > 10_000) throw new Error('the machine does not rest');
      const arrival = this.#arriving.reduce((least, { atMs }) => Math.min(least, atMs), Number.POSITIVE_INFINITY);
      const atMs = Math.min(arrival, this.check.nextTimeout());
      if (atMs > untilMs) break;
      this.nowMs = Math.max(this.nowMs, atMs);
      for (const each of this.#arriving.filter(({ atMs }) => atMs <= this.nowMs)) {
        this.#arriving.splice(this.#arriving.indexOf(each), 1);
        this.check.handleStun(this.nowMs, each.bytes, 0, each.bytes.length, each.from);
      }
      this.check.handleTimeout(this.nowMs);
      this.flush();
    }
    this.nowMs = untilMs;
  }

  /** One whole check; gives its report. */
  run(): NetcheckReport {
    const { length } = this.reports;
    this.check.start(this.nowMs);
    this.advance(6000);
    if (this.reports.length !== length + 1) throw new Error(`${this.reports.length - length} reports of one check`);
    return this.reports.at(-1)!;
  }

  /** `ADDRESS@MS` of what was sent since, in order; the times count from `sinceMs`. */
  sentTexts(sinceMs: number): string[] {
    return this.sent
      .filter(({ atMs }) => atMs >= sinceMs)
      .map(({ to, atMs }) => `${to.address}@${Math.round(atMs - sinceMs)}`);
  }

  #collect(): void {
    for (let event = this.check.pollEvent(); event !== undefined; event = this.check.pollEvent())
      this.reports.push(event.report);
  }
}

/** The answer of the server to a request. */
export function answerTo({ request }: Sent, seen: Endpoint): Uint8Array {
  const out = new Uint8Array(44);
  const idOffset = parseBindingRequest(request, 0, request.length);
  return out.slice(0, writeBindingResponse(out, 0, request, idOffset, seen.address, seen.port));
}
