/**
 * Stock headscale: two stock nodes on it, which proves the laboratory, and a mote that joins it. (The old tailscaled is
 * not here: this headscale refuses clients before 1.80.)
 */
import { type Bench, type Case, expect, expectPattern } from './case.ts';
import type { Remote } from './json-lines.ts';
import { patternHash } from './pattern.ts';
import { Derper, Headscale } from './stock-headscale.ts';
import { StockNode } from './stock-tailscale.ts';
import { TailnetNet } from './tailscale-net.ts';

/** Fetches `bytes` of a pattern from the HTTP server of another node and checks them. */
export async function fetchPattern(
  from: Remote,
  host: string,
  port: number,
  bytes: number,
  seed: number,
): Promise<void> {
  const url = `http://${host}:${port}/data?bytes=${bytes}&seed=${seed}`;
  const got = await from.call('fetch', { url }, 30_000);
  expect(got.status === 200, `${url}: status ${got.status}`);
  expectPattern(url, got, seed, bytes);
}

/** Sends a datagram to an echo and expects it back; three tries, as datagrams may be lost. */
export async function udpRoundTrip(
  from: Remote,
  host: string,
  port: number,
  bytes: number,
  seed: number,
): Promise<void> {
  const { socket } = await from.call('udp', { port: 0 });
  let last: unknown;
  for (let i = 0; i < 3; i++) {
    await from.call('udpSend', { socket, host, port, bytes, seed });
    try {
      const got = await from.call('udpReceive', { socket }, 3000);
      expect(got.bytes === bytes && got.sha256 === patternHash(seed, bytes), `${bytes} bytes by UDP came back changed`);
      return;
    } catch (error) {
      last = error;
    }
  }
  throw new Error(`no UDP echo from ${host}:${port}: ${String(last)}`);
}

async function twoStockNodes({ lab }: Bench, derper: boolean): Promise<string> {
  const net = await TailnetNet.make(lab);
  const relay = derper ? await Derper.make(net, { isPinned: true }) : undefined;
  const headscale = await Headscale.make(net, relay);
  const [one, two] = await Promise.all([
    StockNode.make(net, 'one', 'tailscaled'),
    StockNode.make(net, 'two', 'tailscaled'),
  ]);
  const join = async (node: StockNode) => node.up({ loginServer: headscale.url, authKey: await headscale.authKey() });
  await Promise.all([join(one), join(two)]);
  await Promise.all([one.sees('two'), two.sees('one')]);
  await Promise.all([one.side.call('serve', { port: 8000 }), two.side.call('serve', { port: 8000 })]);
  await fetchPattern(one.side, 'two', 8000, 300_000, 1);
  await fetchPattern(two.side, 'one', 8000, 300_000, 2);
  await two.side.call('udpEcho', { port: 7000 });
  await udpRoundTrip(one.side, await two.address(), 7000, 1000, 3);
  const pong = await one.ping('two', 'tsmp');
  return `${pong}; ${await headscale.evidence()}; ${await one.evidence()}; ${await two.evidence()}`;
}

export const headscaleCases: readonly Case[] = [
  {
    name: 'lab',
    title: 'two stock nodes talk over stock headscale, so the laboratory holds',
    needs: ['headscale'],
    timeoutMs: 90_000,
    run: bench => twoStockNodes(bench, false),
  },
];
