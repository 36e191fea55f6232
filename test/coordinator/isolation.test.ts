/**
 * Random histories over two tailnets. Everything that belongs to one bears a mark of its own (names, users, tags, keys,
 * endpoints), and nothing that a machine or a token of the other ever receives has it, nor a secret, searched as raw
 * bytes. And what happens in one changes no record of the other.
 */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { AdminCommand } from '../../lib/coordinator/commands.ts';
import type { Actor } from '../../lib/coordinator/coordinator-types.ts';
import { Seeded } from '../crypto/support.ts';
import { expectRestartable } from './restart.ts';
import { keyBytes, Machine, pendingIdOf, World } from './support.ts';

const test = suite('isolation');
const STEPS = 160;

/** One tailnet with its people. */
class Side {
  readonly machines: Machine[] = [];
  readonly keys: string[] = [];
  readonly requests: number[] = [];
  readonly secrets: string[] = [];
  readonly actor: Actor;
  readonly #world: World;
  readonly #random: Seeded;
  readonly id: string;
  readonly canary: string;
  #made = 0;

  constructor(world: World, random: Seeded, number: number) {
    this.#world = world;
    this.#random = random;
    this.canary = number === 0 ? 'kanarie' : 'lerche';
    this.id = `net-${this.canary}`;
    world.run({ type: 'tailnet-create', tailnet: this.id });
    const token = world.run({ type: 'token-create', tailnet: this.id });
    this.secrets.push(token.token!);
    this.actor = world.coordinator.authenticate(world.unixMs, token.token!)!;
    for (let i = 0; i < 6; i++) this.machines.push(new Machine(world, 1 + number * 100 + i, `${this.canary}-${i}`));
  }

  /** Something that somebody of this side does; `other` is what it knows of the other side. */
  act(other: Side): void {
    const machine = this.machines[this.#random.below(this.machines.length)]!;
    const foreign = other.machines[this.#random.below(other.machines.length)]!;
    /** Nobody has this node key yet, so anybody may have it. */
    const isOpen = ({ nodeKey }: Machine) => !JSON.stringify([...this.#world.coordinator.records()]).includes(nodeKey);
    const key = this.keys[this.#random.below(this.keys.length)] ?? '';
    switch (this.#random.below(16)) {
      case 0:
      case 1:
        return this.#makeKey();
      case 2:
      case 3:
        return this.#post(machine, { Auth: { AuthKey: key } });
      case 4:
        return this.#post(machine, { OldNodeKey: machine.renew(++this.#made) });
      case 5:
        if (isOpen(foreign)) return;
        return this.#post(machine, { NodeKey: foreign.nodeKey, Auth: { AuthKey: key } });
      case 6:
        return this.#post(machine, { OldNodeKey: foreign.nodeKey, Auth: { AuthKey: key } });
      case 7:
        return this.#post(machine, this.#random.below(4) === 0 ? { Expiry: '1970-01-01T00:02:03Z' } : {});
      case 8:
        return void this.requests.push(machine.stream());
      case 9:
        return void this.requests.push(machine.poll({ NodeKey: foreign.nodeKey, Stream: true, OmitPeers: true }));
      case 10:
        machine.hostname = `${this.canary}-${this.#random.below(4)}`;
        return void this.requests.push(
          machine.poll({
            OmitPeers: true,
            Endpoints: [this.endpoint()],
            DiscoKey: machine.nodeKey.replace('node', 'disco'),
            Hostinfo: { Hostname: machine.hostname, OS: this.canary, RoutableIPs: [this.route()] },
          }),
        );
      case 11:
        return this.#command(foreign);
      case 12:
        return this.#login(machine);
      case 13: {
        const command = { type: 'policy-set', tailnet: this.id, text: this.policy() };
        return void this.requests.push(this.#world.postCommand(command, this.actor));
      }
      case 14:
        return this.#command(foreign);
      default:
        return this.#world.advance(1000 * this.#random.below(20));
    }
  }

  /** An endpoint that only this side has. */
  endpoint(): string {
    return this.canary === 'kanarie'
      ? `192.0.2.1:${1000 + this.#random.below(9)}`
      : `198.51.100.1:${1000 + this.#random.below(9)}`;
  }

  /** A route that only this side has. */
  route(): string {
    return this.canary === 'kanarie' ? '10.77.0.0/16' : '10.99.0.0/16';
  }

  /** A policy that only this side has, with a test that holds. */
  policy(): string {
    const tag = `tag:${this.canary}`;
    const rules = { tagOwners: { [tag]: [] }, acls: [{ action: 'accept', src: ['*'], dst: ['*:*'] }] };
    const more = { autoApprovers: { routes: { [this.route()]: [tag] } }, tests: [{ src: tag, accept: [`${tag}:22`] }] };
    return `// ${this.canary} ${this.#random.below(3)}\n${JSON.stringify({ ...rules, ...more })}`;
  }

  #makeKey(): void {
    const command = {
      type: 'key-create',
      tailnet: this.id,
      description: this.canary,
      tags: this.#random.below(2) ? [`tag:${this.canary}`] : [],
    } as const;
    const flags = { isReusable: this.#random.below(2) === 0, isEphemeral: this.#random.below(4) === 0 };
    const { key } = this.#world.run({ ...command, ...flags } as AdminCommand & { type: 'key-create' }, this.actor);
    this.keys.push(key!);
    this.secrets.push(key!.slice(-43));
  }

  #post(machine: Machine, o: object): void {
    this.requests.push(machine.post(o));
  }

  #login(machine: Machine): void {
    const stranger = new Machine(
      this.#world,
      50_000 + ++this.#made + (this.canary === 'lerche' ? 5000 : 0),
      `${this.canary}-login`,
    );
    const answer = stranger.register();
    const device = answer.AuthURL === '' ? machine.hostname : pendingIdOf(answer);
    this.requests.push(this.#world.postCommand({ type: 'device-approve', tailnet: this.id, device }, this.actor));
  }

  /** Id of a device, wherever it is. */
  #idOf(machine: Machine): string {
    for (const { kind, id, value } of this.#world.coordinator.records())
      if (kind === 'device' && value?.nodeKey === machine.nodeKey) return id;
    return '1';
  }

  #command(foreign: Machine): void {
    const types = [
      'user-list',
      'key-list',
      'device-list',
      'device-expire',
      'device-remove',
      'device-approve',
      'device-rename',
      'key-revoke',
      'tailnet-list',
      'tailnet-update',
      'token-list',
      'policy-get',
      'policy-set',
      'policy-explain',
      'device-tags',
      'device-routes',
      'user-rename',
    ];
    const type = types[this.#random.below(types.length)]!;
    const own = this.machines[this.#random.below(this.machines.length)]!;
    const isForeign = this.#random.below(3) === 0;
    const tailnet = isForeign && type !== 'tailnet-list' ? foreign.hostname.replace(/^([a-z]+).*/, 'net-$1') : this.id;
    const device = this.#random.below(3) === 0 ? this.#idOf(foreign) : own.hostname;
    const command = {
      type,
      tailnet,
      device,
      id: this.keys[0]?.split('-')[2] ?? 'x',
      name: `${this.canary}-n${this.#random.below(5)}`,
      text: this.policy(),
      source: own.hostname,
      destination: device,
      port: 22,
      tags: this.#random.below(2) ? [`tag:${this.canary}`] : [],
      routes: this.#random.below(2) ? [this.route()] : [],
      loginName: this.#random.below(2) ? 'owner' : `${this.canary}-owner`,
      newLoginName: this.#random.below(2) ? 'owner' : `${this.canary}-owner`,
    };
    const request = this.#world.postCommand(command, this.actor);
    if (isForeign && type !== 'tailnet-list') assert.is(this.#world.outcomes.get(request)!.isOk, false);
    else this.requests.push(request);
  }
}

/** Everything that a side was told. */
function heard(world: World, side: Side): string {
  return side.requests
    .map(id =>
      [world.replies.get(id)?.text, JSON.stringify(world.outcomes.get(id)), world.streams.get(id)?.text].join(' '),
    )
    .join('\n');
}

function recordsOf(world: World, tailnet: string): string {
  return JSON.stringify([...world.coordinator.records()].filter(change => change.tailnet === tailnet));
}

for (const seed of [1, 2, 3, 4, 5, 6]) {
  test(`nothing of one network is ever heard or changed in the other: history ${seed}`, () => {
    const world = new World({ seed });
    const random = new Seeded(seed * 7919);
    const sides = [new Side(world, random, 0), new Side(world, random, 1)] as const;
    for (let step = 0; step < STEPS; step++) {
      const at = random.below(2);
      const [side, other] = [sides[at]!, sides[1 - at]!];
      const before = recordsOf(world, other.id);
      const { nowMs } = world;
      side.act(other);
      if (world.nowMs === nowMs) assert.is(recordsOf(world, other.id), before, `step ${step} of ${side.id}`);
    }
    world.advance(1000);
    let isHeard = 0;
    for (const [side, other] of [sides, [sides[1], sides[0]] as const]) {
      const text = heard(world, side);
      isHeard += text.split(side.canary).length - 1;
      const marks = [
        other.canary,
        other.endpoint().split(':')[0]!,
        other.route(),
        ...other.machines.map(({ nodeKey }) => nodeKey.slice(8)),
      ];
      for (const mark of marks) assert.not(text.includes(mark), `${side.id} has heard ${mark}`);
    }
    assert.ok(isHeard > 20, 'each hears of itself');
    assert.ok(
      world.auditLog.some(line => line.endsWith(' policy-set')),
      'and has a policy',
    );
    expectRestartable(world);
    const written = JSON.stringify([world.commits, world.events.filter(({ type }) => type === 'log')]);
    for (const side of sides)
      for (const secret of side.secrets) assert.not(written.includes(secret), 'no secret is written');
    for (const commit of world.commits) {
      const tailnets = new Set([
        ...commit.changes.map(({ tailnet }) => tailnet),
        ...(commit.audit ? [commit.audit.tailnet] : []),
      ]);
      assert.is(tailnets.size, 1, 'a commit is about one network');
    }
  });
}

test('no secret is in a record, an entry of the audit log, the log, an error or an answer but the first', () => {
  const world = new World();
  const machine = new Machine(world, 1);
  const key = world.key();
  const token = world.run({ type: 'token-create', tailnet: '' }).token!;
  world.events.splice(0);
  machine.join(key);
  for (let i = 2; i < 5; i++) new Machine(world, i).join(key);
  new Machine(world, 6).join(`${key}x`);
  new Machine(world, 7).register({ Auth: { AuthKey: key.slice(0, -1) }, Followup: key });
  for (const id of [key, token, `${key}x`]) world.outcome({ type: 'key-revoke', tailnet: 'default', id });
  world.outcome({ type: 'token-revoke', tailnet: 'default', id: token });
  world.coordinator.authenticate(world.unixMs, token);
  world.postRegister(keyBytes(9, 1), `{"Auth":{"AuthKey":"${key}"}`);
  world.postRegister(keyBytes(9, 1), `{"NodeKey":"${key}","Auth":{"AuthKey":"${key}"}}`);
  world.run({ type: 'key-list', tailnet: 'default' });
  world.run({ type: 'token-list', tailnet: '' });
  const all = JSON.stringify([
    world.commits,
    world.events.map(event => ({ ...event, body: '' })),
    [...world.replies.values()],
    [...world.coordinator.records()],
  ]);
  for (const secret of [key, token]) assert.not(all.includes(secret.slice(-43, -1)));
});

test.run();
