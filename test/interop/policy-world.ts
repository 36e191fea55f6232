/**
 * Who takes part in the policy cases: our coordinator, two stock receivers with a device of the kernel each, and light
 * senders with several users, tags and routes.
 *
 * `gate` (stock) is tagged, serves subnets of both families and is an exit node. `desk` (stock) belongs to ann and uses the
 * exit node `out`, so that addresses from outside the tailnet can come to it. Of the senders, `yard` serves subnets and
 * sends from there too, and `out` sends from the internet as well.
 */
import type { AdminCommand, AdminResults, DeviceView } from '../../lib/coordinator/commands.ts';
import { PolicyCompiler } from '../../lib/policy/compiler.ts';
import type { PolicyDevice } from '../../lib/policy/directory.ts';
import type { Policy } from '../../lib/policy/policy.ts';
import { type AdminClient, openAdmin } from '../../targets/cli/admin-client.ts';
import { type Json, Remote } from './json-lines.ts';
import { type Lab, until } from './lab.ts';
import { OurCoordinator } from './our-coordinator.ts';
import { StockReceiver } from './policy-stock.ts';
import { STOCK_UDP_PORT } from './stock-tailscale.ts';
import { TailnetNet } from './tailscale-net.ts';

const TAILNET = 'default';

/** Logins of the users. */
export const USERS = Object.freeze(['ann@lab.test', 'bob@lab.test', 'carl@lab.test'] as const);

/** One address from which a sender sends. */
export interface Source {
  readonly of: string;
  readonly v4: string;
  readonly v6: string;
  /** Receivers that take this source from the sender at all: their WireGuard knows it as one of the sender's. */
  readonly to: readonly ReceiverName[];
}

/** The receivers. */
export type ReceiverName = 'gate' | 'desk';

interface Making {
  readonly name: string;
  readonly user?: (typeof USERS)[number];
  readonly tags?: readonly string[];
  readonly routes?: readonly string[];
}

const GATE_ROUTES = Object.freeze(['10.20.0.0/16', 'fd00:20::/64', '0.0.0.0/0', '::/0']);
const SENDERS: readonly Making[] = Object.freeze([
  { name: 'phone', user: 'ann@lab.test' },
  { name: 'pad', user: 'bob@lab.test' },
  { name: 'loom', user: 'carl@lab.test' },
  { name: 'web', tags: ['tag:web'] },
  { name: 'twin', tags: ['tag:web', 'tag:db'] },
  { name: 'yard', tags: ['tag:router'], routes: ['10.30.0.0/24', 'fd00:30::/64'] },
  { name: 'out', tags: ['tag:exit'], routes: ['0.0.0.0/0', '::/0'] },
]);

/** The world of the policy cases. */
export class PolicyWorld {
  readonly net: TailnetNet;
  readonly coordinator: OurCoordinator;
  readonly admin: AdminClient;
  readonly receivers: Readonly<Record<ReceiverName, StockReceiver>>;
  readonly senders: Remote;
  /** Devices as the coordinator lists them. */
  devices: readonly DeviceView[] = [];
  sources: readonly Source[] = [];

  private constructor(
    net: TailnetNet,
    coordinator: OurCoordinator,
    admin: AdminClient,
    receivers: Readonly<Record<ReceiverName, StockReceiver>>,
    senders: Remote,
  ) {
    this.net = net;
    this.coordinator = coordinator;
    this.admin = admin;
    this.receivers = receivers;
    this.senders = senders;
  }

  static async make(lab: Lab): Promise<PolicyWorld> {
    const net = await TailnetNet.make(lab);
    const [coordinator, gate, desk, party] = await Promise.all([
      OurCoordinator.make(net, { isPlain: true }),
      StockReceiver.make(net, 'gate'),
      StockReceiver.make(net, 'desk'),
      net.party('send'),
    ]);
    const admin = await openAdmin({ dataDir: coordinator.dataDir }, () =>
      Promise.reject(new Error('the coordinator does not run')),
    );
    const world = new PolicyWorld(
      net,
      coordinator,
      admin,
      { gate, desk },
      new Remote(lab, party.space, 'policy-senders.ts'),
    );
    await world.#join();
    return world;
  }

  /** One command of an administrator. */
  async ask<T extends AdminCommand['type']>(
    command: Omit<Extract<AdminCommand, { type: T }>, 'tailnet'> & { type: T },
  ): Promise<AdminResults[T]> {
    const whole = { ...command, tailnet: TAILNET } as unknown as AdminCommand;
    return (await this.admin.command(whole)) as AdminResults[T];
  }

  async #join(): Promise<void> {
    for (const loginName of USERS) await this.ask({ type: 'user-create', loginName });
    const keyOf = async (o: Pick<Making, 'user' | 'tags'>) =>
      (await this.ask({ type: 'key-create', ...(o.user && { user: o.user }), ...(o.tags && { tags: o.tags }) })).key!;
    const { gate, desk } = this.receivers;
    const { url } = this.coordinator;
    const joinSenders = async () => {
      await this.senders.call('open', { url });
      for (const { name, routes = [], ...owner } of SENDERS)
        await this.senders.call('join', { name, routes, authKey: await keyOf(owner) });
    };
    const advertised = `--advertise-routes=${GATE_ROUTES.filter(route => !route.endsWith('/0')).join()}`;
    await Promise.all([
      joinSenders(),
      gate.up(url, await keyOf({ tags: ['tag:gate'] }), [
        advertised,
        '--advertise-exit-node',
        '--snat-subnet-routes=false',
      ]),
      desk.up(url, await keyOf({ user: 'ann@lab.test' })),
    ]);
    for (const { name, routes } of [...SENDERS, { name: 'gate', routes: GATE_ROUTES }])
      if (routes !== undefined) await this.ask({ type: 'device-routes', device: name, routes });
    await this.refresh();
    this.sources = this.#sourcesOf();
    const exit = ['set', `--exit-node=${this.addressesOf('out')[0]}`];
    const isTaken = async () => (await desk.node.command(exit, { mayFail: true })).code === 0;
    await until('the desk uses the exit node', 10_000, isTaken);
    await this.#introduce();
  }

  /** Asks for the devices once more. */
  async refresh(): Promise<void> {
    this.devices = await this.ask({ type: 'device-list' });
  }

  device(name: string): DeviceView {
    const found = this.devices.find(device => device.name === name);
    if (found === undefined) throw new Error(`the coordinator lists no device ${name}`);
    return found;
  }

  /** IPv4 and IPv6 address of a device. */
  addressesOf(name: string): readonly [string, string] {
    const { addresses } = this.device(name);
    const list = Object.values(addresses) as string[];
    return [list.find(text => !text.includes(':'))!, list.find(text => text.includes(':'))!];
  }

  /** A policy with the devices as they are. */
  compile(policy: Policy): PolicyCompiler {
    return new PolicyCompiler(policy, this.devices.map(deviceOf));
  }

  /** Tells the senders of the receivers. */
  async #introduce(): Promise<void> {
    for (const name of ['gate', 'desk'] as const) {
      const { nodeKey } = this.device(name);
      const { address } = this.receivers[name].node.party;
      const addresses = this.addressesOf(name);
      for (const { name: of } of SENDERS)
        await this.senders.call('peer', { of, name, publicKey: nodeKey, address, port: STOCK_UDP_PORT, addresses });
    }
  }

  #sourcesOf(): readonly Source[] {
    const both = ['gate', 'desk'] as const;
    const own = SENDERS.map(({ name }): Source => {
      const [v4, v6] = this.addressesOf(name);
      return { of: name, v4, v6, to: both };
    });
    const behindYard: Source = { of: 'yard', v4: '10.30.0.5', v6: 'fd00:30::5', to: both };
    const outside: Source = { of: 'out', v4: '203.0.113.9', v6: '2001:db8:77::9', to: ['desk'] };
    return [...own, behindYard, outside];
  }

  async evidence(): Promise<string> {
    const { gate, desk } = this.receivers;
    const shown = [gate, desk].map(({ node }) => `${node.name} (tailscaled ${node.version})`).join(' and ');
    return `${shown} receive, ${SENDERS.map(({ name }) => name).join(', ')} send from ${this.sources.length} pairs of addresses`;
  }
}

/** A listed device as the policy's compiler takes it: its routes are those that are advertised and approved. */
function deviceOf(device: DeviceView): PolicyDevice {
  const { id, addresses, user, tags, routes } = device;
  const inForce = routes.filter(({ isApproved, isAdvertised }) => isApproved && isAdvertised);
  return {
    id,
    addresses: Object.values(addresses as Json) as string[],
    user,
    tags,
    routes: inForce.map(({ route }) => route),
  };
}
