/** The metrics: a text that programs read, with the alarms in it, for administrators of the whole server alone. */
import { readFileSync } from 'node:fs';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { TailnetView } from '../../lib/coordinator/commands.ts';
import { metricsText } from '../../targets/server/metrics.ts';
import type { ServerStatus } from '../../targets/server/types.ts';
import { ask, FakeContext, serveAdmin, TOKENS } from './admin-support.ts';

const test = suite('metrics');

const COORDINATOR = { tailnets: 2, devices: 5, pendingLogins: 1, requests: 4, openCommits: 0, policyAlarms: 1 };
const RELAY = {
  ...{ connections: 3, unadmitted: 0, members: 2, forwardedPackets: 10, forwardedBytes: 1000 },
  ...{ droppedNoDestination: 1, droppedQueueFull: 2, memoryBytes: 64, pairs: 1 },
};
const STATUS: ServerStatus = {
  ...{ url: 'http://127.0.0.1:8080', uptimeMs: 61_500, connections: 6, strangers: 1, controlSessions: 4, refused: 9 },
  ...{ relay: RELAY, stun: { answered: 7, rateLimited: 1, malformed: 0 }, store: { transactions: 3, commits: 8 } },
  ...{ coordinator: { ...COORDINATOR, isStopped: false }, warnings: [] },
  policyFiles: [
    { tailnet: 'lab', path: '/etc/a "b"\\c\nd', readMs: 0, isInForce: false, version: 2, problem: 'x' },
    { tailnet: 'default', path: '/p', readMs: 0, isInForce: true, version: 1 },
  ],
};
const tailnet = (id: string, more: Partial<TailnetView>): TailnetView => ({
  ...{ id, suffix: `${id}.mote.internal`, createdMs: 0, requiresApproval: false, keyLifeMs: 0, devices: 3, users: 1 },
  ...{ policyVersion: 0, ...more },
});
const TAILNETS = [tailnet('default', {}), tailnet('lab', { devices: 2, policyVersion: 4, policyAlarm: 'tests fail' })];

/** Reads the text format, and fails on what is none; values by name with labels. */
function parse(text: string): ReadonlyMap<string, number> {
  const values = new Map<string, number>();
  const types = new Map<string, string>();
  assert.ok(text.endsWith('\n'));
  let help = '';
  for (const line of text.slice(0, -1).split('\n')) {
    const [, kind, name, rest] = /^# (HELP|TYPE) ([a-z_:][a-z0-9_:]*) (.+)$/.exec(line) ?? [];
    if (kind === 'HELP') help = name!;
    else if (kind === 'TYPE') {
      assert.is(name, help, 'help comes first');
      assert.ok(!types.has(name!), `${name} is once`);
      assert.match(rest!, /^(counter|gauge)$/);
      assert.is(rest === 'counter', name!.endsWith('_total'), name);
      types.set(name!, rest!);
    } else {
      const sample = /^([a-z_]+)(\{([a-z]+="(?:[^"\\\n]|\\["\\n])*",?)+\})? (-?[0-9.e+]+)$/.exec(line);
      assert.ok(sample, line);
      assert.is(sample[1], help, 'samples stand below their help');
      assert.ok(!values.has(sample[1] + (sample[2] ?? '')), 'no sample is there twice');
      values.set(sample[1] + (sample[2] ?? ''), Number(sample[4]));
    }
  }
  return values;
}

test('every number of the status is a metric in the text format', () => {
  const values = parse(metricsText(STATUS, TAILNETS));
  const expected: Record<string, number> = {
    ...{ uptime_seconds: 61.5, connections: 6, stranger_connections: 1, control_sessions: 4 },
    ...{ refused_connections_total: 9, tailnets: 2, waiting_logins: 1, requests: 4, open_commits: 0 },
    ...{ commits_total: 8, transactions_total: 3, healthy: 1, relay_connections: 3, relay_members: 2 },
    ...{ relay_packets_total: 10, relay_bytes_total: 1000, relay_memory_bytes: 64, policy_alarms: 1 },
    'relay_dropped_packets_total{reason="no-destination"}': 1,
    'relay_dropped_packets_total{reason="queue-full"}': 2,
    'stun_requests_total{result="answered"}': 7,
    'stun_requests_total{result="rate-limited"}': 1,
    'stun_requests_total{result="malformed"}': 0,
    ...{ 'devices{tailnet="default"}': 3, 'devices{tailnet="lab"}': 2 },
    ...{ 'users{tailnet="default"}': 1, 'users{tailnet="lab"}': 1 },
    ...{ 'policy_version{tailnet="default"}': 0, 'policy_version{tailnet="lab"}': 4 },
    ...{ 'policy_alarm{tailnet="default"}': 0, 'policy_alarm{tailnet="lab"}': 1 },
    'policy_file_in_force{tailnet="lab",file="/etc/a \\"b\\"\\\\c\\nd"}': 0,
    'policy_file_in_force{tailnet="default",file="/p"}': 1,
  };
  assert.equal(
    Object.fromEntries(values),
    Object.fromEntries(Object.entries(expected).map(([name, value]) => [`motenet_${name}`, value])),
  );
});

test('the README has every metric with its labels, and no other', () => {
  const readme = readFileSync(new URL('../../targets/server/README.md', import.meta.url), 'utf8');
  const section = readme.split('| Metric `motenet_…` | What |')[1]!.split('\n\n')[0]!;
  const documented = [...section.matchAll(/^\| (.+?) \| /gm)]
    .flatMap(([, names]) => [...names!.matchAll(/`([^`]+)`/g)])
    .map(([, name]) => name!);
  const labelled = [...parse(metricsText(STATUS, TAILNETS)).keys()].map(name =>
    name.replace(/^motenet_/, '').replace(/="(?:[^"\\\n]|\\.)*"/g, ''),
  );
  assert.equal(documented.sort(), [...new Set(labelled)].sort());
});

test('a server that has stopped is not healthy, and one of which little is known says little', () => {
  const stopped = { coordinator: { ...COORDINATOR, isStopped: true } };
  const values = parse(metricsText(stopped, []));
  assert.is(values.get('motenet_healthy'), 0);
  assert.not(values.has('motenet_connections'));
});

test('they are at /metrics, for whoever may administer the whole server', async () => {
  const context = new FakeContext();
  context.report = STATUS;
  context.answer = ({ type }) => (type === 'tailnet-list' ? { isOk: true, value: TAILNETS } : undefined);
  const server = await serveAdmin(context);
  const good = await ask(server.port, '/metrics', { token: TOKENS.server });
  assert.equal([good.status, good.headers['content-type']], [200, 'text/plain; version=0.0.4; charset=utf-8']);
  assert.is(parse(good.text).get('motenet_policy_alarm{tailnet="lab"}'), 1);
  assert.is((await ask(server.port, '/metrics')).status, 401);
  assert.is((await ask(server.port, '/metrics', { token: TOKENS.lab })).status, 403);
  assert.is((await ask(server.port, '/metrics', { token: TOKENS.server, method: 'DELETE' })).status, 405);
  assert.is((await ask(server.port, '/api/v1/metrics', { token: TOKENS.server })).status, 404);
  context.outcome = new Error('the store has failed');
  context.answer = () => undefined;
  const failed = await ask(server.port, '/metrics', { token: TOKENS.server });
  assert.is(failed.status, 200);
  assert.not(parse(failed.text).has('motenet_devices{tailnet="lab"}'));
  await server.close();
});

test.run();
