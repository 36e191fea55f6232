/** Help texts of the administration commands, made from their table. */
import { AUDIT_FLAGS, PLACE_FLAGS } from './admin-args.ts';
import { ADMIN_GROUPS, type AdminFlag } from './admin-commands.ts';

const AUDIT = 'Shows who changed what, newest first. The log can only grow; it holds no secrets.';
const BACKUP = `Saves a copy of the database to FILE (a new file, mode 0600), also while the coordinator runs. To restore it, put
it in place of coordinator.db in the data folder while no coordinator runs.`;

const PLACES = `Without --data and --admin the data folder is $XDG_DATA_HOME/motenet, or ~/.local/share/motenet. There the
command asks the coordinator that runs, or opens the data itself when none does.
Exit codes: 0 done, 1 failed, 2 wrong usage.`;

const EXAMPLES: Readonly<Record<string, string>> = /* @__PURE__ */ Object.freeze({
  keys: `  KEY=$(motenet keys create)
  motenet keys create --reusable --expires 90d --tag server --json
  motenet keys revoke 0123456789ab`,
  devices: `  motenet devices list
  motenet devices approve laptop
  motenet devices rename 100.64.0.7 db-1`,
  tailnets: `  motenet tailnets create lab --approval on --key-life 30d
  motenet tailnets update lab --approval off`,
  users: '  motenet users create ann@example.com --name "Ann Example"',
  tokens: `  export MOTENET_TOKEN=$(motenet tokens create --expires 90d)
  motenet devices list --admin https://coordinator.example`,
  audit: '  motenet audit --limit 20',
  backup: '  motenet backup /backups/motenet-$(date +%F).db',
});

/** Help of `motenet GROUP`, or of `motenet GROUP NAME` where `name` is one of its commands. */
export function adminHelp(group: string, name?: string): string {
  if (group === 'audit') return text('audit', AUDIT, AUDIT_FLAGS, group);
  if (group === 'backup') return text('backup FILE', BACKUP, {}, group);
  const { summary, entries } = ADMIN_GROUPS[group]!;
  if (name !== undefined && Object.hasOwn(entries, name)) {
    const entry = entries[name]!;
    return text([group, name, ...entry.takes].join(' '), entry.summary, entry.flags, group);
  }
  const parts = Object.entries(entries).map(([entryName, entry]) => {
    const usage = `motenet ${[group, entryName, ...entry.takes].join(' ')}`;
    return [usage, `  ${entry.summary}`, ...flagLines(entry.flags)].join('\n');
  });
  return `${summary}

${parts.join('\n\n')}

With each of them:
${flagLines(PLACE_FLAGS).join('\n')}

${PLACES}

${EXAMPLES[group]}`;
}

function text(usage: string, summary: string, flags: Readonly<Record<string, AdminFlag>>, group: string): string {
  return `Usage: motenet ${usage}${Object.keys(flags).length === 0 ? '' : ' [flags]'}

${summary}

${flagLines({ ...flags, ...PLACE_FLAGS }).join('\n')}

${PLACES}

${EXAMPLES[group]}`;
}

function flagLines(flags: Readonly<Record<string, AdminFlag>>): string[] {
  return Object.entries(flags).map(([name, { value, help }]) => {
    const flag = `--${name}${value === undefined ? '' : ` ${value}`}`;
    return `  ${flag.padEnd(20)} ${help}`;
  });
}
