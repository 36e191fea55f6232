/**
 * What a coordinator can carry: 100, 1,000 and 5,000 devices in one process, without sockets and without a disk; then
 * 1,000 over real sockets and with its database (coordinator-sockets.ts, Linux only).
 *
 * Each size runs in a process of its own. Devices join while 20 fixed viewers stream their maps; then devices change their
 * endpoints, with the 20 viewers told of each change, and after that with every device as a viewer (`mesh`). The cost of
 * a change is to grow with the viewers and with nothing else: `flatness` is the largest cost with 20 viewers divided by the
 * smallest, `mesh.cpuPerViewerUs` what a viewer of the full mesh costs. Times are of this process only: the pause of up
 * to 100 ms that gathers changes is no work, and left out by virtual clocks.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { SizeFigures } from './coordinator-inner.ts';
import { measureSockets, type SocketFigures } from './coordinator-sockets.ts';

const SIZES = Object.freeze([100, 1000, 5000]);
/** Sizes take turns, and a figure is the median of the rounds: a machine may be busy with something else for a while. */
const ROUNDS = 3;
const TIMEOUT_MS = 600_000;
const SOCKET_NODES = 1000;

/** What {@link bench} takes. */
export interface BenchOptions {
  /** Fewer updates in one round, for CI. */
  readonly isShort?: boolean;
}

/** What {@link bench} gives. */
export interface CoordinatorFigures {
  readonly sizes: readonly SizeFigures[];
  /** Largest cost of an update with 20 viewers over the smallest, of all sizes. */
  readonly flatness: number;
  /** Processor time per update and viewer in the full mesh, by number of devices, in microseconds. */
  readonly meshCpuPerViewerUs: Readonly<Record<string, number>>;
  readonly rounds: number;
  /** Over real sockets, with `motenet serve` in a process of its own; absent where Linux is not. */
  readonly sockets?: SocketFigures;
  readonly [extra: string]: unknown;
}

function runSize(nodes: number, isShort: boolean): SizeFigures {
  const file = fileURLToPath(new URL('coordinator-inner.ts', import.meta.url));
  const args = ['--expose-gc', '--import', import.meta.resolve('tsx'), file, String(nodes)];
  const child = spawnSync(process.execPath, [...args, ...(isShort ? ['--short'] : [])], {
    encoding: 'utf8',
    timeout: TIMEOUT_MS,
  });
  if (child.status !== 0) throw new Error(`${nodes} devices: ${child.stderr.trim() || 'took too long'}`);
  process.stderr.write(child.stdout);
  return JSON.parse(child.stdout) as SizeFigures;
}

/** The median of each figure. */
function medians<T extends object>(runs: readonly T[]): T {
  const entries = Object.entries(runs[0]!).map(([name, value]) => {
    const values = runs.map(run => (run as Record<string, unknown>)[name]);
    if (typeof value === 'object') return [name, medians(values as object[])];
    return [name, (values as number[]).sort((a, b) => a - b)[values.length >> 1]];
  });
  return Object.fromEntries(entries) as T;
}

/** Measures all sizes. */
export async function bench(options: BenchOptions = {}): Promise<CoordinatorFigures> {
  const isShort = options.isShort === true;
  const rounds = isShort ? 1 : ROUNDS;
  const runs: SizeFigures[][] = SIZES.map(() => []);
  for (let i = 0; i < rounds; i++) SIZES.forEach((nodes, at) => void runs[at]!.push(runSize(nodes, isShort)));
  const sizes = runs.map(medians);
  const costs = sizes.map(({ cpuPerUpdateUs }) => cpuPerUpdateUs);
  const sockets = process.platform === 'linux' ? await measureSockets(SOCKET_NODES, isShort) : undefined;
  const perViewer = sizes.map(({ nodes, mesh }) => [String(nodes), Number((mesh.cpuPerUpdateUs / nodes).toFixed(2))]);
  return {
    sizes,
    flatness: Number((Math.max(...costs) / Math.min(...costs)).toFixed(2)),
    meshCpuPerViewerUs: Object.fromEntries(perViewer),
    rounds,
    ...(sockets === undefined ? {} : { sockets }),
  };
}
