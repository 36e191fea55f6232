/**
 * What a running command tells: as short lines for people, or as JSON lines for programs. One table names every event,
 * its level and its fields; README.md in this folder shows the same table, and a test compares the two and every line.
 */
import { formatMoment } from './duration.ts';
import { plainText } from './table.ts';
import type { ServiceInfo } from './tunnel.ts';

/** Levels, most urgent first. */
export const LEVELS = /* @__PURE__ */ Object.freeze(['error', 'warn', 'info', 'debug'] as const);
/** One of {@link LEVELS}. */
export type Level = (typeof LEVELS)[number];

/** Fields of every event, beside `event` and `time`. */
export interface Events {
  start: { version: string; file: string };
  joining: { version: string; control: string; stateDir: string };
  'auth-url': { url: string };
  'open-url': { url: string };
  state: { state: string };
  joined: { name: string; domain: string; user: string | null; addresses: readonly string[]; peers: number };
  netmap: { peers: number };
  home: { relay: string | null };
  expiring: { unixMs: number };
  'key-changed': { publicKey: string };
  path: { publicKey: string; endpoint: string | null };
  warning: { message: string };
  ignored: { line: number; key: string; why: string };
  up: {
    publicKey: string;
    addresses: readonly string[];
    listenPort: number;
    mtu: number;
    suite: string;
    peers: number;
  };
  listening: ServiceInfo;
  ready: { publicKey: string; addresses: readonly string[]; listenPort: number; services: readonly ServiceInfo[] };
  handshake: { publicKey: string; isInitiator: boolean };
  endpoint: { publicKey: string; endpoint: string };
  'gave-up': { publicKey: string };
  'session-expired': { publicKey: string };
  trouble: { code: string; message: string };
  open: { id: number; service: string; protocol: string; from: string; to: string };
  close: { id: number; sentBytes: number; receivedBytes: number; durationMs: number; code: string | null };
  refused: { service: string; protocol: string; from: string; to: string; code: string; message: string };
  stopping: { reason: string };
  stopped: { rxBytes: number; txBytes: number; drops: Readonly<Record<string, number>> };
  error: { message: string; exitCode: number };
}

/** What is known of one kind of event with the fields `F`. */
export interface EventKind<F> {
  readonly level: Level;
  /** Where the level depends on the event; `level` is the most urgent one then. */
  readonly levelOf?: (fields: F) => Level;
  readonly fields: readonly (keyof F & string)[];
  /** The line for people; undefined where another line already says it. */
  readonly text: (fields: F) => string | undefined;
}

/** Kinds of all events of a command. */
export type EventTable<E> = { readonly [name in keyof E]: EventKind<E[name]> };

/** What the states of joining mean for people; the others go by without a line. */
const STATE_TEXTS: Readonly<Record<string, string>> = /* @__PURE__ */ Object.freeze({
  'needs-approval': 'this device waits for the approval of an administrator of the tailnet',
  expired: 'the membership has expired: log in again',
  'logged-out': 'logged out',
});

/** Every event. `ready`, `auth-url` and `error` are told at any level. */
export const EVENTS: EventTable<Events> = /* @__PURE__ */ Object.freeze({
  start: { level: 'info', fields: ['version', 'file'], text: f => `motenet ${f.version} with ${f.file}` },
  joining: {
    level: 'info',
    fields: ['version', 'control', 'stateDir'],
    text: f => `motenet ${f.version} joins ${f.control}, state in ${f.stateDir}`,
  },
  'auth-url': {
    level: 'error',
    fields: ['url'],
    text: f => `to let this device in, open ${plainText(f.url)}`,
  },
  'open-url': {
    level: 'warn',
    fields: ['url'],
    text: f => `the coordinator asks you to open ${plainText(f.url)}`,
  },
  state: {
    level: 'info',
    levelOf: f => (Object.hasOwn(STATE_TEXTS, f.state) ? 'info' : 'debug'),
    fields: ['state'],
    text: f => STATE_TEXTS[f.state] ?? f.state,
  },
  joined: {
    level: 'info',
    fields: ['name', 'domain', 'user', 'addresses', 'peers'],
    text: f =>
      `joined ${plainText(f.domain) || 'the tailnet'} as ${plainText(f.name)}${f.user === null ? '' : ` of ${plainText(f.user)}`}: ${f.addresses.join(', ')}; ${count(f.peers, 'peer')}`,
  },
  netmap: { level: 'debug', fields: ['peers'], text: f => `the tailnet has ${count(f.peers, 'peer')}` },
  home: {
    level: 'info',
    fields: ['relay'],
    text: f => (f.relay === null ? 'no relay: peers cannot reach this device' : `home relay ${plainText(f.relay)}`),
  },
  expiring: {
    level: 'warn',
    fields: ['unixMs'],
    text: f => `the membership ends on ${formatMoment(f.unixMs)}: run \`motenet logout\` and log in again before`,
  },
  path: {
    level: 'debug',
    fields: ['publicKey', 'endpoint'],
    text: f =>
      `peer ${f.publicKey} is reached ${f.endpoint === null ? 'through a relay' : `directly at ${f.endpoint}`}`,
  },
  'key-changed': { level: 'info', fields: ['publicKey'], text: f => `own key is now ${f.publicKey}` },
  warning: { level: 'warn', fields: ['message'], text: f => `warning: ${f.message}` },
  ignored: { level: 'warn', fields: ['line', 'key', 'why'], text: f => `ignored: line ${f.line}, ${f.key}: ${f.why}` },
  up: {
    level: 'info',
    fields: ['publicKey', 'addresses', 'listenPort', 'mtu', 'suite', 'peers'],
    text: f =>
      `up: ${f.addresses.join(', ')}, UDP port ${f.listenPort}, MTU ${f.mtu}, ${count(f.peers, 'peer')}, own key ${f.publicKey}`,
  },
  listening: {
    level: 'info',
    fields: ['service', 'protocol', 'address', 'port', 'target'],
    text: f => `${f.service}: ${serviceText(f)}`,
  },
  ready: {
    level: 'error',
    fields: ['publicKey', 'addresses', 'listenPort', 'services'],
    text: f =>
      `ready: ${[`${f.addresses.join(', ')} on UDP port ${f.listenPort}`, ...f.services.map(s => `${s.service} ${serviceText(s)}`)].join('; ')}`,
  },
  handshake: {
    level: 'info',
    fields: ['publicKey', 'isInitiator'],
    text: f => `handshake with ${f.publicKey} (${f.isInitiator ? 'began here' : 'began there'})`,
  },
  endpoint: { level: 'info', fields: ['publicKey', 'endpoint'], text: f => `${f.publicKey} is at ${f.endpoint}` },
  'gave-up': {
    level: 'warn',
    fields: ['publicKey'],
    text: f =>
      `no answer from ${f.publicKey}: check its Endpoint, that it runs, that it knows this key, and that UDP passes`,
  },
  'session-expired': { level: 'debug', fields: ['publicKey'], text: f => `the session with ${f.publicKey} expired` },
  trouble: { level: 'warn', fields: ['code', 'message'], text: f => `${f.message} (${f.code})` },
  open: {
    level: 'debug',
    fields: ['id', 'service', 'protocol', 'from', 'to'],
    text: f => `#${f.id} ${f.service} ${f.protocol} ${f.from} -> ${f.to}`,
  },
  close: {
    level: 'debug',
    fields: ['id', 'sentBytes', 'receivedBytes', 'durationMs', 'code'],
    text: f =>
      `#${f.id} closed after ${f.durationMs} ms: ${f.sentBytes} bytes into the tunnel, ${f.receivedBytes} out of it${f.code === null ? '' : ` (${f.code})`}`,
  },
  refused: {
    level: 'warn',
    fields: ['service', 'protocol', 'from', 'to', 'code', 'message'],
    text: f => `${f.service} ${f.protocol} from ${f.from}: ${f.message}`,
  },
  stopping: { level: 'info', fields: ['reason'], text: f => `stopping: ${f.reason}` },
  stopped: {
    level: 'info',
    fields: ['rxBytes', 'txBytes', 'drops'],
    text: f => `stopped: ${f.rxBytes} bytes received, ${f.txBytes} sent${dropText(f.drops)}`,
  },
  error: { level: 'error', fields: ['message', 'exitCode'], text: () => undefined },
} satisfies { [name in keyof Events]: EventKind<Events[name]> });

/** Events that others can cause at will, told so often per window at most: who knocks all day must not fill a disk. */
const LIMITED = /* @__PURE__ */ Object.freeze({ refused: 20, trouble: 20, 'gave-up': 20, endpoint: 20 });
const WINDOW_MS = 10_000;

/** What {@link createReport} takes. */
export interface ReportOptions {
  readonly isJson: boolean;
  readonly level: Level;
  /** One line without its line end to standard output. */
  readonly out: (line: string) => void;
  /** The same to standard error. */
  readonly err: (line: string) => void;
  /** Wall clock in milliseconds. */
  readonly now: () => number;
}

/** Tells one event. */
export type Report = ReportOf<Events>;
/** Tells one event of the kinds in `E`. */
export type ReportOf<E> = <N extends keyof E>(event: N, fields: E[N]) => void;

/** A {@link Report} that writes lines: JSON to `out`; or text to `err`, of which only `ready` goes to `out`. */
export function createReport(options: ReportOptions): Report {
  return createReportOf(EVENTS, LIMITED, options);
}

/** The same for another table; `limited` says how often per 10 seconds some events are told at most. */
export function createReportOf<E extends { warning: { message: string } }>(
  table: EventTable<E>,
  limited: Readonly<Partial<Record<keyof E, number>>>,
  options: ReportOptions,
): ReportOf<E> {
  const most = LEVELS.indexOf(options.level);
  const isInBudget = budget(options.now);
  const write = <N extends keyof E>(event: N, fields: E[N]) => {
    const time = new Date(options.now()).toISOString();
    const text = options.isJson ? JSON.stringify({ event, time, ...fields }) : table[event].text(fields);
    if (text === undefined) return;
    if (options.isJson || event === 'ready') options.out(text);
    else options.err(text);
  };
  return (event, fields) => {
    const kind = table[event];
    if (LEVELS.indexOf(kind.levelOf?.(fields) ?? kind.level) > most) return;
    const perWindow = limited[event];
    const left = perWindow === undefined ? 'tell' : isInBudget(event, perWindow);
    if (left === 'silent') return;
    write(event, fields);
    const message = `further "${String(event)}" messages are left out for ${WINDOW_MS / 1000} seconds`;
    if (left === 'last') write('warning', { message });
  };
}

function budget(now: () => number): (event: PropertyKey, perWindow: number) => 'tell' | 'last' | 'silent' {
  const windows = new Map<PropertyKey, { startMs: number; told: number }>();
  return (event, perWindow) => {
    let window = windows.get(event);
    if (window === undefined || now() - window.startMs >= WINDOW_MS || now() < window.startMs) {
      window = { startMs: now(), told: 0 };
      windows.set(event, window);
    }
    window.told++;
    return window.told < perWindow ? 'tell' : window.told === perWindow ? 'last' : 'silent';
  };
}

/** Where a service listens and leads, for people. */
export function serviceText({ protocol, address, port, target }: ServiceInfo): string {
  const host = address.includes(':') ? `[${address}]` : address;
  const where = `${host === '' ? 'port ' : `${host}:`}${port}/${protocol}`;
  return target === '' ? where : `${where} -> ${target}`;
}

function dropText(drops: Readonly<Record<string, number>>): string {
  const list = Object.entries(drops).map(([name, times]) => `${name} ${times}`);
  return list.length === 0 ? '' : `, dropped: ${list.join(', ')}`;
}

function count(n: number, noun: string): string {
  return `${n} ${noun}${n === 1 ? '' : 's'}`;
}
