/** What `motenet doctor` can say of a state folder when no mote runs with it. Nothing is made or changed there. */
import { lstatSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { bad, type Check, ok } from './doctor-checks.ts';
import { codeOf, messageOf } from './errors.ts';
import { prepareState } from './state.ts';

/** A key in the folder: a schema byte and 32 bytes. */
const KEY_FILE_BYTES = 33;
const SCHEMA = 1;

/** Checks of a folder without a running mote: that there is none, whose the folder is, what keys it has. */
export function stateChecks(directory: string): Check[] {
  const none = bad(
    'mote',
    'problem',
    `no \`motenet up\` runs with its state in ${directory}`,
    'start it: motenet up --control URL (with --state, if it is to be another folder)',
  );
  const folder = folderCheck(directory);
  if (folder.verdict !== 'ok') return [none, folder];
  return [none, folder, ...keyChecks(directory)];
}

function folderCheck(directory: string): Check {
  try {
    lstatSync(directory);
  } catch (error) {
    if (codeOf(error) === 'ENOENT')
      return bad('folder', 'warning', 'is not there yet: no device was ever started with it', '`motenet up` makes it');
    return bad('folder', 'problem', `cannot be looked at: ${messageOf(error)}`, 'run this as the user who owns it');
  }
  try {
    prepareState(directory);
    return ok('folder', `${directory} is this user's alone`);
  } catch (error) {
    return bad('folder', 'problem', messageOf(error), '`motenet up` refuses it until then');
  }
}

function keyChecks(directory: string): Check[] {
  const [machine, node] = [keyOf(directory, 'machine-key'), keyOf(directory, 'node-key')];
  const checks = [machine, node].filter(key => key.check !== undefined).map(key => key.check!);
  if (checks.length > 0) return checks;
  if (!machine.isThere) return [ok('login', 'the folder has no keys: the next start joins as a new device')];
  if (!node.isThere) return [ok('login', 'logged out, or never let in: the next start needs a login or an auth key')];
  return [ok('login', 'the folder has the keys of a device: the next start needs no login, unless it has expired')];
}

/** Whether a key is there, and what is wrong with it. */
function keyOf(directory: string, name: string): { isThere: boolean; check?: Check } {
  const path = join(directory, name);
  let bytes: Uint8Array | undefined;
  try {
    const stat = lstatSync(path);
    if (process.getuid !== undefined && (stat.mode & 0o077) !== 0)
      return { isThere: true, check: bad('keys', 'problem', `others may read ${path}`, `chmod 600 ${path}`) };
    bytes = readFileSync(path);
    const isSound = bytes.length === KEY_FILE_BYTES && bytes[0] === SCHEMA;
    if (isSound) return { isThere: true };
    const next = `remove it to join as a new device: rm ${path}`;
    return { isThere: true, check: bad('keys', 'problem', `${path} is damaged`, next) };
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return { isThere: false };
    const text = `${path} cannot be read: ${messageOf(error)}`;
    return { isThere: true, check: bad('keys', 'problem', text, 'run this as the user who owns it') };
  } finally {
    bytes?.fill(0);
  }
}
