/**
 * The suite `policy`: what a policy says, what our evaluator makes of it, and what stock tailscaled then really lets in;
 * and what happens to open connections when a right is taken away.
 */
import { explain } from '../../lib/policy/explain.ts';
import { parsePolicy } from '../../lib/policy/parse.ts';
import type { Policy } from '../../lib/policy/policy.ts';
import { formatProblem } from '../../lib/policy/problem.ts';
import { type Bench, type Case, expect } from './case.ts';
import { cutCases } from './policy-cut.ts';
import { type Judgement, PolicyJudge } from './policy-judge.ts';
import { type NamedPolicy, policiesOf } from './policy-list.ts';
import { PolicyWorld } from './policy-world.ts';

/** Policies out of seeds, beside those written by hand. */
const GENERATED = 40;
const GENERATED_QUICK = 5;
const SHOWN = 20;
/** Part of the probes that may be lost on the way, and so tell nothing. */
const MOST_LOST = 0.001;
/** Files that must be refused, with a piece of what the refusal says, while what was in force stays. */
const REFUSED: readonly (readonly [string, string, RegExp])[] = Object.freeze([
  ['a prefix with host bits', acl('["100.64.0.9/10"]', '["*:*"]'), /host bits/],
  ['a protocol in capitals', acl('["*"]', '["*:*"]', ', "proto": "TCP"'), /write tcp/],
  ['ports for a protocol without', acl('["*"]', '["*:22"]', ', "proto": "gre"'), /no ports/],
  ['a tag that is not declared', acl('["tag:nobody"]', '["*:*"]'), /not declared/],
  ['a key that is there twice', '{"acls": [], "acls": []}', /twice|duplicate|again/i],
  ['an action that denies', '{"acls": [{"action": "deny", "src": ["*"], "dst": ["*:*"]}]}', /accept/],
]);

function acl(src: string, dst: string, more = ''): string {
  return `{"acls": [{"action": "accept", "src": ${src}, "dst": ${dst}${more}}]}`;
}

interface Total {
  probes: number;
  accepted: number;
  dropped: number;
  refused: number;
  strangers: number;
  lost: number;
  repeated: number;
  readonly disagreements: string[];
}

async function policies({ lab, isQuick }: Bench): Promise<string> {
  const world = await PolicyWorld.make(lab);
  const judge = new PolicyJudge(world);
  const total: Total = {
    probes: 0,
    accepted: 0,
    dropped: 0,
    refused: 0,
    strangers: 0,
    lost: 0,
    repeated: 0,
    disagreements: [],
  };
  const list = policiesOf(world, isQuick ? GENERATED_QUICK : GENERATED);
  const lines: string[] = [];
  for (const named of list) {
    const policy = await setPolicy(world, named);
    const judgement = await judge.judge(world.compile(policy));
    add(total, named.name, judgement);
    await compareExplain(world, policy, lines.length);
    lines.push(`${String(judgement.accepted).padStart(4)} of ${judgement.probes} accepted: ${named.name}`);
  }
  await expectRefusals(world, list.at(-1)!, judge, total);
  const { probes, accepted, dropped, refused, strangers, lost, repeated, disagreements } = total;
  const summary =
    `${list.length} policies, ${probes} probes, ${accepted} accepts, ${dropped} drops (${refused} counted by the filter, ` +
    `${strangers} of devices that must not be known, ${lost} lost), ${disagreements.length} disagreements; ` +
    `${repeated} asked again`;
  const shown = disagreements.slice(0, SHOWN).join('\n        ');
  expect(disagreements.length === 0, `${summary}\n        ${shown}`);
  expect(accepted > 0 && refused > 0, `${summary}: nothing was tried`);
  expect(lost <= probes * MOST_LOST, `${summary}: what is lost is not judged`);
  return [summary, await world.evidence(), `refused: ${REFUSED.map(([name]) => name).join('; ')}`, ...lines].join(
    '\n        ',
  );
}

async function setPolicy(world: PolicyWorld, { name, text }: NamedPolicy): Promise<Policy> {
  const result = parsePolicy(text);
  const { policy } = result;
  if (policy === undefined) throw new Error(`"${name}" does not parse: ${result.errors.map(formatProblem).join('; ')}`);
  await world.ask({ type: 'policy-set', text });
  return policy;
}

function add(total: Total, name: string, one: Judgement): void {
  total.probes += one.probes;
  total.accepted += one.accepted;
  total.dropped += one.dropped;
  total.refused += one.refused;
  total.strangers += one.strangers;
  total.lost += one.lost;
  total.repeated += one.repeated;
  for (const line of one.disagreements) total.disagreements.push(`${name}: ${line}`);
}

/** The coordinator's own answer is that of the evaluator. */
async function compareExplain(world: PolicyWorld, policy: Policy, turn: number): Promise<void> {
  const source = world.sources[turn % world.sources.length]!.v4;
  const destination = world.addressesOf(turn % 2 === 0 ? 'gate' : 'desk')[0];
  const port = [22, 80, 443][turn % 3]!;
  const here = explain(world.compile(policy), source, destination, port);
  const there = await world.ask({ type: 'policy-explain', source, destination, port });
  const isSame = here.isAllowed === there.isAllowed && here.rule?.name === there.rule?.name;
  expect(isSame, `policy-explain ${source} ${destination}:${port} says ${there.reason}, here ${here.reason}`);
}

/** What is refused changes nothing. */
async function expectRefusals(world: PolicyWorld, last: NamedPolicy, judge: PolicyJudge, total: Total): Promise<void> {
  for (const [name, text, words] of REFUSED) {
    const refusal = await world.ask({ type: 'policy-set', text }).then(
      () => undefined,
      (error: Error & { details?: readonly string[] }) => [error.message, ...(error.details ?? [])].join('\n'),
    );
    expect(refusal !== undefined, `${name} was not refused`);
    expect(words.test(refusal), `${name} was refused with "${refusal}"`);
  }
  const { text } = await world.ask({ type: 'policy-get' });
  expect(text === last.text, 'a refused policy has taken the place of the last one');
  add(total, `${last.name}, after refusals`, await judge.judge(world.compile(parsePolicy(last.text).policy!)));
}

export const policyCases: readonly Case[] = [
  {
    name: 'policies',
    title: 'what stock tailscaled lets in and drops under each policy is what our evaluator says',
    needs: ['tcpdump'],
    timeoutMs: 180_000,
    run: policies,
  },
  ...cutCases,
];
