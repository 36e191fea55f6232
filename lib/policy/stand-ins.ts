/**
 * Devices that are made up for names in tests that mean none yet: one for each user or tag, at addresses of the tailnet
 * that nobody has.
 */
import type { Alias } from './alias.ts';
import type { PolicyCompiler } from './compiler.ts';
import type { Directory, PolicyDevice } from './directory.ts';
import { formatKey, type IpKey } from './ip-set.ts';
import type { Policy } from './policy.ts';

/** What was made up. Ids are negative. */
export interface StandIns {
  /** Whether more would be needed than allowed. */
  readonly isOver: boolean;
  readonly devices: readonly PolicyDevice[];
  /** The names that they stand for. */
  readonly names: readonly string[];
}

/** Devices for names in tests that mean none, at most so many. */
export function inventDevices(compiler: PolicyCompiler, most: number): StandIns {
  const { policy, directory } = compiler;
  const addresses = new FreeAddresses(directory);
  const devices = new Map<string, PolicyDevice>();
  let isOver = false;
  const invent = (user: string, tags: readonly string[]): void => {
    const key = tags.length > 0 ? tags[0]! : `user ${user}`;
    if (devices.has(key)) return;
    if (devices.size >= most) isOver = true;
    else devices.set(key, { id: -1 - devices.size, user, tags, routes: [], addresses: addresses.take() });
  };
  const names = new Set<string>();
  for (const alias of namesIn(policy)) {
    if (isOver) break;
    if (alias.addresses !== undefined || alias.kind === 'self' || directory.membersOf(alias).size > 0) continue;
    if (alias.kind === 'tag') invent('', [alias.name]);
    else if (alias.kind === 'tagged') invent('', [[...policy.names.tags.keys()][0] ?? 'tag:example']);
    else if (alias.kind === 'member') invent('member@example.com', []);
    else if (alias.kind === 'user') invent(alias.name, []);
    else for (const user of policy.names.groups.get(alias.name) ?? []) invent(user, []);
    names.add(alias.text);
  }
  return { isOver, devices: [...devices.values()], names: [...names] };
}

function namesIn(policy: Policy): readonly Alias[] {
  const found = new Map<string, Alias>();
  for (const { source, accept, deny } of policy.tests)
    for (const alias of [source, ...accept.map(each => each.alias), ...deny.map(each => each.alias)])
      found.set(alias.key, alias);
  return [...found.values()];
}

/** Addresses of the tailnet that nobody has, from the end of its ranges. */
class FreeAddresses {
  readonly #directory: Directory;
  #next = 0;

  constructor(directory: Directory) {
    this.#directory = directory;
  }

  take(): readonly string[] {
    for (;;) {
      const low = this.#next++;
      const hex = (0x647ffffe - low).toString(16);
      const keys: readonly IpKey[] = [`4${hex}`, `6fd7a115ca1e0ffffffff0000${hex}`];
      if (keys.every(key => this.#directory.ownerOf(key) === undefined)) return keys.map(formatKey);
    }
  }
}
