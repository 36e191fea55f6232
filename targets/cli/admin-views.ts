/** Answers of administration commands as people read them: tables with relative times, and one sentence per change. */
import type {
  AdminCommand,
  AdminResults,
  DeviceView,
  KeyView,
  TailnetView,
  TokenView,
  UserView,
} from '../../lib/coordinator/commands.ts';
import type { AuditRow } from '../server/types.ts';
import { formatDuration, formatMoment, formatWhen } from './duration.ts';
import { changeView, explainView, policyText, policyView, type View } from './policy-views.ts';
import { formatTable, plainText } from './table.ts';

type Views = {
  readonly [T in AdminCommand['type']]: (value: AdminResults[T], nowMs: number, asked: AdminCommand) => View;
};

const VIEWS: Views = /* @__PURE__ */ Object.freeze({
  'tailnet-list': (value, nowMs) =>
    list(value, 'no tailnets: `motenet tailnets create NAME` makes one', tailnetTable, nowMs),
  'tailnet-create': value => said(`made ${tailnetText(value)}`),
  'tailnet-update': value => said(`changed ${tailnetText(value)}`),
  'tailnet-remove': (_, __, asked) => said(`removed the tailnet ${(asked as { tailnet: string }).tailnet}`),
  'user-list': (value, nowMs) => list(value, 'no users: `motenet users create LOGIN` makes one', userTable, nowMs),
  'user-create': value => said(`made the user ${value.loginName}`),
  'user-rename': (value, _, asked) =>
    said(`renamed the user ${(asked as { loginName: string }).loginName} to ${value.loginName}`),
  'user-remove': (_, __, asked) => said(`removed the user ${(asked as { loginName: string }).loginName}`),
  'key-create': (value, nowMs) => ({
    out: [value.key ?? ''],
    err: [`key ${value.id}: ${keyText(value)}, ${untilText(nowMs, value.expiresMs)}; it is not shown again`],
  }),
  'key-list': (value, nowMs) => list(value, 'no auth keys: `motenet keys create` makes one', keyTable, nowMs),
  'key-revoke': value => said(`revoked the key ${value.id}`),
  'device-list': (value, nowMs) =>
    list(value, 'no devices yet: `motenet keys create` makes a key to join with', deviceTable, nowMs),
  'device-approve': value => said(`approved ${deviceText(value)}`),
  'device-rename': value => said(`renamed ${deviceText(value)}`),
  'device-expire': value => said(`expired the key of ${deviceText(value)}: it must log in again`),
  'device-remove': (_, __, asked) => said(`removed ${(asked as { device: string }).device}`),
  'device-tags': value => said(`${deviceText(value)} ${ownerText(value)}`),
  'device-routes': value => said(`${deviceText(value)} ${routesText(value)}`),
  'policy-get': policyView,
  'policy-set': changeView,
  'policy-explain': explainView,
  'token-create': (value, nowMs) => ({
    out: [value.token ?? ''],
    err: [`token ${value.id} for ${scopeText(value)}, ${untilText(nowMs, value.expiresMs)}; it is not shown again`],
  }),
  'token-list': (value, nowMs) => list(value, 'no tokens: `motenet tokens create` makes one', tokenTable, nowMs),
  'token-revoke': (_, __, asked) => said(`revoked the token ${(asked as { id: string }).id}`),
} satisfies Views);

/** How the answer to `command` reads at `nowMs` (ms since 1970). */
export function viewOf(command: AdminCommand, value: unknown, nowMs: number): View {
  const view = VIEWS[command.type] as (value: unknown, nowMs: number, asked: AdminCommand) => View;
  return view(value, nowMs, command);
}

/** The audit log, oldest line last, as the interface gives it. */
export function auditView(rows: readonly AuditRow[]): View {
  const table = formatTable(
    ['SEQ', 'TIME', 'TAILNET', 'WHO', 'WHAT', 'ON', 'DETAILS'],
    rows.map(row => [
      ...[String(row.seq), formatMoment(row.atMs), row.tailnet, row.actor, row.action, row.target],
      Object.entries(row.details)
        .filter(([, value]) => value !== '')
        .map(([name, value]) => `${name}=${value}`)
        .join(' '),
    ]),
  );
  return rows.length === 0 ? { out: [], err: ['no such lines in the audit log'] } : { out: table };
}

function said(line: string): View {
  return { out: [plainText(line)] };
}

function list<T>(
  values: readonly T[],
  none: string,
  table: (values: readonly T[], nowMs: number) => string[],
  nowMs: number,
): View {
  return values.length === 0 ? { out: [], err: [none] } : { out: table(values, nowMs) };
}

function tailnetTable(values: readonly TailnetView[], nowMs: number): string[] {
  return formatTable(
    ['NAME', 'SUFFIX', 'DEVICES', 'USERS', 'APPROVAL', 'KEY LIFE', 'POLICY', 'CREATED'],
    values.map(t => [
      ...[t.id, t.suffix, String(t.devices), String(t.users), t.requiresApproval ? 'on' : 'off', keyLife(t.keyLifeMs)],
      ...[policyText(t), formatWhen(nowMs, t.createdMs)],
    ]),
  );
}

function userTable(values: readonly UserView[], nowMs: number): string[] {
  return formatTable(
    ['LOGIN', 'NAME', 'DEVICES', 'CREATED'],
    values.map(u => [
      ...[u.loginName, u.displayName === u.loginName ? '' : u.displayName, String(u.devices)],
      formatWhen(nowMs, u.createdMs),
    ]),
  );
}

function keyTable(values: readonly KeyView[], nowMs: number): string[] {
  return formatTable(
    ['ID', 'STATE', 'USER', 'TAGS', 'KIND', 'USES', 'EXPIRES', 'CREATED', 'LAST USED', 'DESCRIPTION'],
    values.map(k => [
      ...[k.id, k.state, k.user, k.tags.join(' '), kindOf(k), String(k.uses), formatWhen(nowMs, k.expiresMs)],
      ...[formatWhen(nowMs, k.createdMs), k.lastUsedMs === 0 ? '' : formatWhen(nowMs, k.lastUsedMs), k.description],
    ]),
  );
}

function deviceTable(values: readonly DeviceView[], nowMs: number): string[] {
  const sorted = [...values].sort((a, b) => compare(a.name, b.name));
  return formatTable(
    ['ID', 'NAME', 'ADDRESS', 'OWNER', 'OS', 'VERSION', 'STATE', 'SEEN', 'KEY EXPIRES', 'ROUTES'],
    sorted.map(d => [
      ...[d.pendingId ?? String(d.id), d.name || d.hostname, d.addresses[0] ?? '', ownerOf(d), d.os, d.version],
      ...[stateOf(d), d.isOnline ? 'online' : d.lastSeenMs === 0 ? '' : formatWhen(nowMs, d.lastSeenMs)],
      d.state === 'login' ? '' : formatWhen(nowMs, d.keyExpiryMs),
      d.routes.map(routeText).join(', '),
    ]),
  );
}

function tokenTable(values: readonly TokenView[], nowMs: number): string[] {
  return formatTable(
    ['ID', 'FOR', 'EXPIRES', 'CREATED', 'DESCRIPTION'],
    values.map(t => [
      ...[t.id, scopeText(t), formatWhen(nowMs, t.expiresMs), formatWhen(nowMs, t.createdMs), t.description],
    ]),
  );
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function keyLife(ms: number): string {
  return ms === 0 ? 'never ends' : formatDuration(ms);
}

function tailnetText(t: TailnetView): string {
  const approval = t.requiresApproval ? 'devices need an approval' : 'devices need no approval';
  const life = t.keyLifeMs === 0 ? 'their keys never expire' : `their keys last ${formatDuration(t.keyLifeMs)}`;
  return `the tailnet ${t.id} (${t.suffix}): ${approval}, ${life}`;
}

function kindOf(k: KeyView): string {
  const words = [
    k.isReusable ? 'reusable' : 'once',
    k.isEphemeral ? 'ephemeral' : '',
    k.isPreapproved ? 'preapproved' : '',
  ];
  return words.filter(word => word !== '').join(' ');
}

function keyText(k: KeyView): string {
  const what = k.isEphemeral ? 'ephemeral device' : 'device';
  const how = k.isReusable ? `any number of ${what}s` : `one ${what}`;
  const whose = k.tags.length > 0 ? `with ${k.tags.join(' ')}` : `of ${k.user}`;
  return plainText(`for ${how} ${whose}${k.isPreapproved ? ', without approval' : ''}`);
}

function untilText(nowMs: number, expiresMs: number): string {
  return expiresMs === 0 ? 'for ever' : `until ${formatMoment(expiresMs)} (${formatWhen(nowMs, expiresMs)})`;
}

function scopeText(t: TokenView): string {
  return t.tailnet === '' ? 'the whole server' : t.tailnet;
}

function ownerOf(d: DeviceView): string {
  return d.tags.length > 0 ? d.tags.join(' ') : d.user;
}

function stateOf(d: DeviceView): string {
  if (d.state === 'waiting') return 'needs approval';
  if (d.state === 'login') return 'login waits';
  return `${d.state}${d.isEphemeral ? ', ephemeral' : ''}`;
}

/** A route in force alone, of another what it lacks. */
function routeText({ route, isApproved, isAdvertised }: DeviceView['routes'][number]): string {
  if (isApproved && isAdvertised) return route;
  return `${route} (${isAdvertised ? 'needs approval' : 'not offered'})`;
}

function ownerText(d: DeviceView): string {
  return d.tags.length > 0 ? `has ${d.tags.join(' ')} now` : `has no tags now and belongs to ${d.user}`;
}

function routesText({ routes }: DeviceView): string {
  const list = (wanted: (route: DeviceView['routes'][number]) => boolean) => routes.filter(wanted).map(r => r.route);
  const serves = list(r => r.isApproved && r.isAdvertised);
  const waits = list(r => r.isApproved && !r.isAdvertised);
  const offers = list(r => !r.isApproved && r.isAdvertised);
  return [
    serves.length > 0 ? `serves ${serves.join(', ')} now` : 'serves no routes now',
    ...(waits.length > 0 ? [`approved, but not offered by it: ${waits.join(', ')}`] : []),
    ...(offers.length > 0 ? [`offered, but not approved: ${offers.join(', ')}`] : []),
  ].join('; ');
}

function deviceText(d: DeviceView): string {
  return `${d.name} (${d.addresses[0] ?? 'no address'})`;
}
