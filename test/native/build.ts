/**
 * Builds the C of targets/moddable/native for this machine, into a folder that goes away with the process: as a program
 * (harness/driver.c) in several ways, and as an addon of Node (harness/addon.c over harness/xsmc.h).
 *
 * What cannot be built here is skipped with a line that says what to install; with CI=true that is a failure.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { suite } from 'uvu';
import { ROOT } from '../tools/files.ts';

const NATIVE = join(ROOT, 'targets/moddable/native');
const HARNESS = join(ROOT, 'test/native/harness');
/** No warning of these passes. -Wconversion guards the arithmetic. */
const STRICT = Object.freeze(['-std=c99', '-Wall', '-Wextra', '-Wconversion', '-Wshadow', '-Werror']);
const SANITIZERS = Object.freeze(['-g', '-fsanitize=address,undefined', '-fno-sanitize-recover=all']);
const VALGRIND = Object.freeze(['-g', '-DWITH_VALGRIND', '-include', join(HARNESS, 'public.h')]);

/** The C files that a build consists of, from the list that other builders read too. */
export function sourceFiles(withBinding: boolean): string[] {
  const names = readFileSync(join(NATIVE, 'sources.txt'), 'utf8').trim().split('\n');
  return names.filter(name => withBinding || name !== 'crypto-xs.c').map(name => join(NATIVE, name));
}

/** A file that was built, or what is missing. */
export type Built = { readonly path: string } | { readonly missing: string };

let folder: string | undefined;

function outputPath(name: string): string {
  if (folder === undefined) {
    folder = mkdtempSync(join(tmpdir(), 'motenet-native-'));
    process.on('exit', () => rmSync(folder!, { recursive: true, force: true }));
  }
  return join(folder, name);
}

/** Whether the compiler builds and links a program with these options at all. */
function canCompile(options: readonly string[]): boolean {
  const target = outputPath('probe');
  const run = spawnSync('gcc', [...options, '-x', 'c', '-', '-o', target], { input: 'int main(void) { return 0; }\n' });
  return run.status === 0 && spawnSync(target).status === 0;
}

function compile(name: string, options: readonly string[], files: readonly string[], hint: string): Built {
  if (!canCompile(options.filter(option => option !== '-shared'))) return { missing: hint };
  const path = outputPath(name);
  const include = ['-I', NATIVE, '-I', HARNESS];
  const run = spawnSync('gcc', [...options, ...include, ...files, '-lm', '-o', path], { encoding: 'utf8' });
  if (run.status !== 0) throw new Error(`gcc failed for ${name}:\n${run.stderr}`);
  return { path };
}

/** The ways in which the program is built. */
export type DriverBuild = '32-bit -Os' | '32-bit, sanitizers' | '64-bit, sanitizers' | 'valgrind -Os' | 'valgrind -O3';

const BUILDS: { readonly [name in DriverBuild]: readonly string[] } = Object.freeze({
  '32-bit -Os': ['-m32', '-Os'],
  '32-bit, sanitizers': ['-m32', '-O2', ...SANITIZERS],
  '64-bit, sanitizers': ['-O2', ...SANITIZERS],
  'valgrind -Os': ['-Os', ...VALGRIND],
  'valgrind -O3': ['-O3', ...VALGRIND],
});

/** Builds the program. */
export function buildDriver(build: DriverBuild): Built {
  const options = [...STRICT, ...BUILDS[build]];
  if (build.startsWith('valgrind') && spawnSync('valgrind', ['--version']).status !== 0)
    return { missing: 'valgrind (apt-get install valgrind)' };
  const hint = build.startsWith('32') ? '32-bit builds (apt-get install gcc-multilib)' : 'gcc (apt-get install gcc)';
  return compile(build.replace(/\W+/g, '-'), options, [...sourceFiles(false), join(HARNESS, 'driver.c')], hint);
}

/** Builds the addon, which holds the binding as a board has it. */
export function buildAddon(isSanitized: boolean): Built {
  const options = [...STRICT, '-O2', '-fPIC', '-shared', ...(isSanitized ? SANITIZERS : [])];
  const name = isSanitized ? 'sanitized.node' : 'crypto.node';
  return compile(name, options, [...sourceFiles(true), join(HARNESS, 'addon.c')], 'gcc (apt-get install gcc)');
}

/** Registers `body` for what was built; else one test that is skipped and says what is missing, or fails in CI. */
export function whenBuilt(test: ReturnType<typeof suite>, built: Built, body: (path: string) => void): void {
  if ('path' in built) return body(built.path);
  const line = `needs ${built.missing}`;
  if (process.env['CI'] !== 'true') return void test.skip(line);
  test(line, () => {
    throw new Error(`${line}; in CI it has to be there`);
  });
}
