/** Errors as one line for people: what happened, and what to do next. */
import { NetError } from '../../lib/base/errors.ts';

/** Exit code of a command that did what it was told. */
export const EXIT_DONE = 0;
/** Exit code of a failure while running. */
export const EXIT_FAILED = 1;
/** Exit code of wrong usage: a flag, a file, a key, an address, a port. */
export const EXIT_USAGE = 2;

/** Exit code where access tests were asked for and none ran. */
export const EXIT_NOT_TESTED = 3;

/** A mistake in the arguments or the configuration; ends the command with {@link EXIT_USAGE}. */
export class UsageError extends Error {
  /** `message` is one line that says what was expected, what came, and the next step. */
  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'UsageError';
  }
}

/** A failure while running; ends the command with {@link EXIT_FAILED}. */
export class RunError extends Error {
  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'RunError';
  }
}

/** Ends the command with an exit code of its own. An empty message: everything has been said. */
export class ExitError extends Error {
  readonly exitCode: number;

  constructor(exitCode: number, message: string) {
    super(message);
    this.name = 'ExitError';
    this.exitCode = exitCode;
  }
}

/** The exit code of an error. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof ExitError) return error.exitCode;
  return error instanceof UsageError ? EXIT_USAGE : EXIT_FAILED;
}

/** The stable code of an error: a NetError's, a system error's, or `ERR_UNKNOWN`. */
export function codeOf(error: unknown): string {
  const code = (error as { code?: unknown } | undefined)?.code;
  return typeof code === 'string' ? code : 'ERR_UNKNOWN';
}

/** Why a local address cannot be listened on, with the next step. `flag` is how the user asked for it. */
export function describeListenError(error: unknown, address: string, port: number, flag: string): string {
  const code = codeOf(error);
  const where = `${address} port ${port}`;
  if (code === 'EADDRINUSE' || code === 'ERR_ADDRESS_IN_USE')
    return `${where} is in use: stop the program that has it or give ${flag} another port`;
  if (code === 'EACCES' || code === 'EPERM')
    return `no permission to listen on ${where}: give ${flag} a port above 1023`;
  if (code === 'EADDRNOTAVAIL' || code === 'ERR_ADDRESS_UNAVAILABLE')
    return `${address} is not an address of this machine: give ${flag} one that is, such as 127.0.0.1`;
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN')
    return `the name ${address} of ${flag} does not resolve: give an address`;
  return `cannot listen on ${where} for ${flag}: ${messageOf(error)}`;
}

/** Why a local service cannot be reached, with the next step. */
export function describeConnectError(error: unknown, target: string): string {
  const code = codeOf(error);
  if (code === 'ECONNREFUSED') return `nothing listens on ${target}: start the service there`;
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return `the name of ${target} does not resolve`;
  if (code === 'ETIMEDOUT' || code === 'ERR_TIMED_OUT') return `${target} did not answer in time`;
  if (code === 'EHOSTUNREACH' || code === 'ENETUNREACH') return `${target} cannot be reached from this machine`;
  if (code === 'EMFILE' || code === 'ENFILE') return `out of file descriptors: raise ulimit -n to reach ${target}`;
  return error instanceof NetError ? error.message : `${target}: ${messageOf(error)}`;
}

/** The first line of an error's text, or its code where the text is empty (an AggregateError of Node has none). */
export function messageOf(error: unknown): string {
  if (error instanceof ExitError) return error.message;
  const text = error instanceof Error ? error.message : String(error);
  return text.split('\n', 1)[0]! || codeOf(error);
}
