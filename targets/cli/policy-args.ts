/** The commands about policies, as entries of the table of administration commands, and what they take. */
import { canonicalAddress } from '../../lib/base/address.ts';
import { PORT_PROTOCOLS, parseProtocol } from '../../lib/policy/ports.ts';
import { type AdminFlag, given, TAILNET, tailnetOf, textOf, wholeNumberOf } from './admin-flags.ts';
import type { AdminEntry, ExplainCommand } from './admin-task.ts';
import { portOf, quote } from './args.ts';
import { UsageError } from './errors.ts';

const TCP = 6;
const DRY_RUN: AdminFlag = { type: 'boolean', help: 'Says what would change, and changes nothing.' };
const IF_VERSION: AdminFlag = {
  type: 'string',
  value: 'N',
  help: 'Only while version N, which `policy get` has shown, is the newest.',
};

/** `motenet policy NAME`. */
export const POLICY_ENTRIES: Readonly<Record<string, AdminEntry>> = /* @__PURE__ */ Object.freeze({
  check: {
    summary: 'Reads a policy and runs its access tests, without a coordinator. FILE may be - (standard input).',
    takes: ['FILE'],
    flags: {
      devices: {
        type: 'string',
        value: 'LIST',
        help: 'Judges on these, a file of `motenet devices list --json`; else on devices made up for the tests.',
      },
    },
    isLocal: true,
    task: ([path], values) => ({ type: 'policy-check', path: path!, devices: textOf(values, 'devices') }),
  },
  get: {
    summary: 'Prints the policy as it was set, comments and all, and beside it whether it is in force.',
    takes: [],
    flags: { tailnet: TAILNET },
    command: (_, values) => ({ type: 'policy-get', tailnet: tailnetOf(values) }),
  },
  set: {
    summary: 'Puts a policy in force, if its access tests pass, and lists who gains or loses access by it.',
    takes: ['FILE'],
    flags: { 'dry-run': DRY_RUN, 'if-version': IF_VERSION, tailnet: TAILNET },
    task: ([path], values) => ({
      ...{ type: 'policy-put', tailnet: tailnetOf(values), path: path!, isDryRun: values['dry-run'] === true },
      version: wholeNumberOf(values, 'if-version', Number.MAX_SAFE_INTEGER, 0),
    }),
  },
  diff: {
    summary: 'Lists who would gain or lose access by a policy, and changes nothing; as `set --dry-run`.',
    takes: ['FILE'],
    flags: { tailnet: TAILNET },
    task: ([path], values) => ({
      ...{ type: 'policy-put', tailnet: tailnetOf(values), path: path!, version: undefined, isDryRun: true },
    }),
  },
  explain: {
    summary:
      'Says whether SRC may reach DST, and by which rule. Both are devices by name, id or address, or any address.',
    takes: ['SRC', 'DST:PORT'],
    flags: {
      proto: {
        type: 'string',
        value: 'P',
        help: 'Protocol by name or number; tcp unless told. Without ports (icmp, say) DST stands alone.',
      },
      tailnet: TAILNET,
    },
    task: ([source, target], values) => {
      const proto = textOf(values, 'proto')?.toLowerCase();
      const protocol = proto === undefined ? TCP : protocolOf(proto);
      const { host, port } = targetOf(target!, protocol);
      const command: ExplainCommand = {
        ...{ type: 'policy-explain', tailnet: tailnetOf(values), source: sourceOf(source!), destination: host, port },
        ...given('protocol', protocol === TCP ? undefined : protocol),
      };
      return { type: proto === 'icmp' ? 'policy-explain-icmp' : 'command', command };
    },
  },
  edit: {
    summary: 'Opens the policy in $VISUAL or $EDITOR, checks what you save, and puts it in force if it passes.',
    takes: [],
    flags: { tailnet: TAILNET },
    task: (_, values) => ({ type: 'policy-edit', tailnet: tailnetOf(values) }),
  },
} satisfies Record<string, AdminEntry>);

function protocolOf(text: string): number {
  const parsed = parseProtocol(text);
  if ('value' in parsed) return parsed.value;
  throw new UsageError(`--proto expected a name such as tcp, udp, icmp, ipv6-icmp, or 0 to 255, got ${quote(text)}`);
}

/** An address without brackets, or a name as it is. */
function sourceOf(text: string): string {
  return /^\[(.*)\]$/.exec(text)?.[1] ?? text;
}

/** `web:22`, `100.64.0.7:22`, `[fd7a::7]:22`; of a protocol without ports `web`, `fd7a::7`. */
function targetOf(text: string, protocol: number): { host: string; port: number } {
  const isBare = canonicalAddress(text) !== undefined || !/[\]:]/.test(text);
  const [, inner, rest] = /^\[(.*)\](?::(.*))?$/.exec(text) ?? [];
  const colon = text.lastIndexOf(':');
  const port = inner !== undefined ? rest : isBare ? undefined : text.slice(colon + 1);
  const host = inner ?? (isBare ? text : text.slice(0, colon));
  const isFine = host !== '' && (inner === undefined ? isBare || !/[[\]:]/.test(host) : inner.includes(':'));
  if (!isFine)
    throw new UsageError(`DST:PORT expected web:22, 100.64.0.7:22 or [fd7a:115c:a1e0::7]:22, got ${quote(text)}`);
  if (PORT_PROTOCOLS.includes(protocol)) {
    if (port !== undefined) return { host, port: portOf('DST:PORT', port, 0) };
    const shown = host.includes(':') ? `[${host}]` : host;
    throw new UsageError(`DST:PORT expected a port, such as ${shown}:22, got ${quote(text)}`);
  }
  if (port === undefined || port === '*') return { host, port: 0 };
  throw new UsageError(`protocol ${protocol} has no ports: write ${quote(host)} instead of ${quote(text)}`);
}
