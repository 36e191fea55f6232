/**
 * Policies that are kept in files: what is in a file becomes the policy of its tailnet, at the start and whenever it is
 * read again. A file that is refused, or cannot be read, changes nothing, and that is said: in the log, in the status, in
 * the metrics. At the start there must be something that can stay in force: without any policy it is an error.
 */
import { readFile, stat } from 'node:fs/promises';
import type { AdminCommand, AdminOutcome } from '../../lib/coordinator/commands.ts';
import type { PolicyChangeView, PolicyView } from '../../lib/coordinator/policy-commands.ts';
import type { Actor, Log, PolicyFile, PolicyFileStatus } from './types.ts';

/** Largest file in bytes. */
const LIMIT_BYTES = 1_048_576;
/** Who sets a policy from a file, in the audit log. */
const ACTOR: Actor = Object.freeze({ name: 'policy-file', tailnet: undefined });

/** A policy file without which a server cannot start; `details` are what is wrong, one line each. */
export class PolicyFileError extends RangeError {
  readonly details: readonly string[];

  constructor(message: string, details: readonly string[]) {
    super(message);
    this.name = 'PolicyFileError';
    this.details = details;
  }
}

/** What {@link PolicyFiles} needs. */
export interface PolicyFilesOptions {
  readonly files: readonly PolicyFile[];
  readonly command: (actor: Actor, command: AdminCommand) => Promise<AdminOutcome>;
  readonly unixMs: () => number;
  readonly log: Log;
}

/** Why a file is not in force; `details` begin with the line, and maybe the column. */
interface Trouble {
  readonly problem: string;
  readonly details?: readonly string[];
}

/** The policy files of a server. */
export class PolicyFiles {
  readonly #options: PolicyFilesOptions;
  #status: readonly PolicyFileStatus[] = [];
  #reading: Promise<unknown> = Promise.resolve();

  constructor(options: PolicyFilesOptions) {
    this.#options = options;
  }

  /** What became of each file when it was read last. */
  get status(): readonly PolicyFileStatus[] {
    return this.#status;
  }

  /** Reads all files for the first time. Rejects with {@link PolicyFileError} where nothing could stay in force. */
  async start(): Promise<void> {
    const status = await this.read();
    const bad = status.find(({ isInForce, version }) => !isInForce && version === 0);
    if (bad === undefined) return;
    const none = `the tailnet ${bad.tailnet} has no policy that could stay in force`;
    throw new PolicyFileError(
      `${bad.path}: ${bad.problem}; ${none}: mend the file, or start without it`,
      bad.details ?? [],
    );
  }

  /** Reads all files, after what is under way. */
  read(): Promise<readonly PolicyFileStatus[]> {
    const reading = this.#reading.then(() => this.#readAll());
    this.#reading = reading.catch(() => undefined);
    return reading;
  }

  async #readAll(): Promise<readonly PolicyFileStatus[]> {
    const status: PolicyFileStatus[] = [];
    for (const file of this.#options.files) status.push(await this.#readOne(file));
    this.#status = status;
    return status;
  }

  async #readOne(file: PolicyFile): Promise<PolicyFileStatus> {
    const { log, unixMs } = this.#options;
    const readMs = unixMs();
    const view = await this.#ask<PolicyView>({ type: 'policy-get', tailnet: file.tailnet });
    const version = 'problem' in view ? 0 : view.version;
    const trouble = 'problem' in view ? view : await this.#set(file, view);
    if (trouble === undefined) {
      log('info', `the policy file ${file.path} is in force as version ${version}, as it was`, {
        tailnet: file.tailnet,
      });
      return { ...file, readMs, isInForce: true, version };
    }
    if (!('problem' in trouble)) return { ...file, readMs, isInForce: true, version: trouble.version };
    const stays = version === 0 ? '' : `; version ${version} stays`;
    log('warn', `the policy file ${file.path} is not in force: ${trouble.problem}${stays}`, { tailnet: file.tailnet });
    for (const line of trouble.details ?? []) log('warn', `${file.path}:${line}`);
    return { ...file, readMs, isInForce: false, version, ...trouble };
  }

  /** Undefined: the text is in force already. */
  async #set({ tailnet, path }: PolicyFile, now: PolicyView): Promise<PolicyChangeView | Trouble | undefined> {
    const text = await readText(path);
    if (typeof text !== 'string') return text;
    if (text === now.text && now.inForce === 'current') return undefined;
    const change = await this.#ask<PolicyChangeView>({ type: 'policy-set', tailnet, text });
    if (!('problem' in change)) {
      const { passed } = change.tests;
      const lines = passed === 1 ? 'its test line passes' : `its ${passed} test lines pass`;
      const tests = passed === 0 ? 'it has no tests' : lines;
      const { gainedPairs, lostPairs } = change.diff;
      this.#options.log('info', `the policy file ${path} is in force as version ${change.version}: ${tests}`, {
        ...{ tailnet, gainedPairs, lostPairs },
      });
    }
    return change;
  }

  async #ask<T extends object>(command: AdminCommand): Promise<T | Trouble> {
    const outcome = await this.#options.command(ACTOR, command);
    if (outcome.isOk) return outcome.value as T;
    const { message, details = [] } = outcome;
    // Of the details the message has the first as well.
    const [problem] = details.length === 0 ? [message] : message.split(`: ${details[0]}`);
    const lines = details.map(line => line.replace(/^line ([0-9]+): /, '$1: '));
    return { problem: problem!, ...(lines.length === 0 ? {} : { details: lines }) };
  }
}

/** A text in UTF-8, without a byte order mark. */
async function readText(path: string): Promise<string | Trouble> {
  try {
    const { size } = await stat(path);
    if (size > LIMIT_BYTES) return { problem: `it has more than ${LIMIT_BYTES} bytes` };
    return new TextDecoder('utf-8', { fatal: true }).decode(await readFile(path));
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ERR_ENCODING_INVALID_ENCODED_DATA') return { problem: 'it is not text in UTF-8' };
    if (code === 'ENOENT') return { problem: 'there is no such file' };
    return { problem: `it cannot be read: ${message}` };
  }
}
