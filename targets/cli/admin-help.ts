/** Help texts of the administration commands, made from their table. */
import { AUDIT_FLAGS, commonFlags } from './admin-args.ts';
import { ADMIN_GROUPS } from './admin-commands.ts';
import type { AdminFlag } from './admin-flags.ts';
import type { AdminUsage } from './admin-task.ts';

const AUDIT = 'Shows who changed what, newest first. The log can only grow; it holds no secrets.';
const BACKUP = `Saves a copy of the database to FILE (a new file, mode 0600), also while the coordinator runs. To restore it, put
it in place of coordinator.db in the data folder while no coordinator runs.`;

const PLACES = `Without --data and --admin the data folder is $XDG_DATA_HOME/motenet, or ~/.local/share/motenet. There the
command asks the coordinator that runs, or opens the data itself when none does.
Exit codes: 0 done, 1 failed, 2 wrong usage.`;
/** What else the exit codes mean in a group. */
const CODES: Readonly<Record<string, string>> = /* @__PURE__ */ Object.freeze({
  policy: `
Exit code 1 is also: the policy is not valid, or its tests fail (nothing is changed then); explain: it is not allowed.
check: 0 every test has passed, 1 one failed or the policy is not valid, 3 no test ran.`,
});
const LOCAL =
  'Exit codes: 0 every test has passed, 1 one failed or the policy is not valid, 2 wrong usage, 3 no test ran.';

const EXAMPLES: Readonly<Record<string, string>> = /* @__PURE__ */ Object.freeze({
  keys: `  KEY=$(motenet keys create)
  motenet keys create --reusable --expires 90d --tag server --json
  motenet keys revoke 0123456789ab`,
  devices: `  motenet devices list
  motenet devices approve laptop
  motenet devices rename 100.64.0.7 db-1
  motenet devices tag db-1 db,server
  motenet devices routes office --approve 10.1.0.0/16,10.2.0.0/16`,
  tailnets: `  motenet tailnets create lab --approval on --key-life 30d
  motenet tailnets update lab --approval off`,
  users: '  motenet users create ann@example.com --name "Ann Example"',
  policy: `  motenet policy edit
  motenet policy get > policy.hujson
  motenet policy diff policy.hujson; motenet policy set policy.hujson
  motenet policy explain laptop web:443
  motenet policy explain 100.64.0.7 [fd7a:115c:a1e0::9]:53 --proto udp; motenet policy explain laptop web --proto icmp
  motenet policy check policy.hujson
  motenet devices list --json > devices.json; motenet policy check policy.hujson --devices devices.json`,
  tokens: `  export MOTENET_TOKEN=$(motenet tokens create --expires 90d)
  motenet devices list --admin https://coordinator.example`,
  audit: '  motenet audit --limit 20',
  backup: '  motenet backup /backups/motenet-$(date +%F).db',
});

/** Help of `motenet GROUP`, or of `motenet GROUP NAME` where `name` is one of its commands. */
export function adminHelp(group: string, name?: string): string {
  if (group === 'audit') return text('audit', { summary: AUDIT, takes: [], flags: AUDIT_FLAGS }, group);
  if (group === 'backup') return text('backup', { summary: BACKUP, takes: ['FILE'], flags: {} }, group);
  const { summary, entries } = ADMIN_GROUPS[group]!;
  if (name !== undefined && Object.hasOwn(entries, name)) return text(`${group} ${name}`, entries[name]!, group);
  const parts = Object.entries(entries).map(([entryName, entry]) => {
    const usage = `motenet ${[group, entryName, ...entry.takes].join(' ')}`;
    return [usage, `  ${entry.summary}`, ...flagLines(entry.flags)].join('\n');
  });
  const local = Object.keys(entries).filter(entryName => entries[entryName]!.isLocal === true);
  const but = local.length === 0 ? '' : ` (${local.join(', ')}: the last two alone)`;
  return `${summary}

${parts.join('\n\n')}

With each of them${but}:
${flagLines(commonFlags({})).join('\n')}

${PLACES}${CODES[group] ?? ''}

${EXAMPLES[group]}`;
}

function text(command: string, usage: AdminUsage, group: string): string {
  const { summary, takes, flags, isLocal } = usage;
  return `Usage: motenet ${[command, ...takes].join(' ')}${Object.keys(flags).length === 0 ? '' : ' [flags]'}

${summary}

${flagLines({ ...flags, ...commonFlags(usage) }).join('\n')}

${isLocal === true ? LOCAL : `${PLACES}${CODES[group] ?? ''}`}${examples(command, group)}`;
}

/** The examples of a group that are about one command. */
function examples(command: string, group: string): string {
  const lines = EXAMPLES[group]!.split('\n').filter(line => line.includes(`motenet ${command}`));
  return lines.length === 0 ? '' : `\n\n${lines.join('\n')}`;
}

function flagLines(flags: Readonly<Record<string, AdminFlag>>): string[] {
  return Object.entries(flags).map(([name, { value, help }]) => {
    const flag = `--${name}${value === undefined ? '' : ` ${value}`}`;
    return `  ${flag.padEnd(20)} ${help}`;
  });
}
