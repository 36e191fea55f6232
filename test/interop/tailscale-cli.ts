/**
 * The `motenet` command as a member of a tailnet beside stock tailscaled: `motenet up` and what asks it.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Bench, type Case, expect } from './case.ts';
import { type Json, Remote, TSX } from './json-lines.ts';
import { until } from './lab.ts';
import { OurCoordinator } from './our-coordinator.ts';
import { StockNode } from './stock-tailscale.ts';
import { TailnetNet } from './tailscale-net.ts';
import { fetchSoon, HTTP_PORT, offerServices, udpRoundTrip } from './traffic.ts';

const CLI = new URL('../../targets/cli/main.ts', import.meta.url).pathname;
const SOCKS_PORT = 1080;
const LOCAL_PORTS = Object.freeze({ http: 8000, echo: 7000 });

async function upAndAsk({ lab }: Bench): Promise<string> {
  const net = await TailnetNet.make(lab);
  const [coordinator, newest, party] = await Promise.all([
    OurCoordinator.make(net),
    StockNode.make(net, 'newest', 'tailscaled'),
    net.party('box'),
  ]);
  await newest.up({ loginServer: coordinator.url, authKey: await coordinator.authKey() });
  await offerServices(newest.side);
  const folder = lab.directory();
  const [state, keyFile] = [join(folder, 'state'), join(folder, 'key')];
  writeFileSync(keyFile, `${await coordinator.authKey()}\n`, { mode: 0o600 });
  const motenet = (...args: readonly string[]) => [process.execPath, '--import', TSX, CLI, ...args, '--state', state];
  const ask = (args: readonly string[], input?: string) =>
    lab.run(party.space, motenet(...args), input === undefined ? {} : { input });
  // What is behind it: the kernel's sockets, and a program that goes through its SOCKS proxy.
  const local = new Remote(lab, party.space, 'kernel-peer.ts');
  const side = new Remote(lab, party.space, 'tailscale-side.ts');
  await Promise.all([local.call('open'), side.call('open', { socksPort: SOCKS_PORT })]);
  await offerServices(local);
  const joining = ['--control', coordinator.url, '--authkey-file', keyFile, '--name', 'box', '--ca', net.caFile];
  const exposed = [`8000=127.0.0.1:${LOCAL_PORTS.http}`, `7000=127.0.0.1:${LOCAL_PORTS.echo}/udp`];
  const services = [...exposed.flatMap(text => ['--expose', text]), '--socks', `${SOCKS_PORT}`];
  const up = lab.start(party.space, motenet('up', ...joining, ...services), { name: 'motenet up' });
  await until('motenet up is ready', 30_000, () => {
    if (!up.isRunning) throw new Error(`motenet up ended: ${up.tail()}`);
    return /^ready/m.test(up.stdout);
  });
  const boxAddress = (await newest.sees('box')).TailscaleIPs[0] as string;
  await fetchSoon(newest.side, 'box', 300_000);
  await udpRoundTrip(newest.side, boxAddress, 1000);
  await fetchSoon(side, 'newest', 300_000);
  await udpRoundTrip(side, await newest.address(), 1000);
  const request = `GET /data?bytes=5&seed=1 HTTP/1.1\r\nHost: newest\r\nConnection: close\r\n\r\n`;
  const answer = (await ask(['nc', 'newest', `${HTTP_PORT}`], request)).stdout;
  expect(/^HTTP\/1\.1 200/.test(answer), `motenet nc: ${answer}`);
  const whois = JSON.parse((await ask(['whois', await newest.address(), '--json'])).stdout) as Json;
  expect(JSON.stringify(whois).includes('newest.'), `motenet whois: ${JSON.stringify(whois)}`);
  const status = JSON.parse((await ask(['status', '--json'])).stdout) as Json;
  expect(JSON.stringify(status).includes('newest.'), `motenet status: ${JSON.stringify(status)}`);
  const shown = (await ask(['status'])).stdout.trim().replace(/\s*\n\s*/g, '; ');
  const seen = await newest.evidence();
  await ask(['logout']);
  const { code } = await up.ended;
  expect(code === 0, `motenet up ended with ${code} after the logout: ${up.tail()}`);
  await until('the stock node knows that it has gone', 30_000, async () => {
    const peer = await newest.peer('box');
    return peer === undefined || peer.Expired === true;
  });
  return `motenet status: ${shown}\n        ${seen}`;
}

export const cliTailnetCases: readonly Case[] = [
  {
    name: 'cli',
    title: '`motenet up` exposes services to a stock node and reaches its own, and status, nc, whois and logout answer',
    isLong: true,
    timeoutMs: 120_000,
    run: upAndAsk,
  },
];
