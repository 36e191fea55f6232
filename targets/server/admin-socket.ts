/**
 * The administration over a Unix socket in the data folder: whoever may open it is the administrator.
 */
import { chmodSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { type AdminOptions, handleAdmin } from './admin.ts';
import type { AdminContext } from './types.ts';

/** What a Unix socket's path may have, the closing zero included, on the systems that allow least. */
const MAX_PATH_BYTES = 104;

/** An open socket. */
export interface AdminSocket {
  close(): Promise<void>;
}

/**
 * Opens the socket at `path`, mode 0600, in place of one that a killed process left: the caller holds the lock of the
 * data folder. Undefined where there can be none (Windows, a path that is too long).
 */
export async function openAdminSocket(
  path: string,
  context: AdminContext,
  options: AdminOptions,
): Promise<AdminSocket | undefined> {
  if (process.platform === 'win32' || Buffer.byteLength(path) >= MAX_PATH_BYTES) return undefined;
  const local: AdminContext = { ...context, isLocal: true };
  const server = createServer((request, response) => void handleAdmin(request, response, local, options));
  rmSync(path, { force: true });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    const mask = process.umask(0o177); // the socket is made during the call
    server.listen(path, () => resolve());
    process.umask(mask);
  });
  chmodSync(path, 0o600);
  return {
    close: () =>
      new Promise(resolve => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
