/**
 * Random histories of a tailnet whose policy has tests. After every step the tests run once more, on a compiler made
 * from nothing but the records: they pass, or exactly the lines that fail are in the alarm. What administrators do never
 * raises it, and what was refused would have raised it in a world whose policy is the same without tests.
 */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { compileTailnet, lineOf } from '../../lib/coordinator/policy-guard.ts';
import { CoordinatorState } from '../../lib/coordinator/state.ts';
import { runTests } from '../../lib/policy/access-tests.ts';
import { parsePolicy } from '../../lib/policy/parse.ts';
import { Seeded } from '../crypto/support.ts';
import { fuzzRounds } from '../tools/scale.ts';
import { hostinfo, PolicyWorld } from './policy-support.ts';
import { DAY_MS, Machine } from './support.ts';

const test = suite('policy model');
const DEFAULT = { tailnet: 'default' } as const;
const USERS = ['ann', 'bob', 'cy'];
const TAGS = ['tag:a', 'tag:b'];
const ROUTES = ['10.1.0.0/16', '10.2.0.0/16', '0.0.0.0/0'];
/** What rules name, and what tests name: by addresses they ask for more than the names of rules promise. */
const NAMES = ['ann@', 'bob@', 'group:g', 'tag:a', 'tag:b'];
const HOSTS = ['one', 'two', 'three', 'sensor'];

/** A failing line without the pair that comes first, which depends on the order in which devices were looked at. */
function plain(line: string): string {
  return line.replace(/, first .*/, '');
}

/** What a history has done, so that one that does nothing does not count. */
const seen = { refused: 0, done: 0, alarms: 0, over: 0, joinsRefused: 0 };

class History {
  readonly world = new PolicyWorld();
  readonly random: Seeded;
  readonly machines: Machine[] = [];

  constructor(seed: number) {
    this.random = new Seeded(seed);
    for (const user of USERS.slice(0, 2)) this.world.user(user);
    for (let i = 0; i < 6; i++) this.#join();
    for (const device of this.world.devices())
      this.world.run({ type: 'device-routes', ...DEFAULT, device: device.name, routes: ROUTES });
    this.#setPolicy();
  }

  step(): void {
    const wasFine = this.failing().length === 0;
    const isAdmin = this.#act();
    const failing = this.failing();
    const alarm = (this.world.policy.alarm?.failing ?? []).map(plain);
    for (const line of failing) assert.ok(alarm.includes(line), `${line} is not in the alarm`);
    const isSaid = this.world.policy.alarm?.message.includes('access tests fail') ?? false;
    assert.is(isSaid, failing.length > 0, 'the alarm about tests is up while one fails');
    if (isAdmin && wasFine) assert.equal(failing, [], 'no command makes a test fail');
    if (wasFine && failing.length > 0) seen.alarms++;
    if (!wasFine && failing.length === 0) seen.over++;
  }

  /** The lines that fail, found out from the records alone. */
  failing(world = this.world, text = this.world.policy.text): readonly string[] {
    const state = new CoordinatorState();
    state.load(world.coordinator.records());
    const { policy } = parsePolicy(text);
    if (policy === undefined || text === '') return [];
    const report = runTests(compileTailnet(policy, state.tailnets.get('default')!, world.unixMs));
    return report.outcomes.filter(({ isPassed }) => !isPassed).map(outcome => plain(lineOf(outcome)));
  }

  /** Does something; true: an administrator did. */
  #act(): boolean {
    const machine = this.#one(this.machines);
    switch (this.random.below(17)) {
      case 0:
        this.#setPolicy();
        return true;
      case 1:
      case 2:
      case 12:
      case 13:
        this.#command({ type: 'device-tags', tags: TAGS.filter(() => this.random.below(3) === 0) });
        return true;
      case 3:
      case 14:
        this.#command({ type: 'device-routes', routes: ROUTES.filter(() => this.random.below(2) === 0) });
        return true;
      case 4:
        this.#command({ type: this.#one(['device-expire', 'device-remove', 'device-approve']) });
        return true;
      case 5:
        this.#command({ type: 'user-rename', loginName: this.#one(USERS), newLoginName: this.#one(USERS) });
        return true;
      case 6:
        this.world.run({ type: 'tailnet-update', ...DEFAULT, requiresApproval: this.random.below(4) === 0 });
        return true;
      case 7:
      case 8:
      case 15:
      case 16:
        this.#join();
        return false;
      case 9:
        machine.update({
          Hostinfo: hostinfo(
            machine.hostname,
            ROUTES.filter(() => this.random.below(2) === 0),
          ),
        });
        return false;
      case 10:
        machine.register({ Expiry: '1970-01-01T00:02:03Z' });
        return false;
      default: {
        // The clock may be read by a command before the coordinator is woken.
        const isWoken = this.random.below(2) === 0;
        if (isWoken) this.world.jump(this.random.below(12) * DAY_MS);
        else this.world.unixMs += this.random.below(12) * DAY_MS;
        return false;
      }
    }
  }

  #command(fields: object): void {
    const device = this.#one(this.world.devices())?.name ?? 'nobody';
    const command = { ...DEFAULT, device, ...fields };
    const before = this.failing();
    const twin = this.#withoutTests();
    const outcome = this.world.outcome(command);
    if (outcome.isOk) seen.done++;
    if (outcome.isOk || outcome.code !== 'tests-failed') return;
    seen.refused++;
    assert.equal(this.failing(), before, 'what was refused has not happened');
    assert.ok(twin.outcome(command).isOk, JSON.stringify(command));
    const after = this.failing(twin, this.world.policy.text);
    assert.ok(after.length > 0, 'it would have made a test fail');
    if (before.length === 0) assert.equal(outcome.details!.map(plain), after);
  }

  /** The same world with a policy that tests nothing. */
  #withoutTests(): PolicyWorld {
    const { text } = this.world.policy;
    if (text === '') return this.world.restarted();
    const { tests: _, ...rest } = JSON.parse(text) as Record<string, unknown>;
    const plain = { text: JSON.stringify(rest) };
    const twin = this.world.restarted({ current: plain, good: plain });
    assert.is(twin.policy.alarm, undefined);
    return twin;
  }

  #setPolicy(): void {
    const known = this.world.devices().map(({ addresses }) => addresses[0] || '100.64.0.1');
    const rule = () => ({
      action: 'accept',
      src: [this.#one([...NAMES, ...HOSTS, '*', '*'])],
      dst: [`${this.#one([...NAMES, 'sensor', '*'])}:${this.#one(['*', '22', '80-90'])}`],
    });
    const test = () => ({
      src: this.#one([...NAMES, ...HOSTS, ...HOSTS]),
      [this.#one(['accept', 'deny'])]: [`${this.#one([...NAMES, ...HOSTS, ...HOSTS])}:${this.#one(['22', '85'])}`],
    });
    const policy = {
      groups: { 'group:g': ['ann@', 'cy@'] },
      hosts: {
        sensor: '10.1.2.3',
        ...Object.fromEntries(['one', 'two', 'three'].map((name, i) => [name, known[i] ?? '100.64.0.1'])),
      },
      tagOwners: { 'tag:a': ['ann@'], 'tag:b': [] },
      autoApprovers: { routes: { '10.0.0.0/8': [this.#one(['ann@', 'tag:a'])] } },
      acls: Array.from({ length: 1 + this.random.below(4) }, rule),
      grants: [{ src: ['group:g'], dst: ['10.1.0.0/16'], ip: ['*'], via: ['tag:a'] }].slice(this.random.below(2)),
    };
    // Of random tests those are kept that hold now.
    const likely = [
      { src: 'ann@', accept: ['sensor:22'] },
      { src: 'sensor', accept: [`${this.#one(NAMES)}:22`] },
    ];
    const tests = [...likely, ...Array.from({ length: 16 }, test)].filter(
      each => this.failing(this.world, JSON.stringify({ ...policy, tests: [each] })).length === 0,
    );
    this.world.trySet({ ...policy, tests });
  }

  #join(): void {
    const isKnown = this.random.below(3) === 0 && this.machines.length > 0;
    const machine = isKnown
      ? this.#one(this.machines)
      : new Machine(this.world, 200 + this.machines.length, `d${this.machines.length}`);
    const users = this.world.run({ type: 'user-list', ...DEFAULT }).map(({ loginName }) => loginName);
    const key = this.world.outcome({
      type: 'key-create',
      ...DEFAULT,
      user: this.#one(users),
      tags: this.random.below(2) === 0 ? [this.#one(TAGS)] : [],
      isPreapproved: this.random.below(2) === 0,
    });
    if (!key.isOk) return;
    if (isKnown && this.random.below(2) === 0) machine.renew(this.random.below(1000));
    const before = this.failing();
    const routes = ROUTES.filter(() => this.random.below(2) === 0);
    const answer = machine.join((key.value as { key: string }).key, { Hostinfo: hostinfo(machine.hostname, routes) });
    if (/access test/.test(answer.Error)) seen.joinsRefused++;
    if (!isKnown && answer.Error === '') this.machines.push(machine);
    // A device that is known may take back what it offered: that happens anyway.
    if (before.length === 0 && !isKnown) assert.equal(this.failing(), [], 'no join makes a test fail');
  }

  #one<T>(values: readonly T[]): T {
    return values[this.random.below(values.length)]!;
  }
}

test('tests hold after every step of random histories, or the alarm says which do not', () => {
  const rounds = fuzzRounds(40);
  for (let seed = 1; seed <= rounds; seed++) {
    const history = new History(seed * 6007);
    for (let step = 0; step < 40; step++) history.step();
    const { alarm } = history.world.policy;
    const again = history.world.restarted();
    if (alarm === undefined) assert.is(again.policy.alarm, undefined, 'a restart finds the same');
  }

  if (rounds < 40) return;
  for (const [what, times] of Object.entries(seen)) assert.ok(times >= 3, `${what}: ${times}`);
});

test.run();
