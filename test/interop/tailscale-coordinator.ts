/**
 * Our coordinator with stock tailscaled of two ages and motes on it: traffic, restarts, and what lasts.
 */
import { type Bench, type Case, expect } from './case.ts';
import type { Json } from './json-lines.ts';
import { sleep, until } from './lab.ts';
import { MoteNode } from './mote-node.ts';
import { OurCoordinator } from './our-coordinator.ts';
import { StockNode } from './stock-tailscale.ts';
import {
  allEvidence,
  BOTH,
  eachSeesTheOthers,
  HTTP_BYTES,
  httpEachWay,
  joinMote,
  joinStock,
  threeNodes,
} from './tailnet-world.ts';
import { blockUdp, TailnetNet } from './tailscale-net.ts';
import { fetchPattern, fetchSoon, offerServices, udpRoundTrip } from './traffic.ts';

async function joinAndTalk(bench: Bench): Promise<string> {
  const world = await threeNodes(bench);
  const { newest, old, mote } = world;
  await eachSeesTheOthers(world);
  await httpEachWay(world);
  await udpRoundTrip(mote.side, await newest.address(), 1000);
  await udpRoundTrip(mote.side, await old.address(), 1000);
  // The old one's SOCKS proxy carries no UDP into the tunnel; its datagrams are its answers.
  await udpRoundTrip(newest.side, mote.address, 1000);
  const pongs: string[] = [];
  for (const node of [newest, old])
    for (const kind of ['tsmp', 'icmp', 'disco'] as const) pongs.push(`${node.name} ${await node.ping('mote', kind)}`);
  for (const node of [newest, old]) {
    const { ms } = await mote.side.call('ping', { host: node.name });
    pongs.push(`the mote pings ${node.name} in ${Number(ms).toFixed(0)} ms`);
    const v6 = (await node.status()).Self.TailscaleIPs.find((text: string) => text.includes(':'));
    await fetchSoon(mote.side, `[${v6}]`, 50_000);
    const toMote = (await node.peer('mote'))?.TailscaleIPs.find((text: string) => text.includes(':'));
    await fetchSoon(node.side, `[${toMote}]`, 50_000);
  }
  const { whois } = await mote.side.call('whois', { address: await newest.address() });
  expect(whois?.name?.split('.')[0] === 'newest', `whois names the newest node ${JSON.stringify(whois)}`);
  world.coordinator.expectNoSecretsInLog();
  return `${pongs.join('; ')}\n        ${await allEvidence(world)}`;
}

async function restarts(bench: Bench): Promise<string> {
  const world = await threeNodes(bench);
  const { coordinator, newest, old, mote } = world;
  await eachSeesTheOthers(world);
  const before = await Promise.all([newest.address(), old.address()]);
  const moteBefore = mote.address;
  const times: string[] = [];
  const bothWays = async (what: string) => {
    const startMs = performance.now();
    for (const node of [newest, old]) {
      await fetchSoon(node.side, moteBefore, 50_000, 40_000);
      await fetchSoon(mote.side, node.name, 50_000, 40_000);
    }
    times.push(`${what}: traffic after ${((performance.now() - startMs) / 1000).toFixed(1)} s`);
  };
  await bothWays('first');
  await Promise.all([newest.restart(), old.restart()]);
  await Promise.all([newest.reaches('Running'), old.reaches('Running')]);
  await bothWays('stock killed and started');
  await mote.restart();
  expect(mote.address === moteBefore, `the mote had ${moteBefore} and now has ${mote.address}`);
  await offerServices(mote.side);
  await bothWays('mote killed and started');
  await coordinator.restart();
  await bothWays('coordinator killed and started');
  const after = await Promise.all([newest.address(), old.address()]);
  expect(before.join() === after.join(), `addresses changed from ${before} to ${after}`);
  await until('all are online again at the coordinator', 60_000, async () =>
    (await coordinator.devices()).every(device => device.isOnline === true),
  );
  return `${times.join('; ')}\n        ${await allEvidence(world)}`;
}

/** Longer than tailscaled's patience with a silent coordinator or relay, and than the life of a WireGuard session. */
const KEEPS_MS = 135_000;

async function keeps(bench: Bench): Promise<string> {
  const world = await threeNodes(bench);
  const { coordinator, newest, old, mote } = world;
  await eachSeesTheOthers(world);
  for (const node of [newest, old]) {
    await fetchSoon(node.side, 'mote', 1000);
    await fetchSoon(mote.side, node.name, 1000);
  }
  const registered = coordinator.log().split('control: register').length;
  const endMs = performance.now() + KEEPS_MS;
  let [worstMs, fetches] = [0, 0];
  // One way is used all the time, the other only at the end.
  while (performance.now() < endMs) {
    const startMs = performance.now();
    await fetchPattern(newest.side, 'mote', 1000);
    worstMs = Math.max(worstMs, performance.now() - startMs);
    fetches++;
    await sleep(4000);
  }
  await fetchPattern(mote.side, 'old', 1000);
  await fetchPattern(old.side, 'mote', 1000);
  for (const node of [newest, old]) {
    const lost = /^.*(long-poll timed out|PollNetMap: |derp\.Recv\().*$/m.exec(node.log())?.[0];
    expect(lost === undefined, `${node.name} lost the coordinator or the relay: ${lost}`);
  }
  const { events } = await mote.side.call('events');
  const errors = (events as Json[]).filter(event => event.type === 'error');
  expect(errors.length === 0, `the mote had errors: ${JSON.stringify(errors)}`);
  expect(coordinator.log().split('control: register').length === registered, 'somebody had to register again');
  const handshakes = (events as Json[]).filter(event => event.type === 'handshake').length;
  expect(handshakes >= 3, `there were only ${handshakes} handshakes: no session was renewed`);
  const summary = `${fetches} fetches in ${KEEPS_MS / 1000} s, the slowest ${worstMs.toFixed(0)} ms, ${handshakes} handshakes`;
  return `${summary}\n        ${await allEvidence(world)}`;
}

async function plain({ lab }: Bench): Promise<string> {
  const net = await TailnetNet.make(lab);
  const [coordinator, newest, mote] = await Promise.all([
    OurCoordinator.make(net, { isPlain: true }),
    StockNode.make(net, 'newest', 'tailscaled'),
    MoteNode.make(net, 'mote'),
  ]);
  await Promise.all([joinStock(coordinator, newest), joinMote(coordinator, mote)]);
  await Promise.all([offerServices(newest.side), offerServices(mote.side)]);
  await Promise.all([newest.sees('mote'), mote.sees('newest')]);
  await fetchSoon(newest.side, 'mote', HTTP_BYTES);
  await fetchSoon(mote.side, 'newest', HTTP_BYTES);
  const views = await Promise.all([coordinator, newest, mote].map(one => one.evidence()));
  return [`${coordinator.url}, relay with a certificate of its own`, ...views].join('\n        ');
}

async function relayed(bench: Bench): Promise<string> {
  const world = await threeNodes(bench);
  const { newest, old, mote } = world;
  await eachSeesTheOthers(world);
  // No UDP between them: only our relay is left.
  await Promise.all([blockUdp(newest.party), blockUdp(old.party), blockUdp(mote.party)]);
  await httpEachWay(world);
  await fetchPattern(newest.side, 'old', 2_000_000);
  const [peer, back] = [await newest.peer('old'), await old.peer('newest')];
  expect(peer?.CurAddr === '' && back?.CurAddr === '', `a direct path was found: ${peer?.CurAddr} ${back?.CurAddr}`);
  return `${await newest.ping('old', 'disco')}\n        ${await allEvidence(world)}`;
}

export const coordinatorCases: readonly Case[] = [
  {
    name: 'join',
    title: 'the newest and an old tailscaled and a mote join our coordinator, know each other by name, and talk',
    needs: BOTH,
    timeoutMs: 120_000,
    run: joinAndTalk,
  },
  {
    name: 'restart',
    title: 'traffic resumes after tailscaled, the mote or the coordinator was killed and started again',
    needs: BOTH,
    isLong: true,
    timeoutMs: 240_000,
    run: restarts,
  },
  {
    name: 'keeps',
    title: 'nobody loses coordinator, relay or tunnel beyond two minutes, the time after which silence is the end',
    needs: BOTH,
    isLong: true,
    timeoutMs: 240_000,
    run: keeps,
  },
  {
    name: 'plain',
    title: 'the newest tailscaled and a mote join a coordinator without any configuration, and its pinned relay works',
    timeoutMs: 90_000,
    run: plain,
  },
  {
    name: 'relayed',
    title: 'stock nodes of both ages and a mote without UDP between them talk through our relay',
    needs: [...BOTH, 'nft'],
    timeoutMs: 120_000,
    run: relayed,
  },
];
