/**
 * What policies cost to compile: a whole tailnet at once, and again after one device has changed, come or gone.
 *
 * Whole: the lists of every device, and who is told of whom. After a change: the same for those whom it concerns, as the
 * coordinator does it. A figure is the median of several rounds.
 */
import { PolicyCompiler } from '../lib/policy/compiler.ts';
import type { PolicyDevice } from '../lib/policy/directory.ts';
import { parsePolicy } from '../lib/policy/parse.ts';
import type { Policy } from '../lib/policy/policy.ts';
import { deviceOf, devicesOf, policyText, usersOf } from './policy-tailnet.ts';

/** Figures of one size. Times in ms. */
export interface CompileFigures {
  readonly devices: number;
  readonly rules: number;
  /** Reading the text. */
  readonly parseMs: number;
  readonly fullMs: number;
  /** One device changes its tag, comes, goes. */
  readonly tagMs: number;
  readonly comesMs: number;
  readonly goesMs: number;
  /** How many devices have to be given a new filter for that, on average. */
  readonly filters: number;
  /** The dearest of the three, over a full compile. */
  readonly ratio: number;
}

/** Devices that change in one round. */
const CHANGES = 12;

/** Measures one size. */
export function measureCompile(
  devices: number,
  rules: number,
  rounds: number,
  o: { isBroad?: boolean } = {},
): CompileFigures {
  const text = policyText(devices, rules, o);
  const list = devicesOf(devices);
  const times = { parse: [], full: [], tag: [], comes: [], goes: [] } as Record<string, number[]>;
  let told = 0;
  for (let round = 0; round < rounds; round++) {
    const startMs = performance.now();
    const policy = read(text);
    times.parse!.push(performance.now() - startMs);
    const fullStart = performance.now();
    const compiler = compileAll(policy, list);
    times.full!.push(performance.now() - fullStart);
    for (let i = 0; i < CHANGES; i++) {
      const device = list[(i * 7919 + round * 131) % list.length]!;
      const other = deviceOf(device.id, usersOf(devices), 7);
      told += timed(times.tag!, () => change(compiler, device.id, { ...other, addresses: device.addresses }));
      told += timed(times.goes!, () => change(compiler, device.id, undefined));
      told += timed(times.comes!, () => change(compiler, device.id, device));
    }
  }
  const [parseMs, fullMs, tagMs, comesMs, goesMs] = ['parse', 'full', 'tag', 'comes', 'goes'].map(name =>
    median(times[name]!),
  ) as [number, number, number, number, number];
  const ratio = Math.max(tagMs, comesMs, goesMs) / fullMs;
  const filters = Math.round(told / (rounds * CHANGES * 3));
  return {
    devices,
    rules,
    parseMs: round3(parseMs),
    fullMs: round3(fullMs),
    tagMs: round3(tagMs),
    comesMs: round3(comesMs),
    goesMs: round3(goesMs),
    filters,
    ratio: round3(ratio),
  };
}

function read(text: string): Policy {
  const { policy } = parsePolicy(text);
  if (policy === undefined) throw new Error('the policy of the bench does not parse');
  return policy;
}

function compileAll(policy: Policy, list: readonly PolicyDevice[]): PolicyCompiler {
  const compiler = new PolicyCompiler(policy, list);
  for (const { id } of list) compiler.rulesFor(id);
  for (const { id } of list) compiler.visibleTo(id);
  return compiler;
}

/** Changes a device and makes again what that concerns; returns how many filters. */
function change(compiler: PolicyCompiler, id: number, device: PolicyDevice | undefined): number {
  const { filters, visibility } = compiler.update([{ id, device }]);
  for (const each of filters) compiler.rulesFor(each);
  for (const each of visibility) compiler.canSee(id, each);
  return filters.size;
}

function timed(into: number[], run: () => number): number {
  const startMs = performance.now();
  const value = run();
  into.push(performance.now() - startMs);
  return value;
}

/** The middle one. */
export function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1]!;
}

/** To a thousandth. */
export function round3(value: number): number {
  return Number(value.toFixed(3));
}
