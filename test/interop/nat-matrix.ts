/**
 * Which pairs of NATs let two nodes talk directly, and after how long: stock tailscaled and motes side by side.
 */
import { type Bench, type Case, expect } from './case.ts';
import { sleep } from './lab.ts';
import type { NatKind } from './nat-net.ts';
import { makeNatWorld, type NatNode, type NatWorld, type NodeKind, trickle, waitDirect } from './nat-nodes.ts';
import type { ProbeReport } from './probe.ts';
import { fetchPattern } from './traffic.ts';

/** From whom to whom, the first being who speaks first. */
export const PAIRS: readonly (readonly [NodeKind, NodeKind])[] = Object.freeze([
  ['stock', 'stock'],
  ['mote', 'stock'],
  ['stock', 'mote'],
  ['mote', 'mote'],
]);

/** Two sites, and whether RFC 4787's words for them leave a way. */
interface Row {
  readonly from: string;
  readonly to: string;
  readonly isPossible: boolean;
}

const SITES: Readonly<Record<string, NatKind>> = Object.freeze({
  pub: 'none',
  ea: 'easy',
  eb: 'easy',
  ha: 'hard',
  hb: 'hard',
  blk: 'blocked',
});

const ROWS: readonly Row[] = Object.freeze([
  { from: 'pub', to: 'ea', isPossible: true },
  { from: 'ea', to: 'eb', isPossible: true },
  { from: 'ha', to: 'pub', isPossible: true },
  { from: 'ea', to: 'ha', isPossible: false },
  { from: 'ha', to: 'hb', isPossible: false },
  { from: 'ea', to: 'blk', isPossible: false },
]);

/** How long a path that can be direct is waited for, and how long the others are watched. */
const DIRECT_MS = 12_000;
const WATCH_MS = 5000;
/**
 * The longest that it may take where a mote is at one end or both, and where stock is at both: that pings an address
 * again after 5 s only, and its first ping is often too early.
 */
const MOST_MS = Object.freeze({ mote: 3000, stock: 8000 });
/** The longest until the first answer, whatever the path. */
const FIRST_MS = 1500;

/** What one pair came to. */
interface Outcome {
  readonly from: NatNode;
  readonly to: NatNode;
  readonly direct: { ms: number; endpoint: string } | undefined;
  readonly probe: ProbeReport;
}

async function measure(from: NatNode, to: NatNode, isPossible: boolean): Promise<Outcome> {
  const probe = await trickle(from, to);
  const { startMs } = (await from.side.call('probeReport', { probe })) as ProbeReport;
  const direct = await waitDirect(from, to, isPossible ? DIRECT_MS : WATCH_MS, startMs);
  // Long enough to see that the path carries what is sent.
  await sleep(1500);
  return { from, to, direct, probe: (await from.side.call('probeStop', { probe })) as ProbeReport };
}

function cell({ direct, probe }: Outcome): string {
  const path = direct === undefined ? 'relay' : `direct ${(direct.ms / 1000).toFixed(1)} s`;
  return `${path}, first ${probe.firstMs} ms, ${probe.answered}/${probe.sent}`;
}

/** Lines of a table whose columns are as wide as they must be. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map(row => row[column]!.length)));
  const line = (row: readonly string[]) => row.map((text, column) => text.padEnd(widths[column]!)).join(' | ');
  return rows.map(row => line(row).trimEnd()).join('\n        ');
}

/** Bytes that are under way while the path changes. */
const MOVED_BYTES = 1_000_000;

async function rowOutcomes(world: NatWorld, row: Row, pairs: typeof PAIRS): Promise<Outcome[]> {
  const outcomes = pairs.map(async ([a, b]) => {
    const [from, to] = [world.node(a, row.from), world.node(b, row.to)];
    // Begins on the relay and ends on the direct path, should there be one; fails unless each byte is in its place.
    const [outcome] = await Promise.all([
      measure(from, to, row.isPossible),
      fetchPattern(from.side, to.address, MOVED_BYTES),
    ]);
    return outcome;
  });
  return Promise.all(outcomes);
}

/** `tailscale ping` from stock to every node at the other site of a row that is direct: all must answer directly. */
async function directPings(world: NatWorld, row: Row, kinds: readonly NodeKind[]): Promise<string[]> {
  const stock = world.node('stock', row.from);
  const pongs: string[] = [];
  for (const kind of kinds) {
    const { name } = world.node(kind, row.to);
    const pong = await stock.stock!.ping(name, 'disco');
    expect(/ via 10\.77\.0\.\d+:\d+ /.test(pong), `tailscale ping ${name} was not answered directly: ${pong}`);
    pongs.push(pong);
  }
  return pongs;
}

/** What is wrong with a pair, in words. */
function complaints(row: Row, { from, to, direct, probe }: Outcome): string[] {
  const said: string[] = [];
  const mostMs = from.kind === 'stock' && to.kind === 'stock' ? MOST_MS.stock : MOST_MS.mote;
  if (row.isPossible && direct === undefined) said.push(`no direct path in ${DIRECT_MS / 1000} s`);
  if (row.isPossible && direct !== undefined && direct.ms > mostMs)
    said.push(`direct after ${direct.ms} ms, expected ${mostMs} at most`);
  if (!row.isPossible && direct !== undefined)
    said.push(`a direct path (${direct.endpoint}), which the NATs cannot allow: the lab is wrong`);
  if (probe.firstMs < 0 || probe.firstMs > FIRST_MS) said.push(`first answer after ${probe.firstMs} ms`);
  if (probe.duplicates > 0) said.push(`${probe.duplicates} datagrams came twice`);
  return said.map(text => `${SITES[row.from]} > ${SITES[row.to]}, ${from.kind} > ${to.kind}: ${text}`);
}

async function matrix(bench: Bench, kinds: readonly NodeKind[]): Promise<string> {
  const pairs = PAIRS.filter(pair => pair.every(kind => kinds.includes(kind)));
  const world = await makeNatWorld(bench, { sites: SITES, kinds });
  const lines: string[][] = [['NAT', ...pairs.map(pair => pair.join(' > '))]];
  const wrong: string[] = [];
  for (const row of ROWS) {
    const outcomes = await rowOutcomes(world, row, pairs);
    const what = `${SITES[row.from]} > ${SITES[row.to]}`;
    lines.push([what, ...outcomes.map(cell)]);
    wrong.push(...outcomes.flatMap(one => complaints(row, one)));
  }
  expect(wrong.length === 0, `${wrong.join('; ')}\n        ${table(lines)}`);
  const pongs = await directPings(world, ROWS[1]!, kinds);
  return [table(lines), ...pongs.map(pong => `tailscale ping: ${pong}`)].join('\n        ');
}

export const matrixCases: readonly Case[] = [
  {
    name: 'matrix',
    title: 'where two stock clients find a direct path through real NATs, so do a mote and stock, and two motes',
    timeoutMs: 180_000,
    run: bench => matrix(bench, bench.ends === 'stock' ? ['stock'] : ['stock', 'mote']),
  },
];
