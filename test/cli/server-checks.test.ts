/** `motenet status --server` and `doctor --server`: what is told of a coordinator, and what is a problem. */
import { readFileSync } from 'node:fs';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { TailnetView } from '../../lib/coordinator/commands.ts';
import type { PolicyView } from '../../lib/coordinator/policy-commands.ts';
import type { AdminPlace } from '../../targets/cli/admin-client.ts';
import { checkLines } from '../../targets/cli/doctor.ts';
import { RunError } from '../../targets/cli/errors.ts';
import {
  runServerDoctor,
  runServerStatus,
  type ServerFindings,
  serverChecks,
  statusLines,
} from '../../targets/cli/server-checks.ts';
import type { PolicyFileStatus } from '../../targets/server/types.ts';
import { FakeContext, serveAdmin, TOKENS } from '../server/admin-support.ts';

const test = suite('cli server checks');

const NOW = Date.UTC(2026, 10, 22, 15, 0);
const COORDINATOR = { tailnets: 1, devices: 3, pendingLogins: 0, requests: 4, openCommits: 0, policyAlarms: 0 };
const RELAY = {
  ...{ connections: 3, unadmitted: 0, members: 2, forwardedPackets: 10, forwardedBytes: 1500 },
  ...{ droppedNoDestination: 1, droppedQueueFull: 2, memoryBytes: 64, pairs: 1 },
};
const TAILNET: TailnetView = {
  ...{ id: 'default', suffix: 'default.mote.internal', createdMs: 0, requiresApproval: false, keyLifeMs: 0 },
  ...{ devices: 3, users: 1, policyVersion: 4 },
};
const POLICY: PolicyView = {
  ...{ tailnet: 'default', version: 4, text: '{}', setMs: NOW, setBy: 'admin', inForce: 'current', notes: [] },
  alarm: { sinceMs: NOW - 3_600_000, message: '1 of 2 access tests fail', failing: ['line 9: a to b\u001b[2J'] },
};
const FILE: PolicyFileStatus = { tailnet: 'default', path: '/p', readMs: NOW - 60_000, isInForce: true, version: 4 };

function findings(status: object = {}, more: Partial<ServerFindings> = {}): ServerFindings {
  return {
    status: {
      ...{ url: 'http://c:8080', uptimeMs: 3_600_000, connections: 6, strangers: 1, controlSessions: 1, refused: 9 },
      ...{ relay: RELAY, stun: { answered: 7, rateLimited: 1, malformed: 0 }, store: { transactions: 3, commits: 8 } },
      ...{ coordinator: { ...COORDINATOR, isStopped: false }, warnings: [], policyFiles: [] },
      ...status,
    },
    ...{ tailnets: [TAILNET], alarmed: [] },
    ...more,
  };
}
const alarmed = (policy: Partial<PolicyView> = {}) =>
  findings({}, { tailnets: [{ ...TAILNET, policyAlarm: 'x' }], alarmed: [{ ...POLICY, ...policy }] });

test('the status says who is connected, what is carried, and which policies there are', () => {
  assert.equal(statusLines(findings(), NOW), [
    'http://c:8080, for 1 hour',
    '1 device connected to it',
    '2 devices connected to its relay, 1.5 kB carried',
    '8 changes written to disk',
    '',
    'TAILNET  DEVICES  USERS  POLICY',
    'default  3        1      version 4',
  ]);
});

test('the status shows every alarm, with the lines that fail, and nothing that moves the cursor', () => {
  const lines = statusLines(alarmed(), NOW);
  assert.equal(lines.slice(4, 6), [
    'ALARM: policy of default: 1 of 2 access tests fail (since 2026-11-22 14:00 UTC, 1 hour ago)',
    '  line 9: a to b?[2J',
  ]);
  assert.ok(lines.includes('default  3        1      version 4, ALARM'));
  const problem = 'access tests would fail';
  const files = [FILE, { ...FILE, isInForce: false, problem, details: ['9: a to b'] }];
  assert.equal(statusLines(findings({ policyFiles: files, warnings: ['odd'] }), NOW).slice(4, 7), [
    'warning: odd',
    'policy file /p of default: in force (read 1 minute ago)',
    'ALARM: policy file /p of default is not in force, version 4 is: access tests would fail (read 1 minute ago)',
  ]);
});

test('a coordinator that is well has no problem', () => {
  assert.equal(checkLines(serverChecks(findings({ policyFiles: [FILE] }), NOW)), [
    'ok  server  http://c:8080 has run for 1 hour',
    'ok  store   0 changes not on disk yet',
    'ok  policy  /p is in force in default',
    'ok  policy  set in 1 of 1 tailnet, without an alarm',
  ]);
  const open = serverChecks(findings({}, { tailnets: [{ ...TAILNET, policyVersion: 0 }] }), NOW);
  assert.is(open.at(-1)!.text, 'nobody has set one: within a tailnet every device may reach every other');
});

test('every alarm is a problem, with what to do next', () => {
  const only = (found: ServerFindings) => serverChecks(found, NOW).filter(({ verdict }) => verdict !== 'ok');
  const [tests] = only(alarmed());
  assert.is(tests!.text, 'default, 1 hour ago: 1 of 2 access tests fail; line 9: a to b\u001b[2J');
  assert.is(tests!.next, 'change what made them fail (`motenet audit`), or the policy: `motenet policy edit`');
  const [good] = only(alarmed({ inForce: 'good', tailnet: 'lab' }));
  assert.is(good!.next, 'set one that passes: `motenet policy edit --tailnet lab`');
  const [file] = only(
    findings({ policyFiles: [{ ...FILE, isInForce: false, problem: 'refused', details: ['9: a'] }] }),
  );
  assert.is(file!.text, '/p is not in force in default, version 4 is: refused; line 9: a');
  assert.match(file!.next!, /^mend it \(`motenet policy check \/p`\), then send SIGHUP/);
  const [stopped] = only(findings({ coordinator: { ...COORDINATOR, isStopped: true } }));
  assert.equal([stopped!.check, stopped!.verdict], ['store', 'problem']);
  const [offline] = only({ status: { coordinator: { ...COORDINATOR, isStopped: false } }, tailnets: [], alarmed: [] });
  assert.equal([offline!.check, offline!.verdict], ['server', 'problem']);
  const [login] = only(findings({ coordinator: { ...COORDINATOR, pendingLogins: 2, isStopped: false } }));
  assert.equal([login!.check, login!.verdict, login!.text], ['logins', 'warning', '2 logins waiting for an approval']);
  const many = Array.from({ length: 21 }, () => ({ ...TAILNET, policyAlarm: 'x' }));
  assert.ok(
    only(findings({}, { tailnets: many, alarmed: [POLICY] })).some(c => c.text === '20 more tailnets with an alarm'),
  );
});

test('they ask over HTTP with a token; doctor fails when there is a problem, also when nobody answers', async () => {
  const context = new FakeContext();
  context.report = findings().status;
  const tailnets = [{ ...TAILNET, policyAlarm: 'x' }];
  context.answer = ({ type }) => ({ isOk: true, value: type === 'policy-get' ? POLICY : tailnets });
  const server = await serveAdmin(context);
  const place = { url: new URL(`http://127.0.0.1:${server.port}`), token: TOKENS.server };
  const out: string[] = [];
  const environment = {
    ...{ out: (line: string) => void out.push(line), unixMs: () => NOW },
    load: () => Promise.reject(new Error('no data were to be opened')),
  };
  await runServerStatus({ place, isJson: true }, environment);
  assert.equal(JSON.parse(out.pop()!), { status: findings().status, tailnets, alarmed: [POLICY] });
  const failing = async (at: AdminPlace) => {
    try {
      await runServerDoctor({ place: at, isJson: true }, environment);
    } catch (error) {
      assert.instance(error, RunError);
      return [(error as Error).message, JSON.parse(out.pop()!)] as const;
    }
    throw new Error('it did not fail');
  };
  const [message, { problems, checks }] = await failing(place);
  assert.equal([message, problems, checks.length], ['1 problem found', 1, 3]);
  const [, scoped] = await failing({ ...place, token: TOKENS.lab });
  assert.match(scoped.checks[0].text, /the token is for the tailnet "lab" alone/);
  assert.match(scoped.checks[0].next, /^give another token/);
  await server.close();
  const [, closed] = await failing(place);
  assert.match(closed.checks[0].text, /^nothing listens at /);
  const folder = '/nonexistent/motenet';
  const [, none] = await failing({ dataDir: folder });
  assert.is(none.checks[0].text, `no coordinator has its data in ${folder}`);
  assert.is(none.checks[0].next, 'start one with `motenet serve`, or say where with --data or --admin');
});

test('the README has every check of doctor --server', () => {
  const readme = readFileSync(new URL('../../targets/cli/README.md', import.meta.url), 'utf8');
  const section = readme.split('prints checks as above:')[1]!.split('\n## ')[0]!;
  const documented = [...section.matchAll(/^\| `(\w+)` \|/gm)].map(([, name]) => name);
  const status = { warnings: ['w'], coordinator: { ...COORDINATOR, pendingLogins: 1, isStopped: false } };
  const coded = new Set(serverChecks(findings(status), NOW).map(({ check }) => check));
  assert.equal(documented, [...coded]);
});

test.run();
