/**
 * The state folder of a mote that `motenet up` runs: its keys (see `fileStore`) and the socket through which `status`,
 * `nc` and the others reach it. Whoever can read the folder is that device, so it must be its owner's alone.
 */
import { lstatSync, mkdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';
import { quote } from './args.ts';
import { codeOf, messageOf, UsageError } from './errors.ts';

/** Name of the socket in the folder. */
const SOCKET = 'mote.sock';
/** What the address of a Unix socket holds on every system (macOS: 104 with the final zero). */
const MAX_SOCKET_PATH_BYTES = 103;

/** The folder of `--state`, absolute; without it `$XDG_STATE_HOME/motenet`, else `~/.local/state/motenet`. */
export function stateDirectory(given: string | undefined, env: NodeJS.ProcessEnv): string {
  if (given === '') throw new UsageError('--state expected a folder, got nothing');
  if (given !== undefined) return resolve(given);
  const base = env.XDG_STATE_HOME;
  return join(base !== undefined && isAbsolute(base) ? base : join(homedir(), '.local', 'state'), 'motenet');
}

/** The socket of a state folder. Throws {@link UsageError} for a path that is too long for one. */
export function socketPath(directory: string): string {
  const path = join(directory, SOCKET);
  if (Buffer.byteLength(path) > MAX_SOCKET_PATH_BYTES)
    throw new UsageError(`${quote(directory)} is too long for a socket in it: give --state a shorter path`);
  return path;
}

/** Makes the folder (mode 0700) or checks that it is this user's alone. Throws {@link UsageError}. */
export function prepareState(directory: string): void {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new UsageError(`cannot make the folder ${quote(directory)}: ${whyNot(error)}`, { cause: error });
  }
  const stat = lstatSync(directory);
  if (!stat.isDirectory()) throw new UsageError(`${quote(directory)} is not a folder: give --state another path`);
  if (process.getuid === undefined) return; // a system without owners and modes
  if (stat.uid !== process.getuid()) throw new UsageError(notOwner(directory)); // CHECK: state-folder-owner
  const mode = stat.mode & 0o777;
  if ((mode & 0o077) !== 0) throw new UsageError(tooOpen(directory, mode)); // CHECK: state-folder-mode
}

function notOwner(directory: string): string {
  return `${quote(directory)} belongs to another user: give --state a folder of your own`;
}

function tooOpen(directory: string, mode: number): string {
  return `${quote(directory)} is to hold private keys and others may enter it (mode ${mode.toString(8)}): chmod 700 it, or give --state another folder`;
}

function whyNot(error: unknown): string {
  const code = codeOf(error);
  if (code === 'EACCES' || code === 'EPERM') return 'no permission: give --state a folder of your own';
  if (code === 'ENOTDIR' || code === 'EEXIST') return 'a file is in its way: give --state another path';
  return messageOf(error);
}
