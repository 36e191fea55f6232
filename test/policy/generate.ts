/** Random policies, devices and packets. Neutral. */
import type { PolicyDevice } from '../../lib/policy/directory.ts';
import { seededRandom } from '../netstack/helpers.ts';

const USERS = ['ann@example.com', 'bob@example.com', 'eve@example.com', 'kim@'];
const TAGS = ['tag:web', 'tag:db', 'tag:router'];
const GROUPS = ['group:eng', 'group:ops', 'group:none'];
const HOSTS = { net: '10.0.0.0/8', one: '100.64.0.1', six: '2001:db8:1::/48', 'old.mapped': '::ffff:10.1.2.3' };
const DEVICES = [...USERS, ...TAGS, ...GROUPS, 'autogroup:member', 'autogroup:tagged', '*'];
const LITERALS = [
  ...Object.keys(HOSTS),
  '100.64.0.0/30',
  '100.64.0.3',
  '100.64.0.0/10',
  '100.115.92.0/24',
  '10.1.0.0/16',
  '10.1.2.0/24',
  '::ffff:100.64.0.2',
  '::ffff:10.1.0.0/112',
  '0.0.0.0/0',
  '8.0.0.0/5',
  '8.8.8.8',
  'fd7a:115c:a1e0::2',
  'fd7a:115c:a1e0::/126',
  '::/0',
  '2001:db8::/32',
  '2606::/16',
];
const ROUTES = ['10.1.0.0/16', '10.1.2.0/24', '10.0.0.0/8', '8.8.0.0/16', '2001:db8:1::/48', '0.0.0.0/0', '::/0'];
const PORTS = ['*', '*', '*', '22', '80,443', '20-30', '0', '65535', '1-65535', '22,22,20-24'];
const PORT_PROTOCOLS = ['', '', '', 'tcp', 'udp', 'sctp', '6', '17', '132'];
const OTHER_PROTOCOLS = ['icmp', 'ipv6-icmp', '1', '58', 'gre', '47', 'esp', 'igmp', 'ipv4', 'ip-in-ip', '253', '0'];
const IP = ['*', '443', '22,80', 'tcp:22', 'udp:53,80', 'icmp:*', 'ipv6-icmp:*', 'sctp:1-100', '47:*', 'gre', '6:443'];
const SPOTS = ['10.1.2.3', '10.2.0.1', '8.8.8.8', '9.9.9.9', '192.168.1.1', '100.115.92.9', '100.64.0.9'];
const SPOTS6 = ['2001:db8:1::5', '2001:db8:2::5', '2606::1', 'fd00::1', 'fd7a:115c:a1e0::9'];

/** Draws, the same for the same seed. */
export class Dice {
  readonly #random: (out: Uint8Array) => void;
  readonly #bytes = new Uint8Array(4);

  constructor(seed: number) {
    this.#random = seededRandom(seed);
  }

  /** 0 to before `most`. */
  below(most: number): number {
    this.#random(this.#bytes);
    return (this.#bytes[0]! * 65_536 + this.#bytes[1]! * 256 + this.#bytes[2]!) % most;
  }

  /** True once in `times`. */
  once(times: number): boolean {
    return this.below(times) === 0;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }

  /** One to `most` of them; one may come twice. */
  some<T>(items: readonly T[], most: number): T[] {
    return Array.from({ length: 1 + this.below(most) }, () => this.pick(items));
  }
}

/** The text of a policy, with comments and trailing commas in it. */
export function somePolicy(dice: Dice): string {
  const sections = [
    `"groups": ${JSON.stringify({ 'group:eng': dice.some(USERS, 2), 'group:ops': dice.some(USERS, 2), 'group:none': [] })}`,
    `"tagOwners": {"tag:web": [], "tag:db": ["group:eng"], "tag:router": [], /* "tag:x": [], */}`,
    `"hosts": ${JSON.stringify(HOSTS)}`,
  ];
  const form = dice.below(12);
  if (form > 1) sections.push(`"acls": [${list(dice, 5, someAcl)}] // "acls": []\n`);
  if (form > 0 && form < 9) sections.push(`"grants": [ ${list(dice, 4, someGrant)} ]`);
  return `// {\n{ ${sections.join(' ,\n')}\n,}\n`;
}

function list(dice: Dice, most: number, one: (dice: Dice) => object): string {
  const entries = Array.from({ length: dice.below(most) }, () => JSON.stringify(one(dice)));
  return entries.map(entry => `${entry}, /* , */ `).join('\n');
}

function someSources(dice: Dice): string[] {
  const wide = dice.once(5) ? ['autogroup:danger-all'] : [];
  return dice.some([...DEVICES, ...LITERALS, ...wide], 3);
}

function someAcl(dice: Dice): object {
  const isOther = dice.once(4);
  const proto = dice.pick(isOther ? OTHER_PROTOCOLS : PORT_PROTOCOLS);
  const isSelf = dice.once(5);
  const src = isSelf ? dice.some([...USERS, ...GROUPS, 'autogroup:member', '*'], 2) : someSources(dice);
  const aliases = isSelf ? ['autogroup:self'] : [];
  const dst = [...aliases, ...dice.some([...DEVICES, ...LITERALS, 'autogroup:internet'], 3)].map(alias => {
    const isBracketed = /^[^/]*:[^/]*:[^/]*$/.test(alias) && dice.once(2);
    return `${isBracketed ? `[${alias}]` : alias}:${isOther ? '*' : dice.pick(PORTS)}`;
  });
  return { action: 'accept', src, dst, ...(proto === '' && dice.once(2) ? {} : { proto }) };
}

function someGrant(dice: Dice): object {
  const via = dice.once(3) ? { via: dice.some(TAGS, 2) } : {};
  const isAbout = dice.once(4);
  const app = isAbout ? { app: { 'example.com/cap/x': [{ a: 1 }] } } : {};
  const ip = isAbout && dice.once(2) ? {} : { ip: dice.some(IP, 3) };
  const isSelf = !isAbout && dice.once(6);
  const src = isSelf ? dice.some([...USERS, 'autogroup:member'], 2) : someSources(dice);
  const wide = isAbout ? [] : ['autogroup:internet'];
  const dst = [...(isSelf ? ['autogroup:self'] : []), ...dice.some([...DEVICES, ...LITERALS, ...wide], 2)];
  return { src, dst, ...ip, ...app, ...via };
}

/** A device; some have addresses of one family only, some routes. */
export function someDevice(dice: Dice, id: number): PolicyDevice {
  const isTagged = dice.once(2);
  const both = [`100.64.0.${id}`, `fd7a:115c:a1e0::${id.toString(16)}`];
  const addresses = dice.once(8) ? [dice.pick(both)] : both;
  const routes = dice.once(3) ? [...new Set(dice.some(ROUTES, 3))] : [];
  const user = isTagged ? '' : dice.pick(USERS).replace(/@$/, '');
  return { id, addresses, user, tags: isTagged ? [...new Set(dice.some(TAGS, 2))] : [], routes };
}

/** A packet; both addresses are of one family. */
export interface SomePacket {
  readonly source: string;
  readonly destination: string;
  readonly port: number;
  readonly protocol: number;
}

/** A packet to one of a device's addresses, or to somewhere else. */
export function somePacket(dice: Dice, device: PolicyDevice, devices: readonly PolicyDevice[]): SomePacket {
  const own = device.addresses;
  const isToOwn = dice.once(2);
  const destination = dice.pick(isToOwn ? own : [...SPOTS, ...SPOTS6]);
  const isIpv6 = destination.includes(':');
  const senders = devices.flatMap(({ addresses }) => addresses).filter(text => text.includes(':') === isIpv6);
  const source = dice.pick([...senders, ...senders, ...(isIpv6 ? SPOTS6 : SPOTS)]);
  const protocol = dice.pick([6, 6, 6, 17, 17, 132, isIpv6 ? 58 : 1, 1, 58, 47, 2, 4, 253]);
  return { source, destination, port: dice.pick([22, 53, 80, 443, 25, 1, 65_535]), protocol };
}
