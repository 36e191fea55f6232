/**
 * Sites behind real NAT for tailnet cases: a router of Linux and nftables with a foot in the common network of
 * tailscale-net.ts, and machines behind it.
 *
 * Every site uses the same private addresses, as homes do. In words of RFC 4787, masquerading that keeps ports maps
 * independently of the endpoint and filters by address and port; with `fully-random` it also maps by address and port.
 * What comes uninvited is dropped before it makes an entry, which would take the port from the machine behind.
 * Left out: IPv6, port mapping protocols, hairpin.
 */
import type { Lab, Namespace } from './lab.ts';
import type { Party, TailnetNet } from './tailscale-net.ts';

/**
 * `none`: no router, machines stand in the common network. `easy`: ports are kept. `hard`: every destination sees another
 * random port. `blocked`: as easy, but no UDP crosses.
 */
export type NatKind = 'none' | 'easy' | 'hard' | 'blocked';

/** Where the site's machines live, all of them alike. */
const LAN = '192.168.1';

/** A router and what is behind it. */
export class Site {
  readonly net: TailnetNet;
  readonly kind: NatKind;
  readonly label: string;
  readonly #lab: Lab;
  /** Absent where there is no NAT. */
  readonly #router: Party | undefined;
  #wanAddress: string;
  #nextHost = 2;
  readonly #hosts: { readonly space: Namespace; readonly device: string; address: string }[] = [];

  private constructor(net: TailnetNet, label: string, kind: NatKind, router: Party | undefined) {
    this.net = net;
    this.#lab = net.lab;
    this.label = label;
    this.kind = kind;
    this.#router = router;
    this.#wanAddress = router?.address ?? '';
  }

  static async make(net: TailnetNet, label: string, kind: NatKind): Promise<Site> {
    if (kind === 'none') return new Site(net, label, kind, undefined);
    const site = new Site(net, label, kind, await net.party(label));
    const { space } = site.#router!;
    await space.ip('link', 'add', 'lan', 'type', 'bridge');
    await space.addAddress('lan', `${LAN}.1/24`);
    await space.ip('link', 'set', 'lan', 'up');
    await net.lab.run(space, ['sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward']);
    await site.#rules();
    return site;
  }

  /** A machine of this site. */
  async party(label: string): Promise<Party> {
    if (this.#router === undefined) return this.net.party(label);
    const space = await this.#lab.namespace(label);
    const address = `${LAN}.${this.#nextHost++}`;
    const device = await this.#plug(space, 'lan');
    await space.addAddress(device, `${address}/24`);
    await space.ip('route', 'add', 'default', 'via', `${LAN}.1`);
    this.net.writeEtc(space);
    this.#hosts.push({ space, device, address });
    return { space, address, host: address, device };
  }

  /** Every machine of the site gets another address, as when it joins another network. */
  async moveHosts(): Promise<void> {
    for (const host of this.#hosts) {
      const { space, device, address } = host;
      await space.removeAddress(device, `${address}/24`);
      host.address = `${LAN}.${this.#nextHost++}`;
      await space.addAddress(device, `${host.address}/24`);
      await space.ip('route', 'replace', 'default', 'via', `${LAN}.1`);
    }
  }

  /**
   * Cuts the power of the router for a moment: all mappings are gone, and UDP gets new ports. What the kernel sees of a
   * TCP connection afterwards it takes up again.
   */
  async reboot(o: { ports: string }): Promise<void> {
    const { space, device } = this.#some();
    // The kernel forgets what was masqueraded to a device when that goes down.
    await space.ip('link', 'set', device, 'down');
    await this.#rules({ ports: o.ports });
    await space.ip('link', 'set', device, 'up');
  }

  /** The provider gives the router another address. */
  async renumber(address: string): Promise<void> {
    const { space, device } = this.#some();
    await space.removeAddress(device, `${this.#wanAddress}/24`);
    await space.addAddress(device, `${address}/24`);
    this.#wanAddress = address;
  }

  /** Drops that share (0 to 99 percent) of all packets that cross the router, either way. */
  async lose(percent: number): Promise<void> {
    await this.#rules({ percent });
  }

  /** Blocks or lets through UDP. */
  async blockUdp(isBlocked: boolean): Promise<void> {
    await this.#rules({ isBlocked });
  }

  /** Number of entries that the kernel tracks for UDP through this router. */
  async mappings(): Promise<string[]> {
    const { stdout } = await this.#lab.run(this.#some().space, ['cat', '/proc/net/nf_conntrack']);
    return stdout.split('\n').filter(line => line.includes(' udp '));
  }

  #state: { ports: string | undefined; percent: number; isBlocked: boolean } | undefined;

  /** Writes the rules anew, all at once. */
  async #rules(changes: { ports?: string; percent?: number; isBlocked?: boolean } = {}): Promise<void> {
    const state = {
      ...(this.#state ?? { ports: undefined, percent: 0, isBlocked: this.kind === 'blocked' }),
      ...changes,
    };
    this.#state = state;
    const { space, device } = this.#some();
    const masquerade = this.kind === 'hard' ? 'masquerade fully-random' : 'masquerade';
    const ports = state.ports === undefined ? '' : `meta l4proto udp masquerade to :${state.ports}`;
    const text = `
table ip lab
delete table ip lab
table ip lab {
  chain mapping {
    type nat hook postrouting priority 100;
    oifname "${device}" ${ports === '' ? masquerade : ports}
    oifname "${device}" ${masquerade}
  }
  chain uninvited {
    type filter hook input priority 0;
    iifname "${device}" ct state != { established, related } drop
  }
  chain through {
    type filter hook forward priority 0;
    ${state.isBlocked ? 'meta l4proto udp drop' : ''}
    ${state.percent > 0 ? `numgen random mod 100 < ${state.percent} drop` : ''}
    iifname "${device}" ct state != { established, related } drop
  }
}
`;
    await this.#lab.run(space, ['nft', '-f', '-'], { input: text });
  }

  /** A cable from a namespace to a bridge of the router; returns the name of the namespace's end, which is up. */
  async #plug(space: Namespace, bridge: string): Promise<string> {
    const { space: router } = this.#some();
    const [device, port] = [this.#lab.uniqueName('p'), this.#lab.uniqueName('h')];
    const peer = ['type', 'veth', 'peer', 'name', port, 'netns', router.name];
    await this.#lab.run(undefined, ['ip', 'link', 'add', device, 'netns', space.name, ...peer]);
    await router.ip('link', 'set', port, 'master', bridge, 'up');
    await space.ip('link', 'set', device, 'up');
    return device;
  }

  #some(): Party {
    if (this.#router === undefined) throw new Error(`site ${this.label} has no router`);
    return this.#router;
  }
}
