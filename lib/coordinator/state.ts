/**
 * What a coordinator knows, in memory: the records and the indexes over them, changed by {@link Change}s alone. The same
 * changes give the same state, whether they are made one by one or read from the store after a restart.
 *
 * INVARIANT: every lookup starts at a tailnet. Only three indexes are about the whole server, because a request names
 * nothing but the key: node key, auth-key id, token id.
 */
import type {
  AuthKeyRecord,
  Change,
  DeviceRecord,
  PolicyRecord,
  RecordKind,
  Records,
  TailnetRecord,
  TokenRecord,
  UserRecord,
} from './model.ts';

/** One tailnet with everything in it. Read only: {@link CoordinatorState.apply} changes it. */
export class TailnetState {
  record: TailnetRecord;
  readonly users = new Map<number, UserRecord>();
  /** Login name to user. */
  readonly logins = new Map<string, number>();
  readonly keys = new Map<string, AuthKeyRecord>();
  readonly devices = new Map<number, DeviceRecord>();
  /** DNS label to device. */
  readonly names = new Map<string, number>();
  /** Either address of a device, as text, to the device. */
  readonly byAddress = new Map<string, number>();
  /** IPv4 addresses that no device gets any more. */
  readonly takenAddresses = new Set<string>();
  /** Machine key to the devices that it is: one for each owner. */
  readonly machines = new Map<string, readonly number[]>();
  /** User to the number of devices; no entry for none. */
  readonly deviceCounts = new Map<number, number>();
  /** `current` and `good`; neither: nobody has set one. */
  readonly policies = new Map<string, PolicyRecord>();

  constructor(record: TailnetRecord) {
    this.record = record;
  }
}

/** The whole state. */
export class CoordinatorState {
  readonly tailnets = new Map<string, TailnetState>();
  /** Node key to device, of all tailnets. */
  readonly nodeKeys = new Map<string, DeviceRecord>();
  /** Id of an auth key to its tailnet. */
  readonly keyTailnets = new Map<string, string>();
  /** Id to token, of all tailnets and of the whole server. */
  readonly tokens = new Map<string, TokenRecord>();
  /** Ids of users and devices that are in use. */
  readonly ids = new Set<number>();

  /** Builds the state from what the store holds, in any order. Throws for a store that contradicts itself. */
  load(changes: Iterable<Change>): void {
    const rest: Change[] = [];
    for (const change of changes) {
      if (change.kind === 'tailnet') this.apply(change);
      else rest.push(change);
    }
    for (const change of rest) this.apply(change.kind === 'device' ? completed(change) : change);
  }

  /** Makes one change; returns the record that it replaces. Throws Error when it contradicts what is known. */
  apply(change: Change): Records[RecordKind] | undefined {
    const { value } = change;
    if (change.kind === 'tailnet') return this.#applyTailnet(change.id, value as TailnetRecord | undefined);
    if (change.kind === 'token') return setOrDelete(this.tokens, change.id, value as TokenRecord | undefined);
    const tailnet = this.tailnets.get(change.tailnet);
    if (tailnet === undefined) throw new Error(`a ${change.kind} of a tailnet that does not exist`);
    switch (change.kind) {
      case 'user':
        return this.#applyUser(tailnet, Number(change.id), value as UserRecord | undefined);
      case 'key':
        setOrDelete(this.keyTailnets, change.id, value === undefined ? undefined : change.tailnet);
        return setOrDelete(tailnet.keys, change.id, value as AuthKeyRecord | undefined);
      case 'device':
        return this.#applyDevice(tailnet, Number(change.id), value as DeviceRecord | undefined);
      case 'address':
        if (value === undefined) tailnet.takenAddresses.delete(change.id);
        else tailnet.takenAddresses.add(change.id);
        return undefined;
      case 'policy':
        return setOrDelete(tailnet.policies, change.id, value as PolicyRecord | undefined);
    }
  }

  /** The device of a node key; undefined when nobody has it. */
  deviceOfNodeKey(nodeKey: string): DeviceRecord | undefined {
    return this.nodeKeys.get(nodeKey);
  }

  /** Every record, as the changes that would make it. */
  *records(): IterableIterator<Change> {
    for (const token of this.tokens.values()) yield changeOf('token', token);
    for (const tailnet of this.tailnets.values()) {
      yield changeOf('tailnet', tailnet.record);
      for (const user of tailnet.users.values()) yield changeOf('user', user);
      for (const key of tailnet.keys.values()) yield changeOf('key', key);
      for (const device of tailnet.devices.values()) yield changeOf('device', device);
      for (const id of tailnet.takenAddresses) yield changeOf('address', { tailnet: tailnet.record.id, id });
      for (const policy of tailnet.policies.values()) yield changeOf('policy', policy);
    }
  }

  #applyTailnet(id: string, value: TailnetRecord | undefined): TailnetRecord | undefined {
    const known = this.tailnets.get(id);
    const previous = known?.record;
    if (value === undefined) this.tailnets.delete(id);
    else if (known === undefined) this.tailnets.set(id, new TailnetState(value));
    else known.record = value;
    return previous;
  }

  #applyUser(tailnet: TailnetState, id: number, value: UserRecord | undefined): UserRecord | undefined {
    const previous = setOrDelete(tailnet.users, id, value);
    if (previous !== undefined) tailnet.logins.delete(previous.loginName);
    if (value !== undefined) claim(tailnet.logins, value.loginName, id, 'login name');
    this.#useId(id, previous !== undefined, value !== undefined);
    return previous;
  }

  #applyDevice(tailnet: TailnetState, id: number, value: DeviceRecord | undefined): DeviceRecord | undefined {
    const previous = setOrDelete(tailnet.devices, id, value);
    if (previous !== undefined && value !== undefined && hasSameKeys(previous, value)) {
      this.nodeKeys.set(value.nodeKey, value);
      return previous;
    }
    if (previous !== undefined) this.#unindex(tailnet, previous);
    this.#useId(id, previous !== undefined, value !== undefined);
    if (value !== undefined) this.#index(tailnet, value);
    return previous;
  }

  #index(tailnet: TailnetState, device: DeviceRecord): void {
    const other = this.nodeKeys.get(device.nodeKey);
    if (other !== undefined) throw new Error('two devices have the same node key');
    this.nodeKeys.set(device.nodeKey, device);
    claim(tailnet.names, device.name, device.id, 'name');
    for (const address of device.addresses) claim(tailnet.byAddress, address, device.id, 'address');
    tailnet.machines.set(device.machineKey, [...(tailnet.machines.get(device.machineKey) ?? []), device.id]);
    tailnet.deviceCounts.set(device.user, (tailnet.deviceCounts.get(device.user) ?? 0) + 1);
  }

  #unindex(tailnet: TailnetState, device: DeviceRecord): void {
    this.nodeKeys.delete(device.nodeKey);
    tailnet.names.delete(device.name);
    for (const address of device.addresses) tailnet.byAddress.delete(address);
    const machines = tailnet.machines.get(device.machineKey)!.filter(id => id !== device.id);
    setOrDelete(tailnet.machines, device.machineKey, machines.length === 0 ? undefined : machines);
    const count = tailnet.deviceCounts.get(device.user)! - 1;
    setOrDelete(tailnet.deviceCounts, device.user, count === 0 ? undefined : count);
  }

  #useId(id: number, isKnown: boolean, isUsed: boolean): void {
    if (isUsed && !isKnown && this.ids.has(id)) throw new Error(`two records have the id ${id}`);
    if (isUsed) this.ids.add(id);
    else this.ids.delete(id);
  }
}

/** The change that makes a record what it is. */
export function changeOf<K extends RecordKind>(kind: K, value: Records[K]): Change {
  const id = kind === 'tailnet' ? (value as TailnetRecord).id : String((value as { id: string | number }).id);
  const tailnet = kind === 'tailnet' ? id : (value as UserRecord).tailnet;
  return { kind, tailnet, id, value } as unknown as Change;
}

/** The change that takes a record away. */
export function removalOf<K extends RecordKind>(kind: K, value: Records[K]): Change {
  return { ...changeOf(kind, value), value: undefined } as Change;
}

/** A device as an older store may hold it, with the fields that have come since. */
function completed(change: Change & { readonly kind: 'device' }): Change {
  const { value } = change;
  if (value === undefined) return change;
  const { advertisedRoutes = [], approvedRoutes = [] } = value as Partial<DeviceRecord>;
  return { ...change, value: { ...value, advertisedRoutes, approvedRoutes } };
}

function hasSameKeys(a: DeviceRecord, b: DeviceRecord): boolean {
  const hasSameAddresses = a.addresses[0] === b.addresses[0] && a.addresses[1] === b.addresses[1];
  const isSameMachine = a.machineKey === b.machineKey && a.user === b.user;
  return a.nodeKey === b.nodeKey && a.name === b.name && isSameMachine && hasSameAddresses;
}

function claim<K>(index: Map<K, number>, key: K, id: number, what: string): void {
  if (index.has(key)) throw new Error(`two records have the same ${what}`);
  index.set(key, id);
}

function setOrDelete<K, V>(map: Map<K, V>, key: K, value: V | undefined): V | undefined {
  const previous = map.get(key);
  if (value === undefined) map.delete(key);
  else map.set(key, value);
  return previous;
}
