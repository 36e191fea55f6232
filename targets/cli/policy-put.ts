/** `motenet policy set`, `diff`, `edit`, and `explain` of ICMP: a policy goes to the coordinator, which judges it, and what it said is shown. */
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { ExplainView, PolicyChangeView, PolicyView } from '../../lib/coordinator/policy-commands.ts';
import { FIRST_TAILNET } from '../../lib/coordinator/model.ts';
import { type AdminClient, AdminRefusal } from './admin-client.ts';
import type { ExplainCommand, PolicyTask } from './admin-task.ts';
import { messageOf, RunError } from './errors.ts';
import { type ReadInput, readPolicyFile } from './policy-files.ts';
import { changeView, explainView, type View } from './policy-views.ts';
import { countText } from './policy-text.ts';
import { plainText } from './table.ts';

/** Where a person can be asked, and text edited. */
export interface PolicyTerminal {
  /** Lets a person edit a file; resolves with the exit code of the editor. Rejects with RunError when there is none. */
  edit(path: string): Promise<number>;
  /** The answer to a question, in lower case; undefined where nobody can be asked. */
  ask(question: string): Promise<string | undefined>;
}

/** What these commands need of their surroundings. */
export interface PolicyEnvironment {
  /** One line without its end to standard error. */
  readonly err: (line: string) => void;
  /** Standard input. */
  readonly readInput: ReadInput;
  readonly terminal: PolicyTerminal;
}

/** Lends a client. It is not kept while a person edits: without a coordinator that runs it would be the data's only user. */
export type UseClient = <T>(run: (client: AdminClient) => Promise<T>) => Promise<T>;

/** What came of it. */
export interface Done {
  readonly value: unknown;
  readonly view: View;
}

/** Protocol numbers. */
const ICMP = 1;
const ICMPV6 = 58;
/** An editor that ends this soon and has changed nothing may still be open in a window. */
const EDITOR_LEAST_MS = 2000;

/** What one starts from where there is no policy: what holds without one, and how to go on. */
const STARTER = `// Who may reach what in this tailnet. What no rule accepts is denied.
{
  // Groups of users: "group:dev": ["ann@example.com"]
  "groups": {},

  // Who may give devices a tag: "tag:server": ["group:dev"]
  "tagOwners": {},

  "acls": [
    // Everybody may reach everything, as without a policy.
    {"action": "accept", "src": ["*"], "dst": ["*:*"]},
  ],

  // What must hold after every change: {"src": "ann@example.com", "accept": ["tag:server:22"], "deny": []}
  "tests": [],
}
`;

/** Carries a task out. Rejects with UsageError, RunError, or {@link AdminRefusal} with the details named by file. */
export async function runPolicyTask(task: PolicyTask, use: UseClient, environment: PolicyEnvironment): Promise<Done> {
  if (task.type === 'policy-edit') return editPolicy(task.tailnet, use, environment);
  if (task.type === 'policy-explain-icmp') {
    const value = await use(client => explainIcmp(client, task.command));
    return { value, view: explainView(value) };
  }
  const { tailnet, path, version, isDryRun } = task;
  const { name, text } = await readPolicyFile(path, environment.readInput);
  try {
    return await use(client => putAndShow(client, { tailnet, text, version, isDryRun }));
  } catch (error) {
    throw error instanceof AdminRefusal ? placed(error, name) : error;
  }
}

/** ICMP is one protocol over IPv4 and another over IPv6: each pair of addresses has the answer of its own. */
async function explainIcmp(client: AdminClient, command: ExplainCommand): Promise<ExplainView> {
  const ask = async (protocol: number) => (await client.command({ ...command, port: 0, protocol })) as ExplainView;
  const isV6 = ({ source }: ExplainView['pairs'][number]) => source.includes(':');
  const overV4 = await ask(ICMP);
  if (!overV4.pairs.some(isV6)) return overV4;
  const overV6 = await ask(ICMPV6);
  if (overV4.pairs.every(isV6)) return overV6;
  const pairs = [...overV4.pairs.filter(pair => !isV6(pair)), ...overV6.pairs.filter(isV6)];
  const allowed = pairs.filter(pair => pair.isAllowed);
  const refused = pairs.find(pair => !pair.isAllowed);
  if (refused === undefined) return { ...overV4, isAllowed: true, reason: `allowed: ${allowed[0]!.rule}`, pairs };
  const { source, destination } = refused;
  const reason =
    allowed.length === 0
      ? 'no rule allows it'
      : `only in part: ${allowed[0]!.rule}, but not from ${source} to ${destination}`;
  const { rule } = [overV4, overV6].find(({ pairs }) => pairs.some(pair => pair.isAllowed)) ?? {};
  return { isAllowed: false, reason, ...(rule === undefined ? {} : { rule }), pairs };
}

interface Put {
  readonly tailnet: string;
  readonly text: string;
  readonly version: number | undefined;
  readonly isDryRun: boolean;
}

async function put(client: AdminClient, { tailnet, text, version, isDryRun }: Put): Promise<PolicyChangeView> {
  const more = { ...(version === undefined ? {} : { version }), ...(isDryRun ? { isDryRun } : {}) };
  return (await client.command({ type: 'policy-set', tailnet, text, ...more })) as PolicyChangeView;
}

async function putAndShow(client: AdminClient, wanted: Put): Promise<Done & { readonly value: PolicyChangeView }> {
  const change = await put(client, wanted);
  const err = wanted.isDryRun || !change.isChanged ? [] : await fileHint(client, wanted.tailnet);
  return { value: change, view: { ...changeView(change), err } };
}

/** Where a policy comes from a file, what is set without it does not last. */
async function fileHint(client: AdminClient, tailnet: string): Promise<string[]> {
  const status = await client.status().catch(() => undefined); // a token of one tailnet may not ask
  const file = status?.policyFiles?.find(each => each.tailnet === tailnet);
  if (file === undefined) return [];
  return [
    plainText(
      `warning: the coordinator takes this policy from ${file.path} again when it starts, and at SIGHUP: put it there, too`,
    ),
  ];
}

/** The same refusal with the places of its details in the form of a compiler's, and a message that does not repeat one. */
function placed(error: AdminRefusal, file: string): AdminRefusal {
  const { code, details } = error;
  if (details.length === 0) return error;
  const lines = details.map(line => line.replace(/^line ([0-9]+): /, '$1: ').replace(/^(?=[0-9]+:)/, `${file}:`));
  const message =
    code === 'tests-failed'
      ? `${countText(lines.length, 'access test')} would fail: nothing was changed`
      : `the policy is not valid (${countText(lines.length, 'problem')}): nothing was changed`;
  return new AdminRefusal(code, message, lines);
}

/** The text is on disk from before the editor starts until it is in force; wherever else this ends, its path is said. */
async function editPolicy(tailnet: string, use: UseClient, environment: PolicyEnvironment): Promise<Done> {
  const { err, terminal } = environment;
  const command = { type: 'policy-get', tailnet } as const;
  const before = (await use(client => client.command(command))) as PolicyView;
  const start = before.version === 0 ? STARTER : before.text;
  const path = makeFile(start);
  err(`the policy is in ${path} while you edit it`);
  try {
    for (let isAgain = false; ; isAgain = true) {
      const startedMs = performance.now();
      const code = await terminal.edit(path);
      if (code !== 0) throw new RunError(`the editor ended with exit code ${code}`);
      const text = readEdited(path);
      if (text === start && !isAgain) return unchanged(path, performance.now() - startedMs);
      const done = await offer({ tailnet, text, version: before.version, isDryRun: false }, use, environment, path);
      if (done === undefined) continue;
      rmSync(dirname(path), { recursive: true, force: true });
      return done;
    }
  } catch (cause) {
    if (!existsSync(path)) throw cause;
    const refusal = cause instanceof AdminRefusal ? cause : undefined;
    const next = refusal?.code === 'conflict' ? `: ${mergeHint(tailnet, path)}` : '';
    const why = messageOf(cause).replace(/: nothing was changed$/, '');
    throw new RunError(`${why}; nothing was changed, and your text is in ${path}${next}`, { cause });
  }
}

/** Shows what a text would change, and puts it in force if the person agrees; undefined: they want to edit it again. */
async function offer(
  wanted: Put,
  use: UseClient,
  { err, terminal }: PolicyEnvironment,
  path: string,
): Promise<Done | undefined> {
  try {
    const { value, view } = await use(client => putAndShow(client, { ...wanted, isDryRun: true }));
    const yet = `this would be version ${value.version}; nothing is changed yet`;
    for (const line of value.isChanged ? [yet, ...view.out.slice(1)] : view.out) err(line);
    if (!value.isChanged) return { value, view: { out: ['nothing was changed'] } };
    const answer = await terminal.ask('Put this in force? [Y/n/e to edit again] ');
    if (answer?.startsWith('e') === true) return undefined;
    if (answer?.startsWith('n') === true) throw new RunError('you did not want it in force');
    const { value: change, view: after } = await use(client => putAndShow(client, wanted));
    return { value: change, view: { out: after.out.slice(0, 1), err: after.err ?? [] } };
  } catch (cause) {
    if (!(cause instanceof AdminRefusal) || cause.code === 'conflict') throw cause;
    const { details, message } = placed(cause, path);
    for (const line of [...details, message]) err(plainText(line));
    const answer = await terminal.ask('Edit it again? [Y/n] ');
    if (answer === undefined || answer.startsWith('n')) throw new RunError(message, { cause });
    return undefined;
  }
}

function makeFile(text: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'motenet-policy-')); // mode 0700
  const path = join(folder, 'policy.hujson');
  writeFileSync(path, text, { mode: 0o600, flag: 'wx' });
  chmodSync(path, 0o600);
  return path;
}

function readEdited(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    throw new RunError(`the edited policy cannot be read: ${messageOf(cause)}`, { cause });
  }
}

function unchanged(path: string, ms: number): Done {
  const value = { isChanged: false };
  if (ms >= EDITOR_LEAST_MS) {
    rmSync(dirname(path), { recursive: true, force: true });
    return { value, view: { out: ['nothing was changed'] } };
  }
  const hint = 'if your editor opened a window, give it the flag to wait for that (EDITOR="code --wait")';
  return { value, view: { out: ['nothing was changed'], err: [`${hint}; the text is in ${path}`] } };
}

function mergeHint(tailnet: string, path: string): string {
  const about = tailnet === FIRST_TAILNET ? '' : ` --tailnet ${tailnet}`;
  const take = `take over what \`motenet policy get${about}\` shows now`;
  return `${take}, then \`motenet policy set ${path}${about}\``;
}
