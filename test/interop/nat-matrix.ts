/**
 * Which pairs of NATs let two nodes talk directly, and after how long: stock tailscaled and motes side by side.
 */
import { type Bench, type Case, expect } from './case.ts';
import { sleep } from './lab.ts';
import type { NatKind } from './nat-net.ts';
import { makeNatWorld, type NatNode, type NatWorld, type NodeKind, trickle, waitDirect } from './nat-nodes.ts';
import type { ProbeReport } from './probe.ts';

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

/** How long a path that can be direct may take, and how long the others are watched. */
const DIRECT_MS = 12_000;
const WATCH_MS = 5000;

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

async function rowOutcomes(world: NatWorld, row: Row, pairs: typeof PAIRS): Promise<Outcome[]> {
  return Promise.all(
    pairs.map(([from, to]) => measure(world.node(from, row.from), world.node(to, row.to), row.isPossible)),
  );
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
    for (const one of outcomes) {
      const pair = `${what}, ${one.from.kind} > ${one.to.kind}`;
      if (row.isPossible && one.direct === undefined) wrong.push(`${pair}: no direct path in ${DIRECT_MS / 1000} s`);
      if (!row.isPossible && one.direct !== undefined)
        wrong.push(`${pair}: a direct path (${one.direct.endpoint}), which the NATs cannot allow: the lab is wrong`);
      if (one.probe.answered === 0) wrong.push(`${pair}: nothing came through`);
      if (one.probe.outOfOrder > 0) wrong.push(`${pair}: ${one.probe.outOfOrder} datagrams twice or out of order`);
    }
  }
  expect(wrong.length === 0, `${wrong.join('; ')}\n        ${table(lines)}`);
  return table(lines);
}

export const matrixCases: readonly Case[] = [
  {
    name: 'matrix',
    title: 'where two stock clients find a direct path through real NATs, so do a mote and stock, and two motes',
    timeoutMs: 180_000,
    run: bench => matrix(bench, bench.ends === 'stock' ? ['stock'] : ['stock', 'mote']),
  },
];
