/** Runs an administration command line in this process, and keeps what it printed. */
import { type AdminEnvironment, runAdmin } from '../../targets/cli/admin.ts';
import { parseAdminArgs } from '../../targets/cli/admin-args.ts';
import { exitCodeOf } from '../../targets/cli/errors.ts';

/** What a command line did. */
export interface Ran {
  readonly out: readonly string[];
  readonly err: readonly string[];
  /** What was written to standard output as it is. */
  readonly raw: string;
  readonly error: unknown;
  /** Text of the error. */
  readonly message: string | undefined;
  readonly code: number;
}

/** Words are arguments. No coordinator is opened offline and nobody can be asked, unless `more` says how. */
export async function runLine(
  words: readonly string[],
  more: Partial<AdminEnvironment> = {},
  variables: Readonly<Record<string, string>> = {},
): Promise<Ran> {
  const [out, err]: [string[], string[]] = [[], []];
  let raw = '';
  let error: unknown;
  const environment: AdminEnvironment = {
    out: line => void out.push(line),
    err: line => void err.push(line),
    write: text => {
      raw += text;
    },
    now: Date.now,
    load: async () => {
      throw new Error('the data of a coordinator was opened');
    },
    readInput: async () => new Uint8Array(0),
    terminal: {
      edit: async () => {
        throw new Error('an editor was started');
      },
      ask: async () => undefined,
    },
    ...more,
  };
  const [group, ...args] = words;
  try {
    await runAdmin(parseAdminArgs(group!, args, variables), environment);
  } catch (caught) {
    error = caught;
  }
  const message = (error as Error | undefined)?.message;
  return { out, err, raw, error, message, code: error === undefined ? 0 : exitCodeOf(error) };
}
