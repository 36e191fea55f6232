/**
 * The access tests of a policy, judged against the devices that there are: "accept" means that every pair of addresses
 * passes, "deny" that no pair does. A test without a protocol passes a pair that TCP or UDP may take.
 *
 * A name that means no device yet (of a user, group, tag or autogroup) is judged for devices made up for it, one for
 * each user, so that a test says something before the first device is there, and without a server. Where nobody can be
 * meant, as with an empty group, "accept" fails. What would take too long fails, too, and says so.
 */
import type { Alias } from './alias.ts';
import type { PolicyCompiler } from './compiler.ts';
import type { Member } from './directory.ts';
import { EntranceCache } from './entrance-cache.ts';
import { describeRule, entranceOf } from './explain.ts';
import { formatKey, type IpKey } from './ip-set.ts';
import type { PolicyRule, PolicyTest, PolicyTestTarget } from './policy.ts';
import type { Place } from './problem.ts';
import { inventDevices } from './stand-ins.ts';
import { TestSources } from './test-sources.ts';

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

/** How much the tests of a policy may ask for. */
export interface TestLimits {
  /** Devices that are made up; where more would be needed no line is judged, which is a failure. */
  readonly invented: number;
  /** Steps of about 10 ns on a server of 2020. Lines that would take more are not judged, which is a failure. */
  readonly steps: number;
}

/** What is allowed unless told. */
export const TEST_LIMITS: TestLimits = /* @__PURE__ */ Object.freeze({ invented: 1000, steps: 80_000_000 });

const MAX_EXAMPLES = 10;
/** What it costs to find an address in the sources of a rule. */
const MEMBERSHIP_STEPS = 30;
/** What a target costs; when other rules lead to it than to those before; and for each of these. */
const TARGET_STEPS = 60;
const NEW_TARGET_STEPS = 600;
const ENTRANCE_STEPS = 50;

/**
 * Runs all tests of the compiler's policy. `mostExamples`: failing pairs that each line lists. While it runs the compiler
 * has the devices that are made up; afterwards it is as before.
 */
export function runTests(
  compiler: PolicyCompiler,
  mostExamples = MAX_EXAMPLES,
  limits: TestLimits = TEST_LIMITS,
): TestReport {
  const { isOver, devices, names } = inventDevices(compiler, limits.invented);
  if (devices.length > 0) compiler.update(devices.map(device => ({ id: device.id, device })));
  try {
    const work = new Work(compiler, mostExamples, isOver ? 0 : limits.steps, limits);
    const outcomes = compiler.policy.tests.flatMap(test => {
      const judge = new Judge(test, work);
      return [
        ...test.accept.map(target => judge.outcome(target, 'accept')),
        ...test.deny.map(target => judge.outcome(target, 'deny')),
      ];
    });
    return { isPassed: outcomes.every(({ isPassed }) => isPassed), outcomes, invented: names };
  } finally {
    if (devices.length > 0) compiler.update(devices.map(({ id }) => ({ id, device: undefined })));
  }
}

/** What the lines of all tests share: the steps that are left, and what was found out. */
class Work {
  readonly compiler: PolicyCompiler;
  readonly cache: EntranceCache;
  readonly mostExamples: number;
  readonly #sources = new Map<string, TestSources>();
  /** Why a line is not judged. */
  readonly excuse: string;
  #left: number;

  constructor(compiler: PolicyCompiler, mostExamples: number, steps: number, limits: TestLimits) {
    this.excuse = `the tests take more than ${limits.steps} steps or ${limits.invented} devices to make up`;
    this.compiler = compiler;
    this.cache = new EntranceCache(compiler);
    this.mostExamples = mostExamples;
    this.#left = steps;
  }

  /** False when there have been too many. */
  spend(steps: number): boolean {
    this.#left -= steps;
    return this.#left >= 0;
  }

  sourcesOf(alias: Alias): TestSources {
    const known = this.#sources.get(alias.key);
    if (known !== undefined) return known;
    const keys = addressesOf(this.compiler, alias);
    this.spend(keys.length * MEMBERSHIP_STEPS);
    const sources = new TestSources(keys, this.compiler);
    this.#sources.set(alias.key, sources);
    return sources;
  }
}

/** Pairs of one line. */
interface Count {
  readonly pairs: number;
  readonly failing: number;
  readonly examples: readonly FailingPair[];
}

/**
 * Judges the lines of one test. What a rule lets in of the sources is found out once for each rule, and targets to which
 * the same rules lead are judged alike; only failing pairs are looked at one by one.
 */
class Judge {
  readonly #test: PolicyTest;
  readonly #sources: TestSources;
  readonly #protocols: readonly number[];
  readonly #work: Work;

  constructor(test: PolicyTest, work: Work) {
    this.#test = test;
    this.#work = work;
    this.#sources = work.sourcesOf(test.source);
    this.#protocols = test.protocol === undefined ? [6, 17] : [test.protocol];
  }

  outcome(target: PolicyTestTarget, expected: 'accept' | 'deny'): TestOutcome {
    const { name } = this.#test;
    const source = this.#test.source.text;
    const base = { name, line: target.line, column: target.column, source, target: target.text, expected };
    const counted = this.#count(target, expected, true);
    // A device alone is judged against itself: the rule is the same that a second one would meet.
    const count = counted?.pairs === 0 ? this.#count(target, expected, false) : counted;
    if (count === undefined) {
      const message = `${source} to ${target.text} was not judged: ${this.#work.excuse}`;
      return { ...base, isPassed: false, pairs: 0, failing: 0, examples: [], message };
    }
    const { pairs, failing, examples } = count;
    const isEmpty = pairs === 0 && expected === 'accept';
    const isPassed = failing === 0 && !isEmpty; // INVARIANT: a test that judged nothing has accepted nothing
    const message = messageOf(source, target.text, expected, isEmpty, examples[0], failing, pairs);
    return { ...base, isPassed, pairs, failing, examples, message };
  }

  /** Undefined when there is too much to do. */
  #count({ alias, port }: PolicyTestTarget, expected: 'accept' | 'deny', skipsSame: boolean): Count | undefined {
    const { compiler, cache, mostExamples } = this.#work;
    const examples: FailingPair[] = [];
    let [pairs, failing] = [0, 0];
    if (!this.#work.spend(TARGET_STEPS)) return undefined;
    const ways = cache.waysTo(port, this.#protocols);
    for (const destination of this.#targets(alias)) {
      const receiver = compiler.directory.ownerOf(destination);
      const { entrances, key } = cache.find(ways, destination, receiver, this.#onNew);
      const admitted = this.#sources.admittedBy(entrances, key, this.#onSearch);
      const isAffordable = this.#work.spend(TARGET_STEPS + this.#sources.words);
      if (admitted === undefined || !isAffordable) return undefined; // CHECK: policy-test-work
      const owner = alias.kind === 'self' ? (receiver?.owner ?? '') : undefined;
      const meant = this.#sources.meantFor(destination, skipsSame ? receiver?.device.id : undefined, owner);
      for (let word = 0; word < meant.length; word++) {
        const wrong = expected === 'accept' ? meant[word]! & ~admitted[word]! : meant[word]! & admitted[word]!;
        pairs += ones(meant[word]!);
        failing += ones(wrong);
        for (let rest = wrong; rest !== 0 && examples.length < mostExamples; rest &= rest - 1) {
          const source = this.#sources.keys[word * 32 + 31 - Math.clz32(rest & -rest)]!;
          const { rule } = entranceOf(entrances, source) ?? { rule: undefined };
          examples.push({ source: formatKey(source), destination: formatKey(destination), rule });
        }
      }
    }
    return { pairs, failing, examples };
  }

  #targets(alias: Alias): readonly IpKey[] {
    const { compiler } = this.#work;
    if (alias.kind !== 'self') return this.#work.sourcesOf(alias).keys;
    const owners = [...this.#sources.owners];
    return owners.flatMap(owner => realOnes(compiler.directory.ownedBy(owner)).flatMap(({ keys }) => keys));
  }

  readonly #onNew = (entrances: number): void => {
    this.#work.spend(NEW_TARGET_STEPS + entrances * ENTRANCE_STEPS);
  };

  readonly #onSearch = (searches: number, words: number): boolean =>
    this.#work.spend(searches * MEMBERSHIP_STEPS + words);
}

/** How many bits of a word are set. */
function ones(word: number): number {
  const pairs = word - ((word >>> 1) & 0x55555555);
  const nibbles = (pairs & 0x33333333) + ((pairs >>> 2) & 0x33333333);
  return Math.imul((nibbles + (nibbles >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
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
  return realOnes(compiler.directory.membersOf(alias)).flatMap(({ keys }) => keys);
}

/** Those that are there; where none is, those that were made up. */
function realOnes(members: ReadonlySet<Member>): readonly Member[] {
  const real = [...members].filter(({ device }) => device.id >= 0);
  return real.length > 0 ? real : [...members];
}
