/**
 * Stock headscale: two stock nodes on it, which proves the laboratory, and a mote that joins it. (The old tailscaled is
 * not here: this headscale refuses clients before 1.80.)
 */
import { type Bench, type Case, expect } from './case.ts';
import { until } from './lab.ts';
import { MoteNode } from './mote-node.ts';
import { Derper, Headscale } from './stock-headscale.ts';
import { StockNode } from './stock-tailscale.ts';
import { blockUdp, TailnetNet } from './tailscale-net.ts';
import { fetchPattern, fetchSoon, offerServices, udpRoundTrip } from './traffic.ts';

async function twoStockNodes({ lab }: Bench): Promise<string> {
  const net = await TailnetNet.make(lab);
  const headscale = await Headscale.make(net);
  const [one, two] = await Promise.all([
    StockNode.make(net, 'one', 'tailscaled'),
    StockNode.make(net, 'two', 'tailscaled'),
  ]);
  const join = async (node: StockNode) => node.up({ loginServer: headscale.url, authKey: await headscale.authKey() });
  await Promise.all([join(one), join(two)]);
  await Promise.all([one.sees('two'), two.sees('one'), offerServices(one.side), offerServices(two.side)]);
  await fetchPattern(one.side, 'two', 300_000);
  await fetchPattern(two.side, 'one', 300_000);
  await udpRoundTrip(one.side, await two.address(), 1000);
  const pong = await one.ping('two', 'tsmp');
  return `${pong}; ${await headscale.evidence()}; ${await one.evidence()}; ${await two.evidence()}`;
}

/** A headscale with a stock node and a mote on it. */
async function withMote({ lab }: Bench, derper?: (net: TailnetNet) => Promise<Derper>) {
  const net = await TailnetNet.make(lab);
  const relay = await derper?.(net);
  const [headscale, stock, mote] = await Promise.all([
    Headscale.make(net, relay),
    StockNode.make(net, 'stock', 'tailscaled'),
    MoteNode.make(net, 'mote'),
  ]);
  await stock.up({ loginServer: headscale.url, authKey: await headscale.authKey() });
  await mote.up({ control: headscale.url, authKey: await headscale.authKey() });
  await Promise.all([stock.sees('mote'), mote.sees('stock'), offerServices(stock.side), offerServices(mote.side)]);
  return { net, relay, headscale, stock, mote };
}

/** HTTP and UDP both ways between a stock node and a mote. */
async function talk(stock: StockNode, mote: MoteNode, timeoutMs = 20_000): Promise<void> {
  await fetchSoon(mote.side, stock.name, 300_000, timeoutMs);
  await fetchSoon(stock.side, mote.name, 300_000, timeoutMs);
  await udpRoundTrip(mote.side, await stock.address(), 1000);
  await udpRoundTrip(stock.side, mote.address, 1000);
}

async function moteOnHeadscale(bench: Bench): Promise<string> {
  const { net, headscale, stock, mote } = await withMote(bench);
  await talk(stock, mote);
  const pong = await stock.ping('mote', 'tsmp');
  const { whois } = await mote.side.call('whois', { address: await stock.address() });
  expect(whois?.name?.split('.')[0] === 'stock', `whois names the stock node ${JSON.stringify(whois)}`);
  const listed = (await headscale.nodes()).find(node => node.given_name === 'mote');
  expect(listed?.online === true, `headscale lists the mote as ${JSON.stringify(listed)}`);
  const before = mote.address;
  await headscale.restart();
  await talk(stock, mote);
  await until('headscale sees both online again', 60_000, async () =>
    (await headscale.nodes()).every(node => node.online === true),
  );
  const restarted = performance.now();
  const late = await StockNode.make(net, 'late', 'tailscaled');
  await late.up({ loginServer: headscale.url, authKey: await headscale.authKey() });
  await Promise.all([mote.sees('late', 60_000), late.sees('mote'), offerServices(late.side)]);
  await talk(late, mote);
  const seconds = ((performance.now() - restarted) / 1000).toFixed(1);
  await mote.restart();
  expect(mote.address === before, `the mote had ${before} and now has ${mote.address}`);
  await offerServices(mote.side);
  await talk(stock, mote);
  const views = await Promise.all([headscale, stock, mote].map(one => one.evidence()));
  const summary = `${pong}; after headscale was killed and started a new node and the mote talked within ${seconds} s`;
  return [summary, ...views].join('\n        ');
}

async function moteThroughDerper(bench: Bench, isPinned: boolean): Promise<string> {
  const { relay, headscale, stock, mote } = await withMote(bench, net => Derper.make(net, { isPinned }));
  await Promise.all([blockUdp(stock.party), blockUdp(mote.party)]);
  await talk(stock, mote);
  const { relays } = await mote.tailnet();
  const peer = await stock.peer('mote');
  expect(peer?.Relay === 'lab' && peer.CurAddr === '', `the stock node reaches the mote by ${JSON.stringify(peer)}`);
  const startMs = performance.now();
  await relay!.restart();
  await fetchSoon(mote.side, 'stock', 50_000, 40_000);
  await fetchSoon(stock.side, 'mote', 50_000, 40_000);
  const seconds = ((performance.now() - startMs) / 1000).toFixed(1);
  const way = isPinned ? `pinned ${relay!.certName?.slice(0, 24)}…` : 'certificate of the test authority';
  const summary = `${await relay!.evidence()}, ${way}; killed and started: traffic after ${seconds} s; ${JSON.stringify(relays)}`;
  const views = await Promise.all([headscale, stock, mote].map(one => one.evidence()));
  return [summary, ...views].join('\n        ');
}

export const headscaleCases: readonly Case[] = [
  {
    name: 'lab',
    title: 'two stock nodes talk over stock headscale, so the laboratory holds',
    needs: ['headscale'],
    timeoutMs: 90_000,
    run: twoStockNodes,
  },
  {
    name: 'headscale',
    title: 'a mote joins stock headscale, talks to a stock node both ways, and survives a restart of headscale',
    needs: ['headscale'],
    isLong: true,
    timeoutMs: 150_000,
    run: moteOnHeadscale,
  },
  {
    name: 'mote-derper',
    title: 'a mote and a stock node talk through stock derper, also after it was restarted',
    needs: ['headscale', 'nft'],
    timeoutMs: 120_000,
    run: bench => moteThroughDerper(bench, false),
  },
  {
    name: 'mote-derper-pin',
    title: 'a mote and a stock node talk through a stock derper whose certificate is pinned in the map',
    needs: ['headscale', 'nft'],
    timeoutMs: 120_000,
    run: bench => moteThroughDerper(bench, true),
  },
];
