/**
 * A check without a mote: where a coordinator's relays are, and how far, from a socket of its own.
 *
 * The map of relays is public (`/derpmap/default`). Redirects are not followed: they would lead to another coordinator
 * than the one that was named.
 */
import { regionEntryOf } from '../../lib/control/map-values.ts';
import { MAP_LIMITS_LARGE } from '../../lib/control/map-limits.ts';
import type { JsonValue } from '../../lib/control/json-collector.ts';
import { RegionTable } from '../../lib/derp/region-table.ts';
import { Slot } from '../../lib/base/slot.ts';
import { Netcheck } from '../../lib/netcheck/netcheck.ts';
import { familiesOf } from '../../lib/netcheck/servers.ts';
import { type NetcheckStatus, netcheckStatus } from '../../lib/netcheck/summary.ts';
import type { Datagrams, DatagramSink, Host } from '../../lib/ports.ts';
import { BINDING_REQUEST_BYTES, isStun } from '../../lib/stun/message.ts';
import { messageOf, RunError } from './errors.ts';

/** Longest map: a thousand relays. */
const MAP_LIMIT_BYTES = 1 << 20;
const MAP_TIMEOUT_MS = 15_000;

/** The relays of a coordinator. Rejects with {@link RunError} where it does not tell. */
export async function fetchRegions(control: string): Promise<RegionTable> {
  const url = `${control.replace(/\/+$/, '')}/derpmap/default`;
  let text: string;
  try {
    const response = await fetch(url, { redirect: 'error', signal: AbortSignal.timeout(MAP_TIMEOUT_MS) });
    if (!response.ok) {
      await response.body?.cancel();
      throw new RunError(`${control} does not say where its relays are (status ${response.status}): ${NEXT_STEP}`);
    }
    text = await readText(response);
  } catch (error) {
    if (error instanceof RunError) throw error;
    throw new RunError(`cannot ask ${control} for its relays: ${messageOf(causeOf(error))}`, { cause: error });
  }
  const regions = parseRegions(text);
  if (regions === undefined) throw new RunError(`${control} does not say where its relays are: ${NEXT_STEP}`);
  return regions;
}

const NEXT_STEP = 'join it with `motenet up`, then `motenet netcheck` without --control';

/** `fetch` says only "fetch failed"; the cause says why. */
function causeOf(error: unknown): unknown {
  return error instanceof TypeError && error.cause !== undefined ? error.cause : error;
}

async function readText(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length;
    if (bytes > MAP_LIMIT_BYTES) throw new RunError(`the map of relays has more than ${MAP_LIMIT_BYTES} bytes`); // CHECK: netcheck-map-length
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** The regions of a map that are well-formed; undefined when it is no map. */
export function parseRegions(text: string): RegionTable | undefined {
  let entries: [string, JsonValue][];
  try {
    const map = JSON.parse(text) as { Regions?: Record<string, JsonValue> } | null;
    if (typeof map?.Regions !== 'object' || map.Regions === null) return undefined;
    entries = Object.entries(map.Regions).slice(0, MAP_LIMITS_LARGE.regions);
  } catch {
    return undefined;
  }
  const regions = new RegionTable();
  for (const [key, value] of entries) {
    const region = regionEntryOf(key, value, MAP_LIMITS_LARGE);
    if (region !== undefined) regions.put(region);
  }
  return regions;
}

/** One full check of these regions, from a socket of a port of its own. */
export async function measure(host: Host, regions: RegionTable): Promise<NetcheckStatus> {
  const run = new Run(host, regions);
  try {
    return await run.start();
  } finally {
    run.close();
  }
}

/** Binds the machine to a host for one report. */
class Run implements DatagramSink {
  readonly #host: Host;
  readonly #regions: RegionTable;
  readonly #netcheck: Netcheck;
  readonly #timer;
  readonly #slot = new Slot(BINDING_REQUEST_BYTES);
  #socket: Datagrams | undefined;
  #resolve: (status: NetcheckStatus) => void = () => undefined;
  #reject: (error: Error) => void = () => undefined;

  constructor(host: Host, regions: RegionTable) {
    this.#host = host;
    this.#regions = regions;
    const nowMs = host.clock.nowMs();
    this.#netcheck = new Netcheck({ nowMs, random: host.random });
    this.#netcheck.setRegions(nowMs, regions);
    this.#timer = host.createTimer(() => {
      this.#netcheck.handleTimeout(host.clock.nowMs());
      this.#drain();
    });
  }

  async start(): Promise<NetcheckStatus> {
    const { hasV4, hasV6 } = familiesOf(this.#host.interfaces?.() ?? []);
    this.#netcheck.setFamilies(hasV4, hasV6);
    const done = new Promise<NetcheckStatus>((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    done.catch(() => undefined);
    this.#socket = await this.#host.openDatagrams({ port: 0 }, this);
    this.#netcheck.start(this.#host.clock.nowMs());
    this.#drain();
    return done;
  }

  close(): void {
    this.#timer.cancel();
    this.#socket?.close();
    this.#socket = undefined;
  }

  datagram(buf: Uint8Array, start: number, end: number, from: { address: string; port: number }): void {
    if (!isStun(buf, start, end)) return;
    this.#netcheck.handleStun(this.#host.clock.nowMs(), buf, start, end, from);
    this.#drain();
  }

  failed(error: Error): void {
    this.#reject(error);
  }

  #drain(): void {
    const nowMs = this.#host.clock.nowMs();
    for (let name = this.#netcheck.pollResolve(); name !== undefined; name = this.#netcheck.pollResolve())
      this.#look(name);
    while (this.#netcheck.pollTransmit(nowMs, this.#slot)) {
      const { buf, start, end, to } = this.#slot;
      this.#socket?.send(buf, start, end, to!);
    }
    const report = this.#netcheck.pollEvent()?.report;
    if (report !== undefined) this.#resolve(netcheckStatus(report, this.#regions));
    else this.#timer.arm(this.#netcheck.nextTimeout());
  }

  #look(name: string): void {
    const answer = (addresses: readonly string[]) => {
      if (this.#socket === undefined) return;
      this.#netcheck.handleResolved(this.#host.clock.nowMs(), name, addresses);
      this.#drain();
    };
    this.#host.resolve(name).then(answer, () => answer([]));
  }
}
