/**
 * What a policy means, said a second time: slow, plain, and by another hand than lib/policy, with which it shares no
 * code. Written from what Tailscale and headscale document about their policy file and from answers that were recorded
 * of Tailscale's service. It judges one packet at one device (`lets`) and who is told of whom (`sees`).
 *
 * - An address is a text of `0` and `1` behind `4:` or `6:`, a prefix is the beginning of one.
 * - `::ffff:a.b.c.d` is a.b.c.d. A prefix with host bits means its network.
 * - Policies are taken to be well-formed. The HuJSON reader only removes comments and trailing commas.
 *
 * Neutral: runs in every realm.
 */

/** A device as the policy sees it. */
export interface ReferenceDevice {
  readonly id: number;
  readonly addresses: readonly string[];
  readonly user: string;
  readonly tags: readonly string[];
  readonly routes: readonly string[];
}

interface Rule {
  readonly src: readonly string[];
  readonly dst: readonly { readonly alias: string; readonly ports: string }[];
  /** Of packets; undefined: nothing passes by this rule, it is about capabilities. */
  readonly protocols: readonly number[] | undefined;
  readonly via: readonly string[];
}

interface File {
  groups?: Record<string, string[]>;
  hosts?: Record<string, string>;
  acls?: { src: string[]; dst: string[]; proto?: string }[];
  grants?: { src: string[]; dst: string[]; ip?: string[]; app?: Record<string, unknown>; via?: string[] }[];
}

type Bits = string;

const NUMBERS: Record<string, number> = {
  icmp: 1,
  igmp: 2,
  ipv4: 4,
  'ip-in-ip': 4,
  tcp: 6,
  egp: 8,
  igp: 9,
  udp: 17,
  gre: 47,
  esp: 50,
  ah: 51,
  'ipv6-icmp': 58,
  sctp: 132,
  fc: 133,
};

/** Reads JSON with comments and trailing commas. */
export function readHuJson(text: string): unknown {
  const strings = /"(?:[^"\\]|\\.)*"/y;
  const kept: string[] = [];
  let at = 0;
  while (at < text.length) {
    strings.lastIndex = at;
    const found = text[at] === '"' ? strings.exec(text) : null;
    if (found !== null) {
      kept.push(found[0]);
      at += found[0].length;
    } else if (text.startsWith('//', at)) {
      const end = text.indexOf('\n', at);
      at = end < 0 ? text.length : end;
    } else if (text.startsWith('/*', at)) at = text.indexOf('*/', at + 2) + 2;
    else if (/\s/.test(text[at]!)) at++;
    else {
      const closes = text[at] === '}' || text[at] === ']';
      if (closes && kept.at(-1) === ',') kept.pop();
      kept.push(text[at++]!);
    }
  }
  return JSON.parse(kept.join(''));
}

function bitsOf(bytes: readonly number[]): string {
  return bytes.map(byte => byte.toString(2).padStart(8, '0')).join('');
}

/** An address as a text of bits. */
export function addressBits(text: string): Bits {
  if (!text.includes(':')) return `4:${bitsOf(text.split('.').map(Number))}`;
  const dotted = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(text);
  const [, head, a, b, c, d] = dotted ?? [];
  const hex = (high: string, low: string) => (Number(high) * 256 + Number(low)).toString(16);
  const whole = dotted === null ? text : `${head}${hex(a!, b!)}:${hex(c!, d!)}`;
  const [front = '', back = ''] = whole.split('::');
  const before = front === '' ? [] : front.split(':');
  const after = back === '' ? [] : back.split(':');
  const middle = whole.includes('::') ? Array<string>(8 - before.length - after.length).fill('0') : [];
  const words = [...before, ...middle, ...after].map(word => Number.parseInt(word, 16));
  const bits = words.map(word => word.toString(2).padStart(16, '0')).join('');
  const isMapped = bits.startsWith(`${'0'.repeat(80)}${'1'.repeat(16)}`);
  return isMapped ? `4:${bits.slice(96)}` : `6:${bits}`;
}

/** A prefix, or an address, as the beginning of addresses. */
export function prefixBits(text: string): Bits {
  const [address = '', length] = text.split('/');
  const bits = addressBits(address);
  if (length === undefined) return bits;
  const isMapped = bits.startsWith('4:') && address.includes(':');
  return bits.slice(0, 2 + Number(length) - (isMapped ? 96 : 0));
}

const TAILNET = ['100.64.0.0/10', 'fd7a:115c:a1e0::/48'];
const NOT_TAILNET = '100.115.92.0/23';
const PUBLIC = ['0.0.0.0/0', '2000::/3'];
const PRIVATE = ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10', '169.254.0.0/16'];

function isIn(address: Bits, ...prefixes: readonly string[]): boolean {
  return prefixes.some(prefix => address.startsWith(prefixBits(prefix)));
}

function meet(a: string, b: string): boolean {
  const [one, other] = [prefixBits(a), prefixBits(b)];
  return one.startsWith(other) || other.startsWith(one);
}

/** Whether a prefix has any public address: it is not inside a private one. */
function hasPublic(prefix: string): boolean {
  return PUBLIC.some(each => meet(each, prefix)) && !isIn(prefixBits(prefix), ...PRIVATE);
}

function isExitRoute(route: string): boolean {
  return prefixBits(route).length === 2;
}

/** Splits `alias:ports` at the last colon; an address in brackets loses them. */
function splitTarget(text: string): { alias: string; ports: string } {
  const colon = text.lastIndexOf(':');
  return { alias: text.slice(0, colon).replace(/[[\]]/g, ''), ports: text.slice(colon + 1) };
}

function numberOf(protocol: string): number {
  return NUMBERS[protocol] ?? Number(protocol);
}

function hasPort(ports: string, port: number): boolean {
  if (ports === '*') return true;
  return ports.split(',').some(part => {
    const [first, last = first] = part.trim().split('-');
    return Number(first) <= port && port <= Number(last);
  });
}

function isEveryPort(ports: string): boolean {
  return ports === '*' || ports.split(',').some(part => part.trim() === '0-65535');
}

/** What is about TCP, UDP and both ICMPs: rules that name no protocol. */
const USUAL = [1, 6, 17, 58];

/** IANA: 0 is an option header of IPv6, 255 is reserved. No packet has them as its protocol. */
function isNobodys([protocol]: readonly number[]): boolean {
  return protocol === 0 || protocol === 255;
}

function rulesOf(file: File): Rule[] {
  if (file.acls === undefined && file.grants === undefined)
    return [{ src: ['*'], dst: [{ alias: '*', ports: '*' }], protocols: USUAL, via: [] }];
  const rules: Rule[] = [];
  for (const { src, dst, proto } of file.acls ?? []) {
    const protocols = proto === undefined || proto === '' ? USUAL : [numberOf(proto)];
    if (!isNobodys(protocols)) rules.push({ src, dst: dst.map(splitTarget), protocols, via: [] });
  }
  for (const { src, dst, ip, app, via } of file.grants ?? []) {
    for (const entry of ip ?? []) {
      const colon = entry.lastIndexOf(':');
      const isName = colon < 0 && /^[a-z]/.test(entry);
      const protocol = isName ? entry : colon < 0 ? undefined : entry.slice(0, colon);
      const ports = isName ? '*' : entry.slice(colon + 1);
      const protocols = protocol === undefined ? USUAL : [numberOf(protocol)];
      const targets = dst.map(alias => ({ alias, ports }));
      if (!isNobodys(protocols)) rules.push({ src, dst: targets, protocols, via: via ?? [] });
    }
    const targets = dst.map(alias => ({ alias, ports: '*' }));
    if (app !== undefined) rules.push({ src, dst: targets, protocols: undefined, via: via ?? [] });
  }
  return rules;
}

/** A policy and the devices it is about. */
export class Reference {
  readonly #file: File;
  readonly #rules: readonly Rule[];
  readonly #devices: readonly ReferenceDevice[];

  constructor(text: string, devices: readonly ReferenceDevice[]) {
    this.#file = readHuJson(text) as File;
    this.#rules = rulesOf(this.#file);
    this.#devices = devices;
  }

  /**
   * Whether the device lets in a packet of an address to an address that it has or serves: the first segment of a TCP
   * connection, a datagram, an echo request, or any packet of another protocol.
   */
  lets(at: number, source: string, destination: string, port: number, protocol: number): boolean {
    const device = this.#device(at);
    const [from, to] = [addressBits(source), addressBits(destination)];
    if (!this.#serves(device, to)) return false;
    const isIcmp = protocol === (to.startsWith('4') ? 1 : 58);
    return this.#rules.some(rule => {
      if (rule.protocols === undefined) return false;
      return rule.dst.some(({ alias, ports }) => {
        const isAbout = this.#isTarget(rule, alias, device, from, to);
        if (!isAbout || !rule.src.some(each => this.#isSource(each, from))) return false;
        // Between two addresses that may talk about anything, pings pass.
        if (isIcmp) return true;
        if (!rule.protocols!.includes(protocol)) return false;
        const hasPorts = protocol === 6 || protocol === 17 || protocol === 132;
        return hasPorts ? hasPort(ports, port) : isEveryPort(ports);
      });
    });
  }

  /** Whether two devices are told of each other: one of them may reach the other in any way. */
  sees(a: number, b: number): boolean {
    return this.#reaches(this.#device(a), this.#device(b)) || this.#reaches(this.#device(b), this.#device(a));
  }

  #device(id: number): ReferenceDevice {
    return this.#devices.find(device => device.id === id)!;
  }

  #owns(device: ReferenceDevice, address: Bits): boolean {
    return device.addresses.some(each => addressBits(each) === address);
  }

  #subnets(device: ReferenceDevice): readonly string[] {
    return device.routes.filter(route => !isExitRoute(route));
  }

  /** Exit nodes serve public addresses, and of the families they have a default route of. */
  #isExitFor(device: ReferenceDevice, address: Bits): boolean {
    const hasRoute = device.routes.some(route => isExitRoute(route) && address.startsWith(prefixBits(route)));
    return hasRoute && isIn(address, ...PUBLIC) && !isIn(address, ...PRIVATE);
  }

  #serves(device: ReferenceDevice, address: Bits): boolean {
    const isSubnet = isIn(address, ...this.#subnets(device));
    return this.#owns(device, address) || isSubnet || this.#isExitFor(device, address);
  }

  #literal(alias: string): string | undefined {
    if (/^(\d+\.\d+\.\d+\.\d+|[0-9a-f.]*:[0-9a-f.:]*:[0-9a-f.:]*)(\/\d+)?$/i.test(alias)) return alias;
    return alias.includes('@') ? undefined : this.#file.hosts?.[alias];
  }

  /** Whether an alias that is about devices has this one; undefined when it is about something else. */
  #has(alias: string, device: ReferenceDevice): boolean | undefined {
    const isTagged = device.tags.length > 0;
    const isOf = (login: string) => !isTagged && device.user === login.replace(/@$/, '');
    if (alias === 'autogroup:member') return !isTagged;
    if (alias === 'autogroup:tagged') return isTagged;
    if (alias.startsWith('tag:')) return device.tags.includes(alias);
    if (alias.startsWith('group:')) return this.#file.groups?.[alias]?.some(isOf) ?? false;
    return alias.includes('@') ? isOf(alias) : undefined;
  }

  #isSource(alias: string, from: Bits): boolean {
    if (alias === 'autogroup:danger-all') return true;
    const isTailnet = isIn(from, ...TAILNET) && !isIn(from, NOT_TAILNET);
    if (alias === '*') return isTailnet || this.#devices.some(device => isIn(from, ...this.#subnets(device)));
    const literal = this.#literal(alias);
    if (literal !== undefined) return isIn(from, literal);
    return this.#devices.some(device => this.#has(alias, device) === true && this.#owns(device, from));
  }

  #isTarget(rule: Rule, alias: string, device: ReferenceDevice, from: Bits, to: Bits): boolean {
    const isRouted = isIn(to, ...this.#subnets(device));
    const isExit = this.#isExitFor(device, to);
    const literal = this.#literal(alias);
    if (rule.via.length > 0) {
      if (!rule.via.some(tag => device.tags.includes(tag))) return false;
      if (alias === 'autogroup:internet') return isExit;
      const isMeant = alias === '*' || (literal !== undefined && isIn(to, literal));
      return isMeant && (isRouted || isExit);
    }
    if (alias === '*') return true;
    if (alias === 'autogroup:internet') return isExit;
    if (alias === 'autogroup:self') {
      const sender = this.#devices.find(each => this.#owns(each, from));
      return sender !== undefined && this.#isOwn(sender, device) && this.#owns(device, to);
    }
    if (literal === undefined) return this.#has(alias, device) === true && this.#owns(device, to);
    return isIn(to, literal);
  }

  #isOwn(a: ReferenceDevice, b: ReferenceDevice): boolean {
    return a.tags.length === 0 && b.tags.length === 0 && a.user === b.user;
  }

  /** Whether an exit node serves any public address of a prefix. */
  #leadsOut(device: ReferenceDevice, prefix: string | undefined): boolean {
    const routes = device.routes.filter(isExitRoute);
    return prefix !== undefined && hasPublic(prefix) && routes.some(route => meet(route, prefix));
  }

  #reaches(from: ReferenceDevice, to: ReferenceDevice): boolean {
    return this.#rules.some(rule => {
      const isFrom = rule.src.some(alias => this.#sends(alias, from));
      return isFrom && rule.dst.some(({ alias }) => this.#receives(rule, alias, from, to));
    });
  }

  #sends(alias: string, device: ReferenceDevice): boolean {
    if (alias === '*' || alias === 'autogroup:danger-all') return true;
    const literal = this.#literal(alias);
    if (literal === undefined) return this.#has(alias, device) === true;
    return [...device.addresses, ...this.#subnets(device)].some(each => meet(each, literal));
  }

  #receives(rule: Rule, alias: string, from: ReferenceDevice, to: ReferenceDevice): boolean {
    const isExit = to.routes.some(isExitRoute);
    const literal = this.#literal(alias);
    const isRouted = literal !== undefined && this.#subnets(to).some(route => meet(route, literal));
    if (rule.via.length > 0) {
      if (!rule.via.some(tag => to.tags.includes(tag))) return false;
      if (alias === 'autogroup:internet') return isExit;
      if (alias === '*') return isExit || this.#subnets(to).length > 0;
      return isRouted || this.#leadsOut(to, literal);
    }
    if (alias === '*') return true;
    if (alias === 'autogroup:internet') return isExit;
    if (alias === 'autogroup:self') return this.#isOwn(from, to);
    if (literal === undefined) return this.#has(alias, to) === true;
    return to.addresses.some(address => meet(address, literal)) || isRouted || this.#leadsOut(to, literal);
  }
}
