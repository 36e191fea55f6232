/**
 * The folder of a server: `coordinator.db` with its write-ahead log, `keys/`, and the socket of the administration.
 */
import { mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { NetError } from '../../lib/base/errors.ts';
import { Store } from './store.ts';

/** Name of the database in the folder. */
export const DATABASE_NAME = 'coordinator.db';
/** Name of the socket over which the administration needs no token. */
export const ADMIN_SOCKET_NAME = 'admin.sock';

/** A folder that is locked, with its database open. */
export interface DataDir {
  readonly store: Store;
  readonly warnings: readonly string[];
}

/** Makes the folder (mode 0700) where there is none, and opens and locks its database. NetError `ERR_STORE`. */
export function openDataDir(path: string): DataDir {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw new NetError('ERR_STORE', `cannot make the folder ${path}: ${(cause as Error).message}`, { cause });
  }
  const store = new Store(join(path, DATABASE_NAME));
  const isOpenToOthers = process.platform !== 'win32' && (statSync(path).mode & 0o077) !== 0;
  return { store, warnings: isOpenToOthers ? [`the folder ${path} is open to others: chmod 700 ${path}`] : [] };
}
