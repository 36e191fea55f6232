/**
 * What a server does and holds as numbers, in the text format of Prometheus (version 0.0.4). Names begin with `motenet_`;
 * of a tailnet's own devices and users there is nothing but counts.
 */
import type { TailnetView } from '../../lib/coordinator/commands.ts';
import type { ServerStatus } from './types.ts';

/** Media type of the text. */
export const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

type Labels = Readonly<Record<string, string>>;
type Value = readonly [labels: Labels, value: number];

interface Metric {
  readonly name: string;
  readonly kind: 'gauge' | 'counter';
  readonly help: string;
  readonly values: readonly Value[];
}

/** The text: metrics of what the status has, then of each tailnet. */
export function metricsText(status: Partial<ServerStatus>, tailnets: readonly TailnetView[]): string {
  return [...serverMetrics(status), ...tailnetMetrics(tailnets), ...policyMetrics(status, tailnets)]
    .filter(({ values }) => values.length > 0)
    .map(metricText)
    .join('');
}

function metricText({ name, kind, help, values }: Metric): string {
  const lines = values.map(([labels, value]) => `motenet_${name}${labelText(labels)} ${value}\n`);
  return `# HELP motenet_${name} ${help}\n# TYPE motenet_${name} ${kind}\n${lines.join('')}`;
}

function labelText(labels: Labels): string {
  const escaped = (text: string) => text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
  const list = Object.entries(labels).map(([name, value]) => `${name}="${escaped(value)}"`);
  return list.length === 0 ? '' : `{${list.join(',')}}`;
}

function single(name: string, kind: Metric['kind'], help: string, value: number | undefined): Metric {
  return { name, kind, help, values: value === undefined ? [] : [[{}, value]] };
}

function serverMetrics({ uptimeMs, connections, strangers, controlSessions, refused, ...rest }: Partial<ServerStatus>) {
  const { relay, stun, store, coordinator } = rest;
  const requests = stun === undefined ? [] : Object.entries(stun);
  return [
    single('uptime_seconds', 'gauge', 'Time since the start.', uptimeMs === undefined ? undefined : uptimeMs / 1000),
    single('connections', 'gauge', 'Open TCP connections.', connections),
    single('stranger_connections', 'gauge', 'Those of them that are not of members.', strangers),
    single('control_sessions', 'gauge', 'Open control connections.', controlSessions),
    single('refused_connections_total', 'counter', 'Connections refused because of a limit.', refused),
    single('tailnets', 'gauge', 'Tailnets.', coordinator?.tailnets),
    single('waiting_logins', 'gauge', 'Logins that wait for somebody.', coordinator?.pendingLogins),
    single('requests', 'gauge', 'Open requests of devices, map streams included.', coordinator?.requests),
    single('open_commits', 'gauge', 'Changes that are not on disk yet.', coordinator?.openCommits),
    single('commits_total', 'counter', 'Changes written to disk.', store?.commits),
    single('transactions_total', 'counter', 'Writes to disk, each with all changes that waited.', store?.transactions),
    single('healthy', 'gauge', '0: the store has failed, and nothing is answered.', healthOf(coordinator)),
    single('relay_connections', 'gauge', 'Open connections to the relay.', relay?.connections),
    single('relay_members', 'gauge', 'Node keys that the relay reaches.', relay?.members),
    single('relay_packets_total', 'counter', 'Packets that the relay has forwarded.', relay?.forwardedPackets),
    single('relay_bytes_total', 'counter', 'Bytes that the relay has forwarded.', relay?.forwardedBytes),
    single('relay_memory_bytes', 'gauge', 'Memory of packets that wait in the relay.', relay?.memoryBytes),
    {
      name: 'relay_dropped_packets_total',
      kind: 'counter',
      help: 'Packets that the relay has dropped.',
      values:
        relay === undefined
          ? []
          : [
              [{ reason: 'no-destination' }, relay.droppedNoDestination],
              [{ reason: 'queue-full' }, relay.droppedQueueFull],
            ],
    },
    {
      name: 'stun_requests_total',
      kind: 'counter',
      help: 'STUN requests by what became of them.',
      values: requests.map(([name, count]): Value => [{ result: kebab(name) }, count]),
    },
  ] satisfies readonly Metric[];
}

function kebab(name: string): string {
  return name.replace(/[A-Z]/g, letter => `-${letter.toLowerCase()}`);
}

function healthOf(coordinator: ServerStatus['coordinator'] | undefined): number | undefined {
  return coordinator === undefined ? undefined : coordinator.isStopped ? 0 : 1;
}

function tailnetMetrics(tailnets: readonly TailnetView[]) {
  const each = (value: (tailnet: TailnetView) => number) =>
    tailnets.map((tailnet): Value => [{ tailnet: tailnet.id }, value(tailnet)]);
  return [
    { name: 'devices', kind: 'gauge', help: 'Devices of a tailnet.', values: each(t => t.devices) },
    { name: 'users', kind: 'gauge', help: 'Users of a tailnet.', values: each(t => t.users) },
    {
      name: 'policy_version',
      kind: 'gauge',
      help: 'Version of the policy that was set last; 0: none, everything is allowed.',
      values: each(t => t.policyVersion),
    },
    {
      name: 'policy_alarm',
      kind: 'gauge',
      help: '1: access tests fail, or the policy in force is not the one that was set last.',
      values: each(t => (t.policyAlarm === undefined ? 0 : 1)),
    },
  ] satisfies readonly Metric[];
}

function policyMetrics({ policyFiles = [] }: Partial<ServerStatus>, tailnets: readonly TailnetView[]) {
  const alarms = tailnets.filter(({ policyAlarm }) => policyAlarm !== undefined).length;
  return [
    single('policy_alarms', 'gauge', 'Tailnets whose policy somebody has to look at.', alarms),
    {
      name: 'policy_file_in_force',
      kind: 'gauge',
      help: '0: the policy file was refused when it was read last.',
      values: policyFiles.map(({ tailnet, path, isInForce }): Value => [{ tailnet, file: path }, isInForce ? 1 : 0]),
    },
  ] satisfies readonly Metric[];
}
