/**
 * Finding files of this repository, for the test runner and the repository checks.
 */
import { readdirSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Absolute path of the repository. */
export const ROOT = fileURLToPath(new URL('../..', import.meta.url)).replace(/[\\/]$/, '');

/** All files below `folder` (relative to `root`) that end in one of `endings`, as sorted paths with `/`. */
export function findFiles(folder: string, endings: readonly string[], root = ROOT): string[] {
  const found: string[] = [];
  const walk = (absolute: string) => {
    for (const entry of readdirSync(absolute, { withFileTypes: true })) {
      if (entry.name === 'node_modules' || entry.name === 'dist' || entry.name === '.git') continue;
      const path = join(absolute, entry.name);
      if (entry.isDirectory()) walk(path);
      else if (endings.some(ending => entry.name.endsWith(ending)))
        found.push(relative(root, path).split(sep).join('/'));
    }
  };
  try {
    walk(join(root, folder));
  } catch (error) {
    if ((error as { code?: string }).code !== 'ENOENT') throw error;
  }
  return found.sort();
}
