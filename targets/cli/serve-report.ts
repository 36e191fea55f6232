/** What `motenet serve` tells. README.md in this folder shows the same table, and a test compares the two. */
import { createReportOf, type EventTable, type Level, type ReportOf, type ReportOptions } from './report.ts';

/** Fields of every event, beside `event` and `time`. */
export interface ServeEvents {
  start: { version: string; dataDir: string };
  warning: { message: string };
  log: { level: Level; message: string; details: Readonly<Record<string, string | number | boolean>> };
  ready: {
    url: string;
    address: string;
    port: number;
    /** Null: none. */
    stunPort: number | null;
    /** Of the relay's own TLS listener; null: the relay is at the URL. */
    relayPort: number | null;
    dataDir: string;
  };
  next: { what: string; command: string };
  stopping: { reason: string };
  stopped: { uptimeMs: number };
  error: { message: string; exitCode: number };
}

/** Every event. `ready` and `error` are told at any level. */
export const SERVE_EVENTS: EventTable<ServeEvents> = /* @__PURE__ */ Object.freeze({
  start: { level: 'info', fields: ['version', 'dataDir'], text: f => `motenet ${f.version} serves ${f.dataDir}` },
  warning: { level: 'warn', fields: ['message'], text: f => `warning: ${f.message}` },
  log: {
    level: 'error',
    levelOf: f => f.level,
    fields: ['level', 'message', 'details'],
    text: f =>
      `${f.level === 'warn' ? 'warning: ' : f.level === 'error' ? 'error: ' : ''}${f.message}${detailText(f.details)}`,
  },
  ready: {
    level: 'error',
    fields: ['url', 'address', 'port', 'stunPort', 'relayPort', 'dataDir'],
    text: f => {
      const relay = f.relayPort === null ? '' : `, relay on TCP port ${f.relayPort}`;
      return `ready: ${f.url}${relay}${f.stunPort === null ? '' : `, STUN on UDP port ${f.stunPort}`}`;
    },
  },
  next: { level: 'info', fields: ['what', 'command'], text: f => `  ${`${f.what}:`.padEnd(24)} ${f.command}` },
  stopping: { level: 'info', fields: ['reason'], text: f => `stopping: ${f.reason}` },
  stopped: { level: 'info', fields: ['uptimeMs'], text: f => `stopped after ${Math.round(f.uptimeMs / 1000)} s` },
  error: { level: 'error', fields: ['message', 'exitCode'], text: () => undefined },
} satisfies EventTable<ServeEvents>);

/** Lines of the log that strangers can cause. */
const LIMITED = /* @__PURE__ */ Object.freeze({ log: 200 });

/** Tells events of `motenet serve`. */
export type ServeReport = ReportOf<ServeEvents>;

/** A {@link ServeReport} that writes lines, as `createReport` does. */
export function createServeReport(options: ReportOptions): ServeReport {
  return createReportOf(SERVE_EVENTS, LIMITED, options);
}

function detailText(details: Readonly<Record<string, string | number | boolean>>): string {
  const list = Object.entries(details).map(([name, value]) => `${name}=${value}`);
  return list.length === 0 ? '' : ` (${list.join(', ')})`;
}
