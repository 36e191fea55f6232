/**
 * Where two motes can be besides each behind a way of its own: in one network, behind one NAT, on IPv6, on rough links;
 * what the change to a direct path costs a busy connection; and that silence is silent. Test-only.
 */
import { BEHAVIOURS, NAT_BEHAVIOURS } from './behaviours.ts';
import { Findings, type Outcome, type PlayOptions, type SimCase } from './cases.ts';
import { canBeDirectInside } from './oracle.ts';
import { insideAddress, siteBehind } from './punch.ts';
import { makeScene, Pump, type Scene } from './recovery.ts';
import { pathBetween, StreamCheck } from './traffic.ts';
import type { WorldHost } from './world-host.ts';
import { TailnetWorld } from './world-tailnet.ts';

const SETTLE_MS = 4000;
const FIRST_ECHO_LIMIT_MS = 1000;
const DIRECT_LIMIT_MS = 3000;

/** Joins motes on two hosts. */
async function joined(tailnet: TailnetWorld, hosts: readonly [WorldHost, WorldHost]): Promise<Scene> {
  const motes = await tailnet.joinAll(hosts);
  await tailnet.world.clock.advance(SETTLE_MS);
  const [a, b] = hosts.map((host, i) => ({ host, mote: motes[i]!, network: host.interfaces[0]!.network }));
  return { tailnet, a: a!, b: b! };
}

function make(seed: number, options: PlayOptions): TailnetWorld {
  const tailnet = new TailnetWorld(seed);
  tailnet.world.recorder = options.recorder;
  options.prepare?.(tailnet);
  return tailnet;
}

/** Lets the two talk, and checks how soon they do, and whether directly. Gives the endpoint that is used, if one is. */
async function talk(scene: Scene, name: string, isDirect: boolean, findings: Findings, limits = {}): Promise<string> {
  const { echoMs, directMs } = { echoMs: FIRST_ECHO_LIMIT_MS, directMs: DIRECT_LIMIT_MS, ...limits };
  const { clock } = scene.tailnet.world;
  const sinceMs = clock.nowMs;
  const pump = await Pump.start(scene);
  const stream = await StreamCheck.open(scene.tailnet.world, scene.a, scene.b);
  const foundMs = await pump.untilDirect(scene, sinceMs, directMs);
  const firstMs = pump.firstEcho(0) - sinceMs;
  findings.time(`${name}: first echo`, firstMs);
  if (isDirect) findings.time(`${name}: direct`, foundMs);
  findings.check(firstMs <= echoMs, `${name}: first echo after ${firstMs} ms`);
  const isAsExpected = isDirect ? foundMs <= directMs : foundMs === Number.POSITIVE_INFINITY;
  findings.check(isAsExpected, `${name}: direct after ${foundMs} ms, ${isDirect ? directMs : 'never'} expected`);
  pump.stop();
  const flaw = await stream.finish();
  findings.check(flaw === '', `${name}: stream: ${flaw}`);
  const endpoint = endpointOf(scene);
  await Promise.all([scene.a.mote.close(), scene.b.mote.close()]);
  return endpoint;
}

/** The endpoint that a mote has for the other. */
function endpointOf({ a, b }: Scene): string {
  const { peers } = a.mote.status().tailnet!;
  return peers.find(({ publicKey }) => publicKey === b.mote.publicKey)?.endpoint ?? '';
}

async function sameNetwork(seed: number, options: PlayOptions = {}): Promise<Outcome> {
  const findings = new Findings();
  const tailnet = make(seed, options);
  const { world } = tailnet;
  // The NAT does not turn datagrams around, so that only the addresses inside can do.
  const behaviour = BEHAVIOURS.get(seed % 2 === 0 ? 'apd-apd' : 'ei-ei')!;
  const lan = siteBehind(world, 'lan', behaviour, 1);
  const host = (name: string, number: number) => world.host(name, lan, [insideAddress(behaviour, 1, number)]);
  const scene = await joined(tailnet, [host('a', 10), host('b', 11)]);
  const endpoint = await talk(scene, 'same network', true, findings);
  findings.check(endpoint.startsWith('192.168.1.11:'), `same network: endpoint is ${endpoint || 'none'}`);
  return findings;
}

async function oneCarrier(seed: number, options: PlayOptions = {}): Promise<Outcome> {
  const findings = new Findings();
  const tailnet = make(seed, options);
  const { world } = tailnet;
  const kinds = [...NAT_BEHAVIOURS.values()];
  const pick = () => kinds[world.random.below(kinds.length)]!;
  const outer = { ...pick(), hairpins: world.random.float() < 0.7 };
  const carrier = world.network('carrier', world.internet, {
    nat: outer,
    address: '203.0.113.9',
    link: { delayMs: 8 },
  });
  const behaviours = [{ way: [pick()] }, { way: [pick()] }] as const;
  const host = (name: string, i: 0 | 1) => {
    const network = siteBehind(world, name, behaviours[i], i + 1, carrier);
    return world.host(name, network, [insideAddress(behaviours[i], i + 1)]);
  };
  const scene = await joined(tailnet, [host('a', 0), host('b', 1)]);
  // What one sees of the other without the carrier's NAT in between is an address inside it, which leads nowhere.
  const isDirect = canBeDirectInside(outer, ...behaviours);
  await talk(scene, 'behind one carrier', isDirect, findings);
  if (findings.failures.length > 0) findings.failures.push(JSON.stringify({ outer, behaviours }));
  return findings;
}

async function overIpv6(seed: number, options: PlayOptions = {}): Promise<Outcome> {
  const findings = new Findings();
  const tailnet = make(seed, options);
  const { world } = tailnet;
  const nat = NAT_BEHAVIOURS.get('apd-apd')!;
  const firewall6 = { mapping: 'none', filtering: 'address-and-port-dependent' } as const;
  const host = (name: string, number: number) => {
    const link = { delayMs: 1 + world.random.below(20) };
    const network = world.network(name, world.internet, { nat, address: `203.0.113.${number}`, firewall6, link });
    return world.host(name, network, [`192.168.${number}.10`, `2001:db8:${number}::10`]);
  };
  const scene = await joined(tailnet, [host('a', 1), host('b', 2)]);
  const pump = await Pump.start(scene);
  const foundMs = await pump.untilDirect(scene, world.nowMs, DIRECT_LIMIT_MS);
  findings.time('over IPv6: direct', foundMs);
  await world.clock.advance(500);
  const endpoint = endpointOf(scene);
  findings.check(endpoint.startsWith('[2001:db8:2::10]:'), `over IPv6: endpoint is ${endpoint || 'none'}`);
  pump.stop();
  await Promise.all([scene.a.mote.close(), scene.b.mote.close()]);
  return findings;
}

async function roughLinks(seed: number, options: PlayOptions = {}): Promise<Outcome> {
  const findings = new Findings();
  const scene = await makeScene(seed, ['ei-apd', 'linux'], options);
  const rough = { loss: 0.03, jitterMs: 20, reorder: 0.05, reorderMs: 30, duplicate: 0.03 };
  for (const { host } of [scene.a, scene.b]) host.interfaces[0]!.wire.set(rough);
  await talk(scene, 'rough links', true, findings, { echoMs: 3000, directMs: 10_000 });
  return findings;
}

/** A datagram every 20 ms from the first moment: the change of path must not cost one, nor deliver one twice. */
async function upgrade(seed: number, options: PlayOptions = {}): Promise<Outcome> {
  const findings = new Findings();
  const pairs = [
    ['ei-apd', 'ei-apd'],
    ['none', 'apd-apd'],
    ['linux', 'double'],
  ] as const;
  const scene = await makeScene(seed, pairs[seed % pairs.length]!, options);
  const { clock } = scene.tailnet.world;
  const stream = await StreamCheck.open(scene.tailnet.world, scene.a, scene.b);
  const pump = await Pump.start(scene, 20);
  await clock.advance(5000);
  findings.check(pathBetween(scene.a.mote, scene.b.mote) === 'direct', 'upgrade: it did not happen');
  pump.stop();
  await clock.advance(1000);
  const numbers = pump.echoed();
  const missing = Array.from({ length: pump.sent }, (_, i) => i).filter(i => !numbers.includes(i));
  findings.check(missing.length === 0, `upgrade: lost ${missing.join(' ')} of ${pump.sent}`);
  findings.check(new Set(numbers).size === numbers.length, 'upgrade: a datagram came twice');
  const flaw = await stream.finish();
  findings.check(flaw === '', `upgrade: stream: ${flaw}`);
  await Promise.all([scene.a.mote.close(), scene.b.mote.close()]);
  return findings;
}

/** Peers that have nothing to say to each other send no datagram; after long silence all is found anew at once. */
async function silence(seed: number, options: PlayOptions = {}): Promise<Outcome> {
  const findings = new Findings();
  const scene = await makeScene(seed, ['ei-apd', 'ei-ad'], options);
  const { world } = scene.tailnet;
  const first = await Pump.start(scene);
  await world.clock.advance(5000);
  first.stop();
  await world.clock.advance(1000);
  first.close();
  await world.clock.advance(240_000); // until WireGuard, too, has nothing left to say
  const before = world.sent;
  await world.clock.advance(900_000);
  findings.check(world.sent === before, `silence: ${world.sent - before} datagrams in 15 minutes`);
  await talk(scene, 'after silence', true, findings);
  return findings;
}

/** All cases of places. */
export const PLACE_CASES: readonly SimCase[] = [
  { name: 'same network', play: sameNetwork },
  { name: 'behind one carrier', play: oneCarrier },
  { name: 'over IPv6', play: overIpv6 },
  { name: 'rough links', play: roughLinks },
  { name: 'upgrade under load', play: upgrade },
  { name: 'silence', play: silence },
];
