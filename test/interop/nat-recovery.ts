/**
 * What happens to a path that was direct when something breaks underneath: stock tailscaled and motes side by side, in
 * one world, hit by the same blow.
 *
 * Every pair keeps a trickle of datagrams going. The gap is the longest time without an answer from the blow on (from its
 * end, if the blow itself silences); `direct` is when, counted from its end, the speaker sends directly and only so.
 */
import { type Bench, type Case, expect } from './case.ts';
import { sleep } from './lab.ts';
import { PAIRS, table } from './nat-matrix.ts';
import { makeNatWorld, type NatNode, type NatWorld, type NodeKind, trickle, waitDirect } from './nat-nodes.ts';
import type { ProbeReport } from './probe.ts';

const EVERY_MS = 100;

/** One pair with its trickle. */
interface Flow {
  readonly from: NatNode;
  readonly to: NatNode;
  readonly probe: number;
}

/** One blow, and what is asked of the flows afterwards. */
interface Step {
  readonly name: string;
  /** Does it; settles when all is as it will stay. */
  readonly blow: (world: NatWorld) => Promise<void>;
  /** Whether a direct path is possible afterwards. */
  readonly isDirect: boolean;
  /** What a direct path has to lead to afterwards. */
  readonly endpoint?: RegExp;
  /** The blow itself silences, so that time counts from its end. */
  readonly isSilence?: boolean;
  /** The path and the traffic have to be back after this long. */
  readonly timeoutMs: number;
  /** Watched for at least this long after the blow. */
  readonly watchMs?: number;
  /** Share of datagrams that must be answered from the blow on. */
  readonly share?: number;
  /** The blow strikes by chance, each flow otherwise: the longest silence that any may have. */
  readonly mostGapMs?: number;
  /** How much of a silence is chance: where in the time between two heartbeats of its flow the blow strikes. */
  readonly chanceMs?: number;
}

/** What a blow did to a flow. */
interface Effect {
  readonly flow: Flow;
  /** Longest silence from the blow, or its end, on. */
  readonly gapMs: number;
  /** From the end of the blow to the first answer to a datagram sent after it; undefined when none came. */
  readonly backMs: number | undefined;
  /** From the end of the blow to a direct path; undefined when there is none. */
  readonly directMs: number | undefined;
  readonly report: ProbeReport;
}

async function report(flow: Flow, sinceMs: number): Promise<ProbeReport> {
  return (await flow.from.side.call('probeReport', { probe: flow.probe, sinceMs })) as ProbeReport;
}

async function effect(flow: Flow, step: Step, times: { beginMs: number; endMs: number }): Promise<Effect> {
  const { beginMs, endMs } = times;
  const deadlineMs = endMs + step.timeoutMs;
  let after = await report(flow, endMs);
  while (after.firstMs < 0 && Date.now() < deadlineMs) {
    await sleep(100);
    after = await report(flow, endMs);
  }
  const leftMs = () => Math.max(0, deadlineMs - Date.now());
  const direct = step.isDirect ? await waitDirect(flow.from, flow.to, leftMs(), endMs, step.endpoint) : undefined;
  await sleep(Math.max(1500, endMs + (step.watchMs ?? 0) - Date.now()));
  const whole = await report(flow, step.isSilence === true ? endMs : beginMs);
  const backMs = after.firstMs < 0 ? undefined : after.startMs + after.firstMs - endMs;
  return { flow, gapMs: whole.longestGapMs, backMs, directMs: direct?.ms, report: whole };
}

function seconds(ms: number | undefined): string {
  return ms === undefined ? 'never' : `${(Math.max(0, ms) / 1000).toFixed(1)} s`;
}

function cell(step: Step, { gapMs, directMs, report: { answered, sent } }: Effect): string {
  const path = step.isDirect ? `, direct ${seconds(directMs)}` : '';
  return `gap ${seconds(gapMs)}${path}, ${answered}/${sent}`;
}

/** Makes the flows between the sites `ea` and `eb`, and waits until all are direct. */
async function startFlows(world: NatWorld, kinds: readonly NodeKind[]): Promise<Flow[]> {
  const pairs = PAIRS.filter(pair => pair.every(kind => kinds.includes(kind)));
  const flows = await Promise.all(
    pairs.map(async ([a, b]) => {
      const [from, to] = [world.node(a, 'ea'), world.node(b, 'eb')];
      return { from, to, probe: await trickle(from, to, EVERY_MS) };
    }),
  );
  const all = await Promise.all(flows.map(flow => waitDirect(flow.from, flow.to, 15_000)));
  const missing = flows.filter((_, i) => all[i] === undefined).map(({ from, to }) => `${from.name} to ${to.name}`);
  expect(missing.length === 0, `no direct path to begin with: ${missing.join(', ')}`);
  return flows;
}

/** What is wrong with a flow by itself, and beside what stock tailscaled made of the same blow. */
function judge(step: Step, one: Effect, stock: Effect): string | undefined {
  const pair = `${step.name}, ${one.flow.from.kind} > ${one.flow.to.kind}`;
  if (one.backMs === undefined) return `${pair}: nothing came through within ${step.timeoutMs / 1000} s`;
  if (step.isDirect && one.directMs === undefined) return `${pair}: not direct within ${step.timeoutMs / 1000} s`;
  const share = one.report.answered / one.report.sent;
  if (step.share !== undefined && share < step.share) return `${pair}: ${(share * 100).toFixed(0)} % were answered`;
  if (step.mostGapMs !== undefined)
    return one.gapMs > step.mostGapMs ? `${pair}: silent for ${seconds(one.gapMs)}` : undefined;
  if (one.gapMs > stock.gapMs * 1.25 + SLACK_MS + (step.chanceMs ?? 0))
    return `${pair}: silent for ${seconds(one.gapMs)}, stock for ${seconds(stock.gapMs)}`;
  return undefined;
}

/** What a busy machine may add. */
const SLACK_MS = 1500;
/** Time between two heartbeats of a path in use. */
const HEARTBEAT_MS = 3000;

async function recover(bench: Bench, steps: readonly Step[]): Promise<string> {
  const kinds: NodeKind[] = bench.ends === 'stock' ? ['stock'] : ['stock', 'mote'];
  const world = await makeNatWorld(bench, { sites: { ea: 'easy', eb: 'easy' }, kinds });
  const flows = await startFlows(world, kinds);
  const lines: string[][] = [['blow', ...flows.map(({ from, to }) => `${from.kind} > ${to.kind}`)]];
  const wrong: string[] = [];
  await sleep(1000);
  for (const step of steps) {
    const beginMs = Date.now();
    await step.blow(world);
    const times = { beginMs, endMs: Date.now() };
    const effects = await Promise.all(flows.map(flow => effect(flow, step, times)));
    lines.push([step.name, ...effects.map(one => cell(step, one))]);
    for (const one of effects) {
      const complaint = judge(step, one, effects[0]!);
      if (complaint !== undefined) wrong.push(complaint);
    }
  }
  expect(wrong.length === 0, `${wrong.join('; ')}\n        ${table(lines)}`);
  return table(lines);
}

/** How long a server that was killed stays away. */
const AWAY_MS = 4000;
/** Stock looks for a new mapping every 20 to 26 s; nobody can be asked to find it sooner. */
const NEW_MAPPING_MS = 40_000;

async function killCoordinator(world: NatWorld): Promise<void> {
  await world.coordinator.kill();
  await sleep(AWAY_MS);
  await world.coordinator.start();
}

async function moveHosts(world: NatWorld): Promise<void> {
  await world.sites.get('eb')!.moveHosts();
}

const RELAY_STEPS: readonly Step[] = Object.freeze([
  { name: 'relay killed, path direct', blow: killCoordinator, isDirect: true, timeoutMs: 20_000 },
  { name: 'UDP blocked', blow: world => world.sites.get('eb')!.blockUdp(true), isDirect: false, timeoutMs: 25_000 },
  { name: 'relay killed, path relayed', blow: killCoordinator, isSilence: true, isDirect: false, timeoutMs: 25_000 },
  {
    name: 'UDP let through',
    blow: world => world.sites.get('eb')!.blockUdp(false),
    isDirect: true,
    timeoutMs: NEW_MAPPING_MS,
  },
]);

const ADDRESS_STEPS: readonly Step[] = Object.freeze([
  {
    name: 'NAT rebooted, new ports',
    blow: world => world.sites.get('eb')!.reboot({ ports: '20000-29999' }),
    isDirect: true,
    endpoint: /:2\d{4}$/,
    timeoutMs: NEW_MAPPING_MS,
    watchMs: 8000,
  },
  {
    name: 'site has another address',
    blow: world => world.sites.get('eb')!.renumber('10.77.0.200'),
    isDirect: true,
    endpoint: /^10\.77\.0\.200:/,
    timeoutMs: NEW_MAPPING_MS,
    watchMs: 8000,
  },
  {
    name: 'machine has another address',
    blow: moveHosts,
    isDirect: true,
    chanceMs: HEARTBEAT_MS,
    timeoutMs: NEW_MAPPING_MS,
    watchMs: 8000,
  },
  {
    name: '30 % loss',
    blow: world => world.sites.get('eb')!.lose(30),
    isDirect: true,
    timeoutMs: 20_000,
    watchMs: 12_000,
    share: 0.3,
    mostGapMs: 8000,
  },
]);

const SLEEP_MS = 60_000;

async function sleepAndWake(world: NatWorld): Promise<void> {
  const sleepers = (['stock', 'mote'] as const).map(kind => world.find(kind, 'eb'));
  for (const one of sleepers) one?.freeze(true);
  await sleep(SLEEP_MS);
  for (const one of sleepers) one?.freeze(false);
}

const SLEEP_STEPS: readonly Step[] = Object.freeze([
  {
    name: `${SLEEP_MS / 1000} s asleep`,
    blow: sleepAndWake,
    isSilence: true,
    isDirect: true,
    timeoutMs: NEW_MAPPING_MS,
    watchMs: 5000,
  },
]);

export const recoveryCases: readonly Case[] = [
  {
    name: 'relay',
    title: 'traffic goes on while the relay is away, moves to the relay when UDP is blocked, and back',
    isLong: true,
    timeoutMs: 200_000,
    run: bench => recover(bench, RELAY_STEPS),
  },
  {
    name: 'address',
    title: 'a path comes back after NAT, site or machine has another address, and holds through loss',
    isLong: true,
    timeoutMs: 240_000,
    run: bench => recover(bench, ADDRESS_STEPS),
  },
  {
    name: 'sleep',
    title: 'a path comes back after one end slept longer than NAT remembers',
    isLong: true,
    timeoutMs: 240_000,
    run: bench => recover(bench, SLEEP_STEPS),
  },
];
