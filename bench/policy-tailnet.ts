/**
 * A tailnet out of a seed for the policy bench: devices with owners, tags and routes, and a policy of so many rules as a
 * company would write it.
 */
import type { PolicyDevice } from '../lib/policy/directory.ts';

const GROUPS = 20;
const TAGS = 40;
const PORTS = Object.freeze(['22', '80,443', '5432', '*', '8000-8999', '53']);

/** Numbers below `below` from a seed (mulberry32). */
export function numbersOf(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return below => {
    state = (state + 0x6d2b79f5) >>> 0;
    let word = Math.imul(state ^ (state >>> 15), state | 1);
    word ^= word + Math.imul(word ^ (word >>> 7), word | 61);
    return ((word ^ (word >>> 14)) >>> 0) % below;
  };
}

/** A device by its number: three of ten are tagged, one of fifty serves a subnet, addresses are as scattered as drawn ones. */
export function deviceOf(id: number, users: number, shift = 0): PolicyDevice {
  const word = Math.imul(id, 0x9e3779b1) >>> 0;
  const low = ((word >>> 10) ^ id) & 0x3fffff;
  const v4 = `100.${64 + (low >>> 16)}.${(low >>> 8) & 255}.${low & 255}`;
  const v6 = `fd7a:115c:a1e0::${(0x6440 + (low >>> 16)).toString(16)}:${(low & 0xffff).toString(16)}`;
  const isTagged = id % 10 < 3;
  return {
    id,
    addresses: [v4, v6],
    user: `user${id % users}@example.com`,
    tags: isTagged ? [`tag:t${(id + shift) % TAGS}`] : [],
    routes: id % 50 === 0 ? [`10.${(id / 50) & 255}.0.0/16`] : [],
  };
}

/** So many devices, no two with the same address. */
export function devicesOf(count: number): PolicyDevice[] {
  const out = new Map<string, PolicyDevice>();
  for (let id = 1; out.size < count; id++) {
    const device = deviceOf(id, usersOf(count));
    if (!out.has(device.addresses[0]!)) out.set(device.addresses[0]!, device);
  }
  return [...out.values()];
}

/** One user for each five devices. */
export function usersOf(devices: number): number {
  return Math.max(GROUPS, Math.floor(devices / 5));
}

/** The text of a policy. `isBroad`: its first rule lets every user reach every device, so that each list has everybody. */
export function policyText(devices: number, rules: number, o: { isBroad?: boolean } = {}): string {
  const random = numbersOf(rules * 31 + devices);
  const users = usersOf(devices);
  const groups: Record<string, string[]> = {};
  for (let user = 0; user < users; user++) {
    const name = `group:g${user % GROUPS}`;
    groups[name] ??= [];
    groups[name].push(`user${user}@example.com`);
  }
  const tagOwners = Object.fromEntries(Array.from({ length: TAGS }, (_, i) => [`tag:t${i}`, [`group:g${i % GROUPS}`]]));
  const tag = () => `tag:t${random(TAGS)}`;
  const group = () => `group:g${random(GROUPS)}`;
  const port = () => PORTS[random(PORTS.length)]!;
  const kinds = [
    () => ({ src: [group()], dst: [`${tag()}:${port()}`] }),
    () => ({ src: [tag()], dst: [`${tag()}:${port()}`] }),
    () => ({ src: [`user${random(users)}@example.com`], dst: [`${tag()}:${port()}`, `10.${random(20)}.7.0/24:443`] }),
    () => ({ src: [group()], dst: [`10.${random(20)}.0.0/16:${port()}`] }),
    () => ({ src: [tag(), group()], dst: [`${tag()}:${port()}`], proto: 'tcp' }),
  ];
  const common = [
    { src: ['autogroup:member'], dst: [o.isBroad === true ? '*:443' : 'tag:t0:443'] },
    { src: ['*'], dst: ['tag:t1:53'], proto: 'udp' },
    { src: ['autogroup:member'], dst: ['autogroup:self:*'] },
  ];
  const acls = Array.from({ length: rules }, (_, i) => ({
    action: 'accept',
    ...(common[i] ?? kinds[i % kinds.length]!()),
  }));
  return JSON.stringify({ groups, tagOwners, acls }, undefined, 1);
}
