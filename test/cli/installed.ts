/** The two packages as they are installed: each a bundle, side by side, with what the server depends on. */
import { existsSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildSync } from 'esbuild';
import { Folder } from './command.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

const programs = new Folder();
process.on('exit', () => programs.remove());

/** Path of the command, once it is installed. */
export const INSTALLED = join(programs.path, 'cli.mjs');

/** Builds both, once in a process. */
export function install(): void {
  if (existsSync(INSTALLED)) return;
  const modules = join(programs.path, 'node_modules');
  const external = ['libsql', 'ws', '@peculiar/x509'];
  mkdirSync(join(modules, 'motenet-server'), { recursive: true });
  mkdirSync(join(modules, '@peculiar'));
  for (const name of external) symlinkSync(join(ROOT, 'node_modules', name), join(modules, name));
  const usual = { bundle: true, platform: 'node', format: 'esm', target: 'node20', logLevel: 'warning' } as const;
  const source = (name: string) => join(ROOT, 'targets', name);
  buildSync({ ...usual, entryPoints: [source('cli/main.ts')], outfile: INSTALLED, external: ['motenet-server'] });
  const outfile = join(modules, 'motenet-server/index.js');
  buildSync({ ...usual, entryPoints: [source('server/index.ts')], outfile, external });
  const manifest = { name: 'motenet-server', type: 'module', exports: './index.js' };
  writeFileSync(join(modules, 'motenet-server/package.json'), JSON.stringify(manifest));
}
