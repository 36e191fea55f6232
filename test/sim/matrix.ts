/**
 * The NAT matrix: two motes behind each behaviour in one tailnet, and traffic over every pair: two seeds that follow
 * each other play all ordered pairs. Where the oracle
 * says that a direct path exists it must be found within three seconds of the first datagram; everywhere the traffic
 * must flow within the first second, and no datagram may be lost, repeated or reordered by a change of path.
 */
import type { Mote } from '../../lib/mote/mote.ts';
import { BEHAVIOURS, EXTRA_BEHAVIOURS } from './behaviours.ts';
import { Findings, type Outcome, type PlayOptions, type SimCase } from './cases.ts';
import type { NatBehaviour } from './nat.ts';
import { type Behaviour, canBeDirect } from './oracle.ts';
import { insideAddress, siteBehind } from './punch.ts';
import { EchoClient, EchoServer, flaws, pathBetween } from './traffic.ts';
import { TailnetWorld } from './world-tailnet.ts';
import type { SeededRandom } from './link.ts';

/** From the first datagram of a pair. */
export const FIRST_ECHO_LIMIT_MS = 1000;
export const DIRECT_LIMIT_MS = 3000;
/** Both motes of a pair send, so both look for a path; the answering one begins later by the way to it. */
const END_MS = 4000;
const INTERVAL_MS = 500;
const DATAGRAMS = END_MS / INTERVAL_MS;
/** Pairs begin spread over this, in a random order. */
const SPREAD_MS = 4000;
const SETTLE_MS = 4000;
const WATCH_MS = 100;
/** So often, two seeds in a row, what is common beside the nine of RFC 4787 takes part. */
const ALL_EVERY = 4;
const LIFETIMES_MS = [30_000, 60_000, 120_000];

interface Pair {
  readonly name: string;
  readonly flow: number;
  /** Indexes of the behaviours of who begins and who answers. */
  readonly first: number;
  readonly second: number;
  readonly client: EchoClient;
  readonly from: Mote;
  readonly to: Mote;
  readonly server: EchoServer;
  readonly canBeDirect: boolean;
  readonly startMs: number;
}

/** The case for these behaviours. */
export function matrixCase(behaviours: ReadonlyMap<string, Behaviour> = BEHAVIOURS): SimCase {
  return { name: 'matrix', play: (seed, options) => play(behaviours, seed, options) };
}

async function play(
  behaviours: ReadonlyMap<string, Behaviour>,
  seed: number,
  options: PlayOptions = {},
): Promise<Outcome> {
  const tailnet = new TailnetWorld(seed);
  const { world } = tailnet;
  const { clock, random } = world;
  world.recorder = options.recorder;
  const findings = new Findings();
  options.prepare?.(tailnet);
  const isWhole = options.pair !== undefined || (seed >> 1) % ALL_EVERY === 0;
  const names = [...behaviours.keys()].filter(name => isWhole || !EXTRA_BEHAVIOURS.has(name));
  const place = (side: string, name: string, site: number) => {
    const behaviour = varied(behaviours.get(name)!, random);
    const link = { delayMs: 1 + random.below(20), jitterMs: random.below(6) };
    const network = siteBehind(world, `${side}-${name}`, behaviour, site);
    return world.host(`${side}-${name}`, network, [insideAddress(behaviour, site)], link);
  };
  const hosts = ['a', 'b'].flatMap((side, i) => names.map((name, j) => place(side, name, 1 + i * 100 + j)));
  const motes = await tailnet.joinAll(hosts, i => ({ preset: i % 2 === 0 ? 'small' : 'large' }));
  const nowMs = () => clock.nowMs;
  const clients = await Promise.all(motes.slice(0, names.length).map(mote => EchoClient.open(mote, nowMs)));
  const servers = await Promise.all(motes.slice(names.length).map(mote => EchoServer.open(mote, nowMs)));
  await clock.advance(SETTLE_MS);
  const pairs = names.flatMap((nameA, i) =>
    names.map((nameB, j): Pair => {
      const startMs = clock.nowMs + random.below(SPREAD_MS);
      return {
        name: `${nameA}:${nameB}`,
        flow: i * names.length + j,
        first: i,
        second: j,
        client: clients[i]!,
        from: motes[i]!,
        to: motes[names.length + j]!,
        server: servers[j]!,
        canBeDirect: canBeDirect(behaviours.get(nameA)!, behaviours.get(nameB)!),
        startMs,
      };
    }),
  );
  const played = pairs.filter(pair => (options.pair === undefined ? isTurnOf(pair, seed) : options.pair === pair.name));
  for (const pair of played) watch(tailnet, pair, findings);
  await clock.advance(SPREAD_MS + END_MS + 1000);
  await Promise.all(motes.map(mote => mote.close()));
  return findings;
}

/** One seed plays the pairs in which the one begins, the next those in which the other does; equal ones both. */
function isTurnOf({ first, second }: Pair, seed: number): boolean {
  return seed % 2 === 0 ? first <= second : first >= second;
}

/** Plans a pair's traffic and the checks of it. */
function watch({ world: { clock } }: TailnetWorld, pair: Pair, findings: Findings): void {
  const { name, flow, client, from, to, server, startMs } = pair;
  for (let number = 0; number < DATAGRAMS; number++)
    clock.at(startMs + number * INTERVAL_MS, () => client.send(to, flow, number));
  const look = () => {
    if (pathBetween(from, to) === 'direct') findings.time('direct', clock.nowMs - startMs);
    else if (clock.nowMs < startMs + DIRECT_LIMIT_MS) clock.after(WATCH_MS, look);
  };
  if (pair.canBeDirect) clock.at(startMs + WATCH_MS, look);
  clock.at(startMs + DIRECT_LIMIT_MS, () => {
    const path = pathBetween(from, to);
    const wanted = pair.canBeDirect ? 'direct' : 'relay';
    findings.check(path === wanted, `${name}: path is ${path} after ${DIRECT_LIMIT_MS} ms, ${wanted} expected`);
  });
  clock.at(startMs + END_MS + 900, () => {
    const path = pathBetween(to, from);
    const wanted = pair.canBeDirect ? 'direct' : 'relay';
    findings.check(path === wanted, `${name}: path back is ${path}, ${wanted} expected`);
    const echoes = client.echoes(flow);
    const first = (echoes[0]?.atMs ?? Number.POSITIVE_INFINITY) - startMs;
    findings.check(first <= FIRST_ECHO_LIMIT_MS, `${name}: first echo after ${first} ms`);
    findings.time('first echo', first);
    const there = flaws(server.flows.get(flow) ?? [], DATAGRAMS);
    const back = flaws(echoes, DATAGRAMS);
    findings.check(there === '' && back === '', `${name}: there: ${there || 'fine'}; back: ${back || 'fine'}`);
  });
}

/** The same behaviour with another lifetime, and ports preserved or not where that does not matter. */
function varied(behaviour: Behaviour, random: SeededRandom): Behaviour {
  if (behaviour.isBlocked === true) return behaviour;
  const vary = (nat: NatBehaviour): NatBehaviour => ({
    ...nat,
    expiryMs: LIFETIMES_MS[random.below(LIFETIMES_MS.length)]!,
    refreshesInbound: random.float() < 0.5,
    ...(nat.mapping === 'endpoint-independent' && random.float() < 0.5 ? { ports: 'preserved' as const } : {}),
  });
  return { way: behaviour.way.map(vary) };
}
