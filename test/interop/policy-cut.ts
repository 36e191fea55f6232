/**
 * What becomes of open flows when a policy takes a right away: a mote and a stock node side by side as the receivers, a
 * mote and a stock node as the senders.
 *
 * Once the two stay known to each other, so that the filter alone has changed, and once they do not. A mote cuts what is no
 * longer allowed. Stock asks its filter only about segments that open a TCP connection, and lets in what answers a
 * datagram that it has sent; what is open thus stays open while it knows the sender. That is shown, not judged.
 */
import type { AdminCommand, AdminResults } from '../../lib/coordinator/commands.ts';
import { openAdmin } from '../../targets/cli/admin-client.ts';
import { type Bench, type Case, expect } from './case.ts';
import { Remote } from './json-lines.ts';
import { sleep, until } from './lab.ts';
import { MoteNode } from './mote-node.ts';
import { OurCoordinator } from './our-coordinator.ts';
import type { SourceReport, TargetReport } from './policy-flows.ts';
import { StockNode } from './stock-tailscale.ts';
import { TailnetNet } from './tailscale-net.ts';

const PORT = 7400;
const EVERY_MS = 20;
/** Flows go so long before the right is taken away, and are watched so long afterwards. */
const BEFORE_MS = 1000;
const AFTER_MS = 4000;
/** After this nothing may come in that is not allowed. */
const LIMIT_MS = 2000;

/** A program that receives or sends, and the address that others dial. */
interface End {
  readonly name: string;
  readonly kind: 'mote' | 'stock';
  readonly side: Remote;
  readonly address: string;
}

interface CutWorld {
  readonly senders: readonly End[];
  readonly receivers: readonly End[];
  set(text: string): Promise<void>;
}

/** Times from the command to the last that came, in ms; negative: before it. */
interface Cut {
  readonly from: End;
  readonly to: End;
  readonly newMs: number;
  readonly tcpMs: number;
  readonly udpMs: number;
  readonly source: SourceReport;
}

async function makeWorld({ lab }: Bench): Promise<CutWorld> {
  const net = await TailnetNet.make(lab);
  const coordinator = await OurCoordinator.make(net, { isPlain: true });
  const admin = await openAdmin({ dataDir: coordinator.dataDir }, () => Promise.reject(new Error('it does not run')));
  const ask = async <T extends AdminCommand['type']>(command: Extract<AdminCommand, { type: T }>) =>
    (await admin.command(command)) as AdminResults[T];
  const tailnet = 'default';
  const join = async (name: string, tag: string): Promise<End> => {
    const { key } = await ask({ type: 'key-create', tailnet, tags: [tag] });
    return name.startsWith('mote')
      ? joinMote(net, coordinator.url, name, key!)
      : joinStock(net, coordinator.url, name, key!);
  };
  const [moteA, stockA, moteB, stockB] = await Promise.all([
    join('mote-a', 'tag:sender'),
    join('stock-a', 'tag:sender'),
    join('mote-b', 'tag:receiver'),
    join('stock-b', 'tag:receiver'),
  ]);
  return {
    senders: [moteA!, stockA!],
    receivers: [moteB!, stockB!],
    set: async text => void (await ask({ type: 'policy-set', tailnet, text })),
  };
}

async function joinMote(net: TailnetNet, control: string, name: string, authKey: string): Promise<End> {
  const mote = await MoteNode.make(net, name);
  await mote.up({ control, authKey });
  return { name, kind: 'mote', side: mote.side, address: mote.address };
}

async function joinStock(net: TailnetNet, loginServer: string, name: string, authKey: string): Promise<End> {
  const party = await net.party(name.slice(0, 4));
  // As in policy-stock.ts: without a default route every change of routes is one of networks.
  await party.space.ip('route', 'add', 'default', 'via', '10.77.0.254');
  const stock = await StockNode.make(net, name, 'tailscaled', { party, tun: 'tailscale0' });
  await stock.up({ loginServer, authKey, extra: ['--netfilter-mode=off', '--accept-dns=false'] });
  const side = new Remote(net.lab, party.space, 'kernel-peer.ts');
  await side.call('open');
  return { name, kind: 'stock', side, address: await stock.address() };
}

const TAGS = '"tagOwners": {"tag:sender": [], "tag:receiver": []}';
const rule = (src: string, dst: string) => `{"action": "accept", "src": ["${src}"], "dst": ["${dst}"]}`;
const BACK = rule('tag:receiver', 'tag:sender:1');
const ALLOWED = `{${TAGS}, "acls": [${BACK}, ${rule('tag:sender', `tag:receiver:${PORT}-${PORT + 1}`)}]}`;
const FILTERED = `{${TAGS}, "acls": [${BACK}]}`;
const UNKNOWN = `{${TAGS}, "acls": []}`;

/** Flows from everybody to everybody, and how long after the command the last of each came. */
async function cut(world: CutWorld, targets: ReadonlyMap<End, number>, text: string): Promise<Cut[]> {
  await world.set(ALLOWED);
  const running: { from: End; to: End; flows: number }[] = [];
  for (const from of world.senders)
    for (const to of world.receivers) running.push({ from, to, flows: await startFlows(from, to) });
  await sleep(BEFORE_MS);
  const setMs = Date.now();
  await world.set(text);
  await sleep(AFTER_MS);
  const out: Cut[] = [];
  for (const { from, to, flows } of running) {
    const target = targets.get(to)! + world.senders.indexOf(from);
    const { acceptedMs, tcpMs, udpMs } = (await to.side.call('targetReport', { target })) as TargetReport;
    const source = (await from.side.call('flowsReport', { flows })) as SourceReport;
    expect(acceptedMs > 0 && tcpMs > 0 && udpMs > 0, `${from.name} never reached ${to.name}`);
    out.push({ from, to, newMs: acceptedMs - setMs, tcpMs: tcpMs - setMs, udpMs: udpMs - setMs, source });
    await from.side.call('flowsStop', { flows });
  }
  return out;
}

/** The first connection may have to wait for the policy and for a path. */
async function startFlows(from: End, to: End): Promise<number> {
  const port = PORT + (from.kind === 'mote' ? 0 : 1);
  const args = { host: to.address, port, everyMs: EVERY_MS };
  const tryIt = () =>
    from.side.call('flows', args).then(
      ({ flows }) => ({ flows: flows as number }),
      () => undefined,
    );
  return (await until(`${from.name} reaches ${to.name}`, 20_000, tryIt)).flows;
}

function describe({ from, to, newMs, tcpMs, udpMs, source }: Cut): string {
  const time = (ms: number) =>
    ms > AFTER_MS - 500 ? `still open after ${AFTER_MS / 1000} s` : `${Math.max(0, ms)} ms`;
  const end = source.ended === undefined ? 'still open' : source.ended.code;
  const words = [`new ${time(newMs)}`, `open TCP ${time(tcpMs)}`, `UDP ${time(udpMs)}`];
  return `${from.name} to ${to.name}: ${words.join(', ')}; the sender: connection ${end}, new ones ${source.lastDial}`;
}

async function cutFlows(bench: Bench): Promise<string> {
  const world = await makeWorld(bench);
  const targets = new Map<End, number>();
  for (const to of world.receivers) {
    const { target } = await to.side.call('target', { port: PORT });
    await to.side.call('target', { port: PORT + 1 });
    targets.set(to, target as number);
  }
  const filtered = await cut(world, targets, FILTERED);
  const unknown = await cut(world, targets, UNKNOWN);
  for (const one of [...filtered, ...unknown]) {
    const words = describe(one);
    expect(one.newMs <= LIMIT_MS, `new connections are taken for too long: ${words}`);
    const isJudged = one.to.kind === 'mote' || unknown.includes(one);
    expect(!isJudged || Math.max(one.tcpMs, one.udpMs) <= LIMIT_MS, `flows go on for too long: ${words}`);
  }
  const lines = (list: readonly Cut[]) => list.map(one => `  ${describe(one)}`);
  return ['the filter alone:', ...lines(filtered), 'no longer known to each other:', ...lines(unknown)].join(
    '\n        ',
  );
}

export const cutCases: readonly Case[] = [
  {
    name: 'cut',
    title: 'a policy change that takes a right away ends new connections, open TCP and UDP flows at once, on a mote',
    timeoutMs: 120_000,
    isMoteOnly: true,
    run: cutFlows,
  },
];
