/**
 * The access tests of a policy, judged against the devices that there are: "accept" means that every pair of addresses
 * passes, "deny" that no pair does. A test without a protocol passes a pair that TCP or UDP may take.
 *
 * A name that means no device yet (of a user, group, tag or autogroup) is judged for devices made up for it, one for
 * each user, so that a test says something before the first device is there, and without a server. Where nobody can be
 * meant, as with an empty group, "accept" fails.
 */
import type { Alias } from './alias.ts';
import { PolicyCompiler } from './compiler.ts';
import type { Directory, PolicyDevice } from './directory.ts';
import { describeRule, type Entrance, entranceOf, entrancesTo } from './explain.ts';
import { formatKey, type IpKey } from './ip-set.ts';
import type { Policy, PolicyRule, PolicyTest, PolicyTestTarget } from './policy.ts';
import type { Place } from './problem.ts';

/** A pair of addresses on which a test fails. */
export interface FailingPair {
  readonly source: string;
  readonly destination: string;
  /** For "deny": the rule to blame. */
  readonly rule: PolicyRule | undefined;
}

/** How one line of a test went. */
export interface TestOutcome extends Place {
  /** `tests[2]`. */
  readonly name: string;
  readonly source: string;
  readonly target: string;
  readonly expected: 'accept' | 'deny';
  readonly isPassed: boolean;
  /** Pairs of addresses that were judged. */
  readonly pairs: number;
  readonly failing: number;
  /** The first of them, ten unless told. */
  readonly examples: readonly FailingPair[];
  /** One line for people. */
  readonly message: string;
}

/** How all tests went. */
export interface TestReport {
  readonly isPassed: boolean;
  /** In the order of the file. */
  readonly outcomes: readonly TestOutcome[];
  /** Devices that were made up, by the name that they stand for. */
  readonly invented: readonly string[];
}

const MAX_EXAMPLES = 10;

/** Runs all tests of the compiler's policy. `mostExamples`: failing pairs that each line lists. */
export function runTests(compiler: PolicyCompiler, mostExamples = MAX_EXAMPLES): TestReport {
  const { devices, names } = inventDevices(compiler);
  const world =
    devices.length === 0
      ? compiler
      : new PolicyCompiler(compiler.policy, [
          ...[...compiler.directory.members.values()].map(({ device }) => device),
          ...devices,
        ]);
  const outcomes = compiler.policy.tests.flatMap(test => {
    const judge = new Judge(world, test, mostExamples);
    return [
      ...test.accept.map(target => judge.outcome(target, 'accept')),
      ...test.deny.map(target => judge.outcome(target, 'deny')),
    ];
  });
  return { isPassed: outcomes.every(({ isPassed }) => isPassed), outcomes, invented: names };
}

/** Judges the lines of one test. */
class Judge {
  readonly #compiler: PolicyCompiler;
  readonly #test: PolicyTest;
  readonly #sources: readonly IpKey[];
  readonly #protocols: readonly number[];
  readonly #mostExamples: number;
  /** For each set of entrances that was met, the source's entrances. */
  readonly #known = new Map<string, ReadonlyMap<IpKey, Entrance | undefined>>();

  constructor(compiler: PolicyCompiler, test: PolicyTest, mostExamples: number) {
    this.#mostExamples = mostExamples;
    this.#compiler = compiler;
    this.#test = test;
    this.#sources = addressesOf(compiler, test.source);
    this.#protocols = test.protocol === undefined ? [6, 17] : [test.protocol];
  }

  outcome(target: PolicyTestTarget, expected: 'accept' | 'deny'): TestOutcome {
    const counted = this.#count(target, expected, true);
    // A device alone is judged against itself: the rule is the same that a second one would meet.
    const { pairs, failing, examples } = counted.pairs > 0 ? counted : this.#count(target, expected, false);
    const isEmpty = pairs === 0 && expected === 'accept';
    const isPassed = failing === 0 && !isEmpty; // INVARIANT: a test that judged nothing has accepted nothing
    const { name } = this.#test;
    const source = this.#test.source.text;
    const base = { name, line: target.line, column: target.column, source, target: target.text, expected };
    const message = messageOf(source, target.text, expected, isEmpty, examples[0], failing, pairs);
    return { ...base, isPassed, pairs, failing, examples, message };
  }

  #count(target: PolicyTestTarget, expected: 'accept' | 'deny', skipsSame: boolean) {
    const { directory } = this.#compiler;
    const examples: FailingPair[] = [];
    let [pairs, failing] = [0, 0];
    for (const destination of this.#targets(target.alias)) {
      const owner = directory.ownerOf(destination);
      const found = this.#entrances(destination, target.port);
      for (const source of this.#sources) {
        if (source[0] !== destination[0]) continue;
        const sender = directory.ownerOf(source);
        if (skipsSame && sender !== undefined && sender === owner) continue;
        if (target.alias.kind === 'self' && sender?.owner !== owner?.owner) continue;
        pairs++;
        const entrance = found.get(source);
        if ((entrance !== undefined) === (expected === 'accept')) continue;
        failing++;
        if (examples.length < this.#mostExamples)
          examples.push({ source: formatKey(source), destination: formatKey(destination), rule: entrance?.rule });
      }
    }
    return { pairs, failing, examples };
  }

  #entrances(destination: IpKey, port: number): ReadonlyMap<IpKey, Entrance | undefined> {
    const entrances = this.#protocols.flatMap(protocol => entrancesTo(this.#compiler, destination, port, protocol));
    const key = entrances.map(({ id }) => id).join();
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const found = new Map(this.#sources.map(source => [source, entranceOf(entrances, source)] as const));
    this.#known.set(key, found);
    return found;
  }

  #targets(alias: Alias): readonly IpKey[] {
    if (alias.kind !== 'self') return addressesOf(this.#compiler, alias);
    const { members } = this.#compiler.directory;
    const owners = new Set(this.#sources.map(source => this.#compiler.directory.ownerOf(source)?.owner));
    owners.delete(undefined);
    return [...members.values()].filter(({ owner }) => owners.has(owner)).flatMap(({ keys }) => keys);
  }
}

function messageOf(
  source: string,
  target: string,
  expected: 'accept' | 'deny',
  isEmpty: boolean,
  example: FailingPair | undefined,
  failing: number,
  pairs: number,
): string {
  const what = `${source} to ${target}`;
  if (isEmpty) return `${what} could not be judged: nobody is meant, or no address family is common`;
  if (example === undefined) return `${what}: ${expected} holds for ${pairs} pairs`;
  const where = `${example.source} to ${example.destination}`;
  const count = `${failing} of ${pairs} pairs, first ${where}`;
  if (example.rule === undefined) return `${what} should be accepted, but no rule allows ${count}`;
  return `${what} should be denied, but ${describeRule(example.rule)} allows ${count}`;
}

function addressesOf(compiler: PolicyCompiler, alias: Alias): readonly IpKey[] {
  if (alias.addresses !== undefined) return alias.addresses.ranges.map(([first]) => first);
  return [...compiler.directory.membersOf(alias)].flatMap(({ keys }) => keys);
}

/** Devices for names in tests that mean none. */
function inventDevices(compiler: PolicyCompiler): { devices: readonly PolicyDevice[]; names: readonly string[] } {
  const { policy, directory } = compiler;
  const addresses = new FreeAddresses(directory);
  const devices = new Map<string, PolicyDevice>();
  const invent = (user: string, tags: readonly string[]): void => {
    const key = tags.length > 0 ? tags[0]! : `user ${user}`;
    if (!devices.has(key))
      devices.set(key, { id: -1 - devices.size, user, tags, routes: [], addresses: addresses.take() });
  };
  const names = new Set<string>();
  for (const alias of namesIn(policy)) {
    if (alias.addresses !== undefined || alias.kind === 'self' || directory.membersOf(alias).size > 0) continue;
    if (alias.kind === 'tag') invent('', [alias.name]);
    else if (alias.kind === 'tagged') invent('', [[...policy.names.tags.keys()][0] ?? 'tag:example']);
    else if (alias.kind === 'member') invent('member@example.com', []);
    else if (alias.kind === 'user') invent(alias.name, []);
    else for (const user of policy.names.groups.get(alias.name) ?? []) invent(user, []);
    names.add(alias.text);
  }
  return { devices: [...devices.values()], names: [...names] };
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
