/**
 * State that survives a restart: one file per value in a directory, readable by its owner only, replaced atomically
 * and on disk before `save` returns. And the same in memory, for tests and for motes that need not remember.
 */
import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { NetError } from '../../lib/base/errors.ts';
import type { Store } from '../../lib/ports.ts';

/** What the smallest store of any target can hold; the larger ones keep to it, so that state can move. */
const MAX_VALUE_BYTES = 1900;

/** A store in `directory`, which is made (mode 0700) when a first value is saved. */
export function fileStore(directory: string): Store {
  return Object.freeze({
    load: (name: string) => {
      const path = join(directory, checkName(name));
      return attempt(`cannot read ${path}`, () => readIfThere(path));
    },
    save: (name: string, value: Uint8Array) => {
      const path = join(directory, checkName(name));
      checkValue(value);
      attempt(`cannot save ${path}`, () => replaceFile(directory, path, value));
    },
    remove: (name: string) => {
      const path = join(directory, checkName(name));
      attempt(`cannot remove ${path}`, () => {
        rmSync(path, { force: true });
      });
    },
  });
}

/** A store in memory; gone with the process. */
export function memoryStore(): Store {
  const values = new Map<string, Uint8Array>();
  return Object.freeze({
    load: (name: string) => values.get(checkName(name))?.slice(),
    save: (name: string, value: Uint8Array) => {
      checkValue(value);
      values.set(checkName(name), Uint8Array.from(value));
    },
    remove: (name: string) => {
      values.delete(checkName(name));
    },
  });
}

function checkName(name: string): string {
  if (/^[a-z0-9-]{1,15}$/.test(name)) return name;
  throw new RangeError(`"name" expected 1 to 15 characters of a-z, 0-9 and -, got ${JSON.stringify(name)}`);
}

function checkValue(value: Uint8Array): void {
  if (value.length <= MAX_VALUE_BYTES) return;
  throw new RangeError(`"value" expected at most ${MAX_VALUE_BYTES} bytes, got ${value.length}`);
}

function attempt<T>(what: string, run: () => T): T {
  try {
    return run();
  } catch (cause) {
    throw new NetError('ERR_STORE', `${what}: ${(cause as Error).message}`, { cause });
  }
}

function readIfThere(path: string): Uint8Array | undefined {
  try {
    return Uint8Array.from(readFileSync(path));
  } catch (error) {
    if ((error as { code?: string }).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Writes a new file beside the old one, then renames: whoever reads sees the old or the new value, never a part. */
function replaceFile(directory: string, path: string, value: Uint8Array): void {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const fresh = `${path}.${process.pid}.new`;
  rmSync(fresh, { force: true });
  try {
    const file = openSync(fresh, 'wx', 0o600);
    try {
      for (let at = 0; at < value.length; ) at += writeSync(file, value, at);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(fresh, path);
  } catch (error) {
    rmSync(fresh, { force: true });
    throw error;
  }
  syncDirectory(directory);
}

/** The rename itself is durable only once the directory is; a system that cannot sync directories does it by itself. */
function syncDirectory(directory: string): void {
  let handle: number;
  try {
    handle = openSync(directory, 'r');
  } catch {
    return;
  }
  try {
    fsyncSync(handle);
  } catch {
    // Windows and some network file systems refuse
  } finally {
    closeSync(handle);
  }
}
