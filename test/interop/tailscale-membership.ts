/**
 * Our coordinator with stock tailscaled of two ages and motes on it: how a membership begins, changes and ends.
 */
import { type Bench, type Case, expect } from './case.ts';
import type { Json } from './json-lines.ts';
import { until } from './lab.ts';
import { MoteNode } from './mote-node.ts';
import { OurCoordinator } from './our-coordinator.ts';
import { StockNode } from './stock-tailscale.ts';
import { allEvidence, BOTH, eachSeesTheOthers, joinMote, joinStock, threeNodes } from './tailnet-world.ts';
import { TailnetNet } from './tailscale-net.ts';
import { expectUnreachable, fetchSoon, offerServices } from './traffic.ts';

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

export const membershipCases: readonly Case[] = [
  {
    name: 'approval',
    title: 'a device that waits for approval sees nobody and is seen by nobody, and works once approved',
    needs: BOTH,
    timeoutMs: 120_000,
    run: approval,
  },
  {
    name: 'login',
    title: 'stock nodes and a mote without a key show a URL, wait, and join once the login is approved',
    needs: BOTH,
    timeoutMs: 120_000,
    run: login,
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
];
