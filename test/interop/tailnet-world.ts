/**
 * Our coordinator with the newest and an old tailscaled and a mote on it, and what cases ask of all of them.
 */
import type { Bench } from './case.ts';
import { MoteNode } from './mote-node.ts';
import { OurCoordinator } from './our-coordinator.ts';
import { StockNode } from './stock-tailscale.ts';
import { TailnetNet } from './tailscale-net.ts';
import { fetchSoon, offerServices } from './traffic.ts';

/** What these cases need beside the newest tailscaled. */
export const BOTH = Object.freeze(['tailscaled (old)']);
/** Bytes of an ordinary transfer. */
export const HTTP_BYTES = 300_000;

/** A coordinator and who is on it. */
export interface World {
  readonly net: TailnetNet;
  readonly coordinator: OurCoordinator;
  readonly newest: StockNode;
  readonly old: StockNode;
  readonly mote: MoteNode;
}

/** Has a stock node join with a new auth key. */
export async function joinStock(
  coordinator: OurCoordinator,
  node: StockNode,
  ...keyFlags: readonly string[]
): Promise<void> {
  await node.up({ loginServer: coordinator.url, authKey: await coordinator.authKey(...keyFlags) });
}

/** Has a mote join with a new auth key. */
export async function joinMote(
  coordinator: OurCoordinator,
  mote: MoteNode,
  ...keyFlags: readonly string[]
): Promise<void> {
  await mote.up({ control: coordinator.url, authKey: await coordinator.authKey(...keyFlags) });
}

/** The newest and the old tailscaled and a mote, all joined, each serving HTTP and an echo. */
export async function threeNodes({ lab }: Bench, o: { isPlain?: boolean } = {}): Promise<World> {
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

/** Waits until every one lists the two others, online and with a home relay. */
export async function eachSeesTheOthers({ newest, old, mote }: World): Promise<void> {
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
export async function httpEachWay({ newest, old, mote }: World): Promise<void> {
  const nodes = [newest, old, mote];
  for (const from of nodes)
    for (const to of nodes) if (from !== to) await fetchSoon(from.side, to.name, HTTP_BYTES, 20_000);
}

/** Everybody's own view, one per line. */
export async function allEvidence({ coordinator, newest, old, mote }: World): Promise<string> {
  const parts = [coordinator, newest, old, mote].map(one => one.evidence());
  return (await Promise.all(parts)).join('\n        ');
}
