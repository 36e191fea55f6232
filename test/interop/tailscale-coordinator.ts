/**
 * Our coordinator with stock tailscaled of two ages and motes on it.
 */
import { type Bench, type Case, expect } from './case.ts';
import type { Json } from './json-lines.ts';
import { sleep, until } from './lab.ts';
import { MoteNode } from './mote-node.ts';
import { OurCoordinator } from './our-coordinator.ts';
import { StockNode } from './stock-tailscale.ts';
import { TailnetNet } from './tailscale-net.ts';
import { expectUnreachable, fetchPattern, fetchSoon, offerServices, udpRoundTrip } from './traffic.ts';

const BOTH = Object.freeze(['tailscaled (old)']);
const HTTP_BYTES = 300_000;

/** A coordinator and who is on it. */
interface World {
  readonly net: TailnetNet;
  readonly coordinator: OurCoordinator;
  readonly newest: StockNode;
  readonly old: StockNode;
  readonly mote: MoteNode;
}

async function joinStock(coordinator: OurCoordinator, node: StockNode, ...keyFlags: readonly string[]): Promise<void> {
  await node.up({ loginServer: coordinator.url, authKey: await coordinator.authKey(...keyFlags) });
}

async function joinMote(coordinator: OurCoordinator, mote: MoteNode, ...keyFlags: readonly string[]): Promise<void> {
  await mote.up({ control: coordinator.url, authKey: await coordinator.authKey(...keyFlags) });
}

/** The newest and the old tailscaled and a mote, all joined, each serving HTTP and an echo. */
async function threeNodes({ lab }: Bench, o: { isPlain?: boolean } = {}): Promise<World> {
  const net = await TailnetNet.make(lab);
  const [coordinator, newest, old, mote] = await Promise.all([
    OurCoordinator.make(net, o),
    StockNode.make(net, 'newest', 'tailscaled'),
    StockNode.make(net, 'old', 'tailscaled (old)'),
    MoteNode.make(net, 'mote'),
  ]);
  await Promise.all([joinStock(coordinator, newest), joinStock(coordinator, old), joinMote(coordinator, mote)]);
  await Promise.all([newest.side, old.side, mote.side].map(offerServices));
  return { net, coordinator, newest, old, mote };
}

async function eachSeesTheOthers({ newest, old, mote }: World): Promise<void> {
  await Promise.all([
    newest.sees('old'),
    newest.sees('mote'),
    old.sees('newest'),
    old.sees('mote'),
    mote.sees('newest'),
    mote.sees('old'),
  ]);
}

/** HTTP by name between every two, both ways. */
async function httpEachWay({ newest, old, mote }: World): Promise<void> {
  const nodes = [newest, old, mote];
  for (const from of nodes)
    for (const to of nodes) if (from !== to) await fetchSoon(from.side, to.name, HTTP_BYTES, 20_000);
}

async function allEvidence({ coordinator, newest, old, mote }: World): Promise<string> {
  const parts = [coordinator, newest, old, mote].map(one => one.evidence());
  return (await Promise.all(parts)).join('\n        ');
}

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
    for (const kind of ['tsmp', 'icmp'] as const) pongs.push(`${node.name} ${await node.ping('mote', kind)}`);
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

async function approval({ lab }: Bench): Promise<string> {
  const net = await TailnetNet.make(lab);
  const [coordinator, newest, old, mote] = await Promise.all([
    OurCoordinator.make(net),
    StockNode.make(net, 'newest', 'tailscaled'),
    StockNode.make(net, 'old', 'tailscaled (old)'),
    MoteNode.make(net, 'mote'),
  ]);
  await coordinator.command('tailnets', 'update', 'default', '--approval', 'on');
  // The newest one's key is approved beforehand.
  await joinStock(coordinator, newest, '--preapproved');
  await offerServices(newest.side);
  const waiting = old.startUp({ loginServer: coordinator.url, authKey: await coordinator.authKey() });
  const moteKey = await coordinator.authKey();
  let isMoteUp = false;
  const moteUp = mote.up({ control: coordinator.url, authKey: moteKey }, 60_000).then(() => {
    isMoteUp = true;
  });
  const status = await old.reaches('NeedsMachineAuth');
  const asked = await until('both wait at the coordinator', 20_000, async () => {
    const states = (await coordinator.devices()).filter(device => device.state === 'waiting');
    return states.length === 2 && states;
  });
  expect(!isMoteUp, 'a mote that waits for approval said that it is a member');
  expect(waiting.isRunning, `tailscale up did not wait: ${waiting.tail()}`);
  expect(Object.keys((status.Peer ?? {}) as Json).length === 0, 'an unapproved device was told of peers');
  const seen = Object.values(((await newest.status()).Peer ?? {}) as Json);
  expect(seen.length === 0, `an unapproved device was announced: ${JSON.stringify(seen)}`);
  await coordinator.command('devices', 'approve', 'old');
  await coordinator.command('devices', 'approve', 'mote');
  await Promise.all([old.reaches('Running'), moteUp]);
  const { code } = await waiting.ended;
  expect(code === 0, `tailscale up ended with ${code}: ${waiting.tail()}`);
  await Promise.all([offerServices(old.side), offerServices(mote.side)]);
  const world = { net, coordinator, newest, old, mote };
  await eachSeesTheOthers(world);
  await fetchSoon(old.side, 'mote', 50_000);
  await fetchSoon(mote.side, 'old', 50_000);
  const names = asked.map(device => device.name).join(' and ');
  return `${names} waited (tailscale: ${status.BackendState}), newest was approved by its key\n        ${await allEvidence(world)}`;
}

async function expiry(bench: Bench): Promise<string> {
  const world = await threeNodes(bench);
  const { coordinator, newest, old, mote } = world;
  await eachSeesTheOthers(world);
  await fetchSoon(mote.side, 'newest', 50_000);
  const [addressBefore, words] = [await newest.address(), [] as string[]];
  for (const node of [newest, old]) {
    const address = await node.address();
    await coordinator.command('devices', 'expire', node.name);
    const status = await node.reaches('NeedsLogin');
    await until(`the mote sees that ${node.name} has expired`, 20_000, async () => {
      const peer = await mote.peer(node.name);
      return peer === undefined || peer.isExpired === true;
    });
    const refusal = await expectUnreachable(mote.side, address);
    words.push(`${node.name} ${status.BackendState}, the mote: ${refusal}`);
    const authKey = await coordinator.authKey();
    await node.up({ loginServer: coordinator.url, authKey, extra: ['--force-reauth'] });
    await node.reaches('Running');
    await fetchSoon(mote.side, node.name, 50_000);
    await fetchSoon(node.side, 'mote', 50_000);
  }
  expect((await newest.address()) === addressBefore, 'a new login changed the address');
  return `${words.join('; ')}; after a new login all is as before\n        ${await allEvidence(world)}`;
}

async function leaving({ lab }: Bench): Promise<string> {
  const net = await TailnetNet.make(lab);
  const [coordinator, newest, old, mote, passing] = await Promise.all([
    OurCoordinator.make(net),
    StockNode.make(net, 'newest', 'tailscaled'),
    StockNode.make(net, 'old', 'tailscaled (old)', { isEphemeral: true }),
    MoteNode.make(net, 'mote'),
    MoteNode.make(net, 'passing'),
  ]);
  await Promise.all([
    joinStock(coordinator, newest),
    joinStock(coordinator, old, '--ephemeral'),
    joinMote(coordinator, mote),
    joinMote(coordinator, passing, '--ephemeral'),
  ]);
  await Promise.all([
    newest.sees('old'),
    newest.sees('mote'),
    newest.sees('passing'),
    mote.sees('old'),
    mote.sees('newest'),
  ]);
  const all = await coordinator.evidence();
  // Logout of ephemeral devices removes them at once; tailscaled does so itself when it ends in order.
  await old.stop();
  await passing.side.call('logout');
  await Promise.all([newest.forgets('old'), newest.forgets('passing'), mote.forgets('old'), mote.forgets('passing')]);
  expect((await coordinator.device('old')) === undefined, 'an ephemeral stock device is still listed');
  expect((await coordinator.device('passing')) === undefined, 'an ephemeral mote is still listed');
  await offerServices(mote.side);
  await fetchSoon(newest.side, 'mote', 50_000);
  await newest.logout();
  await newest.reaches('NeedsLogin');
  await until('the coordinator lists it as expired', 20_000, async () => {
    const device = await coordinator.device('newest');
    return device === undefined || device.state === 'expired';
  });
  await until('the mote no longer has it as a peer', 20_000, async () => {
    const peer = await mote.peer('newest');
    return peer === undefined || peer.isExpired === true;
  });
  const afterLogout = await coordinator.evidence();
  await joinStock(coordinator, newest);
  await fetchSoon(newest.side, 'mote', 50_000);
  await mote.side.call('logout');
  await until('the mote has gone for the newest', 20_000, async () => {
    const peer = await newest.peer('mote');
    return peer === undefined || peer.Expired === true;
  });
  return `before: ${all}\n        after logout: ${afterLogout}\n        ${await newest.evidence()}`;
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

async function rename(bench: Bench): Promise<string> {
  const world = await threeNodes(bench);
  const { coordinator, newest, old, mote } = world;
  await eachSeesTheOthers(world);
  await coordinator.command('devices', 'rename', 'newest', 'printer');
  await coordinator.command('devices', 'rename', 'mote', 'sensor');
  const { Self } = await until('the renamed node knows its name', 20_000, async () => {
    const status = await newest.status();
    return (status.Self.DNSName as string).startsWith('printer.') && status;
  });
  await Promise.all([old.sees('printer'), old.sees('sensor'), mote.sees('printer')]);
  await fetchSoon(mote.side, 'printer', 50_000);
  await fetchSoon(old.side, 'printer', 50_000);
  await fetchSoon(old.side, 'sensor', 50_000);
  await fetchSoon(newest.side, `sensor.${(Self.DNSName as string).split('.').slice(1, -1).join('.')}`, 50_000);
  const words = await expectUnreachable(mote.side, 'newest');
  return `now ${Self.DNSName}; the old name: ${words}\n        ${await allEvidence(world)}`;
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

async function login({ lab }: Bench): Promise<string> {
  const net = await TailnetNet.make(lab);
  const [coordinator, newest, old, mote] = await Promise.all([
    OurCoordinator.make(net),
    StockNode.make(net, 'newest', 'tailscaled'),
    StockNode.make(net, 'old', 'tailscaled (old)'),
    MoteNode.make(net, 'mote'),
  ]);
  const waiting = [newest, old].map(node => node.startUp({ loginServer: coordinator.url }));
  const moteUp = mote.up({ control: coordinator.url });
  const urls = await until('everybody shows where to log in', 20_000, async () => {
    const { events } = await mote.side.call('events');
    const shown = (events as Json[]).find(event => event.type === 'auth-url')?.url as string | undefined;
    const all = [...waiting.map(program => /https:\S+/.exec(program.tail())?.[0]), shown];
    return all.every(url => url !== undefined) && (all as string[]);
  });
  const pending = (await coordinator.devices()).filter(device => device.state === 'login');
  expect(pending.length === 3, `three logins were to wait, there are ${pending.length}`);
  for (const url of urls) {
    expect(url.startsWith(`${coordinator.url}/register/`), `the place to log in is ${url}`);
    await coordinator.command('devices', 'approve', url.slice(url.lastIndexOf('/') + 1));
  }
  await Promise.all([newest.reaches('Running'), old.reaches('Running'), moteUp]);
  for (const program of waiting) {
    const { code } = await program.ended;
    expect(code === 0, `tailscale up ended with ${code}: ${program.tail()}`);
  }
  await Promise.all([newest.side, old.side, mote.side].map(offerServices));
  const world = { net, coordinator, newest, old, mote };
  await eachSeesTheOthers(world);
  await fetchSoon(newest.side, 'mote', 50_000);
  await fetchSoon(mote.side, 'old', 50_000);
  return `${urls[0]!.replace(/[^/]*$/, '…')}\n        ${await allEvidence(world)}`;
}

async function relayed(bench: Bench): Promise<string> {
  const world = await threeNodes(bench);
  const { newest, old } = world;
  await eachSeesTheOthers(world);
  // No UDP between the two: only our relay is left.
  for (const { party } of [newest, old]) {
    await bench.lab.run(party.space, ['nft', 'add', 'table', 'inet', 'lab']);
    await bench.lab.run(party.space, [
      'nft',
      'add',
      'chain',
      'inet',
      'lab',
      'in',
      '{ type filter hook input priority 0; }',
    ]);
    const rule = ['iifname', '!=', 'lo', 'udp', 'sport', '!=', '3478', 'drop'];
    await bench.lab.run(party.space, ['nft', 'add', 'rule', 'inet', 'lab', 'in', ...rule]);
  }
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
    name: 'approval',
    title: 'a device that waits for approval sees nobody and is seen by nobody, and works once approved',
    needs: BOTH,
    timeoutMs: 120_000,
    run: approval,
  },
  {
    name: 'expiry',
    title: 'a device whose key is expired reaches nobody until it logs in again, with its old address',
    needs: BOTH,
    isLong: true,
    timeoutMs: 150_000,
    run: expiry,
  },
  {
    name: 'leaving',
    title: 'logout ends a membership, and an ephemeral device is forgotten by everybody when it leaves',
    needs: BOTH,
    timeoutMs: 120_000,
    run: leaving,
  },
  {
    name: 'rename',
    title: 'a renamed device is found by its new name and no longer by the old one',
    needs: BOTH,
    timeoutMs: 120_000,
    run: rename,
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
    name: 'login',
    title: 'stock nodes and a mote without a key show a URL, wait, and join once the login is approved',
    needs: BOTH,
    timeoutMs: 120_000,
    run: login,
  },
  {
    name: 'plain',
    title: 'the newest tailscaled and a mote join a coordinator without any configuration, and its pinned relay works',
    timeoutMs: 90_000,
    run: plain,
  },
  {
    name: 'relayed',
    title: 'stock nodes of both ages without UDP between them talk through our relay',
    needs: [...BOTH, 'nft'],
    timeoutMs: 120_000,
    run: relayed,
  },
];
