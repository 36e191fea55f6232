/**
 * Nodes of cases behind NAT: one face for stock tailscaled and motes, and a world of sites with one of each.
 */
import type { Bench } from './case.ts';
import type { Remote } from './json-lines.ts';
import { until } from './lab.ts';
import { MoteNode } from './mote-node.ts';
import { type NatKind, Site } from './nat-net.ts';
import { OurCoordinator } from './our-coordinator.ts';
import { StockNode } from './stock-tailscale.ts';
import { TailnetNet } from './tailscale-net.ts';
import { ECHO_PORT, offerServices } from './traffic.ts';

/** Which program a node is. */
export type NodeKind = 'stock' | 'mote';

/** One node, whichever program it is. */
export interface NatNode {
  readonly kind: NodeKind;
  readonly name: string;
  /** Its IPv4 address in the tailnet. */
  readonly address: string;
  readonly side: Remote;
  readonly site: Site;
  /** The UDP address by which it now sends to that peer and nothing else; undefined: not directly. */
  direct(peer: string): Promise<string | undefined>;
  /** Waits until it lists a peer that is online and has a home relay. */
  sees(peer: string): Promise<unknown>;
  /** Stops the program as it is, or lets it go on. */
  freeze(isFrozen: boolean): void;
  readonly stock: StockNode | undefined;
  readonly mote: MoteNode | undefined;
}

/** Where to join, and a key for any number of nodes. */
interface Joining {
  readonly url: string;
  readonly key: string;
}

async function stockNode(join: Joining, site: Site): Promise<NatNode> {
  const name = `s-${site.label}`;
  const party = await site.party(name);
  const stock = await StockNode.make(site.net, name, 'tailscaled', { party });
  await stock.up({ loginServer: join.url, authKey: join.key });
  await offerServices(stock.side);
  return {
    kind: 'stock',
    name,
    address: await stock.address(),
    side: stock.side,
    site,
    direct: async peer => {
      const { Peer } = await stock.quickStatus();
      for (const one of Object.values((Peer ?? {}) as Record<string, { DNSName: string; CurAddr: string }>))
        if (one.DNSName.split('.')[0] === peer && one.CurAddr !== '') return one.CurAddr;
      return undefined;
    },
    sees: peer => stock.sees(peer, 40_000),
    freeze: isFrozen => stock.signal(isFrozen ? 'SIGSTOP' : 'SIGCONT'),
    stock,
    mote: undefined,
  };
}

async function moteNode(join: Joining, site: Site): Promise<NatNode> {
  const name = `m-${site.label}`;
  const mote = await MoteNode.make(site.net, name, { party: await site.party(name) });
  await mote.up({ control: join.url, authKey: join.key });
  await offerServices(mote.side);
  return {
    kind: 'mote',
    name,
    address: mote.address,
    side: mote.side,
    site,
    direct: async peer => {
      const found = await mote.peer(peer);
      return found?.path === 'direct' ? ((found.endpoint as string | undefined) ?? 'unknown') : undefined;
    },
    sees: peer => mote.sees(peer, 40_000),
    freeze: isFrozen => mote.side.program.signal(isFrozen ? 'SIGSTOP' : 'SIGCONT'),
    stock: undefined,
    mote,
  };
}

/** A coordinator with relay and STUN in the middle, and sites with a stock node and a mote each. */
export interface NatWorld {
  readonly net: TailnetNet;
  readonly coordinator: OurCoordinator;
  readonly sites: ReadonlyMap<string, Site>;
  node(kind: NodeKind, site: string): NatNode;
  find(kind: NodeKind, site: string): NatNode | undefined;
}

/** Makes the world; `sites` by label, of at most three characters. */
export async function makeNatWorld(
  { lab }: Bench,
  o: { sites: Readonly<Record<string, NatKind>>; kinds: readonly NodeKind[] },
): Promise<NatWorld> {
  const net = await TailnetNet.make(lab);
  const sites = new Map<string, Site>();
  const making = OurCoordinator.make(net);
  for (const [label, kind] of Object.entries(o.sites)) sites.set(label, await Site.make(net, label, kind));
  const coordinator = await making;
  const join = { url: coordinator.url, key: await coordinator.authKey('--reusable') };
  const makers = { stock: stockNode, mote: moteNode };
  const wanted = [...sites.values()].flatMap(site => o.kinds.map(kind => makers[kind](join, site)));
  const nodes = new Map((await Promise.all(wanted)).map(node => [node.name, node]));
  const names = [...nodes.keys()];
  await Promise.all(
    [...nodes.values()].map(node => Promise.all(names.filter(name => name !== node.name).map(name => node.sees(name)))),
  );
  return {
    net,
    coordinator,
    sites,
    find: (kind, site) => nodes.get(`${kind[0]}-${site}`),
    node: (kind, site) => {
      const node = nodes.get(`${kind[0]}-${site}`);
      if (node === undefined) throw new Error(`there is no ${kind} at ${site}`);
      return node;
    },
  };
}

/** Waits for a direct path from one node to another; how long that took, and the endpoint; undefined when it never came. */
export async function waitDirect(
  from: NatNode,
  to: NatNode,
  timeoutMs: number,
  sinceMs = Date.now(),
  pattern = /./,
): Promise<{ ms: number; endpoint: string } | undefined> {
  try {
    const probe = async () => {
      const found = await from.direct(to.name).catch(() => undefined);
      return found !== undefined && pattern.test(found) && found;
    };
    const endpoint = await until('direct', timeoutMs, probe, 50);
    return { ms: Date.now() - sinceMs, endpoint };
  } catch {
    return undefined;
  }
}

/** Begins a steady trickle from one node to the other. */
export async function trickle(from: NatNode, to: NatNode, everyMs = 100): Promise<number> {
  return (await from.side.call('probe', { host: to.address, port: ECHO_PORT, everyMs })).probe as number;
}
