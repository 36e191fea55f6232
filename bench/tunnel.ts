/**
 * How fast the tunnel is: TCP from application to application through two motes in two Node processes, beside plain UDP
 * datagrams of the same size between two Node processes and two stock wireguard-go peers under iperf3 with cubic. All use
 * the same virtual cable between two namespaces, take turns, and run in both directions; every figure is a median.
 *
 * Beside it, in one process: packets sealed and handshakes per second, allocation per packet, memory per idle peer
 * (tunnel-inner.ts). Needs root, wireguard-go, wg and iperf3, as `npm run interop` does. On a Linux that is busy with
 * something else: `setsid -w sh -c 'echo -19 > /proc/self/autogroup; npm run bench -- tunnel'`.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { Remote, TSX } from '../test/interop/json-lines.ts';
import { disposeAllSync, Lab, type Namespace, sleep, sweep, until } from '../test/interop/lab.ts';
import { findProgram, newestWireguardGo, whatIsMissing, wireguardGoVersion } from '../test/interop/programs.ts';
import { type KeyPair, makeKeys, StockPeer } from '../test/interop/stock.ts';

/** What {@link bench} takes. */
export interface BenchOptions {
  /** Shorter measurements, for CI. */
  readonly isShort?: boolean;
}

/** Medians of one kind of run, Mbit/s of payload. */
export interface Directions {
  readonly there: number;
  readonly back: number;
  /** Median of both directions' samples. */
  readonly both: number;
}

/** What {@link bench} gives. Rates are Mbit/s of application bytes. */
export interface TunnelFigures {
  readonly mbps: number;
  readonly rawUdpMbps: number;
  /** mbps / wireguardGoMbps. */
  readonly ratio: number;
  readonly wireguardGoMbps: number;
  readonly sealPerSec: number;
  readonly handshakesPerSec: number;
  readonly allocBytesPerPacket: number;
  readonly bytesPerIdlePeer: number;
  readonly directions: Readonly<Record<string, Directions>>;
  /** Versions of wireguard-go by the name of their row in `directions`. */
  readonly versions: Readonly<Record<string, string>>;
  readonly suite: string;
  readonly rounds: number;
  readonly [extra: string]: unknown;
}

const OUTER = Object.freeze({ there: '10.9.0.1', back: '10.9.0.2' });
/** A full inner packet of 1420 bytes, sealed. */
const DATAGRAM_BYTES = 1452;
const ROUNDS = 5;
const WARM_MS = 700;

type Direction = 'there' | 'back';

/** One contender: measures one direction for some time. */
interface Contender {
  readonly name: string;
  measure(direction: Direction, ms: number): Promise<number>;
}

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** The middle of the values. */
export function median(values: readonly number[]): number {
  const sorted = values.slice().sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
}

/** `there` flows from the first namespace to the second. */
class Motes implements Contender {
  readonly name = 'motenet';
  readonly #ends: { there: Remote; back: Remote };
  #port = 7000;

  private constructor(ends: { there: Remote; back: Remote }) {
    this.#ends = ends;
  }

  static async open(lab: Lab, near: Namespace, far: Namespace): Promise<Motes> {
    const keys = [await makeKeys(lab), await makeKeys(lab)];
    const ends = { there: startEnd(lab, near), back: startEnd(lab, far) };
    const options = (self: number, inner: string, other: string, endpoint: string) => ({
      privateKey: keys[self]!.privateKey,
      addresses: [`${inner}/24`],
      listenPort: 5100,
      peers: [{ publicKey: keys[1 - self]!.publicKey, endpoint: `${endpoint}:5100`, allowedIPs: [`${other}/32`] }],
    });
    await ends.there.call('open', { options: options(0, '10.66.0.2', '10.66.0.1', OUTER.there) });
    await ends.back.call('open', { options: options(1, '10.66.0.1', '10.66.0.2', OUTER.back) });
    return new Motes(ends);
  }

  async measure(direction: Direction, ms: number): Promise<number> {
    const { there, back } = this.#ends;
    const [from, to, host] = direction === 'there' ? [there, back, '10.66.0.1'] : [back, there, '10.66.0.2'];
    const port = this.#port++;
    await to.call('sink', { port });
    await from.call('source', { host, port });
    await sleep(WARM_MS);
    const { mbps } = await to.call('measure', { ms });
    await from.call('stop');
    await sleep(200);
    return mbps;
  }

  facts(): Promise<{ suite: string; rss: number }> {
    return this.#ends.there.call('facts') as Promise<{ suite: string; rss: number }>;
  }
}

function startEnd(lab: Lab, space: Namespace): Remote {
  return new Remote(lab, space, fileURLToPath(new URL('tunnel-end.ts', import.meta.url)));
}

/** Plain datagrams, as many as get through. Each run has fresh processes, so that neither end is warmer than the other. */
class PlainUdp implements Contender {
  readonly name = 'rawUdp';
  readonly #ends: { there: Remote; back: Remote };
  #port = 6000;

  constructor(lab: Lab, near: Namespace, far: Namespace) {
    this.#ends = { there: startEnd(lab, near), back: startEnd(lab, far) };
  }

  async measure(direction: Direction, ms: number): Promise<number> {
    const { there, back } = this.#ends;
    const [from, to, host] = direction === 'there' ? [there, back, OUTER.there] : [back, there, OUTER.back];
    const port = this.#port++;
    await to.call('udpSink', { port });
    await from.call('udpSource', { host, port, bytes: DATAGRAM_BYTES });
    await sleep(WARM_MS);
    const { mbps } = await to.call('measure', { ms });
    await from.call('stop');
    await sleep(100);
    return mbps;
  }
}

/** Two wireguard-go peers under iperf3. */
class Stock implements Contender {
  readonly name: string;
  readonly #lab: Lab;
  readonly #near: Namespace;
  readonly #host: string;

  private constructor(lab: Lab, name: string, near: Namespace, host: string) {
    this.#lab = lab;
    this.name = name;
    this.#near = near;
    this.#host = host;
  }

  /** `index` keeps the ports and inner networks of several versions apart. */
  static async open(
    lab: Lab,
    near: Namespace,
    far: Namespace,
    o: { name: string; binary: string; index: number },
  ): Promise<Stock> {
    const keys: KeyPair[] = [await makeKeys(lab), await makeKeys(lab)];
    const net = `10.7${o.index}.0`;
    const listenPort = 5200 + o.index;
    const make = async (space: Namespace, self: number, inner: string, other: string, endpoint: string) => {
      const { privateKey } = keys[self]!;
      const peer = new StockPeer(space, { privateKey, listenPort, addresses: [`${inner}/24`], binary: o.binary });
      await peer.start();
      await peer.setPeer({
        publicKey: keys[1 - self]!.publicKey,
        endpoint: `${endpoint}:${listenPort}`,
        allowedIPs: [`${other}/32`],
      });
    };
    await make(near, 0, `${net}.2`, `${net}.1`, OUTER.there);
    await make(far, 1, `${net}.1`, `${net}.2`, OUTER.back);
    const server = lab.start(far, ['iperf3', '-s', '--forceflush', '-B', `${net}.1`], { name: 'iperf3' });
    await until('iperf3 listens', 5000, () => /Server listening/.test(server.stdout));
    return new Stock(lab, o.name, near, `${net}.1`);
  }

  async measure(direction: Direction, ms: number): Promise<number> {
    const args = ['-c', this.#host, '-C', 'cubic', '-O', '1', '-t', `${Math.max(1, Math.round(ms / 1000))}`, '-J'];
    const command = ['iperf3', ...args, ...(direction === 'there' ? [] : ['-R'])];
    const { stdout } = await this.#lab.run(this.#near, command, { timeoutMs: ms + 20_000 });
    return JSON.parse(stdout).end.sum_received.bits_per_second / 1e6;
  }
}

/** Mbit/s of each run, in the order of the rounds. */
interface Samples {
  readonly there: number[];
  readonly back: number[];
}

/** Takes turns between the contenders, so that whatever else the machine does hits all alike. */
async function takeTurns(
  contenders: readonly Contender[],
  rounds: number,
  ms: number,
): Promise<Record<string, Samples>> {
  const samples: Record<string, Samples> = {};
  for (const { name } of contenders) samples[name] = { there: [], back: [] };
  for (let round = 1; round <= rounds; round++)
    for (const direction of ['there', 'back'] as const) {
      const line: string[] = [];
      for (const contender of contenders) {
        const mbps = await contender.measure(direction, ms);
        samples[contender.name]![direction].push(mbps);
        line.push(`${contender.name} ${Math.round(mbps)}`);
      }
      say(`round ${round} of ${rounds}, ${direction}: ${line.join(', ')} Mbit/s`);
    }
  return samples;
}

function round(value: number, digits: number): number {
  return Math.round(value * 10 ** digits) / 10 ** digits;
}

function medians({ there, back }: Samples): Directions {
  return { there: round(median(there), 1), back: round(median(back), 1), both: round(median([...there, ...back]), 1) };
}

/** The median of the ratios of two runs that came right after each other: less moved by what else the machine does. */
function pairedRatio(ours: Samples, theirs: Samples): number {
  const ratios = [
    ...ours.there.map((mbps, i) => mbps / theirs.there[i]!),
    ...ours.back.map((mbps, i) => mbps / theirs.back[i]!),
  ];
  return round(median(ratios), 3);
}

interface InnerFigures {
  readonly sealPerSec: number;
  readonly handshakesPerSec: number;
  readonly allocBytesPerPacket: number;
  readonly bytesPerIdlePeer: number;
}

/** Runs one in-process measurement in a child of its own, where the collector can be called and kept away. */
function measureInner(what: string, isShort: boolean): InnerFigures {
  const file = fileURLToPath(new URL('tunnel-inner.ts', import.meta.url));
  const flags = ['--expose-gc', '--min-semi-space-size=512', '--max-semi-space-size=512', '--import', TSX];
  const args = [...flags, file, what, ...(isShort ? ['--short'] : [])];
  const child = spawnSync(process.execPath, args, { encoding: 'utf8', timeout: 300_000 });
  if (child.status !== 0) throw new Error(`${what}: ${child.stderr.trim()}`);
  say(child.stdout.trim());
  return JSON.parse(child.stdout);
}

/** Measures everything; throws with one line when a program or right is missing. */
export async function bench(options: BenchOptions = {}): Promise<TunnelFigures> {
  const missing = whatIsMissing(['ip', 'setpriv', 'wg', 'iperf3', 'wireguard-go']);
  if (missing !== undefined) throw new Error(missing);
  if (process.getuid?.() !== 0) throw new Error('the tunnel bench makes network namespaces, run it as root');
  sweep();
  const isShort = options.isShort === true;
  let inner = {} as InnerFigures;
  for (const what of ['seal', 'handshakes', 'alloc', 'idle']) inner = { ...inner, ...measureInner(what, isShort) };
  const lab = new Lab({ isOneSession: true });
  const stop = () => {
    disposeAllSync();
    process.exit(130);
  };
  process.once('SIGINT', stop);
  process.once('exit', disposeAllSync);
  try {
    const near = await lab.namespace('near');
    const far = await lab.namespace('far');
    await lab.cable(near, far, { left: ['10.9.0.2/24'], right: ['10.9.0.1/24'] });
    const newest = newestWireguardGo()!;
    const debian = findProgram('wireguard-go');
    const versions: Record<string, string> = { wireguardGo: wireguardGoVersion(newest) };
    const motes = await Motes.open(lab, near, far);
    const contenders: Contender[] = [
      motes,
      new PlainUdp(lab, near, far),
      await Stock.open(lab, near, far, { name: 'wireguardGo', binary: newest, index: 0 }),
    ];
    if (debian !== undefined && wireguardGoVersion(debian) !== versions.wireguardGo) {
      versions.wireguardGoDebian = wireguardGoVersion(debian);
      contenders.push(await Stock.open(lab, near, far, { name: 'wireguardGoDebian', binary: debian, index: 1 }));
    }
    const samples = await takeTurns(contenders, ROUNDS, isShort ? 1000 : 4000);
    const directions: Record<string, Directions> = {};
    for (const { name } of contenders) directions[name] = medians(samples[name]!);
    const { suite, rss } = await motes.facts();
    const mbps = directions.motenet!.both;
    const wireguardGoMbps = directions.wireguardGo!.both;
    return {
      mbps,
      rawUdpMbps: directions.rawUdp!.both,
      ratio: round(mbps / wireguardGoMbps, 3),
      wireguardGoMbps,
      pairedRatio: pairedRatio(samples.motenet!, samples.wireguardGo!),
      ...inner,
      directions,
      versions,
      suite,
      rssMB: round(rss / 1e6, 1),
      rounds: ROUNDS,
    };
  } finally {
    process.off('SIGINT', stop);
    process.off('exit', disposeAllSync);
    await lab.dispose();
  }
}
