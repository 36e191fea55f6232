/**
 * Policy files that somebody has made to be costly: each is read to the end of what is to be said about it, or, where it is
 * valid, compiled and tested as well. The coordinator takes files of at most 1 MiB.
 */
import { runTests } from '../lib/policy/access-tests.ts';
import { PolicyCompiler } from '../lib/policy/compiler.ts';
import { parsePolicy } from '../lib/policy/parse.ts';
import { formatProblem } from '../lib/policy/problem.ts';
import { RULE_LIMITS } from '../lib/policy/rules.ts';
import type { PolicyDevice } from '../lib/policy/directory.ts';
import { devicesOf } from './policy-tailnet.ts';

/** What became of one file. */
export interface HostileFigures {
  readonly name: string;
  readonly bytes: number;
  /** The first thing that is wrong, or `valid`. */
  readonly says: string;
  /** Time of reading it. */
  readonly readMs: number;
  /** The same of compiling a valid one for 100 devices and running its tests; 0 for others. */
  readonly checkMs: number;
}

const BYTES = 1_048_576;
const DEVICES = 100;

/** `text` so often that the whole has about a megabyte. */
function many(text: string | ((i: number) => string), bytes = BYTES): string {
  const out: string[] = [];
  for (let i = 0, length = 0; length < bytes; i++) {
    const next = typeof text === 'string' ? text : text(i);
    length += next.length;
    out.push(next);
  }
  return out.join('');
}

const address = (i: number) => `10.${(i >> 16) & 255}.${(i >> 8) & 255}.${i & 255}`;
const entry = (i: number) => `"u${i}@example.com",`;

/** The files by name. */
function files(): readonly (readonly [string, string])[] {
  const rule = '{"action":"accept","src":["*"],"dst":["*:*"]},';
  const bits = many(i => `"${address(i * 2)}",`);
  const groups = many(i => `"group:g${i}":["a@"],`, BYTES / 3);
  const members = many(i => `"group:g${i}",`, BYTES / 3);
  const lines = Array.from({ length: RULE_LIMITS.lines }, (_, i) => `"${address(i)}:22"`).join();
  return [
    ['lists in lists', `{"acls": ${many('[')}`],
    ['objects in objects', `{"acls": ${many('{"a":')}`],
    ['comments without an end', `{/*${many('/*')}`],
    ['many comments', `{${many('/* x */ // y\n')}"acls": []}`],
    ['the same key again and again', `{${many('"acls": [],')}}`],
    ['keys that nobody knows', `{${many(i => `"k${i}": 1,`)}}`],
    ['names that nobody knows', `{"acls": [{"action":"accept","src":[${many(i => `"nam${i}",`)}],"dst":["*:*"]}]}`],
    ['a text without an end', `{"acls": "${many('x')}`],
    ['escapes', `{"acls": ["${many('\\u0041')}"]}`],
    ['many rules', `{"acls": [${many(rule)}]}`],
    ['many scattered sources', `{"acls": [{"action":"accept","src":[${bits}],"dst":["*:*"]}]}`],
    ['many ports', `{"acls": [{"action":"accept","src":["*"],"dst":["*:${many(i => `${i % 65_536},`)}1"]}]}`],
    ['a group of many', `{"groups": {"group:all": [${many(entry)}]}, "acls": []}`],
    [
      'many groups in one rule',
      `{"groups": {${groups}}, "acls": [{"action":"accept","src":[${members}],"dst":["*:*"]}]}`,
    ],
    ['tags that own each other', `{"tagOwners": {${many(i => `"tag:t${i}":["tag:t${i + 1}"],`)}}}`],
    [
      'many tests',
      `{"acls": [${rule}],"tests": [${many(i => `{"src":"${address(i)}","accept":["${address(i + 1)}:22"]},`)}]}`,
    ],
    ['a test of many', `{"acls": [${rule}],"tests": [{"src":"a@","deny":[${many(i => `"${address(i)}:22",`)}]}]}`],
    ['as many lines of tests as there may be', `{"acls": [${rule}],"tests": [{"src":"a@","deny":[${lines}]}]}`],
    [
      'grants of many ways',
      `{"grants": [{"src":["*"],"dst":[${many(i => `"${address(i)}",`, BYTES / 2)}],"ip":[${many(i => `"${i % 140}:*",`, BYTES / 4)}]}]}`,
    ],
    ['zeros', many('\0')],
    ['what is no JSON', many('yes ')],
  ];
}

/** Reads all of them. Each time is the better one of two, since others may be at work on the machine. */
export function measureHostile(): readonly HostileFigures[] {
  const devices = devicesOf(DEVICES);
  return files().map(([name, text]) => {
    const [one, other] = [measure(name, text, devices), measure(name, text, devices)];
    return { ...one, readMs: Math.min(one.readMs, other.readMs), checkMs: Math.min(one.checkMs, other.checkMs) };
  });
}

function measure(name: string, text: string, devices: readonly PolicyDevice[]): HostileFigures {
  const bytes = Buffer.byteLength(text);
  const started = startClock();
  const result = parsePolicy(text);
  const readMs = timeSince(started);
  if (result.policy === undefined) {
    const says = formatProblem(result.errors[0]!).slice(0, 120);
    return { name, bytes, says, readMs, checkMs: 0 };
  }
  const checkStarted = startClock();
  const compiler = new PolicyCompiler(result.policy, devices);
  for (const { id } of devices) compiler.rulesFor(id);
  const { isPassed } = runTests(compiler);
  const says = isPassed ? 'valid' : 'valid, and its tests fail';
  return { name, bytes, says, readMs, checkMs: timeSince(checkStarted) };
}

/** A clock that starts now. */
function startClock(): { readonly wallMs: number; readonly cpu: NodeJS.CpuUsage } {
  return { wallMs: performance.now(), cpu: process.cpuUsage() };
}

/**
 * Time since then: of the wall, or the processor time of this process if that is less, as it is where others are at work.
 * (Where nobody is, it may be more: collecting garbage takes several threads.)
 */
function timeSince({ wallMs, cpu }: ReturnType<typeof startClock>): number {
  const { user, system } = process.cpuUsage(cpu);
  return Number(Math.min(performance.now() - wallMs, (user + system) / 1000).toFixed(1));
}
